//! An upsert of some fields: read, merge, write, again on a conflict.
//!
//! The write is stored only if none of its keys was written since they were read, so that no change of
//! another client gets lost between the two.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use arrow_array::RecordBatch;
use holdfast_meta::CollectionMeta;
use holdfast_node_api::{read::Guarantee, write::WritePart};
use holdfast_proto::milvus::milvus;
use holdfast_runtime::MemoryKind;
use holdfast_segment::QuerySpec;
use holdfast_types::{Code, Coded, Failure, FieldId, PartitionId, Pk, PkList, Timestamp, columns};

use crate::{
    Proxy,
    read::{
        output::Output,
        view::{View, with_view},
    },
    resolve::{self, DEFAULT_PARTITION},
    write::{
        arrays::ArrayOp,
        insert::stored,
        merge::{Changes, Merged, merge},
        placing::{Placing, delete_parts},
        request::check_all_loaded,
        rows::{Given, ROWS_BYTES_MAX, keys_of},
        send::send,
    },
};

/// Longest pause before a try, which doubles with every conflict.
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// A row is changed wherever it is.
const EVERYWHERE: Option<Arc<[PartitionId]>> = None;

/// A partial upsert, checked.
pub(crate) struct Partial {
    pub(crate) given: Given,
    /// The keys of `given`, each once.
    pub(crate) keys: PkList,
    /// What the rows are called from now on, where the server makes keys.
    pub(crate) new_keys: Option<PkList>,
    pub(crate) array_ops: HashMap<FieldId, ArrayOp>,
    pub(crate) placing: Placing,
    /// Whether the request names a partition: rows of others move there. Else each stays where it is.
    pub(crate) named: bool,
}

/// Rows as they are stored, at one point in time.
struct Stored {
    at: Timestamp,
    rows: RecordBatch,
    /// The partition of each row, where they may differ and it matters.
    homes: Option<Vec<PartitionId>>,
}

/// Changes the given fields of stored rows, and stores rows that are new.
pub(crate) async fn upsert(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    partial: Partial,
) -> Result<milvus::MutationResult, Failure> {
    check_all_loaded(meta)?;
    let partial = Arc::new(partial);
    let fields: Vec<FieldId> = meta.schema.fields.iter().map(|f| f.id).collect();
    let every = Output {
        fields: fields.clone(),
        names: Vec::new(),
    };
    let bytes = every
        .row_bytes(&meta.schema)
        .saturating_mul(partial.given.rows as u64);
    let _memory = proxy
        .budget
        .try_reserve(MemoryKind::Incoming, bytes)
        .map_err(|e| {
            e.to_failure()
                .within("partial upsert: send fewer rows at a time, or raise memory_budget")
        })?;

    let mut tries = 0;
    let (ts, found) = loop {
        let before = with_view!(proxy, meta, EVERYWHERE, Guarantee::Strong, |view| read(
            proxy, view, &partial, &fields
        ))?;
        let since = before.at;
        let (its, what) = (Arc::clone(meta), Arc::clone(&partial));
        let (parts, found) = proxy
            .pool
            .run(move || changes(&its, &what, before))
            .await??;
        match send(proxy, meta, parts, Some(since)).await {
            Ok(ts) => break (ts, found),
            Err(failure)
                if failure.code == Code::Conflict
                    && tries < proxy.options.partial_upsert_tries_max =>
            {
                tries += 1;
                tracing::debug!(tries, %failure, "a partial upsert starts over");
                tokio::time::sleep(pause(tries)).await;
            }
            Err(failure) if failure.code == Code::Conflict => {
                return Err(failure.within(format_args!(
                    "nothing was written, {tries} tries again included"
                )));
            }
            Err(failure) => return Err(failure),
        }
    };
    let keys = partial.new_keys.as_ref().unwrap_or(&partial.keys).clone();
    let rows = u32::try_from(partial.given.rows)
        .map_err(|_| Failure::internal("more rows than a request has"))?;
    let delete_cnt = i64::try_from(found).unwrap_or(i64::MAX);
    Ok(milvus::MutationResult {
        upsert_cnt: i64::from(rows),
        delete_cnt,
        ..stored(keys, rows, ts)
    })
}

/// A random pause, so that those who met once do not meet again and again.
fn pause(tries: u32) -> Duration {
    let most = PAUSE_MAX.min(Duration::from_millis(1 << tries.min(16)));
    let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
    let part = (random >> 32) as u32;
    most.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

/// The stored rows of the keys.
async fn read(
    proxy: &Proxy,
    view: &View,
    partial: &Partial,
    fields: &[FieldId],
) -> Result<Stored, Failure> {
    let spec = |keys: PkList, fields: &[FieldId]| QuerySpec {
        filter: None,
        keys: Some(keys),
        fields: fields.to_vec(),
        limit: None,
        after: None,
        at: view.ts,
        ttl_before: resolve::expired_before(proxy, &view.meta),
    };
    let rows = view
        .query(proxy, spec(partial.keys.clone(), fields), false)
        .await?
        .batch;
    if rows.get_array_memory_size() > ROWS_BYTES_MAX {
        return Err(Failure::invalid(format!(
            "the stored rows of the keys take more than {ROWS_BYTES_MAX} bytes, send fewer rows at a time"
        )));
    }
    let at = view.ts;
    let partitions = &view.meta.partitions;
    let stay = !partial.named && matches!(partial.placing, Placing::One(_)) && partitions.len() > 1;
    if !stay {
        return Ok(Stored {
            at,
            rows,
            homes: None,
        });
    }

    // A row does not say its partition: one partition after the other is asked for those not found yet.
    let primary = view.meta.schema.primary();
    let keys = keys_in(&rows, &view.meta)?;
    let mut homeless: HashSet<Pk> = keys.iter().collect();
    let mut homes: HashMap<Pk, PartitionId> = HashMap::new();
    let default_first = partitions.iter().filter(|p| p.name == DEFAULT_PARTITION);
    for partition in default_first.chain(partitions.iter().filter(|p| p.name != DEFAULT_PARTITION))
    {
        if homeless.is_empty() {
            break;
        }
        let mut there = view.clone();
        there.read.partitions = Some([partition.id].into());
        let found = there
            .query(
                proxy,
                spec(homeless.iter().cloned().collect(), &[primary.id]),
                false,
            )
            .await?;
        for key in keys_in(&found.batch, &view.meta)?.iter() {
            homeless.remove(&key);
            homes.insert(key, partition.id);
        }
    }
    let homes = keys
        .iter()
        .map(|key| homes.get(&key).copied())
        .collect::<Option<Vec<_>>>()
        // Its partition was created or dropped after this call looked the collection up.
        .ok_or_else(|| {
            Failure::new(
                Code::Conflict,
                "a row is in a partition that changed meanwhile",
            )
        })?;
    Ok(Stored {
        at,
        rows,
        homes: Some(homes),
    })
}

fn keys_in(rows: &RecordBatch, meta: &CollectionMeta) -> Result<PkList, Failure> {
    let primary = meta.schema.primary();
    let column = columns::column(rows, primary.id)
        .ok_or_else(|| Failure::internal("rows were read without their primary key"))?;
    keys_of(column, primary)
}

/// The write that changes rows from what they are, and how many there are.
fn changes(
    meta: &CollectionMeta,
    partial: &Partial,
    before: Stored,
) -> Result<(Vec<WritePart>, usize), Failure> {
    let stored_keys = keys_in(&before.rows, meta)?;
    let what = Changes {
        given: &partial.given,
        keys: &partial.keys,
        new_keys: partial.new_keys.as_ref(),
        array_ops: &partial.array_ops,
    };
    let Merged { rows, old } = merge(&meta.schema, &what, &before.rows, &stored_keys)?;
    let parts = match (&partial.placing, before.homes) {
        (Placing::One(default), Some(homes)) => {
            let homes = old
                .iter()
                .map(|old| old.map_or(*default, |old| homes[old]))
                .collect();
            Placing::Rows(homes).parts(meta, rows)
        }
        (placing, _) => placing.parts(meta, rows),
    };
    let mut parts = parts?;
    if partial.new_keys.is_some() {
        // All given keys, so that one that somebody stores meanwhile is noticed too.
        parts.extend(delete_parts(meta, &partial.keys)?);
    }
    Ok((parts, stored_keys.len()))
}
