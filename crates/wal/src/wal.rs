//! The contract of a log. Every implementation passes `contract::run`.

use std::{
    fmt,
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_types::{ChannelId, Code, Coded, Epoch, Lsn};
use tokio::sync::oneshot;

/// Most bytes of one record.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// Durable logs, one per channel, each with at most one writer at a time.
#[async_trait]
pub trait Wal: Send + Sync {
    /// Takes the channel over at `epoch`: every append of a lower epoch fails from now on, and those
    /// that were under way are decided. Returns the writer and the last LSN in the log (0 when it is
    /// empty); every record up to it is durable.
    ///
    /// # Errors
    /// [`WalError::Fenced`] unless `epoch` is above every epoch that ever opened the channel;
    /// [`WalError::Corrupt`] when the log is damaged; [`WalError::Poisoned`] after a write or sync error.
    async fn open_writer(
        &self,
        channel: ChannelId,
        epoch: Epoch,
    ) -> Result<(Box<dyn WalWriter>, Lsn), WalError>;

    /// All durable records with an LSN of at least `from` (0 means 1), in order, each once, then
    /// those to come. The stream ends after an error, or when the log is closed.
    ///
    /// # Errors
    /// [`WalError::Trimmed`] when `from` is gone, [`WalError::BeyondEnd`] when the log ends before
    /// the record before `from`.
    async fn tail(&self, channel: ChannelId, from: Lsn) -> Result<TailStream, WalError>;

    /// The last durable LSN, 0 when there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn committed(&self, channel: ChannelId) -> Result<Lsn, WalError>;

    /// Allows the log to forget records with an LSN of at most `upto`. It may keep some of them.
    ///
    /// # Errors
    /// When the log cannot be read or changed.
    async fn trim(&self, channel: ChannelId, upto: Lsn) -> Result<(), WalError>;
}

/// The one writer of a channel.
#[async_trait]
pub trait WalWriter: Send + Sync {
    /// Queues a record. The order of calls is the order of LSNs; nothing here waits or blocks.
    ///
    /// The LSN returned is the record's only if `AppendDone` resolves to `Ok`. A rejected append
    /// rejects all that were queued behind it, and the next append takes its LSN: LSNs stay dense.
    fn append(&self, payload: Bytes) -> (Lsn, AppendDone);

    /// Waits until the queue has room, so that the next append is not refused as
    /// [`AppendError::Busy`]. This is how back-pressure reaches a writer. Cancel safe.
    async fn ready(&self);
}

/// Resolves when the fate of an append is known: `Ok` when the record is durable.
///
/// # Cancel safety
/// Dropping it leaves the append under way; its outcome is then learnt from the log.
#[must_use = "an append is durable only when this resolves to Ok"]
pub struct AppendDone(Outcome);

enum Outcome {
    Waiting(oneshot::Receiver<Result<Lsn, AppendError>>),
    Known(Option<AppendError>),
}

impl AppendDone {
    /// One whose fate the other end of the channel decides. An end that is dropped without a word
    /// counts as [`AppendError::Unknown`].
    pub fn waiting(fate: oneshot::Receiver<Result<Lsn, AppendError>>) -> Self {
        Self(Outcome::Waiting(fate))
    }

    /// One that was refused at the door.
    pub fn refused(error: AppendError) -> Self {
        Self(Outcome::Known(Some(error)))
    }
}

impl fmt::Debug for AppendDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendDone").finish_non_exhaustive()
    }
}

impl Future for AppendDone {
    type Output = Result<Lsn, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Outcome::Waiting(fate) => Pin::new(fate)
                .poll(cx)
                .map(|fate| fate.unwrap_or_else(|_| Err(AppendError::unknown("the writer died")))),
            Outcome::Known(error) => Poll::Ready(Err(error
                .take()
                .unwrap_or_else(|| AppendError::unknown("polled after its end")))),
        }
    }
}

/// Records to come.
pub type TailStream = BoxStream<'static, Result<WalEntry, WalError>>;

/// One durable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEntry {
    /// Its position.
    pub lsn: Lsn,
    /// The epoch of the writer that appended it.
    pub epoch: Epoch,
    /// Its bytes, as they were appended.
    pub payload: Bytes,
}

/// Why an append did not succeed. All but [`Self::Unknown`] mean: certainly not in the log, now or ever.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer took the channel over.
    #[error("the log is fenced by epoch {newer}")]
    Fenced {
        /// Its epoch.
        newer: Epoch,
    },
    /// There is no room on the disk. The writer stays usable and recovers when there is.
    #[error("no room for the log on its disk")]
    Full(#[source] Arc<io::Error>),
    /// The record may or may not be in the log, and the writer is of no use any more.
    #[error("append outcome unknown")]
    Unknown(#[source] Arc<io::Error>),
    /// An earlier write or sync failed for good.
    #[error("the log was closed to writes by an earlier error of its disk")]
    Poisoned,
    /// The queue is full: wait for [`WalWriter::ready`].
    #[error("{queued} bytes are waiting to be written already")]
    Busy {
        /// Bytes in the queue.
        queued: usize,
    },
    /// The record is larger than any may be.
    #[error("a record of {bytes} bytes is larger than {MAX_RECORD_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    fn unknown(why: &'static str) -> Self {
        Self::Unknown(Arc::new(io::Error::other(why)))
    }
}

impl Coded for AppendError {
    fn code(&self) -> Code {
        match self {
            Self::Fenced { .. } => Code::NotLeader,
            Self::Full(_) => Code::QuotaExceeded,
            Self::Unknown(_) => Code::OutcomeUnknown,
            Self::Poisoned | Self::Closed => Code::Unavailable,
            Self::Busy { .. } => Code::RateLimited,
            Self::TooLarge { .. } => Code::InvalidArgument,
        }
    }
}

/// Why a log cannot be opened, read or trimmed.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The epoch asked for is not above the one that holds the channel.
    #[error("the log is fenced by epoch {newer}")]
    Fenced {
        /// The epoch that holds it.
        newer: Epoch,
    },
    /// The records asked for are gone.
    #[error("the log was trimmed: its first record is {first}")]
    Trimmed {
        /// The first LSN still there.
        first: Lsn,
    },
    /// The reader is ahead of the log: the log has lost records, or it is another log.
    #[error("record {from} was asked for, but the log ends at {last}")]
    BeyondEnd {
        /// What was asked for.
        from: Lsn,
        /// The last LSN of the log.
        last: Lsn,
    },
    /// Stored bytes are damaged. The log is refused rather than shortened.
    #[error("{} is damaged at byte {offset}: {problem}", file.display())]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The disk failed to do something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What it was to do.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A write or sync failed. This is final until the process starts anew.
    #[error("the log was closed to writes by an earlier error of its disk")]
    Poisoned,
    /// Another process uses this directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// Which one.
        path: PathBuf,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
    /// What the log stands on does not answer; later it may.
    #[error("the log is out of reach: {problem}")]
    Unavailable {
        /// What does not answer.
        problem: String,
    },
    /// What is recorded about the log contradicts itself. Nothing was changed: an operator must look.
    #[error("the records of the log are broken: {problem}")]
    Broken {
        /// What is wrong.
        problem: String,
    },
    /// The settings contradict themselves.
    #[error("{field}: {problem}")]
    Options {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Coded for WalError {
    fn code(&self) -> Code {
        match self {
            Self::Fenced { .. } => Code::NotLeader,
            Self::Trimmed { .. } => Code::Conflict,
            Self::BeyondEnd { .. } | Self::Corrupt { .. } | Self::Broken { .. } => Code::Corrupt,
            Self::Io { .. }
            | Self::Poisoned
            | Self::Locked { .. }
            | Self::Closed
            | Self::Unavailable { .. } => Code::Unavailable,
            Self::Options { .. } => Code::InvalidArgument,
        }
    }
}
