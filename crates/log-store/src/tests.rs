//! What was stored is read back, or refused; and only whole segments are stored.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_qlog::{
    Copies, Entry, StorageId,
    messages::ClusterId,
    meta::{ManifestRef, SegmentDescriptor, SegmentState},
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

use crate::{Attempt, Folder, LogStore, LogStoreError, Options};

const LOG: ChannelId = ChannelId(7);
const SEGMENT: LogSegment = LogSegment(1 << 24 | 3);
const CLUSTER: ClusterId = ClusterId([9; 16]);
const LAST: Lsn = Lsn(129);

fn options() -> Options {
    Options {
        object_bytes: 4000,
        block_bytes: 1000,
        ..Options::default()
    }
}

fn descriptor() -> SegmentDescriptor {
    SegmentDescriptor {
        epoch: Epoch(3),
        first: Lsn(30),
        tick_floor: Timestamp(0),
        state: SegmentState::Sealed { end: LAST },
        copies: Copies {
            holders: Vec::new(),
            quorum: 2,
            zones: 2,
        },
    }
}

fn attempt(number: u64) -> Attempt {
    Attempt {
        storage: StorageId([1; 16]),
        generation: 2,
        number,
    }
}

fn entries(lsns: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let entry = |lsn: u64| {
        let payload = Bytes::from(vec![lsn as u8; 2 * lsn as usize]);
        Entry::new(LOG, Lsn(lsn), Timestamp(lsn), None, payload)
    };
    lsns.map(entry).collect()
}

async fn upload(store: &LogStore, number: u64) -> ManifestRef {
    let mut upload = store.upload(LOG, SEGMENT, &descriptor(), LAST, attempt(number));
    upload.push(entries(30..=77)).await.unwrap();
    // What lies beyond the end does not count.
    upload.push(entries(78..=140)).await.unwrap();
    assert!(upload.is_complete());
    upload.finish().await.unwrap()
}

async fn read_all(store: &LogStore, named: &ManifestRef) -> Result<Vec<Entry>, LogStoreError> {
    let mut stored = store.open_segment(LOG, named).await?;
    let mut all: Vec<Entry> = Vec::new();
    let mut from = Lsn(30);
    while from <= LAST {
        let some = stored.read(from).await?;
        from = some.last().map(|entry| entry.lsn.next()).expect("some");
        all.extend(some);
    }
    Ok(all)
}

#[tokio::test]
async fn what_was_stored_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dir: dir.path().to_owned(),
        ..options()
    };
    let store = LogStore::open(&options, CLUSTER).unwrap().unwrap();
    let named = upload(&store, 1).await;
    assert_eq!(read_all(&store, &named).await.unwrap(), entries(30..=129));
    let mut stored = store.open_segment(LOG, &named).await.unwrap();
    assert_eq!(stored.read(Lsn(100)).await.unwrap()[0].lsn, Lsn(100));
    assert!(stored.read(Lsn(29)).await.unwrap().is_empty());
    let listed = store.list().await.unwrap();
    let folder = Folder::new(CLUSTER, LOG, SEGMENT, attempt(1));
    assert!(
        listed.folders[&folder].len() > 4,
        "several objects: {listed:?}"
    );
    for name in &listed.folders[&folder] {
        store.delete(name).await.unwrap();
        store.delete(name).await.unwrap();
    }
    assert!(store.list().await.unwrap().folders.is_empty());
    let gone = read_all(&store, &named).await.unwrap_err();
    assert!(matches!(gone, LogStoreError::Missing { .. }), "{gone}");
}

#[tokio::test]
async fn a_copy_that_is_not_whole_is_never_published() {
    let store = LogStore::new(Arc::new(InMemory::new()), CLUSTER, options());
    let begin = |number| store.upload(LOG, SEGMENT, &descriptor(), LAST, attempt(number));
    let mut damaged = entries(30..=129);
    damaged[50].payload = Bytes::from_static(b"other");
    let mut gap = entries(30..=50);
    gap.extend(entries(52..=129));
    let wrong = [
        entries(30..=128),
        entries(31..=129),
        Vec::new(),
        gap,
        damaged,
    ];
    for (number, some) in (0..).zip(wrong) {
        let mut upload = begin(number);
        let pushed = upload.push(some).await;
        let done = match pushed {
            Ok(()) => upload.finish().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(
            matches!(done, Err(LogStoreError::NotWhole(_))),
            "{number}: {done:?}"
        );
        upload.discard().await.unwrap();
    }
    assert!(store.list().await.unwrap().folders.is_empty());
}

#[tokio::test]
async fn damage_anywhere_is_noticed() {
    let objects = Arc::new(InMemory::new());
    let store = LogStore::new(objects.clone(), CLUSTER, options());
    let named = upload(&store, 1).await;
    let names: Vec<String> = store
        .list()
        .await
        .unwrap()
        .folders
        .into_values()
        .flatten()
        .collect();
    for name in names {
        let path = Path::from(name.as_str());
        let whole = objects.get(&path).await.unwrap().bytes().await.unwrap();
        // No reader of a part needs the head of an object: the footer vouches for it.
        let from = if name.ends_with("manifest") { 0 } else { 64 };
        for at in (from..whole.len()).step_by(7).chain([whole.len() - 1]) {
            let mut changed = whole.to_vec();
            changed[at] ^= 1;
            objects.put(&path, changed.into()).await.unwrap();
            let read = read_all(&store, &named).await;
            assert!(
                matches!(read, Err(LogStoreError::Damaged { .. })),
                "{name}, byte {at}"
            );
        }
        objects
            .put(&path, whole.slice(..whole.len() - 1).into())
            .await
            .unwrap();
        assert!(read_all(&store, &named).await.is_err(), "{name}, cut");
        objects.put(&path, whole.into()).await.unwrap();
    }
    assert!(read_all(&store, &named).await.is_ok());
}

#[tokio::test]
async fn two_attempts_share_no_name_and_other_clusters_are_not_seen() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = LogStore::new(Arc::clone(&objects), CLUSTER, options());
    let other = LogStore::new(objects, ClusterId([8; 16]), options());
    let (a, b) = (upload(&store, 1).await, upload(&store, 2).await);
    assert_ne!(a.key, b.key);
    assert_eq!(store.list().await.unwrap().folders.len(), 2);
    assert!(other.list().await.unwrap().folders.is_empty());
    let read = other.open_segment(LOG, &a).await;
    assert!(matches!(read, Err(LogStoreError::Damaged { .. })));
}

#[test]
fn names_that_are_not_ours_are_left_alone() {
    let folder = Folder::new(CLUSTER, LOG, SEGMENT, attempt(1));
    for ours in [folder.part(0), folder.part(12), folder.manifest()] {
        assert_eq!(Folder::of(CLUSTER, &ours), Some(folder.clone()));
    }
    let manifest = folder.manifest();
    for other in [
        "x",
        &manifest[1..],
        &format!("{manifest}/1"),
        &folder.path,
        &format!("{manifest}2"),
    ] {
        assert_eq!(Folder::of(CLUSTER, other), None, "{other}");
    }
}
