//! The calls of other roles.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_meta::{Catalog, CollectionMeta, MetaStore};
use holdfast_node_api::{
    StreamNode,
    read::{
        Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadPoint, ReadView, RowSet,
        ShardPoint,
    },
    stream_node::{Flushed, FreshSegment},
    write::{WriteAck, WriteRequest},
};
use holdfast_runtime::{Clock, CpuPool, Hlc, MemoryBudget, Shutdown};
use holdfast_storage::{Manifests, Store};
use holdfast_types::{
    ChannelId, Code, CollectionId, Failure, PartitionId, SegmentId, ShardId, Timestamp,
};
use holdfast_wal::Wal;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    channel::{Channel, collection_not_found},
    flush::{self, Flusher},
    options::Options,
    replay::{self, Replayed},
    shard::{Lifecycle, MemorySegment, TooOld},
};

/// What a stream-node is built on.
#[derive(Clone)]
pub struct Components {
    /// Channels' epochs.
    pub meta: Arc<dyn MetaStore>,
    /// Collections.
    pub catalog: Arc<Catalog>,
    /// The logs.
    pub wal: Arc<dyn Wal>,
    /// Segment files and delete logs.
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

/// The owner of channels.
pub struct StreamNodeService {
    channels: HashMap<ChannelId, Open>,
    replayed: u64,
    catalog: Arc<Catalog>,
    manifests: Arc<Manifests>,
    pool: Arc<CpuPool>,
    clock: Arc<dyn Clock>,
}

struct Open {
    channel: Arc<Channel>,
    flusher: Arc<Flusher>,
    /// Wakes the flusher: a segment is full, or memory is short.
    full: Arc<Notify>,
    segment_bytes_max: u64,
    applier: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // It holds the channel, which holds the sending end of its queue: it does not end by itself.
        self.applier.abort();
    }
}

impl StreamNodeService {
    /// Takes the channels over, replays their logs and opens them for writes.
    ///
    /// `owner` names this process in the channels' epochs.
    ///
    /// # Errors
    /// A log or a manifest is damaged, or a store is out of reach.
    pub async fn open(
        channels: &[ChannelId],
        owner: &str,
        options: &Options,
        components: &Components,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let mut open = HashMap::with_capacity(channels.len());
        let mut replayed = 0;
        let hlc = Arc::new(Hlc::new(Arc::clone(&components.clock)));
        for &id in channels {
            let Replayed {
                channel,
                applier,
                records,
            } = replay::open(id, owner, Arc::clone(&hlc), options, components).await?;
            replayed += records;
            let flusher = Arc::new(Flusher {
                channel: Arc::clone(&channel),
                store: Arc::clone(&components.store),
                manifests: Arc::clone(&components.manifests),
                wal: Arc::clone(&components.wal),
            });
            let full = Arc::new(Notify::new());
            shutdown.spawn(Arc::clone(&flusher).run(Arc::clone(&full), shutdown.child()));
            shutdown.spawn(Arc::clone(&flusher).keep_house(shutdown.child()));
            let segment_bytes_max = options.segment_bytes_max;
            open.insert(
                id,
                Open {
                    channel,
                    flusher,
                    full,
                    segment_bytes_max,
                    applier,
                },
            );
        }
        Ok(Self {
            channels: open,
            replayed,
            catalog: Arc::clone(&components.catalog),
            manifests: Arc::clone(&components.manifests),
            pool: Arc::clone(&components.pool),
            clock: Arc::clone(&components.clock),
        })
    }

    /// How many records of its logs the start had to read.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Takes no more writes and waits until those under way are decided; whether they were in time.
    pub async fn close(&self, deadline: Duration) -> bool {
        let mut decided = true;
        for open in self.channels.values() {
            decided &= open.channel.close(deadline).await;
        }
        decided
    }

    /// The shards whose manifests can't be read, and why.
    #[must_use]
    pub fn damaged(&self) -> Vec<(ShardId, Failure)> {
        let channels = self.channels.values();
        channels
            .flat_map(|open| open.channel.damage.list())
            .collect()
    }

    fn meta(&self, collection: CollectionId) -> Result<Arc<CollectionMeta>, Failure> {
        let mut channels = self.channels.values();
        if let Some(damaged) = channels.find_map(|open| open.channel.damage.of(collection)) {
            return Err(damaged);
        }
        self.catalog
            .snapshot()
            .collection(collection)
            .cloned()
            .ok_or_else(|| collection_not_found(collection))
    }

    fn open_channel(&self, id: ChannelId) -> Result<&Open, Failure> {
        self.channels.get(&id).ok_or_else(|| {
            Failure::new(
                Code::NotLeader,
                format!("channel {id} is not owned by this node"),
            )
        })
    }

    fn channel_of(&self, meta: &CollectionMeta, shard: u32) -> Result<&Open, Failure> {
        let id = meta.shards.get(shard as usize).ok_or_else(|| {
            Failure::invalid(format!("shard {shard} is not in 0..{}", meta.shards.len()))
        })?;
        self.open_channel(*id)
    }

    /// The channels of a collection, each once.
    fn channels_of(&self, meta: &CollectionMeta) -> Result<Vec<&Open>, Failure> {
        let mut ids: Vec<ChannelId> = meta.shards.clone();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| self.open_channel(id)).collect()
    }

    /// The segments in memory that complete a view, for a read at `at`.
    async fn read(
        &self,
        view: &ReadView,
        at: Timestamp,
    ) -> Result<Vec<Arc<MemorySegment>>, Failure> {
        let meta = self.meta(view.collection)?;
        let mut segments = Vec::new();
        for part in view.shards.iter() {
            let open = self.channel_of(&meta, part.shard)?;
            let id = ShardId {
                collection: view.collection,
                index: part.shard,
            };
            let Some(shard) = open.channel.shard(id) else {
                continue;
            };
            if part.version > shard.versions().1 {
                // Somebody else's commit, or our own that is not noted yet: which of our segments are in it?
                flush::learn(&self.manifests, &shard, part.version, &*self.clock).await?;
            }
            let existing: Vec<PartitionId>;
            let partitions = match view.partitions.as_deref() {
                Some(partitions) => partitions,
                None => {
                    existing = meta.partitions.iter().map(|p| p.id).collect();
                    &existing
                }
            };
            let found = shard.read(part.version, at, partitions).map_err(|e| {
                let why = match e {
                    TooOld::Version(oldest) => {
                        format!(
                            "version {} is older than {oldest}, the oldest that can be read",
                            part.version
                        )
                    }
                    TooOld::Truncated(ts) => {
                        format!("rows of before the truncation at {ts} are gone")
                    }
                };
                Failure::new(Code::Conflict, format!("shard {id}: {why}"))
            })?;
            segments.extend(found);
        }
        // Rows are read by the schema of now, not that of when they were written.
        for segment in &segments {
            segment.rows.show_schema(&meta.schema);
        }
        Ok(segments)
    }
}

#[async_trait]
impl StreamNode for StreamNodeService {
    async fn write(&self, request: WriteRequest) -> Result<WriteAck, Failure> {
        let meta = self.meta(request.collection)?;
        let Some(first) = request.parts.first() else {
            return Err(Failure::invalid("a write without any part"));
        };
        let open = self.channel_of(&meta, first.shard)?;
        let mut shards: Vec<u32> = request.parts.iter().map(|p| p.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        if shards
            .iter()
            .any(|&s| meta.shards.get(s as usize) != Some(&open.channel.id))
        {
            return Err(Failure::invalid(
                "the parts of one write lie on several channels",
            ));
        }
        let ack = open.channel.write(request).await?;
        let is_full = |index: &u32| {
            let id = ShardId {
                collection: meta.id,
                index: *index,
            };
            open.channel
                .shard(id)
                .is_some_and(|s| s.unflushed_bytes() >= open.segment_bytes_max)
        };
        if open.channel.memory_is_short() || shards.iter().any(is_full) {
            open.full.notify_one();
        }
        Ok(ack)
    }

    async fn read_point(
        &self,
        collection: CollectionId,
        guarantee: Guarantee,
    ) -> Result<ReadPoint, Failure> {
        let meta = self.meta(collection)?;
        let channels = self.channels_of(&meta)?;
        let mut ts = Timestamp::ZERO;
        for open in &channels {
            ts = ts.max(open.channel.read_point(guarantee).await?.ts);
        }
        if let Guarantee::Exactly(exactly) = guarantee {
            ts = exactly;
        } else if channels.len() > 1 {
            for open in &channels {
                open.channel.read_point(Guarantee::AtLeast(ts)).await?;
            }
        }
        let mut shards = Vec::with_capacity(meta.shards.len());
        for (shard, id) in (0u32..).zip(&meta.shards) {
            let channel = &self.open_channel(*id)?.channel;
            let (oldest, newest) = channel
                .shard(ShardId {
                    collection,
                    index: shard,
                })
                .map(|s| s.versions())
                .unwrap_or_default();
            shards.push(ShardPoint {
                shard,
                lsn: channel.applied().lsn,
                oldest,
                newest,
            });
        }
        Ok(ReadPoint { ts, shards })
    }

    async fn search(&self, search: NodeSearch) -> Result<HitLists, Failure> {
        let segments = self.read(&search.view, search.spec.at).await?;
        holdfast_scan::search(&self.pool, segments, &search.spec).await
    }

    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure> {
        let meta = self.meta(query.view.collection)?;
        let segments = self.read(&query.view, query.spec.at).await?;
        holdfast_scan::query(&self.pool, segments, &query.spec, &meta.schema).await
    }

    async fn count(&self, query: NodeQuery) -> Result<u64, Failure> {
        let segments = self.read(&query.view, query.spec.at).await?;
        holdfast_scan::count(&self.pool, segments, &query.spec).await
    }

    async fn fetch(&self, fetch: NodeFetch) -> Result<RecordBatch, Failure> {
        let NodeFetch { view, rows, fields } = fetch;
        let meta = self.meta(view.collection)?;
        let mut segments: HashMap<SegmentId, Arc<MemorySegment>> = HashMap::new();
        for at in view.shards.iter() {
            let open = self.channel_of(&meta, at.shard)?;
            let id = ShardId {
                collection: meta.id,
                index: at.shard,
            };
            if let Some(shard) = open.channel.shard(id) {
                segments.extend(shard.all().into_iter().map(|(s, _)| (s.id, s)));
            }
        }
        holdfast_scan::fetch(&self.pool, segments, rows, fields, Arc::clone(&meta.schema)).await
    }

    async fn flush(&self, collection: CollectionId) -> Result<Flushed, Failure> {
        let meta = self.meta(collection)?;
        let mut flushed = Flushed {
            segments: Vec::new(),
            ts: Timestamp::MAX,
        };
        for (index, id) in (0u32..).zip(&meta.shards) {
            let open = self.open_channel(*id)?;
            let applied = open.channel.applied().ts;
            let done = match open.channel.shard(ShardId { collection, index }) {
                Some(shard) => open.flusher.flush(&shard).await?,
                None => Flushed {
                    segments: Vec::new(),
                    ts: applied,
                },
            };
            flushed.segments.extend(done.segments);
            flushed.ts = flushed.ts.min(done.ts);
        }
        Ok(flushed)
    }

    async fn truncate(&self, collection: CollectionId) -> Result<Timestamp, Failure> {
        let meta = self.meta(collection)?;
        let mut ts = Timestamp::ZERO;
        for (index, id) in (0u32..).zip(&meta.shards) {
            // A shard that nobody wrote to since the start may still have segments in its manifest.
            self.open_channel(*id)?.channel.shard_of(&meta, index)?;
        }
        for open in self.channels_of(&meta)? {
            ts = ts.max(open.channel.truncate(collection).await?.ts);
        }
        self.flush(collection).await?;
        Ok(ts)
    }

    async fn drop_partition(
        &self,
        collection: CollectionId,
        partition: PartitionId,
    ) -> Result<(), Failure> {
        let meta = self.meta(collection)?;
        for (index, id) in (0u32..).zip(&meta.shards) {
            let open = self.open_channel(*id)?;
            let id = ShardId { collection, index };
            if let Some(shard) = open.channel.shard(id) {
                let _no_flush_meanwhile = shard.flushing.lock().await;
                shard.drop_partition(partition)?;
            }
            let Some(current) = self.manifests.current(id).await? else {
                continue;
            };
            if current.segments.iter().any(|s| s.partition == partition) {
                let created = Timestamp::from_unix_ms(self.clock.unix_ms());
                self.manifests
                    .update(id, |current| {
                        Ok::<_, Failure>(current.map(|m| {
                            let mut next = m.next(created);
                            next.segments.retain(|s| s.partition != partition);
                            next
                        }))
                    })
                    .await?;
            }
        }
        Ok(())
    }

    async fn drop_collection(&self, collection: CollectionId) -> Result<(), Failure> {
        for open in self.channels.values() {
            open.channel
                .shards
                .write()
                .retain(|id, _| id.collection != collection);
            open.channel.damage.retain(|other| other != collection);
        }
        Ok(())
    }

    async fn fresh_segments(&self, collection: CollectionId) -> Result<Vec<FreshSegment>, Failure> {
        let meta = self.meta(collection)?;
        let mut fresh = Vec::new();
        for (index, id) in (0u32..).zip(&meta.shards) {
            let Some(shard) = self
                .open_channel(*id)?
                .channel
                .shard(ShardId { collection, index })
            else {
                continue;
            };
            fresh.extend(
                shard
                    .all()
                    .into_iter()
                    .filter(|(_, l)| *l != Lifecycle::Lingering)
                    .map(|(s, lifecycle)| FreshSegment {
                        id: s.id,
                        partition: s.partition,
                        shard: index,
                        oldest: s.rows.ts_range().map(|(oldest, _)| oldest),
                        rows: s.rows.len() as u64,
                        bytes: s.bytes(),
                        growing: lifecycle == Lifecycle::Growing,
                    }),
            );
        }
        Ok(fresh)
    }
}
