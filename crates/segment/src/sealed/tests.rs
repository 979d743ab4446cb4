//! Tests of `sealed`.

use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use holdfast_expr::Access;
use holdfast_index::{Cancel, HnswParams, ScalarIndexKind, Within};
use holdfast_types::{
    CollectionSchema, DataType, FieldSchema, FileRole, IndexId, Lsn, Metric, PartitionId, Pk,
    PkList, RowIdx, SegmentId, Timestamp, Value,
};

use super::*;
use crate::{
    GroupBy, GroupValue, IndexBuild, IndexFile, JsonCast, QuerySpec, SegmentFiles, build_index,
    fixture::{
        ID, every_type, field, growing, hit_ids, ints_of, keys_of, number, open, pk, predicate,
        query_spec, rows, schema_of, search_spec, vector,
    },
    merge, merge_hits, merge_rows,
};

mod planned;

fn dense() -> Arc<CollectionSchema> {
    schema_of(vec![
        field(ID.0, "id", DataType::Int64),
        field(101, "n", DataType::Int64),
        FieldSchema {
            nullable: true,
            ..vector(120, "v", DataType::FloatVector, 16)
        },
    ])
}

fn sealed_files(schema: &Arc<CollectionSchema>, keys: &[i64], seed: u64) -> SegmentFiles {
    let segment = growing(schema, 1);
    for (i, keys) in keys.chunks(700).enumerate() {
        let batch = rows(schema, keys, seed);
        segment
            .append(&batch, Timestamp(10 + i as u64), Lsn(i as u64))
            .unwrap();
    }
    segment.seal(&Cancel::new()).unwrap()
}

fn sealed(schema: &Arc<CollectionSchema>, keys: &[i64], seed: u64) -> Arc<SealedSegment> {
    open(schema, 1, sealed_files(schema, keys, seed))
}

fn descending(n: i64) -> Vec<i64> {
    (0..n).rev().collect()
}

#[test]
fn every_type_and_null_survives_sealing_and_merging() {
    for key_type in [DataType::Int64, DataType::VarChar] {
        let schema = every_type(key_type);
        let keys = descending(300);
        let expect = rows(&schema, &(0..300).collect::<Vec<_>>(), 5);
        let fields: Vec<FieldId> = schema.fields.iter().map(|f| f.id).collect();
        let check = |batch: &RecordBatch| {
            for (i, field) in fields.iter().enumerate() {
                assert_eq!(
                    holdfast_types::columns::column(batch, *field).unwrap(),
                    expect.column(i),
                    "{}",
                    schema.fields[i].name
                );
            }
        };
        let segment = sealed(&schema, &keys, 5);
        let all: Vec<RowIdx> = (0..300).map(RowIdx).collect();
        check(&segment.fetch(&all, &fields).unwrap());
        let spec = QuerySpec {
            fields: fields.clone(),
            ..query_spec()
        };
        check(&segment.query(&spec, &Cancel::new()).unwrap().batch);
        let (low, high) = (descending(130), (130..300).collect::<Vec<_>>());
        let parts = [sealed(&schema, &high, 5), sealed(&schema, &low, 5)];
        let merged = merge(&parts, Timestamp::ZERO, &schema, None, &Cancel::new()).unwrap();
        let stats = merged.stats.clone().unwrap();
        assert_eq!(
            (stats.pk_min, stats.pk_max),
            (pk(&schema, 0), pk(&schema, 299))
        );
        check(&open(&schema, 2, merged).fetch(&all, &fields).unwrap());
    }
}

#[test]
fn every_vector_type_and_metric_answers_alike_growing_and_sealed() {
    let schema = every_type(DataType::Int64);
    let memory = growing(&schema, 1);
    for keys in descending(400).chunks(90) {
        memory
            .append(&rows(&schema, keys, 5), Timestamp(10), Lsn(1))
            .unwrap();
    }
    let files = open(&schema, 1, memory.seal(&Cancel::new()).unwrap());
    let mut compared = 0;
    for field in schema.vectors() {
        for metric in [
            Metric::L2,
            Metric::Ip,
            Metric::Cosine,
            Metric::Hamming,
            Metric::Jaccard,
        ] {
            let mut spec = search_spec(field, metric, 15);
            if !metric.applies_to(field.data_type) {
                memory.search(&spec, &Cancel::new()).unwrap_err();
                files.search(&spec, &Cancel::new()).unwrap_err();
                continue;
            }
            for filter in [
                None,
                Some("i8 > 0"),
                Some("doc[\"a\"] > 2 or flag"),
                Some("id < 0"),
            ] {
                spec.filter = filter.map(|text| predicate(&schema, text));
                let key = |hits: &[crate::Hit]| -> Vec<(u32, Pk)> {
                    hits.iter()
                        .map(|h| (h.distance.to_bits(), h.pk.clone()))
                        .collect()
                };
                let (a, b) = (
                    memory.search(&spec, &Cancel::new()).unwrap(),
                    files.search(&spec, &Cancel::new()).unwrap(),
                );
                // Equal distances may come in another order: rows are numbered differently.
                let (a, b) = (
                    merge_hits(a, usize::MAX, None),
                    merge_hits(b, usize::MAX, None),
                );
                let last = a.last().map(|h| h.distance);
                let inner = |hits: Vec<crate::Hit>| -> Vec<crate::Hit> {
                    hits.into_iter()
                        .filter(|h| Some(h.distance) != last)
                        .collect()
                };
                assert_eq!(a.len(), b.len());
                assert_eq!(
                    key(&inner(a)),
                    key(&inner(b)),
                    "{} {metric} {filter:?}",
                    field.name
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, (5 * 3 + 2 + 1) * 4);
}

#[test]
fn damage_to_any_file_is_refused_naming_it() {
    let schema = every_type(DataType::VarChar);
    let segment = growing(&schema, 1);
    segment
        .append(&rows(&schema, &descending(200), 5), Timestamp(10), Lsn(1))
        .unwrap();
    segment.delete(
        &PkList::Str(vec!["key-00003".into(), "key-00150".into()]),
        Timestamp(20),
    );
    let good = segment.seal(&Cancel::new()).unwrap().files;
    let open = |files: Vec<crate::SegmentFile>| {
        SealedSegment::open(
            SegmentId(1),
            PartitionId(1),
            schema.clone(),
            files,
            Vec::new(),
        )
    };
    assert_eq!(open(good.clone()).unwrap().deleted(), 2);
    for i in 0..good.len() {
        let whole = good[i].bytes.clone();
        let with = |bytes: Vec<u8>| {
            let mut files = good.clone();
            files[i].bytes = Bytes::from(bytes);
            files[i].name = format!("some/path/{}", good[i].name);
            files
        };
        let step = (whole.len() / 60).max(1);
        for at in (0..whole.len())
            .step_by(step)
            .chain(whole.len() - 20..whole.len())
        {
            let mut bad = whole.to_vec();
            bad[at] ^= 1 << (at % 8);
            let error = open(with(bad)).unwrap_err();
            assert!(error.file.starts_with("some/path/"), "{error}");
            open(with(whole[..at].to_vec())).unwrap_err();
        }
        let mut missing = good.clone();
        missing.remove(i);
        let nullable = match good[i].role {
            FileRole::Vector(id) => schema.field_by_id(id).unwrap().nullable,
            _ => false,
        };
        assert_eq!(
            open(missing).is_ok(),
            nullable,
            "{} is missing",
            good[i].name
        );
    }
}

#[test]
fn files_of_different_segments_do_not_fit_together() {
    let schema = every_type(DataType::Int64);
    let (a, b) = (
        sealed_files(&schema, &descending(100), 5).files,
        sealed_files(&schema, &(1..101).collect::<Vec<_>>(), 5).files,
    );
    let mut mixed = a;
    mixed[0] = b[0].clone();
    let error =
        SealedSegment::open(SegmentId(1), PartitionId(1), schema, mixed, Vec::new()).unwrap_err();
    assert!(error.problem.contains("not that of its row"), "{error}");
}

#[test]
fn deletes_arrive_late_and_are_seen_from_their_stamp_on() {
    let schema = every_type(DataType::Int64);
    let segment = sealed(&schema, &descending(100), 5);
    let keys = |keys: &[i64]| PkList::Int(keys.to_vec());
    assert_eq!(segment.delete(&keys(&[5, 7, 1_000]), Timestamp(50)), 2);
    assert_eq!(segment.delete(&keys(&[5]), Timestamp(60)), 0);
    assert_eq!(segment.delete(&keys(&[7]), Timestamp(40)), 0);
    assert_eq!(
        segment.delete(&keys(&[9]), Timestamp(10)),
        0,
        "not after the row"
    );
    let count = |at: u64| {
        let spec = QuerySpec {
            at: Timestamp(at),
            ..query_spec()
        };
        segment.count(&spec, &Cancel::new()).unwrap()
    };
    assert_eq!(
        [9, 10, 39, 40, 49, 50, 99].map(count),
        [0, 100, 100, 99, 99, 98, 98]
    );
    assert_eq!(count(u64::MAX), 98);
    let expired = QuerySpec {
        ttl_before: Some(Timestamp(10)),
        ..query_spec()
    };
    assert_eq!(segment.count(&expired, &Cancel::new()).unwrap(), 0);
    // The twin with an index shares the deletes.
    let twin = segment.without_index(IndexId(1));
    twin.delete(&keys(&[1]), Timestamp(70));
    assert_eq!(count(70), 97);
    assert!(!segment.contains(&Pk::Int(1)));
}

#[test]
fn queries_are_ordered_limited_and_continued_by_key() {
    for key_type in [DataType::Int64, DataType::VarChar] {
        let schema = every_type(key_type);
        let segment = sealed(&schema, &descending(2_000), 5);
        let memory = growing(&schema, 1);
        memory
            .append(&rows(&schema, &descending(2_000), 5), Timestamp(10), Lsn(1))
            .unwrap();
        let mut spec = QuerySpec {
            filter: Some(predicate(&schema, "i8 > 0 and doc[\"a\"] > 1")),
            limit: Some(7),
            ..query_spec()
        };
        let mut pages = Vec::new();
        loop {
            let page = keys_of(&segment.query(&spec, &Cancel::new()).unwrap());
            assert_eq!(page, keys_of(&memory.query(&spec, &Cancel::new()).unwrap()));
            let Some(last) = page.last().cloned() else {
                break;
            };
            pages.extend(page);
            spec.after = Some(last);
        }
        spec.after = None;
        spec.limit = None;
        let all = keys_of(&segment.query(&spec, &Cancel::new()).unwrap());
        assert!(all.len() > 50 && all.is_sorted());
        assert_eq!(pages, all);
        assert_eq!(
            segment.count(&spec, &Cancel::new()).unwrap(),
            all.len() as u64
        );
        spec.keys = Some(match key_type {
            DataType::Int64 => PkList::Int(vec![1_999, 3, 3, -1]),
            _ => PkList::Str(vec!["key-01999".into(), "key-00003".into(), "x".into()]),
        });
        spec.filter = None;
        let found = keys_of(&segment.query(&spec, &Cancel::new()).unwrap());
        assert_eq!(found, [pk(&schema, 3), pk(&schema, 1_999)]);
        assert_eq!(
            keys_of(&memory.query(&spec, &Cancel::new()).unwrap()),
            found
        );
        assert_eq!(segment.count(&spec, &Cancel::new()).unwrap(), 2);
    }
}

#[test]
fn merged_answers_have_each_key_once_its_newest() {
    let schema = dense();
    let (old, new) = (sealed(&schema, &descending(50), 5), {
        let segment = growing(&schema, 2);
        segment
            .append(
                &rows(&schema, &(40..60).collect::<Vec<_>>(), 6),
                Timestamp(99),
                Lsn(1),
            )
            .unwrap();
        segment
    });
    let spec = search_spec(schema.field("v").unwrap(), Metric::L2, 60);
    let parts = vec![
        old.search(&spec, &Cancel::new()).unwrap().remove(0),
        new.search(&spec, &Cancel::new()).unwrap().remove(0),
    ];
    let hits = merge_hits(parts, 100, None);
    let mut ids = hit_ids(&hits);
    assert!(hits.windows(2).all(|p| p[0].distance <= p[1].distance));
    for hit in &hits {
        let newer = matches!(hit.pk, Pk::Int(k) if k >= 40);
        assert_eq!(hit.ts == Timestamp(99), newer, "{}", hit.pk);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), hits.len());
    let spec = QuerySpec {
        fields: vec![FieldId(101)],
        ..query_spec()
    };
    let parts = || {
        vec![
            old.query(&spec, &Cancel::new()).unwrap(),
            new.query(&spec, &Cancel::new()).unwrap(),
        ]
    };
    let all = merge_rows(parts(), None).unwrap();
    assert_eq!(ints_of(&all), (0..60).collect::<Vec<_>>());
    let expect = rows(&schema, &(40..60).collect::<Vec<_>>(), 6);
    assert_eq!(
        all.batch.column(2).slice(40, 20).as_ref(),
        expect.column(1).as_ref()
    );
    assert_eq!(ints_of(&merge_rows(parts(), Some(3)).unwrap()), [0, 1, 2]);
    merge_rows(vec![], None).unwrap_err();
}

#[test]
fn a_younger_schema_reads_old_files() {
    let old = dense();
    let mut fields = old.fields.clone();
    fields.push(FieldSchema {
        default: Some(Value::Int(7)),
        ..field(130, "young", DataType::Int64)
    });
    fields.push(FieldSchema {
        nullable: true,
        ..vector(131, "w", DataType::Int8Vector, 4)
    });
    let young = schema_of(fields);
    let segment = open(&young, 1, sealed_files(&old, &descending(100), 5));
    let spec = QuerySpec {
        filter: Some(predicate(&young, "young == 7 and n < 5")),
        fields: vec![FieldId(130), FieldId(131)],
        ..query_spec()
    };
    let found = segment.query(&spec, &Cancel::new()).unwrap();
    assert!(!found.is_empty());
    assert_eq!(found.batch.column(3).null_count(), found.len());
    let search = search_spec(young.field("w").unwrap(), Metric::L2, 5);
    assert_eq!(segment.search(&search, &Cancel::new()).unwrap(), [vec![]]);
    let merged = merge(&[segment], Timestamp::ZERO, &young, None, &Cancel::new()).unwrap();
    let again = open(&young, 2, merged)
        .query(&spec, &Cancel::new())
        .unwrap();
    assert_eq!(again.batch, found.batch);
}

#[test]
fn columns_longer_than_a_batch_are_read_across_batches() {
    let schema = schema_of(vec![
        field(ID.0, "id", DataType::Int64),
        field(101, "n", DataType::Int64),
        vector(120, "v", DataType::BinaryVector, 8),
    ]);
    let segment = sealed(&schema, &descending(70_000), 5);
    let spec = QuerySpec {
        filter: Some(predicate(&schema, "n == 3 and id > 65000")),
        ..query_spec()
    };
    let expect: Vec<i64> = (65_001..70_000)
        .filter(|k| number(5, *k, 101) % 10 == 3)
        .collect();
    assert_eq!(
        ints_of(&segment.query(&spec, &Cancel::new()).unwrap()),
        expect
    );
    let batch = segment
        .fetch(&[RowIdx(69_999), RowIdx(0), RowIdx(65_536)], &[ID])
        .unwrap();
    assert_eq!(ints_of(&crate::Rows { batch }), [69_999, 0, 65_536]);
}

#[test]
fn cancelled_work_ends() {
    let schema = dense();
    let segment = sealed(&schema, &descending(2_000), 5);
    let cancel = Cancel::new();
    cancel.cancel();
    let spec = search_spec(schema.field("v").unwrap(), Metric::L2, 5);
    assert_eq!(segment.search(&spec, &cancel), Err(SegmentError::Cancelled));
    merge(&[segment], Timestamp::ZERO, &schema, None, &cancel).unwrap_err();
}
