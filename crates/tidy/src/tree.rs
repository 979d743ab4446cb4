//! The files of the project.

use std::{
    env, fs, io,
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

/// The root of the project: the nearest directory above the current one that holds a workspace.
///
/// Found when the test runs, not when it is compiled: worktrees may share their build directory, and a
/// path that was compiled in could then be another worktree's.
///
/// # Errors
/// When no directory above holds a `Cargo.toml` with a `[workspace]`.
pub fn root() -> io::Result<PathBuf> {
    let here = env::current_dir()?;
    for directory in here.ancestors() {
        match fs::read_to_string(directory.join("Cargo.toml")) {
            Ok(text) if text.lines().any(|line| line.trim() == "[workspace]") => {
                return Ok(directory.to_owned());
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("no workspace above {}", here.display()),
    ))
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
