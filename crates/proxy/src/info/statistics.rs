//! Row counts.

use holdfast_meta::{NameOf, check_name};
use holdfast_node_api::coordinator::Statistics;
use holdfast_proto::{
    kv,
    milvus::{common::KeyValuePair, milvus},
    status,
};
use holdfast_types::Failure;

use crate::{Proxy, resolve, session::Caller};

/// Rows of a collection.
pub(crate) async fn collection(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetCollectionStatisticsRequest,
) -> Result<milvus::GetCollectionStatisticsResponse, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    let statistics = proxy.coordinator.statistics(&name, None).await?;
    Ok(milvus::GetCollectionStatisticsResponse {
        status: Some(status::ok()),
        stats: stats(statistics),
    })
}

/// Rows of one partition.
pub(crate) async fn partition(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetPartitionStatisticsRequest,
) -> Result<milvus::GetPartitionStatisticsResponse, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Partition, &request.partition_name)?;
    let statistics = proxy
        .coordinator
        .statistics(&name, Some(&request.partition_name))
        .await?;
    Ok(milvus::GetPartitionStatisticsResponse {
        status: Some(status::ok()),
        stats: stats(statistics),
    })
}

fn stats(statistics: Statistics) -> Vec<KeyValuePair> {
    let Statistics { rows } = statistics;
    vec![kv::pair("row_count", rows.to_string())]
}
