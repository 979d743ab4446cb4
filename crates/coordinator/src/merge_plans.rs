//! Which segments are worth merging. No I/O, no clock.
//!
//! A segment is rewritten because it **must** be (too many of its rows are dead or expired), or because it
//! is **small** and others of its shard and partition are, too. A plan always gains something that the next
//! look does not see again: dead rows count only once they are old enough to be dropped for good.

use std::collections::{BTreeMap, HashSet};

use holdfast_node_api::worker::CompactionJob;
use holdfast_storage::{Manifest, SegmentEntry};
use holdfast_types::{PartitionId, SegmentId, Timestamp};

use crate::Options;

/// Most segments of one merge: each is held open.
const SOURCES_MAX: usize = 256;
/// Segments up to this size are merged whatever the size of the others.
const TINY_BYTES: u64 = 16 << 20;
/// Most delete logs of a shard: every load reads those that segments have not absorbed.
const DELETE_LOGS_MAX: usize = 64;

/// Why plans are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The loop looks for what pays.
    Automatic,
    /// A client asks for what pays: two small segments are enough.
    Asked,
    /// A client wants as few segments as possible, all of them merged at least once.
    Forced,
}

/// The moment a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Rows deleted at or before this are dropped for good.
    pub(crate) drop_deleted_before: Timestamp,
    /// Rows stamped at or before this have outlived the collection's time to live.
    pub(crate) expired_before: Option<Timestamp>,
}

/// A segment that may be merged.
struct Candidate<'a> {
    entry: &'a SegmentEntry,
    /// Bytes that are expected to be left of it.
    live_bytes: u64,
    /// Worth rewriting by itself.
    must: bool,
}

/// The merges of one shard. Segments in `busy` are left alone.
pub(crate) fn plan(
    manifest: &Manifest,
    options: &Options,
    mode: Mode,
    moment: Moment,
    busy: &HashSet<SegmentId>,
) -> Vec<CompactionJob> {
    let bytes_max = match mode {
        Mode::Automatic | Mode::Asked => options.segment_bytes,
        Mode::Forced => options.forced_segment_bytes,
    };
    let logs_weigh = unabsorbed_deletes_weigh(manifest, options, mode, moment);
    let mut partitions: BTreeMap<PartitionId, Vec<Candidate<'_>>> = BTreeMap::new();
    for entry in manifest.segments.iter().filter(|s| !busy.contains(&s.id)) {
        let live_bytes = live_bytes(entry);
        let behind = manifest
            .delete_logs
            .iter()
            .any(|l| l.last_lsn > entry.deletes_lsn);
        let must = match mode {
            // Every flushed segment is merged once, so that a client can tell when all are.
            Mode::Forced => {
                entry.level == 0
                    || entry.deleted_rows > 0
                    || behind
                    || is_expired(entry, options, moment)
            }
            Mode::Automatic | Mode::Asked => {
                is_dead_heavy(entry, options, moment)
                    || is_expired(entry, options, moment)
                    || (logs_weigh && behind)
            }
        };
        let small = mode == Mode::Forced || live_bytes < options.segment_bytes / 2;
        if must || small {
            let of_partition = partitions.entry(entry.partition).or_default();
            of_partition.push(Candidate {
                entry,
                live_bytes,
                must,
            });
        }
    }
    let together_min = match mode {
        Mode::Automatic => options.small_segments_min,
        Mode::Asked | Mode::Forced => 2,
    };
    let mut jobs = Vec::new();
    for candidates in partitions.into_values() {
        for group in pack(candidates, bytes_max, mode) {
            if group.len() >= together_min || group.iter().any(|c| c.must) {
                jobs.push(CompactionJob {
                    shard: manifest.shard,
                    sources: group.iter().map(|c| c.entry.id).collect(),
                    drop_deleted_before: moment.drop_deleted_before,
                    expired_before: moment.expired_before,
                });
            }
        }
    }
    jobs
}

/// Groups of up to `bytes_max` live bytes, smallest segments first.
fn pack(mut candidates: Vec<Candidate<'_>>, bytes_max: u64, mode: Mode) -> Vec<Vec<Candidate<'_>>> {
    candidates.sort_by_key(|c| (c.live_bytes, c.entry.id));
    let mut groups = Vec::new();
    let mut group: Vec<Candidate<'_>> = Vec::new();
    let mut bytes = 0u64;
    for candidate in candidates {
        let is_full =
            bytes.saturating_add(candidate.live_bytes) > bytes_max || group.len() >= SOURCES_MAX;
        // Much larger than all before together: rewriting it for their sake does not pay.
        let outgrows = mode != Mode::Forced
            && candidate.live_bytes > TINY_BYTES
            && candidate.live_bytes > bytes.saturating_mul(2);
        if !group.is_empty() && (is_full || outgrows) {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes = bytes.saturating_add(candidate.live_bytes);
        group.push(candidate);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

fn live_bytes(entry: &SegmentEntry) -> u64 {
    let live = u128::from(entry.rows.saturating_sub(entry.deleted_rows));
    let bytes = u128::from(entry.bytes) * live / u128::from(entry.rows.max(1));
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a part of a whole, to be compared with a setting"
)]
fn part(of: u64, whole: u64) -> f64 {
    of as f64 / whole.max(1) as f64
}

/// Whether too many rows are dead, all of them for long enough to be dropped: a segment's own deletes are
/// older than the segment.
fn is_dead_heavy(entry: &SegmentEntry, options: &Options, moment: Moment) -> bool {
    entry.created <= moment.drop_deleted_before
        && part(entry.deleted_rows, entry.rows) > options.dead_fraction_max
}

/// Whether too many rows have expired. Stamps are taken to be spread evenly.
fn is_expired(entry: &SegmentEntry, options: &Options, moment: Moment) -> bool {
    let Some(expired) = moment.expired_before else {
        return false;
    };
    if entry.max_ts <= expired {
        return true;
    }
    let span = entry.max_ts.0.saturating_sub(entry.min_ts.0);
    entry.min_ts <= expired
        && part(expired.0.saturating_sub(entry.min_ts.0), span) > options.dead_fraction_max
}

/// Whether the deletes that segments have not absorbed are many for the rows there are, or lie in too many
/// logs. Only those old enough to be dropped for good count.
fn unabsorbed_deletes_weigh(
    manifest: &Manifest,
    options: &Options,
    mode: Mode,
    moment: Moment,
) -> bool {
    if mode == Mode::Automatic && manifest.delete_logs.len() > DELETE_LOGS_MAX {
        return true;
    }
    let old = manifest.delete_logs.iter();
    let old = old.filter(|l| l.max_ts <= moment.drop_deleted_before);
    let deletes = old.map(|l| l.count).fold(0, u64::saturating_add);
    let rows = manifest.segments.iter().map(|s| s.rows);
    let rows = rows.fold(0, u64::saturating_add);
    part(deletes, rows) > options.dead_fraction_max
}

#[cfg(test)]
mod tests;
