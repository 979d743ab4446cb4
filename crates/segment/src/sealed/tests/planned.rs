//! Indexes, the planner and grouping.

use super::*;

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
    let kinds = [
        ScalarIndexKind::Inverted,
        ScalarIndexKind::Bitmap,
        ScalarIndexKind::Sorted,
    ];
    let names = [
        "flag", "i8", "i32", "i64", "f32", "f64", "text", "ints", "texts",
    ];
    for (i, name) in names.iter().enumerate() {
        let field = schema.field(name).unwrap().id;
        let file = index(&bare, 1 + i as i64, field, IndexBuild::Scalar(kinds[i % 3]));
        indexed = indexed.with_index(file).unwrap();
    }
    for (id, key, cast) in [
        (50, "s", JsonCast::VarChar),
        (51, "a", JsonCast::Double),
        (52, "t", JsonCast::Bool),
    ] {
        let build = IndexBuild::JsonPath {
            path: vec![holdfast_expr::PathStep::Key(key.to_owned())],
            cast,
            kind: ScalarIndexKind::Inverted,
        };
        let file = index(&bare, id, schema.field("doc").unwrap().id, build);
        indexed = indexed.with_index(file).unwrap();
    }
    let answered = [
        "flag",
        "not flag",
        "flag == false",
        "i8 == 3",
        "i8 != 3",
        "i8 > 3",
        "i32 <= 20",
        "i32 is null",
        "i32 is not null",
        "not (i32 < 10)",
        "i64 in [1, 2, 3]",
        "i64 not in [1, 2, 3]",
        "f32 == 0.1",
        "f32 in [0.1, 2.5]",
        "f32 < 3.3",
        "f32 >= 3.3",
        "f64 == 0.1",
        "f64 > 5",
        "text like \"t1%\"",
        "text like \"%2\"",
        "text not in [\"t1\"]",
        "text > \"t2\"",
        "array_contains(ints, 3)",
        "not array_contains(ints, 3)",
        "array_contains_all(ints, [1, 2])",
        "array_contains_any(texts, [\"e1\", \"e2\"])",
        "texts is null",
        "doc[\"s\"] == \"x1\"",
        "doc[\"a\"] > 3",
        "doc[\"a\"] in [1, 2, 3.5]",
        "doc[\"t\"] == true",
        "i8 > 3 and (i64 == 1 or text == \"t5\")",
        "v16 is null",
        "vsparse is not null",
        "v is not null",
        "i8 > 3 and (vnull is null or text == \"t5\")",
    ];
    let mixed = [
        "doc[\"s\"] != \"x1\"",
        "not (doc[\"a\"] == 3)",
        "doc[\"s\"] not in [\"x1\"]",
        "doc[\"a\"] != 3",
        "i8 > 3 and i16 > 0",
        "doc[\"a\"] is null",
        "exists doc[\"a\"]",
        "i64 + 1 == 3",
        "doc[\"a\"] == \"text\"",
        "i64 == 3 or i16 == 3",
        "v8 is null or i16 == 3",
        "not (vnull is not null and v16 is null) and i16 > 0",
        "doc[\"a\"] in [1, \"text\"]",
        "array_length(ints) == 2",
        "id in [1, 2, 3] and i8 > 0",
        "id == 5",
    ];
    for text in answered.iter().chain(&mixed) {
        let filter = predicate(&schema, text);
        if answered.contains(text) {
            assert!(
                indexed.answer(&filter).is_some(),
                "{text}: no index answers"
            );
        }
        let spec = QuerySpec {
            filter: Some(filter),
            ..query_spec()
        };
        let expect = ints_of(&bare.query(&spec, &Cancel::new()).unwrap());
        assert_eq!(
            ints_of(&indexed.query(&spec, &Cancel::new()).unwrap()),
            expect,
            "{text}"
        );
        assert_eq!(
            indexed.count(&spec, &Cancel::new()).unwrap(),
            expect.len() as u64,
            "{text}"
        );
        assert!(!expect.is_empty(), "{text} tests nothing");
    }
}

#[test]
fn the_graph_is_asked_where_it_pays_and_answers_are_complete() {
    let schema = dense();
    let bare = sealed(&schema, &descending(8_000), 5);
    let vectors = schema.field("v").unwrap().clone();
    let build = IndexBuild::Hnsw {
        metric: Metric::L2,
        params: HnswParams {
            m: 16,
            ef_construction: 100,
        },
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
        let hits = hit_ids(&found[0])
            .iter()
            .filter(|id| exact.contains(id))
            .count();
        hits as f64 / exact.len().max(1) as f64
    };
    let planned = |spec: &crate::SearchSpec| {
        let allowed = segment
            .allowed(
                spec.filter.as_deref(),
                spec.at,
                spec.ttl_before,
                &Cancel::new(),
            )
            .unwrap();
        let column = segment.vectors(spec.field).unwrap();
        format!("{:?}", segment.plan(spec, column, &allowed))[..4].to_owned()
    };
    assert_eq!(planned(&spec), "Inde");
    assert!(recall(&spec) >= 0.9, "{}", recall(&spec));
    // Far more than a walk of this breadth would deliver.
    let wide = crate::SearchSpec {
        top_k: 6_000,
        ..spec.clone()
    };
    assert_eq!(planned(&wide), "Flat");
    assert_eq!(recall(&wide), 1.0);
    let few = crate::SearchSpec {
        filter: Some(predicate(&schema, "n == 3")),
        ..spec.clone()
    };
    assert_eq!(planned(&few), "Flat");
    assert_eq!(recall(&few), 1.0);
    let none = crate::SearchSpec {
        filter: Some(predicate(&schema, "n > 100")),
        ..spec.clone()
    };
    assert_eq!(planned(&none), "Noth");
    assert_eq!(segment.search(&none, &Cancel::new()).unwrap(), [vec![]]);
    let exact = crate::SearchSpec {
        params: crate::SearchParams {
            exact: true,
            ..spec.params
        },
        ..spec.clone()
    };
    assert_eq!(planned(&exact), "Flat");
    let other = crate::SearchSpec {
        metric: Metric::Cosine,
        ..spec.clone()
    };
    assert_eq!(planned(&other), "Flat");
    // A ring, and the next page of an iterator: complete, and inside of the window.
    let all = hit_ids(&bare.search(&wide, &Cancel::new()).unwrap()[0]);
    let near = bare.search(&spec, &Cancel::new()).unwrap()[0].clone();
    let within = Within {
        from: std::ops::Bound::Excluded(near[9].distance),
        to: std::ops::Bound::Unbounded,
    };
    let page = crate::SearchSpec {
        within,
        ..spec.clone()
    };
    assert!(recall(&page) >= 0.9);
    assert_eq!(
        hit_ids(&bare.search(&page, &Cancel::new()).unwrap()[0]),
        all[10..20]
    );
    let ring = crate::SearchSpec {
        within: Within {
            from: std::ops::Bound::Unbounded,
            to: std::ops::Bound::Included(near[4].distance),
        },
        ..spec.clone()
    };
    assert_eq!(segment.search(&ring, &Cancel::new()).unwrap()[0].len(), 5);
    // An index of other rows, and a damaged one, are refused.
    let stranger = sealed(&schema, &descending(7_000), 5);
    stranger.with_index(file.clone()).unwrap_err();
    let mut bad = file.bytes.to_vec();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let error = bare
        .with_index(IndexFile {
            bytes: bad.into(),
            ..file
        })
        .unwrap_err();
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
    assert!(
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4),
        "{a:?} {b:?}"
    );
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
            let group_by = GroupBy {
                access,
                group_size,
                strict,
            };
            let mut spec = search_spec(&vectors, Metric::L2, 5);
            spec.group_by = Some(group_by.clone());
            let hits = segment.search(&spec, &Cancel::new()).unwrap().remove(0);
            let group = |hit: &crate::Hit| -> GroupValue {
                let batch = segment
                    .fetch(&[hit.row.row], &[group_by.access.field])
                    .unwrap();
                crate::answer::group_values(&group_by.access, batch.column(0))
                    .unwrap()
                    .remove(0)
            };
            let expect = crate::answer::best_groups(
                all.iter().map(|hit| (hit.pk.clone(), group(hit))),
                5,
                group_size,
            );
            let expect: Vec<(Pk, GroupValue)> = expect.into_iter().flatten().collect();
            let found: Vec<(Pk, GroupValue)> = hits
                .iter()
                .map(|h| (h.pk.clone(), h.group.clone().unwrap()))
                .collect();
            if strict || group_size == 1 {
                assert_eq!(found, expect, "{name}");
            }
            let merged = merge_hits(vec![hits.clone(), hits], 5, Some(&group_by));
            assert_eq!(merged.len(), found.len());
        }
    }
}
