//! Index builds and compaction. Jobs are idempotent: their result is one manifest commit.

use async_trait::async_trait;
use holdfast_types::{Failure, IndexId, SegmentId, ShardId, Timestamp};

/// Build one index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexJob {
    /// The shard of the segment.
    pub shard: ShardId,
    /// The segment.
    pub segment: SegmentId,
    /// The index definition in the catalog.
    pub index: IndexId,
}

/// Merge segments of one shard and partition into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionJob {
    /// The shard.
    pub shard: ShardId,
    /// The segments, all of one partition.
    pub sources: Vec<SegmentId>,
    /// Rows deleted at or before this stamp are dropped for good.
    pub drop_deleted_before: Timestamp,
    /// Rows stamped at or before this have outlived the collection's TTL.
    pub expired_before: Option<Timestamp>,
}

/// What a job came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// The manifest has the result.
    Done,
    /// What the job was about is gone (segment compacted, index dropped, collection dropped): nothing to do.
    Obsolete,
}

/// A compaction that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Whether there was anything to do.
    pub outcome: JobOutcome,
    /// The merged segment; `None` when no row was left.
    pub target: Option<SegmentId>,
}

/// Builds and merges.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Builds one index of one segment and commits it to the shard's manifest.
    ///
    /// # Errors
    /// `QuotaExceeded` (memory budget: later), `Corrupt`, `Unavailable`, `InvalidArgument` (the data can't
    /// be indexed so: final).
    async fn build_index(&self, job: IndexJob) -> Result<JobOutcome, Failure>;

    /// Merges segments and commits the result to the shard's manifest.
    ///
    /// # Errors
    /// As [`Self::build_index`].
    async fn compact(&self, job: CompactionJob) -> Result<Compacted, Failure>;
}
