//! What can go wrong in a segment.

use holdfast_index::Cancelled;
use holdfast_types::{Code, Coded, FieldId};

/// A file of a segment is not what was written: it is refused, nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}: {problem}")]
pub struct DamagedSegment {
    /// The file, as the caller named it.
    pub file: String,
    /// Where in the file; the start of the smallest checked range.
    pub offset: u64,
    /// What is wrong there.
    pub problem: String,
}

impl Coded for DamagedSegment {
    fn code(&self) -> Code {
        Code::Corrupt
    }
}

/// A segment could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
    /// The segment's schema has no such field.
    #[error("field {0} is not in the schema")]
    UnknownField(FieldId),
    /// The request does not fit the field.
    #[error("{0}")]
    Invalid(String),
    /// Holdfast cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// A row number that the segment does not have.
    #[error("row {row} is not below {rows}")]
    NoSuchRow {
        /// The row asked for.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// A defect of Holdfast: columns that were checked do not fit together.
    #[error("{0}")]
    Internal(String),
}

impl Coded for SegmentError {
    fn code(&self) -> Code {
        match self {
            Self::Cancelled => Code::DeadlineExceeded,
            Self::UnknownField(_) | Self::Invalid(_) => Code::InvalidArgument,
            Self::Unsupported(_) => Code::Unsupported,
            Self::NoSuchRow { .. } | Self::Internal(_) => Code::Internal,
        }
    }
}

impl From<Cancelled> for SegmentError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<arrow_schema::ArrowError> for SegmentError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Internal(error.to_string())
    }
}
