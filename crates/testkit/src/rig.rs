//! Nodes that start, crash and start again over the same directories.

use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

use holdfast_meta::{
    Catalog, CollectionMeta, DEFAULT_DATABASE, IndexKind, IndexMeta, LoadSpec, MemoryStore,
    MetaStore, NewCollection,
};
use holdfast_node_api::{
    QueryNode, StreamNode, Worker,
    worker::{CompactionJob, IndexJob},
    write::{WritePart, WriteRequest},
};
use holdfast_query_node::QueryNodeService;
use holdfast_runtime::{Clock, CpuPool, MemoryBudget, Shutdown, SystemClock};
use holdfast_storage::{Manifest, Manifests, Store, testing::Faulty};
use holdfast_stream_node::StreamNodeService;
use holdfast_types::{
    ChannelId, CollectionId, Epoch, Failure, IndexId, Metric, PartitionId, PkList, SegmentId,
    ShardId, Timestamp,
};
use holdfast_wal::{LocalWal, Wal, WalError};
use holdfast_worker::WorkerService;
use tempfile::TempDir;

use crate::{LosesAnswers, rows};

/// What the nodes are started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the stream-node.
    pub stream: holdfast_stream_node::Options,
    /// Of the query-node.
    pub query: holdfast_query_node::Options,
    /// Of the log.
    pub wal: holdfast_wal::local::Options,
    /// Bytes of memory.
    pub budget: u64,
    /// Shards of the collection.
    pub shards: u32,
    /// Channels that the shards are spread over.
    pub channels: u32,
    /// Partitions of the collection: a row is in that of its key modulo their number.
    pub partitions: i64,
    /// Whether keys are texts.
    pub text_keys: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let quick = Duration::from_millis(20);
        Self {
            stream: holdfast_stream_node::Options {
                linger: Duration::from_millis(60),
                maintenance_period: quick,
                ..holdfast_stream_node::Options::default()
            },
            query: holdfast_query_node::Options {
                linger: Duration::from_millis(100),
                maintenance_period: quick,
                wait_max: Duration::from_secs(10),
                ..holdfast_query_node::Options::default()
            },
            wal: holdfast_wal::local::Options {
                segment_bytes: 64 << 10,
                reserve_bytes: 0,
                ..holdfast_wal::local::Options::default()
            },
            budget: 256 << 20,
            shards: 1,
            channels: 1,
            partitions: 1,
            text_keys: false,
        }
    }
}

/// Directories and a metadata store that outlive the nodes over them.
pub struct Rig {
    dir: TempDir,
    meta: Arc<LosesAnswers>,
    /// What the next nodes are started with.
    pub settings: Settings,
    collection: Option<CollectionId>,
    nodes: Option<Nodes>,
}

/// Nodes at work.
pub struct Nodes {
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// The log.
    pub wal: Arc<dyn Wal>,
    /// The object store's faults.
    pub faulty: Arc<Faulty>,
    /// The metadata store's faults.
    pub meta: Arc<LosesAnswers>,
    /// Manifests.
    pub manifests: Arc<Manifests>,
    /// Where reads are merged.
    pub pool: Arc<CpuPool>,
    /// Memory.
    pub budget: Arc<MemoryBudget>,
    /// The owner of the channels.
    pub streams: StreamNodeService,
    /// The server of flushed segments.
    pub queries: QueryNodeService,
    /// Builds and merges.
    pub worker: WorkerService,
    /// The collection.
    pub collection: CollectionId,
    shutdown: Shutdown,
}

impl Deref for Rig {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        self.nodes.as_ref().expect("the nodes are started")
    }
}

impl Rig {
    /// Nodes over an empty directory, serving one collection.
    ///
    /// # Panics
    /// When that fails.
    pub async fn new(settings: Settings) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let meta = LosesAnswers::new(Arc::new(MemoryStore::new()));
        let mut rig = Self {
            dir,
            meta,
            settings,
            collection: None,
            nodes: None,
        };
        rig.start().await;
        rig
    }

    /// Ends the nodes without closing anything, and starts new ones over what they left.
    ///
    /// # Panics
    /// When they don't start.
    pub async fn crash(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Ends the nodes without closing anything.
    ///
    /// # Panics
    /// When a task does not end.
    pub async fn stop(&mut self) {
        let Some(nodes) = self.nodes.take() else {
            return;
        };
        nodes.shutdown.trigger();
        assert!(
            nodes.shutdown.drained(Duration::from_secs(20)).await,
            "a task does not end"
        );
    }

    /// Starts nodes over what there is.
    ///
    /// # Panics
    /// When they don't start.
    pub async fn start(&mut self) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let meta: Arc<dyn MetaStore> = Arc::clone(&self.meta) as _;
        let now = Timestamp::from_unix_ms(clock.unix_ms());
        let catalog = Catalog::open(Arc::clone(&meta), now)
            .await
            .expect("the catalog opens");
        let collection = match self.collection {
            Some(id) => id,
            None => self.create(&catalog, now).await,
        };
        self.collection = Some(collection);
        let wal = self.open_wal().await;
        let mut faulty = None;
        let store = Store::open_local_through(&self.dir.path().join("objects"), |files| {
            let layer = Faulty::new(files);
            faulty = Some(Arc::clone(&layer));
            layer
        });
        let store = Arc::new(store.expect("the store opens"));
        let manifests = Arc::new(Manifests::new(Arc::clone(&meta), Arc::clone(&store)));
        let pool = CpuPool::new(2).expect("a pool");
        let budget = MemoryBudget::new(self.settings.budget);
        let shutdown = Shutdown::new();
        let channels: Vec<ChannelId> = (0..self.settings.channels).map(ChannelId).collect();
        let parts = holdfast_stream_node::Components {
            meta: Arc::clone(&meta),
            catalog: Arc::clone(&catalog),
            wal: Arc::clone(&wal),
            store: Arc::clone(&store),
            manifests: Arc::clone(&manifests),
            clock: Arc::clone(&clock),
            pool: Arc::clone(&pool),
            budget: Arc::clone(&budget),
        };
        let streams =
            StreamNodeService::open(&channels, "test", &self.settings.stream, &parts, &shutdown)
                .await
                .expect("the stream-node opens");
        let parts = holdfast_query_node::Components {
            catalog: Arc::clone(&catalog),
            wal: Arc::clone(&wal),
            store: Arc::clone(&store),
            manifests: Arc::clone(&manifests),
            clock: Arc::clone(&clock),
            pool: Arc::clone(&pool),
            budget: Arc::clone(&budget),
        };
        let queries = QueryNodeService::new(self.settings.query.clone(), parts, shutdown.clone());
        let epoch = holdfast_meta::claim_epoch(&*meta, "test/worker", "test")
            .await
            .expect("an epoch");
        let worker = WorkerService::new(holdfast_worker::Components {
            catalog: Arc::clone(&catalog),
            store,
            manifests: Arc::clone(&manifests),
            clock,
            pool: Arc::clone(&pool),
            budget: Arc::clone(&budget),
            epoch: Epoch(epoch.0),
        });
        queries
            .load(collection)
            .await
            .expect("the collection exists");
        self.nodes = Some(Nodes {
            catalog,
            wal,
            faulty: faulty.expect("the layer was made"),
            meta: Arc::clone(&self.meta),
            manifests,
            pool,
            budget,
            streams,
            queries,
            worker,
            collection,
            shutdown,
        });
    }

    async fn open_wal(&self) -> Arc<dyn Wal> {
        let path = self.dir.path().join("log");
        for _ in 0..1_000 {
            match LocalWal::open(&path, self.settings.wal.clone()) {
                Ok(wal) => return Arc::new(wal),
                // Work of the nodes before may still hold it.
                Err(WalError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("the log does not open: {error}"),
            }
        }
        panic!("the log stays locked");
    }

    async fn create(&self, catalog: &Catalog, now: Timestamp) -> CollectionId {
        let Settings {
            shards,
            channels,
            partitions,
            text_keys,
            ..
        } = self.settings;
        let new = NewCollection {
            name: "things".to_owned(),
            schema: Arc::new(rows::schema(text_keys)),
            shards: (0..shards).map(|s| ChannelId(s % channels)).collect(),
            consistency: 0,
            properties: BTreeMap::new(),
            num_partitions: 0,
            partitions: (0..partitions).map(|p| format!("p{p}")).collect(),
        };
        let meta = catalog
            .create_collection(DEFAULT_DATABASE, &new, now)
            .await
            .expect("a new collection");
        let ids = catalog.allocate_ids(2).await.expect("ids");
        let meta = catalog
            .update_collection(meta.id, None, |meta| {
                let mut meta = meta.clone();
                let definition = |id, field, kind, metric| IndexMeta {
                    id: IndexId(id),
                    field,
                    name: format!("index {id}"),
                    kind,
                    asked: Vec::new(),
                    metric,
                    json_path: None,
                    created: now,
                };
                meta.indexes = vec![
                    definition(
                        ids,
                        rows::VECTOR,
                        IndexKind::Hnsw {
                            m: 8,
                            ef_construction: 40,
                        },
                        Some(Metric::L2),
                    ),
                    definition(ids + 1, rows::NUMBER, IndexKind::StlSort, None),
                ];
                meta.load = Some(LoadSpec {
                    fields: Vec::new(),
                    partitions: Vec::new(),
                    replicas: 1,
                });
                Ok(meta)
            })
            .await;
        meta.expect("indexes").id
    }
}

impl Nodes {
    /// The collection's definition.
    ///
    /// # Panics
    /// When it was dropped.
    #[must_use]
    pub fn meta(&self) -> Arc<CollectionMeta> {
        Arc::clone(
            self.catalog
                .snapshot()
                .collection(self.collection)
                .expect("the collection exists"),
        )
    }

    /// The shard that a key is in.
    #[must_use]
    pub fn shard_of(&self, key: i64) -> u32 {
        let meta = self.meta();
        let hash = rows::pk(&meta.schema, key).stable_hash();
        u32::try_from(hash % meta.shards.len() as u64).expect("fewer shards")
    }

    /// The partition of a key: its number modulo the number of partitions there were to begin with.
    fn partition_of(&self, meta: &CollectionMeta, key: i64, of: i64) -> Option<PartitionId> {
        let name = format!("p{}", key.rem_euclid(of));
        meta.partition(&name).map(|p| p.id)
    }

    /// Writes rows, and with `delete_first` as an upsert does; the write's parts must lie on one channel.
    ///
    /// # Errors
    /// The stream-node's.
    pub async fn put(
        &self,
        rows: &[(i64, i64)],
        partitions: i64,
        delete_first: bool,
    ) -> Result<Timestamp, Failure> {
        self.put_unless(rows, partitions, delete_first, None).await
    }

    /// As [`Self::put`], unless a key was written after a stamp.
    ///
    /// # Errors
    /// The stream-node's.
    pub async fn put_unless(
        &self,
        rows: &[(i64, i64)],
        partitions: i64,
        delete_first: bool,
        unchanged_since: Option<Timestamp>,
    ) -> Result<Timestamp, Failure> {
        let meta = self.meta();
        let mut of: BTreeMap<(u32, PartitionId), Vec<(i64, i64)>> = BTreeMap::new();
        for row in rows {
            let partition = self
                .partition_of(&meta, row.0, partitions)
                .ok_or_else(|| Failure::invalid("the partition of a row was dropped"))?;
            of.entry((self.shard_of(row.0), partition))
                .or_default()
                .push(*row);
        }
        let parts = of
            .into_iter()
            .map(|((shard, partition), rows)| WritePart {
                shard,
                partition,
                deletes: delete_first.then(|| {
                    rows.iter()
                        .map(|(key, _)| rows::pk(&meta.schema, *key))
                        .collect()
                }),
                rows: Some(rows::batch(&meta.schema, &rows)),
            })
            .collect();
        let request = WriteRequest {
            collection: self.collection,
            unchanged_since,
            parts,
        };
        Ok(self.streams.write(request).await?.ts)
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// The stream-node's.
    pub async fn delete(&self, keys: &[i64]) -> Result<Timestamp, Failure> {
        let meta = self.meta();
        let mut of: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for key in keys {
            of.entry(self.shard_of(*key)).or_default().push(*key);
        }
        let partition = meta.partitions[0].id;
        let parts = of
            .into_iter()
            .map(|(shard, keys)| WritePart {
                shard,
                partition,
                rows: None,
                deletes: Some(
                    keys.into_iter()
                        .map(|key| rows::pk(&meta.schema, key))
                        .collect::<PkList>(),
                ),
            })
            .collect();
        let request = WriteRequest {
            collection: self.collection,
            unchanged_since: None,
            parts,
        };
        Ok(self.streams.write(request).await?.ts)
    }

    /// Flushes the collection.
    ///
    /// # Errors
    /// The stream-node's.
    pub async fn flush(&self) -> Result<(), Failure> {
        self.streams.flush(self.collection).await.map(drop)
    }

    /// The newest manifest of each shard that has one.
    ///
    /// # Panics
    /// When one can't be read.
    pub async fn newest(&self) -> Vec<Arc<Manifest>> {
        let mut found = Vec::new();
        for shard in self.meta().shard_ids() {
            found.extend(
                self.manifests
                    .current(shard)
                    .await
                    .expect("a manifest that can be read"),
            );
        }
        found
    }

    /// Merges all segments of each shard and partition.
    ///
    /// # Errors
    /// The worker's.
    pub async fn compact(&self, drop_deleted_before: Timestamp) -> Result<(), Failure> {
        for manifest in self.newest().await {
            let mut of: BTreeMap<PartitionId, Vec<SegmentId>> = BTreeMap::new();
            for segment in &manifest.segments {
                of.entry(segment.partition).or_default().push(segment.id);
            }
            for sources in of.into_values() {
                let job = CompactionJob {
                    shard: manifest.shard,
                    sources,
                    drop_deleted_before,
                    expired_before: None,
                };
                self.worker.compact(job).await?;
            }
        }
        Ok(())
    }

    /// Builds every index of every segment.
    ///
    /// # Errors
    /// The worker's.
    pub async fn build_indexes(&self) -> Result<(), Failure> {
        for manifest in self.newest().await {
            for segment in &manifest.segments {
                for index in &self.meta().indexes {
                    let job = IndexJob {
                        shard: manifest.shard,
                        segment: segment.id,
                        index: index.id,
                    };
                    self.worker.build_index(job).await?;
                }
            }
        }
        Ok(())
    }

    /// Drops a partition as the coordinator does.
    ///
    /// # Errors
    /// The catalog's and the stream-node's.
    pub async fn drop_partition(&self, name: &str) -> Result<(), Failure> {
        let id = self
            .meta()
            .partition(name)
            .map(|p| p.id)
            .ok_or_else(|| Failure::invalid("no such partition"))?;
        self.catalog
            .update_collection(self.collection, None, |meta| {
                let mut meta = meta.clone();
                meta.partitions.retain(|p| p.id != id);
                Ok(meta)
            })
            .await?;
        self.streams.drop_partition(self.collection, id).await
    }

    /// The first shard.
    #[must_use]
    pub fn first_shard(&self) -> ShardId {
        ShardId {
            collection: self.collection,
            index: 0,
        }
    }
}
