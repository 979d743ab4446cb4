//! Partitions: create, list, drop.

use holdfast_meta::{NameOf, PartitionMeta, check_name};
use holdfast_node_api::coordinator::LoadState;
use holdfast_proto::{
    milvus::{common::Status, milvus},
    status,
};
use holdfast_types::{Code, Failure};

use super::collection::only_loaded;
use crate::{Proxy, resolve, session::Caller};

/// Creates a partition; an existing one is success.
pub(crate) async fn create(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::CreatePartitionRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Partition, &request.partition_name)?;
    proxy
        .coordinator
        .create_partition(&name, &request.partition_name)
        .await?;
    Ok(status::ok())
}

/// Drops a partition and its rows; a missing one is success.
pub(crate) async fn drop(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::DropPartitionRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Partition, &request.partition_name)?;
    proxy
        .coordinator
        .drop_partition(&name, &request.partition_name)
        .await?;
    Ok(status::ok())
}

/// Whether a collection has a partition of this name.
pub(crate) async fn has(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::HasPartitionRequest,
) -> Result<milvus::BoolResponse, Failure> {
    check_name(NameOf::Partition, &request.partition_name)?;
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let value = meta.partition(&request.partition_name).is_some();
    Ok(milvus::BoolResponse {
        status: Some(status::ok()),
        value,
    })
}

/// The partitions of a collection, or those of them that are loaded or being loaded.
pub(crate) async fn show(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ShowPartitionsRequest,
) -> Result<milvus::ShowPartitionsResponse, Failure> {
    let only_loaded = only_loaded(request.r#type)?;
    let (database, name, id) = (
        &request.db_name,
        &request.collection_name,
        request.collection_id,
    );
    let meta = resolve::collection_or_id(proxy, caller, database, name, id)?;
    let found: Vec<&PartitionMeta> = if request.partition_names.is_empty() {
        meta.partitions.iter().collect()
    } else {
        let named = request.partition_names.iter().map(|name| {
            check_name(NameOf::Partition, name)?;
            let not_found = || {
                Failure::new(
                    Code::PartitionNotFound,
                    format!("partition not found[partition={name}]"),
                )
            };
            meta.partition(name).ok_or_else(not_found)
        });
        named.collect::<Result<_, _>>()?
    };
    let target = resolve::target(caller, database, &meta.name)?;
    let mut answer = milvus::ShowPartitionsResponse {
        status: Some(status::ok()),
        ..Default::default()
    };
    for partition in found {
        if only_loaded {
            let percent = match proxy
                .coordinator
                .load_state(&target, std::slice::from_ref(&partition.name))
                .await?
            {
                LoadState::Loaded => 100,
                LoadState::Loading(percent) => i64::from(percent.min(99)),
                LoadState::NotLoaded | LoadState::NotExist
                    if request.partition_names.is_empty() =>
                {
                    continue;
                }
                LoadState::NotLoaded | LoadState::NotExist => {
                    return Err(super::load::partition_not_loaded(std::slice::from_ref(
                        &partition.name,
                    )));
                }
            };
            answer.in_memory_percentages.push(percent);
        }
        answer.partition_names.push(partition.name.clone());
        answer.partition_i_ds.push(partition.id.0);
        answer.created_timestamps.push(partition.created.0);
        answer
            .created_utc_timestamps
            .push(partition.created.unix_ms());
    }
    Ok(answer)
}
