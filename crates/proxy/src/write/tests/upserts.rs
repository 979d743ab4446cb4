//! Upserts of whole rows.

use holdfast_proto::milvus::milvus;
use holdfast_types::{ChannelId, Code, DataType, Pk, PkList};
use serde_json::json;

use super::{
    node::{Setup, world},
    wire::*,
};

#[tokio::test]
async fn an_upsert_replaces_and_inserts() {
    let world = world(Setup {
        shards: vec![ChannelId(0); 3],
        ..Setup::of(plain())
    })
    .await;
    world
        .insert(inserting(3, vec![longs("id", 1..4), longs("n", 1..4)]))
        .await
        .unwrap();
    let answer = world
        .upsert(upserting(
            2,
            vec![longs("id", [3, 9]), longs("n", [-3, -9])],
        ))
        .await
        .unwrap();
    assert_eq!(ids(&answer), [3, 9]);
    assert_eq!(
        (answer.insert_cnt, answer.upsert_cnt, answer.delete_cnt),
        (0, 2, 2)
    );
    assert_eq!(answer.succ_index, [0, 1]);
    assert_eq!(answer.timestamp, 2 << 18);
    let expect = [
        json!({"id": 1, "n": 1}),
        json!({"id": 2, "n": 2}),
        json!({"id": 3, "n": -3}),
        json!({"id": 9, "n": -9}),
    ];
    assert_eq!(world.rows().await, expect);
    let request = &world.requests()[1];
    assert_eq!(request.unchanged_since, None);
    assert!(
        request.parts.iter().all(|part| part.deletes.is_none()),
        "the newest row of a key is the row"
    );
}

#[tokio::test]
async fn where_the_server_makes_keys_the_old_row_dies_and_the_new_one_has_a_new_key() {
    for shards in [1, 3] {
        let schema = schema(
            vec![
                auto(field("id", DataType::Int64)),
                field("n", DataType::Int64),
            ],
            false,
        );
        let world = world(Setup {
            shards: vec![ChannelId(0); shards],
            ..Setup::of(schema)
        })
        .await;
        let first = world
            .insert(inserting(3, vec![longs("n", 1..4)]))
            .await
            .unwrap();
        let old: Vec<i64> = ids(&first).iter().map(|id| id.as_i64().unwrap()).collect();
        let answer = world
            .upsert(upserting(
                2,
                vec![longs("id", [old[1], 77]), longs("n", [20, 70])],
            ))
            .await
            .unwrap();
        let new = ids(&answer);
        assert_eq!((new.len(), answer.upsert_cnt, answer.delete_cnt), (2, 2, 2));
        assert!(new.iter().all(|id| *id != old[1] && *id != 77));
        let mut seen: Vec<i64> = world
            .rows()
            .await
            .iter()
            .map(|row| row["n"].as_i64().unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 3, 20, 70]);
        assert_eq!(world.requests().len(), 2, "deletes and rows are one event");
        let deletes: usize = world.requests()[1]
            .parts
            .iter()
            .filter_map(|p| p.deletes.as_ref())
            .map(PkList::len)
            .sum();
        assert_eq!(deletes, 2);
    }
}

#[tokio::test]
async fn an_upsert_into_another_partition_moves_the_row() {
    let world = world(Setup {
        partitions: vec!["_default", "blue"],
        ..Setup::of(plain())
    })
    .await;
    let one = || upserting(1, vec![longs("id", [1]), longs("n", [1])]);
    world.upsert(one()).await.unwrap();
    world
        .upsert(milvus::UpsertRequest {
            partition_name: "blue".into(),
            ..one()
        })
        .await
        .unwrap();
    assert_eq!(
        world.node.state().home(&Pk::Int(1)),
        Some(world.partition("blue"))
    );
    assert_eq!(world.rows().await.len(), 1);
}

#[tokio::test]
async fn what_is_no_single_event_is_refused() {
    let schema = schema(
        vec![
            auto(field("id", DataType::Int64)),
            field("n", DataType::Int64),
        ],
        false,
    );
    let channels = || vec![ChannelId(0), ChannelId(1)];
    let made = world(Setup {
        shards: channels(),
        ..Setup::of(schema)
    })
    .await;
    let request = upserting(1, vec![longs("id", [1]), longs("n", [1])]);
    assert_eq!(
        made.upsert(request).await.unwrap_err().code,
        Code::Unsupported
    );
    let given = world(Setup {
        shards: channels(),
        ..Setup::of(plain())
    })
    .await;
    let request = changing(1, vec![longs("id", [1]), longs("n", [1])]);
    assert_eq!(
        given.upsert(request).await.unwrap_err().code,
        Code::Unsupported
    );
    assert!(made.requests().is_empty() && given.requests().is_empty());
}

#[tokio::test]
async fn replacing_a_field_by_name_is_no_partial_upsert() {
    let world = world(Setup {
        loaded: None,
        ..Setup::of(plain())
    })
    .await;
    let request = upserting(1, vec![longs("id", [1]), longs("n", [1])]);
    world
        .upsert(milvus::UpsertRequest {
            field_ops: vec![op("n", 0)],
            ..request
        })
        .await
        .unwrap();
    assert_eq!(world.requests()[0].unchanged_since, None);
}
