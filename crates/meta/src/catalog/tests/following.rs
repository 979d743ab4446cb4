//! What outlives a call: propagation, damage, ids, keys, restarts.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;

use super::*;
use crate::{Range, Versioned, WatchStream, contract};

#[tokio::test]
async fn one_catalog_sees_what_another_did() {
    let store = Arc::new(MemoryStore::new());
    let (here, there) = (open(&store).await, open(&store).await);
    let c = here.create_collection(DB, &new("c"), at(2)).await.unwrap();
    let before = here.snapshot().revision();
    soon(there.view.reached(before)).await.unwrap();
    assert_eq!(there.snapshot().resolve(DB, "c").unwrap(), &c);
    let waiting = there.newer_than(before);
    let (seen, renamed) = tokio::join!(
        soon(waiting),
        here.rename_collection(DB, "c", DB, "e", at(3))
    );
    renamed.unwrap();
    assert_eq!(seen.unwrap().resolve(DB, "e").unwrap().id, c.id);
}

/// The follower is told that it fell behind while it could not run, and lists again.
#[tokio::test(flavor = "current_thread")]
async fn a_catalog_that_fell_behind_lists_again() {
    let store = Arc::new(MemoryStore::with_history(2));
    let catalog = open(&store).await;
    let c = catalog
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    let key = keys::collection(c.id);
    // Without a yield in between, the follower on this one thread hears nothing until the end.
    let mut last = 0;
    for i in 3..20 {
        let meta = CollectionMeta {
            updated: at(i),
            ..CollectionMeta::clone(&c)
        };
        let txn = put(Txn::new(), &key, &meta).unwrap();
        let outcome = futures::FutureExt::now_or_never(store.txn(txn))
            .unwrap()
            .unwrap();
        let TxnOutcome::Done { revision } = outcome else {
            panic!("{outcome:?}");
        };
        last = revision;
    }
    assert_eq!(catalog.snapshot().collection(c.id).unwrap().updated, at(2));
    soon(catalog.view.reached(last)).await.unwrap();
    assert_eq!(catalog.snapshot().collection(c.id).unwrap().updated, at(19));
    assert_eq!(names(&catalog, DB), ["c"]);
}

/// A store of which listings can be made to fail, as when its servers are out of reach.
struct OutOfReach {
    store: MemoryStore,
    failures: AtomicUsize,
}

#[async_trait]
impl MetaStore for OutOfReach {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        self.store.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        let one_less = |left: usize| left.checked_sub(1);
        let failed = self.failures.fetch_update(SeqCst, SeqCst, one_less);
        if failed.is_ok() {
            return Err(MetaError::OutOfReach {
                what: "servers".to_owned(),
                problem: "gone".to_owned(),
            });
        }
        self.store.range(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        self.store.txn(txn).await
    }

    async fn watch(&self, prefix: &str, after: u64) -> Result<WatchStream, MetaError> {
        self.store.watch(prefix, after).await
    }
}

/// History was forgotten while the servers were gone, and they are still not back when the catalog lists.
#[tokio::test(start_paused = true)]
async fn a_catalog_waits_for_a_store_that_is_out_of_reach() {
    let store = Arc::new(OutOfReach {
        store: MemoryStore::with_history(2),
        failures: AtomicUsize::new(0),
    });
    let catalog = Catalog::open(Arc::clone(&store) as Arc<dyn MetaStore>, at(1))
        .await
        .unwrap();
    let c = catalog
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    store.failures.store(3, SeqCst);
    let mut last = 0;
    for i in 3..20 {
        let meta = CollectionMeta {
            updated: at(i),
            ..CollectionMeta::clone(&c)
        };
        let txn = put(Txn::new(), &keys::collection(c.id), &meta).unwrap();
        let txn = futures::FutureExt::now_or_never(store.txn(txn)).unwrap();
        last = contract::done(txn.unwrap());
    }
    soon(catalog.view.reached(last)).await.unwrap();
    assert_eq!(catalog.snapshot().collection(c.id).unwrap().updated, at(19));
    assert_eq!(store.failures.load(SeqCst), 0);
}

#[tokio::test]
async fn a_damaged_value_is_refused_by_key() {
    let store = Arc::new(MemoryStore::new());
    let catalog = open(&store).await;
    let revision = put_raw(&*store, &keys::collection(CollectionId(7)), "rubbish")
        .await
        .unwrap();
    let failure = soon(catalog.view.reached(revision)).await.unwrap_err();
    assert_eq!(failure.code, Code::Corrupt);
    assert!(
        failure.message.contains(&keys::collection(CollectionId(7))),
        "{failure}"
    );
    // What was known stays known; what would have to be seen is refused.
    assert!(catalog.snapshot().database(DB).is_ok());
    assert!(
        catalog
            .create_collection(DB, &new("c"), at(2))
            .await
            .is_err()
    );
    let store: Arc<dyn MetaStore> = store;
    let error = Catalog::open(store, at(2)).await.err().unwrap();
    assert!(matches!(error, MetaError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn ids_rise_and_are_never_given_twice() {
    let store = Arc::new(MemoryStore::new());
    let (a, b) = (open(&store).await, open(&store).await);
    let mut next = [0, 0];
    let mut taken = std::collections::BTreeSet::new();
    for count in [1, 0, 7, 9_990, 3, 25_000, 1, 9_999, 2] {
        for (catalog, next) in [&a, &b].into_iter().zip(&mut next) {
            let first = catalog.allocate_ids(count).await.unwrap();
            assert!(first >= *next && first >= 1_000, "{first} after {next}");
            *next = first + i64::from(count);
            for id in first..*next {
                assert!(taken.insert(id), "{id} was given before");
            }
        }
    }
    let restarted = open(&store).await.allocate_ids(1).await.unwrap();
    assert!(restarted >= *taken.last().unwrap());
    let failure = a.allocate_ids(u32::MAX).await.unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    let used_up = put(Txn::new(), keys::NEXT_ID, &codec::NextId(i64::MAX)).unwrap();
    store.txn(used_up).await.map(drop).unwrap();
    let failure = open(&store).await.allocate_ids(1).await.unwrap_err();
    assert_eq!(failure.code, Code::QuotaExceeded);
}

#[tokio::test]
async fn the_number_of_keys_grows_with_collections_and_nothing_else() {
    let store = Arc::new(MemoryStore::new());
    let catalog = open(&store).await;
    let before = store.range("").await.unwrap().items.len();
    for i in 0..20 {
        let partitions = (0..50).map(|p| format!("p{p}")).collect();
        let new = NewCollection {
            partitions,
            ..new(&format!("c{i}"))
        };
        catalog.create_collection(DB, &new, at(2)).await.unwrap();
    }
    let after = store.range("").await.unwrap().items.len();
    // Its name and itself, and once the id allocator.
    assert_eq!(after - before, 20 * 2 + 1);
    for i in 0..20 {
        let dropped = catalog
            .begin_drop_collection(DB, &format!("c{i}"), at(3))
            .await
            .unwrap();
        catalog
            .finish_drop_collection(dropped.unwrap().id)
            .await
            .unwrap();
    }
    assert_eq!(store.range("").await.unwrap().items.len(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.redb");
    let store: Arc<dyn MetaStore> = Arc::new(RedbStore::open(&path).await.unwrap());
    let catalog = Catalog::open(Arc::clone(&store), at(1)).await.unwrap();
    let c = catalog
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    catalog.create_alias(DB, "x", "c").await.unwrap();
    let before = catalog.snapshot();
    drop(catalog);
    // The follower lets go of the store as soon as it notices.
    soon(async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(store);
    let store: Arc<dyn MetaStore> = Arc::new(RedbStore::open(&path).await.unwrap());
    let catalog = Catalog::open(store, at(1)).await.unwrap();
    assert_eq!(catalog.snapshot().resolve(DB, "x").unwrap().id, c.id);
    assert_eq!(catalog.snapshot().resolve(DB, "c"), before.resolve(DB, "c"));
    let first = catalog.allocate_ids(1).await.unwrap();
    assert!(first > c.id.0 + 1);
}
