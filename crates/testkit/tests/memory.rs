//! What is held is accounted for, and given back.

use std::{collections::BTreeMap, time::Duration};

use holdfast_runtime::MemoryKind;
use holdfast_testkit::{Rig, Settings};
use holdfast_types::{Code, Timestamp};

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
async fn deletes_are_accounted_for_on_both_sides_until_they_are_merged_away() {
    let rig = Rig::new(Settings::default()).await;
    rig.put(&rows_of(0..2_000, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    until("the rows are given back", async || {
        rig.budget.used(MemoryKind::Growing) == 0
    })
    .await;
    assert_eq!(rig.strong().await.1.len(), 2_000);
    let bare = rig.budget.used(MemoryKind::Sealed);
    rig.delete(&(0..1_000).collect::<Vec<_>>()).await.unwrap();
    let keys = rig.budget.used(MemoryKind::Growing);
    assert!((8_000..8_500).contains(&keys), "{keys}");
    // A strong read has waited for the deletes to be applied.
    assert_eq!(rig.strong().await.1.len(), 1_000);
    let deleted = rig.budget.used(MemoryKind::Sealed);
    assert!(deleted > bare + 1_000 * 26, "{bare} became {deleted}");
    rig.flush().await.unwrap();
    assert_eq!(rig.budget.used(MemoryKind::Growing), 0);
    let (now, _) = rig.strong().await;
    rig.compact(now).await.unwrap();
    until("what was deleted is forgotten", async || {
        rig.strong().await.1.len() == 1_000 && rig.budget.used(MemoryKind::Sealed) <= bare
    })
    .await;
    assert_eq!(rig.budget.used(MemoryKind::Build), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_are_replayed_beyond_the_budget_and_new_ones_wait() {
    let mut settings = Settings::default();
    settings.stream.memory_wait_max = Duration::from_millis(50);
    // Nothing is flushed by itself until memory is short.
    let mut rig = Rig::new(settings).await;
    for number in 1..=20 {
        let keys = number * 1_000..(number + 1) * 1_000;
        rig.put(&rows_of(keys, number), 1, false).await.unwrap();
    }
    let expected = rig.strong().await.1;
    assert_eq!(expected.len(), 20_000);
    let held = rig.budget.used(MemoryKind::Growing);
    rig.settings.budget = held;
    rig.crash().await;
    assert!(rig.budget.limit(MemoryKind::Growing) < held);
    assert_eq!(rig.strong().await.1, expected);
    until("a write is taken", async || {
        match rig.put(&[(1, 1)], 1, false).await {
            Ok(_) => true,
            Err(failure) => {
                assert_eq!(failure.code, Code::QuotaExceeded, "{failure}");
                false
            }
        }
    })
    .await;
    let mut expected = expected;
    expected.extend(map(&[(1, 1)]));
    assert_eq!(rig.strong().await.1, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_while_others_hold_all_memory_and_taken_again_after() {
    let mut settings = Settings::default();
    settings.stream.memory_wait_max = Duration::from_millis(50);
    let rig = Rig::new(settings).await;
    rig.put(&rows_of(0..10, 1), 1, false).await.unwrap();
    let all = rig.budget.charge(MemoryKind::Sealed, rig.budget.total());
    let refused = rig.put(&rows_of(10..20, 1), 1, false).await.unwrap_err();
    assert_eq!(refused.code, Code::QuotaExceeded, "{refused}");
    assert_eq!(rig.strong().await.1, map(&rows_of(0..10, 1)));
    // What frees memory goes on.
    rig.flush().await.unwrap();
    rig.compact(Timestamp::ZERO).await.unwrap();
    drop(all);
    rig.put(&rows_of(10..20, 1), 1, false).await.unwrap();
    assert_eq!(rig.strong().await.1, map(&rows_of(0..20, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_that_fill_memory_are_merged_away_although_there_is_none_for_it() {
    let mut settings = Settings::default();
    settings.stream.memory_wait_max = Duration::from_millis(50);
    let mut rig = Rig::new(settings).await;
    rig.put(&rows_of(0..20_000, 1), 1, false).await.unwrap();
    rig.flush().await.unwrap();
    rig.delete(&(0..19_000).collect::<Vec<_>>()).await.unwrap();
    rig.flush().await.unwrap();
    let (now, rows) = rig.strong().await;
    assert_eq!(rows.len(), 1_000);
    // As much as the deletes take and the merge needs half of.
    let segment = rig.newest().await[0].segments[0].bytes;
    let deletes = rig.budget.used(MemoryKind::Sealed);
    rig.settings.budget = deletes.max(2 * segment);
    rig.crash().await;
    assert_eq!(rig.strong().await.1, rows);
    let held = rig.budget.charge(MemoryKind::Sealed, rig.budget.total());
    rig.compact(now).await.unwrap();
    drop(held);
    until("writes are taken", async || {
        rig.put(&[(1, 2)], 1, false).await.is_ok()
    })
    .await;
    let mut rows = rows;
    rows.insert(1, 2);
    assert_eq!(rig.strong().await.1, rows);
}
