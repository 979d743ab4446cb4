//! The embedded store: one redb file, every transaction fsynced, everything readable from memory.
//!
//! Metadata is small, so the file is read whole when it is opened; reads and watches are served from
//! memory and never wait for the disk. A transaction is judged against memory, written to the file, and
//! published to memory once it is durable. The file has two tables: `rows`, key to (revision, value), and
//! `counters`, with `format` and `revision`.
//!
//! redb refuses everything after the first failed write until the file is opened again, so that is what
//! happens here: after a failure the file is closed, opened again, and asked for its revision, which tells
//! whether the transaction was stored. A failed fsync is different: no later read can tell what reached the
//! disk, so the store refuses all further writes.

mod backend;
mod file;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use tokio::{sync::Mutex, task};

use super::{
    Changes, MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned, WatchStream,
    feed::Feed,
    table::{HISTORY_CHANGES, Table, Verdict},
};
use file::{DataFile, Opener, WriteError};

/// Metadata in one redb file. The file is locked while this lives.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    feed: Arc<Feed>,
    writer: Arc<Mutex<Writer>>,
}

impl RedbStore {
    /// Opens the file, or creates it in an existing directory.
    ///
    /// # Errors
    /// [`MetaError::InUse`] while another process has it open, [`MetaError::Damaged`] when it is damaged
    /// or not a Holdfast metadata file (it is left as it is), [`MetaError::StorageFull`],
    /// [`MetaError::Io`]; all name the file.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, MetaError> {
        Self::open_with(Opener::new(path.into())).await
    }

    async fn open_with(opener: Opener) -> Result<Self, MetaError> {
        let path = opener.path().to_owned();
        let opened = task::spawn_blocking(move || {
            let (file, contents) = opener.open_checked()?;
            let feed = Feed::new(Table::new(
                contents.rows,
                contents.revision,
                HISTORY_CHANGES,
            ));
            Ok((feed, Writer::new(opener, file)))
        });
        let (feed, writer) = opened.await.map_err(|e| panicked(&path, &e))??;
        Ok(Self {
            path,
            feed,
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.feed.close();
    }
}

#[async_trait]
impl MetaStore for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        Ok(self.feed.table().get(key))
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        Ok(self.feed.table().range(prefix))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        // Waiting happens here, in order and without a thread; the lock then travels with the work, so
        // that a caller who gives up cannot leave a transaction half done.
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let feed = Arc::clone(&self.feed);
        let done = task::spawn_blocking(move || writer.txn(&feed, txn));
        done.await.unwrap_or_else(|e| {
            Err(MetaError::OutcomeUnknown {
                what: self.path.display().to_string(),
                problem: e.to_string(),
            })
        })
    }

    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError> {
        self.feed.watch(prefix, after_revision)
    }
}

/// redb asserts where it trusts its file, so a panic while opening means damage.
fn panicked(path: &Path, error: &task::JoinError) -> MetaError {
    MetaError::damaged(
        path.display().to_string(),
        format!("cannot be read as a redb file: {error}"),
    )
}

/// The writing side. Used on blocking threads only.
#[derive(Debug)]
struct Writer {
    opener: Opener,
    state: State,
    /// Changes handed to the file whose fate is not known yet.
    pending: Option<Changes>,
}

#[derive(Debug)]
enum State {
    Open(DataFile),
    /// To be opened again before the next write.
    Closed,
    /// Never to be written again, and why.
    Refused(String),
}

impl Writer {
    fn new(opener: Opener, file: DataFile) -> Self {
        Self {
            opener,
            state: State::Open(file),
            pending: None,
        }
    }

    fn txn(&mut self, feed: &Feed, txn: Txn) -> Result<TxnOutcome, MetaError> {
        if let Some(fate) = self.settle(feed)? {
            tracing::info!(path = %self.opener.path().display(), stored = fate.is_some(), "metadata file is open again");
        }
        let verdict = feed.table().evaluate(txn)?;
        let changes = match verdict {
            Verdict::Failed => return Ok(TxnOutcome::Failed),
            Verdict::Unchanged => {
                let revision = feed.table().revision();
                return Ok(TxnOutcome::Done { revision });
            }
            Verdict::Apply(changes) => changes,
        };
        let revision = changes.revision;
        // The state is taken out, so that a panic on the way leaves the file closed, not half used.
        let file = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(file) => file,
            State::Closed | State::Refused(_) => {
                return Err(MetaError::Closed("its file is not open".to_owned()));
            }
        };
        let pending = self.pending.insert(changes);
        match file.write(pending) {
            Ok(()) => self.state = State::Open(file),
            Err(WriteError::SyncFailed(problem)) => {
                let why = format!("an fsync failed: {problem}");
                self.state = State::Refused(why.clone());
                return Err(self.unknown(why));
            }
            Err(WriteError::Failed { error, surely_not }) => {
                // Closes the file, for it to be opened again.
                drop(file);
                if surely_not {
                    self.pending = None;
                }
                tracing::warn!(error = %error, "metadata write failed, opening the file again");
                return match self.settle(feed) {
                    Ok(Some(Some(stored))) if stored == revision => {
                        Ok(TxnOutcome::Done { revision })
                    }
                    Ok(_) => Err(error),
                    Err(_) if surely_not => Err(error),
                    Err(again) => Err(self.unknown(format!("{error}, then {again}"))),
                };
            }
        }
        if let Some(changes) = self.pending.take() {
            feed.publish(changes);
        }
        Ok(TxnOutcome::Done { revision })
    }

    /// Opens a closed file again and finds out what became of pending changes. `None`: it was open;
    /// `Some(revision of pending changes that turn out to be stored)` otherwise.
    fn settle(&mut self, feed: &Feed) -> Result<Option<Option<u64>>, MetaError> {
        match &self.state {
            State::Open(_) => return Ok(None),
            State::Refused(why) => return Err(MetaError::Closed(why.clone())),
            State::Closed => {}
        }
        let (file, stored) = self.opener.open_again()?;
        let known = feed.table().revision();
        let pending = self.pending.take();
        let fate = match pending {
            _ if stored == known => None,
            Some(changes) if stored == changes.revision => {
                feed.publish(changes);
                Some(stored)
            }
            _ => {
                let why = format!(
                    "{}: holds revision {stored} where {known} was written",
                    self.opener.path().display()
                );
                self.state = State::Refused(why.clone());
                return Err(MetaError::Closed(why));
            }
        };
        self.state = State::Open(file);
        Ok(Some(fate))
    }

    fn unknown(&self, problem: String) -> MetaError {
        MetaError::OutcomeUnknown {
            what: self.opener.path().display().to_string(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests;
