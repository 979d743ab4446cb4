//! What a proxy asks of the owner of a channel, to change rows.

use arrow_array::RecordBatch;
use holdfast_types::{CollectionId, PartitionId, PkList, Timestamp};

/// A change of rows that is acknowledged, and becomes visible, as one.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// The collection.
    pub collection: CollectionId,
    /// Refuse with `Conflict` when a key of this write was written after this stamp: the guard of a
    /// read-modify-write (partial upsert).
    pub unchanged_since: Option<Timestamp>,
    /// The change of each shard and partition.
    pub parts: Vec<WritePart>,
}

/// The change of one shard and partition.
#[derive(Clone, Debug)]
pub struct WritePart {
    /// The shard, from 0.
    pub shard: u32,
    /// The partition that `rows` go to.
    pub partition: PartitionId,
    /// New rows: every field of the schema in schema order (`columns::row_schema`), checked.
    pub rows: Option<RecordBatch>,
    /// Keys whose older rows die, wherever in the shard they are. The rows of this same write live. A delete
    /// within one partition is resolved to keys first. The keys of `rows` need not be repeated: the newest
    /// row of a key supersedes the older ones.
    pub deletes: Option<PkList>,
}

/// A write that is durable and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteAck {
    /// Its stamp: a read with a guarantee of at least this sees it.
    pub ts: Timestamp,
}
