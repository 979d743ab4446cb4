//! The server of flushed segments.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_types::{CollectionId, Failure, ManifestVersion, PartitionId, SegmentId};

use crate::read::{HitLists, NodeFetch, NodeQuery, NodeSearch, RowSet};

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Segments that answer searches.
    pub loaded: usize,
    /// Segments of the newest manifests.
    pub total: usize,
}

/// A segment that answers searches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSegment {
    /// The segment.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its shard.
    pub shard: u32,
    /// Rows, dead ones included.
    pub rows: u64,
    /// Bytes mapped or held.
    pub bytes: u64,
    /// Names of the indexes that serve it.
    pub indexes: Vec<String>,
}

/// The server of flushed segments.
#[async_trait]
pub trait QueryNode: Send + Sync {
    /// Starts to serve a collection, and returns at once. Serving it already is success.
    ///
    /// # Errors
    /// `CollectionNotFound`.
    async fn load(&self, collection: CollectionId) -> Result<(), Failure>;

    /// Stops to serve a collection. Not serving it is success.
    ///
    /// # Errors
    /// None today.
    async fn release(&self, collection: CollectionId) -> Result<(), Failure>;

    /// How far the load has come.
    ///
    /// # Errors
    /// `CollectionNotLoaded`; `Corrupt`, `Unavailable`: why a segment can't be served.
    async fn progress(&self, collection: CollectionId) -> Result<LoadProgress, Failure>;

    /// The newest manifest version served of each shard, in shard order; waits until it is no older than
    /// that of `at_least`, which has one a shard.
    ///
    /// # Errors
    /// `CollectionNotLoaded`; `Corrupt`, `Unavailable`: why a segment can't be served, or is not yet.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn versions(
        &self,
        collection: CollectionId,
        at_least: &[ManifestVersion],
    ) -> Result<Vec<ManifestVersion>, Failure>;

    /// Searches the segments of the view's manifest versions.
    ///
    /// # Errors
    /// `CollectionNotLoaded`; `Conflict` when a version is no longer served: take a new point.
    async fn search(&self, search: NodeSearch) -> Result<HitLists, Failure>;

    /// Matching rows of the segments of the view's manifest versions, in key order.
    ///
    /// # Errors
    /// As [`Self::search`].
    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure>;

    /// Number of matching rows of the segments of the view's manifest versions.
    ///
    /// # Errors
    /// As [`Self::search`].
    async fn count(&self, query: NodeQuery) -> Result<u64, Failure>;

    /// Fields of rows found by [`Self::search`], in the order asked.
    ///
    /// # Errors
    /// `Conflict` when a row's segment is no longer served: search again.
    async fn fetch(&self, fetch: NodeFetch) -> Result<RecordBatch, Failure>;

    /// The segments that answer searches.
    ///
    /// # Errors
    /// `CollectionNotLoaded`.
    async fn segments(&self, collection: CollectionId) -> Result<Vec<LoadedSegment>, Failure>;
}
