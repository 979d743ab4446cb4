//! Why a manifest could not be read or committed.

use holdfast_meta::MetaError;
use holdfast_types::{Code, Coded, Epoch, ManifestVersion, ShardId};

use crate::StorageError;

/// Why a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The pointer could not be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The manifest's object could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no such version: not yet, or no longer.
    #[error("version {version} of shard {shard} is not kept; read the newest")]
    NotRetained {
        /// The shard.
        shard: ShardId,
        /// The version asked for.
        version: ManifestVersion,
    },
}

impl Coded for LoadError {
    fn code(&self) -> Code {
        match self {
            Self::Meta(e) => e.code(),
            Self::Storage(e) => e.code(),
            Self::NotRetained { .. } => Code::Conflict,
        }
    }
}

/// Why a commit did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another commit was first. Nothing changed.
    #[error("shard {shard}: the newest manifest is {}, not {}", version(*found), version(*base))]
    Conflict {
        /// The shard.
        shard: ShardId,
        /// The version that the commit was based on.
        base: Option<ManifestVersion>,
        /// The newest version.
        found: Option<ManifestVersion>,
    },
    /// A writer of a newer epoch has committed. Nothing changed.
    #[error("shard {shard}: epoch {epoch} is fenced by {newer}")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The writer's epoch.
        epoch: Epoch,
        /// The epoch of the newest manifest.
        newer: Epoch,
    },
    /// The collection was dropped. Nothing changed.
    #[error("shard {shard}: its collection is dropped")]
    Dropped {
        /// The shard.
        shard: ShardId,
    },
    /// The manifest contradicts itself or what it follows: a defect of the caller. Nothing changed.
    #[error("shard {shard}: manifest refused: {problem}")]
    Refused {
        /// The shard.
        shard: ShardId,
        /// What is wrong.
        problem: String,
    },
    /// The pointer may or may not have moved, or may yet: look before trying again.
    #[error("shard {shard}: the outcome of a commit is unknown")]
    Unknown {
        /// The shard.
        shard: ShardId,
        /// Why.
        #[source]
        source: MetaError,
    },
    /// Something could not be read or written. Nothing changed.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Coded for CommitError {
    fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } => Code::Conflict,
            Self::Fenced { .. } => Code::NotLeader,
            Self::Dropped { .. } => Code::CollectionNotFound,
            Self::Refused { .. } => Code::Internal,
            Self::Unknown { .. } => Code::OutcomeUnknown,
            Self::Load(e) => e.code(),
        }
    }
}

fn version(version: Option<ManifestVersion>) -> String {
    version.map_or_else(|| "none".to_owned(), |v| v.to_string())
}
