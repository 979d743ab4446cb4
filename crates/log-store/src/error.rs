//! What went wrong with which object.

use std::sync::Arc;

use holdfast_journal::object::ObjectError;
use holdfast_types::{Code, Coded};

/// Why a segment cannot be stored or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The object storage does not answer, or refuses. Whatever was to be written may or may not be there.
    #[error("object storage: {key} cannot be {what}")]
    Unavailable {
        /// The object.
        key: String,
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such object.
    #[error("object storage: {key} is not there")]
    Missing {
        /// The object.
        key: String,
    },
    /// An object is not what was written.
    #[error("object storage: {key} is damaged: {problem}")]
    Damaged {
        /// The object.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The entries are not the whole segment, or not intact: nothing is published.
    #[error("not stored")]
    NotWhole(#[from] ObjectError),
}

impl Coded for LogStoreError {
    fn code(&self) -> Code {
        match self {
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Missing { .. } | Self::Damaged { .. } | Self::NotWhole(_) => Code::Corrupt,
        }
    }
}
