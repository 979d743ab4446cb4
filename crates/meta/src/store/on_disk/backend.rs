//! The file under redb: as redb's own, but room is reserved when it grows, and failures are told apart.

use std::{
    fs::File,
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

/// What happened to a file since it was opened.
#[derive(Debug, Default)]
pub(super) struct Health {
    sync_failed: AtomicBool,
    header_written: AtomicBool,
}

impl Health {
    /// Whether an fsync ever failed.
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// Begins to look for writes of redb's header, which is where a commit takes effect.
    pub(super) fn watch_header(&self) {
        self.header_written.store(false, Ordering::Release);
    }

    /// Whether the header may have changed since [`Self::watch_header`].
    pub(super) fn header_was_written(&self) -> bool {
        self.header_written.load(Ordering::Acquire)
    }
}

/// Failures that tests ask for.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The disk has no room for the file to grow.
    pub(super) no_growth: AtomicBool,
    /// Every write fails with ENOSPC.
    pub(super) no_writes: AtomicBool,
    /// Writes of the header fail with ENOSPC.
    pub(super) no_header: AtomicBool,
    /// Every fsync fails with EIO.
    pub(super) no_sync: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Backend {
    inner: FileBackend,
    /// The same open file.
    file: File,
    health: Arc<Health>,
    #[cfg(test)]
    faults: Arc<Faults>,
}

impl Backend {
    pub(super) fn new(
        file: File,
        health: Arc<Health>,
        #[cfg(test)] faults: Arc<Faults>,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            file: file.try_clone()?,
            inner: FileBackend::new(file)?,
            health,
            #[cfg(test)]
            faults,
        })
    }

    fn write_through(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.no_writes.load(Ordering::Acquire)
            || (offset == 0 && self.faults.no_header.load(Ordering::Acquire))
        {
            return Err(Errno::NOSPC.into());
        }
        self.inner.write(offset, data)
    }

    /// The first bytes of the file; `None` when it has fewer, or cannot be read.
    fn header(&self, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.inner.read(0, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Grows the file with its blocks reserved: a full disk is then met here, before anything is written,
    /// and not when a page of a commit is written into a hole.
    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.no_growth.load(Ordering::Acquire) {
            return Err(Errno::NOSPC.into());
        }
        match fallocate(&self.file, FallocateFlags::empty(), from, to - from) {
            Ok(()) => Ok(()),
            // A file system that cannot reserve.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.inner.set_len(to),
            Err(errno) => {
                // What was reserved in part is given back.
                if let Err(error) = self.inner.set_len(from) {
                    tracing::warn!(%error, "metadata file was not cut back");
                }
                Err(errno.into())
            }
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.inner.len()?;
        if len > now {
            self.grow(now, len)
        } else {
            self.inner.set_len(len)
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.faults.no_sync.load(Ordering::Acquire) {
            self.health.sync_failed.store(true, Ordering::Release);
            return Err(Errno::IO.into());
        }
        self.inner.sync_data().inspect_err(|_| {
            self.health.sync_failed.store(true, Ordering::Release);
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset > 0 {
            return self.write_through(offset, data);
        }
        let before = self.header(data.len());
        let result = self.write_through(offset, data);
        // A failed write that left the header as it was is no write.
        let untouched = result.is_err() && before.is_some() && self.header(data.len()) == before;
        if !untouched {
            self.health.header_written.store(true, Ordering::Release);
        }
        result
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
