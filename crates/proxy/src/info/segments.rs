//! Segments as clients are shown them.

use std::collections::HashSet;

use holdfast_meta::CollectionMeta;
use holdfast_node_api::{
    coordinator::StoredSegment, query_node::LoadedSegment, stream_node::FreshSegment,
};
use holdfast_proto::{
    milvus::{
        common::{SegmentLevel, SegmentState},
        milvus::{self, PersistentSegmentInfo, QuerySegmentInfo},
    },
    status,
};
use holdfast_types::{Failure, SegmentId};

use crate::{
    Proxy,
    ddl::channel,
    resolve,
    session::{Caller, NODE},
};

/// The format of segment files.
const STORAGE_VERSION: i64 = 1;

/// Flushed segments, and those in memory when their state is asked for.
pub(crate) async fn persistent(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetPersistentSegmentInfoRequest,
) -> Result<milvus::GetPersistentSegmentInfoResponse, Failure> {
    let states = states(&request.states)?;
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let target = resolve::target(caller, &request.db_name, &request.collection_name)?;
    let mut infos = Vec::new();
    let mut seen = HashSet::new();
    // Fresh ones first: a segment that is flushed meanwhile is then seen at least once.
    if states.iter().any(|&state| state != SegmentState::Flushed) {
        for segment in proxy.streams.fresh_segments(meta.id).await? {
            if states.contains(&state_of(&segment)) && seen.insert(segment.id) {
                infos.push(fresh_info(&meta, &segment));
            }
        }
    }
    if states.contains(&SegmentState::Flushed) {
        let stored = proxy.coordinator.stored_segments(&target).await?;
        infos.extend(
            stored
                .iter()
                .filter(|s| seen.insert(s.id))
                .map(|s| stored_info(&meta, s)),
        );
    }
    infos.sort_by_key(|info| info.segment_id);
    Ok(milvus::GetPersistentSegmentInfoResponse {
        status: Some(status::ok()),
        infos,
    })
}

/// The states asked for; flushed ones when none is.
fn states(asked: &[i32]) -> Result<HashSet<SegmentState>, Failure> {
    if asked.is_empty() {
        return Ok(HashSet::from([SegmentState::Flushed]));
    }
    let known = asked.iter().map(|&number| {
        let invalid = |_| Failure::invalid(format!("states: {number} is no state of a segment"));
        SegmentState::try_from(number).map_err(invalid)
    });
    known.collect()
}

fn state_of(segment: &FreshSegment) -> SegmentState {
    if segment.growing {
        SegmentState::Growing
    } else {
        SegmentState::Sealed
    }
}

fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn stored_info(meta: &CollectionMeta, segment: &StoredSegment) -> PersistentSegmentInfo {
    PersistentSegmentInfo {
        segment_id: segment.id.0,
        collection_id: meta.id.0,
        partition_id: segment.partition.0,
        num_rows: count(segment.rows),
        state: SegmentState::Flushed.into(),
        level: SegmentLevel::L1.into(),
        // Every flushed segment has its keys sorted.
        is_sorted: true,
        storage_version: STORAGE_VERSION,
        insert_channel: channel::of_shard(meta, segment.shard),
        compaction_from: segment.merged_from.iter().map(|s| s.0).collect(),
    }
}

fn fresh_info(meta: &CollectionMeta, segment: &FreshSegment) -> PersistentSegmentInfo {
    PersistentSegmentInfo {
        segment_id: segment.id.0,
        collection_id: meta.id.0,
        partition_id: segment.partition.0,
        num_rows: count(segment.rows),
        state: state_of(segment).into(),
        level: SegmentLevel::L1.into(),
        is_sorted: false,
        storage_version: STORAGE_VERSION,
        insert_channel: channel::of_shard(meta, segment.shard),
        compaction_from: Vec::new(),
    }
}

/// The segments that answer searches: those in memory and those the query-node serves.
pub(crate) async fn loaded(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetQuerySegmentInfoRequest,
) -> Result<milvus::GetQuerySegmentInfoResponse, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let fresh = proxy.streams.fresh_segments(meta.id).await?;
    let served = proxy.queries.segments(meta.id).await;
    let served = served.map_err(|f| f.within(format_args!("collection {}", meta.name)))?;
    // One that was flushed meanwhile is in both lists.
    let flushed: HashSet<SegmentId> = served.iter().map(|s| s.id).collect();
    let mut infos: Vec<_> = served.iter().map(|s| served_info(&meta, s)).collect();
    infos.extend(
        fresh
            .iter()
            .filter(|s| !flushed.contains(&s.id))
            .map(|s| QuerySegmentInfo {
                segment_id: s.id.0,
                collection_id: meta.id.0,
                partition_id: s.partition.0,
                mem_size: count(s.bytes),
                num_rows: count(s.rows),
                node_id: NODE,
                state: state_of(s).into(),
                node_ids: vec![NODE],
                level: SegmentLevel::L1.into(),
                storage_version: STORAGE_VERSION,
                ..Default::default()
            }),
    );
    infos.sort_by_key(|info| info.segment_id);
    Ok(milvus::GetQuerySegmentInfoResponse {
        status: Some(status::ok()),
        infos,
    })
}

fn served_info(meta: &CollectionMeta, segment: &LoadedSegment) -> QuerySegmentInfo {
    // There is room for one index only.
    let index = segment.indexes.iter().find_map(|name| meta.index(name));
    QuerySegmentInfo {
        segment_id: segment.id.0,
        collection_id: meta.id.0,
        partition_id: segment.partition.0,
        mem_size: count(segment.bytes),
        num_rows: count(segment.rows),
        index_name: index.map_or_else(String::new, |i| i.name.clone()),
        index_id: index.map_or(0, |i| i.id.0),
        node_id: NODE,
        state: SegmentState::Sealed.into(),
        node_ids: vec![NODE],
        level: SegmentLevel::L1.into(),
        is_sorted: true,
        storage_version: STORAGE_VERSION,
    }
}

#[cfg(test)]
mod tests;
