//! What an insert stores, where, and what it answers.

use std::collections::HashSet;

use holdfast_proto::milvus::milvus;
use holdfast_types::{
    ChannelId, Code, DataType, Failure, FieldSchema, Pk, Timestamp, Value as Scalar,
};
use serde_json::json;

use super::{
    node::{Next, Setup, World, world},
    wire::*,
};

fn keyed() -> Setup {
    let region = FieldSchema {
        is_partition_key: true,
        ..text("region")
    };
    Setup {
        partitions: vec!["_default_0", "_default_1", "_default_2"],
        ..Setup::of(schema(
            vec![key(field("id", DataType::Int64)), region],
            false,
        ))
    }
}

/// What of each part is where: shard, partition name, keys.
fn placed(world: &World, request: usize) -> Vec<(u32, String, Vec<i64>)> {
    let int = |key: Pk| match key {
        Pk::Int(i) => i,
        Pk::Str(s) => panic!("{s}"),
    };
    world.requests()[request]
        .parts
        .iter()
        .map(|part| {
            let name = world
                .meta
                .partition_by_id(part.partition)
                .unwrap()
                .name
                .clone();
            (
                part.shard,
                name,
                keys_of(world, part).into_iter().map(int).collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_insert_is_one_write_and_answers_with_its_keys() {
    let world = world(Setup::of(plain())).await;
    let answer = world
        .insert(inserting(
            3,
            vec![longs("n", [1, 2, 3]), longs("id", [7, 8, 9])],
        ))
        .await
        .unwrap();
    assert_eq!(ids(&answer), [7, 8, 9]);
    assert_eq!(
        (answer.insert_cnt, answer.upsert_cnt, answer.delete_cnt),
        (3, 0, 0)
    );
    assert_eq!(answer.succ_index, [0, 1, 2]);
    assert!(answer.err_index.is_empty());
    assert_eq!(answer.timestamp, 1 << 18, "the stamp of the write");
    assert!(answer.status.unwrap().extra_info.is_empty());
    let requests = world.requests();
    assert_eq!((requests.len(), requests[0].unchanged_since), (1, None));
    assert_eq!(
        placed(&world, 0),
        [(0, "_default".to_owned(), vec![7, 8, 9])]
    );
    assert_eq!(
        world.rows().await,
        [
            json!({"id": 7, "n": 1}),
            json!({"id": 8, "n": 2}),
            json!({"id": 9, "n": 3})
        ]
    );
}

#[tokio::test]
async fn rows_go_to_the_shards_of_their_keys_for_ever() {
    let world = world(Setup {
        shards: vec![ChannelId(4); 4],
        ..Setup::of(plain())
    })
    .await;
    world
        .insert(inserting(12, vec![longs("id", 0..12), longs("n", 0..12)]))
        .await
        .unwrap();
    // Fixed: rows that are stored were placed by the same hash.
    let expect =
        SHARDS_OF_FIRST_KEYS.map(|(shard, keys)| (shard, "_default".to_owned(), keys.to_vec()));
    assert_eq!(
        world.requests().len(),
        1,
        "shards of one channel share a write"
    );
    assert_eq!(placed(&world, 0), expect);
}

#[tokio::test]
async fn a_named_partition_takes_the_rows() {
    let world = world(Setup {
        partitions: vec!["_default", "red"],
        ..Setup::of(plain())
    })
    .await;
    let request = milvus::InsertRequest {
        partition_name: "red".into(),
        ..inserting(1, vec![longs("id", [1]), longs("n", [1])])
    };
    world.insert(request).await.unwrap();
    assert_eq!(placed(&world, 0), [(0, "red".to_owned(), vec![1])]);
}

#[tokio::test]
async fn the_partition_key_chooses_the_partition_for_ever() {
    let world = world(keyed()).await;
    let regions = ["a", "b", "c", "d", "a", "e", "f", "b"];
    world
        .insert(inserting(
            8,
            vec![longs("id", 0..8), texts("region", &regions)],
        ))
        .await
        .unwrap();
    let placed = placed(&world, 0);
    let home = |key: i64| {
        placed
            .iter()
            .find(|(.., keys)| keys.contains(&key))
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(home(0), home(4));
    assert_eq!(home(1), home(7));
    let expect = PARTITIONS_OF_REGIONS.map(|(name, keys)| (0, name.to_owned(), keys.to_vec()));
    assert_eq!(placed, expect);
}

#[tokio::test]
async fn of_rows_with_one_key_the_last_is_stored_in_whatever_partition() {
    let world = world(keyed()).await;
    let regions = ["a", "b", "c", "d", "e", "f", "g"];
    world
        .insert(inserting(
            7,
            vec![longs("id", [5; 7]), texts("region", &regions)],
        ))
        .await
        .unwrap();
    assert_eq!(world.rows().await, [json!({"id": 5, "region": "g"})]);
    let single = super::node::world(Setup {
        shards: vec![ChannelId(0); 2],
        ..Setup::of(plain())
    })
    .await;
    single
        .insert(inserting(
            3,
            vec![longs("id", [5, 6, 5]), longs("n", [1, 2, 3])],
        ))
        .await
        .unwrap();
    assert_eq!(
        single.rows().await,
        [json!({"id": 5, "n": 3}), json!({"id": 6, "n": 2})]
    );
}

#[tokio::test]
async fn several_channels_get_a_write_each_and_the_last_stamp_is_answered() {
    let world = world(Setup {
        shards: vec![ChannelId(0), ChannelId(1)],
        ..Setup::of(plain())
    })
    .await;
    let answer = world
        .insert(inserting(20, vec![longs("id", 0..20), longs("n", 0..20)]))
        .await
        .unwrap();
    assert_eq!(world.requests().len(), 2);
    assert_eq!(answer.timestamp, 2 << 18);
    assert_eq!(world.rows().await.len(), 20);
}

#[tokio::test]
async fn an_insert_that_one_of_two_channels_refuses_has_no_known_outcome() {
    let world = world(Setup {
        shards: vec![ChannelId(0), ChannelId(1)],
        ..Setup::of(plain())
    })
    .await;
    let full = || Next::Refuse(Failure::new(Code::QuotaExceeded, "disk full"));
    let request = || inserting(20, vec![longs("id", 0..20), longs("n", 0..20)]);
    world.script([Next::Store, full()]);
    let failure = world.insert(request()).await.unwrap_err();
    assert_eq!(failure.code, Code::OutcomeUnknown);
    assert!(failure.message.contains("disk full"), "{failure}");
    world.script([full(), full()]);
    assert_eq!(
        world.insert(request()).await.unwrap_err().code,
        Code::QuotaExceeded,
        "nothing is stored"
    );
}

#[tokio::test]
async fn what_the_node_says_is_passed_on_and_nothing_is_sent_twice() {
    for code in [
        Code::QuotaExceeded,
        Code::OutcomeUnknown,
        Code::Unavailable,
        Code::NotLeader,
        Code::Conflict,
    ] {
        let world = world(Setup::of(plain())).await;
        world.script([Next::Refuse(Failure::new(code, "so it is"))]);
        let failure = world
            .insert(inserting(1, vec![longs("id", [1]), longs("n", [1])]))
            .await
            .unwrap_err();
        assert_eq!(failure, Failure::new(code, "so it is"));
        assert_eq!(world.requests().len(), 1);
    }
}

#[tokio::test]
async fn fields_left_out_get_their_default_or_null() {
    let world = world(Setup::of(rich())).await;
    world
        .insert(inserting(
            2,
            vec![longs("id", [1, 2]), vectors("v", &[[1., 0.], [2., 0.]])],
        ))
        .await
        .unwrap();
    let row = |id: i64, x: f32| json!({"id": id, "v": [x, 0.0], "n": null, "s": "plain", "tags": null, "$meta": {}});
    assert_eq!(world.rows().await, [row(1, 1.), row(2, 2.)]);
}

#[tokio::test]
async fn values_may_be_missing_row_by_row() {
    let world = world(Setup::of(rich())).await;
    let data = vec![
        longs("id", [1, 2]),
        vectors("v", &[[1., 0.], [2., 0.]]),
        valid(longs("n", [7]), &[false, true]),
        valid(texts("s", &["own"]), &[true, false]),
        valid(long_lists("tags", &[&[4, 5]]), &[true, false]),
        dynamic(&[r#"{"extra": 1}"#, "{}"]),
    ];
    world.insert(inserting(2, data)).await.unwrap();
    let expect = [
        json!({"id": 1, "v": [1.0, 0.0], "n": null, "s": "own", "tags": [4, 5], "$meta": {"extra": 1}}),
        json!({"id": 2, "v": [2.0, 0.0], "n": 7, "s": "plain", "tags": null, "$meta": {}}),
    ];
    assert_eq!(world.rows().await, expect);
    let sent = world.requests()[0].parts[0].rows.clone().unwrap();
    assert_eq!(
        rows_of(&world.meta.schema, &sent),
        expect,
        "columns are sent in the order of the schema"
    );
}

#[tokio::test]
async fn keys_that_the_server_makes_are_new_each_time() {
    for primary in [auto(field("id", DataType::Int64)), auto(text("id"))] {
        let is_text = primary.data_type == DataType::VarChar;
        let world = world(Setup::of(schema(
            vec![primary, field("n", DataType::Int64)],
            false,
        )))
        .await;
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let answer = world
                .insert(inserting(4, vec![longs("n", 0..4)]))
                .await
                .unwrap();
            for id in ids(&answer) {
                assert_eq!(id.is_string(), is_text);
                let number: i64 = id
                    .as_str()
                    .map_or_else(|| id.as_i64().unwrap(), |s| s.parse().unwrap());
                assert!(number > 0);
                assert!(seen.insert(number), "{number} twice");
            }
        }
        assert_eq!(world.rows().await.len(), 12);
    }
}

#[tokio::test]
async fn given_keys_are_kept_where_the_collection_allows_them() {
    let with_property = |value: &'static str| Setup {
        properties: vec![("allow_insert_auto_id", value)],
        ..Setup::of(schema(
            vec![
                auto(field("id", DataType::Int64)),
                field("n", DataType::Int64),
            ],
            false,
        ))
    };
    let given = || inserting(1, vec![longs("id", [42]), longs("n", [1])]);
    let allowing = world(with_property("true")).await;
    assert_eq!(ids(&allowing.insert(given()).await.unwrap()), [42]);
    assert_ne!(
        ids(&allowing
            .insert(inserting(1, vec![longs("n", [1])]))
            .await
            .unwrap()),
        [42]
    );
    let refusing = world(with_property("false")).await;
    assert_eq!(
        refusing.insert(given()).await.unwrap_err().code,
        Code::InvalidArgument
    );
    assert!(refusing.requests().is_empty());
}

#[tokio::test]
async fn the_schema_of_the_client_has_to_be_the_newest() {
    let world = world(Setup::of(plain())).await;
    let at = |schema_timestamp| milvus::InsertRequest {
        schema_timestamp,
        ..inserting(1, vec![longs("id", [1]), longs("n", [1])])
    };
    let Timestamp(updated) = world.meta.updated;
    world.insert(at(updated)).await.unwrap();
    world.insert(at(0)).await.unwrap();
    let failure = world.insert(at(updated + 1)).await.unwrap_err();
    assert_eq!(failure.code, Code::SchemaMismatch);
    assert_eq!(world.requests().len(), 2);
}

#[tokio::test]
async fn an_insert_needs_no_loaded_collection() {
    let world = world(Setup {
        loaded: None,
        ..Setup::of(plain())
    })
    .await;
    world
        .insert(inserting(1, vec![longs("id", [1]), longs("n", [1])]))
        .await
        .unwrap();
    world
        .upsert(upserting(1, vec![longs("id", [1]), longs("n", [2])]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_cannot_ask_for_more_memory_than_rows_may_take() {
    let mut fields = vec![key(field("id", DataType::Int64))];
    let text = Scalar::Str("x".repeat(60_000));
    for i in 0..40 {
        fields.push(with_default(
            FieldSchema {
                max_length: Some(60_000),
                ..super::wire::text(&format!("s{i}"))
            },
            text.clone(),
        ));
    }
    let world = world(Setup::of(schema(fields, false))).await;
    let failure = world
        .insert(inserting(4_000, vec![longs("id", 0..4_000)]))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert!(failure.message.contains("send fewer rows"), "{failure}");
}

const SHARDS_OF_FIRST_KEYS: [(u32, &[i64]); 0] = [];
const PARTITIONS_OF_REGIONS: [(&str, &[i64]); 0] = [];
