//! The owner of channels: orders and stamps writes, keeps fresh rows, flushes.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_types::{CollectionId, Failure, PartitionId, SegmentId, Timestamp};

use crate::{
    read::{Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadPoint, RowSet},
    write::{WriteAck, WriteRequest},
};

/// A flush that is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Segments that were sealed and flushed by it.
    pub segments: Vec<SegmentId>,
    /// Every write stamped at or before this is in a flushed segment.
    pub ts: Timestamp,
}

/// A segment that is still in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshSegment {
    /// The segment.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its shard.
    pub shard: u32,
    /// Rows, dead ones included.
    pub rows: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Whether it still takes rows.
    pub growing: bool,
    /// Stamp of its oldest row; `None` while it is empty.
    pub oldest: Option<Timestamp>,
}

/// The owner of channels.
#[async_trait]
pub trait StreamNode: Send + Sync {
    /// Makes a write durable and visible.
    ///
    /// # Errors
    /// `QuotaExceeded` (memory or disk: nothing was written), `Conflict` (`unchanged_since` failed:
    /// nothing was written), `OutcomeUnknown`, `CollectionNotFound`.
    async fn write(&self, request: WriteRequest) -> Result<WriteAck, Failure>;

    /// A point that satisfies `guarantee` in every shard; waits until there is one.
    ///
    /// # Errors
    /// `CollectionNotFound`; `InvalidArgument` for a guarantee too far in the future.
    async fn read_point(
        &self,
        collection: CollectionId,
        guarantee: Guarantee,
    ) -> Result<ReadPoint, Failure>;

    /// Searches the rows that are not in the view's manifest versions.
    ///
    /// # Errors
    /// `Conflict` when a version is older than the node can complement: take a new point.
    async fn search(&self, search: NodeSearch) -> Result<HitLists, Failure>;

    /// Matching rows that are not in the view's manifest versions, in key order.
    ///
    /// # Errors
    /// As [`Self::search`].
    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure>;

    /// Number of matching rows that are not in the view's manifest versions.
    ///
    /// # Errors
    /// As [`Self::search`].
    async fn count(&self, query: NodeQuery) -> Result<u64, Failure>;

    /// Fields of rows found by [`Self::search`], in the order asked.
    ///
    /// # Errors
    /// `Conflict` when a row's segment is no longer in memory: search again.
    async fn fetch(&self, fetch: NodeFetch) -> Result<RecordBatch, Failure>;

    /// Flushes everything written so far and waits until the manifests say so.
    ///
    /// # Errors
    /// `QuotaExceeded` (no room in the store), `Unavailable` (store out of reach).
    async fn flush(&self, collection: CollectionId) -> Result<Flushed, Failure>;

    /// Removes every row stamped up to now, and returns that stamp.
    ///
    /// # Errors
    /// As [`Self::write`].
    async fn truncate(&self, collection: CollectionId) -> Result<Timestamp, Failure>;

    /// Removes the rows of a partition that is being dropped.
    ///
    /// # Errors
    /// As [`Self::write`].
    async fn drop_partition(
        &self,
        collection: CollectionId,
        partition: PartitionId,
    ) -> Result<(), Failure>;

    /// Forgets a collection that is being dropped.
    ///
    /// # Errors
    /// As [`Self::write`].
    async fn drop_collection(&self, collection: CollectionId) -> Result<(), Failure>;

    /// Segments that are in memory and not in a manifest yet.
    ///
    /// # Errors
    /// `CollectionNotFound`.
    async fn fresh_segments(&self, collection: CollectionId) -> Result<Vec<FreshSegment>, Failure>;
}
