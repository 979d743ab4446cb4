use holdfast_types::{FieldId, IndexId, Metric};

use super::*;
use crate::fakes;

fn index(id: i64, field: i64, name: &str) -> IndexMeta {
    IndexMeta {
        id: IndexId(id),
        field: FieldId(field),
        name: name.to_owned(),
        kind: IndexKind::Hnsw {
            m: 16,
            ef_construction: 200,
        },
        asked: vec![
            ("index_type".to_owned(), "AUTOINDEX".to_owned()),
            ("M".to_owned(), "16".to_owned()),
        ],
        metric: Some(Metric::Cosine),
        json_path: None,
        created: Timestamp(1),
    }
}

fn progress(id: i64, indexed_rows: u64, pending_rows: u64) -> IndexProgress {
    let total_rows = indexed_rows + pending_rows;
    IndexProgress {
        index: IndexId(id),
        indexed_rows,
        total_rows,
        pending_rows,
        failure: None,
    }
}

async fn with_indexes(indexes: Vec<IndexMeta>) -> (Proxy, fakes::Parts) {
    let (proxy, parts) = fakes::proxy().await;
    let id = fakes::collection(&proxy, "c").await.id;
    let put = |old: &CollectionMeta| {
        Ok(CollectionMeta {
            indexes: indexes.clone(),
            ..old.clone()
        })
    };
    proxy
        .catalog
        .update_collection(id, None, put)
        .await
        .unwrap();
    (proxy, parts)
}

fn describing(field: &str, index: &str, timestamp: u64) -> milvus::DescribeIndexRequest {
    milvus::DescribeIndexRequest {
        collection_name: "c".to_owned(),
        field_name: field.to_owned(),
        index_name: index.to_owned(),
        timestamp,
        ..Default::default()
    }
}

#[test]
fn an_index_is_finished_when_no_row_waits_for_it() {
    assert_eq!(
        state_of(&progress(1, 0, 0)),
        IndexState::Finished,
        "an empty collection"
    );
    assert_eq!(state_of(&progress(1, 10, 0)), IndexState::Finished);
    assert_eq!(state_of(&progress(1, 10, 1)), IndexState::InProgress);
    let failed = IndexProgress {
        failure: Some("dim".to_owned()),
        ..progress(1, 10, 0)
    };
    assert_eq!(state_of(&failed), IndexState::Failed);
    // What clients compare with.
    let numbers = [
        IndexState::InProgress,
        IndexState::Finished,
        IndexState::Failed,
    ]
    .map(i32::from);
    assert_eq!(numbers, [2, 3, 4]);
}

#[test]
fn parameters_are_shown_as_given_with_what_was_left_open_added() {
    let text = |index: &IndexMeta| -> Vec<String> {
        params(index)
            .into_iter()
            .map(|p| format!("{}={}", p.key, p.value))
            .collect()
    };
    let mut index = index(1, 101, "v");
    assert_eq!(
        text(&index),
        ["index_type=AUTOINDEX", "M=16", "metric_type=COSINE"]
    );
    index.asked = vec![("metric_type".to_owned(), "IP".to_owned())];
    assert_eq!(text(&index), ["metric_type=IP", "index_type=HNSW"]);
    index.metric = None;
    index.asked = Vec::new();
    index.kind = IndexKind::Inverted;
    assert_eq!(text(&index), ["index_type=INVERTED"]);
}

#[tokio::test]
async fn indexes_are_described_by_name_by_field_or_all() {
    let (proxy, parts) = with_indexes(vec![index(1, 101, "v"), index(2, 102, "p")]).await;
    parts.script().indexes = vec![progress(1, 30, 12), progress(2, 42, 0)];
    let caller = fakes::caller("");
    let find = |field: &str, index: &str| describe(&proxy, &caller, describing(field, index, 0));

    let all = find("", "").await.unwrap().index_descriptions;
    assert_eq!(
        all.iter()
            .map(|d| d.index_name.as_str())
            .collect::<Vec<_>>(),
        ["v", "p"]
    );
    let one = &find("vector", "").await.unwrap().index_descriptions[..];
    let [one] = one else { panic!("{one:?}") };
    assert_eq!(
        (one.field_name.as_str(), one.index_id, one.state()),
        ("vector", 1, IndexState::InProgress)
    );
    assert_eq!(
        (one.indexed_rows, one.total_rows, one.pending_index_rows),
        (30, 42, 12)
    );
    assert_eq!(
        find("", "p").await.unwrap().index_descriptions[0].field_name,
        "price"
    );
    assert_eq!(
        find("vector", "p").await.unwrap_err().code,
        Code::IndexNotFound
    );
    assert_eq!(
        find("other", "").await.unwrap_err().code,
        Code::InvalidArgument
    );
    let not_found = find("", "w").await.unwrap_err();
    assert_eq!(
        (not_found.code, not_found.message.as_str()),
        (
            Code::IndexNotFound,
            "index not found[index=w][collection=c]"
        )
    );
}

#[tokio::test]
async fn a_collection_without_indexes_is_told_as_such() {
    let (proxy, _) = with_indexes(Vec::new()).await;
    let failure = describe(&proxy, &fakes::caller(""), describing("", "", 0))
        .await
        .unwrap_err();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (Code::IndexNotFound, "index not found[collection=c]")
    );
    let missing = milvus::DescribeIndexRequest {
        collection_name: "d".to_owned(),
        ..Default::default()
    };
    let failure = describe(&proxy, &fakes::caller(""), missing)
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::CollectionNotFound);
}

#[tokio::test]
async fn only_rows_up_to_the_stamp_of_the_request_count() {
    let (proxy, parts) = with_indexes(vec![index(1, 101, "v")]).await;
    parts.script().indexes = vec![progress(1, 1, 0)];
    let caller = fakes::caller("");
    describe(&proxy, &caller, describing("", "", 77))
        .await
        .unwrap();
    assert_eq!(parts.script().until, Some(Timestamp(77)));
    describe(&proxy, &caller, describing("", "", 0))
        .await
        .unwrap();
    assert_eq!(parts.script().until, None);
}

#[tokio::test]
async fn several_indexes_are_finished_together_and_fail_alone() {
    let (proxy, parts) = with_indexes(vec![index(1, 101, "v"), index(2, 102, "p")]).await;
    let caller = fakes::caller("");
    let state_now = || async {
        let request = milvus::GetIndexStateRequest {
            collection_name: "c".to_owned(),
            ..Default::default()
        };
        let answer = state(&proxy, &caller, request).await.unwrap();
        (answer.state(), answer.fail_reason)
    };
    parts.script().indexes = vec![progress(1, 1, 1), progress(2, 1, 0)];
    assert_eq!(state_now().await, (IndexState::InProgress, String::new()));
    parts.script().indexes = vec![progress(1, 2, 0), progress(2, 1, 0)];
    assert_eq!(state_now().await, (IndexState::Finished, String::new()));
    parts.script().indexes[0].failure = Some("why".to_owned());
    assert_eq!(state_now().await, (IndexState::Failed, "why".to_owned()));
}

#[tokio::test]
async fn the_rows_of_several_indexes_are_not_mixed() {
    let (proxy, parts) = with_indexes(vec![index(1, 101, "v"), index(2, 102, "p")]).await;
    parts.script().indexes = vec![progress(1, 1, 1), progress(2, 5, 0)];
    let caller = fakes::caller("");
    let ask = |name: &str| milvus::GetIndexBuildProgressRequest {
        collection_name: "c".to_owned(),
        index_name: name.to_owned(),
        ..Default::default()
    };
    let one = build_progress(&proxy, &caller, ask("p")).await.unwrap();
    assert_eq!((one.indexed_rows, one.total_rows), (5, 5));
    let failure = build_progress(&proxy, &caller, ask("")).await.unwrap_err();
    assert!(failure.message.starts_with("index_name: "), "{failure}");
}

#[tokio::test]
async fn definitions_reach_the_coordinator_as_they_were_sent() {
    let (proxy, parts) = fakes::proxy().await;
    let caller = fakes::caller("");
    let request = |field: &str, index: &str, params: &[(&str, &str)]| milvus::CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: field.to_owned(),
        index_name: index.to_owned(),
        extra_params: kv::to_wire(params.iter().copied()),
        ..Default::default()
    };
    create(
        &proxy,
        &caller,
        request("vector", "", &[("index_type", "HNSW"), ("M", "16")]),
    )
    .await
    .unwrap();
    let expect = r#"create_index vector "" [("index_type", "HNSW"), ("M", "16")]"#;
    assert_eq!(parts.script().calls, [expect]);
    for (wrong, says) in [
        (request("", "", &[]), "Invalid field name"),
        (request("v", "a-b", &[]), "Invalid index name: a-b"),
        (
            request("v", "", &[("M", "1"), ("M", "2")]),
            "extra_params.M",
        ),
    ] {
        let failure = create(&proxy, &caller, wrong).await.unwrap_err();
        assert!(failure.message.starts_with(says), "{failure}");
    }
    let nothing = milvus::DropIndexRequest {
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        super::drop(&proxy, &caller, nothing)
            .await
            .unwrap_err()
            .code,
        Code::InvalidArgument
    );
    assert_eq!(parts.script().calls.len(), 1);
}
