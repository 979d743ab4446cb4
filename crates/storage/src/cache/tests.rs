//! What is fetched, what is found again, what is evicted.

use holdfast_types::{CollectionId, Epoch, FileRole, SegmentId, ShardId};
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::{
    Store, paths,
    testing::{Fault, Faulty},
};

struct World {
    folder: TempDir,
    bucket: Arc<Faulty>,
    store: Store,
}

fn open(folder: &Path, bucket: &Arc<Faulty>, bytes_max: u64) -> Store {
    let options = CacheOptions {
        folder: folder.to_owned(),
        bytes_max,
    };
    Store::new(Arc::clone(bucket) as Arc<dyn ObjectStore>, &options).unwrap()
}

fn world(bytes_max: u64) -> World {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Faulty::new(Arc::new(InMemory::new()));
    let store = open(folder.path(), &bucket, bytes_max);
    World {
        folder,
        bucket,
        store,
    }
}

/// An object of 100 bytes.
async fn put(store: &Store, segment: u8) -> ObjectInfo {
    let shard = ShardId {
        collection: CollectionId(1),
        index: 0,
    };
    let id = SegmentId(i64::from(segment));
    let path = paths::segment_file(shard, id, Epoch(1), 0, FileRole::Columns);
    store.put(&path, vec![segment; 100].into()).await.unwrap()
}

fn copies(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

#[tokio::test]
async fn an_object_is_fetched_once_and_found_by_the_next_process() {
    let World {
        folder,
        bucket,
        store,
    } = world(1_000);
    let info = put(&store, 1).await;
    for _ in 0..3 {
        assert_eq!(store.map(&info).await.unwrap(), vec![1; 100]);
    }
    let (a, b) = (
        store.map(&info).await.unwrap(),
        store.map(&info).await.unwrap(),
    );
    assert_eq!(a.as_ptr(), b.as_ptr(), "one mapping for all");
    assert_eq!(bucket.get_count(), 1);
    drop(store);
    std::fs::write(folder.path().join("stranger"), b"").unwrap();
    let store = open(folder.path(), &bucket, 1_000);
    assert_eq!(store.map(&info).await.unwrap(), vec![1; 100]);
    assert_eq!(bucket.get_count(), 1);
    assert!(folder.path().join("stranger").exists());
}

#[tokio::test]
async fn a_copy_torn_by_a_crash_is_fetched_again() {
    let World {
        folder,
        bucket,
        store,
    } = world(1_000);
    let info = put(&store, 1).await;
    store.map(&info).await.unwrap();
    drop(store);
    let copy = std::fs::read_dir(folder.path()).unwrap().next().unwrap();
    let copy = copy.unwrap().path();
    for torn in [vec![0; 100], vec![1; 99], vec![]] {
        std::fs::write(&copy, torn).unwrap();
        let mut partial = copy.clone().into_os_string();
        partial.push(TEMPORARY);
        std::fs::write(partial, b"half").unwrap();
        let before = bucket.get_count();
        let store = open(folder.path(), &bucket, 1_000);
        assert_eq!(store.map(&info).await.unwrap(), vec![1; 100]);
        assert_eq!(bucket.get_count(), before + 1);
        assert_eq!(copies(&folder), 1);
    }
}

#[tokio::test]
async fn the_copy_unused_longest_makes_room() {
    let world = world(250);
    let World {
        folder,
        bucket,
        store,
    } = &world;
    let (a, b, c) = (
        put(store, 1).await,
        put(store, 2).await,
        put(store, 3).await,
    );
    store.map(&a).await.unwrap();
    store.map(&b).await.unwrap();
    store.map(&a).await.unwrap();
    store.map(&c).await.unwrap();
    assert_eq!((copies(folder), bucket.get_count()), (2, 3));
    store.map(&a).await.unwrap();
    assert_eq!(bucket.get_count(), 3, "a is still there");
    store.map(&b).await.unwrap();
    assert_eq!(bucket.get_count(), 4, "b made room for c");
}

#[tokio::test]
async fn what_is_in_use_stays_and_a_cache_full_of_it_refuses() {
    let world = world(250);
    let World { folder, store, .. } = &world;
    let (a, b, c) = (
        put(store, 1).await,
        put(store, 2).await,
        put(store, 3).await,
    );
    let (in_use, also) = (store.map(&a).await.unwrap(), store.map(&b).await.unwrap());
    let full = store.map(&c).await.unwrap_err();
    assert!(
        matches!(
            full,
            StorageError::CacheFull {
                needed: 100,
                budget: 250,
                ..
            }
        ),
        "{full}"
    );
    drop(also);
    assert_eq!(store.map(&c).await.unwrap(), vec![3; 100]);
    assert_eq!(in_use, vec![1; 100]);
    assert_eq!(copies(folder), 2);
}

#[tokio::test]
async fn a_failed_fetch_leaves_no_file_and_gives_its_room_back() {
    let world = world(150);
    let World {
        folder,
        bucket,
        store,
    } = &world;
    let (info, other) = (put(store, 1).await, put(store, 2).await);
    for fault in [Fault::Unavailable, Fault::Cut(50), Fault::Flipped(3)] {
        bucket.fail_gets([Some(fault)]);
        assert!(store.map(&info).await.is_err());
        assert_eq!(copies(folder), 0, "{fault:?}");
        // There is room for one: as much as if nothing had been tried.
        drop(store.map(&other).await.unwrap());
    }
    assert_eq!(store.map(&info).await.unwrap(), vec![1; 100]);
}

#[tokio::test]
async fn a_folder_over_the_budget_is_cut_down_at_the_start() {
    let World {
        folder,
        bucket,
        store,
    } = world(1_000);
    for segment in 1..=5 {
        store.map(&put(&store, segment).await).await.unwrap();
    }
    drop(store);
    let _store = open(folder.path(), &bucket, 250);
    assert_eq!(copies(&folder), 2);
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_fetch() {
    let world = world(1_000);
    let World { bucket, store, .. } = &world;
    let info = put(store, 9).await;
    let asked = (0..20).map(|_| store.map(&info));
    for bytes in futures::future::join_all(asked).await {
        assert_eq!(bytes.unwrap(), vec![9; 100]);
    }
    assert_eq!(bucket.get_count(), 1);
}
