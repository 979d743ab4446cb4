//! What can go wrong with a journal, and what is known afterwards.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_qlog::{StorageId, image::OutOfOrder, messages::ClusterId};
use holdfast_types::{ChannelId, Code, Coded, LogSegment, Lsn};

/// Why a journal cannot be opened or looked at.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A setting that cannot work.
    #[error("{field}: {problem}")]
    Options {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The disk belongs to another cluster.
    #[error(
        "{} holds a journal of cluster {found}, this is cluster {expected}: give this node the disk of its own, or an empty one",
        path.display()
    )]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The disk is another one than the node expects.
    #[error(
        "{} is storage {found}, this node expects {expected}: mount the disk of this node, or forget the old one",
        path.display()
    )]
    ForeignStorage {
        /// The directory.
        path: PathBuf,
        /// Which it is.
        found: StorageId,
        /// Which it should be.
        expected: StorageId,
    },
    /// Files that must be there are not.
    #[error("{}: {problem}; what it held must not be taken for empty: restore the files, or use an empty directory", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// Damage that nothing makes up for. No file was changed.
    #[error("{} is damaged at byte {offset}: {problem}", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// No room even for what start-up must write.
    #[error("no room for the journal in {}", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// What the disk says.
        #[source]
        source: io::Error,
    },
    /// The disk failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the disk says.
        #[source]
        source: io::Error,
    },
}

impl Coded for JournalError {
    fn code(&self) -> Code {
        match self {
            Self::Options { .. } => Code::InvalidArgument,
            Self::Locked { .. } | Self::Io { .. } => Code::Unavailable,
            Self::ForeignCluster { .. } | Self::ForeignStorage { .. } => Code::Conflict,
            Self::Missing { .. } | Self::Corrupt { .. } => Code::Corrupt,
            Self::Full { .. } => Code::QuotaExceeded,
        }
    }
}

/// Why records were not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// They do not follow from what the journal holds. Nothing was written.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// An entry is not what its writer made. Nothing was written.
    #[error("entry {lsn} of log {log} does not match its checksum")]
    NotIntact {
        /// The log.
        log: ChannelId,
        /// The entry.
        lsn: Lsn,
    },
    /// More than the format can hold. Nothing was written.
    #[error("{what} of {len} is more than {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large.
        len: usize,
        /// What it may be at most.
        max: usize,
    },
    /// No room. Nothing was written, nor will be.
    #[error("no room for the journal")]
    Full(#[source] Arc<io::Error>),
    /// Too much is waiting to be written. Nothing was written.
    #[error("{queued} bytes wait to be written already")]
    Busy {
        /// How much waits.
        queued: usize,
    },
    /// The disk failed before; the journal is only read until it is opened again. Nothing was written.
    #[error("the journal is read-only since its disk failed")]
    ReadOnly,
    /// The journal's thread has ended. Nothing was written.
    #[error("the journal is closed")]
    Closed,
    /// The disk failed in the middle: the records may or may not be there at the next start.
    #[error("the disk failed while records were written")]
    Unknown(#[source] Arc<io::Error>),
}

impl Coded for AppendError {
    fn code(&self) -> Code {
        match self {
            Self::OutOfOrder(_) => Code::Conflict,
            Self::NotIntact { .. } => Code::Corrupt,
            Self::TooLarge { .. } => Code::InvalidArgument,
            Self::Full(_) => Code::QuotaExceeded,
            Self::Busy { .. } => Code::RateLimited,
            Self::ReadOnly | Self::Closed => Code::Unavailable,
            Self::Unknown(_) => Code::OutcomeUnknown,
        }
    }
}

/// Why entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal holds nothing of this segment (any more).
    #[error("segment {segment} of log {log} is not here")]
    UnknownSegment {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
    },
    /// The segment begins later.
    #[error("segment {segment} of log {log} begins with {first}")]
    BeforeFirst {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// Its first entry.
        first: Lsn,
    },
    /// The entry was here, or may have been, and cannot be vouched for. It is to be had from another node.
    #[error("entry {lsn} of segment {segment} of log {log} is damaged: {damage}")]
    Damaged {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// The entry.
        lsn: Lsn,
        /// Where and what.
        damage: Box<Damage>,
    },
    /// The disk failed.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        #[source]
        source: io::Error,
    },
}

impl Coded for ReadError {
    fn code(&self) -> Code {
        match self {
            Self::UnknownSegment { .. } | Self::BeforeFirst { .. } => Code::InvalidArgument,
            Self::Damaged { .. } => Code::Corrupt,
            Self::Io { .. } => Code::Unavailable,
        }
    }
}

/// A stretch of bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// How far it reaches.
    pub bytes: u64,
    /// What is wrong.
    pub problem: String,
    /// What is lost by it.
    pub loss: Loss,
}

/// What damage takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: it is held a second time.
    Nothing,
    /// Entries: segments say so by `possible` above `certain`, and reading them fails.
    Entries,
    /// Perhaps promises, or the beginnings and ends of segments, as well: this node's word on them is no word.
    Control,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, end) = (self.file.display(), self.offset.saturating_add(self.bytes));
        write!(f, "{file}, bytes {}..{end}: {}", self.offset, self.problem)
    }
}

pub(crate) fn corrupt(file: &Path, offset: u64, problem: impl fmt::Display) -> JournalError {
    JournalError::Corrupt {
        file: file.to_owned(),
        offset,
        problem: problem.to_string(),
    }
}

pub(crate) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io {
        doing,
        path,
        source,
    }
}
