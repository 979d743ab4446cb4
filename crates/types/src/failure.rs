//! What went wrong, in terms of what the caller can do about it.

use std::fmt;

/// The closed list of kinds of failure. A variant exists because some caller acts differently on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is wrong; sending it again changes nothing.
    InvalidArgument,
    /// No such database.
    DatabaseNotFound,
    /// No such collection.
    CollectionNotFound,
    /// The collection is not loaded.
    CollectionNotLoaded,
    /// No such partition.
    PartitionNotFound,
    /// The partition is not loaded.
    PartitionNotLoaded,
    /// No such index.
    IndexNotFound,
    /// No such alias.
    AliasNotFound,
    /// An alias would have the name of a collection, or the other way round.
    AliasNameConflict,
    /// The alias belongs to another collection.
    AliasExists,
    /// The client's schema is older than the collection's: describe it again and retry.
    SchemaMismatch,
    /// Too many requests of this kind: retry later. Clients retry this one by themselves.
    RateLimited,
    /// A quota (memory, disk) is used up: writes are refused until there is room.
    QuotaExceeded,
    /// Another node owns this now: ask it.
    NotLeader,
    /// Not now; retry later.
    Unavailable,
    /// The deadline passed before an answer was ready; nothing is known to be wrong.
    DeadlineExceeded,
    /// The write may or may not have happened: look before sending it again.
    OutcomeUnknown,
    /// Somebody else changed the same thing first; read it again and retry.
    Conflict,
    /// Stored bytes are damaged; they are refused, not guessed at.
    Corrupt,
    /// Not built.
    Unsupported,
    /// A defect of Holdfast. The text stays on the server's side of the wire where it names internals.
    Internal,
}

impl Code {
    /// The name, for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::DatabaseNotFound => "database_not_found",
            Self::CollectionNotFound => "collection_not_found",
            Self::CollectionNotLoaded => "collection_not_loaded",
            Self::PartitionNotFound => "partition_not_found",
            Self::PartitionNotLoaded => "partition_not_loaded",
            Self::IndexNotFound => "index_not_found",
            Self::AliasNotFound => "alias_not_found",
            Self::AliasNameConflict => "alias_name_conflict",
            Self::AliasExists => "alias_exists",
            Self::SchemaMismatch => "schema_mismatch",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded => "quota_exceeded",
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// A failure that crosses a crate or a wire: what kind, and a sentence for a person.
///
/// The message says what was wrong, whose fault it is and what to do: lower case, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the caller can do.
    pub code: Code,
    /// What a person reads.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// A defect of Holdfast.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The same failure, its message led by where it happened.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// So that `?` hands any error on to who only needs to know what to do about it.
impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        error.to_failure()
    }
}

/// An error that knows what its caller can do.
pub trait Coded: std::error::Error {
    /// The kind of failure.
    fn code(&self) -> Code;

    /// The failure with the whole chain of causes as its message.
    fn to_failure(&self) -> Failure {
        let mut message = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Failure::new(self.code(), message)
    }
}
