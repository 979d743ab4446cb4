use holdfast_types::PartitionId;

use super::*;
use crate::fakes::{self, NOW_MS};

fn segment(id: i64, oldest: Option<u64>) -> FreshSegment {
    FreshSegment {
        id: SegmentId(id),
        partition: PartitionId(1),
        shard: 0,
        rows: 1,
        bytes: 1,
        growing: true,
        oldest: oldest.map(Timestamp),
    }
}

fn ids(ids: &[i64]) -> HashSet<SegmentId> {
    ids.iter().copied().map(SegmentId).collect()
}

#[test]
fn a_flush_is_done_when_neither_its_segments_nor_older_rows_are_in_memory_only() {
    let done = |fresh: &[FreshSegment], wanted: &[i64], ts| {
        is_flushed(NOW_MS, fresh, &ids(wanted), Timestamp(ts))
    };
    assert!(done(&[], &[1, 2], 100));
    assert!(
        done(&[segment(3, Some(101))], &[1, 2], 100),
        "written after the flush"
    );
    assert!(
        !done(&[segment(3, Some(100))], &[1, 2], 100),
        "written before it"
    );
    assert!(
        !done(&[segment(2, Some(101))], &[1, 2], 100),
        "one of its segments"
    );
    assert!(done(&[segment(3, None)], &[], 100), "no row at all");
}

#[test]
fn a_stamp_that_is_still_to_come_is_not_flushed_yet() {
    let done = |ms| is_flushed(NOW_MS, &[], &ids(&[]), Timestamp::from_unix_ms(ms));
    assert!(done(NOW_MS));
    assert!(done(NOW_MS + CLOCK_LEAD_MS));
    assert!(!done(NOW_MS + CLOCK_LEAD_MS + 1));
    assert!(!is_flushed(NOW_MS, &[], &ids(&[]), Timestamp::MAX));
}

fn report(
    collection: holdfast_types::CollectionId,
    segments: &[i64],
    all: &[i64],
    ts: u64,
) -> FlushReport {
    let ids = |ids: &[i64]| ids.iter().copied().map(SegmentId).collect();
    FlushReport {
        collection,
        segments: ids(segments),
        all_segments: ids(all),
        ts: Timestamp(ts),
    }
}

#[tokio::test]
async fn an_answer_speaks_of_collections_by_the_names_that_were_sent() {
    let (proxy, parts) = fakes::proxy().await;
    let id = fakes::collection(&proxy, "things").await.id;
    proxy
        .catalog
        .create_alias("default", "stuff", "things")
        .await
        .unwrap();
    parts
        .script()
        .flushes
        .insert("stuff".to_owned(), report(id, &[7, 8], &[5, 7, 8], 99));

    let names = ["stuff", "stuff"].map(str::to_owned).to_vec();
    let request = milvus::FlushRequest {
        collection_names: names,
        ..Default::default()
    };
    let answer = flush(&proxy, &fakes::caller(""), request).await.unwrap();

    assert_eq!(
        parts.script().calls,
        ["flush stuff"],
        "a name given twice is flushed once"
    );
    assert_eq!(answer.coll_seg_i_ds["stuff"].data, [7, 8]);
    assert_eq!(answer.flush_coll_seg_i_ds["stuff"].data, [5]);
    assert_eq!(answer.coll_flush_ts["stuff"], 99);
    assert_eq!(
        answer.coll_seal_times["stuff"],
        i64::try_from(NOW_MS / 1_000).unwrap()
    );
    assert_eq!(answer.channel_cps.len(), 2);
    assert_eq!(
        answer.channel_cps[&format!("channel_3_{id}v1")].timestamp,
        99
    );
}

#[tokio::test]
async fn nothing_is_flushed_when_one_of_the_collections_is_missing() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "a").await;
    let caller = fakes::caller("");
    let ask = |names: &[&str]| {
        let collection_names = names.iter().map(|&n| n.to_owned()).collect();
        flush(
            &proxy,
            &caller,
            milvus::FlushRequest {
                collection_names,
                ..Default::default()
            },
        )
    };
    assert_eq!(
        ask(&["a", "b"]).await.unwrap_err().code,
        Code::CollectionNotFound
    );
    assert_eq!(ask(&[]).await.unwrap_err().code, Code::InvalidArgument);
    assert_eq!(ask(&[""]).await.unwrap_err().code, Code::InvalidArgument);
    assert!(parts.script().calls.is_empty());
}

#[tokio::test]
async fn a_flush_of_all_is_as_old_as_its_oldest_part() {
    let (proxy, parts) = fakes::proxy().await;
    let a = fakes::collection(&proxy, "a").await.id;
    let b = fakes::collection(&proxy, "b").await.id;
    let (early, late) = (
        Timestamp::from_unix_ms(NOW_MS - 5).0,
        Timestamp::from_unix_ms(NOW_MS + 5).0,
    );
    parts.script().flushes = BTreeMap::from([
        ("a".to_owned(), report(a, &[1], &[1], late)),
        ("b".to_owned(), report(b, &[2], &[2], early)),
    ]);
    let caller = fakes::caller("");

    let answer = flush_all(&proxy, &caller, milvus::FlushAllRequest::default())
        .await
        .unwrap();
    assert_eq!(answer.flush_all_ts, early);
    let [of_default] = &answer.flush_results[..] else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = of_default
        .collection_results
        .iter()
        .map(|r| r.collection_name.as_str())
        .collect();
    assert_eq!(
        (of_default.db_name.as_str(), names),
        ("default", vec!["a", "b"])
    );

    let ask = |flush_all_ts| {
        all_state(
            &proxy,
            &caller,
            milvus::GetFlushAllStateRequest {
                flush_all_ts,
                ..Default::default()
            },
        )
    };
    assert!(ask(early).await.unwrap().flushed);
    parts.script().fresh = vec![segment(9, Some(early))];
    let state = ask(early).await.unwrap();
    assert!(!state.flushed);
    assert_eq!(state.flush_states[0].collection_flush_states.len(), 2);
    assert!(ask(early - 1).await.unwrap().flushed);
}

#[tokio::test]
async fn the_state_of_a_flush_is_read_off_the_segments_in_memory() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "c").await;
    let caller = fakes::caller("");
    let ask = |collection: &str, segments: &[i64], flush_ts| {
        let request = milvus::GetFlushStateRequest {
            segment_i_ds: segments.to_vec(),
            flush_ts,
            collection_name: collection.to_owned(),
            ..Default::default()
        };
        state(&proxy, &caller, request)
    };
    parts.script().fresh = vec![segment(4, Some(50))];
    assert!(ask("c", &[3], 49).await.unwrap().flushed);
    assert!(!ask("c", &[3], 50).await.unwrap().flushed);
    assert!(!ask("c", &[4], 49).await.unwrap().flushed);
    assert!(
        !ask("", &[4], 0).await.unwrap().flushed,
        "older clients name no collection"
    );
    assert!(ask("", &[3], 0).await.unwrap().flushed);
    assert_eq!(
        ask("d", &[], 1).await.unwrap_err().code,
        Code::CollectionNotFound
    );
}
