//! The disk of a log-node.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use holdfast_disk::{Disk, Space};
use holdfast_journal::{AppendError, Identity, JournalReader, JournalThread, ReadError};
use holdfast_qlog::{
    Entry, NodeImage, NodeRecord,
    messages::{Read, Reply},
};
use holdfast_types::{ChannelId, LogSegment};
use tokio::sync::Semaphore;

/// A journal that is written and read without blocking the caller.
pub trait Device: Send + Sync + fmt::Debug {
    /// Writes records behind all that were submitted before, as one: resolves when they are durable, or certainly or
    /// possibly not.
    fn submit(&self, records: Vec<NodeRecord>) -> BoxFuture<'static, Result<(), AppendError>>;

    /// Entries from the one that is asked for on.
    fn read(&self, read: Read) -> BoxFuture<'static, Result<Vec<Entry>, ReadError>>;

    /// Writes entries again that are damaged: they are read from where they are written now.
    fn mend(
        &self,
        log: ChannelId,
        segment: LogSegment,
        entries: Vec<Entry>,
    ) -> BoxFuture<'static, Result<(), AppendError>>;

    /// What is durable, but for the entries.
    fn image(&self) -> NodeImage;

    /// Counts as a start would, durably: copies of the disk that were made before are old from now on.
    fn raise_generation(&self) -> BoxFuture<'static, Result<(), AppendError>>;

    /// Which disk it is.
    fn identity(&self) -> Identity;

    /// How much room it has.
    ///
    /// # Errors
    /// The disk's.
    fn space(&self) -> io::Result<Space>;

    /// Sees every answer before it is sent, in the order in which the node gives them. A simulation compares them with what
    /// the disk has; the machine's disk need not know.
    fn answered(&self, _reply: &Reply) {}
}

/// A journal on a real disk, with a thread for writing and the runtime's blocking threads for reading.
#[derive(Debug)]
pub struct ThreadDevice {
    journal: JournalThread,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    reads: Arc<Semaphore>,
}

impl ThreadDevice {
    /// Of a journal in `dir`, with at most `reads_max` reads at one time.
    #[must_use]
    pub fn new(journal: JournalThread, disk: Arc<dyn Disk>, dir: &Path, reads_max: usize) -> Self {
        Self {
            journal,
            disk,
            dir: dir.to_owned(),
            reads: Arc::new(Semaphore::new(reads_max)),
        }
    }
}

impl Device for ThreadDevice {
    fn submit(&self, records: Vec<NodeRecord>) -> BoxFuture<'static, Result<(), AppendError>> {
        Box::pin(self.journal.submit(records))
    }

    fn read(&self, read: Read) -> BoxFuture<'static, Result<Vec<Entry>, ReadError>> {
        let reads = Arc::clone(&self.reads);
        let reader = self.journal.reader();
        let dir = self.dir.clone();
        Box::pin(async move {
            // Never closed, so there is a permit sooner or later.
            let _permit = reads.acquire_owned().await;
            let work = move || read_now(&reader, &read);
            match tokio::task::spawn_blocking(work).await {
                Ok(entries) => entries,
                Err(error) => Err(ReadError::Io {
                    path: dir,
                    source: io::Error::other(error),
                }),
            }
        })
    }

    fn mend(
        &self,
        log: ChannelId,
        segment: LogSegment,
        entries: Vec<Entry>,
    ) -> BoxFuture<'static, Result<(), AppendError>> {
        Box::pin(self.journal.mend(log, segment, entries))
    }

    fn image(&self) -> NodeImage {
        self.journal.reader().image()
    }

    fn raise_generation(&self) -> BoxFuture<'static, Result<(), AppendError>> {
        Box::pin(self.journal.raise_generation())
    }

    fn identity(&self) -> Identity {
        self.journal.identity()
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space(&self.dir)
    }
}

/// Reads on the caller's thread.
///
/// # Errors
/// [`ReadError`].
pub fn read_now(reader: &JournalReader, read: &Read) -> Result<Vec<Entry>, ReadError> {
    reader.read(read.log, read.segment, read.from, read.bytes_max)
}
