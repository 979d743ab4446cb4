//! Deletes by key and by filter.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use holdfast_node_api::{read::Guarantee, write::WritePart};
use holdfast_proto::milvus::{
    milvus,
    schema::{
        LongArray, TemplateArrayValue, TemplateValue, template_array_value::Data,
        template_value::Val,
    },
};
use holdfast_types::{ChannelId, Code, Failure, PkList, columns};

use super::{
    node::{Next, Setup, World, world},
    wire::*,
};
use crate::{read::filter, write::delete::Search};

/// Rows 0 to 99, `n` ten times the key; on two shards.
async fn hundred(setup: Setup) -> World {
    let world = world(Setup {
        shards: vec![ChannelId(0); 2],
        ..setup
    })
    .await;
    world
        .insert(inserting(
            100,
            vec![longs("id", 0..100), longs("n", (0..100).map(|i| i * 10))],
        ))
        .await
        .unwrap();
    world
}

async fn left(world: &World) -> Vec<i64> {
    world
        .rows()
        .await
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect()
}

fn deleted(world: &World, request: usize) -> Vec<i64> {
    let mut all = Vec::new();
    for part in &world.requests()[request].parts {
        assert!(part.rows.is_none());
        match part.deletes.as_ref().unwrap() {
            PkList::Int(keys) => all.extend(keys),
            PkList::Str(keys) => panic!("{keys:?}"),
        }
    }
    all.sort_unstable();
    all
}

#[tokio::test]
async fn listed_keys_are_deleted_and_counted_there_or_not() {
    let world = hundred(Setup {
        loaded: None,
        ..Setup::of(plain())
    })
    .await;
    let answer = world.delete(deleting("id in [3, 5, 777]")).await.unwrap();
    assert_eq!(
        (answer.delete_cnt, answer.insert_cnt, answer.upsert_cnt),
        (3, 0, 0)
    );
    assert!(ids(&answer).is_empty() && answer.succ_index.is_empty());
    assert_eq!(answer.timestamp, 2 << 18);
    assert_eq!(
        world.delete(deleting("id == 7")).await.unwrap().delete_cnt,
        1
    );
    assert_eq!(
        (deleted(&world, 1), deleted(&world, 2)),
        (vec![3, 5, 777], vec![7])
    );
    assert_eq!(world.requests()[1].unchanged_since, None);
    assert!(world.node.state().points.is_empty(), "keys need no read");
}

#[tokio::test]
async fn template_values_are_filled_in() {
    let world = hundred(Setup::of(plain())).await;
    let list = TemplateArrayValue {
        data: Some(Data::LongData(LongArray { data: vec![1, 2] })),
    };
    let value = TemplateValue {
        val: Some(Val::ArrayVal(list)),
    };
    let request = milvus::DeleteRequest {
        expr_template_values: HashMap::from([("gone".to_owned(), value)]),
        ..deleting("id in {gone}")
    };
    assert_eq!(world.delete(request).await.unwrap().delete_cnt, 2);
    assert_eq!(deleted(&world, 1), [1, 2]);
}

#[tokio::test]
async fn a_filter_deletes_what_it_finds() {
    let world = hundred(Setup::of(plain())).await;
    let answer = world
        .delete(deleting("n >= 500 and id % 2 == 0"))
        .await
        .unwrap();
    assert_eq!(answer.delete_cnt, 25);
    assert_eq!(answer.timestamp, 2 << 18);
    assert_eq!(
        left(&world).await,
        (0..100)
            .filter(|i| *i < 50 || i % 2 == 1)
            .collect::<Vec<_>>()
    );
    let answer = world
        .delete(deleting("id in [1, 50, 51] and n < 515"))
        .await
        .unwrap();
    assert_eq!(
        answer.delete_cnt, 2,
        "of keys with a condition, those that are there and meet it"
    );
    assert_eq!(deleted(&world, 2), [1, 51]);
}

#[tokio::test]
async fn a_filter_that_nothing_passes_writes_nothing() {
    let world = hundred(Setup::of(plain())).await;
    for expr in ["n < 0", "id in []", "false", "id in [5] and n == 1"] {
        let answer = world.delete(deleting(expr)).await.unwrap();
        assert_eq!(
            (answer.delete_cnt, answer.timestamp),
            (0, 1 << 18),
            "{expr}"
        );
    }
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn many_rows_are_deleted_some_at_a_time() {
    let world = hundred(Setup::of(plain())).await;
    let filter = filter::parse("n >= 300", HashMap::new(), &world.meta.schema)
        .unwrap()
        .unwrap();
    let search = Search {
        proxy: &world.proxy,
        meta: &world.meta,
        partitions: None,
        filter,
        at_once: 20,
    };
    let (count, ts) = search.delete().await.unwrap();
    assert_eq!((count, ts.0), (70, 5 << 18));
    let requests: Vec<Vec<i64>> = (1..5).map(|i| deleted(&world, i)).collect();
    assert_eq!(requests.concat(), (30..100).collect::<Vec<_>>());
    assert_eq!(
        requests.iter().map(Vec::len).collect::<Vec<_>>(),
        [20, 20, 20, 10]
    );
    assert_eq!(left(&world).await, (0..30).collect::<Vec<_>>());
    let points = world.node.state().points.clone();
    assert_eq!(points[0], Guarantee::Strong);
    assert!(
        points[1..4]
            .iter()
            .all(|p| matches!(p, Guarantee::Exactly(ts) if ts.0 == 1 << 18)),
        "{points:?}"
    );
}

/// A write of another client: `n` of one row.
fn other(world: &World, id: i64, n: i64) -> Vec<WritePart> {
    let schema = columns::row_schema(&world.meta.schema);
    let column = |x: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![x])) };
    let rows = RecordBatch::try_new(schema, vec![column(id), column(n)]).unwrap();
    let shard = crate::write::placing::shard(&world.meta, &holdfast_types::Pk::Int(id));
    vec![WritePart {
        shard,
        partition: world.partition("_default"),
        rows: Some(rows),
        deletes: None,
    }]
}

#[tokio::test]
async fn a_row_that_stops_to_match_in_between_lives() {
    let world = hundred(Setup::of(plain())).await;
    world.script([
        Next::After(other(&world, 95, 1)),
        Next::After(other(&world, 97, 5_000)),
    ]);
    let answer = world.delete(deleting("n >= 900")).await.unwrap();
    assert_eq!(answer.delete_cnt, 9);
    let mut expect: Vec<i64> = (0..90).collect();
    expect.push(95);
    assert_eq!(
        left(&world).await,
        expect,
        "95 was changed away, 97 still matched"
    );
}

#[tokio::test]
async fn a_key_that_is_always_written_holds_up_only_itself() {
    let mut world = hundred(Setup::of(plain())).await;
    world.proxy.options.partial_upsert_tries_max = 12;
    world.script((0..60).map(|i| Next::After(other(&world, 99, 2_000 + i))));
    let failure = world.delete(deleting("n >= 900")).await.unwrap_err();
    assert_eq!(failure.code, Code::Conflict);
    assert!(
        failure.message.contains("rows are deleted already"),
        "{failure}"
    );
    let left = left(&world).await;
    assert!(left.contains(&99) && left.len() < 100, "{left:?}");
}

#[tokio::test]
async fn a_failure_tells_how_far_the_delete_has_come() {
    let world = hundred(Setup::of(plain())).await;
    world.script([
        Next::Store,
        Next::Refuse(Failure::new(Code::QuotaExceeded, "disk full")),
    ]);
    let filter = filter::parse("n >= 0", HashMap::new(), &world.meta.schema)
        .unwrap()
        .unwrap();
    let search = Search {
        proxy: &world.proxy,
        meta: &world.meta,
        partitions: None,
        filter,
        at_once: 40,
    };
    let failure = search.delete().await.unwrap_err();
    assert_eq!(failure.code, Code::QuotaExceeded);
    assert!(
        failure.message.starts_with("40 rows are deleted already"),
        "{failure}"
    );
    assert_eq!(left(&world).await.len(), 60);
}

#[tokio::test]
async fn a_named_partition_bounds_the_delete() {
    let setup = || Setup {
        partitions: vec!["_default", "red"],
        ..Setup::of(plain())
    };
    for expr in ["id in [1, 200]", "id == 200 or id == 1", "n >= 0"] {
        let world = hundred(setup()).await;
        let red = milvus::InsertRequest {
            partition_name: "red".into(),
            ..inserting(1, vec![longs("id", [200]), longs("n", [0])])
        };
        world.insert(red).await.unwrap();
        let request = milvus::DeleteRequest {
            partition_name: "red".into(),
            ..deleting(expr)
        };
        assert_eq!(world.delete(request).await.unwrap().delete_cnt, 1, "{expr}");
        assert_eq!(deleted(&world, 2), [200]);
        assert_eq!(left(&world).await.len(), 100);
    }
}

#[tokio::test]
async fn rows_can_be_found_only_where_they_are_loaded() {
    let named = |partition: &str, expr: &str| milvus::DeleteRequest {
        partition_name: partition.to_owned(),
        ..deleting(expr)
    };
    let none = hundred(Setup {
        loaded: None,
        ..Setup::of(plain())
    })
    .await;
    for request in [deleting("n > 1"), named("_default", "id in [1]")] {
        assert_eq!(
            none.delete(request).await.unwrap_err().code,
            Code::CollectionNotLoaded
        );
    }
    let setup = Setup {
        partitions: vec!["_default", "red"],
        loaded: Some(vec!["_default"]),
        ..Setup::of(plain())
    };
    let some = hundred(setup).await;
    for request in [deleting("n > 1"), named("red", "id in [1]")] {
        assert_eq!(
            some.delete(request).await.unwrap_err().code,
            Code::PartitionNotLoaded
        );
    }
    assert_eq!(
        some.delete(named("_default", "n >= 980"))
            .await
            .unwrap()
            .delete_cnt,
        2
    );
}

#[tokio::test]
async fn keys_on_several_channels_are_deleted_on_each() {
    let setup = Setup {
        shards: vec![ChannelId(0), ChannelId(1)],
        ..Setup::of(plain())
    };
    let world = world(setup).await;
    world
        .insert(inserting(40, vec![longs("id", 0..40), longs("n", 0..40)]))
        .await
        .unwrap();
    assert_eq!(
        world.delete(deleting("n < 30")).await.unwrap().delete_cnt,
        30
    );
    assert_eq!(left(&world).await, (30..40).collect::<Vec<_>>());
    assert_eq!(world.requests().len(), 4);
}
