//! Flush, and whether a flush is done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use holdfast_meta::{CollectionMeta, NameOf, check_name};
use holdfast_node_api::{
    coordinator::{CollectionName, FlushReport},
    stream_node::FreshSegment,
};
use holdfast_proto::{
    milvus::{
        milvus::{self, FlushAllResult, FlushAllState, FlushAllTarget, FlushCollectionResult},
        msg::MsgPosition,
        schema::LongArray,
    },
    status,
};
use holdfast_types::{Code, Failure, SegmentId, Timestamp};

use crate::{Proxy, ddl::channel, resolve, session::Caller};

/// Stamps of the owner of a channel may be ahead of the proxy's clock by this much; a stamp further in the
/// future was not given by a flush.
const CLOCK_LEAD_MS: u64 = 1_000;

/// Flushes collections and waits until it is done.
pub(crate) async fn flush(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::FlushRequest,
) -> Result<milvus::FlushResponse, Failure> {
    if request.collection_names.is_empty() {
        return Err(Failure::invalid("collection_names: it must not be empty"));
    }
    let names: BTreeSet<&String> = request.collection_names.iter().collect();
    // All of them exist, or none is flushed.
    for name in &names {
        resolve::collection(proxy, caller, &request.db_name, name)?;
    }
    let mut answer = milvus::FlushResponse {
        status: Some(status::ok()),
        db_name: caller.database(&request.db_name).to_owned(),
        ..Default::default()
    };
    for name in names {
        let target = resolve::target(caller, &request.db_name, name)?;
        let done = flush_one(proxy, &target).await?;
        // Under the names as sent, aliases too: clients look there.
        answer
            .coll_seg_i_ds
            .insert(name.clone(), done.segment_ids.unwrap_or_default());
        answer
            .flush_coll_seg_i_ds
            .insert(name.clone(), done.flush_segment_ids.unwrap_or_default());
        answer.coll_seal_times.insert(name.clone(), done.seal_time);
        answer.coll_flush_ts.insert(name.clone(), done.flush_ts);
        answer.channel_cps.extend(done.channel_cps);
    }
    Ok(answer)
}

async fn flush_one(
    proxy: &Proxy,
    target: &CollectionName,
) -> Result<FlushCollectionResult, Failure> {
    let report = proxy.coordinator.flush(target).await?;
    let channels = proxy
        .snapshot()
        .collection(report.collection)
        .map_or_else(Vec::new, |meta| channel::all(meta));
    let seal_time = i64::try_from(proxy.clock.unix_ms() / 1_000).unwrap_or(i64::MAX);
    Ok(flushed(&target.collection, report, seal_time, channels))
}

fn flushed(
    name: &str,
    report: FlushReport,
    seal_time: i64,
    channels: Vec<String>,
) -> FlushCollectionResult {
    let FlushReport {
        collection: _,
        segments,
        all_segments,
        ts,
    } = report;
    let now: HashSet<SegmentId> = segments.iter().copied().collect();
    let before = all_segments.into_iter().filter(|s| !now.contains(s));
    let position = |name: String| {
        let position = MsgPosition {
            channel_name: name.clone(),
            timestamp: ts.0,
            ..Default::default()
        };
        (name, position)
    };
    FlushCollectionResult {
        collection_name: name.to_owned(),
        flush_segment_ids: Some(LongArray {
            data: before.map(|s| s.0).collect(),
        }),
        segment_ids: Some(LongArray {
            data: segments.into_iter().map(|s| s.0).collect(),
        }),
        seal_time,
        flush_ts: ts.0,
        channel_cps: channels.into_iter().map(position).collect(),
    }
}

/// Flushes all collections of a database, or those that the request names, and waits until it is done.
pub(crate) async fn flush_all(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::FlushAllRequest,
) -> Result<milvus::FlushAllResponse, Failure> {
    let targets = targets(proxy, caller, &request.db_name, &request.flush_targets)?;
    // Whatever is written from now on need not be flushed.
    let mut flush_ts = proxy.coordinator.timestamp().await?;
    let mut flush_results = Vec::with_capacity(targets.len());
    for (db_name, collections) in targets {
        let mut collection_results = Vec::with_capacity(collections.len());
        for collection in collections {
            let target = CollectionName {
                database: db_name.clone(),
                collection,
            };
            match flush_one(proxy, &target).await {
                Ok(done) => {
                    flush_ts = flush_ts.min(Timestamp(done.flush_ts));
                    collection_results.push(done);
                }
                // Dropped since it was listed.
                Err(failure) if failure.code == Code::CollectionNotFound => {}
                Err(failure) => {
                    return Err(failure.within(format_args!("collection {}", target.collection)));
                }
            }
        }
        flush_results.push(FlushAllResult {
            db_name,
            collection_results,
        });
    }
    Ok(milvus::FlushAllResponse {
        status: Some(status::ok()),
        flush_all_ts: flush_ts.0,
        flush_results,
        flush_all_msgs: HashMap::new(),
        cluster_info: None,
    })
}

/// The collections that a request means, by database; all exist.
fn targets(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    asked: &[FlushAllTarget],
) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let whole = [FlushAllTarget {
        db_name: database.to_owned(),
        collection_names: Vec::new(),
    }];
    let asked = if asked.is_empty() { &whole } else { asked };
    let mut targets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for FlushAllTarget {
        db_name,
        collection_names,
    } in asked
    {
        let database = caller.database(db_name);
        check_name(NameOf::Database, database)?;
        let named = targets.entry(database.to_owned()).or_default();
        if collection_names.is_empty() {
            named.extend(
                proxy
                    .snapshot()
                    .collections_of(database)?
                    .iter()
                    .map(|meta| meta.name.clone()),
            );
        }
        for name in collection_names {
            resolve::collection(proxy, caller, database, name)?;
            named.insert(name.clone());
        }
    }
    Ok(targets)
}

/// Whether segments, and everything stamped up to `flush_ts`, are flushed.
pub(crate) async fn state(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetFlushStateRequest,
) -> Result<milvus::GetFlushStateResponse, Failure> {
    let wanted: HashSet<SegmentId> = request
        .segment_i_ds
        .iter()
        .copied()
        .map(SegmentId)
        .collect();
    let flushed = if request.collection_name.is_empty() {
        // Older clients know the segments only: they are of any collection of the database.
        let database = caller.database(&request.db_name);
        check_name(NameOf::Database, database)?;
        let mut flushed = true;
        for meta in proxy.snapshot().collections_of(database)? {
            flushed = flushed && is_flushed_in(proxy, &meta, &wanted, Timestamp::ZERO).await?;
        }
        flushed
    } else {
        let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
        is_flushed_in(proxy, &meta, &wanted, Timestamp(request.flush_ts)).await?
    };
    Ok(milvus::GetFlushStateResponse {
        status: Some(status::ok()),
        flushed,
    })
}

async fn is_flushed_in(
    proxy: &Proxy,
    meta: &CollectionMeta,
    wanted: &HashSet<SegmentId>,
    flush_ts: Timestamp,
) -> Result<bool, Failure> {
    let now_ms = proxy.clock.unix_ms();
    let fresh = proxy.streams.fresh_segments(meta.id).await?;
    Ok(is_flushed(now_ms, &fresh, wanted, flush_ts))
}

/// Whether no wanted segment, and no row stamped at or before `flush_ts`, is in memory only. A stamp that is
/// still to come covers rows that are not written yet.
fn is_flushed(
    now_ms: u64,
    fresh: &[FreshSegment],
    wanted: &HashSet<SegmentId>,
    flush_ts: Timestamp,
) -> bool {
    let is_past = flush_ts.unix_ms() <= now_ms.saturating_add(CLOCK_LEAD_MS);
    let is_waited_for = |s: &FreshSegment| {
        wanted.contains(&s.id) || s.oldest.is_some_and(|oldest| oldest <= flush_ts)
    };
    is_past && !fresh.iter().any(is_waited_for)
}

/// Whether everything stamped up to a flush of all is flushed, collection by collection.
pub(crate) async fn all_state(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetFlushAllStateRequest,
) -> Result<milvus::GetFlushAllStateResponse, Failure> {
    let stamps = request.flush_all_tss.values().copied();
    let flush_ts = Timestamp(stamps.fold(request.flush_all_ts, u64::max));
    let mut flush_states = Vec::new();
    for (db_name, collections) in targets(proxy, caller, &request.db_name, &request.flush_targets)?
    {
        let mut states = HashMap::with_capacity(collections.len());
        for name in collections {
            let flushed = match resolve::collection(proxy, caller, &db_name, &name) {
                Ok(meta) => is_flushed_in(proxy, &meta, &HashSet::new(), flush_ts).await?,
                // Dropped since it was listed.
                Err(failure) if failure.code == Code::CollectionNotFound => true,
                Err(failure) => return Err(failure),
            };
            states.insert(name, flushed);
        }
        flush_states.push(FlushAllState {
            db_name,
            collection_flush_states: states,
        });
    }
    let flushed = flush_states
        .iter()
        .all(|state| state.collection_flush_states.values().all(|&done| done));
    Ok(milvus::GetFlushAllStateResponse {
        status: Some(status::ok()),
        flushed,
        flush_states,
    })
}

#[cfg(test)]
mod tests;
