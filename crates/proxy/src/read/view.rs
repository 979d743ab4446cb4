//! A point in time that honours the guarantee, and reads at it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::{concat::concat_batches, take::take_record_batch};
use holdfast_meta::CollectionMeta;
use holdfast_node_api::read::{
    Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadView, ShardView,
};
use holdfast_segment::{Hit, QuerySpec, RowRef, Rows, SearchSpec, merge_hits, merge_rows};
use holdfast_types::{Code, Failure, FieldId, ManifestVersion, PartitionId, SegmentId, Timestamp};

use crate::Proxy;

/// What a client calls a bounded wait: reads may lag this much.
const BOUNDED_LAG_MS: u64 = 5_000;

/// Wire numbers of consistency levels.
mod level {
    pub(super) const STRONG: i32 = 0;
    pub(super) const BOUNDED: i32 = 2;
    pub(super) const EVENTUALLY: i32 = 3;
}

/// What a read must see, from what the request says.
///
/// `stamp` is the request's guarantee timestamp; a page of an iterator after the first reads at exactly it.
pub(crate) fn guarantee(
    proxy: &Proxy,
    meta: &CollectionMeta,
    level: i32,
    use_default: bool,
    stamp: u64,
    iterator: bool,
) -> Result<Guarantee, Failure> {
    /// Below this a stamp is a client's way to name a level, not a time.
    const FIRST_TIME: u64 = 1 << 18;
    if iterator && stamp >= FIRST_TIME {
        return Ok(Guarantee::Exactly(Timestamp(stamp)));
    }
    let level = if use_default { meta.consistency } else { level };
    match level {
        level::STRONG => Ok(Guarantee::Strong),
        level::BOUNDED => {
            let ms = proxy.clock.unix_ms().saturating_sub(BOUNDED_LAG_MS);
            Ok(Guarantee::AtLeast(
                Timestamp::from_unix_ms(ms).max(Timestamp(stamp)),
            ))
        }
        level::EVENTUALLY => Ok(Guarantee::AtLeast(Timestamp(1))),
        1 | 4 => Ok(Guarantee::AtLeast(Timestamp(stamp))),
        other => Err(Failure::invalid(format!(
            "consistency_level: {other} is not in 0..=4"
        ))),
    }
}

/// A state of a collection to be read, any number of times.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) meta: Arc<CollectionMeta>,
    pub(crate) ts: Timestamp,
    pub(crate) read: ReadView,
}

/// Hits of a view, and which of their rows the stream-node has.
#[derive(Debug)]
pub(crate) struct Found {
    /// A list a query vector, best first.
    pub(crate) hits: HitLists,
    fresh: HashSet<SegmentId>,
}

/// Checks that the collection, and the partitions if any are named, are loaded; returns those to read.
pub(crate) fn loaded(
    meta: &CollectionMeta,
    partitions: Option<Arc<[PartitionId]>>,
) -> Result<Option<Arc<[PartitionId]>>, Failure> {
    let not_loaded = || {
        Failure::new(
            Code::CollectionNotLoaded,
            format!("collection not loaded[collection={}]", meta.name),
        )
    };
    let load = meta.load.as_ref().ok_or_else(not_loaded)?;
    if load.partitions.is_empty() {
        return Ok(partitions);
    }
    match partitions {
        None => Ok(Some(load.partitions.as_slice().into())),
        Some(wanted) => match wanted.iter().find(|p| !load.partitions.contains(p)) {
            None => Ok(Some(wanted)),
            Some(missing) => {
                let name = meta
                    .partition_by_id(*missing)
                    .map_or("?", |p| p.name.as_str());
                Err(Failure::new(
                    Code::PartitionNotLoaded,
                    format!("partition not loaded[partition={name}]"),
                ))
            }
        },
    }
}

/// Takes a view that honours `guarantee`.
pub(crate) async fn take(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    partitions: Option<Arc<[PartitionId]>>,
    guarantee: Guarantee,
) -> Result<View, Failure> {
    let point = proxy.streams.read_point(meta.id, guarantee).await?;
    let oldest: Vec<ManifestVersion> = point.shards.iter().map(|s| s.oldest).collect();
    // After a flush that the query-node has not taken note of, it takes a moment.
    let served = tokio::time::timeout(
        proxy.options.read_wait_max,
        proxy.queries.versions(meta.id, &oldest),
    )
    .await
    .map_err(|_| {
        Failure::new(
            Code::Unavailable,
            format!(
                "collection {}: newly flushed segments are not served yet; try again",
                meta.name
            ),
        )
    })?
    .map_err(|f| f.within(format_args!("collection {}", meta.name)))?;
    let shards = point
        .shards
        .iter()
        .zip(served)
        .map(|(p, version)| ShardView {
            shard: p.shard,
            version,
            lsn: p.lsn,
        })
        .collect();
    Ok(View {
        meta: Arc::clone(meta),
        ts: point.ts,
        read: ReadView {
            collection: meta.id,
            shards,
            partitions,
        },
    })
}

/// Counts how often a read is begun again because its view went out of date under it.
pub(crate) struct Again(u32);

impl Again {
    const TRIES: u32 = 10;

    pub(crate) fn new() -> Self {
        Self(0)
    }

    /// `Ok` when the read is to be begun again on a new view.
    pub(crate) fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.code != Code::Conflict {
            return Err(failure);
        }
        self.0 += 1;
        if self.0 < Self::TRIES {
            return Ok(());
        }
        Err(Failure::new(
            Code::Unavailable,
            format!(
                "the segments changed {} times while they were read ({}); try again",
                self.0, failure.message
            ),
        ))
    }
}

/// Runs a read on a view that honours the guarantee, and on a new one when the view went out of date.
///
/// A macro, because a closure that borrows both its view and its surroundings can't be shown to be `Send`.
macro_rules! with_view {
    ($proxy:expr, $meta:expr, $partitions:expr, $guarantee:expr, |$view:ident| $read:expr) => {{
        let mut again = $crate::read::view::Again::new();
        loop {
            let view =
                $crate::read::view::take($proxy, $meta, $partitions.clone(), $guarantee).await?;
            let $view = &view;
            match $read.await {
                Err(failure) => again.after(failure)?,
                Ok(done) => break Ok::<_, holdfast_types::Failure>(done),
            }
        }
    }};
}
pub(crate) use with_view;

impl View {
    /// Searches fresh and flushed rows alike.
    /// Only flushed ones with `ignore_growing`.
    pub(crate) async fn search(
        &self,
        proxy: &Proxy,
        spec: Arc<SearchSpec>,
        ignore_growing: bool,
    ) -> Result<Found, Failure> {
        let request = NodeSearch {
            view: self.read.clone(),
            spec: Arc::clone(&spec),
        };
        if ignore_growing {
            return Ok(Found {
                hits: proxy.queries.search(request).await?,
                fresh: HashSet::new(),
            });
        }
        let (fresh, flushed) = tokio::try_join!(
            proxy.streams.search(request.clone()),
            proxy.queries.search(request)
        )?;
        let segments: HashSet<SegmentId> = fresh.iter().flatten().map(|h| h.row.segment).collect();
        let hits = fresh
            .into_iter()
            .zip(flushed)
            .map(|(a, b)| {
                if a.is_empty() {
                    b
                } else {
                    merge_hits(vec![a, b], spec.top_k, spec.group_by.as_ref())
                }
            })
            .collect();
        Ok(Found {
            hits,
            fresh: segments,
        })
    }

    /// Matching rows in key order, one row a key.
    pub(crate) async fn query(
        &self,
        proxy: &Proxy,
        spec: QuerySpec,
        ignore_growing: bool,
    ) -> Result<Rows, Failure> {
        let spec = Arc::new(spec);
        let request = NodeQuery {
            view: self.read.clone(),
            spec: Arc::clone(&spec),
        };
        if ignore_growing {
            return proxy.queries.query(request).await;
        }
        let (fresh, flushed) = tokio::try_join!(
            proxy.streams.query(request.clone()),
            proxy.queries.query(request)
        )?;
        proxy
            .pool
            .run(move || merge_rows(vec![flushed, fresh], spec.limit))
            .await?
            .map_err(Failure::from)
    }

    /// Number of matching rows.
    pub(crate) async fn count(
        &self,
        proxy: &Proxy,
        spec: QuerySpec,
        ignore_growing: bool,
    ) -> Result<u64, Failure> {
        let request = NodeQuery {
            view: self.read.clone(),
            spec: Arc::new(spec),
        };
        if ignore_growing {
            return proxy.queries.count(request).await;
        }
        let (fresh, flushed) = tokio::try_join!(
            proxy.streams.count(request.clone()),
            proxy.queries.count(request)
        )?;
        Ok(fresh + flushed)
    }

    /// Fields of the rows of hits, in the order of `rows`.
    pub(crate) async fn fetch(
        &self,
        proxy: &Proxy,
        found: &HashSet<SegmentId>,
        rows: &[RowRef],
        fields: &[FieldId],
    ) -> Result<RecordBatch, Failure> {
        type Placed = Vec<(usize, RowRef)>;
        let (fresh, flushed): (Placed, Placed) = rows
            .iter()
            .copied()
            .enumerate()
            .partition(|(_, r)| found.contains(&r.segment));
        let request = |part: &[(usize, RowRef)]| NodeFetch {
            view: self.read.clone(),
            rows: part.iter().map(|(_, r)| *r).collect(),
            fields: fields.to_vec(),
        };
        if fresh.is_empty() {
            return proxy.queries.fetch(request(&flushed)).await;
        }
        if flushed.is_empty() {
            return proxy.streams.fetch(request(&fresh)).await;
        }
        let (a, b) = tokio::try_join!(
            proxy.streams.fetch(request(&fresh)),
            proxy.queries.fetch(request(&flushed))
        )?;
        let order: HashMap<usize, u32> = fresh
            .iter()
            .chain(&flushed)
            .map(|(at, _)| *at)
            .zip(0u32..)
            .collect();
        let indices: UInt32Array = (0..rows.len()).map(|at| order[&at]).collect();
        let defect = |e: arrow_schema::ArrowError| {
            Failure::internal(format!("fetched columns don't fit together: {e}"))
        };
        let both = concat_batches(a.schema_ref(), [&a, &b]).map_err(defect)?;
        take_record_batch(&both, &indices).map_err(defect)
    }
}

impl Found {
    /// No hit for any of so many queries.
    pub(crate) fn none(queries: usize) -> Self {
        Self {
            hits: vec![Vec::new(); queries],
            fresh: HashSet::new(),
        }
    }

    /// Segments whose rows the stream-node has.
    pub(crate) fn fresh(&self) -> &HashSet<SegmentId> {
        &self.fresh
    }

    /// The hits with the same knowledge of where rows are.
    pub(crate) fn map_hits(self, hits: Vec<Vec<Hit>>) -> Self {
        Self {
            hits,
            fresh: self.fresh,
        }
    }

    /// Adds what is known of where the rows of another search of the same view are.
    pub(crate) fn learn(&mut self, other: &Self) {
        self.fresh.extend(&other.fresh);
    }
}
