//! What a coordinator is built on, its loops, and the calls of a proxy.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_meta::{Catalog, CollectionMeta};
use holdfast_node_api::{
    Coordinator, QueryNode, StreamNode, Worker,
    coordinator::{
        AlterParams, CollectionName, CompactionProgress, CreateCollection, CreateIndex,
        FlushReport, IndexProgress, Load, LoadState, Params, Statistics, StoredSegment,
    },
};
use holdfast_runtime::{Clock, Hlc, Shutdown};
use holdfast_storage::{Manifest, Manifests, Store};
use holdfast_types::{ChannelId, Failure, FieldSchema, IndexId, SegmentId, ShardId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{faults::Faults, merge_runs::Runs, options::Options};

/// What a coordinator is built on.
#[derive(Clone)]
pub struct Components {
    /// What exists.
    pub catalog: Arc<Catalog>,
    /// What the shards are made of.
    pub manifests: Arc<Manifests>,
    /// Where the objects are.
    pub store: Arc<Store>,
    /// The owner of the channels.
    pub streams: Arc<dyn StreamNode>,
    /// The server of flushed segments.
    pub queries: Arc<dyn QueryNode>,
    /// Builds and merges.
    pub worker: Arc<dyn Worker>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The logs that shards are spread over; at least one.
    pub channels: Vec<ChannelId>,
}

/// DDL and jobs.
pub struct CoordinatorService {
    pub(crate) parts: Components,
    pub(crate) options: Options,
    pub(crate) hlc: Hlc,
    /// Held while the load state of a collection and of the query-node change together: a load that is
    /// made good after a failure must not overtake a release.
    pub(crate) loads: tokio::sync::Mutex<()>,
    /// One clean-up of a dropped collection at a time.
    pub(crate) cleaning: tokio::sync::Mutex<()>,
    /// There may be indexes to build.
    pub(crate) index_work: Notify,
    /// There may be segments to merge.
    pub(crate) merge_work: Notify,
    /// Something was left undone.
    pub(crate) left_over: Notify,
    pub(crate) index_faults: Mutex<Faults<(SegmentId, IndexId)>>,
    pub(crate) merge_faults: Mutex<Faults<SegmentId>>,
    pub(crate) runs: Mutex<Runs>,
}

impl CoordinatorService {
    /// A coordinator that has made good what the last one left undone: drops are finished, loaded
    /// collections are being loaded. What fails is logged and tried again by [`Self::run`].
    ///
    /// # Errors
    /// `InvalidArgument` for settings that make no sense, and for no channel at all.
    pub async fn open(options: Options, parts: Components) -> Result<Arc<Self>, Failure> {
        options
            .validate()
            .map_err(|problem| Failure::invalid(problem).within("coordinator"))?;
        if parts.channels.is_empty() {
            return Err(Failure::invalid("coordinator: there is no channel"));
        }
        let hlc = Hlc::new(Arc::clone(&parts.clock));
        // Stamps of DDL go on from the newest one, also when the clock went back meanwhile.
        for meta in parts.catalog.snapshot().collections() {
            hlc.observe(meta.updated);
        }
        let (min, max) = (options.retry_min, options.retry_max);
        let service = Arc::new(Self {
            hlc,
            loads: tokio::sync::Mutex::default(),
            cleaning: tokio::sync::Mutex::default(),
            index_work: Notify::new(),
            merge_work: Notify::new(),
            left_over: Notify::new(),
            index_faults: Mutex::new(Faults::new(min, max)),
            merge_faults: Mutex::new(Faults::new(min, max)),
            runs: Mutex::default(),
            parts,
            options,
        });
        service.reconcile().await;
        Ok(service)
    }

    /// Has indexes built, segments merged, left-overs cleaned up and objects deleted until `shutdown`.
    ///
    /// A job under way is abandoned then: it has either committed or left nothing but objects that nothing
    /// names.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::join!(
            self.build_indexes(&shutdown),
            self.merge_segments(&shutdown),
            self.make_good(&shutdown),
            self.collect_objects(&shutdown),
            self.follow_manifests(&shutdown),
        );
    }

    /// The active collection of this name or alias.
    pub(crate) fn resolve(&self, name: &CollectionName) -> Result<Arc<CollectionMeta>, Failure> {
        let snapshot = self.parts.catalog.snapshot();
        snapshot.resolve(&name.database, &name.collection).cloned()
    }

    /// The newest manifest of every shard that has one.
    pub(crate) async fn manifests_of(
        &self,
        meta: &CollectionMeta,
    ) -> Result<Vec<Arc<Manifest>>, Failure> {
        let mut found = Vec::with_capacity(meta.shards.len());
        for shard in meta.shard_ids() {
            found.extend(self.manifest(shard).await?);
        }
        Ok(found)
    }

    pub(crate) async fn manifest(&self, shard: ShardId) -> Result<Option<Arc<Manifest>>, Failure> {
        let current = self.parts.manifests.current(shard).await;
        current.map_err(Failure::from)
    }

    /// What segments are made of has changed: there may be work.
    pub(crate) fn announce_segments(&self) {
        self.index_work.notify_one();
        self.merge_work.notify_one();
    }

    /// The wall clock as a stamp, for ages.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.parts.clock.unix_ms())
    }
}

#[async_trait]
impl Coordinator for CoordinatorService {
    async fn create_database(&self, name: &str, properties: Params) -> Result<(), Failure> {
        self.add_database(name, properties).await
    }

    async fn alter_database(&self, name: &str, change: AlterParams) -> Result<(), Failure> {
        self.change_database(name, &change).await
    }

    async fn drop_database(&self, name: &str) -> Result<(), Failure> {
        // A missing one is dropped already.
        self.parts.catalog.drop_database(name).await.map(drop)
    }

    async fn create_collection(&self, create: CreateCollection) -> Result<(), Failure> {
        self.add_collection(create).await
    }

    async fn drop_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        self.remove_collection(name).await
    }

    async fn rename_collection(
        &self,
        name: &CollectionName,
        to: &CollectionName,
    ) -> Result<(), Failure> {
        let now = self.hlc.next();
        let catalog = &self.parts.catalog;
        catalog
            .rename_collection(
                &name.database,
                &name.collection,
                &to.database,
                &to.collection,
                now,
            )
            .await
            .map(drop)
    }

    async fn alter_collection(
        &self,
        name: &CollectionName,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.change_collection(name, &change).await
    }

    async fn alter_field(
        &self,
        name: &CollectionName,
        field: &str,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.change_field(name, field, &change).await
    }

    async fn add_field(&self, name: &CollectionName, field: FieldSchema) -> Result<(), Failure> {
        self.append_field(name, field).await
    }

    async fn drop_field(&self, name: &CollectionName, field: &str) -> Result<(), Failure> {
        self.remove_field(name, field).await
    }

    async fn truncate_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        self.empty_collection(name).await
    }

    async fn create_partition(
        &self,
        name: &CollectionName,
        partition: &str,
    ) -> Result<(), Failure> {
        self.add_partition(name, partition).await
    }

    async fn drop_partition(&self, name: &CollectionName, partition: &str) -> Result<(), Failure> {
        self.remove_partition(name, partition).await
    }

    async fn create_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure> {
        let catalog = &self.parts.catalog;
        catalog
            .create_alias(&name.database, alias, &name.collection)
            .await
    }

    async fn alter_alias(&self, name: &CollectionName, alias: &str) -> Result<(), Failure> {
        let catalog = &self.parts.catalog;
        catalog
            .alter_alias(&name.database, alias, &name.collection)
            .await
    }

    async fn drop_alias(&self, database: &str, alias: &str) -> Result<(), Failure> {
        self.parts.catalog.drop_alias(database, alias).await
    }

    async fn create_index(&self, create: CreateIndex) -> Result<(), Failure> {
        self.define_index(create).await
    }

    async fn alter_index(
        &self,
        name: &CollectionName,
        index: &str,
        change: AlterParams,
    ) -> Result<(), Failure> {
        self.change_index(name, index, &change).await
    }

    async fn drop_index(
        &self,
        name: &CollectionName,
        field: &str,
        index: &str,
    ) -> Result<(), Failure> {
        self.remove_index(name, field, index).await
    }

    async fn index_progress(
        &self,
        name: &CollectionName,
        until: Option<Timestamp>,
    ) -> Result<Vec<IndexProgress>, Failure> {
        self.indexes_so_far(name, until).await
    }

    async fn load(&self, name: &CollectionName, load: Load) -> Result<(), Failure> {
        self.start_load(name, &load).await
    }

    async fn release(&self, name: &CollectionName) -> Result<(), Failure> {
        self.end_load(name).await
    }

    async fn release_partitions(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<(), Failure> {
        self.end_load_of(name, partitions).await
    }

    async fn load_state(
        &self,
        name: &CollectionName,
        partitions: &[String],
    ) -> Result<LoadState, Failure> {
        self.load_so_far(name, partitions).await
    }

    async fn flush(&self, name: &CollectionName) -> Result<FlushReport, Failure> {
        self.flush_now(name).await
    }

    async fn compact(&self, name: &CollectionName, force: bool) -> Result<i64, Failure> {
        self.plan_run(name, force).await
    }

    async fn compaction_progress(&self, id: i64) -> Result<CompactionProgress, Failure> {
        Ok(self.runs.lock().progress(id))
    }

    async fn compactions(&self, name: &CollectionName) -> Result<CompactionProgress, Failure> {
        let collection = self.resolve(name)?.id;
        Ok(self.runs.lock().progress_of(collection))
    }

    async fn stored_segments(&self, name: &CollectionName) -> Result<Vec<StoredSegment>, Failure> {
        self.list_segments(name).await
    }

    async fn statistics(
        &self,
        name: &CollectionName,
        partition: Option<&str>,
    ) -> Result<Statistics, Failure> {
        self.count_rows(name, partition).await
    }

    async fn timestamp(&self) -> Result<Timestamp, Failure> {
        Ok(self.hlc.now())
    }
}
