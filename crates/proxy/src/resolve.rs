//! Names to collections, partitions and fields; checks that calls share.

use std::sync::Arc;

use holdfast_meta::CollectionMeta;
use holdfast_node_api::coordinator::CollectionName;
use holdfast_types::{Code, Failure, FieldSchema, PartitionId, Timestamp};

use crate::{Proxy, session::Caller};

/// Name of the partition that rows go to when none is named.
pub(crate) const DEFAULT_PARTITION: &str = "_default";
/// Collection property: seconds after which a row expires.
const TTL_PROPERTY: &str = "collection.ttl.seconds";

/// The full name of a collection in a request.
pub(crate) fn name(caller: &Caller, database: &str, collection: &str) -> CollectionName {
    CollectionName { database: caller.database(database).to_owned(), collection: collection.to_owned() }
}

/// The collection of this name or alias.
pub(crate) fn collection(proxy: &Proxy, caller: &Caller, database: &str, name: &str) -> Result<Arc<CollectionMeta>, Failure> {
    if name.is_empty() {
        return Err(Failure::invalid("collection_name: it must not be empty"));
    }
    proxy.snapshot().resolve(caller.database(database), name).cloned()
}

/// The ids of partitions by name; `None` when no name is given: all of them.
pub(crate) fn partitions(meta: &CollectionMeta, names: &[String]) -> Result<Option<Arc<[PartitionId]>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    if meta.schema.partition_key().is_some() {
        return Err(Failure::invalid(
            "partition_names: not supported to manually specify the partition names if partition key mode is used",
        ));
    }
    names.iter().map(|name| partition(meta, name)).collect::<Result<Vec<_>, _>>().map(|ids| Some(ids.into()))
}

/// The id of a partition by name.
pub(crate) fn partition(meta: &CollectionMeta, name: &str) -> Result<PartitionId, Failure> {
    meta.partition(name)
        .map(|p| p.id)
        .ok_or_else(|| Failure::new(Code::PartitionNotFound, format!("partition not found[partition={name}]")))
}

/// A declared field by name.
pub(crate) fn field<'a>(meta: &'a CollectionMeta, name: &str) -> Result<&'a FieldSchema, Failure> {
    meta.schema.field(name).ok_or_else(|| Failure::invalid(format!("field {name} not exist")))
}

/// Rows stamped at or before this have outlived the collection's TTL.
pub(crate) fn expired_before(proxy: &Proxy, meta: &CollectionMeta) -> Option<Timestamp> {
    let seconds: u64 = meta.properties.get(TTL_PROPERTY)?.parse().ok().filter(|&s| s > 0)?;
    let ms = proxy.clock.unix_ms().saturating_sub(seconds.saturating_mul(1_000));
    Some(Timestamp::from_unix_ms(ms))
}
