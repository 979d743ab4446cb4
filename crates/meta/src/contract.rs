//! The contract of a [`MetaStore`], as tests. Every implementation passes [`run`].
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "these are tests, compiled for the tests of other crates"
)]

mod sessions;

pub use sessions::run_sessions;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use holdfast_types::Epoch;

use crate::{
    Changes, Event, Expect, MetaError, MetaStore, Txn, TxnOutcome, WatchStream, claim_epoch,
    store::{MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPERATIONS, MAX_VALUE_BYTES},
};

type Store = Arc<dyn MetaStore>;

/// Runs every clause, each on a store that `open` has just made. Needs a tokio runtime with time.
pub async fn run<F: Future<Output = Store>>(open: impl Fn() -> F) {
    a_new_store_is_empty(open().await).await;
    what_was_put_is_read_back(open().await).await;
    compares_decide(open().await).await;
    a_failed_compare_changes_nothing(open().await).await;
    deleting_nothing_is_no_change(open().await).await;
    a_range_is_its_prefix_in_order(open().await).await;
    malformed_transactions_are_refused(open().await).await;
    a_watch_tells_whole_transactions_of_its_prefix(open().await).await;
    a_watch_from_the_past_replays(open().await).await;
    a_watch_from_the_future_waits(open().await).await;
    a_watch_ends_with_its_store(open().await).await;
    concurrent_increments_are_all_counted(open().await).await;
    a_watch_has_no_gaps_under_concurrent_writes(open().await).await;
    epochs_are_taken_once(open().await).await;
}

/// [`run`], and what only a store with a counter of its own can promise.
pub async fn run_embedded<F: Future<Output = Store>>(open: impl Fn() -> F) {
    run(&open).await;
    revisions_count_from_zero(open().await).await;
}

async fn revisions_count_from_zero(store: Store) {
    assert_eq!(store.range("").await.unwrap().revision, 0);
    for revision in 1..=3 {
        assert_eq!(put(&*store, "k", "v").await.unwrap(), revision);
    }
}

/// The outcome of something that must not take long; a hang becomes a failure.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what)
        .await
        .expect("took too long")
}

/// Puts one key.
///
/// # Errors
/// The store's.
pub async fn put(store: &dyn MetaStore, key: &str, value: &str) -> Result<u64, MetaError> {
    let txn = Txn::new().put(key, Bytes::from(value.to_owned()));
    Ok(done(store.txn(txn).await?))
}

/// The revision of a transaction that was done.
#[track_caller]
#[must_use]
pub fn done(outcome: TxnOutcome) -> u64 {
    match outcome {
        TxnOutcome::Done { revision } => revision,
        TxnOutcome::Failed => panic!("a compare failed"),
    }
}

async fn keys(store: &dyn MetaStore, prefix: &str) -> Vec<String> {
    let range = store.range(prefix).await.unwrap();
    range.items.into_iter().map(|v| v.key).collect()
}

async fn next(watch: &mut WatchStream) -> Changes {
    soon(watch.next()).await.expect("ended").unwrap()
}

fn put_event(key: &str, value: &str) -> Event {
    Event {
        key: key.to_owned(),
        value: Some(Bytes::from(value.to_owned())),
    }
}

async fn a_new_store_is_empty(store: Store) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let range = store.range("").await.unwrap();
    assert_eq!(range.items, []);
    assert_eq!(store.range("").await.unwrap().revision, range.revision);
}

async fn what_was_put_is_read_back(store: Store) {
    let first = put(&*store, "a", "1").await.unwrap();
    let second = put(&*store, "b", "").await.unwrap();
    let third = put(&*store, "a", "2").await.unwrap();
    assert!(0 < first && first < second && second < third);
    let a = store.get("a").await.unwrap().unwrap();
    assert_eq!(
        (&*a.key, &*a.value, a.mod_revision),
        ("a", &b"2"[..], third)
    );
    let b = store.get("b").await.unwrap().unwrap();
    assert_eq!((&*b.value, b.mod_revision), (&b""[..], second));
    assert_eq!(store.range("").await.unwrap().revision, third);
}

async fn compares_decide(store: Store) {
    let revision = put(&*store, "dir/k", "v").await.unwrap();
    let value = |text: &'static str| Expect::Value(Bytes::from_static(text.as_bytes()));
    let cases = [
        ("dir/k", Expect::Absent, false),
        ("dir/x", Expect::Absent, true),
        ("dir/k", Expect::Revision(revision), true),
        ("dir/k", Expect::Revision(revision + 1), false),
        ("dir/k", Expect::Revision(0), false),
        ("dir/x", Expect::Revision(0), false),
        ("dir/k", value("v"), true),
        ("dir/k", value("w"), false),
        ("dir/x", value(""), false),
        ("dir/", Expect::PrefixAbsent, false),
        ("dir/k", Expect::PrefixAbsent, false),
        ("dir/k/", Expect::PrefixAbsent, true),
        ("di0", Expect::PrefixAbsent, true),
    ];
    for (key, expect, holds) in cases {
        let txn = Txn::new().expect(key, expect.clone());
        let outcome = store.txn(txn).await.unwrap();
        let wanted = if holds {
            TxnOutcome::Done { revision }
        } else {
            TxnOutcome::Failed
        };
        assert_eq!(outcome, wanted, "{key} {expect:?}");
    }
}

async fn a_failed_compare_changes_nothing(store: Store) {
    let revision = put(&*store, "a", "1").await.unwrap();
    let txn = Txn::new()
        .expect("a", Expect::Revision(revision))
        .expect("b", Expect::Revision(7))
        .put("a", Bytes::from_static(b"2"))
        .put("c", Bytes::from_static(b"3"))
        .delete("a2");
    assert_eq!(store.txn(txn).await.unwrap(), TxnOutcome::Failed);
    let range = store.range("").await.unwrap();
    assert_eq!((range.items.len(), range.revision), (1, revision));
    assert_eq!(range.items[0].value, "1");
}

async fn deleting_nothing_is_no_change(store: Store) {
    let revision = put(&*store, "a", "1").await.unwrap();
    let outcome = store.txn(Txn::new().delete("b")).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Done { revision });
    let gone = done(store.txn(Txn::new().delete("a")).await.unwrap());
    assert!(gone > revision);
    assert_eq!(store.get("a").await.unwrap(), None);
}

async fn a_range_is_its_prefix_in_order(store: Store) {
    let all = [
        "a",
        "a/",
        "a/10",
        "a/2",
        "a/\u{10ffff}",
        "a/\u{10ffff}z",
        "a0",
        "b",
        "é",
        "\u{10ffff}",
    ];
    for key in all.iter().rev() {
        put(&*store, key, key).await.unwrap();
    }
    assert_eq!(keys(&*store, "").await, all);
    assert_eq!(keys(&*store, "a/").await, all[1..6]);
    assert_eq!(keys(&*store, "a").await, all[..7]);
    assert_eq!(keys(&*store, "a/\u{10ffff}").await, all[4..6]);
    assert_eq!(keys(&*store, "\u{10ffff}").await, all[9..]);
    assert_eq!(keys(&*store, "a/3").await, [""; 0]);
}

async fn malformed_transactions_are_refused(store: Store) {
    let long = "k".repeat(MAX_KEY_BYTES);
    let large = Bytes::from(vec![0; MAX_VALUE_BYTES]);
    let first = Txn::new().put(&long, large.clone());
    let first = done(store.txn(first).await.unwrap());
    let before = store.range("").await.unwrap();
    let too_large = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
    let many = |n: usize| (0..n).fold(Txn::new(), |txn, i| txn.delete(format!("{i}")));
    let bad = [
        Txn::new().put("", Bytes::new()),
        Txn::new().delete(""),
        Txn::new().expect("", Expect::Absent),
        Txn::new().put(format!("{long}k"), Bytes::new()),
        Txn::new().put("a", too_large.clone()),
        Txn::new().put("a", Bytes::new()).put("a", Bytes::new()),
        Txn::new().put("a", Bytes::new()).delete("a"),
        Txn::new().delete("a").delete("a"),
        Txn::new()
            .put("a", large.clone())
            .put("b", large.slice(..MAX_TXN_BYTES - MAX_VALUE_BYTES)),
        Txn::new().expect("a", Expect::Value(too_large)),
        many(MAX_TXN_OPERATIONS + 1),
    ];
    for txn in bad {
        let error = store.txn(txn).await.unwrap_err();
        assert!(matches!(error, MetaError::Refused(_)), "{error}");
    }
    let nothing = store.txn(many(MAX_TXN_OPERATIONS)).await.unwrap();
    assert_eq!(done(nothing), first);
    assert_eq!(store.range("").await.unwrap(), before);
}

async fn a_watch_tells_whole_transactions_of_its_prefix(store: Store) {
    let start = put(&*store, "w/0", "before").await.unwrap();
    let mut watch = store.watch("w/", start).await.unwrap();
    let txn = Txn::new()
        .put("w/2", Bytes::from_static(b"2"))
        .put("other", Bytes::from_static(b"x"))
        .put("w/1", Bytes::from_static(b"1"))
        .delete("w/0")
        .delete("w/absent");
    let first = done(store.txn(txn).await.unwrap());
    put(&*store, "other", "y").await.unwrap();
    let last = put(&*store, "w/1", "again").await.unwrap();
    let deleted = Event {
        key: "w/0".to_owned(),
        value: None,
    };
    assert_eq!(
        next(&mut watch).await,
        Changes {
            revision: first,
            events: vec![deleted, put_event("w/1", "1"), put_event("w/2", "2")],
        }
    );
    assert_eq!(
        next(&mut watch).await,
        Changes {
            revision: last,
            events: vec![put_event("w/1", "again")],
        }
    );
}

async fn a_watch_from_the_past_replays(store: Store) {
    let mut revisions = Vec::new();
    for i in 0..10 {
        revisions.push(put(&*store, "k", &i.to_string()).await.unwrap());
    }
    for (i, after) in revisions.iter().enumerate() {
        let mut watch = store.watch("", *after).await.unwrap();
        for (j, revision) in revisions.iter().enumerate().skip(i + 1) {
            let changes = next(&mut watch).await;
            assert_eq!(changes.revision, *revision);
            assert_eq!(changes.events, [put_event("k", &j.to_string())]);
        }
    }
}

async fn a_watch_from_the_future_waits(store: Store) {
    let now = put(&*store, "k", "0").await.unwrap();
    let mut watch = store.watch("", now + 2).await.unwrap();
    let mut revision = now;
    while revision <= now + 2 {
        revision = put(&*store, "k", &revision.to_string()).await.unwrap();
    }
    assert_eq!(next(&mut watch).await.revision, revision);
}

async fn a_watch_ends_with_its_store(store: Store) {
    let start = store.range("").await.unwrap().revision;
    let mut watch = store.watch("", start).await.unwrap();
    put(&*store, "k", "v").await.unwrap();
    drop(store);
    assert_eq!(next(&mut watch).await.events, [put_event("k", "v")]);
    assert!(soon(watch.next()).await.is_none());
}

const WRITERS: u64 = 8;
const WRITES: u64 = 12;

async fn concurrent_increments_are_all_counted(store: Store) {
    let increment = |store: Store| async move {
        for _ in 0..WRITES {
            loop {
                let read = store.get("counter").await.unwrap();
                let count = read.as_ref().map_or(0, |v| {
                    std::str::from_utf8(&v.value)
                        .unwrap()
                        .parse::<u64>()
                        .unwrap()
                });
                let txn = Txn::new()
                    .expect_read("counter", read.as_ref())
                    .put("counter", Bytes::from((count + 1).to_string()));
                if store.txn(txn).await.unwrap() != TxnOutcome::Failed {
                    break;
                }
            }
        }
    };
    let tasks = (0..WRITERS).map(|_| tokio::spawn(increment(Arc::clone(&store))));
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let count = store.get("counter").await.unwrap().unwrap();
    assert_eq!(count.value, (WRITERS * WRITES).to_string());
    assert_eq!(
        count.mod_revision,
        store.range("").await.unwrap().revision,
        "the last increment is the last change"
    );
}

async fn a_watch_has_no_gaps_under_concurrent_writes(store: Store) {
    let write = |store: Store, writer: u64| async move {
        let mut revisions = Vec::new();
        for i in 0..WRITES {
            let key = format!("k/{writer}");
            revisions.push(put(&*store, &key, &i.to_string()).await.unwrap());
        }
        revisions
    };
    let follow = |store: Store| async move {
        // Lists at whatever moment it gets, and has to hear exactly the rest.
        let start = store.range("k/").await.unwrap().revision;
        let mut watch = store.watch("k/", start).await.unwrap();
        let mut heard = Vec::new();
        loop {
            let changes = next(&mut watch).await;
            if changes.events[0].key == "k/end" {
                return (start, heard);
            }
            heard.push(changes.revision);
        }
    };
    let followers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(follow(Arc::clone(&store))))
        .collect();
    let writers = (0..WRITERS).map(|w| tokio::spawn(write(Arc::clone(&store), w)));
    let mut written = Vec::new();
    for task in join_all(writers.collect::<Vec<_>>()).await {
        written.extend(task.unwrap());
    }
    written.sort_unstable();
    put(&*store, "k/end", "").await.unwrap();
    for task in join_all(followers).await {
        let (start, heard) = task.unwrap();
        let rest = written.partition_point(|revision| *revision <= start);
        assert_eq!(heard, written[rest..], "after {start}");
    }
}

async fn epochs_are_taken_once(store: Store) {
    let claim = |owner: u64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { claim_epoch(&*store, "e", &owner.to_string()).await.unwrap() })
    };
    let mut taken = BTreeSet::new();
    for task in join_all((0..WRITERS).map(claim)).await {
        taken.insert(task.unwrap());
    }
    assert_eq!(taken, (1..=WRITERS).map(Epoch).collect());
}
