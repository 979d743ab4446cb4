//! What the local file system needs beyond files: folders that are durable, and no left-overs.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use parking_lot::Mutex;

use crate::{ObjectPath, paths::FOLDERS};

/// Most folders remembered as durable; beyond it all are forgotten and synced again when next used.
const REMEMBERED_MAX: usize = 16_384;

/// The folders of an object directory.
#[derive(Clone, Debug)]
pub(super) struct Directories(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Folders, relative to the root, whose own entry in their parent is known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directories {
    /// Makes the root itself durable.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        for folder in root.ancestors().take(2) {
            sync(folder)?;
        }
        Ok(Self(Arc::new(Inner {
            root,
            durable: Mutex::default(),
        })))
    }

    /// Makes sure that the entries of all folders above a file are on disk.
    ///
    /// The put itself syncs the file, the folder it is in, and the folders that it made. Not those
    /// that another put is about to sync, or that a process made just before it was killed: such a put
    /// could return, and its object be lost with the power for want of a folder.
    pub(super) fn sync_above(&self, path: &ObjectPath) -> io::Result<()> {
        let folders = || Path::new(path.as_str()).ancestors().skip(1);
        // The root has no entry to sync here.
        for folder in folders().filter(|f| !f.as_os_str().is_empty()) {
            if self.0.durable.lock().contains(folder) {
                continue;
            }
            let parent = folder.parent().unwrap_or(Path::new(""));
            sync(&self.0.root.join(parent))?;
            let mut durable = self.0.durable.lock();
            if durable.len() >= REMEMBERED_MAX {
                durable.clear();
            }
            durable.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Forgets the folders above a deleted file, which may have gone with it.
    pub(super) fn forget_above(&self, path: &ObjectPath) {
        let mut durable = self.0.durable.lock();
        for folder in Path::new(path.as_str()).ancestors().skip(1) {
            durable.remove(folder);
        }
    }

    /// Removes staged files (`<name>#<digits>`) older than `age`, and counts them.
    pub(super) fn sweep_staged(&self, now_ms: u64, age: Duration) -> io::Result<usize> {
        let mut swept = 0;
        let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|f| self.0.root.join(f)).collect();
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            for entry in entries {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && is_staged(&entry.file_name().to_string_lossy()) {
                    let Ok(meta) = entry.metadata() else {
                        continue; // published or removed just now
                    };
                    let written = meta.modified()?.duration_since(UNIX_EPOCH);
                    let written_ms = written.map_or(0, |d| d.as_millis());
                    if u128::from(now_ms).saturating_sub(written_ms) < age.as_millis() {
                        continue;
                    }
                    match fs::remove_file(entry.path()) {
                        Ok(()) => swept += 1,
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                        Err(e) => return Err(e),
                    }
                }
            }
        }
        Ok(swept)
    }
}

/// Whether the name is that of a put that has not ended.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(base, number)| {
        !base.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_staged_files_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data/1/0/2.3.0");
        fs::create_dir_all(&folder).unwrap();
        for name in ["keys", "keys#1", "keys#27", "keys#x", "#1"] {
            fs::write(folder.join(name), b"").unwrap();
        }
        fs::write(root.path().join("elsewhere#1"), b"").unwrap();
        let directories = Directories::open(root.path()).unwrap();
        let now = fs::metadata(folder.join("keys"))
            .unwrap()
            .modified()
            .unwrap();
        let now = u64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();

        let hour = Duration::from_secs(3_600);
        assert_eq!(directories.sweep_staged(now + 3_590_000, hour).unwrap(), 0);
        assert_eq!(directories.sweep_staged(now + 3_610_000, hour).unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["#1", "keys", "keys#x"]);
        assert!(root.path().join("elsewhere#1").exists());
    }

    #[test]
    fn folders_of_a_deleted_file_are_synced_again() {
        let root = tempfile::tempdir().unwrap();
        let path = ObjectPath::parse("data/1/0/2.3.0/keys").unwrap();
        let directories = Directories::open(root.path()).unwrap();
        let missing = directories.sync_above(&path).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);

        fs::create_dir_all(root.path().join("data/1/0/2.3.0")).unwrap();
        directories.sync_above(&path).unwrap();
        assert_eq!(directories.0.durable.lock().len(), 4);
        directories.forget_above(&path);
        assert!(directories.0.durable.lock().is_empty());
    }
}
