//! docs/compatibility.md says what is true: its tables are compared with the code.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::{DataType, Metric};

const PAGE: &str = include_str!("../../../docs/compatibility.md");
const SOURCE: &str = include_str!("../src/grpc.rs");
const SERVICE: &str = "milvus.proto.milvus.MilvusService/";

/// The page from one heading to another.
fn section(from: &str, to: &str) -> &'static str {
    let (_, after) = PAGE
        .split_once(from)
        .unwrap_or_else(|| panic!("no heading {from:?}"));
    let (section, _) = after
        .split_once(to)
        .unwrap_or_else(|| panic!("no heading {to:?} after {from:?}"));
    section
}

/// The rows of tables whose first cell is one name in backticks: name, `yes`, `partly` or `no`, note.
fn rows(section: &'static str) -> Vec<(&'static str, &'static str, &'static str)> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, works, note] = cells[..] else {
            panic!("not three cells: {line}")
        };
        assert!(
            ["yes", "partly", "no"].contains(&works),
            "neither yes nor partly nor no: {line}"
        );
        (name.trim_matches('`'), works, note)
    })
    .collect()
}

fn calls() -> Vec<(&'static str, &'static str, &'static str)> {
    rows(section("\n## Calls\n", "\n### Other services"))
}

/// The names that follow `before` in the source of the service, however it is laid out.
fn named_in_source(before: &str) -> BTreeSet<String> {
    let source: String = SOURCE.split_whitespace().collect();
    let names = source
        .split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once('"'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_call_of_the_service_is_listed_once() {
    let mut listed = BTreeMap::new();
    for (name, works, _) in calls() {
        assert_eq!(
            listed.insert(name.to_owned(), works),
            None,
            "{name} is listed twice"
        );
    }
    let names = holdfast_proto::rpc_names();
    let expect: BTreeSet<_> = names
        .iter()
        .filter_map(|name| name.strip_prefix(SERVICE))
        .collect();
    assert_eq!(
        listed.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expect
    );
    assert_eq!(expect.len(), 144);
}

#[test]
fn a_call_works_iff_a_function_answers_it() {
    let of = |is_built: bool| -> BTreeSet<String> {
        let found = calls()
            .into_iter()
            .filter(|(_, works, _)| (*works != "no") == is_built);
        found.map(|(name, ..)| name.to_owned()).collect()
    };
    assert_eq!(of(false), named_in_source("unbuilt(\""));
    assert_eq!(of(true), named_in_source("answer!(self,\""));
}

#[test]
fn what_is_missing_is_said_of_calls_that_work_partly_and_of_no_other() {
    for (name, works, note) in calls() {
        assert_eq!(
            works == "partly",
            !note.is_empty(),
            "{name}: {works}, {note:?}"
        );
    }
}

#[test]
fn the_numbers_of_calls_are_those_of_the_tables() {
    let count = |wanted: &str| {
        calls()
            .into_iter()
            .filter(|(_, works, _)| *works == wanted)
            .count()
    };
    let (yes, partly, no) = (count("yes"), count("partly"), count("no"));
    let sentence = format!(
        "Of the {} calls of `MilvusService`, {yes} work, {partly} work in part, and {no} do not.",
        yes + partly + no
    );
    assert!(
        PAGE.contains(&sentence),
        "the page does not say: {sentence}"
    );
}

#[test]
fn data_types_are_those_that_holdfast_has() {
    let rows = rows(section("\n## Data types\n", "\n| of a collection"));
    let have: BTreeSet<_> = DataType::ALL.iter().map(ToString::to_string).collect();
    let listed = rows.iter().filter(|(_, works, _)| *works != "no");
    assert_eq!(
        listed
            .map(|(name, ..)| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        have
    );
    assert!(
        rows.iter()
            .all(|(name, works, _)| *works != "no" || !have.contains(*name))
    );
}

#[test]
fn metrics_are_those_that_holdfast_has() {
    let rows = rows(section("\n## Metrics\n", "\n## Indexes\n"));
    for (name, works, _) in &rows {
        assert_eq!(name.parse::<Metric>().is_ok(), *works == "yes", "{name}");
    }
    let all = [
        Metric::L2,
        Metric::Ip,
        Metric::Cosine,
        Metric::Hamming,
        Metric::Jaccard,
    ];
    for metric in all.map(|metric| metric.to_string()) {
        assert!(
            rows.iter().any(|(name, ..)| *name == metric),
            "{metric} is not listed"
        );
    }
}
