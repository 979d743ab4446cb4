//! Which crate may use which. The arrows point one way and are data.

use serde_json::Value;

/// A crate of the workspace and the crates of the workspace that it may use. A crate that is not
/// listed fails the check, and so does a dependency that is not listed.
///
/// Development dependencies are free: tests may look anywhere.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("holdfast-types", &[]),
    // The protocol of the quorum log: values and state machines without I/O.
    ("holdfast-qlog", &["holdfast-types"]),
    ("holdfast-expr", &["holdfast-types"]),
    ("holdfast-index", &["holdfast-types"]),
    (
        "holdfast-segment",
        &["holdfast-types", "holdfast-expr", "holdfast-index"],
    ),
    ("holdfast-runtime", &["holdfast-types"]),
    // The protocol of the quorum log: values and state machines without I/O.
    ("holdfast-qlog", &["holdfast-types"]),
    // `index` for the query vectors that a placeholder decodes to.
    (
        "holdfast-proto",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-qlog",
        ],
    ),
    (
        "holdfast-meta",
        &["holdfast-types", "holdfast-proto", "holdfast-runtime"],
    ),
    // What the logs ask of a disk, so that one failing disk serves the tests of both.
    ("holdfast-disk", &[]),
    // A room of its own because only the binary has to build an HTTP client.
    ("holdfast-storage-s3", &[]),
    // A room of its own because only the binary has to build the client of etcd.
    ("holdfast-meta-etcd", &["holdfast-types", "holdfast-meta"]),
    (
        "holdfast-wal",
        &[
            "holdfast-types",
            "holdfast-disk",
            "holdfast-proto",
            "holdfast-runtime",
        ],
    ),
    // The journal of a log-node: the records of `qlog`, on a disk.
    (
        "holdfast-journal",
        &["holdfast-types", "holdfast-disk", "holdfast-qlog"],
    ),
    // Ended segments of the quorum log in object storage; `journal` for the format.
    (
        "holdfast-log-store",
        &["holdfast-types", "holdfast-qlog", "holdfast-journal"],
    ),
    // The servers of the quorum log.
    (
        "holdfast-log-node",
        &[
            "holdfast-types",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-disk",
            "holdfast-journal",
            "holdfast-qlog",
        ],
    ),
    // The clients of the quorum log.
    (
        "holdfast-quorum-wal",
        &[
            "holdfast-types",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-qlog",
            "holdfast-wal",
            "holdfast-log-store",
        ],
    ),
    // What a log-node does for copies beside answering: uploads, new copies after a loss, letting go, looking for damage.
    // A room of its own because it is a client of other log-nodes, which a log-node is not.
    (
        "holdfast-log-keeper",
        &[
            "holdfast-types",
            "holdfast-runtime",
            "holdfast-meta",
            "holdfast-journal",
            "holdfast-qlog",
            "holdfast-log-node",
            "holdfast-log-store",
            "holdfast-quorum-wal",
        ],
    ),
    // Whole clusters of the protocol under a seeded scheduler; nothing uses it.
    (
        "holdfast-wal-sim",
        &[
            "holdfast-types",
            "holdfast-disk",
            "holdfast-qlog",
            "holdfast-journal",
        ],
    ),
    // The wired quorum log on a simulated network; nothing uses it.
    (
        "holdfast-wal-turmoil",
        &[
            "holdfast-types",
            "holdfast-runtime",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-disk",
            "holdfast-journal",
            "holdfast-qlog",
            "holdfast-log-node",
            "holdfast-quorum-wal",
        ],
    ),
    // `meta` for the pointers to manifests.
    (
        "holdfast-storage",
        &[
            "holdfast-types",
            "holdfast-proto",
            "holdfast-runtime",
            "holdfast-meta",
        ],
    ),
    // The traits through which services reach each other, so that no service uses another.
    (
        "holdfast-node-api",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
        ],
    ),
    // What the nodes that hold segments share: which rows a read sees at a manifest version.
    (
        "holdfast-scan",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-meta",
            "holdfast-storage",
        ],
    ),
    (
        "holdfast-stream-node",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-storage",
            "holdfast-node-api",
            "holdfast-scan",
        ],
    ),
    (
        "holdfast-query-node",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-storage",
            "holdfast-node-api",
            "holdfast-scan",
        ],
    ),
    (
        "holdfast-worker",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-storage",
            "holdfast-node-api",
            "holdfast-scan",
        ],
    ),
    (
        "holdfast-coordinator",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-storage",
            "holdfast-node-api",
        ],
    ),
    // `segment` and `index` for the search that is sent out and the hits that are merged; never storage or the log.
    (
        "holdfast-proxy",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-node-api",
        ],
    ),
    (
        "holdfast-testkit",
        &[
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-storage",
            "holdfast-node-api",
            "holdfast-scan",
            "holdfast-stream-node",
            "holdfast-query-node",
            "holdfast-worker",
        ],
    ),
    // Readers of foreign bytes, called one by one.
    (
        "holdfast-fuzz",
        &[
            "holdfast-types",
            "holdfast-disk",
            "holdfast-journal",
            "holdfast-qlog",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-storage",
        ],
    ),
    (
        "holdfast",
        &[
            "holdfast-disk",
            "holdfast-journal",
            "holdfast-log-node",
            "holdfast-log-keeper",
            "holdfast-log-store",
            "holdfast-meta-etcd",
            "holdfast-qlog",
            "holdfast-quorum-wal",
            "holdfast-types",
            "holdfast-expr",
            "holdfast-index",
            "holdfast-segment",
            "holdfast-runtime",
            "holdfast-proto",
            "holdfast-meta",
            "holdfast-wal",
            "holdfast-storage",
            "holdfast-storage-s3",
            "holdfast-node-api",
            "holdfast-scan",
            "holdfast-stream-node",
            "holdfast-query-node",
            "holdfast-worker",
            "holdfast-coordinator",
            "holdfast-proxy",
        ],
    ),
    // Drills with real processes; nothing uses it. A room of its own because the product must not have its faults in it.
    (
        "holdfast-wal-drill",
        &[
            "holdfast-types",
            "holdfast-runtime",
            "holdfast-meta",
            "holdfast-meta-etcd",
            "holdfast-qlog",
            "holdfast-wal",
            "holdfast-quorum-wal",
            "holdfast-log-store",
        ],
    ),
    ("holdfast-tidy", &[]),
    // A specification: it has no product code in it, and none has it. A room of its own for its one dependency.
    ("holdfast-wal-model", &[]),
];

/// What is wrong with the arrows of the workspace that `cargo metadata --no-deps` described.
///
/// # Errors
/// A sentence when the text is not what cargo prints.
pub fn check(metadata: &str, arrows: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|e| format!("cargo metadata is not JSON: {e}"))?;
    let packages = list(&metadata, "packages")?;
    let members: Vec<&str> = packages
        .iter()
        .map(|p| text(p, "name"))
        .collect::<Result<_, _>>()?;
    let mut findings = Vec::new();
    for package in packages {
        let name = text(package, "name")?;
        let Some((_, allowed)) = arrows.iter().find(|(known, _)| *known == name) else {
            findings.push(format!(
                "{name}: is not in ARROWS; say there what it may use, and why it is a room of its own"
            ));
            continue;
        };
        for dependency in list(package, "dependencies")? {
            let used = text(dependency, "name")?;
            let for_tests_only = dependency.get("kind").and_then(Value::as_str) == Some("dev");
            if members.contains(&used) && !for_tests_only && !allowed.contains(&used) {
                findings.push(format!("{name}: may not use {used}"));
            }
        }
    }
    Ok(findings)
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("cargo metadata has no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("cargo metadata has no text `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &[(&str, &[&str])] = &[("cellar", &[]), ("kitchen", &["cellar"])];

    fn metadata(package: &str, dependency: &str, kind: &str) -> String {
        format!(
            r#"{{"packages": [
                {{"name": "cellar", "dependencies": [{{"name": "serde", "kind": null}}]}},
                {{"name": "kitchen", "dependencies": [{{"name": "cellar", "kind": null}}]}},
                {{"name": "{package}", "dependencies": [{{"name": "{dependency}", "kind": {kind}}}]}}
            ]}}"#
        )
    }

    #[track_caller]
    fn check_one(package: &str, dependency: &str, kind: &str, expect: &[&str]) {
        assert_eq!(
            check(&metadata(package, dependency, kind), HOUSE).unwrap(),
            expect
        );
    }

    #[test]
    fn an_allowed_arrow_passes() {
        check_one("kitchen", "cellar", "null", &[]);
    }

    #[test]
    fn an_arrow_that_is_not_listed_fails() {
        check_one(
            "cellar",
            "kitchen",
            "null",
            &["cellar: may not use kitchen"],
        );
        check_one(
            "cellar",
            "kitchen",
            r#""build""#,
            &["cellar: may not use kitchen"],
        );
    }

    #[test]
    fn tests_may_look_anywhere() {
        check_one("cellar", "kitchen", r#""dev""#, &[]);
    }

    #[test]
    fn a_room_that_is_not_listed_fails() {
        check_one(
            "attic",
            "cellar",
            "null",
            &[
                "attic: is not in ARROWS; say there what it may use, and why it is a room of its own",
            ],
        );
    }

    #[test]
    fn the_listed_arrows_form_no_circle() {
        // Each crate may use only crates listed above it.
        for (at, (name, allowed)) in ARROWS.iter().enumerate() {
            for used in *allowed {
                let above = ARROWS[..at].iter().any(|(known, _)| known == used);
                assert!(above, "{name} uses {used}, which is not listed above it");
            }
        }
    }

    #[test]
    fn services_never_use_each_other() {
        const SERVICES: [&str; 5] = [
            "holdfast-proxy",
            "holdfast-coordinator",
            "holdfast-stream-node",
            "holdfast-query-node",
            "holdfast-worker",
        ];
        for (name, allowed) in ARROWS.iter().filter(|(name, _)| SERVICES.contains(name)) {
            for used in *allowed {
                assert!(!SERVICES.contains(used), "{name} uses {used}");
            }
        }
    }

    #[test]
    fn text_that_is_no_metadata_is_an_error() {
        assert!(check("nonsense", HOUSE).is_err());
        assert!(check("{}", HOUSE).is_err());
    }
}
