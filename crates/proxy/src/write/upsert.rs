//! Rows that replace those of their keys.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use holdfast_meta::CollectionMeta;
use holdfast_proto::milvus::{
    milvus,
    schema::{FieldData, FieldPartialUpdateOp, field_partial_update_op::OpType},
};
use holdfast_types::{DataType, Failure, FieldId, PkList};

use crate::{
    Proxy,
    read::plan::unsupported,
    resolve,
    session::Caller,
    write::{
        arrays::ArrayOp,
        insert::{read, stored},
        partial::{self, Partial},
        placing::{Placing, channels, delete_parts},
        request::{check_namespace, check_schema, new_keys},
        rows::{Given, field_of},
        send::send,
    },
};

/// Stores rows in place of those of the same keys.
///
/// Where the server makes keys, the given ones select the old rows, and the new rows get new ones.
pub(crate) async fn upsert(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::UpsertRequest,
) -> Result<milvus::MutationResult, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    check_schema(&meta, request.schema_timestamp)?;
    check_namespace(request.namespace.as_deref())?;
    let placing = Placing::of(&meta, &request.partition_name)?;
    let array_ops = array_ops(&meta, &request.field_ops, &request.fields_data)?;
    let is_partial = request.partial_update || !array_ops.is_empty();
    let auto_id = meta.schema.primary().auto_id;
    if (is_partial || auto_id) && channels(&meta) > 1 {
        return Err(unsupported(
            "a partial upsert, or one with keys made by the server, of shards on several channels",
        ));
    }
    let rows = request.num_rows;

    let given = read(proxy, &meta, request.fields_data, rows).await?;
    let keys = given.keys(&meta.schema)?;
    check_unique(&keys)?;
    let new_keys = if auto_id {
        Some(new_keys(proxy, &meta, given.rows).await?)
    } else {
        None
    };
    if is_partial {
        let named = !request.partition_name.is_empty();
        let partial = Partial {
            given,
            keys,
            new_keys,
            array_ops,
            placing,
            named,
        };
        return partial::upsert(proxy, &meta, partial).await;
    }
    whole(proxy, &meta, given, keys, new_keys, placing, rows).await
}

async fn whole(
    proxy: &Proxy,
    meta: &Arc<CollectionMeta>,
    given: Given,
    keys: PkList,
    new_keys: Option<PkList>,
    placing: Placing,
    rows: u32,
) -> Result<milvus::MutationResult, Failure> {
    let its = Arc::clone(meta);
    let work = move || -> Result<_, Failure> {
        let Some(new) = new_keys else {
            // The newest row of a key is the row: nothing needs to be deleted.
            let parts = placing.parts(&its, given.into_batch(&its.schema)?)?;
            return Ok((parts, keys));
        };
        let batch = given.with_keys(&its.schema, &new).into_batch(&its.schema)?;
        let mut parts = placing.parts(&its, batch)?;
        parts.extend(delete_parts(&its, &keys)?);
        Ok((parts, new))
    };
    let (parts, keys) = proxy.pool.run(work).await??;
    let ts = send(proxy, meta, parts, None).await?;
    let count = i64::from(rows);
    Ok(milvus::MutationResult {
        upsert_cnt: count,
        delete_cnt: count,
        ..stored(keys, rows, ts)
    })
}

fn check_unique(keys: &PkList) -> Result<(), Failure> {
    let mut seen = HashSet::with_capacity(keys.len());
    match keys.iter().find(|key| !seen.insert(key.clone())) {
        None => Ok(()),
        Some(key) => Err(Failure::invalid(format!(
            "duplicate primary keys are not allowed in the same batch[key={key}]"
        ))),
    }
}

/// The fields whose given values are not the new ones, but change the stored ones.
fn array_ops(
    meta: &CollectionMeta,
    ops: &[FieldPartialUpdateOp],
    data: &[FieldData],
) -> Result<HashMap<FieldId, ArrayOp>, Failure> {
    let mut found = HashMap::new();
    let mut named = HashSet::new();
    for op in ops {
        let name = &op.field_name;
        let bad = |problem: &str| Failure::invalid(format!("field_ops: field {name}: {problem}"));
        let field = meta
            .schema
            .field(name)
            .ok_or_else(|| bad("field not exist"))?;
        if !named.insert(field.id) {
            return Err(bad("it is listed twice"));
        }
        let op = match OpType::try_from(op.op) {
            Ok(OpType::Replace) => continue,
            Ok(OpType::ArrayAppend) => ArrayOp::Append,
            Ok(OpType::ArrayRemove) => ArrayOp::Remove,
            Err(_) => return Err(bad(&format!("{} is no operation", op.op))),
        };
        if field.data_type != DataType::Array {
            return Err(bad(&format!(
                "it is {}, elements are added to and removed from an Array only",
                field.data_type
            )));
        }
        let mut is_given = false;
        for data in data {
            is_given |= field_of(data, &meta.schema)?.id == field.id;
        }
        if !is_given {
            return Err(bad("the request has no data for it"));
        }
        found.insert(field.id, op);
    }
    Ok(found)
}
