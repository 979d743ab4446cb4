//! New rows.

use std::sync::Arc;

use holdfast_meta::CollectionMeta;
use holdfast_proto::{
    ids,
    milvus::{milvus, schema::FieldData},
    status,
};
use holdfast_types::{Failure, PkList, Timestamp};

use crate::{
    Proxy, resolve,
    session::Caller,
    write::{
        placing::Placing,
        request::{check_namespace, check_schema, new_keys},
        rows::{Given, field_of},
        send::send,
    },
};

/// Collection property: rows may bring keys although the server makes them.
const ALLOW_GIVEN_KEYS: &str = "allow_insert_auto_id";

/// Stores rows. A row of a key that is there already takes its place.
pub(crate) async fn insert(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::InsertRequest,
) -> Result<milvus::MutationResult, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    check_schema(&meta, request.schema_timestamp)?;
    check_namespace(request.namespace.as_deref())?;
    let placing = Placing::of(&meta, &request.partition_name)?;
    let makes_keys = makes_keys(&meta, &request.fields_data)?;
    let rows = request.num_rows;

    let given = read(proxy, &meta, request.fields_data, rows).await?;
    let given = if makes_keys {
        let keys = new_keys(proxy, &meta, given.rows).await?;
        given.with_keys(&meta.schema, &keys)
    } else {
        given
    };
    let keys = given.keys(&meta.schema)?;
    let its = Arc::clone(&meta);
    let parts = proxy
        .pool
        .run(move || placing.parts(&its, given.into_batch(&its.schema)?))
        .await??;
    let ts = send(proxy, &meta, parts, None).await?;
    Ok(milvus::MutationResult {
        insert_cnt: i64::from(rows),
        ..stored(keys, rows, ts)
    })
}

/// Whether the rows get keys of the server.
fn makes_keys(meta: &CollectionMeta, data: &[FieldData]) -> Result<bool, Failure> {
    let primary = meta.schema.primary();
    if !primary.auto_id {
        return Ok(false);
    }
    let mut brings_keys = false;
    for data in data {
        brings_keys |= field_of(data, &meta.schema)?.id == primary.id;
    }
    let allowed = meta
        .properties
        .get(ALLOW_GIVEN_KEYS)
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    if brings_keys && !allowed {
        return Err(Failure::invalid(format!(
            "field {}: the primary key is made by the server (auto_id), the rows must not have it, unless {ALLOW_GIVEN_KEYS} is set",
            primary.name
        )));
    }
    Ok(!brings_keys)
}

/// Converts what a request gives, where computing happens.
pub(crate) async fn read(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    data: Vec<FieldData>,
    rows: u32,
) -> Result<Given, Failure> {
    let schema = Arc::clone(&meta.schema);
    proxy
        .pool
        .run(move || Given::read(&data, &schema, rows))
        .await?
}

/// The answer that tells of stored rows.
pub(crate) fn stored(keys: PkList, rows: u32, ts: Timestamp) -> milvus::MutationResult {
    milvus::MutationResult {
        status: Some(status::ok()),
        i_ds: Some(ids::to_wire(keys)),
        succ_index: (0..rows).collect(),
        timestamp: ts.0,
        ..Default::default()
    }
}
