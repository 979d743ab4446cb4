//! How each answer carries a failure.

use holdfast_proto::milvus::{common::Status, milvus};

/// An answer that can tell a failure.
pub(crate) trait Failed {
    /// The answer that tells this failure and nothing else.
    fn failed(status: Status) -> Self;
}

impl Failed for Status {
    fn failed(status: Status) -> Self {
        status
    }
}

impl Failed for milvus::AlterCollectionSchemaResponse {
    fn failed(status: Status) -> Self {
        Self {
            alter_status: Some(status),
        }
    }
}

impl Failed for milvus::TruncateCollectionResponse {
    fn failed(status: Status) -> Self {
        Self {
            status: Some(status),
        }
    }
}

macro_rules! failed {
    ($($answer:ident)*) => {
        $(impl Failed for milvus::$answer {
            fn failed(status: Status) -> Self {
                Self { status: Some(status), ..Default::default() }
            }
        })*
    };
}

failed! {
    AllocTimestampResponse
    BoolResponse
    CheckHealthResponse
    ConnectResponse
    DescribeAliasResponse
    DescribeCollectionResponse
    DescribeDatabaseResponse
    DescribeIndexResponse
    FlushAllResponse
    FlushResponse
    GetCollectionStatisticsResponse
    GetCompactionPlansResponse
    GetCompactionStateResponse
    GetFlushAllStateResponse
    GetFlushStateResponse
    GetIndexBuildProgressResponse
    GetIndexStateResponse
    GetIndexStatisticsResponse
    GetLoadStateResponse
    GetLoadingProgressResponse
    GetPartitionStatisticsResponse
    GetPersistentSegmentInfoResponse
    GetQuerySegmentInfoResponse
    GetReplicasResponse
    GetVersionResponse
    ListAliasesResponse
    ListDatabasesResponse
    ManualCompactionResponse
    MutationResult
    QueryResults
    SearchResults
    ShowCollectionsResponse
    ShowPartitionsResponse
}
