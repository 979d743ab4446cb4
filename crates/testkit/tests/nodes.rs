//! What clients see while rows move from memory to the store, through faults and crashes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use holdfast_node_api::{QueryNode, StreamNode, Worker, read::Guarantee, worker::IndexJob};
use holdfast_runtime::MemoryKind;
use holdfast_storage::testing::Fault;
use holdfast_testkit::{Change, Model, Rig, Settings, rows};
use holdfast_types::{ChannelId, Code, Lsn, Timestamp};
use parking_lot::Mutex;

fn rows_of(keys: std::ops::Range<i64>, number: i64) -> Vec<(i64, i64)> {
    keys.map(|key| (key, number)).collect()
}

fn map(rows: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    rows.iter().copied().collect()
}

/// Polls until it holds; a minute is forever.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about that {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_seen_by_the_next_strong_read() {
    for text_keys in [false, true] {
        let rig = Rig::new(Settings {
            text_keys,
            shards: 2,
            ..Settings::default()
        })
        .await;
        assert_eq!(rig.strong().await.1, BTreeMap::new());
        let first = rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
        assert_eq!(rig.strong().await.1, map(&rows_of(0..10, 1)));
        rig.put(&rows_of(5..12, 2), 1, true).await.unwrap();
        let mut expected = map(&rows_of(0..10, 1));
        expected.extend(rows_of(5..12, 2));
        assert_eq!(rig.strong().await.1, expected);
        rig.delete(&[0, 5, 99]).await.unwrap();
        expected.retain(|key, _| ![0, 5].contains(key));
        assert_eq!(rig.strong().await.1, expected);
        assert_eq!(rig.exactly(first).await, map(&rows_of(0..10, 1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_row_of_a_key_wins_across_flushes_merges_and_crashes() {
    let mut rig = Rig::new(Settings::default()).await;
    for number in 0..4 {
        rig.put(&rows_of(0..5, number), 1, false).await.unwrap();
        assert_eq!(rig.strong().await.1, map(&rows_of(0..5, number)));
        rig.flush().await.unwrap();
        assert_eq!(rig.strong().await.1, map(&rows_of(0..5, number)));
        rig.crash().await;
        assert_eq!(rig.strong().await.1, map(&rows_of(0..5, number)));
    }
    rig.compact(Timestamp::ZERO).await.unwrap();
    assert_eq!(rig.strong().await.1, map(&rows_of(0..5, 3)));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(0..5, 3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_rows_with_one_key_in_one_write_the_last_wins() {
    let mut rig = Rig::new(Settings::default()).await;
    rig.put(&[(1, 1), (2, 1), (1, 2), (1, 3)], 1, false)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(rig.strong().await.1, map(&[(1, 3), (2, 1)]));
        rig.flush().await.unwrap();
        rig.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_of_flushed_rows_survive_flush_crash_and_merge() {
    let mut rig = Rig::new(Settings::default()).await;
    let before = rig.put(&rows_of(0..20, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    let deleted = rig.delete(&[3, 4]).await.unwrap();
    let mut expected = map(&rows_of(0..20, 1));
    expected.retain(|key, _| ![3, 4].contains(key));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected, "replayed");
    rig.flush().await.unwrap();
    assert_eq!(rig.newest().await[0].delete_logs.len(), 1);
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected, "from the delete log");
    assert_eq!(rig.exactly(before).await, map(&rows_of(0..20, 1)));
    rig.compact(Timestamp::ZERO).await.unwrap();
    assert_eq!(rig.newest().await[0].delete_logs.len(), 0);
    assert_eq!(rig.exactly(before).await, map(&rows_of(0..20, 1)));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected, "from the merged segment");
    assert_eq!(rig.exactly(before).await, map(&rows_of(0..20, 1)));
    rig.compact(deleted).await.unwrap();
    assert_eq!(
        rig.newest().await[0].segments[0].rows,
        18,
        "deleted rows are gone for good"
    );
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_a_row_twice_or_not_at_all_while_rows_move() {
    const WRITERS: i64 = 3;
    let settings = Settings {
        shards: 2,
        partitions: 2,
        ..Settings::default()
    };
    let rig = Arc::new(Rig::new(settings).await);
    let model = Arc::new(Mutex::new(Model::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicI64::new(1));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (rig, model, stop, number) = (rig.clone(), model.clone(), stop.clone(), number.clone());
        writers.push(tokio::spawn(async move {
            let mut i = writer;
            while !stop.load(Ordering::SeqCst) {
                i += WRITERS;
                let n = number.fetch_add(1, Ordering::SeqCst);
                // All writers write the same keys, in both partitions and both shards.
                let rows: Vec<(i64, i64)> = (0..6).map(|k| ((i * 5 + k * 3) % 40, n)).collect();
                let (ts, change) = if i % 5 == 0 {
                    let keys: Vec<i64> = rows.iter().map(|(k, _)| *k).collect();
                    (rig.delete(&keys).await.unwrap(), Change::Delete(keys))
                } else {
                    (
                        rig.put(&rows, 2, i % 2 == 0).await.unwrap(),
                        Change::Put(rows),
                    )
                };
                model.lock().note(ts, change);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (rig, stop) = (rig.clone(), stop.clone());
        readers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let (ts, rows) = rig.strong().await;
                seen.push((ts, rows));
                if seen.len() % 3 == 0 {
                    let at = seen[seen.len() / 2].0;
                    seen.push((at, rig.exactly(at).await));
                }
            }
            seen
        }));
    }
    for round in 0..12 {
        rig.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        match round % 4 {
            1 => rig.build_indexes().await.unwrap(),
            3 => rig.compact(Timestamp::ZERO).await.unwrap(),
            _ => {}
        }
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let mut reads = 0;
    for reader in readers {
        for (ts, rows) in reader.await.unwrap() {
            assert_eq!(rows, model.lock().at(ts), "at {ts}");
            reads += 1;
        }
    }
    assert!(reads > 20, "only {reads} reads");
    let (ts, rows) = rig.strong().await;
    assert_eq!(rows, model.lock().at(ts));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_collection_is_empty_at_once_and_stays_so() {
    let mut rig = Rig::new(Settings {
        shards: 2,
        ..Settings::default()
    })
    .await;
    rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    let before = rig.put(&rows_of(10..20, 1), 1, false).await.unwrap();
    rig.streams.truncate(rig.collection).await.unwrap();
    assert_eq!(rig.strong().await.1, BTreeMap::new());
    rig.put(&rows_of(5..7, 2), 1, false).await.unwrap();
    assert_eq!(rig.strong().await.1, map(&rows_of(5..7, 2)));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(5..7, 2)));
    let refused = rig.read(Guarantee::Exactly(before)).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict, "{refused}");
    rig.flush().await.unwrap();
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(5..7, 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_whose_flush_failed_holds_after_a_crash() {
    let mut rig = Rig::new(Settings::default()).await;
    rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    rig.faulty.fail_puts([Some(Fault::Unavailable); 8]);
    rig.streams.truncate(rig.collection).await.unwrap_err();
    assert_eq!(rig.strong().await.1, BTreeMap::new());
    rig.crash().await;
    assert_eq!(rig.strong().await.1, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_partition_is_gone_at_once_and_what_it_superseded_stays_dead() {
    for flushed in [false, true] {
        for crashed in [false, true] {
            let mut rig = Rig::new(Settings {
                partitions: 2,
                ..Settings::default()
            })
            .await;
            rig.put(&rows_of(0..10, 1), 2, false).await.unwrap();
            rig.flush().await.unwrap();
            // Key 0 moves from p0 to p1.
            let meta = rig.meta();
            let request = holdfast_node_api::write::WriteRequest {
                collection: rig.collection,
                unchanged_since: None,
                parts: vec![holdfast_node_api::write::WritePart {
                    shard: 0,
                    partition: meta.partitions[1].id,
                    rows: Some(rows::batch(&meta.schema, &[(0, 2)])),
                    deletes: None,
                }],
            };
            rig.streams.write(request.clone()).await.unwrap();
            if flushed {
                rig.flush().await.unwrap();
            }
            rig.drop_partition("p1").await.unwrap();
            let expected: BTreeMap<i64, i64> = [2, 4, 6, 8].into_iter().map(|k| (k, 1)).collect();
            assert_eq!(rig.strong().await.1, expected);
            if crashed {
                rig.crash().await;
            }
            rig.flush().await.unwrap();
            rig.crash().await;
            assert_eq!(
                rig.strong().await.1,
                expected,
                "flushed {flushed}, crashed {crashed}"
            );
            let refused = rig.streams.write(request).await.unwrap_err();
            assert_eq!(refused.code, Code::PartitionNotFound);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_modify_write_fails_when_the_key_was_written_in_between() {
    let mut rig = Rig::new(Settings::default()).await;
    let first = rig.put(&[(1, 1), (2, 1)], 1, false).await.unwrap();
    let (read_at, _) = rig.strong().await;
    assert!(read_at >= first);
    rig.put_unless(&[(1, 2)], 1, true, Some(read_at))
        .await
        .unwrap();
    let refused = rig
        .put_unless(&[(1, 3)], 1, true, Some(read_at))
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    rig.put_unless(&[(2, 3)], 1, true, Some(read_at))
        .await
        .unwrap();
    rig.crash().await;
    let refused = rig
        .put_unless(&[(1, 4)], 1, true, Some(read_at))
        .await
        .unwrap_err();
    assert_eq!(
        refused.code,
        Code::Conflict,
        "what was written before the start is not known"
    );
    let (now, _) = rig.strong().await;
    rig.put_unless(&[(1, 4)], 1, true, Some(now)).await.unwrap();
    assert_eq!(rig.strong().await.1, map(&[(1, 4), (2, 3)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_fails_at_any_put_loses_and_doubles_nothing() {
    let mut rig = Rig::new(Settings::default()).await;
    rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    let mut expected = map(&rows_of(0..10, 1));
    for (number, fault) in (2..).zip([Fault::Full, Fault::Unavailable, Fault::AnswerLost]) {
        for at in 0..6 {
            // A flush puts columns, vector, keys, deletes, delete log, manifest.
            let rows = rows_of(at..at + 3, number * 10 + at);
            rig.put(&rows, 1, false).await.unwrap();
            expected.extend(rows);
            let faults = (0..at).map(|_| None).chain([Some(fault); 1]);
            rig.faulty.fail_puts(faults);
            let flushed = rig.flush().await;
            assert!(
                flushed.is_err() || fault == Fault::AnswerLost,
                "{fault:?} at put {at}"
            );
            assert_eq!(rig.strong().await.1, expected, "{fault:?} at put {at}");
            if at % 2 == 0 {
                rig.crash().await;
                assert_eq!(
                    rig.strong().await.1,
                    expected,
                    "{fault:?} at put {at}, after a crash"
                );
            }
            rig.flush().await.unwrap();
            assert_eq!(
                rig.strong().await.1,
                expected,
                "{fault:?} at put {at}, flushed again"
            );
        }
    }
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_recognised_by_the_next_flush() {
    // A read in between makes the stream-node look at the manifest; the flush has to find out by itself, too.
    for (merged_meanwhile, read_meanwhile) in
        [(false, false), (false, true), (true, false), (true, true)]
    {
        let mut rig = Rig::new(Settings::default()).await;
        rig.put(&rows_of(0..5, 0), 1, false).await.unwrap();
        rig.flush().await.unwrap();
        rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
        rig.meta.lose_commits(1);
        let lost = rig.flush().await.unwrap_err();
        assert_eq!(lost.code, Code::OutcomeUnknown, "{lost}");
        if merged_meanwhile {
            rig.compact(Timestamp::ZERO).await.unwrap();
        }
        if read_meanwhile {
            assert_eq!(rig.strong().await.1, map(&rows_of(0..10, 1)));
        }
        rig.put(&rows_of(20..22, 1), 1, false).await.unwrap();
        let mut expected = map(&rows_of(0..10, 1));
        expected.extend(rows_of(20..22, 1));
        rig.flush().await.unwrap();
        assert_eq!(rig.strong().await.1, expected);
        let manifest = &rig.newest().await[0];
        assert_eq!(
            manifest.segments.iter().map(|s| s.rows).sum::<u64>(),
            17,
            "nothing was stored twice"
        );
        rig.crash().await;
        assert_eq!(rig.strong().await.1, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_segments_become_one_and_indexes_are_served() {
    let mut rig = Rig::new(Settings::default()).await;
    let mut expected = BTreeMap::new();
    for i in 0..12 {
        let rows = rows_of(i * 10..i * 10 + 15, i);
        rig.put(&rows, 1, false).await.unwrap();
        expected.extend(rows);
        rig.flush().await.unwrap();
    }
    assert_eq!(rig.newest().await[0].segments.len(), 12);
    let (stamp, rows) = rig.strong().await;
    assert_eq!(rows, expected);
    rig.compact(Timestamp::ZERO).await.unwrap();
    assert_eq!(rig.newest().await[0].segments.len(), 1);
    assert_eq!(rig.strong().await.1, expected);
    assert_eq!(rig.exactly(stamp).await, expected);
    rig.build_indexes().await.unwrap();
    assert_eq!(rig.newest().await[0].segments[0].indexes.len(), 2);
    until("the indexes are served", async || {
        rig.queries
            .segments(rig.collection)
            .await
            .unwrap()
            .iter()
            .all(|s| s.indexes.len() == 2)
    })
    .await;
    rig.delete(&[0, 1]).await.unwrap();
    expected.retain(|key, _| *key > 1);
    assert_eq!(rig.strong().await.1, expected);
    let manifest = rig.newest().await.remove(0);
    let job = IndexJob {
        shard: manifest.shard,
        segment: manifest.segments[0].id,
        index: rig.meta().indexes[0].id,
    };
    rig.worker.build_index(job).await.unwrap();
    assert_eq!(
        rig.newest().await[0].version,
        manifest.version,
        "it is there already"
    );
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_given_back_and_too_much_is_refused_without_a_trace() {
    let mut settings = Settings {
        budget: 4 << 20,
        ..Settings::default()
    };
    settings.stream.memory_wait_max = Duration::from_millis(50);
    let rig = Rig::new(settings).await;
    let refused = rig.put(&rows_of(0..40_000, 1), 1, false).await.unwrap_err();
    assert_eq!(refused.code, Code::QuotaExceeded, "{refused}");
    assert_eq!(rig.strong().await.1, BTreeMap::new());
    assert_eq!(rig.budget.used(MemoryKind::Growing), 0);
    // More than fits: flushing makes room, so what is refused is taken a little later.
    for number in 1..=60 {
        until("a write is taken", async || {
            match rig.put(&rows_of(0..1_000, number), 1, false).await {
                Ok(_) => true,
                Err(failure) => {
                    assert_eq!(failure.code, Code::QuotaExceeded, "{failure}");
                    false
                }
            }
        })
        .await;
        if number % 5 == 0 {
            // As the coordinator does: or deletes of flushed rows would fill memory.
            rig.flush().await.unwrap();
            let (now, _) = rig.strong().await;
            rig.compact(now).await.unwrap();
        }
    }
    assert_eq!(rig.strong().await.1, map(&rows_of(0..1_000, 60)));
    rig.flush().await.unwrap();
    until("all memory is given back", async || {
        rig.budget.used(MemoryKind::Growing) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_trimmed_while_flushes_go_on_and_replay_is_bounded() {
    let mut settings = Settings::default();
    settings.stream.replay_bytes_max = 300 << 10;
    settings.stream.linger = Duration::from_millis(40);
    let mut rig = Rig::new(settings).await;
    let mut last = 0;
    for number in 1..=150 {
        rig.put(&rows_of(0..100, number), 1, false).await.unwrap();
        last = number;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    until("the head of the log is gone", async || {
        rig.wal.tail(ChannelId(0), Lsn(1)).await.is_err()
    })
    .await;
    let covered = rig.newest().await[0].covers_lsn;
    assert!(covered > Lsn(50), "flushed up to {covered} only");
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(0..100, last)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flushes_that_follow_each_other_quickly_do_not_keep_the_log_for_ever() {
    let mut settings = Settings::default();
    settings.stream.linger = Duration::from_millis(150);
    let rig = Rig::new(settings).await;
    for number in 0..60 {
        rig.put(&rows_of(0..200, number), 1, false).await.unwrap();
        rig.flush().await.unwrap();
        if rig.wal.tail(ChannelId(0), Lsn(1)).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was trimmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_written_before_and_after_a_field_was_added_are_read_alike() {
    let mut rig = Rig::new(Settings::default()).await;
    rig.put(&rows_of(0..5, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    rig.put(&rows_of(5..10, 1), 1, false).await.unwrap();
    rig.catalog
        .update_collection(rig.collection, None, |meta| {
            let mut meta = meta.clone();
            meta.schema = Arc::new(rows::later(&meta.schema));
            Ok(meta)
        })
        .await
        .unwrap();
    assert_eq!(rig.strong().await.1, map(&rows_of(0..10, 1)));
    rig.put(&rows_of(8..15, 2), 1, false).await.unwrap();
    let mut expected = map(&rows_of(0..10, 1));
    expected.extend(rows_of(8..15, 2));
    assert_eq!(rig.strong().await.1, expected);
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected);
    rig.flush().await.unwrap();
    rig.compact(Timestamp::ZERO).await.unwrap();
    assert_eq!(rig.strong().await.1, expected);
    rig.crash().await;
    assert_eq!(rig.strong().await.1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_many_parts_survive_flushes_at_any_moment() {
    // Each write has parts in every partition; a flush must take all of it or nothing.
    let settings = Settings {
        partitions: 8,
        ..Settings::default()
    };
    let mut rig = Rig::new(settings).await;
    let stop = AtomicBool::new(false);
    let mut last = 0;
    {
        let flushes = async {
            while !stop.load(Ordering::SeqCst) {
                rig.flush().await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let writes = async {
            for number in 1..=40 {
                rig.put(&rows_of(0..16, number), 8, false).await.unwrap();
                last = number;
            }
            stop.store(true, Ordering::SeqCst);
        };
        tokio::join!(flushes, writes);
    }
    assert_eq!(rig.strong().await.1, map(&rows_of(0..16, last)));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(0..16, last)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_collection_does_not_hold_the_log() {
    let rig = Rig::new(Settings::default()).await;
    rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
    let now = rig.strong().await.0;
    rig.catalog
        .begin_drop_collection("default", "things", now)
        .await
        .unwrap();
    let gone = rig
        .streams
        .read_point(rig.collection, Guarantee::Strong)
        .await
        .unwrap_err();
    assert_eq!(gone.code, Code::CollectionNotFound);
    rig.streams.drop_collection(rig.collection).await.unwrap();
    until("its memory is given back", async || {
        rig.budget.used(MemoryKind::Growing) == 0
    })
    .await;
}
