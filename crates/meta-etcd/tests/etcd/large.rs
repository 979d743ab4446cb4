//! Many keys, large values, and what etcd cuts into pieces.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use holdfast_meta::{
    MetaError, MetaStore, Txn,
    contract::{done, put, soon},
    store::{MAX_TXN_OPERATIONS, MAX_VALUE_BYTES},
};
use holdfast_meta_etcd::{
    EtcdStore,
    testing::{EtcdCluster, Setup},
};
use holdfast_types::{Code, Coded};

/// All keys are changed by each transaction together, so a mix of two revisions would show.
pub(crate) async fn a_range_of_many_pages_is_of_one_revision() {
    const GROUPS: usize = 12;
    let cluster = EtcdCluster::start(1).await;
    let store = Arc::new(EtcdStore::connect(cluster.options("a")).await.unwrap());
    let first = generation(&*store, GROUPS, 0).await;
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 1..6 {
                generation(&*store, GROUPS, number).await;
            }
        }
    });
    let mut at = first;
    while !writer.is_finished() {
        let range = store.range("k/").await.unwrap();
        assert_eq!(range.items.len(), GROUPS * MAX_TXN_OPERATIONS);
        assert!(range.items.windows(2).all(|w| w[0].key < w[1].key));
        assert!(range.items.iter().all(|v| v.mod_revision <= range.revision));
        assert!(range.revision >= at, "listings do not go back");
        at = range.revision;
        // Groups are written one after the other: the later the group, the older at one revision, by one
        // generation at most.
        let newest: Vec<&[u8]> = range.items.iter().map(|v| &*v.value).collect();
        assert!(newest.windows(2).all(|w| w[0] >= w[1]), "torn at {at}");
        let (newest, oldest) = (number(newest[0]), number(newest[newest.len() - 1]));
        assert!(newest - oldest <= 1, "{newest} beside {oldest} at {at}");
    }
    writer.await.unwrap();
}

fn number(value: &[u8]) -> u32 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn generation(store: &dyn MetaStore, groups: usize, number: usize) -> u64 {
    let mut last = 0;
    for group in 0..groups {
        let txn = (0..MAX_TXN_OPERATIONS).fold(Txn::new(), |txn, at| {
            txn.put(
                format!("k/{group:02}/{at:04}"),
                Bytes::from(number.to_string()),
            )
        });
        last = done(store.txn(txn).await.unwrap());
    }
    last
}

pub(crate) async fn a_range_of_large_values_is_read_in_smaller_pages() {
    let cluster = EtcdCluster::start(1).await;
    let store = EtcdStore::connect(cluster.options("a")).await.unwrap();
    // More than one answer may hold.
    let value = Bytes::from(vec![7; MAX_VALUE_BYTES]);
    for at in 0..70 {
        let txn = Txn::new().put(format!("large/{at:03}"), value.clone());
        assert!(done(store.txn(txn).await.unwrap()) > 1);
    }
    let range = store.range("").await.unwrap();
    assert_eq!(range.items.len(), 70);
    assert!(range.items.iter().all(|v| v.value == value));
}

pub(crate) async fn transactions_that_etcd_cuts_are_told_whole() {
    const TXNS: usize = 10;
    let cluster = EtcdCluster::start(1).await;
    let store = EtcdStore::connect(cluster.options("a")).await.unwrap();
    let start = store.range("").await.unwrap().revision;
    let value = Bytes::from(vec![7; 250_000]);
    let mut revisions = Vec::new();
    for _ in 0..TXNS {
        let txn = (0..5).fold(Txn::new(), |txn, at| txn.put(at.to_string(), value.clone()));
        revisions.push(done(store.txn(txn).await.unwrap()));
    }
    // From the past, so that etcd tells many transactions in one answer, in fragments.
    let mut watch = store.watch("", start).await.unwrap();
    for revision in revisions {
        let changes = soon(watch.next()).await.unwrap().unwrap();
        assert_eq!((changes.revision, changes.events.len()), (revision, 5));
    }
    let last = put(&store, "0", "small").await.unwrap();
    let changes = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!((changes.revision, changes.events.len()), (last, 1));
}

/// An operator may have lowered etcd's limits: what it refuses is an error that says so, not an outcome unknown.
pub(crate) async fn a_transaction_too_large_for_this_etcd_is_refused() {
    let cluster = EtcdCluster::start_with(Setup {
        members: 1,
        arguments: ["--max-txn-ops", "8", "--max-request-bytes", "100000"]
            .map(str::to_owned)
            .to_vec(),
        ..Setup::default()
    })
    .await;
    let store = EtcdStore::connect(cluster.options("a")).await.unwrap();
    let many = (0..9).fold(Txn::new(), |txn, at| txn.delete(at.to_string()));
    let large = Txn::new().put("k", Bytes::from(vec![0; 1 << 20]));
    for txn in [many, large] {
        let error = store.txn(txn).await.unwrap_err();
        assert!(matches!(error, MetaError::Refused(_)), "{error}");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    assert_eq!(store.range("").await.unwrap().items, []);
}
