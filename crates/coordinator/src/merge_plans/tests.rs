//! Which segments are merged, by hand-made manifests.

use holdfast_storage::DeleteLogEntry;
use holdfast_storage::paths;
use holdfast_types::{Epoch, Lsn};

use super::*;
use crate::tests::fixtures::{SHARD, manifest, segment};

const MB: u64 = 1 << 20;
const P: PartitionId = PartitionId(7);

/// Segments of so many megabytes each, numbered from 1.
fn sized(megabytes: &[u64]) -> Manifest {
    let entries = (1i64..).zip(megabytes).map(|(id, mb)| {
        let mut entry = segment(SHARD, P, id);
        entry.bytes = mb * MB;
        entry
    });
    manifest(entries.collect())
}

fn options() -> Options {
    Options {
        segment_bytes: 100 * MB,
        forced_segment_bytes: 300 * MB,
        ..Options::default()
    }
}

/// Nothing expires, everything dead may be dropped.
const LATE: Moment = Moment {
    drop_deleted_before: Timestamp::MAX,
    expired_before: None,
};

fn plans_at(manifest: &Manifest, mode: Mode, moment: Moment) -> Vec<Vec<i64>> {
    let jobs = plan(manifest, &options(), mode, moment, &HashSet::new());
    jobs.iter()
        .inspect(|job| assert_eq!(job.shard, SHARD))
        .map(|job| job.sources.iter().map(|s| s.0).collect())
        .collect()
}

fn plans(manifest: &Manifest, mode: Mode) -> Vec<Vec<i64>> {
    plans_at(manifest, mode, LATE)
}

#[test]
fn small_segments_are_merged_when_there_are_enough() {
    use Mode::{Asked, Automatic};
    let none: Vec<Vec<i64>> = Vec::new();
    assert_eq!(plans(&sized(&[]), Automatic), none);
    assert_eq!(plans(&sized(&[1, 1, 1]), Automatic), none);
    assert_eq!(plans(&sized(&[1, 1, 1]), Asked), [[1, 2, 3]]);
    assert_eq!(plans(&sized(&[1, 1, 1, 1]), Automatic), [[1, 2, 3, 4]]);
    assert_eq!(plans(&sized(&[1]), Asked), none);
    // Half the target and above is left alone.
    assert_eq!(plans(&sized(&[1, 1, 1, 50, 90]), Automatic), none);
    // Up to the target at a time: 20 + 30 + 40, then 40 alone.
    assert_eq!(plans(&sized(&[40, 30, 20, 40]), Asked), [[3, 2, 1]]);
}

#[test]
fn a_large_segment_is_not_rewritten_for_a_few_tiny_ones() {
    assert_eq!(
        plans(&sized(&[1, 1, 1, 1, 45]), Mode::Automatic),
        [[1, 2, 3, 4]]
    );
    assert_eq!(
        plans(&sized(&[10, 10, 10, 45]), Mode::Automatic),
        [[1, 2, 3, 4]]
    );
}

#[test]
fn partitions_are_never_mixed_and_busy_segments_left_alone() {
    let mut manifest = sized(&[1, 1, 1, 1]);
    manifest.segments[1].partition = PartitionId(8);
    manifest.segments[3].partition = PartitionId(8);
    assert_eq!(plans(&manifest, Mode::Asked), [[1, 3], [2, 4]]);
    let busy = HashSet::from([SegmentId(3)]);
    let jobs = plan(&manifest, &options(), Mode::Asked, LATE, &busy);
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].sources, [SegmentId(2), SegmentId(4)]);
}

#[test]
fn a_force_merges_every_flushed_segment_into_as_few_as_possible() {
    let none: Vec<Vec<i64>> = Vec::new();
    assert_eq!(plans(&sized(&[90]), Mode::Forced), [[1]]);
    assert_eq!(
        plans(&sized(&[90, 90, 90, 90]), Mode::Forced),
        [vec![1, 2, 3], vec![4]]
    );
    let mut merged = sized(&[90]);
    merged.segments[0].level = 1;
    assert_eq!(plans(&merged, Mode::Forced), none, "nothing to be gained");
    merged.segments[0].deleted_rows = 1;
    assert_eq!(plans(&merged, Mode::Forced), [[1]]);
    let mut two = sized(&[90, 80]);
    two.segments[0].level = 1;
    two.segments[1].level = 3;
    assert_eq!(plans(&two, Mode::Forced), [[2, 1]]);
}

#[test]
fn dead_rows_count_once_they_may_be_dropped() {
    let none: Vec<Vec<i64>> = Vec::new();
    let mut manifest = sized(&[90]);
    let created = manifest.segments[0].created;
    let at = |ts| Moment {
        drop_deleted_before: ts,
        expired_before: None,
    };
    manifest.segments[0].deleted_rows = 400;
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(created)),
        none,
        "a fifth is not too many"
    );
    manifest.segments[0].deleted_rows = 401;
    assert_eq!(plans_at(&manifest, Mode::Automatic, at(created)), [[1]]);
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(Timestamp(created.0 - 1))),
        none,
        "too young"
    );
}

#[test]
fn expired_rows_are_dropped() {
    let none: Vec<Vec<i64>> = Vec::new();
    let manifest = sized(&[90]);
    let at = |ms| Moment {
        drop_deleted_before: Timestamp::ZERO,
        expired_before: Some(Timestamp::from_unix_ms(ms)),
    };
    // Stamps run from 1 000 ms to 2 000 ms.
    assert_eq!(plans_at(&manifest, Mode::Automatic, at(999)), none);
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(1_100)),
        none,
        "a tenth"
    );
    assert_eq!(plans_at(&manifest, Mode::Automatic, at(1_300)), [[1]]);
    assert_eq!(plans_at(&manifest, Mode::Automatic, at(5_000)), [[1]]);
    let job = &plan(
        &manifest,
        &options(),
        Mode::Automatic,
        at(5_000),
        &HashSet::new(),
    )[0];
    assert_eq!(job.expired_before, Some(Timestamp::from_unix_ms(5_000)));
    assert_eq!(job.drop_deleted_before, Timestamp::ZERO);
}

fn log(first: u64, count: u64, ms: u64) -> DeleteLogEntry {
    let (first_lsn, last_lsn) = (Lsn(first), Lsn(first + 1));
    let mut object = segment(SHARD, P, 1).files[0].object.clone();
    object.path = paths::delete_log(SHARD, first_lsn, last_lsn, Epoch(1), 0);
    DeleteLogEntry {
        object,
        first_lsn,
        last_lsn,
        min_ts: Timestamp::from_unix_ms(ms),
        max_ts: Timestamp::from_unix_ms(ms),
        count,
    }
}

#[test]
fn deletes_in_logs_make_the_segments_before_them_worth_rewriting() {
    let none: Vec<Vec<i64>> = Vec::new();
    let mut manifest = sized(&[90, 80]);
    manifest.segments[1].deletes_lsn = Lsn(50);
    manifest.delete_logs = vec![log(10, 801, 3_000)];
    let at = |ms| Moment {
        drop_deleted_before: Timestamp::from_unix_ms(ms),
        expired_before: None,
    };
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(3_000)),
        [[1]],
        "the other has absorbed them"
    );
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(2_999)),
        none,
        "too young"
    );
    manifest.delete_logs = vec![log(10, 800, 3_000)];
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(3_000)),
        none,
        "a fifth is not too many"
    );
    manifest.delete_logs = (0..65).map(|i| log(1_000 + 2 * i, 1, 3_000)).collect();
    assert_eq!(
        plans_at(&manifest, Mode::Automatic, at(0)).concat().len(),
        2,
        "too many logs"
    );
}

#[test]
fn numbers_from_a_damaged_manifest_do_not_overflow() {
    let mut manifest = sized(&[1, 1, 1, 1]);
    for entry in &mut manifest.segments {
        entry.bytes = u64::MAX;
        entry.deleted_rows = u64::MAX;
        entry.max_ts = Timestamp::MAX;
    }
    manifest.delete_logs = vec![log(10, u64::MAX, 1), log(20, u64::MAX, 1)];
    for mode in [Mode::Automatic, Mode::Asked, Mode::Forced] {
        assert_eq!(plans(&manifest, mode).concat().len(), 4);
    }
}
