//! Rows deleted by key or filter.
//!
//! A filter that lists keys deletes them, there or not. What any other finds is read at one point in
//! time, and deleted only if it was not written since: a row that was changed meanwhile is looked at again.

use std::{collections::VecDeque, sync::Arc};

use holdfast_expr::Predicate;
use holdfast_meta::CollectionMeta;
use holdfast_node_api::read::Guarantee;
use holdfast_proto::{ids, milvus::milvus, status};
use holdfast_runtime::MemoryKind;
use holdfast_segment::QuerySpec;
use holdfast_types::{Code, Coded, Failure, PartitionId, Pk, PkList, Timestamp, columns};

use crate::{
    Proxy,
    read::{
        filter,
        output::Output,
        view::{self, View, with_view},
    },
    resolve,
    session::Caller,
    write::{
        placing::{by_channel, delete_parts},
        request::{check_all_loaded, check_namespace},
        rows::keys_of,
        send::send,
    },
};

/// Most rows that are found, and deleted as one event, at a time.
const ROWS_AT_ONCE: usize = 100_000;

/// Deletes rows by key or filter.
pub(crate) async fn delete(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DeleteRequest,
) -> Result<milvus::MutationResult, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    check_namespace(request.namespace.as_deref())?;
    let names = Some(request.partition_name).filter(|name| !name.is_empty());
    let partitions = resolve::partitions(&meta, names.as_slice())?;
    if request.expr.trim().is_empty() {
        return Err(Failure::invalid(
            "expr: a delete needs a filter expression, it must not be empty",
        ));
    }
    let filter = filter::parse(&request.expr, request.expr_template_values, &meta.schema)?
        .ok_or_else(|| Failure::invalid("expr: the filter is always true; a delete of all rows is refused, drop or truncate instead"))?;

    let (count, ts) = match filter.pk_equals(meta.schema.primary().id) {
        Some(keys) if partitions.is_none() => listed(proxy, &meta, keys).await?,
        _ if filter.is_always_false() => (0, now(proxy, &meta).await?),
        _ => {
            let partitions = match partitions {
                Some(_) => view::loaded(&meta, partitions)?,
                None => {
                    check_all_loaded(&meta)?;
                    None
                }
            };
            let search = Search {
                proxy,
                meta: &meta,
                partitions,
                filter,
                at_once: ROWS_AT_ONCE,
            };
            search.delete().await?
        }
    };
    Ok(milvus::MutationResult {
        status: Some(status::ok()),
        i_ds: Some(ids::none(meta.schema.primary())),
        delete_cnt: i64::try_from(count).unwrap_or(i64::MAX),
        timestamp: ts.0,
        ..Default::default()
    })
}

/// Deletes the rows of these keys, there or not.
async fn listed(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    keys: PkList,
) -> Result<(u64, Timestamp), Failure> {
    let count = keys.len() as u64;
    if count == 0 {
        return Ok((0, now(proxy, meta).await?));
    }
    let ts = write(proxy, meta, keys, None).await?;
    Ok((count, ts))
}

/// Writes the deletes of these keys.
async fn write(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    keys: PkList,
    unchanged_since: Option<Timestamp>,
) -> Result<Timestamp, Failure> {
    let its = Arc::clone(meta);
    let parts = proxy.pool.run(move || delete_parts(&its, &keys)).await??;
    send(proxy, meta, parts, unchanged_since).await
}

/// A stamp for a delete that changes nothing.
async fn now(proxy: &Proxy, meta: &CollectionMeta) -> Result<Timestamp, Failure> {
    Ok(proxy
        .streams
        .read_point(meta.id, Guarantee::Strong)
        .await?
        .ts)
}

/// How often what a filter found on a channel is tried as one record, which is there wholly or not at all after a
/// crash, before it is split so that a key under constant writes holds up only itself.
const WHOLE_TRIES: u32 = 8;

/// A delete of what a filter finds.
pub(crate) struct Search<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) meta: &'a Arc<CollectionMeta>,
    /// Only rows in these.
    pub(crate) partitions: Option<Arc<[PartitionId]>>,
    pub(crate) filter: Arc<Predicate>,
    /// Most rows that are found at a time, at least 1.
    pub(crate) at_once: usize,
}

/// Keys of rows that the filter passed.
struct Found {
    at: Timestamp,
    keys: PkList,
}

/// How far a delete has come.
#[derive(Clone, Copy, Default)]
struct Done {
    rows: u64,
    ts: Timestamp,
}

impl Search<'_> {
    /// Deletes all rows that the filter passes; returns how many, and the stamp from which on they are gone.
    pub(crate) async fn delete(&self) -> Result<(u64, Timestamp), Failure> {
        let row_bytes = Output {
            fields: vec![self.meta.schema.primary().id],
            names: Vec::new(),
        }
        .row_bytes(&self.meta.schema);
        let _memory = self
            .proxy
            .budget
            .try_reserve(
                MemoryKind::Incoming,
                row_bytes.saturating_mul(self.at_once as u64),
            )
            .map_err(|e| {
                e.to_failure()
                    .within("delete by filter: raise memory_budget")
            })?;
        let mut done = Done::default();
        let mut guarantee = Guarantee::Strong;
        let mut after = None;
        loop {
            let found = self
                .find(guarantee, None, after.take())
                .await
                .map_err(|f| partly(f, done))?;
            let is_last = found.keys.len() < self.at_once;
            // Rows that are written from now on are no part of this delete, so that it has an end.
            guarantee = Guarantee::Exactly(found.at);
            done.ts = done.ts.max(found.at);
            after = found
                .keys
                .len()
                .checked_sub(1)
                .map(|last| found.keys.get(last));
            self.delete_found(found, &mut done)
                .await
                .map_err(|f| partly(f, done))?;
            if is_last {
                return Ok((done.rows, done.ts));
            }
        }
    }

    /// Deletes what was found, and of what was written since, what the filter still passes.
    async fn delete_found(&self, found: Found, done: &mut Done) -> Result<(), Failure> {
        let mut pieces: VecDeque<(Found, u32)> = by_channel(self.meta, found.keys)
            .into_iter()
            .map(|keys| (Found { at: found.at, keys }, 0))
            .collect();
        while let Some((Found { at, keys }, tries)) = pieces.pop_front() {
            if keys.is_empty() {
                continue;
            }
            let count = keys.len() as u64;
            match write(self.proxy, self.meta, keys.clone(), Some(at)).await {
                Ok(ts) => {
                    *done = Done {
                        rows: done.rows + count,
                        ts: done.ts.max(ts),
                    }
                }
                Err(failure) if failure.code == Code::Conflict => {
                    if count == 1 && tries >= self.proxy.options.partial_upsert_tries_max {
                        return Err(failure);
                    }
                    // A key that is written all the time must not hold up the others.
                    let halves = if tries < WHOLE_TRIES {
                        vec![keys]
                    } else {
                        halves(keys)
                    };
                    for half in halves {
                        pieces.push_back((
                            self.find(Guarantee::Strong, Some(half), None).await?,
                            tries + 1,
                        ));
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Keys of rows that the filter passes, ascending: those of `keys`, or as many as come `after`.
    async fn find(
        &self,
        guarantee: Guarantee,
        keys: Option<PkList>,
        after: Option<Pk>,
    ) -> Result<Found, Failure> {
        let primary = self.meta.schema.primary();
        let limit = keys.is_none().then_some(self.at_once);
        let keys = keys.or_else(|| self.filter.required_keys(primary.id));
        with_view!(self.proxy, self.meta, self.partitions, guarantee, |view| {
            self.found_in(view, keys.clone(), limit, after.clone())
        })
    }

    async fn found_in(
        &self,
        view: &View,
        keys: Option<PkList>,
        limit: Option<usize>,
        after: Option<Pk>,
    ) -> Result<Found, Failure> {
        let primary = self.meta.schema.primary();
        let spec = QuerySpec {
            filter: Some(Arc::clone(&self.filter)),
            keys,
            fields: vec![primary.id],
            limit,
            after,
            at: view.ts,
            ttl_before: resolve::expired_before(self.proxy, self.meta),
        };
        let rows = view.query(self.proxy, spec, false).await?.batch;
        let column = columns::column(&rows, primary.id)
            .ok_or_else(|| Failure::internal("rows were read without their primary key"))?;
        Ok(Found {
            at: view.ts,
            keys: keys_of(column, primary)?,
        })
    }
}

/// Says what was deleted before a failure.
fn partly(failure: Failure, done: Done) -> Failure {
    if done.rows == 0 {
        return failure;
    }
    failure.within(format_args!(
        "{} rows are deleted already, send the delete again for the rest",
        done.rows
    ))
}

fn halves(keys: PkList) -> Vec<PkList> {
    fn split<T>(mut keys: Vec<T>) -> [Vec<T>; 2] {
        let rest = keys.split_off(keys.len() / 2);
        [keys, rest]
    }
    let halves = match keys {
        PkList::Int(keys) => split(keys).map(PkList::Int),
        PkList::Str(keys) => split(keys).map(PkList::Str),
    };
    halves.into_iter().filter(|half| !half.is_empty()).collect()
}
