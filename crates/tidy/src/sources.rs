//! What every source file must be: headed, short, without a sleep in a test or a path of a machine.

/// Most lines of a Rust file.
pub const LINES_MAX: usize = 700;

/// Files that are longer, with the most lines that each may have. The list only shrinks: a file may not
/// outgrow its number, and a number that is far above its file must come down.
pub const LONGER: &[(&str, usize)] = &[
    // A table: one entry a call of the public service.
    ("crates/proxy/src/grpc.rs", 1_100),
];

/// How far a number in [`LONGER`] may stand above its file.
const SLACK: usize = 40;

/// One file: its path from the root of the project with `/` between names, and its text.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Path from the root.
    pub path: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// What is wrong with a Rust file.
#[must_use]
pub fn check_rust(source: Source<'_>) -> Vec<String> {
    let mut findings = Vec::new();
    let Source { path, text } = source;
    let file = path.rsplit('/').next().unwrap_or(path);
    if !opens_with_a_sentence(text) {
        findings.push(format!("{path}: does not open with a `//!` sentence"));
    }
    if file == "mod.rs" {
        findings.push(format!("{path}: is named mod.rs; name it for its module"));
    }
    if file == "lib.rs" && !path.contains("/tests/") {
        for (number, line) in numbered(text) {
            if declares_function(line) {
                findings.push(format!(
                    "{path}:{number}: lib.rs is a table of contents; move the function to a module"
                ));
            }
        }
    }
    for (number, line) in test_lines(path, text) {
        if !POLLS.contains(&path) && SLEEPS.iter().any(|sleep| line.contains(sleep)) {
            findings.push(format!(
                "{path}:{number}: a test sleeps; wait for a condition or pause the clock"
            ));
        }
    }
    findings
}

/// What is wrong with the lengths of the Rust files, given as (path, lines).
#[must_use]
pub fn check_lengths(files: &[(&str, usize)], longer: &[(&str, usize)]) -> Vec<String> {
    let mut findings = Vec::new();
    for &(path, lines) in files {
        let listed = longer.iter().find(|(known, _)| *known == path);
        match listed {
            None if lines > LINES_MAX => findings.push(format!(
                "{path}: {lines} lines, more than {LINES_MAX}; split it at its second noun"
            )),
            Some((_, allowed)) if lines > *allowed => findings.push(format!(
                "{path}: grew to {lines} lines, more than the {allowed} it was allowed"
            )),
            Some(_) if lines <= LINES_MAX => findings.push(format!(
                "{path}: has only {lines} lines now; take it off the list"
            )),
            Some((_, allowed)) if lines + SLACK < *allowed => findings.push(format!(
                "{path}: has only {lines} lines now; lower its {allowed}"
            )),
            _ => {}
        }
    }
    for (path, _) in longer {
        if !files.iter().any(|(known, _)| known == path) {
            findings.push(format!(
                "{path}: is on the list of long files but not there"
            ));
        }
    }
    findings
}

/// Where a text file names a directory of somebody's machine.
#[must_use]
pub fn check_paths(source: Source<'_>) -> Vec<String> {
    numbered(source.text)
        .filter(|(_, line)| names_a_machine(line))
        .map(|(number, _)| {
            format!(
                "{}:{number}: a path of one machine; make it relative",
                source.path
            )
        })
        .collect()
}

/// Tests that look again and again until a condition holds or a deadline is over, or that pace a load: what
/// they wait for changes in other tasks, so that there is nothing to await.
const POLLS: [&str; 4] = [
    "crates/coordinator/src/tests/world.rs",
    "crates/testkit/tests/memory.rs",
    "crates/testkit/tests/nodes.rs",
    "crates/testkit/tests/random.rs",
];

const SLEEPS: [&str; 3] = ["thread::sleep(", "time::sleep(", "sleep_until("];

/// First directories of paths that exist on one machine only.
const MACHINES: [&str; 4] = ["work", "root", "home", "Users"];

fn names_a_machine(line: &str) -> bool {
    MACHINES.iter().any(|top| {
        let needle = format!("/{top}/");
        line.match_indices(&needle).any(|(at, _)| {
            // `a/work/b` and `https://host/work/b` are somebody's own relative paths and addresses.
            let before = line[..at].chars().next_back();
            let starts = before.is_none_or(|c| {
                !(c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '}' | '*'))
            });
            let after = line[at + needle.len()..].chars().next();
            starts && after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
        })
    })
}

fn opens_with_a_sentence(text: &str) -> bool {
    text.lines()
        .next()
        .and_then(|first| first.strip_prefix("//!"))
        .is_some_and(|sentence| !sentence.trim().is_empty())
}

fn declares_function(line: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    code.split_whitespace()
        .take_while(|word| {
            matches!(
                *word,
                "pub" | "async" | "const" | "unsafe" | "extern" | "fn"
            ) || word.starts_with("pub(")
        })
        .any(|word| word == "fn")
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// The lines of tests: whole files under `tests/` or named for tests, else what follows `#[cfg(test)]`
/// with a body. Comments are left out.
fn test_lines<'a>(path: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    let whole = path.contains("/tests/") || path.ends_with("tests.rs");
    let mut inside = whole;
    let mut out = Vec::new();
    for (number, line) in numbered(text) {
        let code = line.trim_start();
        inside = inside || code.starts_with("#[cfg(test)]");
        if inside && !code.starts_with("//") {
            out.push((number, line));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expect: &[&str]) {
        let findings = check_rust(Source { path, text });
        assert_eq!(findings.len(), expect.len(), "{findings:?}");
        for (finding, part) in findings.iter().zip(expect) {
            assert!(finding.contains(part), "{finding}");
        }
    }

    #[test]
    fn a_headed_file_passes() {
        check("crates/a/src/x.rs", "//! Sentence.\n\nfn f() {}\n", &[]);
    }

    #[test]
    fn a_file_without_a_head_fails() {
        check("crates/a/src/x.rs", "use std::fmt;\n", &["does not open"]);
        check("crates/a/src/x.rs", "//!\n//! late\n", &["does not open"]);
        check("crates/a/src/x.rs", "", &["does not open"]);
    }

    #[test]
    fn mod_rs_fails() {
        check("crates/a/src/x/mod.rs", "//! X.\n", &["mod.rs"]);
    }

    #[test]
    fn functions_in_lib_rs_fail() {
        for line in [
            "pub fn f() {}",
            "fn f() {}",
            "pub(crate) async fn f() {}",
            "    const fn f() {}",
        ] {
            check(
                "crates/a/src/lib.rs",
                &format!("//! A.\n{line}\n"),
                &["lib.rs:2"],
            );
        }
        check(
            "crates/a/src/lib.rs",
            "//! A.\n// fn no() {}\npub mod b;\npub use b::{fn_like, C};\n",
            &[],
        );
    }

    #[test]
    fn a_sleep_in_a_test_fails_and_elsewhere_is_not_our_matter() {
        // In two pieces, so that this file passes its own check.
        let sleep = [
            "    tokio::time::",
            "sleep(Duration::from_millis(1)).await;",
        ]
        .concat();
        check(
            "crates/a/src/x.rs",
            &format!("//! X.\nfn f() {{\n{sleep}\n}}\n"),
            &[],
        );
        check(
            "crates/a/src/x.rs",
            &format!("//! X.\n#[cfg(test)]\nmod tests {{\n{sleep}\n}}\n"),
            &["x.rs:4"],
        );
        check(
            "crates/a/tests/x.rs",
            &format!("//! X.\n{sleep}\n"),
            &["x.rs:2"],
        );
        check(
            "crates/a/src/x/tests.rs",
            &format!("//! X.\n{sleep}\n"),
            &["tests.rs:2"],
        );
        check("crates/a/tests/x.rs", &format!("//! X.\n// {sleep}\n"), &[]);
    }

    /// Files, list of long files, part of the finding.
    type Case<'a> = (
        &'a [(&'a str, usize)],
        &'a [(&'a str, usize)],
        Option<&'a str>,
    );

    #[test]
    fn lengths_are_a_ratchet() {
        let long = LINES_MAX + 100;
        let cases: [Case<'_>; 7] = [
            (&[("a.rs", LINES_MAX)], &[], None),
            (&[("a.rs", LINES_MAX + 1)], &[], Some("more than")),
            (&[("a.rs", long)], &[("a.rs", long)], None),
            (&[("a.rs", long + 1)], &[("a.rs", long)], Some("grew")),
            (
                &[("a.rs", LINES_MAX)],
                &[("a.rs", long)],
                Some("take it off"),
            ),
            (
                &[("a.rs", long)],
                &[("a.rs", long + 2 * SLACK)],
                Some("lower"),
            ),
            (&[], &[("a.rs", long)], Some("not there")),
        ];
        for (files, longer, expect) in cases {
            let findings = check_lengths(files, longer);
            match expect {
                None => assert!(findings.is_empty(), "{findings:?}"),
                Some(part) => assert!(
                    findings.len() == 1 && findings[0].contains(part),
                    "{findings:?}"
                ),
            }
        }
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let find = |text: String| {
            check_paths(Source {
                path: "x",
                text: &text,
            })
            .len()
        };
        for top in MACHINES {
            assert_eq!(find(format!("see /{top}/someone/x")), 1, "{top}");
            assert_eq!(find(format!("\"/{top}/x\"")), 1, "{top}");
            assert_eq!(
                find(format!("a/{top}/x and https://host/{top}/x")),
                0,
                "{top}"
            );
            assert_eq!(find(format!("/{top}/ alone")), 0, "{top}");
        }
    }
}
