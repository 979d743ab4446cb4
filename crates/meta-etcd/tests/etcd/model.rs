//! Random transactions of several clients under faults, judged by their revisions.
//!
//! Every value is unique, so what the store did can be read from its history: each transaction that was
//! acknowledged is there at its revision, whole; each that failed or was refused is not; each compare held just
//! before. With that, and with no answer older than one that came before it, the history is linearizable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use holdfast_meta::{Changes, MetaError, MetaStore, Txn, TxnOutcome, contract::put};
use holdfast_meta_etcd::{
    EtcdStore,
    testing::{EtcdCluster, wait_for},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const SEED: u64 = 20_261_125;
const CLIENTS: u64 = 4;
const KEYS: u64 = 5;
const FAULTS: usize = 5;

/// A transaction: it changes keys that it has read, if they are as they were.
#[derive(Debug)]
struct Attempt {
    /// The keys with the revisions they were read at, 0 for absent.
    reads: Vec<(String, u64)>,
    /// The keys with their new values; none for a delete.
    changes: BTreeMap<String, Option<Bytes>>,
    /// The highest revision that anybody had been told of before this began.
    after: u64,
    outcome: Outcome,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Done(u64),
    NotDone,
    Unknown,
}

/// A read, judged later.
#[derive(Debug)]
struct Read {
    key: String,
    revision: u64,
    after: u64,
}

#[derive(Default)]
struct Seen {
    attempts: Vec<Attempt>,
    reads: Vec<Read>,
}

struct Run {
    stop: AtomicBool,
    /// Highest revision told to anybody.
    told: AtomicU64,
    done: AtomicU64,
    seen: Mutex<Seen>,
}

pub(crate) async fn random_transactions_under_faults() {
    let mut cluster = EtcdCluster::start(3).await;
    let own = || async { EtcdStore::connect(cluster.options("model")).await.unwrap() };
    let observer = own().await;
    let start = observer.range("").await.unwrap().revision;
    let run = Arc::new(Run {
        stop: AtomicBool::new(false),
        told: AtomicU64::new(start),
        done: AtomicU64::new(0),
        seen: Mutex::default(),
    });
    let mut watch = observer.watch("", start).await.unwrap();
    let history = tokio::spawn(async move {
        let mut history: Vec<Changes> = Vec::new();
        while let Some(changes) = watch.next().await {
            let changes = changes.unwrap();
            if changes.events[0].key == "end" {
                return history;
            }
            history.push(changes);
        }
        panic!("the watch ended");
    });
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(tokio::spawn(client(own().await, number, Arc::clone(&run))));
    }
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..FAULTS {
        goes_on(&run).await;
        let leader = cluster.leader().await;
        let victim = if random.random_bool(0.7) {
            leader
        } else {
            (leader + 1) % 3
        };
        match random.random_range(0..3) {
            0 => {
                cluster.kill(victim);
                goes_on(&run).await;
                cluster.restart(victim).await;
            }
            1 => {
                cluster.pause(victim);
                goes_on(&run).await;
                cluster.resume(victim);
            }
            _ => cluster.restart_all().await,
        }
    }
    goes_on(&run).await;
    run.stop.store(true, Ordering::SeqCst);
    for client in join_all(clients).await {
        client.unwrap();
    }
    wait_for("the end", || async { put(&observer, "end", "").await.ok() }).await;
    let history = history.await.unwrap();
    let stored = observer.range("k/").await.unwrap().items;
    let stored = stored
        .into_iter()
        .map(|v| (v.key, v.mod_revision))
        .collect();
    let seen = std::mem::take(&mut *run.seen.lock().unwrap());
    judge(&seen, &history, &stored);
}

async fn goes_on(run: &Run) {
    let enough = run.done.load(Ordering::SeqCst) + 60;
    wait_for("transactions to go on", || async {
        (run.done.load(Ordering::SeqCst) >= enough).then_some(())
    })
    .await;
}

async fn client(store: EtcdStore, number: u64, run: Arc<Run>) {
    let mut random = StdRng::seed_from_u64(SEED ^ number);
    let mut sent = 0;
    while !run.stop.load(Ordering::SeqCst) {
        let mut reads = Vec::new();
        let mut txn = Txn::new();
        let mut changes = BTreeMap::new();
        let touched: BTreeSet<u64> = (0..random.random_range(1..=2))
            .map(|_| random.random_range(0..KEYS))
            .collect();
        let mut failed = false;
        for key in touched {
            let key = format!("k/{key}");
            let after = run.told.load(Ordering::SeqCst);
            let Ok(read) = store.get(&key).await else {
                failed = true;
                break;
            };
            let revision = read.as_ref().map_or(0, |v| v.mod_revision);
            run.told.fetch_max(revision, Ordering::SeqCst);
            run.seen.lock().unwrap().reads.push(Read {
                key: key.clone(),
                revision,
                after,
            });
            txn = txn.expect_read(&key, read.as_ref());
            if read.is_some() && random.random_bool(0.2) {
                txn = txn.delete(&key);
                changes.insert(key.clone(), None);
            } else {
                sent += 1;
                let value = Bytes::from(format!("{number}-{sent}"));
                txn = txn.put(&key, value.clone());
                changes.insert(key.clone(), Some(value));
            }
            reads.push((key, revision));
        }
        if failed {
            continue;
        }
        let after = run.told.load(Ordering::SeqCst);
        let outcome = match store.txn(txn).await {
            Ok(TxnOutcome::Done { revision }) => {
                run.told.fetch_max(revision, Ordering::SeqCst);
                run.done.fetch_add(1, Ordering::SeqCst);
                Outcome::Done(revision)
            }
            Ok(TxnOutcome::Failed) | Err(MetaError::OutOfReach { .. }) => Outcome::NotDone,
            Err(MetaError::OutcomeUnknown { .. }) => Outcome::Unknown,
            Err(other) => panic!("{other}"),
        };
        run.seen.lock().unwrap().attempts.push(Attempt {
            reads,
            changes,
            after,
            outcome,
        });
    }
}

fn judge(seen: &Seen, history: &[Changes], stored: &BTreeMap<String, u64>) {
    assert!(
        history.windows(2).all(|w| w[0].revision < w[1].revision),
        "told twice, or out of order"
    );
    let mut done: BTreeMap<u64, &Attempt> = BTreeMap::new();
    for attempt in &seen.attempts {
        if let Outcome::Done(revision) = attempt.outcome {
            assert!(
                revision > attempt.after,
                "older than what was known: {attempt:?}"
            );
            assert!(done.insert(revision, attempt).is_none(), "{revision} twice");
        }
    }
    // Revision of each key now, and every revision it ever had, by the history told.
    let mut now: BTreeMap<String, u64> = BTreeMap::new();
    let mut versions: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut resolved = BTreeSet::new();
    for changes in history {
        let told: BTreeMap<String, Option<Bytes>> = changes
            .events
            .iter()
            .map(|e| (e.key.clone(), e.value.clone()))
            .collect();
        let attempt = done.remove(&changes.revision).unwrap_or_else(|| {
            let unknown = seen.attempts.iter().enumerate().find(|(at, a)| {
                a.outcome == Outcome::Unknown
                    && a.changes == told
                    && !resolved.contains(at)
                    && holds(a, &now)
            });
            let (at, attempt) = unknown.unwrap_or_else(|| panic!("nobody did {changes:?}"));
            resolved.insert(at);
            attempt
        });
        assert_eq!(attempt.changes, told, "at {}", changes.revision);
        assert!(holds(attempt, &now), "{attempt:?} though {now:?}");
        for (key, value) in told {
            let revision = if value.is_some() { changes.revision } else { 0 };
            versions
                .entry(key.clone())
                .or_default()
                .push((changes.revision, revision));
            if value.is_some() {
                now.insert(key, revision);
            } else {
                now.remove(&key);
            }
        }
    }
    assert!(done.is_empty(), "acknowledged and not told: {done:?}");
    assert_eq!(&now, stored, "what was told and what is stored");
    for read in &seen.reads {
        judge_read(read, versions.get(&read.key).map_or(&[], Vec::as_slice));
    }
    let count =
        |wanted: fn(&Outcome) -> bool| seen.attempts.iter().filter(|a| wanted(&a.outcome)).count();
    println!(
        "{} transactions done, {} not, {} unknown of which {} happened; {} reads",
        count(|o| matches!(o, Outcome::Done(_))),
        count(|o| *o == Outcome::NotDone),
        count(|o| *o == Outcome::Unknown),
        resolved.len(),
        seen.reads.len()
    );
}

/// Whether what the attempt read was still so.
fn holds(attempt: &Attempt, now: &BTreeMap<String, u64>) -> bool {
    let current = |key| now.get(key).copied().unwrap_or(0);
    attempt
        .reads
        .iter()
        .all(|(key, read)| current(key) == *read)
}

/// A read shows a state of its key that was current at `after` or later. `versions` are (when, what).
fn judge_read(read: &Read, versions: &[(u64, u64)]) {
    let since = versions.partition_point(|(when, _)| *when <= read.after);
    let current = since.checked_sub(1).map_or(0, |at| versions[at].1);
    let fine =
        read.revision == current || versions[since..].iter().any(|(_, r)| *r == read.revision);
    assert!(fine, "stale: {read:?} of {versions:?}");
}
