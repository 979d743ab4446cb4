//! The directory of a standalone server, and who may use it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A data directory that belongs to this process until it ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    /// The lock goes with the process, however it ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is absent and takes it.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root)
            .with_context(|| format!("cannot make the data directory {}", root.display()))?;
        let path = root.join("LOCK");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root: root.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "the data directory {} is in use by another holdfast process: stop that one, or give this one a data_dir of its own",
                root.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// The metadata.
    pub(crate) fn meta(&self) -> PathBuf {
        self.root.join("meta.redb")
    }

    /// The logs.
    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    /// The log-node's journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let first = DataDir::open(&root).unwrap();
        let error = DataDir::open(&root).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("in use by another holdfast process"),
            "{error:#}"
        );
        drop(first);
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        std::fs::write(&root, "").unwrap();
        let error = DataDir::open(&root).unwrap_err();
        assert!(
            format!("{error:#}").contains(&root.display().to_string()),
            "{error:#}"
        );
    }
}
