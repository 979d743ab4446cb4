//! Files that were allocated and filled with zeros ahead of their use, and files to be used again: a sync of
//! what is written into them later need not write the file's block map too.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::{Disk, DiskFile, write_all_at};

const PREFIX: &str = "spare-";
/// Zeros are written this many at a time.
const ZEROS: usize = 1 << 20;

/// Sizes that shape the files of a log.
#[derive(Clone, Copy, Debug)]
pub struct FileSizes {
    /// Of an ordinary file.
    pub segment: u64,
    /// What allocating leaves free on the disk.
    pub reserve: u64,
}

/// A file ready to be used; its bytes mean nothing.
#[derive(Debug)]
pub struct Spare {
    /// Where it is until it gets its name.
    pub path: PathBuf,
    /// It, open.
    pub file: Arc<dyn DiskFile>,
}

/// The spares of one directory.
#[derive(Debug)]
pub struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    sizes: FileSizes,
    /// How many are kept at most.
    kept_max: usize,
    stock: Mutex<Stock>,
    /// Held while a file is being made, so that a writer in need of one waits for it.
    making: Mutex<()>,
}

#[derive(Debug, Default)]
struct Stock {
    spares: Vec<Spare>,
    made: u64,
}

impl Spares {
    /// None yet.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, sizes: FileSizes, kept_max: usize) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            sizes,
            kept_max,
            stock: Mutex::default(),
            making: Mutex::default(),
        }
    }

    /// Whether a file of this name is a spare.
    #[must_use]
    pub fn is_one(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Takes a spare found in the directory into stock, or removes it when it is of no use.
    ///
    /// # Errors
    /// The disk's.
    pub fn adopt(&self, name: &str) -> io::Result<()> {
        let number = name.strip_prefix(PREFIX).and_then(|n| n.parse().ok());
        let path = self.dir.join(name);
        let file = self.disk.open(&path)?;
        let len = file.len()?;
        let mut stock = self.stock();
        stock.made = stock.made.max(number.unwrap_or(0));
        if len == self.sizes.segment && stock.spares.len() < self.kept_max {
            stock.spares.push(Spare { path, file });
            return Ok(());
        }
        drop(stock);
        self.disk.remove(&path)
    }

    /// How long files are, and what is left free.
    #[must_use]
    pub fn sizes(&self) -> FileSizes {
        self.sizes
    }

    /// How many are in stock.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stock().spares.len()
    }

    /// A spare of `capacity`, from stock or made now. `leave` of those in stock are not touched.
    ///
    /// # Errors
    /// The disk's; see [`crate::is_full`]. Nothing has changed then.
    pub fn take(&self, capacity: u64, leave: usize) -> io::Result<Spare> {
        let _making = lock(&self.making);
        if capacity == self.sizes.segment {
            let mut stock = self.stock();
            if stock.spares.len() > leave
                && let Some(spare) = stock.spares.pop()
            {
                return Ok(spare);
            }
        }
        self.make(capacity, self.sizes.reserve)
    }

    /// As [`Self::take`], but everything in stock and on the disk may be used up for it.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_last(&self, capacity: u64) -> io::Result<Spare> {
        let _making = lock(&self.making);
        if capacity == self.sizes.segment
            && let Some(spare) = self.stock().spares.pop()
        {
            return Ok(spare);
        }
        self.make(capacity, 0)
    }

    /// Gives a file of `capacity` back that came to no use.
    pub fn put_back(&self, spare: Spare, capacity: u64) {
        let mut stock = self.stock();
        if capacity == self.sizes.segment && stock.spares.len() < self.kept_max {
            stock.spares.push(spare);
            return;
        }
        drop(stock);
        if let Err(e) = self.disk.remove(&spare.path) {
            // It is found and removed at the next start.
            tracing::warn!(path = %spare.path.display(), error = %e, "cannot remove an unused file");
        }
    }

    /// The path under which a file of `capacity` that is needed no more becomes a spare, if it is to become one.
    #[must_use]
    pub fn path_for_recycling(&self, capacity: u64) -> Option<PathBuf> {
        let mut stock = self.stock();
        (capacity == self.sizes.segment && stock.spares.len() < self.kept_max)
            .then(|| self.next_path(&mut stock))
    }

    /// Takes a file into stock that was renamed to [`Self::path_for_recycling`].
    pub fn add(&self, spare: Spare) {
        self.stock().spares.push(spare);
    }

    /// Makes files until `wanted` are in stock.
    ///
    /// # Errors
    /// The disk's.
    pub fn prepare(&self, wanted: usize) -> io::Result<()> {
        loop {
            // Taken anew for each: a writer in need of a file need not wait for all of them.
            let _making = lock(&self.making);
            if self.count() >= wanted {
                return Ok(());
            }
            let spare = self.make(self.sizes.segment, self.sizes.reserve)?;
            self.stock().spares.push(spare);
        }
    }

    fn make(&self, capacity: u64, reserve: u64) -> io::Result<Spare> {
        let free = self.disk.space(&self.dir)?.free;
        if free < capacity.saturating_add(reserve) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes free, {capacity} needed and {reserve} kept in reserve"),
            ));
        }
        let path = self.next_path(&mut self.stock());
        let file = self.disk.create(&path)?;
        let filled = self.fill(&*file, capacity);
        if let Err(e) = filled {
            if let Err(left) = self.disk.remove(&path) {
                // It is found and removed at the next start.
                tracing::warn!(path = %path.display(), error = %left, "cannot remove a file half made");
            }
            return Err(e);
        }
        Ok(Spare { path, file })
    }

    fn fill(&self, file: &dyn DiskFile, capacity: u64) -> io::Result<()> {
        file.allocate(capacity)?;
        let zeros = vec![0; ZEROS.min(usize::try_from(capacity).unwrap_or(ZEROS))];
        let mut at = 0;
        while at < capacity {
            let len = (capacity - at).min(zeros.len() as u64);
            let len = usize::try_from(len).expect("at most ZEROS");
            write_all_at(file, &zeros[..len], at)?;
            at += len as u64;
        }
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    fn next_path(&self, stock: &mut Stock) -> PathBuf {
        stock.made += 1;
        self.dir.join(format!("{PREFIX}{}", stock.made))
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        lock(&self.stock)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is changed in single steps, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
