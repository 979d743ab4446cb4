//! Real log-nodes, real journals, real gRPC, in one process.

mod life;
mod nodes;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::{Wal, WalWriter, contract};
use nodes::{Cluster, patiently};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_of_a_log_is_kept() {
    let cluster = Cluster::start(3).await;
    contract::run(async || cluster.wal().await).await;
}

pub(crate) async fn append(writer: &dyn WalWriter, text: &str) -> Lsn {
    patiently(writer.ready()).await;
    let done = writer.append(Bytes::copy_from_slice(text.as_bytes())).1;
    patiently(done).await.expect("append")
}

pub(crate) async fn expect_all(wal: &dyn Wal, channel: ChannelId, expected: &[&str]) {
    let mut tail = wal.tail(channel, Lsn(1)).await.expect("tail");
    for (i, text) in expected.iter().enumerate() {
        let entry = patiently(tail.next()).await.expect("it goes on");
        let entry = entry.expect("entry");
        assert_eq!(entry.lsn, Lsn(i as u64 + 1));
        assert_eq!(entry.payload, text.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_one_node_may_be_lost() {
    for lost in 0..3 {
        let mut cluster = Cluster::start(3).await;
        let channel = ChannelId(lost as u32);
        let wal = cluster.wal().await;
        let (writer, _) = wal.open_writer(channel, Epoch(1)).await.expect("open");
        append(&*writer, "before").await;
        cluster.stop(lost).await;
        append(&*writer, "without it").await;
        drop(writer);
        let (writer, last) = wal.open_writer(channel, Epoch(2)).await.expect("reopen");
        assert_eq!(last, Lsn(2));
        append(&*writer, "by another").await;
        cluster.restart(lost).await;
        append(&*writer, "with it again").await;
        let all = ["before", "without it", "by another", "with it again"];
        expect_all(&wal, channel, &all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_may_stop_and_start_again() {
    let mut cluster = Cluster::start(3).await;
    let channel = ChannelId(0);
    {
        let wal = cluster.wal().await;
        let (writer, _) = wal.open_writer(channel, Epoch(1)).await.expect("open");
        for i in 0..100 {
            append(&*writer, &format!("record {i}")).await;
        }
    }
    for i in 0..3 {
        cluster.stop(i).await;
    }
    for i in 0..3 {
        cluster.restart(i).await;
    }
    let wal = cluster.wal().await;
    let (_writer, last) = wal.open_writer(channel, Epoch(2)).await.expect("reopen");
    assert_eq!(last, Lsn(100));
    let all: Vec<String> = (0..100).map(|i| format!("record {i}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect_all(&wal, channel, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_disk_is_not_believed() {
    let mut cluster = Cluster::start(3).await;
    let channel = ChannelId(0);
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(channel, Epoch(1)).await.expect("open");
    cluster.stop(2).await;
    append(&*writer, "two copies").await;
    drop(writer);
    // One of the two copies is lost, and the node that has none comes back.
    cluster.stop(0).await;
    cluster.wipe(0);
    cluster.restart(0).await;
    cluster.restart(2).await;
    let (_writer, last) = wal.open_writer(channel, Epoch(2)).await.expect("reopen");
    assert_eq!(last, Lsn(1), "the one copy that is left counts");
    expect_all(&wal, channel, &["two copies"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_never_both_write() {
    let cluster = Cluster::start(3).await;
    let channel = ChannelId(0);
    let (a, b) = (cluster.wal().await, cluster.wal().await);
    let (old, _) = a.open_writer(channel, Epoch(1)).await.expect("open");
    append(&*old, "old").await;
    let (new, last) = b.open_writer(channel, Epoch(2)).await.expect("take over");
    assert_eq!(last, Lsn(1));
    append(&*new, "new").await;
    let refused = patiently(old.append(Bytes::from_static(b"late")).1).await;
    assert!(refused.is_err(), "{refused:?}");
    expect_all(&b, channel, &["old", "new"]).await;
    expect_all(&a, channel, &["old", "new"]).await;
    drop(Arc::new(cluster));
}
