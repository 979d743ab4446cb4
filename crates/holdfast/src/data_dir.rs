//! The directory of a standalone server, and who may use it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
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
    /// Makes the directory if it is absent and takes it. One that lost its metadata is refused.
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
            Ok(()) => {
                let taken = Self {
                    root: root.to_owned(),
                    _lock: lock,
                };
                taken.check_metadata()?;
                Ok(taken)
            }
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "the data directory {} is in use by another holdfast process: stop that one, or give this one a data_dir of its own",
                root.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Metadata are made before anything else, and never empty. Made anew beside logs and objects they would
    /// show no collection, and the logs would be trimmed as superfluous.
    fn check_metadata(&self) -> anyhow::Result<()> {
        let meta = self.meta();
        let problem = match std::fs::metadata(&meta) {
            Ok(found) if found.len() > 0 => return Ok(()),
            Ok(_) => "is empty",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is missing",
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at {}", meta.display()));
            }
        };
        for path in [self.wal(), self.objects()] {
            let entries = match std::fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.with_context(|| format!("cannot read {}", path.display()))?,
            };
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
                anyhow::ensure!(
                    !entry.path().is_dir(),
                    "{} {problem}, but {} holds data: restore the whole data directory from one copy, or start \
                     with an empty one",
                    meta.display(),
                    path.display()
                );
            }
        }
        Ok(())
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

    /// Local copies of a bucket's objects.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
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

    /// The first start used to be refused for another reason, and the second to serve an empty catalog.
    #[test]
    fn lost_metadata_are_not_made_anew() {
        for empty in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("wal/channel-0")).unwrap();
            if empty {
                std::fs::write(dir.path().join("meta.redb"), "").unwrap();
            }
            for _ in 0..2 {
                let error = DataDir::open(dir.path()).unwrap_err().to_string();
                assert!(
                    error.contains("meta.redb is") && error.contains("wal"),
                    "{error}"
                );
            }
            std::fs::write(dir.path().join("meta.redb"), "something").unwrap();
            DataDir::open(dir.path()).unwrap();
        }
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
