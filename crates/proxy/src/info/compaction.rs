//! Compaction that a client asks for, and its progress.

use holdfast_meta::CollectionMeta;
use holdfast_node_api::coordinator::{CompactionProgress, MergePlan, MergeState, NOTHING_TO_MERGE};
use holdfast_proto::{
    milvus::{
        common::{CompactionState, CompactionTaskState, CompactionType},
        milvus::{self, CompactionMergeInfo},
    },
    status,
};
use holdfast_types::{Code, Failure};

use crate::{Proxy, ddl::channel, resolve, session::Caller};

/// Merges segments in the background: small and dead-heavy ones, or all when the client names a size.
pub(crate) async fn compact(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::ManualCompactionRequest,
) -> Result<milvus::ManualCompactionResponse, Failure> {
    let force = is_forced(&request)?;
    let name = resolve::target_or_id(
        proxy,
        caller,
        &request.db_name,
        &request.collection_name,
        request.collection_id,
    )?;
    let id = proxy.coordinator.compact(&name, force).await?;
    let plans = match id {
        NOTHING_TO_MERGE => 0,
        id => proxy.coordinator.compaction_progress(id).await?.plans.len(),
    };
    Ok(milvus::ManualCompactionResponse {
        status: Some(status::ok()),
        compaction_id: id,
        compaction_plan_count: i32::try_from(plans).unwrap_or(i32::MAX),
    })
}

/// Whether all segments are to be merged, from a request whose every wish can be met.
fn is_forced(request: &milvus::ManualCompactionRequest) -> Result<bool, Failure> {
    // `timetravel` is from a time when old states could be read; clients send what they like. There are no
    // segments of deletes (L0): merging applies deletes, so `l0_compaction` is met by any compaction.
    let wishes = [
        (
            request.major_compaction,
            "majorCompaction: clustering compaction",
        ),
        (
            request.partition_id != 0,
            "partition_id: compaction of one partition",
        ),
        (
            !request.channel.is_empty(),
            "channel: compaction of one channel",
        ),
        (
            !request.segment_ids.is_empty(),
            "segment_ids: compaction of chosen segments",
        ),
    ];
    if let Some((_, what)) = wishes.iter().find(|(is_wished, _)| *is_wished) {
        return Err(Failure::new(
            Code::Unsupported,
            format!("{what} is not built in this version of Holdfast"),
        ));
    }
    if request.target_size < 0 {
        return Err(Failure::invalid(format!(
            "target_size: {} is less than 0",
            request.target_size
        )));
    }
    Ok(request.target_size > 0)
}

/// How far a compaction has come.
pub(crate) async fn state(
    proxy: &Proxy,
    _caller: &Caller,
    request: milvus::GetCompactionStateRequest,
) -> Result<milvus::GetCompactionStateResponse, Failure> {
    let progress = proxy
        .coordinator
        .compaction_progress(request.compaction_id)
        .await?;
    let count = |plans: u64| i64::try_from(plans).unwrap_or(i64::MAX);
    Ok(milvus::GetCompactionStateResponse {
        status: Some(status::ok()),
        state: state_of(&progress).into(),
        executing_plan_no: count(progress.executing),
        timeout_plan_no: 0,
        completed_plan_no: count(progress.completed),
        failed_plan_no: count(progress.failed),
    })
}

fn state_of(progress: &CompactionProgress) -> CompactionState {
    if progress.executing > 0 {
        CompactionState::Executing
    } else {
        CompactionState::Completed
    }
}

/// How far a compaction has come, with every merge of it; or all merges of a collection that are still known.
pub(crate) async fn state_with_plans(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::GetCompactionPlansRequest,
) -> Result<milvus::GetCompactionPlansResponse, Failure> {
    let milvus::GetCompactionPlansRequest {
        compaction_id,
        db_name,
        collection_name,
        collection_id,
    } = request;
    let of_collection = !collection_name.is_empty() || collection_id != 0;
    let progress = if compaction_id == 0 && of_collection {
        let name = resolve::target_or_id(proxy, caller, &db_name, &collection_name, collection_id)?;
        proxy.coordinator.compactions(&name).await?
    } else {
        proxy.coordinator.compaction_progress(compaction_id).await?
    };
    let catalog = proxy.snapshot();
    let merge_infos = progress.plans.iter().map(|plan| {
        let meta = catalog.collection(plan.shard.collection);
        merge_info(plan, meta.map(|meta| &**meta))
    });
    Ok(milvus::GetCompactionPlansResponse {
        status: Some(status::ok()),
        state: state_of(&progress).into(),
        merge_infos: merge_infos.collect(),
    })
}

/// `meta` is that of the merge's collection, while it exists.
fn merge_info(plan: &MergePlan, meta: Option<&CollectionMeta>) -> CompactionMergeInfo {
    let state = match &plan.state {
        MergeState::Waiting => CompactionTaskState::Pipelining,
        MergeState::Running => CompactionTaskState::Executing,
        MergeState::Done => CompactionTaskState::Completed,
        MergeState::Failed(_) => CompactionTaskState::Failed,
    };
    CompactionMergeInfo {
        sources: plan.sources.iter().map(|segment| segment.0).collect(),
        target: plan.target.map_or(0, |segment| segment.0),
        plan_id: plan.id,
        trigger_id: plan.compaction,
        collection_id: plan.shard.collection.0,
        partition_id: plan.partition.0,
        channel: meta.map_or_else(String::new, |m| channel::of_shard(m, plan.shard.index)),
        r#type: CompactionType::Mix.into(),
        state: state.into(),
        failure_reason: match &plan.state {
            MergeState::Failed(why) => why.clone(),
            MergeState::Waiting | MergeState::Running | MergeState::Done => String::new(),
        },
        targets: plan
            .target
            .iter()
            .filter(|segment| segment.0 != 0)
            .map(|segment| segment.0)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{CollectionId, PartitionId, SegmentId, ShardId};

    use super::*;

    #[test]
    fn a_size_asks_for_a_merge_of_everything() {
        let request = |target_size| milvus::ManualCompactionRequest {
            target_size,
            ..Default::default()
        };
        assert_eq!(is_forced(&request(0)), Ok(false));
        assert_eq!(is_forced(&request(i64::MAX)), Ok(true));
        assert_eq!(
            is_forced(&request(-1)).unwrap_err().message,
            "target_size: -1 is less than 0"
        );
        let of_deletes = milvus::ManualCompactionRequest {
            l0_compaction: true,
            ..Default::default()
        };
        assert_eq!(is_forced(&of_deletes), Ok(false));
    }

    #[test]
    fn wishes_that_cannot_be_met_are_refused() {
        for request in [
            milvus::ManualCompactionRequest {
                major_compaction: true,
                ..Default::default()
            },
            milvus::ManualCompactionRequest {
                partition_id: 7,
                ..Default::default()
            },
            milvus::ManualCompactionRequest {
                channel: "c".to_owned(),
                ..Default::default()
            },
            milvus::ManualCompactionRequest {
                segment_ids: vec![1],
                ..Default::default()
            },
        ] {
            assert_eq!(
                is_forced(&request).unwrap_err().code,
                Code::Unsupported,
                "{request:?}"
            );
        }
    }

    #[test]
    fn a_compaction_is_complete_when_no_merge_is_left() {
        let progress = |executing| CompactionProgress {
            executing,
            completed: 1,
            ..Default::default()
        };
        assert_eq!(state_of(&progress(1)), CompactionState::Executing);
        assert_eq!(state_of(&progress(0)), CompactionState::Completed);
        assert_eq!(
            state_of(&CompactionProgress::default()),
            CompactionState::Completed
        );
    }

    #[test]
    fn a_merge_shows_its_sources_and_its_result_if_there_is_one() {
        let plan = |target, state| MergePlan {
            id: 10,
            compaction: 9,
            shard: ShardId {
                collection: CollectionId(5),
                index: 1,
            },
            partition: PartitionId(6),
            sources: vec![SegmentId(1), SegmentId(2)],
            target,
            state,
        };
        let done = merge_info(&plan(Some(SegmentId(3)), MergeState::Done), None);
        assert_eq!(
            (done.sources, done.target, done.targets, done.state),
            (
                vec![1, 2],
                3,
                vec![3],
                CompactionTaskState::Completed.into()
            )
        );
        assert_eq!(
            (
                done.plan_id,
                done.trigger_id,
                done.collection_id,
                done.partition_id
            ),
            (10, 9, 5, 6)
        );
        for nothing in [None, Some(SegmentId(0))] {
            let shown = merge_info(&plan(nothing, MergeState::Done), None);
            assert_eq!((shown.target, shown.targets), (0, vec![]));
        }
        let failed = merge_info(&plan(None, MergeState::Failed("full".to_owned())), None);
        assert_eq!(
            (failed.failure_reason.as_str(), failed.state),
            ("full", CompactionTaskState::Failed.into())
        );
    }
}
