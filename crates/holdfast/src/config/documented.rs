//! The tests that hold `docs/configuration.md` and `configs/holdfast.toml` to the code.

use std::collections::BTreeMap;

use clap::CommandFactory;

use super::{Config, ENVIRONMENT};
use crate::cli::Cli;

const PAGE: &str = include_str!("../../../../docs/configuration.md");
const FILE: &str = include_str!("../../../../configs/holdfast.toml");

/// Every key with its default as TOML writes it.
fn defaults() -> BTreeMap<String, String> {
    let shown = Config::default().to_toml().unwrap();
    let table: toml::Table = toml::from_str(&shown).unwrap();
    let mut out = BTreeMap::new();
    flatten("", &table, &mut out);
    out
}

fn flatten(prefix: &str, table: &toml::Table, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => flatten(&format!("{key}."), inner, out),
            value => assert_eq!(out.insert(key, value.to_string()), None),
        }
    }
}

/// The cells of the table rows of a page whose first cell is code, without the backquotes around them.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ").map(str::trim);
            cells
                .map(|cell| {
                    cell.strip_prefix('`')
                        .and_then(|c| c.strip_suffix('`'))
                        .filter(|c| !c.contains('`'))
                        .unwrap_or(cell)
                })
                .collect()
        })
        .collect()
}

/// The file with its settings in force: those commented out without a space lose the sign.
fn uncommented(file: &str) -> String {
    let lines = file.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_has_every_key_with_its_default_and_its_variable() {
    let mut listed = BTreeMap::new();
    for row in rows(PAGE).into_iter().filter(|row| row.len() == 5) {
        let [key, default, unit, variable, meaning] = row[..] else {
            unreachable!("rows of five");
        };
        let expected = format!("{ENVIRONMENT}{}", key.to_uppercase().replace('.', "__"));
        assert_eq!(variable, expected, "{key}");
        assert!(!unit.is_empty() && !meaning.is_empty(), "{key}");
        let before = listed.insert(key.to_owned(), default.to_owned());
        assert_eq!(before, None, "{key} is listed twice");
    }
    assert_eq!(listed, defaults());
}

#[test]
fn the_page_has_every_flag_with_its_key() {
    let listed: BTreeMap<&str, &str> = rows(PAGE)
        .into_iter()
        .filter(|row| row.len() == 2)
        .map(|row| (row[0], row[1]))
        .collect();
    let defaults = defaults();
    for (flag, key) in &listed {
        let known = defaults.contains_key(*key) || *flag == "--config";
        assert!(known, "{flag}: {key} is no key");
        assert_eq!(
            flag.trim_start_matches('-'),
            if *flag == "--config" {
                "config".to_owned()
            } else {
                key.replace(['_', '.'], "-")
            }
        );
    }
    let cli = Cli::command();
    let standalone = cli.find_subcommand("standalone").unwrap();
    let mut flags: Vec<String> = standalone
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .filter(|flag| !matches!(flag.as_str(), "--help" | "--version"))
        .collect();
    flags.sort();
    assert_eq!(listed.into_keys().collect::<Vec<_>>(), flags);
}

#[test]
fn the_annotated_file_changes_nothing_as_it_is() {
    let read: Config = toml::from_str(FILE).unwrap();
    assert_eq!(read, Config::default());
}

#[test]
fn the_annotated_file_has_every_key_with_its_default() {
    let file = uncommented(FILE);
    let table: toml::Table = toml::from_str(&file).unwrap();
    let mut listed = BTreeMap::new();
    flatten("", &table, &mut listed);
    assert_eq!(listed, defaults());
}
