//! What the catalog knows: databases, collections, partitions, indexes, aliases.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_types::{
    ChannelId, CollectionId, CollectionSchema, DataType, DatabaseId, FieldId, IndexId, Metric,
    PartitionId, ShardId, Timestamp,
};

/// Name of the database that always exists.
pub const DEFAULT_DATABASE: &str = "default";
/// Id of [`DEFAULT_DATABASE`].
pub const DEFAULT_DATABASE_ID: DatabaseId = DatabaseId(1);
/// Wire numbers of consistency levels run from 0 (Strong) to this one (Customized).
pub const CONSISTENCY_MAX: i32 = 4;

/// A name space for collections and aliases.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseMeta {
    /// Never changes and is never reused.
    pub id: DatabaseId,
    /// Unique; never changes.
    pub name: String,
    /// Settings as the client gave them, in its order.
    pub properties: Vec<(String, String)>,
    /// When it was created; zero for [`DEFAULT_DATABASE`] of a store older than its first clock reading.
    pub created: Timestamp,
}

/// Whether a collection is in use or on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CollectionState {
    /// In use.
    Active,
    /// Dropped for its users: it has no name any more. Its data is being removed.
    Dropping,
}

/// A collection with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionMeta {
    /// Never changes and is never reused.
    pub id: CollectionId,
    /// Where the name lives; changed by a rename across databases.
    pub database: DatabaseId,
    /// Unique in its database, together with all aliases. Of a dropping collection: its last name.
    pub name: String,
    /// Other names in the same database, ascending.
    pub aliases: Vec<String>,
    /// What the rows look like.
    pub schema: Arc<CollectionSchema>,
    /// The channel of each shard; shard `i` is at `i`.
    pub shards: Vec<ChannelId>,
    /// Wire number of the consistency level that reads use by default, 0 to [`CONSISTENCY_MAX`].
    pub consistency: i32,
    /// Settings as the client gave them.
    pub properties: BTreeMap<String, String>,
    /// Number of partitions that rows are spread over by the partition key; 0 without one.
    pub num_partitions: u32,
    /// All partitions, in order of creation.
    pub partitions: Vec<PartitionMeta>,
    /// All index definitions, in order of creation.
    pub indexes: Vec<IndexMeta>,
    /// What is to be served; `None` when the collection is not loaded.
    pub load: Option<LoadSpec>,
    /// When it was created.
    pub created: Timestamp,
    /// Stamp of the last change of the schema or the properties; clients compare it for equality.
    pub updated: Timestamp,
    /// The id of the next field that is added; ids of dropped fields are never reused.
    pub next_field_id: FieldId,
    /// Whether it is in use.
    pub state: CollectionState,
    /// Rows stamped at or before this are gone; zero when the collection was never truncated.
    pub truncated: Timestamp,
}

impl CollectionMeta {
    /// The partition of this name.
    #[must_use]
    pub fn partition(&self, name: &str) -> Option<&PartitionMeta> {
        self.partitions.iter().find(|p| p.name == name)
    }

    /// The partition of this id.
    #[must_use]
    pub fn partition_by_id(&self, id: PartitionId) -> Option<&PartitionMeta> {
        self.partitions.iter().find(|p| p.id == id)
    }

    /// The index of this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<&IndexMeta> {
        self.indexes.iter().find(|i| i.name == name)
    }

    /// The indexes on a field.
    pub fn indexes_on(&self, field: FieldId) -> impl Iterator<Item = &IndexMeta> {
        self.indexes.iter().filter(move |i| i.field == field)
    }

    /// The shards in order.
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        let collection = self.id;
        (0u32..)
            .take(self.shards.len())
            .map(move |index| ShardId { collection, index })
    }
}

/// A named part of a collection's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMeta {
    /// Never changes and is never reused.
    pub id: PartitionId,
    /// Unique in its collection.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
}

/// What is built for an index, all parameters resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexKind {
    /// Dense vectors, compared one by one.
    Flat,
    /// Graph over dense vectors.
    Hnsw {
        /// Links per node.
        m: u32,
        /// Candidates kept while building.
        ef_construction: u32,
    },
    /// Inverted lists over sparse vectors.
    SparseInverted,
    /// Binary vectors, compared one by one.
    BinFlat,
    /// Terms of a scalar field, each with its rows.
    Inverted,
    /// Few distinct scalars, each with a bitmap of rows.
    Bitmap,
    /// Sorted numbers.
    StlSort,
}

/// A value inside a JSON field that is indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPathMeta {
    /// The path as the client gave it, such as `meta["color"]`.
    pub path: String,
    /// The type that values are read as.
    pub cast: DataType,
}

/// An index definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexMeta {
    /// Never changes and is never reused.
    pub id: IndexId,
    /// The field.
    pub field: FieldId,
    /// Unique in its collection.
    pub name: String,
    /// What is built.
    pub kind: IndexKind,
    /// The parameters as the client gave them, in its order, to be shown again.
    pub asked: Vec<(String, String)>,
    /// How vectors are compared; `None` for scalar fields.
    pub metric: Option<Metric>,
    /// The part of a JSON field; `None` for the whole of any other field.
    pub json_path: Option<JsonPathMeta>,
    /// When it was created.
    pub created: Timestamp,
}

/// What of a collection is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSpec {
    /// The fields; empty means all.
    pub fields: Vec<FieldId>,
    /// The partitions; empty means all, those created later included.
    pub partitions: Vec<PartitionId>,
    /// Copies served; at least 1.
    pub replicas: u32,
}

/// Another name of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMeta {
    /// The database of the alias and of its collection.
    pub database: DatabaseId,
    /// The alias.
    pub name: String,
    /// The collection it stands for.
    pub collection: CollectionId,
    /// That collection's name.
    pub collection_name: String,
}

/// What a client asks for when it creates a collection; ids and stamps are given by the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCollection {
    /// Unique in its database, together with all aliases.
    pub name: String,
    /// Checked by the caller, field ids assigned.
    pub schema: Arc<CollectionSchema>,
    /// The channel of each shard; at least one.
    pub shards: Vec<ChannelId>,
    /// Wire number of the default consistency level.
    pub consistency: i32,
    /// Settings as the client gave them.
    pub properties: BTreeMap<String, String>,
    /// Number of partitions that rows are spread over by the partition key; 0 without one.
    pub num_partitions: u32,
    /// Names of the partitions to begin with.
    pub partitions: Vec<String>,
}
