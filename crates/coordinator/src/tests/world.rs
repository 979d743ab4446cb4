//! A cluster of one coordinator that can be restarted.

use std::{sync::Arc, time::Duration};

use holdfast_meta::{Catalog, CollectionMeta, MemoryStore, MetaStore};
use holdfast_node_api::{
    Coordinator,
    coordinator::{CollectionName, CreateCollection, CreateIndex},
};
use holdfast_runtime::{Clock, ManualClock};
use holdfast_storage::{CommitError, Manifests, NextManifest, SegmentEntry, Store};
use holdfast_types::{ChannelId, CollectionSchema, Failure, PartitionId, ShardId, Timestamp};

use super::{
    fixtures,
    roles::{Calls, Commits, Queries, Streams},
};
use crate::{Components, CoordinatorService, Options};

pub(super) struct World {
    folder: tempfile::TempDir,
    meta: Arc<dyn MetaStore>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) manifests: Arc<Manifests>,
    store: Arc<Store>,
    pub(super) calls: Arc<Calls>,
    pub(super) streams: Arc<Streams>,
    pub(super) queries: Arc<Queries>,
    pub(super) worker: Arc<Commits>,
    pub(super) clock: ManualClock,
    pub(super) options: Options,
    pub(super) service: Arc<CoordinatorService>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(super) async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open_local(folder.path()).unwrap());
        let meta: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
        let clock = ManualClock::new(50_000_000);
        let manifests = Arc::new(Manifests::new(Arc::clone(&meta), Arc::clone(&store)));
        let catalog = Catalog::open(Arc::clone(&meta), Timestamp::ZERO)
            .await
            .unwrap();
        let calls = Arc::new(Calls::default());
        let streams = Arc::new(Streams {
            calls: Arc::clone(&calls),
            ..Streams::default()
        });
        let queries = Arc::new(Queries::new(Arc::clone(&calls)));
        let worker = Arc::new(Commits {
            calls: Arc::clone(&calls),
            manifests: Arc::clone(&manifests),
            index_failure: parking_lot::Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        });
        let parts = Components {
            catalog: Arc::clone(&catalog),
            manifests: Arc::clone(&manifests),
            store: Arc::clone(&store),
            streams: streams.clone(),
            queries: queries.clone(),
            worker: worker.clone(),
            clock: Arc::new(clock.clone()) as Arc<dyn Clock>,
            channels: vec![ChannelId(0), ChannelId(1)],
        };
        let service = CoordinatorService::open(options.clone(), parts)
            .await
            .unwrap();
        Self {
            folder,
            meta,
            catalog,
            manifests,
            store,
            calls,
            streams,
            queries,
            worker,
            clock,
            options,
            service,
        }
    }

    /// A new process on the same stores.
    pub(super) async fn restart(&mut self) {
        self.catalog = Catalog::open(Arc::clone(&self.meta), Timestamp::ZERO)
            .await
            .unwrap();
        let parts = Components {
            catalog: Arc::clone(&self.catalog),
            store: Arc::clone(&self.store),
            ..self.service.parts.clone()
        };
        self.service = CoordinatorService::open(self.options.clone(), parts)
            .await
            .unwrap();
    }

    /// Makes collection `c` with [`fixtures::schema`].
    pub(super) async fn collection(&self) -> Arc<CollectionMeta> {
        self.service
            .create_collection(new("c", fixtures::schema()))
            .await
            .unwrap();
        self.calls.take();
        self.c()
    }

    /// Collection `c` as it is now.
    pub(super) fn c(&self) -> Arc<CollectionMeta> {
        self.catalog
            .snapshot()
            .resolve("default", "c")
            .unwrap()
            .clone()
    }

    pub(super) async fn index(&self, field: &str, params: &[(&str, &str)]) -> Result<(), Failure> {
        self.named_index(field, "", params).await
    }

    pub(super) async fn named_index(
        &self,
        field: &str,
        name: &str,
        params: &[(&str, &str)],
    ) -> Result<(), Failure> {
        let create = CreateIndex {
            name: on("c"),
            field: field.to_owned(),
            index: name.to_owned(),
            params: params
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        };
        self.service.create_index(create).await
    }

    /// Commits segments with these ids to the only shard of `c`.
    pub(super) async fn store_segments(
        &self,
        partition: PartitionId,
        ids: &[i64],
        change: impl Fn(&mut SegmentEntry),
    ) {
        let shard = ShardId {
            collection: self.c().id,
            index: 0,
        };
        let update = self.manifests.update(shard, |current| {
            let empty = NextManifest::empty(Timestamp::ZERO);
            let mut next = current.map_or(empty, |m| m.next(Timestamp::ZERO));
            next.segments.extend(ids.iter().map(|id| {
                let mut entry = fixtures::segment(shard, partition, *id);
                change(&mut entry);
                entry
            }));
            Ok::<_, CommitError>(Some(next))
        });
        update.await.unwrap();
    }

    /// Files of the object store.
    pub(super) fn object_files(&self) -> usize {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    _ => files += 1,
                }
            }
        }
        files
    }

    /// The ids of the segments of `c`, and how many indexes each has.
    pub(super) async fn segments(&self) -> Vec<(i64, usize)> {
        let listed = self.service.stored_segments(&on("c")).await.unwrap();
        listed.iter().map(|s| (s.id.0, s.indexes.len())).collect()
    }
}

/// Collection `name` of the default database.
pub(super) fn on(name: &str) -> CollectionName {
    CollectionName {
        database: "default".to_owned(),
        collection: name.to_owned(),
    }
}

pub(super) fn new(name: &str, schema: CollectionSchema) -> CreateCollection {
    CreateCollection {
        name: on(name),
        schema,
        shards: 1,
        consistency: 2,
        properties: Vec::new(),
        key_partitions: None,
    }
}

/// Waits for a condition that another task brings about.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let met = tokio::time::timeout(Duration::from_secs(20), met).await;
    assert!(met.is_ok(), "never: {what}");
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, message: &str) {
    let failure = result.expect_err(message);
    assert_eq!(failure.message, message);
    assert_eq!(failure.code, holdfast_types::Code::InvalidArgument);
}
