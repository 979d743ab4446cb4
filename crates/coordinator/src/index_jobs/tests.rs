//! Missing indexes and progress, by hand-made manifests.

use holdfast_types::{FieldId, IndexId, Metric, PartitionId, SegmentId};

use super::*;
use crate::tests::fixtures::{SHARD, VEC, index_entry, manifest, segment};

const P: PartitionId = PartitionId(7);
const GRAPH: IndexKind = IndexKind::Hnsw {
    m: 16,
    ef_construction: 200,
};

fn index(id: i64, field: FieldId, kind: IndexKind) -> IndexMeta {
    let metric = (field == VEC).then_some(Metric::L2);
    IndexMeta {
        id: IndexId(id),
        field,
        name: format!("i{id}"),
        kind,
        asked: Vec::new(),
        metric,
        json_path: None,
        created: Timestamp::ZERO,
    }
}

/// Segments 1 (small), 2, 3 (has index 1), 4 (without vectors).
fn stored() -> Vec<Arc<Manifest>> {
    let mut segments: Vec<_> = (1..=4).map(|id| segment(SHARD, P, id)).collect();
    segments[0].rows = 999;
    segments[2].indexes = vec![index_entry(SHARD, SegmentId(3), IndexId(1))];
    segments[3].files.clear();
    vec![Arc::new(manifest(segments))]
}

fn meta(indexes: Vec<IndexMeta>) -> CollectionMeta {
    CollectionMeta {
        id: SHARD.collection,
        database: holdfast_meta::DEFAULT_DATABASE_ID,
        name: "c".to_owned(),
        aliases: Vec::new(),
        schema: Arc::new(crate::tests::fixtures::schema()),
        shards: vec![holdfast_types::ChannelId(0)],
        consistency: 0,
        properties: std::collections::BTreeMap::new(),
        num_partitions: 0,
        partitions: Vec::new(),
        indexes,
        load: None,
        created: Timestamp::ZERO,
        updated: Timestamp::ZERO,
        next_field_id: FieldId(200),
        state: holdfast_meta::CollectionState::Active,
        truncated: Timestamp::ZERO,
    }
}

fn missing_of(indexes: Vec<IndexMeta>) -> Vec<(i64, i64)> {
    let jobs = missing(&meta(indexes), &stored(), 1_000);
    jobs.iter().map(|j| (j.segment.0, j.index.0)).collect()
}

#[test]
fn an_index_is_missing_where_it_would_help() {
    assert_eq!(missing_of(vec![index(1, VEC, GRAPH)]), [(2, 1)]);
    assert_eq!(missing_of(vec![index(2, VEC, GRAPH)]), [(2, 2), (3, 2)]);
    assert_eq!(missing_of(vec![index(2, VEC, IndexKind::Flat)]), []);
    let scalar = index(5, FieldId(102), IndexKind::Inverted);
    assert_eq!(
        missing_of(vec![index(1, VEC, GRAPH), scalar]),
        [(2, 1), (2, 5), (3, 5), (4, 5)]
    );
}

fn fresh(rows: u64) -> FreshSegment {
    FreshSegment {
        id: SegmentId(9),
        partition: P,
        shard: 0,
        rows,
        bytes: 1,
        growing: true,
        oldest: None,
    }
}

#[test]
fn fresh_and_small_segments_never_hold_progress_up() {
    let of = |id, manifests: &[Arc<Manifest>], fresh: &[FreshSegment], until| {
        let p = progress(&index(id, VEC, GRAPH), manifests, fresh, until, 1_000);
        (p.indexed_rows, p.total_rows, p.pending_rows)
    };
    assert_eq!(of(1, &[], &[], None), (0, 0, 0));
    assert_eq!(of(1, &[], &[fresh(50)], None), (50, 50, 0));
    assert_eq!(of(1, &stored(), &[fresh(1)], None), (5_000, 7_000, 2_000));
    assert_eq!(of(2, &stored(), &[], None), (2_999, 6_999, 4_000));
}

#[test]
fn only_segments_with_rows_up_to_the_stamp_count() {
    let mut manifest = Manifest::clone(&stored()[0]);
    manifest.segments[1].min_ts = Timestamp::from_unix_ms(1_001);
    let manifests = [Arc::new(manifest)];
    let until = Some(Timestamp::from_unix_ms(1_000));
    let p = progress(&index(1, VEC, GRAPH), &manifests, &[], until, 1_000);
    assert_eq!(
        (p.indexed_rows, p.total_rows, p.pending_rows),
        (4_999, 4_999, 0)
    );
}
