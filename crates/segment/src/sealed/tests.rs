use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use holdfast_expr::Access;
use holdfast_index::{Cancel, HnswParams, ScalarIndexKind, Within};
use holdfast_types::{
    CollectionSchema, DataType, FieldSchema, IndexId, Lsn, Metric, PartitionId, Pk, PkList, RowIdx,
    SegmentId, Timestamp, Value,
};

use super::*;
use crate::{
    FileRole, GroupBy, GroupValue, IndexBuild, IndexFile, JsonCast, QuerySpec, SegmentFiles,
    build_index,
    fixture::{
        ID, every_type, field, growing, hit_ids, ints_of, keys_of, number, open, predicate, pk,
        query_spec, rows, schema_of, search_spec, vector,
    },
    merge, merge_hits, merge_rows,
};

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
        assert_eq!((stats.pk_min, stats.pk_max), (pk(&schema, 0), pk(&schema, 299)));
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
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine, Metric::Hamming, Metric::Jaccard] {
            let mut spec = search_spec(field, metric, 15);
            if !metric.applies_to(field.data_type) {
                memory.search(&spec, &Cancel::new()).unwrap_err();
                files.search(&spec, &Cancel::new()).unwrap_err();
                continue;
            }
            for filter in [None, Some("i8 > 0"), Some("doc[\"a\"] > 2 or flag"), Some("id < 0")] {
                spec.filter = filter.map(|text| predicate(&schema, text));
                let key = |hits: &[crate::Hit]| -> Vec<(u32, Pk)> {
                    hits.iter().map(|h| (h.distance.to_bits(), h.pk.clone())).collect()
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
                    hits.into_iter().filter(|h| Some(h.distance) != last).collect()
                };
                assert_eq!(a.len(), b.len());
                assert_eq!(key(&inner(a)), key(&inner(b)), "{} {metric} {filter:?}", field.name);
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
    segment.delete(&PkList::Str(vec!["key-00003".into(), "key-00150".into()]), Timestamp(20));
    let good = segment.seal(&Cancel::new()).unwrap().files;
    let open = |files: Vec<crate::SegmentFile>| {
        SealedSegment::open(SegmentId(1), PartitionId(1), schema.clone(), files, Vec::new())
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
        for at in (0..whole.len()).step_by(step).chain(whole.len() - 20..whole.len()) {
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
        assert_eq!(open(missing).is_ok(), nullable, "{} is missing", good[i].name);
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
    assert_eq!(segment.delete(&keys(&[9]), Timestamp(10)), 0, "not after the row");
    let count = |at: u64| {
        let spec = QuerySpec {
            at: Timestamp(at),
            ..query_spec()
        };
        segment.count(&spec, &Cancel::new()).unwrap()
    };
    assert_eq!([9, 10, 39, 40, 49, 50, 99].map(count), [0, 100, 100, 99, 99, 98, 98]);
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
        assert_eq!(segment.count(&spec, &Cancel::new()).unwrap(), all.len() as u64);
        spec.keys = Some(match key_type {
            DataType::Int64 => PkList::Int(vec![1_999, 3, 3, -1]),
            _ => PkList::Str(vec!["key-01999".into(), "key-00003".into(), "x".into()]),
        });
        spec.filter = None;
        let found = keys_of(&segment.query(&spec, &Cancel::new()).unwrap());
        assert_eq!(found, [pk(&schema, 3), pk(&schema, 1_999)]);
        assert_eq!(keys_of(&memory.query(&spec, &Cancel::new()).unwrap()), found);
        assert_eq!(segment.count(&spec, &Cancel::new()).unwrap(), 2);
    }
}

fn index(segment: &SealedSegment, id: i64, field: FieldId, build: IndexBuild) -> IndexFile {
    let bytes = build_index(segment, field, &build, &Cancel::new()).unwrap();
    IndexFile {
        index: IndexId(id),
        field,
        build,
        name: format!("index-{id}"),
        bytes,
    }
}

#[test]
fn scalar_indexes_answer_as_the_columns_do() {
    let schema = every_type(DataType::Int64);
    let bare = sealed(&schema, &descending(3_000), 5);
    let mut indexed = bare.without_index(IndexId(0));
    let kinds = [ScalarIndexKind::Inverted, ScalarIndexKind::Bitmap, ScalarIndexKind::Sorted];
    let names = ["flag", "i8", "i32", "i64", "f32", "f64", "text", "ints", "texts"];
    for (i, name) in names.iter().enumerate() {
        let field = schema.field(name).unwrap().id;
        let file = index(&bare, 1 + i as i64, field, IndexBuild::Scalar(kinds[i % 3]));
        indexed = indexed.with_index(file).unwrap();
    }
    for (id, key, cast) in [(50, "s", JsonCast::VarChar), (51, "a", JsonCast::Double), (52, "t", JsonCast::Bool)] {
        let build = IndexBuild::JsonPath {
            path: vec![holdfast_expr::PathStep::Key(key.to_owned())],
            cast,
            kind: ScalarIndexKind::Inverted,
        };
        let file = index(&bare, id, schema.field("doc").unwrap().id, build);
        indexed = indexed.with_index(file).unwrap();
    }
    let answered = [
        "flag", "not flag", "flag == false", "i8 == 3", "i8 != 3", "i8 > 3", "i32 <= 20",
        "i32 is null", "i32 is not null", "not (i32 < 10)", "i64 in [1, 2, 3]",
        "i64 not in [1, 2, 3]", "f32 == 0.1", "f32 in [0.1, 2.5]", "f32 < 3.3", "f32 >= 3.3",
        "f64 == 0.1", "f64 > 5", "text like \"t1%\"", "text like \"%2\"", "text not in [\"t1\"]",
        "text > \"t2\"", "array_contains(ints, 3)", "not array_contains(ints, 3)",
        "array_contains_all(ints, [1, 2])", "array_contains_any(texts, [\"e1\", \"e2\"])",
        "texts is null", "doc[\"s\"] == \"x1\"", "doc[\"s\"] != \"x1\"", "doc[\"a\"] > 3",
        "doc[\"a\"] in [1, 2, 3.5]", "not (doc[\"a\"] == 3)", "doc[\"t\"] == true",
        "i8 > 3 and (i64 == 1 or text == \"t5\")",
    ];
    let mixed = [
        "i8 > 3 and i16 > 0", "doc[\"a\"] is null", "exists doc[\"a\"]", "i64 + 1 == 3",
        "doc[\"a\"] == \"text\"", "i64 == 3 or i16 == 3", "doc[\"a\"] in [1, \"text\"]",
        "array_length(ints) == 2", "id in [1, 2, 3] and i8 > 0", "id == 5",
    ];
    for text in answered.iter().chain(&mixed) {
        let filter = predicate(&schema, text);
        if answered.contains(text) {
            assert!(indexed.answer(&filter).is_some(), "{text}: no index answers");
        }
        let spec = QuerySpec {
            filter: Some(filter),
            ..query_spec()
        };
        let expect = ints_of(&bare.query(&spec, &Cancel::new()).unwrap());
        assert_eq!(ints_of(&indexed.query(&spec, &Cancel::new()).unwrap()), expect, "{text}");
        assert_eq!(indexed.count(&spec, &Cancel::new()).unwrap(), expect.len() as u64, "{text}");
        assert!(!expect.is_empty() || *text == "array_contains_any(texts, [])", "{text} tests nothing");
    }
}

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

#[test]
fn the_graph_is_asked_where_it_pays_and_answers_are_complete() {
    let schema = dense();
    let bare = sealed(&schema, &descending(8_000), 5);
    let vectors = schema.field("v").unwrap().clone();
    let build = IndexBuild::Hnsw {
        metric: Metric::L2,
        params: HnswParams { m: 16, ef_construction: 100 },
    };
    let file = index(&bare, 1, vectors.id, build.clone());
    let segment = bare.with_index(file.clone()).unwrap();
    segment.delete(&PkList::Int((0..100).collect()), Timestamp(50));
    let mut spec = search_spec(&vectors, Metric::L2, 10);
    spec.params.ef = Some(128);
    let recall = |spec: &crate::SearchSpec| {
        let exact = bare.search(spec, &Cancel::new()).unwrap();
        let found = segment.search(spec, &Cancel::new()).unwrap();
        assert_eq!(exact[0].len(), found[0].len());
        let exact = hit_ids(&exact[0]);
        let hits = hit_ids(&found[0]).iter().filter(|id| exact.contains(id)).count();
        hits as f64 / exact.len().max(1) as f64
    };
    let planned = |spec: &crate::SearchSpec| {
        let allowed = segment
            .allowed(spec.filter.as_deref(), spec.at, spec.ttl_before, &Cancel::new())
            .unwrap();
        let column = segment.vectors(spec.field).unwrap();
        format!("{:?}", segment.plan(spec, column, &allowed))[..4].to_owned()
    };
    assert_eq!(planned(&spec), "Inde");
    assert!(recall(&spec) >= 0.9, "{}", recall(&spec));
    // Far more than a walk of this breadth would deliver.
    let wide = crate::SearchSpec { top_k: 6_000, ..spec.clone() };
    assert_eq!(planned(&wide), "Flat");
    assert_eq!(recall(&wide), 1.0);
    let few = crate::SearchSpec { filter: Some(predicate(&schema, "n == 3")), ..spec.clone() };
    assert_eq!(planned(&few), "Flat");
    assert_eq!(recall(&few), 1.0);
    let none = crate::SearchSpec { filter: Some(predicate(&schema, "n > 100")), ..spec.clone() };
    assert_eq!(planned(&none), "Noth");
    assert_eq!(segment.search(&none, &Cancel::new()).unwrap(), [vec![]]);
    let exact = crate::SearchSpec {
        params: crate::SearchParams { exact: true, ..spec.params },
        ..spec.clone()
    };
    assert_eq!(planned(&exact), "Flat");
    let other = crate::SearchSpec { metric: Metric::Cosine, ..spec.clone() };
    assert_eq!(planned(&other), "Flat");
    // A ring, and the next page of an iterator: complete, and inside of the window.
    let all = hit_ids(&bare.search(&wide, &Cancel::new()).unwrap()[0]);
    let near = bare.search(&spec, &Cancel::new()).unwrap()[0].clone();
    let within = Within {
        from: std::ops::Bound::Excluded(near[9].distance),
        to: std::ops::Bound::Unbounded,
    };
    let page = crate::SearchSpec { within, ..spec.clone() };
    assert!(recall(&page) >= 0.9);
    assert_eq!(hit_ids(&bare.search(&page, &Cancel::new()).unwrap()[0]), all[10..20]);
    let ring = crate::SearchSpec {
        within: Within { from: std::ops::Bound::Unbounded, to: std::ops::Bound::Included(near[4].distance) },
        ..spec.clone()
    };
    assert_eq!(segment.search(&ring, &Cancel::new()).unwrap()[0].len(), 5);
    // An index of other rows, and a damaged one, are refused.
    let stranger = sealed(&schema, &descending(7_000), 5);
    stranger.with_index(file.clone()).unwrap_err();
    let mut bad = file.bytes.to_vec();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let error = bare.with_index(IndexFile { bytes: bad.into(), ..file }).unwrap_err();
    assert_eq!(error.file, "index-1");
}

#[test]
fn sparse_lists_answer_as_a_scan_does() {
    let schema = every_type(DataType::Int64);
    let bare = sealed(&schema, &descending(6_000), 5);
    let vectors = schema.field("vsparse").unwrap().clone();
    let file = index(&bare, 1, vectors.id, IndexBuild::Sparse);
    let segment = bare.with_index(file).unwrap();
    let spec = search_spec(&vectors, Metric::Ip, 20);
    let distances = |segment: &SealedSegment| -> Vec<f32> {
        let hits = segment.search(&spec, &Cancel::new()).unwrap();
        hits[0].iter().map(|h| h.distance).collect()
    };
    let (a, b) = (distances(&bare), distances(&segment));
    assert_eq!(a.len(), 20);
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
}

#[test]
fn groups_are_distinct_bounded_and_led_by_their_best_row() {
    let schema = every_type(DataType::Int64);
    let segment = sealed(&schema, &descending(2_000), 5);
    let vectors = schema.field("v").unwrap().clone();
    let all = {
        let spec = search_spec(&vectors, Metric::L2, 2_000);
        segment.search(&spec, &Cancel::new()).unwrap().remove(0)
    };
    for name in ["i8", "text", "flag", "doc"] {
        for (group_size, strict) in [(1, false), (3, true)] {
            let mut access = Access::column(schema.field(name).unwrap());
            if name == "doc" {
                access.path = vec![holdfast_expr::PathStep::Key("s".to_owned())];
            }
            let group_by = GroupBy { access, group_size, strict };
            let mut spec = search_spec(&vectors, Metric::L2, 5);
            spec.group_by = Some(group_by.clone());
            let hits = segment.search(&spec, &Cancel::new()).unwrap().remove(0);
            let group = |hit: &crate::Hit| -> GroupValue {
                let batch = segment.fetch(&[hit.row.row], &[group_by.access.field]).unwrap();
                crate::answer::group_values(&group_by.access, batch.column(0)).unwrap().remove(0)
            };
            let expect = crate::answer::best_groups(
                all.iter().map(|hit| (hit.pk.clone(), group(hit))), 5, group_size,
            );
            let expect: Vec<(Pk, GroupValue)> = expect.into_iter().flatten().collect();
            let found: Vec<(Pk, GroupValue)> =
                hits.iter().map(|h| (h.pk.clone(), h.group.clone().unwrap())).collect();
            if strict || group_size == 1 {
                assert_eq!(found, expect, "{name}");
            }
            let merged = merge_hits(vec![hits.clone(), hits], 5, Some(&group_by));
            assert_eq!(merged.len(), found.len());
        }
    }
}

#[test]
fn merged_answers_have_each_key_once_its_newest() {
    let schema = dense();
    let (old, new) = (sealed(&schema, &descending(50), 5), {
        let segment = growing(&schema, 2);
        segment
            .append(&rows(&schema, &(40..60).collect::<Vec<_>>(), 6), Timestamp(99), Lsn(1))
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
    let spec = QuerySpec { fields: vec![FieldId(101)], ..query_spec() };
    let parts = || vec![
        old.query(&spec, &Cancel::new()).unwrap(),
        new.query(&spec, &Cancel::new()).unwrap(),
    ];
    let all = merge_rows(parts(), None).unwrap();
    assert_eq!(ints_of(&all), (0..60).collect::<Vec<_>>());
    let expect = rows(&schema, &(40..60).collect::<Vec<_>>(), 6);
    assert_eq!(all.batch.column(2).slice(40, 20).as_ref(), expect.column(1).as_ref());
    assert_eq!(ints_of(&merge_rows(parts(), Some(3)).unwrap()), [0, 1, 2]);
    assert_eq!(merge_rows(vec![], None).is_err(), true);
}

#[test]
fn a_younger_schema_reads_old_files() {
    let old = dense();
    let mut fields = old.fields.clone();
    fields.push(FieldSchema { default: Some(Value::Int(7)), ..field(130, "young", DataType::Int64) });
    fields.push(FieldSchema { nullable: true, ..vector(131, "w", DataType::Int8Vector, 4) });
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
    let again = open(&young, 2, merged).query(&spec, &Cancel::new()).unwrap();
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
    let spec = QuerySpec { filter: Some(predicate(&schema, "n == 3 and id > 65000")), ..query_spec() };
    let expect: Vec<i64> = (65_001..70_000).filter(|k| number(5, *k, 101) % 10 == 3).collect();
    assert_eq!(ints_of(&segment.query(&spec, &Cancel::new()).unwrap()), expect);
    let batch = segment.fetch(&[RowIdx(69_999), RowIdx(0), RowIdx(65_536)], &[ID]).unwrap();
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
