//! A node in memory, and how a test disturbs it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_index::Cancel;
use holdfast_meta::{Catalog, CollectionMeta, LoadSpec, MemoryStore, NewCollection};
use holdfast_node_api::{
    QueryNode, StreamNode,
    query_node::{LoadProgress, LoadedSegment},
    read::{Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadPoint, RowSet, ShardPoint},
    stream_node::{Flushed, FreshSegment},
    write::{WriteAck, WritePart, WriteRequest},
};
use holdfast_runtime::{CpuPool, ManualClock, MemoryBudget};
use holdfast_segment::{GrowingSegment, Rows, merge_rows};
use holdfast_types::{
    ChannelId, Code, CollectionId, CollectionSchema, Failure, Lsn, ManifestVersion, PartitionId,
    Pk, PkList, SegmentId, Timestamp, columns,
};

use crate::{Components, Options, Proxy, fakes};

/// What happens to the next write.
pub(super) enum Next {
    /// It is refused with this.
    Refuse(Failure),
    /// Another client's write is stored just before it.
    After(Vec<WritePart>),
    /// Nothing.
    Store,
}

#[derive(Default)]
pub(super) struct State {
    /// Every write that reached the node, refused ones too.
    pub(super) requests: Vec<WriteRequest>,
    pub(super) next: VecDeque<Next>,
    /// The points that reads asked for.
    pub(super) points: Vec<Guarantee>,
    stamp: u64,
    written: HashMap<Pk, Timestamp>,
    segments: BTreeMap<(u32, PartitionId), Arc<GrowingSegment>>,
}

/// Stamps, guards and keeps rows as a stream-node does; what a query-node serves is empty.
pub(super) struct Node {
    catalog: Arc<Catalog>,
    state: Mutex<State>,
}

impl Node {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn meta(&self, collection: CollectionId) -> Arc<CollectionMeta> {
        Arc::clone(self.catalog.snapshot().collection(collection).unwrap())
    }
}

impl State {
    fn store(&mut self, meta: &CollectionMeta, parts: &[WritePart]) -> Timestamp {
        self.stamp += 1;
        let ts = Timestamp(self.stamp << 18);
        let primary = meta.schema.primary().id;
        for part in parts {
            let keys = |rows: &RecordBatch| {
                PkList::from_array(columns::column(rows, primary).unwrap()).unwrap()
            };
            let dead: Vec<PkList> = part
                .deletes
                .clone()
                .into_iter()
                .chain(part.rows.as_ref().map(keys))
                .collect();
            for keys in &dead {
                self.written.extend(keys.iter().map(|key| (key, ts)));
                for ((shard, _), segment) in &self.segments {
                    if *shard == part.shard {
                        segment.delete(keys, ts);
                    }
                }
            }
            if let Some(rows) = &part.rows {
                let id = SegmentId(self.segments.len() as i64 + 1);
                self.segments
                    .entry((part.shard, part.partition))
                    .or_insert_with(|| {
                        Arc::new(GrowingSegment::new(
                            id,
                            part.partition,
                            Arc::clone(&meta.schema),
                        ))
                    })
                    .append(rows, ts, Lsn(self.stamp))
                    .unwrap();
            }
        }
        ts
    }

    /// The partition that the live row of a key is in.
    pub(super) fn home(&self, key: &Pk) -> Option<PartitionId> {
        self.segments
            .iter()
            .find(|(_, segment)| segment.contains(key))
            .map(|((_, partition), _)| *partition)
    }
}

fn keys_of(meta: &CollectionMeta, part: &WritePart) -> Vec<Pk> {
    let primary = meta.schema.primary().id;
    let rows = part
        .rows
        .as_ref()
        .map(|r| PkList::from_array(columns::column(r, primary).unwrap()).unwrap());
    rows.iter()
        .chain(&part.deletes)
        .flat_map(PkList::iter)
        .collect()
}

#[async_trait]
impl StreamNode for Node {
    async fn write(&self, request: WriteRequest) -> Result<WriteAck, Failure> {
        let meta = self.meta(request.collection);
        let mut state = self.state();
        state.requests.push(request.clone());
        assert!(!request.parts.is_empty());
        let channel = |part: &WritePart| meta.shards[part.shard as usize];
        assert!(
            request
                .parts
                .iter()
                .all(|p| channel(p) == channel(&request.parts[0])),
            "parts on several channels"
        );
        match state.next.pop_front() {
            Some(Next::Refuse(failure)) => return Err(failure),
            Some(Next::After(parts)) => {
                state.store(&meta, &parts);
            }
            Some(Next::Store) | None => {}
        }
        if let Some(since) = request.unchanged_since {
            for key in request.parts.iter().flat_map(|part| keys_of(&meta, part)) {
                if state.written.get(&key).is_some_and(|&ts| ts > since) {
                    return Err(Failure::new(
                        Code::Conflict,
                        format!("the row of key {key} was changed"),
                    ));
                }
            }
        }
        Ok(WriteAck {
            ts: state.store(&meta, &request.parts),
        })
    }

    async fn read_point(
        &self,
        collection: CollectionId,
        guarantee: Guarantee,
    ) -> Result<ReadPoint, Failure> {
        let mut state = self.state();
        state.points.push(guarantee);
        let ts = match guarantee {
            Guarantee::Exactly(ts) => ts,
            Guarantee::Strong | Guarantee::AtLeast(_) => Timestamp(state.stamp << 18),
        };
        let none = ManifestVersion::default();
        let shards = (0u32..)
            .zip(&self.meta(collection).shards)
            .map(|(shard, _)| ShardPoint {
                shard,
                lsn: Lsn(0),
                oldest: none,
                newest: none,
            })
            .collect();
        Ok(ReadPoint { ts, shards })
    }

    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure> {
        let meta = self.meta(query.view.collection);
        let wanted = |p: &PartitionId| {
            query
                .view
                .partitions
                .as_ref()
                .is_none_or(|all| all.contains(p))
        };
        let mut parts = vec![Rows::none(&query.spec, &meta.schema).unwrap()];
        for ((_, partition), segment) in &self.state().segments {
            if wanted(partition) {
                parts.push(segment.query(&query.spec, &Cancel::new())?);
            }
        }
        merge_rows(parts, query.spec.limit).map_err(Failure::from)
    }

    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        unreachable!("no write searches")
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        unreachable!("no write counts")
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        unreachable!("no write fetches")
    }
    async fn flush(&self, _: CollectionId) -> Result<Flushed, Failure> {
        unreachable!("no write flushes")
    }
    async fn truncate(&self, _: CollectionId) -> Result<Timestamp, Failure> {
        unreachable!("no write truncates")
    }
    async fn drop_partition(&self, _: CollectionId, _: PartitionId) -> Result<(), Failure> {
        unreachable!("no write drops")
    }
    async fn drop_collection(&self, _: CollectionId) -> Result<(), Failure> {
        unreachable!("no write drops")
    }
    async fn fresh_segments(&self, _: CollectionId) -> Result<Vec<FreshSegment>, Failure> {
        unreachable!("no write asks for segments")
    }
}

#[async_trait]
impl QueryNode for Node {
    async fn versions(
        &self,
        collection: CollectionId,
        _: &[ManifestVersion],
    ) -> Result<Vec<ManifestVersion>, Failure> {
        Ok(vec![
            ManifestVersion::default();
            self.meta(collection).shards.len()
        ])
    }
    async fn query(&self, query: NodeQuery) -> Result<RowSet, Failure> {
        Ok(Rows::none(&query.spec, &self.meta(query.view.collection).schema).unwrap())
    }
    async fn load(&self, _: CollectionId) -> Result<(), Failure> {
        unreachable!("no write loads")
    }
    async fn release(&self, _: CollectionId) -> Result<(), Failure> {
        unreachable!("no write releases")
    }
    async fn progress(&self, _: CollectionId) -> Result<LoadProgress, Failure> {
        unreachable!("no write asks for progress")
    }
    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        unreachable!("no write searches")
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        unreachable!("no write counts")
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        unreachable!("no write fetches")
    }
    async fn segments(&self, _: CollectionId) -> Result<Vec<LoadedSegment>, Failure> {
        unreachable!("no write asks for segments")
    }
}

/// What a test's collection is like; it is loaded, unless a test says otherwise.
pub(super) struct Setup {
    pub(super) schema: CollectionSchema,
    pub(super) shards: Vec<ChannelId>,
    pub(super) partitions: Vec<&'static str>,
    pub(super) properties: Vec<(&'static str, &'static str)>,
    /// `None`: not loaded. Else the partitions, none for all.
    pub(super) loaded: Option<Vec<&'static str>>,
}

impl Setup {
    /// One shard, one partition, loaded.
    pub(super) fn of(schema: CollectionSchema) -> Self {
        Self {
            schema,
            shards: vec![ChannelId(0)],
            partitions: vec!["_default"],
            properties: Vec::new(),
            loaded: Some(Vec::new()),
        }
    }
}

/// A proxy over a collection `c`.
pub(super) struct World {
    pub(super) proxy: Proxy,
    pub(super) node: Arc<Node>,
    pub(super) meta: Arc<CollectionMeta>,
}

pub(super) async fn world(setup: Setup) -> World {
    let catalog = Catalog::open(Arc::new(MemoryStore::new()), Timestamp(1))
        .await
        .unwrap();
    let num_partitions = if setup.schema.partition_key().is_some() {
        setup.partitions.len()
    } else {
        0
    };
    let new = NewCollection {
        name: "c".to_owned(),
        schema: Arc::new(setup.schema),
        shards: setup.shards,
        consistency: 0,
        properties: setup
            .properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        num_partitions: u32::try_from(num_partitions).unwrap(),
        partitions: setup.partitions.iter().map(|p| (*p).to_owned()).collect(),
    };
    let meta = catalog
        .create_collection("default", &new, Timestamp(2 << 18))
        .await
        .unwrap();
    let load = setup.loaded.map(|names| LoadSpec {
        fields: Vec::new(),
        partitions: names
            .iter()
            .map(|name| meta.partition(name).unwrap().id)
            .collect(),
        replicas: 1,
    });
    let meta = catalog
        .update_collection(meta.id, None, |old| {
            Ok(CollectionMeta {
                load: load.clone(),
                ..old.clone()
            })
        })
        .await
        .unwrap();
    let node = Arc::new(Node {
        catalog: Arc::clone(&catalog),
        state: Mutex::default(),
    });
    let components = Components {
        catalog,
        coordinator: Arc::new(fakes::Parts::default()),
        streams: Arc::<Node>::clone(&node),
        queries: Arc::<Node>::clone(&node),
        clock: Arc::new(ManualClock::new(fakes::NOW_MS)),
        pool: CpuPool::new(1).unwrap(),
        budget: MemoryBudget::new(1 << 30),
    };
    World {
        proxy: Proxy::new(Options::default(), components),
        node,
        meta,
    }
}

impl World {
    pub(super) fn partition(&self, name: &str) -> PartitionId {
        self.meta.partition(name).unwrap().id
    }

    pub(super) fn requests(&self) -> Vec<WriteRequest> {
        self.node.state().requests.clone()
    }

    /// What the next writes meet.
    pub(super) fn script(&self, next: impl IntoIterator<Item = Next>) {
        self.node.state().next.extend(next);
    }
}
