//! Checks that the calls share.

use holdfast_meta::CollectionMeta;
use holdfast_types::{Code, Failure, PkList};

use crate::{Proxy, read::plan::unsupported};

/// Refuses columns that were built for another schema than the collection's; 0 skips the check.
pub(crate) fn check_schema(meta: &CollectionMeta, stamp: u64) -> Result<(), Failure> {
    if stamp == 0 || stamp == meta.updated.0 {
        return Ok(());
    }
    Err(Failure::new(
        Code::SchemaMismatch,
        format!(
            "collection schema mismatch[collection={}][expected={}][actual={stamp}]: describe the collection again",
            meta.name, meta.updated
        ),
    ))
}

/// Refuses a name space, which rows cannot be kept in.
pub(crate) fn check_namespace(namespace: Option<&str>) -> Result<(), Failure> {
    match namespace {
        None | Some("") => Ok(()),
        Some(_) => Err(unsupported("namespace")),
    }
}

/// Refuses a collection of which some partition can't be read, for calls that would overlook rows there.
pub(crate) fn check_all_loaded(meta: &CollectionMeta) -> Result<(), Failure> {
    let Some(load) = &meta.load else {
        return Err(Failure::new(
            Code::CollectionNotLoaded,
            format!("collection not loaded[collection={}]", meta.name),
        ));
    };
    if load.partitions.is_empty() {
        return Ok(());
    }
    match meta
        .partitions
        .iter()
        .find(|p| !load.partitions.contains(&p.id))
    {
        None => Ok(()),
        Some(missing) => Err(Failure::new(
            Code::PartitionNotLoaded,
            format!(
                "partition not loaded[partition={}]: rows of it may be concerned",
                missing.name
            ),
        )),
    }
}

/// Keys for `rows` new rows, of the kind that the collection has.
pub(crate) async fn new_keys(
    proxy: &Proxy,
    meta: &CollectionMeta,
    rows: usize,
) -> Result<PkList, Failure> {
    let count = u32::try_from(rows)
        .map_err(|_| Failure::invalid(format!("num_rows: {rows} rows are too many at once")))?;
    let first = proxy
        .catalog
        .allocate_ids(count)
        .await
        .map_err(|f| f.within("num_rows"))?;
    let ids = first..first + i64::from(count);
    Ok(match meta.schema.primary().data_type {
        holdfast_types::DataType::VarChar => {
            PkList::Str(ids.map(|id| id.to_string().into()).collect())
        }
        _ => PkList::Int(ids.collect()),
    })
}
