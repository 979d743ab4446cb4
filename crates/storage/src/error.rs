//! What went wrong with which object.

use std::{error::Error, io};

use holdfast_types::{Code, Coded};

type Source = Box<dyn Error + Send + Sync>;

/// A failure to write, read, list or delete objects. Each names the object.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The object is not there.
    ///
    /// For an object that the newest manifest names this is loss of data. A reader of an older
    /// manifest may have outlived its retention: take the newest and try again.
    #[error("object {path} is missing")]
    NotFound {
        /// The object.
        path: String,
    },
    /// An object of this name is already there; nothing was written. Mint another name.
    #[error("object {path} exists already and objects are never overwritten")]
    AlreadyExists {
        /// The object.
        path: String,
    },
    /// The disk or its quota is full; nothing was written.
    #[error("no space left to write object {path}")]
    Full {
        /// The object.
        path: String,
        /// What the system said.
        #[source]
        source: Source,
    },
    /// The local cache has no room for a copy of the object, because everything in it is in use.
    #[error(
        "object {path}: its {needed} bytes do not fit into the cache of {budget} bytes, all else in it is in use; enlarge the cache"
    )]
    CacheFull {
        /// The object.
        path: String,
        /// Bytes of the object.
        needed: u64,
        /// Bytes the cache may hold.
        budget: u64,
    },
    /// The stored bytes are not those that were written. They are refused.
    #[error("object {path} is damaged: {problem}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// The object is larger than any object may be; nothing was written.
    #[error("object {path}: {size} bytes are more than the {max} an object may have")]
    TooLarge {
        /// The object.
        path: String,
        /// Bytes of the object.
        size: u64,
        /// Most bytes of an object.
        max: u64,
    },
    /// The store belongs to another cluster, or to an earlier life of this one. Nothing was written.
    #[error(
        "the object store belongs to cluster {owner}, and this one is {cluster}: give every cluster a bucket, prefix or \
         folder of its own, and bring metadata back together with the objects they belong to"
    )]
    Foreign {
        /// Whose it is.
        owner: String,
        /// Who asked.
        cluster: String,
    },
    /// The store did not answer, or refused. A failed put may or may not have left an object of
    /// this name behind; nothing names it, so it is collected.
    #[error("object store: {operation} {path} failed")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// The object or prefix.
        path: String,
        /// Why it failed.
        #[source]
        source: Source,
    },
}

impl Coded for StorageError {
    fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } | Self::Damaged { .. } => Code::Corrupt,
            Self::AlreadyExists { .. } => Code::Conflict,
            Self::Full { .. } | Self::CacheFull { .. } => Code::QuotaExceeded,
            Self::TooLarge { .. } | Self::Foreign { .. } => Code::Unsupported,
            Self::Unavailable { .. } => Code::Unavailable,
        }
    }
}

impl StorageError {
    pub(crate) fn damaged(path: &impl ToString, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_string(),
            problem: problem.into(),
        }
    }

    /// Names the operation and the object of a failure of the underlying store.
    pub(crate) fn of_store(
        operation: &'static str,
        path: &impl ToString,
        source: object_store::Error,
    ) -> Self {
        let path = path.to_string();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { path },
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Self::AlreadyExists { path },
            other if is_full(&other) => Self::Full {
                path,
                source: Box::new(other),
            },
            other => Self::Unavailable {
                operation,
                path,
                source: Box::new(other),
            },
        }
    }

    /// Names the operation and the object of a failure of the file system.
    pub(crate) fn of_io(operation: &'static str, path: &impl ToString, source: io::Error) -> Self {
        let path = path.to_string();
        let source: Source = Box::new(source);
        if is_full(source.as_ref()) {
            Self::Full { path, source }
        } else {
            Self::Unavailable {
                operation,
                path,
                source,
            }
        }
    }
}

/// Whether some cause in the chain is a full disk or quota.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = error.source();
    }
    false
}
