//! The redb file itself: its tables, how it is opened and what its errors mean.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction,
};

use super::{
    super::{Changes, MetaError, Versioned},
    backend::{Backend, Health},
};

const ROWS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("rows");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const FORMAT: &str = "format";
const REVISION: &str = "revision";
const FORMAT_VERSION: u64 = 1;
/// Everything is kept in memory already; redb needs room for a transaction only.
const CACHE_BYTES: usize = 4 << 20;

/// An open file.
#[derive(Debug)]
pub(super) struct DataFile {
    database: Database,
    health: Arc<Health>,
    path: PathBuf,
}

/// All that a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) rows: Vec<Versioned>,
    pub(super) revision: u64,
}

/// Why changes were not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// An fsync failed: what is on the disk cannot be known any more.
    SyncFailed(String),
    /// Something else failed.
    Failed {
        error: MetaError,
        /// The changes cannot be in the file: it was not told that they are committed.
        surely_not: bool,
    },
}

/// Opens one path.
#[derive(Debug)]
pub(super) struct Opener {
    path: PathBuf,
    #[cfg(test)]
    pub(super) faults: Arc<super::backend::Faults>,
}

impl Opener {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens or creates the file, checks every page of it, and reads it whole.
    pub(super) fn open_checked(&self) -> Result<(DataFile, Contents), MetaError> {
        if !self.path.exists() {
            self.create()?;
        }
        let mut file = self.open_at(&self.path)?;
        if file.is_blank()? {
            // An empty file that somebody put there.
            file.initialize()?;
        }
        let sound = file
            .database
            .check_integrity()
            .map_err(|e| meaning(&self.path, e.into()))?;
        if !sound {
            return Err(file.damaged("its pages do not match their checksums"));
        }
        let contents = file.read()?;
        Ok((file, contents))
    }

    /// Makes the file under another name and gives it its own when it is whole and durable: whenever the
    /// process is killed, what has the name can be opened.
    fn create(&self) -> Result<(), MetaError> {
        let unborn = self.unborn();
        remove_if_there(&unborn).map_err(|e| io_meaning(&self.path, e))?;
        let made = self.open_at(&unborn).and_then(|file| file.initialize());
        let named = made.and_then(|()| match fs::hard_link(&unborn, &self.path) {
            // Another process was faster; whoever opens it first has it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result.map_err(|e| io_meaning(&self.path, e)),
        });
        let removed = remove_if_there(&unborn).map_err(|e| io_meaning(&self.path, e));
        named.and(removed)?;
        self.sync_directory()
    }

    /// The name of a file that is being made. It ends in the process id, so that two processes do not make
    /// the same one.
    pub(super) fn unborn(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".new.{}", std::process::id()));
        name.into()
    }

    /// Opens the file once more after a failure, and reads its revision.
    pub(super) fn open_again(&self) -> Result<(DataFile, u64), MetaError> {
        let file = self.open_at(&self.path)?;
        let revision = file.revision()?;
        Ok((file, revision))
    }

    fn open_at(&self, path: &Path) -> Result<DataFile, MetaError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| io_meaning(&self.path, e))?;
        let health = Arc::new(Health::default());
        let backend = Backend::new(
            file,
            Arc::clone(&health),
            #[cfg(test)]
            Arc::clone(&self.faults),
        )
        .map_err(|e| meaning(&self.path, e.into()))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(|e| meaning(&self.path, e.into()))?;
        Ok(DataFile {
            database,
            health,
            path: self.path.clone(),
        })
    }

    /// Makes the name of a new file durable.
    fn sync_directory(&self) -> Result<(), MetaError> {
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(|e| io_meaning(&self.path, e))
    }
}

impl DataFile {
    /// Stores changes, durably.
    pub(super) fn write(&self, changes: &Changes) -> Result<(), WriteError> {
        let failed = |error: redb::Error, surely_not| {
            if self.health.sync_failed() {
                WriteError::SyncFailed(error.to_string())
            } else {
                WriteError::Failed {
                    error: meaning(&self.path, error),
                    surely_not,
                }
            }
        };
        let prepared = self.prepare(changes).map_err(|e| failed(e, true))?;
        self.health.watch_header();
        prepared
            .commit()
            .map_err(|e| failed(e.into(), !self.health.header_was_written()))
    }

    fn prepare(&self, changes: &Changes) -> Result<WriteTransaction, redb::Error> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(redb::Durability::Immediate)?;
        // In one phase, redb would answer a damaged last commit after a crash by silently going back to
        // the one before it. In two phases the last commit is known to be whole, and damage is an error.
        txn.set_two_phase_commit(true);
        {
            let mut rows = txn.open_table(ROWS)?;
            for event in &changes.events {
                match &event.value {
                    Some(value) => {
                        rows.insert(event.key.as_str(), (changes.revision, value.as_ref()))?;
                    }
                    None => {
                        rows.remove(event.key.as_str())?;
                    }
                }
            }
            let mut counters = txn.open_table(COUNTERS)?;
            counters.insert(REVISION, changes.revision)?;
        }
        Ok(txn)
    }

    /// Whether no table was ever made; refuses a file with tables that are not ours.
    fn is_blank(&self) -> Result<bool, MetaError> {
        let tables = || -> Result<Vec<String>, redb::Error> {
            let read = self.database.begin_read()?;
            let tables = read.list_tables()?.map(|t| t.name().to_owned()).collect();
            Ok(tables)
        };
        let tables = tables().map_err(|e| meaning(&self.path, e))?;
        let ours = [ROWS.name(), COUNTERS.name()];
        if !tables.is_empty() && !ours.iter().all(|name| tables.iter().any(|t| t == name)) {
            return Err(self.damaged(format!(
                "is a redb file but not a Holdfast metadata file: its tables are {tables:?}"
            )));
        }
        Ok(tables.is_empty())
    }

    fn initialize(&self) -> Result<(), MetaError> {
        let write = || -> Result<(), redb::Error> {
            let mut txn = self.database.begin_write()?;
            txn.set_two_phase_commit(true);
            txn.open_table(ROWS)?;
            {
                let mut counters = txn.open_table(COUNTERS)?;
                counters.insert(FORMAT, FORMAT_VERSION)?;
                counters.insert(REVISION, 0)?;
            }
            txn.commit()?;
            Ok(())
        };
        write().map_err(|e| meaning(&self.path, e))
    }

    /// The revision of the last transaction stored, in a file of a format that is known.
    fn revision(&self) -> Result<u64, MetaError> {
        let read = || -> Result<_, redb::Error> {
            let counters = self.database.begin_read()?.open_table(COUNTERS)?;
            let format = counters.get(FORMAT)?.map(|v| v.value());
            let revision = counters.get(REVISION)?.map(|v| v.value());
            Ok((format, revision))
        };
        match read().map_err(|e| meaning(&self.path, e))? {
            (Some(FORMAT_VERSION), Some(revision)) => Ok(revision),
            (Some(FORMAT_VERSION), None) => Err(self.damaged("has no revision")),
            (format, _) => Err(self.damaged(format!(
                "is of format {format:?}, {FORMAT_VERSION} is known"
            ))),
        }
    }

    fn read(&self) -> Result<Contents, MetaError> {
        let revision = self.revision()?;
        let read = || -> Result<Vec<Versioned>, redb::Error> {
            let table = self.database.begin_read()?.open_table(ROWS)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                let (mod_revision, value) = value.value();
                rows.push(Versioned {
                    key: key.value().to_owned(),
                    value: Bytes::copy_from_slice(value),
                    mod_revision,
                });
            }
            Ok(rows)
        };
        let rows = read().map_err(|e| meaning(&self.path, e))?;
        if let Some(row) = rows.iter().find(|row| row.mod_revision > revision) {
            return Err(self.damaged(format!(
                "{:?} is of revision {}, the file of {revision}",
                row.key, row.mod_revision
            )));
        }
        Ok(Contents { rows, revision })
    }

    fn damaged(&self, problem: impl Into<String>) -> MetaError {
        MetaError::damaged(self.path.display().to_string(), problem)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What an error of redb means to us.
fn meaning(path: &Path, error: redb::Error) -> MetaError {
    match error {
        redb::Error::Io(error) => io_meaning(path, error),
        redb::Error::DatabaseAlreadyOpen => MetaError::InUse {
            path: path.to_owned(),
        },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            io_meaning(path, io::Error::other("an earlier failure closed the file"))
        }
        other => MetaError::damaged(path.display().to_string(), other.to_string()),
    }
}

fn io_meaning(path: &Path, error: io::Error) -> MetaError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            MetaError::StorageFull {
                path: path.to_owned(),
                source: Arc::new(error),
            }
        }
        // redb reads where its pages say that there is something.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            MetaError::damaged(path.display().to_string(), error.to_string())
        }
        _ => MetaError::Io {
            path: path.to_owned(),
            source: Arc::new(error),
        },
    }
}
