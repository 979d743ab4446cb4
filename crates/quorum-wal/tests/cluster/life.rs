//! Life after a loss: what ended is uploaded, copied, mended, dropped and read back all the same.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use holdfast_log_keeper::Options as KeeperOptions;
use holdfast_log_store::{Attempt, Folder, LogStore, Options as StoreOptions};
use holdfast_meta::{Txn, TxnOutcome};
use holdfast_qlog::{
    StorageId,
    messages::Owner,
    meta::{
        LogView, NodeRegistration, NodeState, SegmentDescriptor, SegmentState, UNFOLDED_SEGMENTS_MAX,
        node_key,
    },
};
use holdfast_quorum_wal::{
    QuorumWal, Registry, TcpConnect,
    survey::{Copy, Reader},
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};
use holdfast_wal::{Wal, WalError, WalWriter};
use tempfile::TempDir;

use crate::{
    append, expect_all,
    nodes::{Cluster, PATIENCE, patiently},
};

const LOG: ChannelId = ChannelId(3);
/// Records that fill a handful of the tests' small segments.
const RECORDS: usize = 300;

fn keeper() -> KeeperOptions {
    KeeperOptions {
        look_every: Duration::from_millis(30),
        loss_grace: Duration::from_millis(300),
        upload_patience: Duration::from_millis(1000),
        store_retry: Duration::from_millis(200),
        local_age: Duration::ZERO,
        garbage_every: Duration::from_millis(30),
        garbage_grace: Duration::ZERO,
        resend_after: Duration::from_millis(100),
        ..KeeperOptions::default()
    }
}

fn objects_in(dir: &TempDir, cluster: &Cluster) -> LogStore {
    let options = StoreOptions {
        dir: dir.path().join("objects"),
        object_bytes: 20_000,
        block_bytes: 4_000,
        patience: Duration::from_secs(10),
    };
    std::fs::create_dir_all(&options.dir).expect("a directory");
    let opened = LogStore::open(&options, cluster.id).expect("opened");
    opened.expect("it was named")
}

/// The object storage is gone: where its directory was, there is something else.
fn take_down(dir: &TempDir) {
    let at = dir.path().join("objects");
    std::fs::rename(&at, dir.path().join("away")).expect("renamed");
    std::fs::write(at, b"").expect("written");
}

fn bring_back(dir: &TempDir) {
    let at = dir.path().join("objects");
    std::fs::remove_file(&at).expect("removed");
    std::fs::rename(dir.path().join("away"), at).expect("renamed");
}

fn record(i: usize) -> String {
    format!("record {i:05} {}", "x".repeat(1000))
}

async fn fill(writer: &dyn WalWriter, records: std::ops::Range<usize>) {
    for i in records {
        append(writer, &record(i)).await;
    }
}

async fn expect_records(wal: &QuorumWal, count: usize) {
    let all: Vec<String> = (0..count).map(record).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect_all(wal, LOG, &all).await;
}

async fn view(cluster: &Cluster) -> LogView {
    let registry = Registry::new(Arc::clone(&cluster.store));
    registry.view(LOG).await.expect("a view")
}

/// Looks at the log until it is as it should be.
async fn until(cluster: &Cluster, mut right: impl AsyncFnMut(&LogView) -> bool) -> LogView {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let began = tokio::time::Instant::now();
    loop {
        looks.tick().await;
        let view = view(cluster).await;
        if right(&view).await {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "it stays as it is: {view:#?}");
    }
}

fn ended(view: &LogView) -> Vec<(LogSegment, &SegmentDescriptor)> {
    let all = view.segments.iter().map(|(segment, d)| (*segment, d));
    all.filter(|(_, d)| d.end().is_some_and(|end| end >= d.first))
        .collect()
}

fn is_stored(descriptor: &SegmentDescriptor) -> bool {
    matches!(descriptor.state, SegmentState::Tiered { .. })
}

fn all_stored(view: &LogView) -> bool {
    let ended = ended(view);
    !ended.is_empty() && ended.iter().all(|(_, d)| is_stored(d))
}

/// What each holder of a segment has of it.
async fn copies(
    cluster: &Cluster,
    segment: LogSegment,
    descriptor: &SegmentDescriptor,
) -> Vec<Copy> {
    let registry = Registry::new(Arc::clone(&cluster.store));
    let (nodes, _) = registry.nodes().await.expect("nodes");
    let owner = Owner {
        node: "test".into(),
        incarnation: 99,
    };
    let reader = Reader::new(Arc::new(TcpConnect), nodes, cluster.id, owner);
    let end = descriptor.end().expect("it ended");
    let mut copies = Vec::new();
    for holder in &descriptor.copies.holders {
        copies.push(reader.read(LOG, segment, descriptor, end, holder).await);
    }
    copies
}

async fn all_whole(cluster: &Cluster, view: &LogView) -> bool {
    for (segment, descriptor) in ended(view) {
        let copies = copies(cluster, segment, descriptor).await;
        if copies.len() < 3 || !copies.iter().all(|c| matches!(c, Copy::Intact { .. })) {
            return false;
        }
    }
    !ended(view).is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_is_uploaded_dropped_read_back_and_trimmed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(3).await;
    let without = cluster.wal().await;
    let objects = objects_in(&dir, &cluster);
    cluster.objects = Some(objects.clone());
    (0..3).for_each(|i| cluster.keep(i, &keeper()));
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..RECORDS).await;
    until(&cluster, async |view| {
        let mut dropped = all_stored(view);
        for i in 0..3 {
            let held = cluster.holds(i, LOG).await;
            dropped &= held
                .iter()
                .all(|s| !view.segments.get(s).is_some_and(is_stored));
        }
        dropped
    })
    .await;
    expect_records(&wal, RECORDS).await;

    // Who was given no object storage is told so.
    let mut tail = without.tail(LOG, Lsn(1)).await.expect("a tail");
    let refused = patiently(tail.next()).await.expect("an answer");
    let Err(WalError::Broken { problem }) = refused else {
        panic!("{refused:?}");
    };
    assert!(problem.contains("no object storage"), "{problem}");

    // An upload that came too late is taken away; the one that counts stays.
    let stored = view(&cluster).await;
    let (segment, descriptor) = ended(&stored)[1];
    let late = Attempt {
        storage: StorageId([7; 16]),
        generation: 1,
        number: 1,
    };
    let end = descriptor.end().expect("it ended");
    let mut upload = objects.upload(LOG, segment, descriptor, end, late);
    let SegmentState::Tiered { manifest, .. } = &descriptor.state else {
        panic!("{descriptor:?}");
    };
    let mut from = objects.open_segment(LOG, manifest).await.expect("opened");
    while !upload.is_complete() {
        let entries = from.read(upload.next()).await.expect("read");
        // It may be taken away under its hands.
        if upload.push(entries).await.is_err() {
            break;
        }
    }
    let _finished = upload.finish().await;
    let late = Folder::new(cluster.id, LOG, segment, late);
    until(&cluster, async |_| {
        let all = objects.list().await.expect("listed");
        !all.folders.contains_key(&late)
    })
    .await;
    expect_records(&wal, RECORDS).await;

    // What is trimmed goes from object storage as well; what is not, stays.
    wal.trim(LOG, Lsn(200)).await.expect("trimmed");
    let view = until(&cluster, async |view| {
        let listed = objects.list().await.expect("listed");
        listed
            .folders
            .keys()
            .all(|folder| view.segments.contains_key(&folder.segment))
    })
    .await;
    let first = view.segments.values().next().expect("a segment").first;
    assert!((Lsn(2)..=Lsn(201)).contains(&first), "{first}");
    let mut tail = wal.tail(LOG, first).await.expect("a tail");
    for lsn in first.0..=RECORDS as u64 {
        let entry = patiently(tail.next()).await.expect("more").expect("entry");
        assert_eq!(entry.payload, record(lsn as usize - 1).as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_segments_are_listed_in_an_object_and_trimmed_there() {
    const OPENED: usize = 80;
    const EACH: usize = 3;
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(3).await;
    let objects = objects_in(&dir, &cluster);
    cluster.objects = Some(objects.clone());
    (0..3).for_each(|i| cluster.keep(i, &keeper()));
    let wal = cluster.wal().await;
    // Each writer begins a segment; the last one stays, to say what is committed.
    let mut last = None;
    for i in 0..OPENED {
        let epoch = Epoch(i as u64 + 1);
        let (writer, _) = wal.open_writer(LOG, epoch).await.expect("open");
        fill(&*writer, i * EACH..(i + 1) * EACH).await;
        last = Some(writer);
    }
    let view = until(&cluster, async |view| {
        let few = view.segments.len() <= UNFOLDED_SEGMENTS_MAX + 1;
        few && view.folded.is_some() && all_stored(view)
    })
    .await;
    let all: Vec<String> = (0..OPENED * EACH).map(record).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    expect_all(&wal, LOG, &all).await;

    // A trim that ends in the list takes its beginning away, with the objects.
    let folded = view.folded.expect("it was there");
    let upto = Lsn(folded.end.0 * 2 / 3);
    wal.trim(LOG, upto).await.expect("trimmed");
    let mut first = Lsn(0);
    until(&cluster, async |view| {
        let Some(folded) = &view.folded else {
            return false;
        };
        let list = objects.read_list(LOG, &folded.manifest).await;
        let list = list.expect("the list that counts is there");
        first = list.segments.values().next().expect("a segment").first;
        let listed = objects.list().await.expect("listed");
        let known = |s: &LogSegment| view.segments.contains_key(s) || list.segments.contains_key(s);
        let only = listed.folders.keys().all(|folder| known(&folder.segment));
        only && listed.lists.len() == 1 && first > Lsn(1)
    })
    .await;
    assert!(first <= upto.next(), "{first}");
    let mut tail = wal.tail(LOG, Lsn(1)).await.expect("a tail");
    let trimmed = patiently(tail.next()).await.expect("an answer");
    assert!(
        matches!(trimmed, Err(WalError::Trimmed { first: at }) if at == first),
        "{trimmed:?}"
    );
    let mut tail = wal.tail(LOG, first).await.expect("a tail");
    for (record, lsn) in all.iter().zip(1..).skip(first.0 as usize - 1) {
        let entry = patiently(tail.next()).await.expect("more").expect("entry");
        assert_eq!((entry.lsn, &*entry.payload), (Lsn(lsn), record.as_bytes()));
    }
    drop(last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_are_lost_are_made_anew_where_there_is_no_object_storage() {
    let mut cluster = Cluster::start(4).await;
    (0..4).for_each(|i| cluster.keep(i, &keeper()));
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..RECORDS).await;
    let lost = view(&cluster).await;
    let lost = ended(&lost)[0].1.copies.holders[0].node.clone();
    cluster.stop(lost[4..].parse().expect("a number")).await;
    let healed = until(&cluster, async |view| all_whole(&cluster, view).await).await;
    for (_, descriptor) in ended(&healed) {
        let mut holders = descriptor.copies.holders.iter();
        assert!(holders.all(|holder| holder.node != lost));
    }
    expect_records(&wal, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_to_go_gives_its_copies_away() {
    let cluster = Cluster::start(4).await;
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..RECORDS).await;
    let before = view(&cluster).await;
    let leaving = ended(&before)[0].1.copies.holders[0].node.clone();
    let key = node_key(&leaving);
    let read = cluster.store.get(&key).await.expect("read").expect("there");
    let mut node = NodeRegistration::decode(&key, &read.value).expect("a node");
    node.state = NodeState::Drain;
    let txn = Txn::new()
        .expect_read(&key, Some(&read))
        .put(&key, node.encode(&key));
    let outcome = cluster.store.txn(txn).await.expect("written");
    assert!(matches!(outcome, TxnOutcome::Done { .. }), "{outcome:?}");
    (0..4).for_each(|i| cluster.keep(i, &keeper()));
    until(&cluster, async |view| {
        let ended = ended(view);
        let mut holders = ended.iter().flat_map(|(_, d)| &d.copies.holders);
        holders.all(|holder| holder.node != leaving) && all_whole(&cluster, view).await
    })
    .await;
    expect_records(&wal, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_made_anew_while_object_storage_is_down_and_uploaded_when_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(4).await;
    cluster.objects = Some(objects_in(&dir, &cluster));
    take_down(&dir);
    (0..4).for_each(|i| cluster.keep(i, &keeper()));
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..RECORDS).await;
    let lost = view(&cluster).await;
    let lost = ended(&lost)[0].1.copies.holders[1].node.clone();
    let lost = lost[4..].parse().expect("a number");
    cluster.stop(lost).await;
    cluster.wipe(lost);
    let healed = until(&cluster, async |view| all_whole(&cluster, view).await).await;
    assert!(!healed.segments.values().any(is_stored));
    bring_back(&dir);
    until(&cluster, async |view| all_stored(view)).await;
    expect_records(&wal, RECORDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_short_is_never_published() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(3).await;
    let objects = objects_in(&dir, &cluster);
    cluster.objects = Some(objects.clone());
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..20).await;
    cluster.stop(2).await;
    let count = 40;
    fill(&*writer, 20..count).await;
    // The next writer ends the segment, of which that disk has the first half.
    drop(writer);
    drop(wal.open_writer(LOG, Epoch(2)).await.expect("taken over"));
    for i in [0, 1] {
        cluster.stop(i).await;
    }
    // Alone with a part of the first segment.
    cluster.restart(2).await;
    cluster.keep(2, &keeper());
    let before = view(&cluster).await;
    let (first, descriptor) = ended(&before)[0];
    assert!(
        descriptor
            .copies
            .holders
            .iter()
            .any(|h| &*h.node == "log-2")
    );
    let here = copies(&cluster, first, descriptor).await;
    assert!(
        here.iter().any(|copy| matches!(copy, Copy::Short { .. })),
        "{here:?}"
    );
    // It looks many times, and publishes nothing.
    let mut looks = tokio::time::interval(keeper().look_every);
    for _ in 0..30 {
        looks.tick().await;
        assert_eq!(view(&cluster).await, before);
        assert!(objects.list().await.expect("listed").folders.is_empty());
    }
    for i in [0, 1] {
        cluster.restart(i).await;
        cluster.keep(i, &keeper());
    }
    until(&cluster, async |view| all_stored(view)).await;
    expect_records(&wal, count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_one_disk_is_found_and_mended() {
    let cluster = Cluster::start(3).await;
    let wal = cluster.wal().await;
    let (writer, _) = wal.open_writer(LOG, Epoch(1)).await.expect("open");
    fill(&*writer, 0..RECORDS).await;
    until(&cluster, async |view| all_whole(&cluster, view).await).await;
    assert!(cluster.flip(0, b"record 00007 ") > 0, "it is on that disk");
    let damaged = view(&cluster).await;
    assert!(!all_whole(&cluster, &damaged).await, "it is noticed");
    let options = KeeperOptions {
        scrub_every: Duration::from_millis(100),
        scrub_bytes_per_second: 1 << 30,
        ..keeper()
    };
    cluster.keep(0, &options);
    until(&cluster, async |view| all_whole(&cluster, view).await).await;
    expect_records(&wal, RECORDS).await;
}
