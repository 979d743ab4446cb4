//! The contract that every metadata store passes, and the cluster's prefix.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use holdfast_meta::{
    MetaError, MetaStore, Txn,
    contract::{self, done, put, soon},
};
use holdfast_meta_etcd::{EtcdStore, testing::EtcdCluster};

pub(crate) async fn every_clause_holds() {
    let cluster = EtcdCluster::start(1).await;
    let opened = AtomicUsize::new(0);
    contract::run(|| async {
        let name = format!("clause-{}", opened.fetch_add(1, Ordering::Relaxed));
        let store = EtcdStore::connect(cluster.options(&name)).await.unwrap();
        Arc::new(store) as Arc<dyn MetaStore>
    })
    .await;
}

pub(crate) async fn every_clause_of_sessions_holds() {
    let cluster = EtcdCluster::start(1).await;
    let opened = AtomicUsize::new(0);
    contract::run_sessions(|| async {
        let name = format!("clause-{}", opened.fetch_add(1, Ordering::Relaxed));
        Arc::new(EtcdStore::connect(cluster.options(&name)).await.unwrap())
    })
    .await;
}

pub(crate) async fn clusters_that_share_an_etcd_do_not_see_each_other() {
    let cluster = EtcdCluster::start(1).await;
    let a = EtcdStore::connect(cluster.options("a")).await.unwrap();
    let b = EtcdStore::connect(cluster.options("b")).await.unwrap();
    let start = a.range("").await.unwrap().revision;
    let mut watch = a.watch("", start).await.unwrap();
    put(&b, "k", "b").await.unwrap();
    let theirs = b.range("").await.unwrap().revision;
    assert_eq!(a.get("k").await.unwrap(), None);
    let ours = put(&a, "k", "a").await.unwrap();
    assert!(ours > theirs, "they share one counter");
    let heard = soon(futures::StreamExt::next(&mut watch)).await.unwrap();
    assert_eq!(heard.unwrap().revision, ours);
    assert_eq!(b.get("k").await.unwrap().unwrap().value, "b");
    let deleted = b.txn(Txn::new().delete("k")).await.unwrap();
    assert!(done(deleted) > ours);
    assert_eq!(a.get("k").await.unwrap().unwrap().value, "a");
}

pub(crate) async fn a_key_that_is_not_text_is_damage() {
    let cluster = EtcdCluster::start(1).await;
    let store = EtcdStore::connect(cluster.options("a")).await.unwrap();
    let mut raw = cluster.client(0).await.unwrap();
    raw.put(b"/holdfast/a/x\xff".to_vec(), "v", None)
        .await
        .unwrap();
    let error = store.range("").await.unwrap_err();
    assert!(matches!(error, MetaError::Damaged { .. }), "{error}");
    let mut watch = store.watch("", 0).await.unwrap();
    let told = soon(futures::StreamExt::next(&mut watch)).await.unwrap();
    assert!(matches!(told, Err(MetaError::Damaged { .. })), "{told:?}");
    let txn = Txn::new().put("fine", Bytes::from_static(b"v"));
    assert!(done(store.txn(txn).await.unwrap()) > 1);
    assert_eq!(store.get("fine").await.unwrap().unwrap().value, "v");
}
