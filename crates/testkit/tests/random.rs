//! Random histories against an exact model: what query, count and exact search show at any stamp.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use holdfast_node_api::{StreamNode, read::Guarantee};
use holdfast_storage::testing::Fault;
use holdfast_testkit::{Change, Model, Rig, Settings};
use holdfast_types::{Code, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<i64>),
    Upsert(Vec<i64>),
    Delete(Vec<i64>),
    Truncate,
    Flush,
    FlushWithFault(usize, bool),
    FlushWithLostAnswer,
    Compact(bool),
    BuildIndexes,
    Crash,
    ReadStrong,
    ReadAt(prop::sample::Index),
    Pause,
}

fn keys() -> impl Strategy<Value = Vec<i64>> {
    vec(0..24_i64, 1..8)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => keys().prop_map(Op::Insert),
        3 => keys().prop_map(Op::Upsert),
        4 => keys().prop_map(Op::Delete),
        1 => Just(Op::Truncate),
        4 => Just(Op::Flush),
        1 => (0..8_usize, any::<bool>()).prop_map(|(at, full)| Op::FlushWithFault(at, full)),
        1 => Just(Op::FlushWithLostAnswer),
        2 => any::<bool>().prop_map(Op::Compact),
        1 => Just(Op::BuildIndexes),
        2 => Just(Op::Crash),
        3 => Just(Op::ReadStrong),
        4 => any::<prop::sample::Index>().prop_map(Op::ReadAt),
        1 => Just(Op::Pause),
    ]
}

async fn run(settings: Settings, ops: &[Op]) {
    let partitions = settings.partitions;
    let mut rig = Rig::new(settings).await;
    let mut model = Model::default();
    // Rows deleted at or before this may have been merged away.
    let mut merged_away = Timestamp::ZERO;
    for (number, op) in (1..).zip(ops) {
        match op {
            Op::Insert(keys) | Op::Upsert(keys) => {
                let rows: Vec<(i64, i64)> = keys.iter().map(|key| (*key, number)).collect();
                let ts = rig
                    .put(&rows, partitions, matches!(op, Op::Upsert(_)))
                    .await
                    .unwrap();
                model.note(ts, Change::Put(rows));
            }
            Op::Delete(keys) => model.note(
                rig.delete(keys).await.unwrap(),
                Change::Delete(keys.clone()),
            ),
            Op::Truncate => model.note(
                rig.streams.truncate(rig.collection).await.unwrap(),
                Change::Truncate,
            ),
            Op::Flush => rig.flush().await.unwrap(),
            Op::FlushWithFault(at, full) => {
                let fault = if *full {
                    Fault::Full
                } else {
                    Fault::AnswerLost
                };
                rig.faulty
                    .fail_puts((0..*at).map(|_| None).chain([Some(fault)]));
                drop(rig.flush().await);
                // Whatever is left of it must not hit another step.
                rig.crash().await;
            }
            Op::FlushWithLostAnswer => {
                rig.meta.lose_commits(1);
                drop(rig.flush().await);
                rig.meta.lose_commits(0);
            }
            Op::Compact(drop_deleted) => {
                if *drop_deleted {
                    merged_away =
                        merged_away.max(model.stamps().last().copied().unwrap_or_default());
                }
                rig.compact(if *drop_deleted {
                    merged_away
                } else {
                    Timestamp::ZERO
                })
                .await
                .unwrap();
            }
            Op::BuildIndexes => rig.build_indexes().await.unwrap(),
            Op::Crash => rig.crash().await,
            Op::ReadStrong => {}
            Op::ReadAt(index) => {
                let stamps: Vec<_> = model
                    .stamps()
                    .into_iter()
                    .filter(|ts| *ts >= merged_away)
                    .collect();
                if !stamps.is_empty() {
                    let at = *index.get(&stamps);
                    match rig.read(Guarantee::Exactly(at)).await {
                        Ok(seen) => {
                            assert_eq!(seen.agreed().1, model.at(at), "step {number}, at {at}");
                        }
                        Err(failure) => {
                            assert_eq!(failure.code, Code::Conflict, "{failure}");
                            assert!(at < model.truncated(), "step {number}: {failure}");
                        }
                    }
                }
            }
            Op::Pause => tokio::time::sleep(Duration::from_millis(130)).await,
        }
        let (ts, rows) = rig.strong().await;
        assert_eq!(rows, model.at(ts), "step {number} {op:?}, at {ts}");
    }
    rig.stop().await;
}

fn histories(seed: u8, cases: u32, settings: &Settings) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let result = runner.run(&vec(op(), 1..40), |ops| {
        runtime.block_on(run(settings.clone(), &ops));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "longer runs by hand; a test has no configuration"
)]
fn cases() -> u32 {
    std::env::var("HOLDFAST_HISTORIES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8)
}

#[test]
fn random_histories_of_one_shard_are_exact() {
    histories(1, cases(), &Settings::default());
}

#[test]
fn random_histories_of_shards_and_partitions_with_text_keys_are_exact() {
    histories(
        2,
        cases(),
        &Settings {
            shards: 2,
            partitions: 2,
            text_keys: true,
            ..Settings::default()
        },
    );
}
