use super::*;
use crate::fakes;

async fn progress_of(
    proxy: &Proxy,
    collection: &str,
    partitions: &[&str],
) -> Result<(i64, i64), Failure> {
    let request = milvus::GetLoadingProgressRequest {
        collection_name: collection.to_owned(),
        partition_names: partitions.iter().map(|&p| p.to_owned()).collect(),
        ..Default::default()
    };
    let answer = progress(proxy, &fakes::caller(""), request).await?;
    Ok((answer.progress, answer.refresh_progress))
}

#[tokio::test]
async fn a_load_is_at_a_hundred_percent_only_when_it_answers_searches() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "c").await;
    for (state, expect) in [
        (LoadState::Loading(0), 0),
        (LoadState::Loading(42), 42),
        (LoadState::Loading(100), 99),
        (LoadState::Loaded, 100),
    ] {
        parts.script().load_state = Some(state);
        assert_eq!(
            progress_of(&proxy, "c", &[]).await,
            Ok((expect, expect)),
            "{state:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_loaded_has_no_progress() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "c").await;
    parts.script().load_state = Some(LoadState::NotLoaded);
    let code = async |collection, partitions| {
        progress_of(&proxy, collection, partitions)
            .await
            .unwrap_err()
            .code
    };
    assert_eq!(code("c", &[]).await, Code::CollectionNotLoaded);
    assert_eq!(code("c", &["_default"]).await, Code::PartitionNotLoaded);
    assert_eq!(code("c", &["p"]).await, Code::PartitionNotFound);
    assert_eq!(code("d", &[]).await, Code::CollectionNotFound);
}

#[tokio::test]
async fn a_missing_collection_is_a_state_and_no_failure() {
    let (proxy, parts) = fakes::proxy().await;
    let caller = fakes::caller("");
    let request = milvus::GetLoadStateRequest {
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    let ask = || state(&proxy, &caller, request.clone());
    parts.script().load_state = Some(LoadState::Loading(3));
    assert_eq!(ask().await.unwrap().state(), common::LoadState::Loading);
    parts.script().load_state = Some(LoadState::NotExist);
    assert_eq!(ask().await.unwrap().state(), common::LoadState::NotExist);
    parts.script().failure = Some(Failure::new(Code::CollectionNotFound, "none"));
    assert_eq!(ask().await.unwrap().state(), common::LoadState::NotExist);
    parts.script().failure = Some(Failure::new(Code::Unavailable, "later"));
    assert_eq!(ask().await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn a_load_that_cannot_be_is_refused_by_the_name_of_its_field() {
    let (proxy, parts) = fakes::proxy().await;
    let caller = fakes::caller("");
    let valid = milvus::LoadCollectionRequest {
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    for (request, says) in [
        (
            milvus::LoadCollectionRequest {
                replica_number: -1,
                ..valid.clone()
            },
            "replica_number: -1",
        ),
        (
            milvus::LoadCollectionRequest {
                resource_groups: vec!["rg".to_owned()],
                ..valid.clone()
            },
            "resource_groups: ",
        ),
        (
            milvus::LoadCollectionRequest {
                load_fields: vec![String::new()],
                ..valid.clone()
            },
            "Invalid field name",
        ),
    ] {
        let failure = collection(&proxy, &caller, request).await.unwrap_err();
        assert!(failure.message.starts_with(says), "{failure}");
    }
    let of_none = milvus::LoadPartitionsRequest {
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    let failure = partitions(&proxy, &caller, of_none).await.unwrap_err();
    assert!(
        failure.message.starts_with("partition_names: "),
        "{failure}"
    );
    assert!(parts.script().calls.is_empty());

    let groups = vec![DEFAULT_RESOURCE_GROUP.to_owned()];
    let request = milvus::LoadCollectionRequest {
        resource_groups: groups,
        replica_number: 1,
        ..valid
    };
    collection(&proxy, &caller, request).await.unwrap();
    assert_eq!(
        parts.script().calls,
        ["load c Load { partitions: [], fields: [], replicas: 1 }"]
    );
}
