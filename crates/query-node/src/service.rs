//! The calls of other roles; which collections are served.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use holdfast_meta::{Catalog, CollectionMeta};
use holdfast_node_api::{
    QueryNode,
    query_node::{LoadProgress, LoadedSegment},
    read::{HitLists, NodeFetch, NodeQuery, NodeSearch, ReadView, RowSet},
};
use holdfast_runtime::{Clock, CpuPool, MemoryBudget, Shutdown};
use holdfast_segment::{QuerySpec, SealedSegment, SearchSpec};
use holdfast_storage::{Manifests, Store};
use holdfast_types::{
    ChannelId, Code, CollectionId, Failure, Lsn, ManifestVersion, PartitionId, ShardId, Timestamp,
};
use holdfast_wal::Wal;
use parking_lot::RwLock;
use tokio::sync::{Mutex, watch};

use crate::{
    follower::Follower,
    loader::Loader,
    options::Options,
    shard::{Phase, ServedShard, View},
};

/// First pause after a failed load.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// What a query-node is built on.
#[derive(Clone)]
pub struct Components {
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// The logs it follows.
    pub wal: Arc<dyn Wal>,
    /// Segment files.
    pub store: Arc<Store>,
    /// What the shards are made of.
    pub manifests: Arc<Manifests>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where computing happens.
    pub pool: Arc<CpuPool>,
    /// What memory there is.
    pub budget: Arc<MemoryBudget>,
}

/// The server of flushed segments.
pub struct QueryNodeService(Arc<Node>);

struct Node {
    parts: Components,
    options: Options,
    loader: Loader,
    shutdown: Shutdown,
    collections: RwLock<HashMap<CollectionId, Vec<Arc<ServedShard>>>>,
    followers: Mutex<HashMap<ChannelId, Arc<Follower>>>,
}

impl QueryNodeService {
    /// A node that serves nothing yet.
    #[must_use]
    pub fn new(options: Options, parts: Components, shutdown: Shutdown) -> Self {
        let loader = Loader {
            store: Arc::clone(&parts.store),
            pool: Arc::clone(&parts.pool),
        };
        Self(Arc::new(Node {
            parts,
            options,
            loader,
            shutdown,
            collections: RwLock::default(),
            followers: Mutex::default(),
        }))
    }

    /// The shards that should be served and can't be, because a file is damaged or missing.
    #[must_use]
    pub fn damaged(&self) -> Vec<(ShardId, Failure)> {
        let collections = self.0.collections.read();
        let shards = collections.values().flatten();
        shards
            .filter_map(|shard| match &*shard.phase.borrow() {
                Phase::Failed(failure) if failure.code == Code::Corrupt => {
                    let why = failure.clone().within(format_args!("shard {}", shard.id));
                    Some((shard.id, why))
                }
                Phase::Failed(_) | Phase::Loading | Phase::Serving => None,
            })
            .collect()
    }
}

impl Node {
    fn meta(&self, collection: CollectionId) -> Result<Arc<CollectionMeta>, Failure> {
        self.parts
            .catalog
            .snapshot()
            .collection(collection)
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Code::CollectionNotFound,
                    format!("collection not found[collection={collection}]"),
                )
            })
    }

    fn shards(&self, collection: CollectionId) -> Result<Vec<Arc<ServedShard>>, Failure> {
        self.collections
            .read()
            .get(&collection)
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Code::CollectionNotLoaded,
                    format!("collection not loaded[collection={collection}]"),
                )
            })
    }

    async fn follower(&self, channel: ChannelId) -> Result<Arc<Follower>, Failure> {
        let mut followers = self.followers.lock().await;
        if let Some(follower) = followers.get(&channel) {
            return Ok(Arc::clone(follower));
        }
        let Components {
            catalog,
            wal,
            manifests,
            pool,
            ..
        } = &self.parts;
        let follower = Follower::start(
            channel,
            Arc::clone(wal),
            Arc::clone(catalog),
            Arc::clone(manifests),
            Arc::clone(pool),
            &self.shutdown,
        )
        .await?;
        followers.insert(channel, Arc::clone(&follower));
        Ok(follower)
    }

    /// Serves one shard until it is released: the first view, then each new manifest version.
    async fn serve(self: Arc<Self>, shard: Arc<ServedShard>) {
        let mut pause = RETRY_MIN;
        loop {
            let outcome = tokio::select! {
                () = shard.released.cancelled() => break,
                () = self.shutdown.triggered() => break,
                outcome = self.serve_until_failure(&shard) => outcome,
            };
            if let Err(failure) = outcome {
                if failure.code == Code::CollectionNotFound {
                    break;
                }
                tracing::error!(shard = %shard.id, error = %failure, retry_in = ?pause, "the newest manifest version can't be served");
                if shard.newest().is_none() {
                    shard.phase.send_replace(Phase::Failed(failure));
                }
            }
            tokio::select! {
                () = shard.released.cancelled() => break,
                () = self.shutdown.triggered() => break,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(self.options.retry_max),
            }
        }
        if let Ok(follower) = self.follower(shard.channel).await {
            follower.detach(shard.id);
        }
    }

    async fn serve_until_failure(&self, shard: &Arc<ServedShard>) -> Result<(), Failure> {
        let follower = self.follower(shard.channel).await?;
        let mut versions = self.parts.manifests.watch(Some(shard.id)).await?;
        if shard.applied.borrow().is_none() {
            self.open_anew(shard, &follower).await?;
        }
        let mut housekeeping = tokio::time::interval(self.options.maintenance_period);
        let mut revision = self.parts.catalog.snapshot().revision();
        loop {
            tokio::select! {
                version = versions.next() => match version {
                    Some(version) => { version?; self.refresh(shard).await?; }
                    None => return Ok(()),
                },
                changed = self.parts.catalog.newer_than(revision) => {
                    revision = changed?.revision();
                    self.refresh(shard).await?;
                }
                () = shard.reload.notified() => self.open_anew(shard, &follower).await?,
                _ = housekeeping.tick() => {
                    shard.drop_lingering(self.parts.clock.monotonic(), self.options.linger);
                }
            }
        }
    }

    /// Opens the newest manifest version from the store alone, and catches up with the log.
    async fn open_anew(
        &self,
        shard: &Arc<ServedShard>,
        follower: &Follower,
    ) -> Result<(), Failure> {
        loop {
            // Segments that were open missed deletes, and some of what the log delivered since. What it
            // delivers from here on is kept: so attached after that and before the manifest is read.
            shard.forget();
            let position = follower.attach(shard);
            let covers = self.refresh(shard).await?;
            if follower.catch_up(shard, covers, position).await? {
                return Ok(());
            }
            tracing::info!(shard = %shard.id, covers = %covers, "the log was trimmed while it was caught up with");
        }
    }

    /// Opens the newest manifest version with the present schema, unless that is what is served.
    async fn refresh(&self, shard: &Arc<ServedShard>) -> Result<Lsn, Failure> {
        let meta = self.meta(shard.id.collection)?;
        let manifest = self.parts.manifests.current(shard.id).await?;
        let served = shard.newest();
        let version = manifest.as_ref().map_or(ManifestVersion(0), |m| m.version);
        if let Some(view) = &served
            && view.version >= version
            && view.schema_version == meta.schema.version
        {
            if !matches!(*shard.phase.borrow(), Phase::Serving) {
                shard.phase.send_replace(Phase::Serving);
            }
            return Ok(view.covers);
        }
        let started = self.parts.clock.monotonic();
        let view = match &manifest {
            Some(manifest) => {
                let schema = served.as_ref().map(|v| v.schema_version);
                self.loader
                    .view(manifest, &meta, &shard.reusable(), schema)
                    .await?
            }
            None => View {
                version,
                covers: Lsn(0),
                truncated: None,
                schema_version: meta.schema.version,
                segments: Vec::new(),
            },
        };
        let (covers, segments) = (view.covers, view.segments.len());
        let now = self.parts.clock.monotonic();
        shard.publish(view, now);
        tracing::info!(shard = %shard.id, version = %version, segments, took = ?now.saturating_sub(started), "serving");
        Ok(covers)
    }

    /// Waits until the shard serves this version or a later one, or fails. Returns the newest.
    async fn serving(
        &self,
        shard: &ServedShard,
        at_least: ManifestVersion,
    ) -> Result<ManifestVersion, Failure> {
        let newest = || shard.newest().map_or(ManifestVersion(0), |v| v.version);
        let mut phase = shard.phase.subscribe();
        // The phase is told anew with every version.
        let ready = tokio::time::timeout(
            self.options.wait_max,
            phase.wait_for(|p| match p {
                Phase::Loading => false,
                Phase::Failed(_) => true,
                Phase::Serving => newest() >= at_least,
            }),
        );
        match ready.await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Failed(failure) => Err(failure.clone()),
                Phase::Loading | Phase::Serving => Ok(newest()),
            },
            Ok(Err(_)) => Err(Failure::new(
                Code::CollectionNotLoaded,
                "collection not loaded: it was released",
            )),
            Err(_) => Err(Failure::new(
                Code::Unavailable,
                "newly flushed segments are not served yet, or the collection is still being loaded; try again",
            )),
        }
    }

    async fn reached(&self, applied: &watch::Sender<Option<Lsn>>, lsn: Lsn) -> Result<(), Failure> {
        let mut applied = applied.subscribe();
        match tokio::time::timeout(
            self.options.wait_max,
            applied.wait_for(|a| a.is_some_and(|a| a >= lsn)),
        )
        .await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Failure::new(
                Code::Unavailable,
                format!("deletes up to record {lsn} have not been applied yet; try again"),
            )),
        }
    }

    /// The segments of a view, by what each shard hides.
    async fn read(
        &self,
        view: &ReadView,
        at: Timestamp,
    ) -> Result<Vec<(Option<Timestamp>, Vec<Arc<SealedSegment>>)>, Failure> {
        let shards = self.shards(view.collection)?;
        let meta = self.meta(view.collection)?;
        let existing: Vec<PartitionId>;
        let partitions = match view.partitions.as_deref() {
            Some(partitions) => partitions,
            None => {
                // The rows of a dropped partition are gone at once, whatever version is served.
                existing = meta.partitions.iter().map(|p| p.id).collect();
                &existing
            }
        };
        let mut parts = Vec::with_capacity(view.shards.len());
        for wanted in view.shards.iter() {
            let shard = shards.get(wanted.shard as usize).ok_or_else(|| {
                Failure::invalid(format!(
                    "shard {} is not in 0..{}",
                    wanted.shard,
                    shards.len()
                ))
            })?;
            self.serving(shard, ManifestVersion(0)).await?;
            self.reached(&shard.applied, wanted.lsn).await?;
            let served = shard.view(wanted.version)?;
            if let Some(ts) = served.truncated.filter(|&ts| at < ts) {
                return Err(Failure::new(
                    Code::Conflict,
                    format!(
                        "shard {}: rows of before the truncation at {ts} are gone",
                        shard.id
                    ),
                ));
            }
            let segments = served.of(partitions);
            // The schema may be younger than what is served, which follows it with a delay.
            for segment in &segments {
                segment.show_schema(&meta.schema);
            }
            parts.push((shard.gone_before(at), segments));
        }
        // Most of the time all shards hide the same, nothing: read them as one.
        if parts.iter().all(|(gone, _)| *gone == parts[0].0) {
            let gone = parts.first().and_then(|(gone, _)| *gone);
            return Ok(vec![(
                gone,
                parts.into_iter().flat_map(|(_, s)| s).collect(),
            )]);
        }
        Ok(parts)
    }
}

fn hide(ttl_before: Option<Timestamp>, gone: Option<Timestamp>) -> Option<Timestamp> {
    ttl_before.max(gone)
}

#[async_trait]
impl QueryNode for QueryNodeService {
    async fn load(&self, collection: CollectionId) -> Result<(), Failure> {
        let meta = self.0.meta(collection)?;
        let mut started = Vec::new();
        {
            let mut collections = self.0.collections.write();
            if collections.contains_key(&collection) {
                return Ok(());
            }
            let shards: Vec<Arc<ServedShard>> = meta
                .shard_ids()
                .zip(&meta.shards)
                .map(|(id, &channel)| Arc::new(ServedShard::new(id, channel, &self.0.parts.budget)))
                .collect();
            started.extend(shards.iter().cloned());
            collections.insert(collection, shards);
        }
        for shard in started {
            self.0.shutdown.spawn(Arc::clone(&self.0).serve(shard));
        }
        Ok(())
    }

    async fn release(&self, collection: CollectionId) -> Result<(), Failure> {
        let shards = self.0.collections.write().remove(&collection);
        for shard in shards.into_iter().flatten() {
            shard.released.cancel();
        }
        Ok(())
    }

    async fn progress(&self, collection: CollectionId) -> Result<LoadProgress, Failure> {
        let shards = self.0.shards(collection)?;
        let mut progress = LoadProgress {
            loaded: 0,
            total: 0,
        };
        for shard in &shards {
            let phase = shard.phase.borrow().clone();
            match phase {
                Phase::Failed(failure) => return Err(failure),
                // A shard counts as one more, so that a collection without segments has progress, too.
                Phase::Loading => {
                    let manifest = self.0.parts.manifests.current(shard.id).await?;
                    progress.total += 1 + manifest.map_or(0, |m| m.segments.len());
                }
                Phase::Serving => {
                    let ready = shard.applied.borrow().is_some();
                    let segments = shard.newest().map_or(0, |v| v.segments.len());
                    progress.total += 1 + segments;
                    progress.loaded += segments + usize::from(ready);
                }
            }
        }
        Ok(progress)
    }

    async fn versions(
        &self,
        collection: CollectionId,
        at_least: &[ManifestVersion],
    ) -> Result<Vec<ManifestVersion>, Failure> {
        let shards = self.0.shards(collection)?;
        if shards.len() != at_least.len() {
            return Err(Failure::invalid(format!(
                "{} versions for {} shards",
                at_least.len(),
                shards.len()
            )));
        }
        let mut versions = Vec::with_capacity(shards.len());
        for (shard, wanted) in shards.iter().zip(at_least) {
            versions.push(self.0.serving(shard, *wanted).await?);
        }
        Ok(versions)
    }

    async fn search(&self, search: NodeSearch) -> Result<HitLists, Failure> {
        let NodeSearch { view, spec } = search;
        let mut lists: Option<HitLists> = None;
        for (gone, segments) in self.0.read(&view, spec.at).await? {
            let spec = match gone {
                None => Arc::clone(&spec),
                Some(_) => Arc::new(SearchSpec {
                    ttl_before: hide(spec.ttl_before, gone),
                    ..SearchSpec::clone(&spec)
                }),
            };
            let found = holdfast_scan::search(&self.0.parts.pool, segments, &spec).await?;
            lists = Some(match lists {
                None => found,
                Some(before) => before
                    .into_iter()
                    .zip(found)
                    .map(|(a, b)| {
                        holdfast_segment::merge_hits(vec![a, b], spec.top_k, spec.group_by.as_ref())
                    })
                    .collect(),
            });
        }
        Ok(lists.unwrap_or_else(|| vec![Vec::new(); spec.queries.len()]))
    }

    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure> {
        let NodeQuery { view, spec } = query;
        let meta = self.0.meta(view.collection)?;
        let mut parts = Vec::new();
        for (gone, segments) in self.0.read(&view, spec.at).await? {
            let spec = Arc::new(QuerySpec {
                ttl_before: hide(spec.ttl_before, gone),
                ..QuerySpec::clone(&spec)
            });
            parts.push(
                holdfast_scan::query(&self.0.parts.pool, segments, &spec, &meta.schema).await?,
            );
        }
        holdfast_segment::merge_rows(parts, spec.limit).map_err(Failure::from)
    }

    async fn count(&self, query: NodeQuery) -> Result<u64, Failure> {
        let NodeQuery { view, spec } = query;
        let mut rows = 0;
        for (gone, segments) in self.0.read(&view, spec.at).await? {
            let spec = Arc::new(QuerySpec {
                ttl_before: hide(spec.ttl_before, gone),
                ..QuerySpec::clone(&spec)
            });
            rows += holdfast_scan::count(&self.0.parts.pool, segments, &spec).await?;
        }
        Ok(rows)
    }

    async fn fetch(&self, fetch: NodeFetch) -> Result<RecordBatch, Failure> {
        let NodeFetch { view, rows, fields } = fetch;
        let meta = self.0.meta(view.collection)?;
        let mut segments = HashMap::new();
        for shard in self.0.shards(view.collection)? {
            segments.extend(shard.all_segments());
        }
        holdfast_scan::fetch(
            &self.0.parts.pool,
            segments,
            rows,
            fields,
            Arc::clone(&meta.schema),
        )
        .await
    }

    async fn segments(&self, collection: CollectionId) -> Result<Vec<LoadedSegment>, Failure> {
        let meta = self.0.meta(collection)?;
        let mut loaded = Vec::new();
        for shard in self.0.shards(collection)? {
            let Some(view) = shard.newest() else { continue };
            loaded.extend(view.segments.iter().map(|s| {
                LoadedSegment {
                    id: s.entry.id,
                    partition: s.entry.partition,
                    shard: shard.id.index,
                    rows: s.entry.rows,
                    bytes: s.entry.bytes,
                    indexes: s
                        .entry
                        .indexes
                        .iter()
                        .filter_map(|i| meta.indexes.iter().find(|d| d.id == i.index))
                        .map(|d| d.name.clone())
                        .collect(),
                }
            }));
        }
        Ok(loaded)
    }
}
