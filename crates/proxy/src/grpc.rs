//! The public service, call by call. Here wire types end: each call is answered by one function.
//!
//! A failure of a call is told inside its answer, with gRPC OK, as Milvus clients expect it; what is not
//! built answers UNIMPLEMENTED.

use holdfast_proto::{
    milvus::{common, feder, milvus, milvus::milvus_service_server::MilvusService},
    status,
};
use holdfast_types::Failure;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    Proxy, answer::Failed, ddl, info, metered, metered::Admission, metrics, read, session, write,
};

/// What a call returns.
type Answer<T> = Result<Response<T>, Status>;

macro_rules! answer {
    ($proxy:expr, $rpc:literal, $request:expr, $call:path) => {{
        let admission = Admission::of(&$request, &$proxy.budget);
        let (caller, request) = session::Caller::of($request);
        let timer = metrics::Call::start($rpc, &*$proxy.clock);
        let result: Result<_, Failure> = match admission.refused {
            Some(failure) => Err(failure),
            None => $call($proxy, &caller, request).await,
        };
        timer.done(&*$proxy.clock, result.as_ref().err());
        let told = |failure| Failed::failed(status::from_failure(&failure));
        Ok(metered::answer(&$proxy.budget, result.unwrap_or_else(told)))
    }};
}

/// The answer of a call that is not built.
fn unbuilt<T>(rpc: &str) -> Answer<T> {
    Err(Status::unimplemented(format!(
        "{rpc} is not built in this version of Holdfast; docs/compatibility.md lists what is"
    )))
}

#[tonic::async_trait]
impl MilvusService for Proxy {
    async fn get_version(
        &self,
        request: Request<milvus::GetVersionRequest>,
    ) -> Answer<milvus::GetVersionResponse> {
        answer!(self, "GetVersion", request, session::version)
    }

    async fn check_health(
        &self,
        request: Request<milvus::CheckHealthRequest>,
    ) -> Answer<milvus::CheckHealthResponse> {
        answer!(self, "CheckHealth", request, session::check_health)
    }

    async fn connect(
        &self,
        request: Request<milvus::ConnectRequest>,
    ) -> Answer<milvus::ConnectResponse> {
        answer!(self, "Connect", request, session::connect)
    }

    async fn alloc_timestamp(
        &self,
        request: Request<milvus::AllocTimestampRequest>,
    ) -> Answer<milvus::AllocTimestampResponse> {
        answer!(self, "AllocTimestamp", request, session::alloc_timestamp)
    }

    async fn create_database(
        &self,
        request: Request<milvus::CreateDatabaseRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "CreateDatabase", request, ddl::database::create)
    }

    async fn drop_database(
        &self,
        request: Request<milvus::DropDatabaseRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "DropDatabase", request, ddl::database::drop)
    }

    async fn list_databases(
        &self,
        request: Request<milvus::ListDatabasesRequest>,
    ) -> Answer<milvus::ListDatabasesResponse> {
        answer!(self, "ListDatabases", request, ddl::database::list)
    }

    async fn alter_database(
        &self,
        request: Request<milvus::AlterDatabaseRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AlterDatabase", request, ddl::database::alter)
    }

    async fn describe_database(
        &self,
        request: Request<milvus::DescribeDatabaseRequest>,
    ) -> Answer<milvus::DescribeDatabaseResponse> {
        answer!(self, "DescribeDatabase", request, ddl::database::describe)
    }

    async fn create_collection(
        &self,
        request: Request<milvus::CreateCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "CreateCollection", request, ddl::collection::create)
    }

    async fn drop_collection(
        &self,
        request: Request<milvus::DropCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "DropCollection", request, ddl::collection::drop)
    }

    async fn has_collection(
        &self,
        request: Request<milvus::HasCollectionRequest>,
    ) -> Answer<milvus::BoolResponse> {
        answer!(self, "HasCollection", request, ddl::collection::has)
    }

    async fn describe_collection(
        &self,
        request: Request<milvus::DescribeCollectionRequest>,
    ) -> Answer<milvus::DescribeCollectionResponse> {
        answer!(
            self,
            "DescribeCollection",
            request,
            ddl::collection::describe
        )
    }

    async fn get_collection_statistics(
        &self,
        request: Request<milvus::GetCollectionStatisticsRequest>,
    ) -> Answer<milvus::GetCollectionStatisticsResponse> {
        answer!(
            self,
            "GetCollectionStatistics",
            request,
            info::statistics::collection
        )
    }

    async fn show_collections(
        &self,
        request: Request<milvus::ShowCollectionsRequest>,
    ) -> Answer<milvus::ShowCollectionsResponse> {
        answer!(self, "ShowCollections", request, ddl::collection::show)
    }

    async fn alter_collection(
        &self,
        request: Request<milvus::AlterCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AlterCollection", request, ddl::collection::alter)
    }

    async fn alter_collection_field(
        &self,
        request: Request<milvus::AlterCollectionFieldRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AlterCollectionField", request, ddl::field::alter)
    }

    async fn truncate_collection(
        &self,
        request: Request<milvus::TruncateCollectionRequest>,
    ) -> Answer<milvus::TruncateCollectionResponse> {
        answer!(
            self,
            "TruncateCollection",
            request,
            ddl::collection::truncate
        )
    }

    async fn add_collection_field(
        &self,
        request: Request<milvus::AddCollectionFieldRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AddCollectionField", request, ddl::field::add)
    }

    async fn rename_collection(
        &self,
        request: Request<milvus::RenameCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "RenameCollection", request, ddl::collection::rename)
    }

    async fn alter_collection_schema(
        &self,
        request: Request<milvus::AlterCollectionSchemaRequest>,
    ) -> Answer<milvus::AlterCollectionSchemaResponse> {
        answer!(
            self,
            "AlterCollectionSchema",
            request,
            ddl::field::alter_schema
        )
    }

    async fn create_alias(
        &self,
        request: Request<milvus::CreateAliasRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "CreateAlias", request, ddl::alias::create)
    }

    async fn drop_alias(
        &self,
        request: Request<milvus::DropAliasRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "DropAlias", request, ddl::alias::drop)
    }

    async fn alter_alias(
        &self,
        request: Request<milvus::AlterAliasRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AlterAlias", request, ddl::alias::alter)
    }

    async fn describe_alias(
        &self,
        request: Request<milvus::DescribeAliasRequest>,
    ) -> Answer<milvus::DescribeAliasResponse> {
        answer!(self, "DescribeAlias", request, ddl::alias::describe)
    }

    async fn list_aliases(
        &self,
        request: Request<milvus::ListAliasesRequest>,
    ) -> Answer<milvus::ListAliasesResponse> {
        answer!(self, "ListAliases", request, ddl::alias::list)
    }

    async fn create_partition(
        &self,
        request: Request<milvus::CreatePartitionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "CreatePartition", request, ddl::partition::create)
    }

    async fn drop_partition(
        &self,
        request: Request<milvus::DropPartitionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "DropPartition", request, ddl::partition::drop)
    }

    async fn has_partition(
        &self,
        request: Request<milvus::HasPartitionRequest>,
    ) -> Answer<milvus::BoolResponse> {
        answer!(self, "HasPartition", request, ddl::partition::has)
    }

    async fn get_partition_statistics(
        &self,
        request: Request<milvus::GetPartitionStatisticsRequest>,
    ) -> Answer<milvus::GetPartitionStatisticsResponse> {
        answer!(
            self,
            "GetPartitionStatistics",
            request,
            info::statistics::partition
        )
    }

    async fn show_partitions(
        &self,
        request: Request<milvus::ShowPartitionsRequest>,
    ) -> Answer<milvus::ShowPartitionsResponse> {
        answer!(self, "ShowPartitions", request, ddl::partition::show)
    }

    async fn create_index(
        &self,
        request: Request<milvus::CreateIndexRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "CreateIndex", request, ddl::index::create)
    }

    async fn alter_index(
        &self,
        request: Request<milvus::AlterIndexRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "AlterIndex", request, ddl::index::alter)
    }

    async fn describe_index(
        &self,
        request: Request<milvus::DescribeIndexRequest>,
    ) -> Answer<milvus::DescribeIndexResponse> {
        answer!(self, "DescribeIndex", request, ddl::index::describe)
    }

    async fn get_index_statistics(
        &self,
        request: Request<milvus::GetIndexStatisticsRequest>,
    ) -> Answer<milvus::GetIndexStatisticsResponse> {
        answer!(self, "GetIndexStatistics", request, ddl::index::statistics)
    }

    async fn get_index_state(
        &self,
        request: Request<milvus::GetIndexStateRequest>,
    ) -> Answer<milvus::GetIndexStateResponse> {
        answer!(self, "GetIndexState", request, ddl::index::state)
    }

    async fn get_index_build_progress(
        &self,
        request: Request<milvus::GetIndexBuildProgressRequest>,
    ) -> Answer<milvus::GetIndexBuildProgressResponse> {
        answer!(
            self,
            "GetIndexBuildProgress",
            request,
            ddl::index::build_progress
        )
    }

    async fn drop_index(
        &self,
        request: Request<milvus::DropIndexRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "DropIndex", request, ddl::index::drop)
    }

    async fn load_collection(
        &self,
        request: Request<milvus::LoadCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "LoadCollection", request, ddl::load::collection)
    }

    async fn release_collection(
        &self,
        request: Request<milvus::ReleaseCollectionRequest>,
    ) -> Answer<common::Status> {
        answer!(
            self,
            "ReleaseCollection",
            request,
            ddl::load::release_collection
        )
    }

    async fn load_partitions(
        &self,
        request: Request<milvus::LoadPartitionsRequest>,
    ) -> Answer<common::Status> {
        answer!(self, "LoadPartitions", request, ddl::load::partitions)
    }

    async fn release_partitions(
        &self,
        request: Request<milvus::ReleasePartitionsRequest>,
    ) -> Answer<common::Status> {
        answer!(
            self,
            "ReleasePartitions",
            request,
            ddl::load::release_partitions
        )
    }

    async fn get_loading_progress(
        &self,
        request: Request<milvus::GetLoadingProgressRequest>,
    ) -> Answer<milvus::GetLoadingProgressResponse> {
        answer!(self, "GetLoadingProgress", request, ddl::load::progress)
    }

    async fn get_load_state(
        &self,
        request: Request<milvus::GetLoadStateRequest>,
    ) -> Answer<milvus::GetLoadStateResponse> {
        answer!(self, "GetLoadState", request, ddl::load::state)
    }

    async fn insert(
        &self,
        request: Request<milvus::InsertRequest>,
    ) -> Answer<milvus::MutationResult> {
        answer!(self, "Insert", request, write::insert::insert)
    }

    async fn delete(
        &self,
        request: Request<milvus::DeleteRequest>,
    ) -> Answer<milvus::MutationResult> {
        answer!(self, "Delete", request, write::delete::delete)
    }

    async fn upsert(
        &self,
        request: Request<milvus::UpsertRequest>,
    ) -> Answer<milvus::MutationResult> {
        answer!(self, "Upsert", request, write::upsert::upsert)
    }

    async fn search(
        &self,
        request: Request<milvus::SearchRequest>,
    ) -> Answer<milvus::SearchResults> {
        answer!(self, "Search", request, read::search::search)
    }

    async fn hybrid_search(
        &self,
        request: Request<milvus::HybridSearchRequest>,
    ) -> Answer<milvus::SearchResults> {
        answer!(self, "HybridSearch", request, read::hybrid::hybrid_search)
    }

    async fn query(&self, request: Request<milvus::QueryRequest>) -> Answer<milvus::QueryResults> {
        answer!(self, "Query", request, read::query::query)
    }

    async fn flush(&self, request: Request<milvus::FlushRequest>) -> Answer<milvus::FlushResponse> {
        answer!(self, "Flush", request, info::flush::flush)
    }

    async fn flush_all(
        &self,
        request: Request<milvus::FlushAllRequest>,
    ) -> Answer<milvus::FlushAllResponse> {
        answer!(self, "FlushAll", request, info::flush::flush_all)
    }

    async fn get_flush_state(
        &self,
        request: Request<milvus::GetFlushStateRequest>,
    ) -> Answer<milvus::GetFlushStateResponse> {
        answer!(self, "GetFlushState", request, info::flush::state)
    }

    async fn get_flush_all_state(
        &self,
        request: Request<milvus::GetFlushAllStateRequest>,
    ) -> Answer<milvus::GetFlushAllStateResponse> {
        answer!(self, "GetFlushAllState", request, info::flush::all_state)
    }

    async fn get_persistent_segment_info(
        &self,
        request: Request<milvus::GetPersistentSegmentInfoRequest>,
    ) -> Answer<milvus::GetPersistentSegmentInfoResponse> {
        answer!(
            self,
            "GetPersistentSegmentInfo",
            request,
            info::segments::persistent
        )
    }

    async fn get_query_segment_info(
        &self,
        request: Request<milvus::GetQuerySegmentInfoRequest>,
    ) -> Answer<milvus::GetQuerySegmentInfoResponse> {
        answer!(self, "GetQuerySegmentInfo", request, info::segments::loaded)
    }

    async fn get_compaction_state(
        &self,
        request: Request<milvus::GetCompactionStateRequest>,
    ) -> Answer<milvus::GetCompactionStateResponse> {
        answer!(self, "GetCompactionState", request, info::compaction::state)
    }

    async fn manual_compaction(
        &self,
        request: Request<milvus::ManualCompactionRequest>,
    ) -> Answer<milvus::ManualCompactionResponse> {
        answer!(self, "ManualCompaction", request, info::compaction::compact)
    }

    async fn get_compaction_state_with_plans(
        &self,
        request: Request<milvus::GetCompactionPlansRequest>,
    ) -> Answer<milvus::GetCompactionPlansResponse> {
        answer!(
            self,
            "GetCompactionStateWithPlans",
            request,
            info::compaction::state_with_plans
        )
    }

    async fn dummy(
        &self,
        _request: Request<milvus::DummyRequest>,
    ) -> Answer<milvus::DummyResponse> {
        unbuilt("Dummy")
    }

    async fn register_link(
        &self,
        _request: Request<milvus::RegisterLinkRequest>,
    ) -> Answer<milvus::RegisterLinkResponse> {
        unbuilt("RegisterLink")
    }

    async fn get_metrics(
        &self,
        _request: Request<milvus::GetMetricsRequest>,
    ) -> Answer<milvus::GetMetricsResponse> {
        unbuilt("GetMetrics")
    }

    async fn get_component_states(
        &self,
        _request: Request<milvus::GetComponentStatesRequest>,
    ) -> Answer<milvus::ComponentStates> {
        unbuilt("GetComponentStates")
    }

    async fn batch_describe_collection(
        &self,
        _request: Request<milvus::BatchDescribeCollectionRequest>,
    ) -> Answer<milvus::BatchDescribeCollectionResponse> {
        unbuilt("BatchDescribeCollection")
    }

    async fn add_collection_function(
        &self,
        _request: Request<milvus::AddCollectionFunctionRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AddCollectionFunction")
    }

    async fn alter_collection_function(
        &self,
        _request: Request<milvus::AlterCollectionFunctionRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AlterCollectionFunction")
    }

    async fn drop_collection_function(
        &self,
        _request: Request<milvus::DropCollectionFunctionRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropCollectionFunction")
    }

    async fn add_collection_struct_field(
        &self,
        _request: Request<milvus::AddCollectionStructFieldRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AddCollectionStructField")
    }

    async fn create_namespace(
        &self,
        _request: Request<milvus::CreateNamespaceRequest>,
    ) -> Answer<milvus::CreateNamespaceResponse> {
        unbuilt("CreateNamespace")
    }

    async fn describe_namespace(
        &self,
        _request: Request<milvus::DescribeNamespaceRequest>,
    ) -> Answer<milvus::DescribeNamespaceResponse> {
        unbuilt("DescribeNamespace")
    }

    async fn list_namespaces(
        &self,
        _request: Request<milvus::ListNamespacesRequest>,
    ) -> Answer<milvus::ListNamespacesResponse> {
        unbuilt("ListNamespaces")
    }

    async fn drop_namespace(
        &self,
        _request: Request<milvus::DropNamespaceRequest>,
    ) -> Answer<milvus::DropNamespaceResponse> {
        unbuilt("DropNamespace")
    }

    async fn has_namespace(
        &self,
        _request: Request<milvus::HasNamespaceRequest>,
    ) -> Answer<milvus::HasNamespaceResponse> {
        unbuilt("HasNamespace")
    }

    async fn get_namespace_stats(
        &self,
        _request: Request<milvus::GetNamespaceStatsRequest>,
    ) -> Answer<milvus::GetNamespaceStatsResponse> {
        unbuilt("GetNamespaceStats")
    }

    async fn prewarm(
        &self,
        _request: Request<milvus::PrewarmRequest>,
    ) -> Answer<milvus::PrewarmResponse> {
        unbuilt("Prewarm")
    }

    async fn describe_prewarm_task(
        &self,
        _request: Request<milvus::DescribePrewarmTaskRequest>,
    ) -> Answer<milvus::DescribePrewarmTaskResponse> {
        unbuilt("DescribePrewarmTask")
    }

    async fn calc_distance(
        &self,
        _request: Request<milvus::CalcDistanceRequest>,
    ) -> Answer<milvus::CalcDistanceResults> {
        unbuilt("CalcDistance")
    }

    async fn get_replicas(
        &self,
        request: Request<milvus::GetReplicasRequest>,
    ) -> Answer<milvus::GetReplicasResponse> {
        answer!(self, "GetReplicas", request, ddl::load::replicas)
    }

    async fn load_balance(
        &self,
        _request: Request<milvus::LoadBalanceRequest>,
    ) -> Answer<common::Status> {
        unbuilt("LoadBalance")
    }

    async fn list_indexed_segment(
        &self,
        _request: Request<feder::ListIndexedSegmentRequest>,
    ) -> Answer<feder::ListIndexedSegmentResponse> {
        unbuilt("ListIndexedSegment")
    }

    async fn describe_segment_index_data(
        &self,
        _request: Request<feder::DescribeSegmentIndexDataRequest>,
    ) -> Answer<feder::DescribeSegmentIndexDataResponse> {
        unbuilt("DescribeSegmentIndexData")
    }

    async fn create_credential(
        &self,
        _request: Request<milvus::CreateCredentialRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreateCredential")
    }

    async fn update_credential(
        &self,
        _request: Request<milvus::UpdateCredentialRequest>,
    ) -> Answer<common::Status> {
        unbuilt("UpdateCredential")
    }

    async fn delete_credential(
        &self,
        _request: Request<milvus::DeleteCredentialRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DeleteCredential")
    }

    async fn list_cred_users(
        &self,
        _request: Request<milvus::ListCredUsersRequest>,
    ) -> Answer<milvus::ListCredUsersResponse> {
        unbuilt("ListCredUsers")
    }

    async fn create_role(
        &self,
        _request: Request<milvus::CreateRoleRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreateRole")
    }

    async fn alter_role(
        &self,
        _request: Request<milvus::AlterRoleRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AlterRole")
    }

    async fn drop_role(
        &self,
        _request: Request<milvus::DropRoleRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropRole")
    }

    async fn operate_user_role(
        &self,
        _request: Request<milvus::OperateUserRoleRequest>,
    ) -> Answer<common::Status> {
        unbuilt("OperateUserRole")
    }

    async fn select_role(
        &self,
        _request: Request<milvus::SelectRoleRequest>,
    ) -> Answer<milvus::SelectRoleResponse> {
        unbuilt("SelectRole")
    }

    async fn select_user(
        &self,
        _request: Request<milvus::SelectUserRequest>,
    ) -> Answer<milvus::SelectUserResponse> {
        unbuilt("SelectUser")
    }

    async fn operate_privilege(
        &self,
        _request: Request<milvus::OperatePrivilegeRequest>,
    ) -> Answer<common::Status> {
        unbuilt("OperatePrivilege")
    }

    async fn operate_privilege_v2(
        &self,
        _request: Request<milvus::OperatePrivilegeV2Request>,
    ) -> Answer<common::Status> {
        unbuilt("OperatePrivilegeV2")
    }

    async fn select_grant(
        &self,
        _request: Request<milvus::SelectGrantRequest>,
    ) -> Answer<milvus::SelectGrantResponse> {
        unbuilt("SelectGrant")
    }

    async fn backup_rbac(
        &self,
        _request: Request<milvus::BackupRbacMetaRequest>,
    ) -> Answer<milvus::BackupRbacMetaResponse> {
        unbuilt("BackupRBAC")
    }

    async fn restore_rbac(
        &self,
        _request: Request<milvus::RestoreRbacMetaRequest>,
    ) -> Answer<common::Status> {
        unbuilt("RestoreRBAC")
    }

    async fn create_privilege_group(
        &self,
        _request: Request<milvus::CreatePrivilegeGroupRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreatePrivilegeGroup")
    }

    async fn drop_privilege_group(
        &self,
        _request: Request<milvus::DropPrivilegeGroupRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropPrivilegeGroup")
    }

    async fn list_privilege_groups(
        &self,
        _request: Request<milvus::ListPrivilegeGroupsRequest>,
    ) -> Answer<milvus::ListPrivilegeGroupsResponse> {
        unbuilt("ListPrivilegeGroups")
    }

    async fn operate_privilege_group(
        &self,
        _request: Request<milvus::OperatePrivilegeGroupRequest>,
    ) -> Answer<common::Status> {
        unbuilt("OperatePrivilegeGroup")
    }

    async fn add_user_tags(
        &self,
        _request: Request<milvus::AddUserTagsRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AddUserTags")
    }

    async fn delete_user_tags(
        &self,
        _request: Request<milvus::DeleteUserTagsRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DeleteUserTags")
    }

    async fn get_user_tags(
        &self,
        _request: Request<milvus::GetUserTagsRequest>,
    ) -> Answer<milvus::GetUserTagsResponse> {
        unbuilt("GetUserTags")
    }

    async fn list_users_with_tag(
        &self,
        _request: Request<milvus::ListUsersWithTagRequest>,
    ) -> Answer<milvus::ListUsersWithTagResponse> {
        unbuilt("ListUsersWithTag")
    }

    async fn create_row_policy(
        &self,
        _request: Request<milvus::CreateRowPolicyRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreateRowPolicy")
    }

    async fn drop_row_policy(
        &self,
        _request: Request<milvus::DropRowPolicyRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropRowPolicy")
    }

    async fn list_row_policies(
        &self,
        _request: Request<milvus::ListRowPoliciesRequest>,
    ) -> Answer<milvus::ListRowPoliciesResponse> {
        unbuilt("ListRowPolicies")
    }

    async fn create_resource_group(
        &self,
        _request: Request<milvus::CreateResourceGroupRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreateResourceGroup")
    }

    async fn drop_resource_group(
        &self,
        _request: Request<milvus::DropResourceGroupRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropResourceGroup")
    }

    async fn update_resource_groups(
        &self,
        _request: Request<milvus::UpdateResourceGroupsRequest>,
    ) -> Answer<common::Status> {
        unbuilt("UpdateResourceGroups")
    }

    async fn transfer_node(
        &self,
        _request: Request<milvus::TransferNodeRequest>,
    ) -> Answer<common::Status> {
        unbuilt("TransferNode")
    }

    async fn transfer_replica(
        &self,
        _request: Request<milvus::TransferReplicaRequest>,
    ) -> Answer<common::Status> {
        unbuilt("TransferReplica")
    }

    async fn list_resource_groups(
        &self,
        _request: Request<milvus::ListResourceGroupsRequest>,
    ) -> Answer<milvus::ListResourceGroupsResponse> {
        unbuilt("ListResourceGroups")
    }

    async fn describe_resource_group(
        &self,
        _request: Request<milvus::DescribeResourceGroupRequest>,
    ) -> Answer<milvus::DescribeResourceGroupResponse> {
        unbuilt("DescribeResourceGroup")
    }

    async fn import(
        &self,
        _request: Request<milvus::ImportRequest>,
    ) -> Answer<milvus::ImportResponse> {
        unbuilt("Import")
    }

    async fn get_import_state(
        &self,
        _request: Request<milvus::GetImportStateRequest>,
    ) -> Answer<milvus::GetImportStateResponse> {
        unbuilt("GetImportState")
    }

    async fn list_import_tasks(
        &self,
        _request: Request<milvus::ListImportTasksRequest>,
    ) -> Answer<milvus::ListImportTasksResponse> {
        unbuilt("ListImportTasks")
    }

    async fn create_snapshot(
        &self,
        _request: Request<milvus::CreateSnapshotRequest>,
    ) -> Answer<common::Status> {
        unbuilt("CreateSnapshot")
    }

    async fn drop_snapshot(
        &self,
        _request: Request<milvus::DropSnapshotRequest>,
    ) -> Answer<common::Status> {
        unbuilt("DropSnapshot")
    }

    async fn list_snapshots(
        &self,
        _request: Request<milvus::ListSnapshotsRequest>,
    ) -> Answer<milvus::ListSnapshotsResponse> {
        unbuilt("ListSnapshots")
    }

    async fn describe_snapshot(
        &self,
        _request: Request<milvus::DescribeSnapshotRequest>,
    ) -> Answer<milvus::DescribeSnapshotResponse> {
        unbuilt("DescribeSnapshot")
    }

    async fn restore_snapshot(
        &self,
        _request: Request<milvus::RestoreSnapshotRequest>,
    ) -> Answer<milvus::RestoreSnapshotResponse> {
        unbuilt("RestoreSnapshot")
    }

    async fn restore_external_snapshot(
        &self,
        _request: Request<milvus::RestoreExternalSnapshotRequest>,
    ) -> Answer<milvus::RestoreExternalSnapshotResponse> {
        unbuilt("RestoreExternalSnapshot")
    }

    async fn export_snapshot(
        &self,
        _request: Request<milvus::ExportSnapshotRequest>,
    ) -> Answer<milvus::ExportSnapshotResponse> {
        unbuilt("ExportSnapshot")
    }

    async fn get_export_snapshot_state(
        &self,
        _request: Request<milvus::GetExportSnapshotStateRequest>,
    ) -> Answer<milvus::GetExportSnapshotStateResponse> {
        unbuilt("GetExportSnapshotState")
    }

    async fn get_restore_snapshot_state(
        &self,
        _request: Request<milvus::GetRestoreSnapshotStateRequest>,
    ) -> Answer<milvus::GetRestoreSnapshotStateResponse> {
        unbuilt("GetRestoreSnapshotState")
    }

    async fn list_restore_snapshot_jobs(
        &self,
        _request: Request<milvus::ListRestoreSnapshotJobsRequest>,
    ) -> Answer<milvus::ListRestoreSnapshotJobsResponse> {
        unbuilt("ListRestoreSnapshotJobs")
    }

    async fn pin_snapshot_data(
        &self,
        _request: Request<milvus::PinSnapshotDataRequest>,
    ) -> Answer<milvus::PinSnapshotDataResponse> {
        unbuilt("PinSnapshotData")
    }

    async fn unpin_snapshot_data(
        &self,
        _request: Request<milvus::UnpinSnapshotDataRequest>,
    ) -> Answer<common::Status> {
        unbuilt("UnpinSnapshotData")
    }

    async fn batch_update_manifest(
        &self,
        _request: Request<milvus::BatchUpdateManifestRequest>,
    ) -> Answer<common::Status> {
        unbuilt("BatchUpdateManifest")
    }

    async fn refresh_external_collection(
        &self,
        _request: Request<milvus::RefreshExternalCollectionRequest>,
    ) -> Answer<milvus::RefreshExternalCollectionResponse> {
        unbuilt("RefreshExternalCollection")
    }

    async fn get_refresh_external_collection_progress(
        &self,
        _request: Request<milvus::GetRefreshExternalCollectionProgressRequest>,
    ) -> Answer<milvus::GetRefreshExternalCollectionProgressResponse> {
        unbuilt("GetRefreshExternalCollectionProgress")
    }

    async fn list_refresh_external_collection_jobs(
        &self,
        _request: Request<milvus::ListRefreshExternalCollectionJobsRequest>,
    ) -> Answer<milvus::ListRefreshExternalCollectionJobsResponse> {
        unbuilt("ListRefreshExternalCollectionJobs")
    }

    async fn run_analyzer(
        &self,
        _request: Request<milvus::RunAnalyzerRequest>,
    ) -> Answer<milvus::RunAnalyzerResponse> {
        unbuilt("RunAnalyzer")
    }

    async fn add_file_resource(
        &self,
        _request: Request<milvus::AddFileResourceRequest>,
    ) -> Answer<common::Status> {
        unbuilt("AddFileResource")
    }

    async fn remove_file_resource(
        &self,
        _request: Request<milvus::RemoveFileResourceRequest>,
    ) -> Answer<common::Status> {
        unbuilt("RemoveFileResource")
    }

    async fn list_file_resources(
        &self,
        _request: Request<milvus::ListFileResourcesRequest>,
    ) -> Answer<milvus::ListFileResourcesResponse> {
        unbuilt("ListFileResources")
    }

    async fn compute_phrase_match_slop(
        &self,
        _request: Request<milvus::ComputePhraseMatchSlopRequest>,
    ) -> Answer<milvus::ComputePhraseMatchSlopResponse> {
        unbuilt("ComputePhraseMatchSlop")
    }

    async fn replicate_message(
        &self,
        _request: Request<milvus::ReplicateMessageRequest>,
    ) -> Answer<milvus::ReplicateMessageResponse> {
        unbuilt("ReplicateMessage")
    }

    async fn update_replicate_configuration(
        &self,
        _request: Request<milvus::UpdateReplicateConfigurationRequest>,
    ) -> Answer<common::Status> {
        unbuilt("UpdateReplicateConfiguration")
    }

    async fn get_replicate_configuration(
        &self,
        _request: Request<milvus::GetReplicateConfigurationRequest>,
    ) -> Answer<milvus::GetReplicateConfigurationResponse> {
        unbuilt("GetReplicateConfiguration")
    }

    async fn get_replicate_info(
        &self,
        _request: Request<milvus::GetReplicateInfoRequest>,
    ) -> Answer<milvus::GetReplicateInfoResponse> {
        unbuilt("GetReplicateInfo")
    }

    type CreateReplicateStreamStream =
        futures::stream::Empty<Result<milvus::ReplicateResponse, Status>>;

    async fn create_replicate_stream(
        &self,
        _request: Request<Streaming<milvus::ReplicateRequest>>,
    ) -> Answer<Self::CreateReplicateStreamStream> {
        unbuilt("CreateReplicateStream")
    }

    type DumpMessagesStream = futures::stream::Empty<Result<milvus::DumpMessagesResponse, Status>>;

    async fn dump_messages(
        &self,
        _request: Request<milvus::DumpMessagesRequest>,
    ) -> Answer<Self::DumpMessagesStream> {
        unbuilt("DumpMessages")
    }
}
