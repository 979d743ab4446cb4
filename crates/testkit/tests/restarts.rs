//! What a restart must not forget, and what it may leave behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_node_api::read::Guarantee;
use holdfast_runtime::{Clock, SystemClock};
use holdfast_storage::{
    gc::{Collector, Now, Pins, Policy},
    testing::Fault,
};
use holdfast_testkit::{Rig, Settings};
use holdfast_types::Timestamp;

fn rows_of(keys: std::ops::Range<i64>, number: i64) -> Vec<(i64, i64)> {
    keys.map(|key| (key, number)).collect()
}

fn map(rows: &[(i64, i64)]) -> BTreeMap<i64, i64> {
    rows.iter().copied().collect()
}

/// A read at a stamp ahead of every record leaves no trace in the log. A server that crashed and whose
/// clock was behind that stamp when it started again gave it out to a new row, and the same read showed
/// more than before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_exact_read_showed_stays_so_after_a_restart_with_an_older_clock() {
    for shards in [1, 2] {
        let mut rig = Rig::new(Settings {
            shards,
            channels: shards,
            ..Settings::default()
        })
        .await;
        for row in rows_of(0..4, 1) {
            rig.put(&[row], 1, false).await.unwrap();
        }
        let expected = map(&rows_of(0..4, 1));
        // The clock of the next start is behind by as much as this read is ahead.
        let ahead = Timestamp::from_unix_ms(SystemClock::new().unix_ms() + 4_000);
        assert_eq!(rig.exactly(ahead).await, expected);
        rig.crash().await;
        for row in rows_of(10..14, 2) {
            let stamp = rig.put(&[row], 1, false).await.unwrap();
            assert!(stamp > ahead, "{stamp} was given out, {ahead} was read at");
        }
        assert_eq!(rig.exactly(ahead).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_read_needs_no_write() {
    let mut rig = Rig::new(Settings::default()).await;
    let written = rig.put(&rows_of(0..4, 1), 1, false).await.unwrap();
    let later = Timestamp::from_unix_ms(SystemClock::new().unix_ms() + 1_000);
    let (ts, rows) = rig.read(Guarantee::AtLeast(later)).await.unwrap().agreed();
    assert_eq!((ts, rows), (written, map(&rows_of(0..4, 1))));
    rig.crash().await;
    assert_eq!(rig.strong().await.1, map(&rows_of(0..4, 1)));
}

/// Plans of merges are in memory only. One that is under way when the process dies has written files that no
/// manifest names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_dies_before_its_commit_leaves_only_garbage() {
    let mut rig = Rig::new(Settings::default()).await;
    let mut expected = BTreeMap::new();
    for number in 1..=3 {
        let rows = rows_of(number * 10..number * 10 + 10, number);
        rig.put(&rows, 1, false).await.unwrap();
        expected.extend(rows);
        rig.flush().await.unwrap();
    }
    let before = rig.newest().await;
    let clean = look(&rig, 1).await[0].objects;
    // Columns, vector, keys and deletes are put; the manifest is not.
    let dies = [None, None, None, None, Some(Fault::Unavailable)];
    rig.faulty.fail_puts(dies);
    rig.compact(Timestamp::ZERO).await.unwrap_err();
    rig.crash().await;
    assert_eq!(rig.newest().await, before, "the merge did not happen");
    assert_eq!(rig.strong().await.1, expected);
    let looks = look(&rig, 2).await;
    assert_eq!(looks[0].objects, clean + 4);
    assert_eq!((looks[0].condemned, looks[1].deleted), (4, 4));
    assert_eq!(rig.strong().await.1, expected);
    rig.compact(Timestamp::ZERO).await.unwrap();
    assert_eq!(rig.newest().await[0].segments.len(), 1);
    assert_eq!(rig.strong().await.1, expected);
}

/// So many looks of a new collector, an hour apart, by a clock that is a day ahead: nothing is young.
async fn look(rig: &Rig, looks: u32) -> Vec<holdfast_storage::gc::Report> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let policy = Policy {
        grace: HOUR,
        versions_max: 100,
        version_age_max: HOUR * 1_000,
    };
    let mut collector = Collector::new(Arc::clone(&rig.manifests), Pins::default(), policy);
    let start = SystemClock::new().unix_ms() + 24 * 3_600_000;
    let mut reports = Vec::new();
    for number in 0..looks {
        let now = Now {
            unix_ms: start + u64::from(number) * 3_600_000,
            monotonic: HOUR * number,
        };
        reports.push(collector.run_once(now).await.expect("a look"));
    }
    reports
}

/// A start that handed every record to the pool by itself waited for the scheduler twice a record: a minute for
/// two thousand records on a machine with twenty busy threads a core.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_replays_many_records_in_few_works() {
    let mut rig = Rig::new(Settings {
        shards: 2,
        partitions: 2,
        ..Settings::default()
    })
    .await;
    for key in 0..300 {
        rig.put(&rows_of(key..key + 1, 1), 2, false).await.unwrap();
    }
    rig.delete(&[7]).await.unwrap();
    rig.crash().await;
    assert_eq!(rig.streams.replayed(), 301);
    let works = rig.pool.handed_in();
    assert!(works < 30, "{works} works for 301 records");
    let mut expected = map(&rows_of(0..300, 1));
    expected.remove(&7);
    assert_eq!(rig.strong().await.1, expected);
    // Who serves flushed segments follows the same records.
    let works = rig.pool.handed_in();
    assert!(works < 60, "{works} works until a read is answered");
}

/// The log keeps what a flush made superfluous, by whole files and for a linger time; a start reads none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_begins_at_the_checkpoint_though_the_log_has_more() {
    let mut rig = Rig::new(Settings {
        shards: 2,
        ..Settings::default()
    })
    .await;
    for key in 0..20 {
        rig.put(&rows_of(key..key + 1, 1), 1, false).await.unwrap();
    }
    rig.crash().await;
    assert_eq!(rig.streams.replayed(), 20);
    rig.flush().await.unwrap();
    rig.crash().await;
    assert_eq!(rig.streams.replayed(), 0, "all of it was flushed");
    let stamp = rig.put(&rows_of(30..31, 2), 1, false).await.unwrap();
    rig.crash().await;
    assert_eq!(rig.streams.replayed(), 1);
    assert!(rig.put(&rows_of(31..32, 2), 1, false).await.unwrap() > stamp);
    let mut expected = map(&rows_of(0..20, 1));
    expected.extend(rows_of(30..32, 2));
    assert_eq!(rig.strong().await.1, expected);
}
