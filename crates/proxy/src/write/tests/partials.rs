//! Upserts of some fields.

use holdfast_node_api::write::WritePart;
use holdfast_proto::milvus::milvus;
use holdfast_types::{
    ChannelId, Code, DataType, Failure, Pk, PkList, Timestamp, limits::MAX_JSON_BYTES,
};
use serde_json::{Value, json};

use super::{
    node::{Next, Setup, World, world},
    wire::*,
};

/// Rows 1 and 2; row 2 has neither `n` nor `tags`.
async fn two_rows(setup: Setup) -> World {
    let world = world(setup).await;
    let data = vec![
        longs("id", [1, 2]),
        vectors("v", &[[1., 0.], [2., 0.]]),
        valid(longs("n", [10]), &[true, false]),
        texts("s", &["one", "two"]),
        valid(long_lists("tags", &[&[1, 2]]), &[true, false]),
        dynamic(&[r#"{"extra": "x", "deep": {"a": [1]}}"#, "{}"]),
    ];
    world.insert(inserting(2, data)).await.unwrap();
    world
}

fn first() -> Value {
    json!({"id": 1, "v": [1.0, 0.0], "n": 10, "s": "one", "tags": [1, 2], "$meta": {"extra": "x", "deep": {"a": [1]}}})
}

fn second() -> Value {
    json!({"id": 2, "v": [2.0, 0.0], "n": null, "s": "two", "tags": null, "$meta": {}})
}

fn with(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

fn tags(field_op: i32, key: i64, tags: &[i64]) -> milvus::UpsertRequest {
    let request = upserting(1, vec![longs("id", [key]), long_lists("tags", &[tags])]);
    milvus::UpsertRequest {
        field_ops: vec![op("tags", field_op)],
        ..request
    }
}

#[tokio::test]
async fn only_what_is_given_changes() {
    let cases = [
        (vec![longs("n", [11])], "n", json!(11)),
        (vec![valid(longs("n", []), &[false])], "n", json!(null)),
        (vec![texts("s", &["new"])], "s", json!("new")),
        (vec![valid(texts("s", &[]), &[false])], "s", json!("plain")),
        (vec![vectors("v", &[[5., 6.]])], "v", json!([5.0, 6.0])),
        (vec![long_lists("tags", &[&[9]])], "tags", json!([9])),
        (vec![long_lists("tags", &[&[]])], "tags", json!([])),
        (
            vec![dynamic(&[r#"{"more": 5}"#])],
            "$meta",
            json!({"extra": "x", "deep": {"a": [1]}, "more": 5}),
        ),
        (
            vec![dynamic(&[r#"{"extra": null}"#])],
            "$meta",
            json!({"extra": null, "deep": {"a": [1]}}),
        ),
        (
            vec![dynamic(&["{}"])],
            "$meta",
            json!({"extra": "x", "deep": {"a": [1]}}),
        ),
    ];
    for (mut data, field, value) in cases {
        let world = two_rows(Setup::of(rich())).await;
        data.push(longs("id", [1]));
        let answer = world.upsert(changing(1, data)).await.unwrap();
        assert_eq!(
            (ids(&answer), answer.upsert_cnt, answer.delete_cnt),
            (vec![json!(1)], 1, 1)
        );
        assert_eq!(
            world.rows().await,
            [with(first(), field, value), second()],
            "{field}"
        );
        assert!(
            world.requests()[1].unchanged_since.is_some(),
            "the write is guarded"
        );
    }
}

#[tokio::test]
async fn known_and_new_rows_may_be_mixed_in_any_order() {
    for shards in [1, 4] {
        let world = two_rows(Setup {
            shards: vec![ChannelId(0); shards],
            ..Setup::of(rich())
        })
        .await;
        let data = vec![
            longs("id", [3, 2, 4, 1]),
            vectors("v", &[[3., 3.], [2., 2.], [4., 4.], [1., 1.]]),
            dynamic(&["{}", r#"{"k": 2}"#, r#"{"k": 4}"#, r#"{"k": 1}"#]),
        ];
        let answer = world.upsert(changing(4, data)).await.unwrap();
        assert_eq!(
            (ids(&answer), answer.upsert_cnt, answer.delete_cnt),
            (vec![json!(3), json!(2), json!(4), json!(1)], 4, 2)
        );
        let new = |id: i64, meta: Value| json!({"id": id, "v": [id as f64, id as f64], "n": null, "s": "plain", "tags": null, "$meta": meta});
        let changed = with(first(), "v", json!([1.0, 1.0]));
        let expect = [
            with(
                changed,
                "$meta",
                json!({"extra": "x", "deep": {"a": [1]}, "k": 1}),
            ),
            with(
                with(second(), "v", json!([2.0, 2.0])),
                "$meta",
                json!({"k": 2}),
            ),
            new(3, json!({})),
            new(4, json!({"k": 4})),
        ];
        assert_eq!(world.rows().await, expect);
    }
}

#[tokio::test]
async fn a_row_that_is_new_needs_every_required_field() {
    let world = two_rows(Setup::of(rich())).await;
    let failure = world
        .upsert(changing(2, vec![longs("id", [1, 50]), longs("n", [1, 1])]))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(
        failure.message.contains("50") && failure.message.contains("field v"),
        "{failure}"
    );
    assert_eq!(world.rows().await, [first(), second()]);
}

#[tokio::test]
async fn elements_are_appended_and_removed() {
    for (what, row, tags_given, expect) in [
        (APPEND, 1, &[3, 2][..], json!([1, 2, 3, 2])),
        (APPEND, 1, &[], json!([1, 2])),
        (APPEND, 2, &[5], json!([5])),
        (REMOVE, 1, &[2, 9], json!([1])),
        (REMOVE, 1, &[1, 2], json!([])),
        (REMOVE, 1, &[], json!([1, 2])),
        (REMOVE, 2, &[1], json!(null)),
    ] {
        let world = two_rows(Setup::of(rich())).await;
        world.upsert(tags(what, row, tags_given)).await.unwrap();
        let expect = match row {
            1 => [with(first(), "tags", expect), second()],
            _ => [first(), with(second(), "tags", expect)],
        };
        assert_eq!(world.rows().await, expect, "{what} {tags_given:?}");
    }
}

#[tokio::test]
async fn elements_of_any_type_are_compared_by_value() {
    let fields = vec![
        key(field("id", DataType::Int64)),
        array("t", DataType::VarChar),
    ];
    let world = world(Setup::of(schema(fields, false))).await;
    let lists: [&[&str]; 3] = [&["a", "b", "a", ""], &["b"], &[]];
    world
        .insert(inserting(
            3,
            vec![longs("id", 1..4), text_lists("t", &lists)],
        ))
        .await
        .unwrap();
    let gone: [&[&str]; 3] = [&["a"], &["", "b"], &["a"]];
    let request = upserting(3, vec![longs("id", 1..4), text_lists("t", &gone)]);
    world
        .upsert(milvus::UpsertRequest {
            field_ops: vec![op("t", REMOVE)],
            ..request
        })
        .await
        .unwrap();
    let lists: Vec<Value> = world
        .rows()
        .await
        .into_iter()
        .map(|row| row["t"].clone())
        .collect();
    assert_eq!(lists, [json!(["b", ""]), json!([]), json!([])]);
}

#[tokio::test]
async fn what_grows_beyond_its_bounds_is_refused_and_changes_nothing() {
    let world = two_rows(Setup::of(rich())).await;
    let failure = world
        .upsert(tags(APPEND, 1, &[3, 4, 5, 6, 7]))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(
        failure.message.contains("capacity (6)") && failure.message.contains("tags"),
        "{failure}"
    );
    let long = format!(r#"{{"long": "{}"}}"#, "x".repeat(MAX_JSON_BYTES - 20));
    let failure = world
        .upsert(changing(1, vec![longs("id", [1]), dynamic(&[&long])]))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(failure.message.contains("exceeds max length"), "{failure}");
    assert_eq!(world.rows().await, [first(), second()]);
    assert_eq!(world.requests().len(), 1);
}

/// Another client's change of row 1.
async fn meanwhile(n: i64) -> Vec<WritePart> {
    let elsewhere = two_rows(Setup::of(rich())).await;
    let data = vec![
        longs("id", [1]),
        longs("n", [n]),
        long_lists("tags", &[&[n]]),
    ];
    elsewhere.upsert(changing(1, data)).await.unwrap();
    elsewhere.requests()[1].parts.clone()
}

#[tokio::test]
async fn a_change_in_between_is_kept_and_an_append_is_done_once() {
    let world = two_rows(Setup::of(rich())).await;
    let partition = world.partition("_default");
    let mut parts = Vec::new();
    for n in [30, 31] {
        parts.push(Next::After(
            meanwhile(n)
                .await
                .into_iter()
                .map(|p| WritePart { partition, ..p })
                .collect(),
        ));
    }
    world.script(parts);
    let answer = world.upsert(tags(APPEND, 1, &[7])).await.unwrap();
    assert_eq!(answer.upsert_cnt, 1);
    assert_eq!(
        world.rows().await,
        [
            with(with(first(), "n", json!(31)), "tags", json!([31, 7])),
            second()
        ]
    );
    let requests = world.requests();
    assert_eq!(requests.len(), 4, "the insert, two conflicts and the write");
    let since: Vec<Timestamp> = requests[1..]
        .iter()
        .map(|r| r.unchanged_since.unwrap())
        .collect();
    assert!(since.is_sorted_by(|a, b| a < b), "each try reads anew");
}

#[tokio::test]
async fn a_row_that_appears_in_between_is_merged_with() {
    let world = two_rows(Setup::of(rich())).await;
    let deletes = Some(PkList::Int(vec![1]));
    let part = WritePart {
        shard: 0,
        partition: world.partition("_default"),
        rows: None,
        deletes,
    };
    world.script([Next::After(vec![part])]);
    let failure = world
        .upsert(changing(1, vec![longs("id", [1]), longs("n", [5])]))
        .await
        .unwrap_err();
    assert!(
        failure.message.contains("field v"),
        "the row is gone, so that it had to be whole: {failure}"
    );
    assert_eq!(world.rows().await, [second()]);
}

#[tokio::test]
async fn only_conflicts_are_tried_again_and_those_not_for_ever() {
    let again = |code| Next::Refuse(Failure::new(code, "no"));
    let request = || changing(1, vec![longs("id", [1]), longs("n", [5])]);
    for code in [Code::OutcomeUnknown, Code::QuotaExceeded, Code::Unavailable] {
        let world = two_rows(Setup::of(rich())).await;
        world.script([again(code)]);
        assert_eq!(world.upsert(request()).await.unwrap_err().code, code);
        assert_eq!(world.requests().len(), 2);
    }
    let mut world = two_rows(Setup::of(rich())).await;
    world.proxy.options.partial_upsert_tries_max = 3;
    world.script((0..4).map(|_| again(Code::Conflict)));
    assert_eq!(
        world.upsert(request()).await.unwrap_err().code,
        Code::Conflict
    );
    assert_eq!(
        world.requests().len(),
        5,
        "the insert, a try, and three again"
    );
    assert_eq!(world.rows().await, [first(), second()]);
}

#[tokio::test]
async fn rows_stay_in_their_partition_unless_one_is_named() {
    let setup = || Setup {
        partitions: vec!["_default", "red", "blue"],
        shards: vec![ChannelId(0); 2],
        ..Setup::of(rich())
    };
    let world = world(setup()).await;
    let whole = |id: i64, partition: &str| milvus::InsertRequest {
        partition_name: partition.to_owned(),
        ..inserting(1, vec![longs("id", [id]), vectors("v", &[[1., 1.]])])
    };
    world.insert(whole(1, "red")).await.unwrap();
    world.insert(whole(2, "")).await.unwrap();
    world.insert(whole(3, "blue")).await.unwrap();
    let data = || vec![longs("id", [4, 3, 1, 2]), vectors("v", &[[2., 2.]; 4])];
    world.upsert(changing(4, data())).await.unwrap();
    let home = |key| world.node.state().home(&Pk::Int(key)).unwrap();
    assert_eq!(
        [1, 2, 3, 4].map(home),
        ["red", "_default", "blue", "_default"].map(|p| world.partition(p))
    );
    world
        .upsert(milvus::UpsertRequest {
            partition_name: "blue".into(),
            ..changing(4, data())
        })
        .await
        .unwrap();
    assert_eq!([1, 2, 3, 4].map(home), [world.partition("blue"); 4]);
    assert_eq!(world.rows().await.len(), 4);
}

#[tokio::test]
async fn where_the_server_makes_keys_a_changed_row_gets_a_new_one() {
    let fields = vec![
        auto(field("id", DataType::Int64)),
        field("n", DataType::Int64),
        nullable(text("s")),
    ];
    let world = world(Setup::of(schema(fields, false))).await;
    let first = world
        .insert(inserting(
            2,
            vec![longs("n", [1, 2]), texts("s", &["a", "b"])],
        ))
        .await
        .unwrap();
    let old = ids(&first)[0].as_i64().unwrap();
    let answer = world
        .upsert(changing(1, vec![longs("id", [old]), texts("s", &["c"])]))
        .await
        .unwrap();
    let new = ids(&answer)[0].as_i64().unwrap();
    assert_ne!(new, old);
    assert_eq!((answer.upsert_cnt, answer.delete_cnt), (1, 1));
    let rows = world.rows().await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1], json!({"id": new, "n": 1, "s": "c"}));
}

#[tokio::test]
async fn a_partial_upsert_needs_all_rows_loaded() {
    let request = || changing(1, vec![longs("id", [1]), longs("n", [1])]);
    let none = world(Setup {
        loaded: None,
        ..Setup::of(plain())
    })
    .await;
    assert_eq!(
        none.upsert(request()).await.unwrap_err().code,
        Code::CollectionNotLoaded
    );
    let some = Setup {
        partitions: vec!["_default", "red"],
        loaded: Some(vec!["_default"]),
        ..Setup::of(plain())
    };
    let some = world(some).await;
    assert_eq!(
        some.upsert(request()).await.unwrap_err().code,
        Code::PartitionNotLoaded
    );
    assert!(none.requests().is_empty() && some.requests().is_empty());
}
