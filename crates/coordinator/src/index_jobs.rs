//! Which segment lacks which index, and how far they are. No I/O.

use std::sync::Arc;

use holdfast_meta::{CollectionMeta, IndexKind, IndexMeta};
use holdfast_node_api::{coordinator::IndexProgress, stream_node::FreshSegment, worker::IndexJob};
use holdfast_storage::{Manifest, SegmentEntry};
use holdfast_types::{FileRole, Timestamp};

/// Whether the segment needs a file for the index: not when its rows are compared one by one anyway, and
/// not when it is older than the field and has no vector of it.
fn needs_file(index: &IndexMeta, segment: &SegmentEntry, rows_min: u64) -> bool {
    match index.kind {
        IndexKind::Flat | IndexKind::BinFlat => return false,
        IndexKind::Hnsw { .. }
        | IndexKind::SparseInverted
        | IndexKind::Inverted
        | IndexKind::Bitmap
        | IndexKind::StlSort => {}
    }
    let is_vector = index.metric.is_some();
    let has_vectors = || {
        let role = FileRole::Vector(index.field);
        segment.files.iter().any(|f| f.role == role)
    };
    segment.rows >= rows_min && (!is_vector || has_vectors())
}

fn has_index(index: &IndexMeta, segment: &SegmentEntry) -> bool {
    segment.indexes.iter().any(|i| i.index == index.id)
}

/// The index files that are missing, oldest segments first.
pub(crate) fn missing(
    meta: &CollectionMeta,
    manifests: &[Arc<Manifest>],
    rows_min: u64,
) -> Vec<IndexJob> {
    let mut jobs = Vec::new();
    for manifest in manifests {
        for segment in &manifest.segments {
            let lacking = meta
                .indexes
                .iter()
                .filter(|i| needs_file(i, segment, rows_min) && !has_index(i, segment));
            jobs.extend(lacking.map(|index| IndexJob {
                shard: manifest.shard,
                segment: segment.id,
                index: index.id,
            }));
        }
    }
    jobs.sort_by_key(|job| (job.segment, job.index));
    jobs
}

/// How far an index is. Fresh rows need none: they are compared one by one. Only segments with a row
/// stamped at or before `until` count.
pub(crate) fn progress(
    index: &IndexMeta,
    manifests: &[Arc<Manifest>],
    fresh: &[FreshSegment],
    until: Option<Timestamp>,
    rows_min: u64,
) -> IndexProgress {
    let fresh_rows: u64 = fresh.iter().map(|s| s.rows).sum();
    let mut progress = IndexProgress {
        index: index.id,
        indexed_rows: fresh_rows,
        total_rows: fresh_rows,
        pending_rows: 0,
        failure: None,
    };
    let counted = manifests
        .iter()
        .flat_map(|m| &m.segments)
        .filter(|s| until.is_none_or(|until| s.min_ts <= until));
    for segment in counted {
        progress.total_rows += segment.rows;
        if needs_file(index, segment, rows_min) && !has_index(index, segment) {
            progress.pending_rows += segment.rows;
        } else {
            progress.indexed_rows += segment.rows;
        }
    }
    progress
}

#[cfg(test)]
mod tests;
