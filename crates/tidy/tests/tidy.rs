//! The house, as it stands now.

use std::{path::PathBuf, process::Command};

use holdfast_tidy::{
    arrows::{self, ARROWS},
    sources::{self, LONGER, Source},
    tree,
};

#[track_caller]
fn assert_tidy(findings: &[String]) {
    assert!(findings.is_empty(), "\n  {}\n", findings.join("\n  "));
}

fn root() -> PathBuf {
    tree::root().expect("the test runs inside the project")
}

fn files() -> Vec<(String, String)> {
    tree::texts(&root()).expect("the project can be read")
}

fn is_ours(path: &str) -> bool {
    path.ends_with(".rs") && (path.starts_with("crates/") || path.starts_with("fuzz/"))
}

#[test]
fn crates_use_only_what_the_arrows_allow() {
    let done = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let metadata = String::from_utf8(done.stdout).expect("cargo prints UTF-8");
    assert_tidy(&arrows::check(&metadata, ARROWS).expect("cargo prints metadata"));
}

#[test]
fn source_files_are_headed_and_do_not_sleep() {
    let files = files();
    let ours: Vec<_> = files.iter().filter(|(path, _)| is_ours(path)).collect();
    assert!(ours.len() > 10, "the walk finds the sources");
    let findings: Vec<String> = ours
        .iter()
        .flat_map(|(path, text)| sources::check_rust(Source { path, text }))
        .collect();
    assert_tidy(&findings);
}

#[test]
fn source_files_are_short() {
    let files = files();
    let lengths: Vec<(&str, usize)> = files
        .iter()
        .filter(|(path, _)| is_ours(path))
        .map(|(path, text)| (path.as_str(), text.lines().count()))
        .collect();
    assert_tidy(&sources::check_lengths(&lengths, LONGER));
}

#[test]
fn nothing_names_a_directory_of_one_machine() {
    let findings: Vec<String> = files()
        .iter()
        .flat_map(|(path, text)| sources::check_paths(Source { path, text }))
        .collect();
    assert_tidy(&findings);
}
