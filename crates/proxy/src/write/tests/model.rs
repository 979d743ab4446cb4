//! Random writes against a map: one row a key, whatever its shard and partition.

use std::collections::BTreeMap;

use holdfast_proto::milvus::milvus;
use holdfast_types::ChannelId;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::{
    node::{Setup, World, world},
    wire::*,
};

const PARTITIONS: [&str; 3] = ["", "red", "blue"];

/// A write of a client; keys are few, so that they meet.
#[derive(Clone, Debug)]
enum Write {
    Insert {
        partition: usize,
        rows: Vec<(i64, i64)>,
    },
    Upsert {
        partition: usize,
        rows: BTreeMap<i64, i64>,
    },
    SetN {
        rows: BTreeMap<i64, i64>,
    },
    SetKey {
        rows: BTreeMap<i64, i64>,
    },
    Append {
        rows: BTreeMap<i64, i64>,
    },
    Delete {
        keys: Vec<i64>,
    },
    DeleteBelow {
        n: i64,
        partition: usize,
    },
}

fn write() -> impl Strategy<Value = Write> {
    let key = 0..12_i64;
    let partition = 0..PARTITIONS.len();
    let some = || prop::collection::btree_map(0..12_i64, 0..100_i64, 1..5);
    prop_oneof![
        (partition.clone(), vec((key.clone(), 0..100_i64), 1..6))
            .prop_map(|(partition, rows)| Write::Insert { partition, rows }),
        (partition.clone(), some()).prop_map(|(partition, rows)| Write::Upsert { partition, rows }),
        some().prop_map(|rows| Write::SetN { rows }),
        some().prop_map(|rows| Write::SetKey { rows }),
        some().prop_map(|rows| Write::Append { rows }),
        vec(key, 1..4).prop_map(|keys| Write::Delete { keys }),
        (0..40_i64, partition).prop_map(|(n, partition)| Write::DeleteBelow { n, partition }),
    ]
}

#[derive(Clone, Debug)]
struct Row {
    partition: usize,
    n: i64,
    tags: Value,
    meta: Value,
}

fn fresh(partition: usize, n: i64) -> Row {
    Row {
        partition,
        n,
        tags: Value::Null,
        meta: json!({}),
    }
}

fn whole(rows: impl Iterator<Item = (i64, i64)>) -> Vec<holdfast_proto::milvus::schema::FieldData> {
    let rows: Vec<(i64, i64)> = rows.collect();
    vec![
        longs("id", rows.iter().map(|r| r.0)),
        longs("n", rows.iter().map(|r| r.1)),
        vectors("v", &vec![[0., 0.]; rows.len()]),
    ]
}

/// Does the write and says what it makes of the model.
async fn apply(world: &World, model: &mut BTreeMap<i64, Row>, write: &Write) {
    // The unnamed partition is where rows without one go.
    match write {
        Write::Insert { partition, rows } => {
            let request = inserting(rows.len() as u32, whole(rows.iter().copied()));
            let partition_name = PARTITIONS[*partition].to_owned();
            world
                .insert(milvus::InsertRequest {
                    partition_name,
                    ..request
                })
                .await
                .unwrap();
            model.extend(rows.iter().map(|(key, n)| (*key, fresh(*partition, *n))));
        }
        Write::Upsert { partition, rows } => {
            let request = upserting(rows.len() as u32, whole(rows.iter().map(|(k, n)| (*k, *n))));
            let partition_name = PARTITIONS[*partition].to_owned();
            world
                .upsert(milvus::UpsertRequest {
                    partition_name,
                    ..request
                })
                .await
                .unwrap();
            model.extend(rows.iter().map(|(key, n)| (*key, fresh(*partition, *n))));
        }
        Write::SetN { rows } => {
            let request = changing(
                rows.len() as u32,
                whole(rows.iter().rev().map(|(k, n)| (*k, *n))),
            );
            world.upsert(request).await.unwrap();
            for (key, n) in rows {
                model.entry(*key).or_insert_with(|| fresh(0, *n)).n = *n;
            }
        }
        Write::SetKey { rows } => {
            let objects: Vec<String> = rows
                .values()
                .map(|n| format!(r#"{{"k{}": {n}}}"#, n % 3))
                .collect();
            let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
            let request = changing(
                rows.len() as u32,
                vec![longs("id", rows.keys().copied()), dynamic(&objects)],
            );
            let all_known = rows.keys().all(|key| model.contains_key(key));
            assert_eq!(
                world.upsert(request).await.is_ok(),
                all_known,
                "new rows need a vector"
            );
            if all_known {
                for (key, n) in rows {
                    model.get_mut(key).unwrap().meta[format!("k{}", n % 3)] = json!(n);
                }
            }
        }
        Write::Append { rows } => {
            let lists: Vec<[i64; 1]> = rows.values().map(|n| [*n]).collect();
            let lists: Vec<&[i64]> = lists.iter().map(<[i64; 1]>::as_slice).collect();
            let data = vec![
                longs("id", rows.keys().copied()),
                long_lists("tags", &lists),
            ];
            let request = milvus::UpsertRequest {
                field_ops: vec![op("tags", APPEND)],
                ..upserting(rows.len() as u32, data)
            };
            let fits = |key: &i64| {
                model
                    .get(key)
                    .is_some_and(|row| row.tags.as_array().is_none_or(|t| t.len() < 6))
            };
            let all_fit = rows.keys().all(fits);
            assert_eq!(world.upsert(request).await.is_ok(), all_fit);
            if all_fit {
                for (key, n) in rows {
                    let tags = &mut model.get_mut(key).unwrap().tags;
                    let mut list = tags.as_array().cloned().unwrap_or_default();
                    list.push(json!(n));
                    *tags = Value::Array(list);
                }
            }
        }
        Write::Delete { keys } => {
            world
                .delete(deleting(&format!("id in {keys:?}")))
                .await
                .unwrap();
            model.retain(|key, _| !keys.contains(key));
        }
        Write::DeleteBelow { n, partition } => {
            let partition_name = PARTITIONS[*partition].to_owned();
            let request = milvus::DeleteRequest {
                partition_name,
                ..deleting(&format!("n < {n}"))
            };
            let answer = world.delete(request).await.unwrap();
            let before = model.len();
            // No partition named is every partition.
            model.retain(|_, row| row.n >= *n || (*partition != 0 && row.partition != *partition));
            assert_eq!(answer.delete_cnt, (before - model.len()) as i64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: prop::test_runner::RngSeed::Fixed(0x0007_0011),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_writes_leave_what_a_map_would_hold(writes in vec(write(), 1..20), shards in 1..4_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fields = vec![
                key(field("id", holdfast_types::DataType::Int64)),
                nullable(field("n", holdfast_types::DataType::Int64)),
                field("v", holdfast_types::DataType::FloatVector),
                nullable(array("tags", holdfast_types::DataType::Int64)),
            ];
            let world = world(Setup {
                shards: vec![ChannelId(0); shards],
                partitions: vec!["_default", "red", "blue"],
                ..Setup::of(schema(fields, true))
            })
            .await;
            let mut model = BTreeMap::new();
            for write in &writes {
                apply(&world, &mut model, write).await;
                let expect: Vec<Value> = model
                    .iter()
                    .map(|(id, row)| json!({"id": id, "n": row.n, "v": [0.0, 0.0], "tags": row.tags, "$meta": row.meta}))
                    .collect();
                assert_eq!(world.rows().await, expect, "after {write:?}");
            }
        });
    }
}
