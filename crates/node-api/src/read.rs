//! The point in time of a read, and its parts on each node.
//!
//! A proxy takes a [`ReadPoint`] from the owners of the collection's channels, chooses for each shard a
//! manifest version that the query-node serves, and sends the same [`ReadView`] to both: the stream-node
//! answers with the rows that are not in that version, the query-node with those that are. Together they
//! hold every row exactly once.

use std::sync::Arc;

use holdfast_segment::{Hit, QuerySpec, RowRef, Rows, SearchSpec};
use holdfast_types::{CollectionId, FieldId, Lsn, ManifestVersion, PartitionId, Timestamp};

/// What a read must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Every write acknowledged before the read began.
    Strong,
    /// Every write stamped at or before this; later ones may be seen.
    AtLeast(Timestamp),
    /// The state at exactly this stamp: the later pages of an iterator.
    Exactly(Timestamp),
}

/// Where a read stands in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardPoint {
    /// The shard, from 0.
    pub shard: u32,
    /// Whoever applies deletes must have applied the log up to here.
    pub lsn: Lsn,
    /// The oldest manifest version that the stream-node can still complement.
    pub oldest: ManifestVersion,
    /// The newest manifest version.
    pub newest: ManifestVersion,
}

/// A point in time that satisfies a guarantee, in every shard of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// Rows are seen as of this stamp.
    pub ts: Timestamp,
    /// One entry a shard, in shard order.
    pub shards: Vec<ShardPoint>,
}

/// A shard at one manifest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// The shard, from 0.
    pub shard: u32,
    /// The manifest version that divides flushed rows from fresh ones.
    pub version: ManifestVersion,
    /// Deletes up to here must have been applied.
    pub lsn: Lsn,
}

/// What both kinds of node are asked to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadView {
    /// The collection.
    pub collection: CollectionId,
    /// The shards to read, each at its version.
    pub shards: Arc<[ShardView]>,
    /// Only these partitions when present.
    pub partitions: Option<Arc<[PartitionId]>>,
}

/// A search of one node's part of a view. The stamp is in the spec.
#[derive(Clone, Debug)]
pub struct NodeSearch {
    /// What to read.
    pub view: ReadView,
    /// What to find.
    pub spec: Arc<SearchSpec>,
}

/// A query of one node's part of a view. The stamp is in the spec.
#[derive(Clone, Debug)]
pub struct NodeQuery {
    /// What to read.
    pub view: ReadView,
    /// What to find.
    pub spec: Arc<QuerySpec>,
}

/// Fields of rows that a search of the same view returned.
#[derive(Clone, Debug)]
pub struct NodeFetch {
    /// The view that found the rows.
    pub view: ReadView,
    /// The rows, in the order of the answer.
    pub rows: Vec<RowRef>,
    /// The fields wanted.
    pub fields: Vec<FieldId>,
}

/// The best hits of each query vector, each list best first.
pub type HitLists = Vec<Vec<Hit>>;

/// Matching rows in key order.
pub type RowSet = Rows;
