//! DDL, load and release, flush, compaction, and their progress. Never on the path of a write or a search.

use async_trait::async_trait;
use holdfast_types::{
    CollectionId, CollectionSchema, Failure, FieldSchema, IndexId, PartitionId, SegmentId, ShardId,
    Timestamp,
};

/// A collection by name or alias, in a database by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionName {
    /// The database.
    pub database: String,
    /// The collection's name or alias.
    pub collection: String,
}

/// A list of keys and values in the client's words.
pub type Params = Vec<(String, String)>;

/// A new collection.
#[derive(Clone, Debug)]
pub struct CreateCollection {
    /// Where, and its name.
    pub name: CollectionName,
    /// Checked; field ids are assigned.
    pub schema: CollectionSchema,
    /// 1 or more.
    pub shards: u32,
    /// Number of the consistency level on the public wire.
    pub consistency: i32,
    /// Collection properties.
    pub properties: Params,
    /// Partitions to make, iff there is a partition key.
    pub key_partitions: Option<u32>,
}

/// A change of keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterParams {
    /// Keys to set.
    pub set: Params,
    /// Keys to remove.
    pub remove: Vec<String>,
}

/// A new index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// The collection.
    pub name: CollectionName,
    /// The field.
    pub field: String,
    /// Empty: made from the field's name.
    pub index: String,
    /// `index_type`, `metric_type`, `params` (JSON) and each build parameter again, as the client sent them.
    pub params: Params,
}

/// A load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Only these partitions, by name; empty: all.
    pub partitions: Vec<String>,
    /// Only these fields, by name; empty: all.
    pub fields: Vec<String>,
    /// Copies; 0 means 1.
    pub replicas: u32,
}

/// State of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// No such collection or partition.
    NotExist,
    /// Not loaded.
    NotLoaded,
    /// Loading, percent done.
    Loading(u8),
    /// Answers searches.
    Loaded,
}

/// Progress of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexProgress {
    /// The definition.
    pub index: IndexId,
    /// Rows of segments that have the index, and of fresh rows that need none.
    pub indexed_rows: u64,
    /// Rows that count.
    pub total_rows: u64,
    /// Rows of flushed segments that still lack it.
    pub pending_rows: u64,
    /// Why builds fail, if they do for good.
    pub failure: Option<String>,
}

/// A flushed segment as the newest manifest has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// The segment.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its shard.
    pub shard: u32,
    /// Rows, dead ones included.
    pub rows: u64,
    /// Rows known to be dead.
    pub deleted_rows: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Compaction level.
    pub level: u32,
    /// Definitions whose index it has.
    pub indexes: Vec<IndexId>,
    /// Segments it was merged from.
    pub merged_from: Vec<SegmentId>,
}

/// A flush that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushReport {
    /// The collection.
    pub collection: CollectionId,
    /// Segments flushed by this call.
    pub segments: Vec<SegmentId>,
    /// All flushed segments now.
    pub all_segments: Vec<SegmentId>,
    /// Every write stamped at or before this is flushed.
    pub ts: Timestamp,
}

/// In place of the number of a compaction: there is nothing to merge.
pub const NOTHING_TO_MERGE: i64 = -1;

/// One merge of a compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePlan {
    /// Its number, that of no other merge or compaction.
    pub id: i64,
    /// The compaction that it belongs to.
    pub compaction: i64,
    /// The shard.
    pub shard: ShardId,
    /// The partition.
    pub partition: PartitionId,
    /// Segments merged.
    pub sources: Vec<SegmentId>,
    /// The result, once there is one; segment 0 when no row was left.
    pub target: Option<SegmentId>,
    /// How far it is.
    pub state: MergeState,
}

/// How far a merge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeState {
    /// For its turn, the first or another one.
    Waiting,
    /// Under way.
    Running,
    /// Done, or found to be no longer needed.
    Done,
    /// Failed for good, and why.
    Failed(String),
}

/// State of a compaction, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactionProgress {
    /// Merges still to be done.
    pub executing: u64,
    /// Merges done.
    pub completed: u64,
    /// Merges that failed.
    pub failed: u64,
    /// All merges.
    pub plans: Vec<MergePlan>,
}

/// Rows that statistics show: persisted and fresh, dead ones excluded where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows.
    pub rows: u64,
}

/// DDL and jobs. Names are resolved here; every error is in the words of the public wire.
#[async_trait]
#[allow(
    clippy::missing_errors_doc,
    reason = "each call fails with the not-found code of what it names, InvalidArgument, or Unavailable when the catalog is out of reach"
)]
pub trait Coordinator: Send + Sync {
    /// Creates a database.
    async fn create_database(&self, name: &str, properties: Params) -> Result<(), Failure>;
    /// Changes a database's properties.
    async fn alter_database(&self, name: &str, change: AlterParams) -> Result<(), Failure>;
    /// Drops an empty database.
    async fn drop_database(&self, name: &str) -> Result<(), Failure>;

    /// Creates a collection; the same one again is success.
    async fn create_collection(&self, create: CreateCollection) -> Result<(), Failure>;
    /// Drops a collection and all its data; a missing one is success.
    async fn drop_collection(&self, name: &CollectionName) -> Result<(), Failure>;
    /// Renames a collection, possibly into another database.
    async fn rename_collection(
        &self,
        name: &CollectionName,
        to: &CollectionName,
    ) -> Result<(), Failure>;
    /// Changes a collection's properties.
    async fn alter_collection(
        &self,
        name: &CollectionName,
        change: AlterParams,
    ) -> Result<(), Failure>;
    /// Changes a field's type parameters (`max_length`, `max_capacity`, `mmap.enabled` ...).
    async fn alter_field(
        &self,
        name: &CollectionName,
        field: &str,
        change: AlterParams,
    ) -> Result<(), Failure>;
    /// Adds a nullable field; its id is assigned here.
    async fn add_field(&self, name: &CollectionName, field: FieldSchema) -> Result<(), Failure>;
    /// Drops a field and its indexes.
    async fn drop_field(&self, name: &CollectionName, field: &str) -> Result<(), Failure>;
    /// Removes all rows.
    async fn truncate_collection(&self, name: &CollectionName) -> Result<(), Failure>;

    /// Creates a partition; an existing one is success.
    async fn create_partition(&self, name: &CollectionName, partition: &str)
    -> Result<(), Failure>;
    /// Drops a partition and its rows; a missing one is success.
    async fn drop_partition(&self, name: &CollectionName, partition: &str) -> Result<(), Failure>;

    /// Creates an alias.
    async fn create_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure>;
    /// Points an alias at another collection.
    async fn alter_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure>;
    /// Drops an alias.
    async fn drop_alias(&self, database: &str, alias: &str) -> Result<(), Failure>;

    /// Defines an index; builds run in the background.
    async fn create_index(&self, create: CreateIndex) -> Result<(), Failure>;
    /// Changes an index's parameters.
    async fn alter_index(
        &self,
        name: &CollectionName,
        index: &str,
        change: AlterParams,
    ) -> Result<(), Failure>;
    /// Drops an index by its name, or all of a field's when `index` is empty; a missing one is success.
    async fn drop_index(
        &self,
        name: &CollectionName,
        field: &str,
        index: &str,
    ) -> Result<(), Failure>;
    /// Progress of every index; only rows stamped at or before `until` count, when given.
    async fn index_progress(
        &self,
        name: &CollectionName,
        until: Option<Timestamp>,
    ) -> Result<Vec<IndexProgress>, Failure>;

    /// Loads a collection or partitions and returns at once.
    async fn load(&self, name: &CollectionName, load: Load) -> Result<(), Failure>;
    /// Releases a collection; an unloaded one is success.
    async fn release(&self, name: &CollectionName) -> Result<(), Failure>;
    /// Releases partitions.
    async fn release_partitions(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<(), Failure>;
    /// State of a load, of the collection or of partitions.
    async fn load_state(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<LoadState, Failure>;

    /// Flushes a collection and waits until it is done.
    async fn flush(&self, name: &CollectionName) -> Result<FlushReport, Failure>;
    /// Merges segments: all small or dead-heavy ones, or everything when `force`. Returns the id of the
    /// compaction; that of the one under way when it leaves nothing to plan; [`NOTHING_TO_MERGE`].
    async fn compact(&self, name: &CollectionName, force: bool) -> Result<i64, Failure>;
    /// State of a compaction; one that is not known is done, without any merge.
    async fn compaction_progress(&self, id: i64) -> Result<CompactionProgress, Failure>;
    /// All merges of a collection that are still known, those that nobody asked for included, oldest first.
    async fn compactions(&self, name: &CollectionName) -> Result<CompactionProgress, Failure>;

    /// Flushed segments of the newest manifests.
    async fn stored_segments(&self, name: &CollectionName) -> Result<Vec<StoredSegment>, Failure>;
    /// Rows of a collection, or of one partition.
    async fn statistics(
        &self,
        name: &CollectionName,
        partition: Option<&str>,
    ) -> Result<Statistics, Failure>;
    /// A stamp of now.
    async fn timestamp(&self) -> Result<Timestamp, Failure>;
}
