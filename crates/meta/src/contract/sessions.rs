//! The contract of [`Sessions`], as tests.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;

use super::{done, put, soon};
use crate::{Expect, MetaError, Session, Sessions, Txn, TxnOutcome, WatchStream, elected};

/// The shortest that etcd keeps by default.
const TTL: Duration = Duration::from_secs(2);

/// Runs every clause, each on a store that `open` has just made. Needs a tokio runtime with time.
pub async fn run_sessions<S: Sessions + 'static, F: Future<Output = Arc<S>>>(open: impl Fn() -> F) {
    closing_deletes_its_keys_at_once(open().await).await;
    a_key_put_again_by_another_stays(open().await).await;
    a_failed_compare_puts_nothing(open().await).await;
    keys_live_while_held_and_go_when_dropped(open().await).await;
    one_is_elected_after_the_other(open().await).await;
}

async fn session<S: Sessions + 'static>(store: &Arc<S>) -> Box<dyn Session> {
    Arc::clone(store).open_session(TTL).await.unwrap()
}

async fn put_with(session: &dyn Session, keys: &[&str]) -> u64 {
    let txn = keys.iter().fold(Txn::new(), |txn, key| {
        txn.put(*key, Bytes::from_static(b"mine"))
    });
    done(session.txn(txn).await.unwrap())
}

async fn deleted(watch: &mut WatchStream) -> Vec<String> {
    let changes = soon(watch.next()).await.expect("ended").unwrap();
    assert!(changes.events.iter().all(|e| e.value.is_none()));
    changes.events.into_iter().map(|e| e.key).collect()
}

async fn closing_deletes_its_keys_at_once<S: Sessions + 'static>(store: Arc<S>) {
    let session = session(&store).await;
    let revision = put_with(&*session, &["a", "b"]).await;
    put(&*store, "c", "not of the session").await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "mine");
    let mut watch = store.watch("", revision + 1).await.unwrap();
    assert!(session.is_live());
    session.close().await.unwrap();
    assert!(!session.is_live());
    soon(session.ended()).await;
    assert_eq!(deleted(&mut watch).await, ["a", "b"]);
    let left = store.range("").await.unwrap().items;
    assert_eq!(left.len(), 1);
    let late = session.txn(Txn::new().put("d", Bytes::new())).await;
    assert!(matches!(late, Err(MetaError::Closed(_))), "{late:?}");
    session.close().await.unwrap();
}

async fn a_key_put_again_by_another_stays<S: Sessions + 'static>(store: Arc<S>) {
    let session = session(&store).await;
    put_with(&*session, &["a", "b"]).await;
    put(&*store, "b", "theirs").await.unwrap();
    session.close().await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(store.get("b").await.unwrap().unwrap().value, "theirs");
}

async fn a_failed_compare_puts_nothing<S: Sessions + 'static>(store: Arc<S>) {
    let session = session(&store).await;
    put(&*store, "a", "theirs").await.unwrap();
    let txn = Txn::new()
        .expect("a", Expect::Absent)
        .put("a", Bytes::from_static(b"mine"));
    assert_eq!(session.txn(txn).await.unwrap(), TxnOutcome::Failed);
    session.close().await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "theirs");
}

async fn keys_live_while_held_and_go_when_dropped<S: Sessions + 'static>(store: Arc<S>) {
    let held = session(&store).await;
    put_with(&*held, &["held"]).await;
    // The second is dropped twice, one after the other: when its keys have gone, more than one time to live
    // has passed for the one that is held.
    for key in ["dropped/1", "dropped/2"] {
        let dropped = session(&store).await;
        let revision = put_with(&*dropped, &[key]).await;
        let mut watch = store.watch("dropped/", revision).await.unwrap();
        drop(dropped);
        assert_eq!(deleted(&mut watch).await, [key]);
    }
    assert_eq!(store.get("held").await.unwrap().unwrap().value, "mine");
    put_with(&*held, &["held"]).await;
    held.close().await.unwrap();
}

async fn one_is_elected_after_the_other<S: Sessions + 'static>(store: Arc<S>) {
    let name = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = session(&store).await;
    let taken = elected(&*store, &*first, "leader", &name("first"))
        .await
        .unwrap();
    // Asking again finds oneself.
    let again = elected(&*store, &*first, "leader", &name("first"))
        .await
        .unwrap();
    assert_eq!(again, taken);
    let second = session(&store).await;
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let taken = elected(&*store, &*second, "leader", &name("second")).await;
            (taken.unwrap(), second)
        }
    });
    put(&*store, "leader/of/another", "x").await.unwrap();
    assert_eq!(store.get("leader").await.unwrap().unwrap().value, "first");
    first.close().await.unwrap();
    let (taken_later, second) = soon(waiting).await.unwrap();
    assert!(taken_later > taken);
    assert_eq!(store.get("leader").await.unwrap().unwrap().value, "second");
    second.close().await.unwrap();
    assert_eq!(store.get("leader").await.unwrap(), None);
}
