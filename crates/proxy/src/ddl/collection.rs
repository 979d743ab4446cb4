//! Collections: create, describe, list, rename, alter, truncate, drop.

use holdfast_meta::{CollectionMeta, DatabaseMeta, NameOf, check_name, model::CONSISTENCY_MAX};
use holdfast_node_api::coordinator::{CollectionName, CreateCollection, LoadState};
use holdfast_proto::{
    kv::{self, Params},
    milvus::{
        common::{KeyValuePair, Status},
        milvus::{self, ShowType},
    },
    schema, status,
};
use holdfast_types::{
    Code, Failure,
    limits::{MAX_PARTITIONS, MAX_SHARDS},
};

use super::{change::change, channel};
use crate::{Proxy, resolve, session::Caller};

/// Collection property: the zone that times are read and shown in.
const TIMEZONE: &str = "timezone";
/// The zone of a collection that has no other.
const TIMEZONE_DEFAULT: &str = "UTC";

/// Creates a collection; the same one again is success.
pub(crate) async fn create(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::CreateCollectionRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    let schema = schema::to_domain(&schema::decode(&request.schema)?)?;
    let consistency = request.consistency_level;
    if !(0..=CONSISTENCY_MAX).contains(&consistency) {
        return Err(Failure::invalid(format!(
            "consistency_level: {consistency} is not in 0..={CONSISTENCY_MAX}"
        )));
    }
    Params::new("properties", &request.properties)?;
    let create = CreateCollection {
        name,
        shards: shards(request.shards_num)?,
        consistency,
        properties: kv::to_domain(&request.properties),
        key_partitions: key_partitions(request.num_partitions, schema.partition_key().is_some())?,
        schema,
    };
    proxy.coordinator.create_collection(create).await?;
    Ok(status::ok())
}

/// Shards asked for; a client that has no wish sends 0.
fn shards(asked: i32) -> Result<u32, Failure> {
    match u32::try_from(asked) {
        Ok(0) => Ok(1),
        Ok(shards) if shards <= MAX_SHARDS => Ok(shards),
        _ => Err(Failure::invalid(format!(
            "shards_num: {asked} is not in 0..={MAX_SHARDS}"
        ))),
    }
}

/// Partitions asked for, to spread rows over by the partition key; a client that has no wish sends 0.
fn key_partitions(asked: i64, has_key: bool) -> Result<Option<u32>, Failure> {
    if asked == 0 {
        return Ok(None);
    }
    let in_range = u32::try_from(asked)
        .ok()
        .filter(|&n| n as usize <= MAX_PARTITIONS);
    let Some(partitions) = in_range else {
        return Err(Failure::invalid(format!(
            "num_partitions: {asked} is not in 1..={MAX_PARTITIONS}"
        )));
    };
    if !has_key {
        return Err(Failure::invalid(
            "num_partitions should only be specified with partition key field enabled",
        ));
    }
    Ok(Some(partitions))
}

/// Drops a collection; a missing one is success.
pub(crate) async fn drop(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DropCollectionRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    proxy.coordinator.drop_collection(&name).await?;
    Ok(status::ok())
}

/// Whether there is a collection of this name or alias.
pub(crate) async fn has(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::HasCollectionRequest,
) -> Result<milvus::BoolResponse, Failure> {
    let value = match resolve::collection(proxy, caller, &request.db_name, &request.collection_name)
    {
        Ok(_) => true,
        Err(failure) if failure.code == Code::CollectionNotFound => false,
        Err(failure) => return Err(failure),
    };
    Ok(milvus::BoolResponse {
        status: Some(status::ok()),
        value,
    })
}

/// Everything that a client may know of a collection.
pub(crate) async fn describe(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DescribeCollectionRequest,
) -> Result<milvus::DescribeCollectionResponse, Failure> {
    let (database, name, id) = (
        caller.database(&request.db_name),
        &request.collection_name,
        request.collection_id,
    );
    let meta = resolve::collection_or_id(proxy, caller, database, name, id).map_err(|failure| {
        if failure.code != Code::CollectionNotFound {
            return failure;
        }
        // Clients look for these very words to tell "there is none" from other failures.
        let asked = if name.is_empty() {
            id.to_string()
        } else {
            name.clone()
        };
        Failure::new(
            failure.code,
            format!("can't find collection[database={database}][collection={asked}]"),
        )
    })?;
    let snapshot = proxy.snapshot();
    Ok(description(snapshot.database(database)?, &meta))
}

fn description(
    database: &DatabaseMeta,
    meta: &CollectionMeta,
) -> milvus::DescribeCollectionResponse {
    milvus::DescribeCollectionResponse {
        status: Some(status::ok()),
        schema: Some(schema::to_wire(&meta.schema, &meta.name)),
        collection_id: meta.id.0,
        virtual_channel_names: channel::all(meta),
        physical_channel_names: channel::physical(meta),
        created_timestamp: meta.created.0,
        created_utc_timestamp: meta.created.unix_ms(),
        shards_num: shards_num(meta),
        aliases: meta.aliases.clone(),
        start_positions: Vec::new(),
        consistency_level: meta.consistency,
        collection_name: meta.name.clone(),
        properties: properties(meta),
        db_name: database.name.clone(),
        num_partitions: i64::try_from(meta.partitions.len()).unwrap_or(i64::MAX),
        db_id: database.id.0,
        request_time: 0,
        update_timestamp: meta.updated.0,
        update_timestamp_str: meta.updated.to_string(),
    }
}

fn shards_num(meta: &CollectionMeta) -> i32 {
    i32::try_from(meta.shards.len()).unwrap_or(i32::MAX)
}

fn properties(meta: &CollectionMeta) -> Vec<KeyValuePair> {
    let mut shown = kv::to_wire(
        meta.properties
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str())),
    );
    if !meta.properties.contains_key(TIMEZONE) {
        shown.push(kv::pair(TIMEZONE, TIMEZONE_DEFAULT));
    }
    shown
}

/// The collections of a database, or those of them that are loaded or being loaded.
pub(crate) async fn show(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ShowCollectionsRequest,
) -> Result<milvus::ShowCollectionsResponse, Failure> {
    let only_loaded = only_loaded(request.r#type)?;
    let database = caller.database(&request.db_name);
    check_name(NameOf::Database, database)?;
    let found = if request.collection_names.is_empty() {
        proxy.snapshot().collections_of(database)?
    } else {
        let named = request.collection_names.iter();
        named
            .map(|name| resolve::collection(proxy, caller, database, name))
            .collect::<Result<_, _>>()?
    };
    let mut answer = milvus::ShowCollectionsResponse {
        status: Some(status::ok()),
        ..Default::default()
    };
    for meta in found {
        if only_loaded {
            let name = CollectionName {
                database: database.to_owned(),
                collection: meta.name.clone(),
            };
            let percent = match proxy.coordinator.load_state(&name, &[]).await? {
                LoadState::Loaded => 100,
                LoadState::Loading(percent) => i64::from(percent.min(99)),
                // Named ones are wanted; of the others only the loaded ones.
                LoadState::NotLoaded | LoadState::NotExist
                    if request.collection_names.is_empty() =>
                {
                    continue;
                }
                LoadState::NotLoaded | LoadState::NotExist => {
                    return Err(super::load::not_loaded(&meta.name));
                }
            };
            answer.in_memory_percentages.push(percent);
            answer.query_service_available.push(percent == 100);
        }
        answer.collection_ids.push(meta.id.0);
        answer.created_timestamps.push(meta.created.0);
        answer.created_utc_timestamps.push(meta.created.unix_ms());
        answer.shards_num.push(shards_num(&meta));
        answer.collection_names.push(meta.name.clone());
    }
    Ok(answer)
}

/// Whether a listing is of what is loaded only.
pub(super) fn only_loaded(show_type: i32) -> Result<bool, Failure> {
    match ShowType::try_from(show_type) {
        Ok(ShowType::All) => Ok(false),
        Ok(ShowType::InMemory) => Ok(true),
        Err(_) => Err(Failure::invalid(format!(
            "type: {show_type} is neither 0 (all) nor 1 (loaded)"
        ))),
    }
}

/// Changes a collection's properties.
pub(crate) async fn alter(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AlterCollectionRequest,
) -> Result<Status, Failure> {
    let change = change("properties", &request.properties, request.delete_keys)?;
    let name = resolve::target_or_id(
        proxy,
        caller,
        &request.db_name,
        &request.collection_name,
        request.collection_id,
    )?;
    proxy.coordinator.alter_collection(&name, change).await?;
    Ok(status::ok())
}

/// Removes all rows of a collection.
pub(crate) async fn truncate(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::TruncateCollectionRequest,
) -> Result<milvus::TruncateCollectionResponse, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    proxy.coordinator.truncate_collection(&name).await?;
    Ok(milvus::TruncateCollectionResponse {
        status: Some(status::ok()),
    })
}

/// Renames a collection, into another database if one is named.
pub(crate) async fn rename(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::RenameCollectionRequest,
) -> Result<Status, Failure> {
    let from = resolve::target(caller, &request.db_name, &request.old_name)?;
    let database = if request.new_db_name.is_empty() {
        &from.database
    } else {
        &request.new_db_name
    };
    let to = resolve::target(caller, database, &request.new_name)?;
    proxy.coordinator.rename_collection(&from, &to).await?;
    Ok(status::ok())
}

#[cfg(test)]
mod tests;
