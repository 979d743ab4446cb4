//! Holding a directory, so that no second process writes there.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// The lock of a directory: held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    /// The kernel keeps the lock as long as this is open.
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`, which exists; `None` when somebody else has it.
    ///
    /// # Errors
    /// The file system's.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}
