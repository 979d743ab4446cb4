//! Identifiers and positions. Each is a type of its own, so that none can stand in for another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A database. `default` is always 1.
    DatabaseId(i64)
}
id! {
    /// A collection, unique in the cluster and never reused.
    CollectionId(i64)
}
id! {
    /// A partition, unique in the cluster and never reused.
    PartitionId(i64)
}
id! {
    /// A field within its collection. User fields count from 100; 1 is the row stamp.
    FieldId(i64)
}
id! {
    /// An index definition (not one segment's index file).
    IndexId(i64)
}
id! {
    /// A segment, unique in the cluster and never reused.
    SegmentId(i64)
}
id! {
    /// A physical log. The shards of all collections are spread over a fixed number of them.
    ChannelId(u32)
}
id! {
    /// Position of a record in one channel's log: dense, the first record is 1; 0 is "before the first".
    Lsn(u64)
}
id! {
    /// Term of a channel's writer: strictly rising, taken by one compare-and-set.
    Epoch(u64)
}
id! {
    /// A stretch of one channel's log: written by one epoch to one set of log-nodes. Numbers rise along the log, with gaps.
    LogSegment(u64)
}
id! {
    /// Version of one shard's manifest: dense, the first is 1; 0 is "no manifest yet".
    ManifestVersion(u64)
}
id! {
    /// Row number within one segment.
    RowIdx(u32)
}

impl Lsn {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LogSegment {
    /// The segment after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ManifestVersion {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One hash slice of a collection. All rows of a primary key live in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The collection.
    pub collection: CollectionId,
    /// Which slice of it, from 0.
    pub index: u32,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.index)
    }
}
