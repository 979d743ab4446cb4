//! Names to collections, partitions and fields; checks that calls share.

use std::sync::Arc;

use holdfast_meta::{CollectionMeta, NameOf, check_name};
use holdfast_node_api::coordinator::CollectionName;
use holdfast_types::{Code, CollectionId, Failure, FieldSchema, PartitionId, Timestamp};

use crate::{Proxy, session::Caller};

/// Name of the partition that rows go to when none is named.
pub(crate) const DEFAULT_PARTITION: &str = "_default";
/// Collection property: seconds after which a row expires.
const TTL_PROPERTY: &str = "collection.ttl.seconds";

/// The full name of a collection in a request, whether there is such a collection or not. Names that no
/// collection can have are refused here, so that no message repeats one of any length.
pub(crate) fn target(
    caller: &Caller,
    database: &str,
    collection: &str,
) -> Result<CollectionName, Failure> {
    let database = caller.database(database);
    check_name(NameOf::Database, database)?;
    check_name(NameOf::Collection, collection)?;
    Ok(CollectionName {
        database: database.to_owned(),
        collection: collection.to_owned(),
    })
}

/// The collection of this name or alias.
pub(crate) fn collection(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    name: &str,
) -> Result<Arc<CollectionMeta>, Failure> {
    let target = target(caller, database, name)?;
    proxy
        .snapshot()
        .resolve(&target.database, &target.collection)
        .cloned()
}

/// The collection of this name or alias, or of this id when the request names none.
pub(crate) fn collection_or_id(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    name: &str,
    id: i64,
) -> Result<Arc<CollectionMeta>, Failure> {
    if !name.is_empty() || id == 0 {
        return collection(proxy, caller, database, name);
    }
    let database = caller.database(database);
    check_name(NameOf::Database, database)?;
    let snapshot = proxy.snapshot();
    let home = snapshot.database(database)?.id;
    snapshot
        .collection(CollectionId(id))
        .filter(|c| c.database == home)
        .cloned()
        .ok_or_else(|| {
            Failure::new(
                Code::CollectionNotFound,
                format!("collection not found[database={database}][collection={id}]"),
            )
        })
}

/// [`collection_or_id`], as the name that the coordinator is asked for.
pub(crate) fn target_or_id(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    name: &str,
    id: i64,
) -> Result<CollectionName, Failure> {
    if !name.is_empty() || id == 0 {
        return target(caller, database, name);
    }
    let meta = collection_or_id(proxy, caller, database, name, id)?;
    target(caller, database, &meta.name)
}

/// The ids of partitions by name; `None` when no name is given: all of them.
pub(crate) fn partitions(
    meta: &CollectionMeta,
    names: &[String],
) -> Result<Option<Arc<[PartitionId]>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    if meta.schema.partition_key().is_some() {
        return Err(Failure::invalid(
            "partition_names: not supported to manually specify the partition names if partition key mode is used",
        ));
    }
    names
        .iter()
        .map(|name| partition(meta, name))
        .collect::<Result<Vec<_>, _>>()
        .map(|ids| Some(ids.into()))
}

/// The id of a partition by name.
pub(crate) fn partition(meta: &CollectionMeta, name: &str) -> Result<PartitionId, Failure> {
    meta.partition(name).map(|p| p.id).ok_or_else(|| {
        Failure::new(
            Code::PartitionNotFound,
            format!("partition not found[partition={name}]"),
        )
    })
}

/// A declared field by name.
pub(crate) fn field<'a>(meta: &'a CollectionMeta, name: &str) -> Result<&'a FieldSchema, Failure> {
    meta.schema
        .field(name)
        .ok_or_else(|| Failure::invalid(format!("field {name} not exist")))
}

/// Rows stamped at or before this have outlived the collection's TTL.
pub(crate) fn expired_before(proxy: &Proxy, meta: &CollectionMeta) -> Option<Timestamp> {
    let seconds: u64 = meta
        .properties
        .get(TTL_PROPERTY)?
        .parse()
        .ok()
        .filter(|&s| s > 0)?;
    let ms = proxy
        .clock
        .unix_ms()
        .saturating_sub(seconds.saturating_mul(1_000));
    Some(Timestamp::from_unix_ms(ms))
}
