use holdfast_types::PartitionId;

use super::*;
use crate::fakes;

fn fresh(id: i64, growing: bool) -> FreshSegment {
    FreshSegment {
        id: SegmentId(id),
        partition: PartitionId(1),
        shard: 1,
        rows: 3,
        bytes: 30,
        growing,
        oldest: None,
    }
}

fn stored(id: i64) -> StoredSegment {
    StoredSegment {
        id: SegmentId(id),
        partition: PartitionId(1),
        shard: 0,
        rows: 10,
        deleted_rows: 2,
        bytes: 100,
        level: 1,
        indexes: Vec::new(),
        merged_from: vec![SegmentId(1), SegmentId(2)],
    }
}

#[tokio::test]
async fn flushed_segments_are_shown_unless_other_states_are_asked_for() {
    let (proxy, parts) = fakes::proxy().await;
    let id = fakes::collection(&proxy, "c").await.id;
    parts.script().fresh = vec![fresh(9, true), fresh(8, false), fresh(3, false)];
    parts.script().stored = vec![stored(3)];
    let caller = fakes::caller("");
    let ask = |states: &[i32]| {
        let states = states.to_vec();
        let request = milvus::GetPersistentSegmentInfoRequest {
            collection_name: "c".to_owned(),
            states,
            ..Default::default()
        };
        persistent(&proxy, &caller, request)
    };
    let shown = ask(&[]).await.unwrap().infos;
    let [one] = &shown[..] else {
        panic!("{shown:?}")
    };
    assert_eq!(
        (one.segment_id, one.num_rows, one.state(), one.level()),
        (3, 10, SegmentState::Flushed, SegmentLevel::L1)
    );
    assert!(one.is_sorted);
    assert_eq!(
        (one.insert_channel.clone(), &one.compaction_from[..]),
        (format!("channel_0_{id}v0"), &[1, 2][..])
    );

    let seen = async |states: &[i32]| -> Vec<(i64, SegmentState)> {
        ask(states)
            .await
            .unwrap()
            .infos
            .iter()
            .map(|i| (i.segment_id, i.state()))
            .collect()
    };
    assert_eq!(seen(&[2]).await, [(9, SegmentState::Growing)]);
    let all = [
        (3, SegmentState::Sealed),
        (8, SegmentState::Sealed),
        (9, SegmentState::Growing),
    ];
    assert_eq!(
        seen(&[2, 3, 4]).await,
        all,
        "one that is flushed meanwhile is shown once"
    );
    assert_eq!(
        ask(&[99]).await.unwrap_err().message,
        "states: 99 is no state of a segment"
    );
}

#[tokio::test]
async fn served_segments_are_those_in_memory_and_those_of_the_query_node() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "c").await;
    let served = LoadedSegment {
        id: SegmentId(3),
        partition: PartitionId(1),
        shard: 0,
        rows: 10,
        bytes: 100,
        indexes: vec!["gone".to_owned()],
    };
    parts.script().fresh = vec![fresh(9, true), fresh(3, false)];
    parts.script().served = vec![served];
    let request = milvus::GetQuerySegmentInfoRequest {
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    let infos = loaded(&proxy, &fakes::caller(""), request)
        .await
        .unwrap()
        .infos;
    let shown: Vec<_> = infos
        .iter()
        .map(|i| (i.segment_id, i.num_rows, i.mem_size, i.state()))
        .collect();
    assert_eq!(
        shown,
        [
            (3, 10, 100, SegmentState::Sealed),
            (9, 3, 30, SegmentState::Growing)
        ]
    );
    assert_eq!(
        (infos[0].index_name.as_str(), infos[0].index_id),
        ("", 0),
        "an index that was dropped meanwhile"
    );
}
