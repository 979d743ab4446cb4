//! Load and its progress, release.

use std::collections::HashMap;

use holdfast_meta::{NameOf, check_name};
use holdfast_node_api::coordinator::{Load, LoadState};
use holdfast_proto::{
    milvus::{
        common::{self, Status},
        milvus::{self, ReplicaInfo, ShardReplica},
    },
    status,
};
use holdfast_types::{Code, Failure};

use super::channel;
use crate::{
    Proxy, resolve,
    session::{Caller, NODE},
};

/// The one resource group there is.
const DEFAULT_RESOURCE_GROUP: &str = "__default_resource_group";

/// The collection is not loaded.
pub(super) fn not_loaded(collection: &str) -> Failure {
    Failure::new(
        Code::CollectionNotLoaded,
        format!("collection not loaded[collection={collection}]"),
    )
}

/// Some of these partitions are not loaded.
pub(super) fn partition_not_loaded(partitions: &[String]) -> Failure {
    Failure::new(
        Code::PartitionNotLoaded,
        format!("partition not loaded[partition={}]", partitions.join(",")),
    )
}

/// Loads a collection and returns at once.
pub(crate) async fn collection(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::LoadCollectionRequest,
) -> Result<Status, Failure> {
    // `refresh` asks for segments that came by import: a loaded collection follows those by itself.
    // `skip_load_dynamic_field` saves memory elsewhere: here files are mapped, and a column that nobody
    // reads costs nothing. `load_params` are priorities among loads.
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    let load = load(
        Vec::new(),
        request.load_fields,
        request.replica_number,
        &request.resource_groups,
    )?;
    proxy.coordinator.load(&name, load).await?;
    Ok(status::ok())
}

/// Loads partitions and returns at once.
pub(crate) async fn partitions(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::LoadPartitionsRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_named(&request.partition_names)?;
    check_partitions(&request.partition_names)?;
    let (fields, replicas) = (request.load_fields, request.replica_number);
    let load = load(
        request.partition_names,
        fields,
        replicas,
        &request.resource_groups,
    )?;
    proxy.coordinator.load(&name, load).await?;
    Ok(status::ok())
}

fn load(
    partitions: Vec<String>,
    fields: Vec<String>,
    replicas: i32,
    groups: &[String],
) -> Result<Load, Failure> {
    if groups.iter().any(|group| group != DEFAULT_RESOURCE_GROUP) {
        return Err(Failure::new(
            Code::Unsupported,
            format!(
                "resource_groups: not built in this version of Holdfast, there is only {DEFAULT_RESOURCE_GROUP}"
            ),
        ));
    }
    for field in &fields {
        check_name(NameOf::Field, field)?;
    }
    let replicas = u32::try_from(replicas)
        .map_err(|_| Failure::invalid(format!("replica_number: {replicas} is less than 0")))?;
    Ok(Load {
        partitions,
        fields,
        replicas,
    })
}

fn check_named(partitions: &[String]) -> Result<(), Failure> {
    if partitions.is_empty() {
        return Err(Failure::invalid("partition_names: it must not be empty"));
    }
    Ok(())
}

fn check_partitions(names: &[String]) -> Result<(), Failure> {
    names
        .iter()
        .try_for_each(|name| check_name(NameOf::Partition, name))
}

/// The one replica of a loaded collection, on the one node of this process.
pub(crate) async fn replicas(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetReplicasRequest,
) -> Result<milvus::GetReplicasResponse, Failure> {
    let (name, id) = (&request.collection_name, request.collection_id);
    let meta = resolve::collection_or_id(proxy, caller, &request.db_name, name, id)?;
    let Some(load) = &meta.load else {
        return Err(not_loaded(&meta.name));
    };
    let node_ids = || match request.with_shard_nodes {
        true => vec![NODE],
        false => Vec::new(),
    };
    let shards = channel::all(&meta).into_iter().map(|name| ShardReplica {
        leader_id: NODE,
        leader_addr: String::new(),
        dm_channel_name: name,
        node_ids: node_ids(),
    });
    let all = meta.partitions.iter().map(|p| p.id);
    let replica = ReplicaInfo {
        // There is one a collection, and it is never another.
        replica_id: meta.id.0,
        collection_id: meta.id.0,
        partition_ids: match load.partitions.is_empty() {
            true => all.map(|id| id.0).collect(),
            false => load.partitions.iter().map(|id| id.0).collect(),
        },
        shard_replicas: shards.collect(),
        node_ids: vec![NODE],
        resource_group_name: DEFAULT_RESOURCE_GROUP.to_owned(),
        num_outbound_node: HashMap::new(),
    };
    Ok(milvus::GetReplicasResponse {
        status: Some(status::ok()),
        replicas: vec![replica],
    })
}

/// Releases a collection; an unloaded one is success.
pub(crate) async fn release_collection(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ReleaseCollectionRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    proxy.coordinator.release(&name).await?;
    Ok(status::ok())
}

/// Releases partitions.
pub(crate) async fn release_partitions(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ReleasePartitionsRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_named(&request.partition_names)?;
    check_partitions(&request.partition_names)?;
    proxy
        .coordinator
        .release_partitions(&name, &request.partition_names)
        .await?;
    Ok(status::ok())
}

/// How far a load has come, in percent; clients wait for 100.
pub(crate) async fn progress(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetLoadingProgressRequest,
) -> Result<milvus::GetLoadingProgressResponse, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    let partitions = &request.partition_names;
    check_partitions(partitions)?;
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    for partition in partitions {
        resolve::partition(&meta, partition)?;
    }
    let progress = match proxy.coordinator.load_state(&name, partitions).await? {
        LoadState::Loaded => 100,
        // Only what answers searches is at 100.
        LoadState::Loading(percent) => i64::from(percent.min(99)),
        LoadState::NotLoaded | LoadState::NotExist if partitions.is_empty() => {
            return Err(not_loaded(&name.collection));
        }
        LoadState::NotLoaded | LoadState::NotExist => return Err(partition_not_loaded(partitions)),
    };
    Ok(milvus::GetLoadingProgressResponse {
        status: Some(status::ok()),
        progress,
        refresh_progress: progress,
    })
}

/// Whether a collection, or partitions of it, are loaded. What does not exist is a state too.
pub(crate) async fn state(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetLoadStateRequest,
) -> Result<milvus::GetLoadStateResponse, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_partitions(&request.partition_names)?;
    let state = match proxy
        .coordinator
        .load_state(&name, &request.partition_names)
        .await
    {
        Ok(LoadState::NotExist) => common::LoadState::NotExist,
        Ok(LoadState::NotLoaded) => common::LoadState::NotLoad,
        Ok(LoadState::Loading(_)) => common::LoadState::Loading,
        Ok(LoadState::Loaded) => common::LoadState::Loaded,
        Err(failure)
            if matches!(
                failure.code,
                Code::CollectionNotFound | Code::PartitionNotFound
            ) =>
        {
            common::LoadState::NotExist
        }
        Err(failure) => return Err(failure),
    };
    Ok(milvus::GetLoadStateResponse {
        status: Some(status::ok()),
        state: state.into(),
    })
}

#[cfg(test)]
mod tests;
