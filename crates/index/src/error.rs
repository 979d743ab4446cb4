//! Why a build or an open failed.

use holdfast_types::{Code, Coded};

use crate::search::Cancelled;

/// Stored bytes that are not the index they should be. They are refused, never guessed at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged index: section {section}, byte {offset}: {problem}")]
pub struct DamagedIndex {
    /// The part of the file.
    pub section: &'static str,
    /// Offset in the file of the first byte of the part, or of the value, that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub problem: String,
}

impl Coded for DamagedIndex {
    fn code(&self) -> Code {
        Code::Corrupt
    }
}

/// An index that was not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The caller gave up.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A parameter is out of its range.
    #[error("index_params.{name}: {value} is not in {range}")]
    Parameter {
        /// As clients write it.
        name: &'static str,
        /// What was given.
        value: usize,
        /// What is accepted.
        range: &'static str,
    },
    /// This kind of index is not built over such a column.
    #[error("{what}")]
    Unsupported {
        /// Which index over what.
        what: String,
    },
    /// The column itself is wrong: a defect of the caller.
    #[error("column: {problem}")]
    Column {
        /// What is wrong.
        problem: String,
    },
    /// More rows, links or bytes than the file format can number.
    #[error("{what} do not fit the index file")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
    },
    /// The graph builder failed: a defect.
    #[error("the graph builder failed: {0}")]
    Builder(String),
}

impl Coded for BuildError {
    fn code(&self) -> Code {
        match self {
            Self::Cancelled(c) => c.code(),
            Self::Parameter { .. } => Code::InvalidArgument,
            Self::Unsupported { .. } | Self::TooLarge { .. } => Code::Unsupported,
            Self::Column { .. } | Self::Builder(_) => Code::Internal,
        }
    }
}
