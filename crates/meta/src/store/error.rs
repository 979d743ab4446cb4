//! What a metadata store can refuse, and what its caller may do about it.

use std::{io, path::PathBuf, sync::Arc};

use holdfast_types::{Code, Coded};

/// Why a metadata operation failed. Unless it is [`Self::OutcomeUnknown`], nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetaError {
    /// The transaction itself is malformed.
    #[error("metadata transaction refused: {0}")]
    Refused(String),
    /// The changes after this revision are no longer remembered: list again.
    #[error("changes after revision {after} are forgotten, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        after: u64,
        /// The first revision that is still remembered.
        oldest: u64,
    },
    /// The disk is full. Nothing was written; reads go on, and writes do once there is room again.
    #[error("{}: no room for metadata", path.display())]
    StorageFull {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Stored bytes are damaged, or are not what they should be.
    #[error("{what}: {problem}")]
    Damaged {
        /// The file or the key.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process holds the store's file.
    #[error("{}: in use by another process", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The store could not be reached; nothing was written.
    #[error("{}: metadata is out of reach", path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The servers of the store could not be reached, or cannot serve now; nothing was written.
    #[error("{what}: metadata is out of reach: {problem}")]
    OutOfReach {
        /// The servers.
        what: String,
        /// What the last of them said.
        problem: String,
    },
    /// The servers of the store do not let this process in: its credentials or its rights are at fault.
    #[error("{what}: access to metadata is denied: {problem}")]
    Denied {
        /// The servers.
        what: String,
        /// What they said.
        problem: String,
    },
    /// The transaction may or may not be stored, now or a little later. An embedded store refuses writes until
    /// it is opened anew.
    #[error("{what}: the outcome of a metadata write is unknown: {problem}")]
    OutcomeUnknown {
        /// The file, or the servers.
        what: String,
        /// What happened.
        problem: String,
    },
    /// The store is closed, or refuses writes after an unknown outcome.
    #[error("metadata store is closed: {0}")]
    Closed(String),
}

impl MetaError {
    /// Damage of a named thing.
    pub(crate) fn damaged(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.into(),
            problem: problem.into(),
        }
    }
}

impl Coded for MetaError {
    fn code(&self) -> Code {
        match self {
            Self::Refused(_) => Code::InvalidArgument,
            Self::Compacted { .. } => Code::Conflict,
            Self::StorageFull { .. } => Code::QuotaExceeded,
            Self::Damaged { .. } => Code::Corrupt,
            Self::InUse { .. }
            | Self::Io { .. }
            | Self::OutOfReach { .. }
            | Self::Denied { .. }
            | Self::Closed(_) => Code::Unavailable,
            Self::OutcomeUnknown { .. } => Code::OutcomeUnknown,
        }
    }
}
