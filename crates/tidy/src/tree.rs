//! The files of the project.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What is made, not written. (`.git` is a file in a linked worktree.)
const MADE: [&str; 9] = [
    ".git",
    "target",
    ".venv",
    "__pycache__",
    "holdfast-data",
    "corpus",
    "artifacts",
    ".pytest_cache",
    "node_modules",
];

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two directories below the root")
        .to_owned()
}

/// Every file under `root` that is valid UTF-8, as (path from the root with `/`, text), sorted by path.
///
/// # Errors
/// When a directory or file cannot be read.
pub fn texts(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            if MADE.iter().any(|made| name == *made) {
                continue;
            }
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
            {
                let path = entry.path();
                let relative = path
                    .strip_prefix(root)
                    .expect("found under the root")
                    .components()
                    .map(|part| part.as_os_str().to_string_lossy())
                    .collect::<Vec<_>>()
                    .join("/");
                out.push((relative, text));
            }
        }
    }
    out.sort();
    Ok(out)
}
