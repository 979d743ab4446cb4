//! Puts, reads and maps, with and without faults.

use holdfast_types::{Code, Coded, CollectionId, Epoch, FileRole, SegmentId, ShardId};
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::{
    contract, paths,
    testing::{Fault, Faulty},
};

fn path(segment: i64) -> ObjectPath {
    let shard = ShardId {
        collection: CollectionId(7),
        index: 0,
    };
    paths::segment_file(shard, SegmentId(segment), Epoch(1), 0, FileRole::Keys)
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>().into()
}

struct Local {
    root: TempDir,
    faults: Arc<Faulty>,
    store: Store,
}

fn local() -> Local {
    let root = tempfile::tempdir().unwrap();
    let mut faults = None;
    let store = Store::open_local_through(root.path(), |files| {
        let faulty = Faulty::new(files);
        faults = Some(Arc::clone(&faulty));
        faulty
    });
    Local {
        root,
        faults: faults.unwrap(),
        store: store.unwrap(),
    }
}

fn remote() -> (TempDir, Arc<Faulty>, Store) {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faulty::new(Arc::new(InMemory::new()));
    let options = CacheOptions {
        folder: folder.path().join("cache"),
        bytes_max: 1 << 20,
    };
    let store = Store::new(Arc::clone(&faults) as Arc<dyn ObjectStore>, &options).unwrap();
    (folder, faults, store)
}

/// Every file under a directory, relative to it.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn every_backing_keeps_the_contract() {
    let folders = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let fresh = || {
        count.set(count.get() + 1);
        folders.path().join(count.get().to_string())
    };
    contract::run(|| async { Store::open_local(&fresh()).unwrap() }).await;
    let far = |fault: Option<Fault>| {
        let bucket = Faulty::new(Arc::new(InMemory::new()));
        // The answer to the first put tells the store that the bucket knows no conditions.
        bucket.fail_puts([fault]);
        let options = CacheOptions {
            folder: fresh(),
            bytes_max: 8 << 20,
        };
        Store::new(bucket, &options).unwrap()
    };
    contract::run(|| async { far(None) }).await;
    contract::run(|| async { far(Some(Fault::Unconditional)) }).await;
    contract::run(|| async { far(None).without_conditional_puts() }).await;
}

#[tokio::test]
async fn objects_are_files_of_their_names() {
    let local = local();
    local.store.put(&path(5_000), bytes(10)).await.unwrap();
    assert_eq!(files(local.root.path()), ["data/7/0/5000.1.0/keys"]);
}

#[tokio::test]
async fn a_full_disk_is_told_apart_leaves_nothing_behind_and_passes() {
    let local = local();
    let Local {
        root,
        faults,
        store,
    } = &local;
    faults.fail_puts([Some(Fault::Full)]);
    let full = store.put(&path(1), bytes(10)).await.unwrap_err();
    assert!(matches!(full, StorageError::Full { .. }), "{full}");
    assert_eq!(full.code(), Code::QuotaExceeded);
    assert!(full.to_string().contains("data/7/0/1.1.0/keys"), "{full}");
    assert_eq!(files(root.path()), [""; 0]);
    let info = store.put(&path(1), bytes(10)).await.unwrap();
    store.verify(&info).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_uses_the_name_up() {
    let local = local();
    let Local { faults, store, .. } = &local;
    faults.fail_puts([Some(Fault::AnswerLost)]);
    let lost = store.put(&path(1), bytes(10)).await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    let again = store.put(&path(1), bytes(10)).await.unwrap_err();
    assert!(
        matches!(again, StorageError::AlreadyExists { .. }),
        "{again}"
    );
}

#[tokio::test]
async fn missing_damaged_and_unreachable_are_told_apart() {
    let (_cache, faults, store) = remote();
    let info = store.put(&path(1), bytes(100)).await.unwrap();
    let missing = ObjectInfo {
        path: path(2),
        ..info.clone()
    };
    for result in [store.read(&missing).await, store.map(&missing).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
    }
    let faulty = [Fault::Flipped(50), Fault::Cut(99), Fault::Cut(0)];
    for fault in faulty {
        faults.fail_gets([Some(fault); 3]);
        let read = store.read(&info).await.unwrap_err();
        let mapped = store.map(&info).await.unwrap_err();
        let verified = store.verify(&info).await.unwrap_err();
        for error in [read, mapped, verified] {
            assert!(
                matches!(error, StorageError::Damaged { .. }),
                "{fault:?}: {error}"
            );
            assert_eq!(error.code(), Code::Corrupt);
            assert!(error.to_string().contains("data/7/0/1.1.0/keys"), "{error}");
        }
    }
    faults.fail_gets([Some(Fault::Unavailable)]);
    let away = store.read(&info).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
    store.verify(&info).await.unwrap();
}

#[tokio::test]
async fn a_local_object_changed_from_outside_is_refused() {
    let local = local();
    let Local { root, store, .. } = &local;
    let info = store.put(&path(1), bytes(100)).await.unwrap();
    let file = root.path().join(info.path.as_str());
    std::fs::write(&file, bytes(99)).unwrap();
    for result in [store.read(&info).await, store.map(&info).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
    let mut flipped = bytes(100).to_vec();
    flipped[99] ^= 0x80;
    std::fs::write(&file, flipped).unwrap();
    for result in [store.read(&info).await.map(drop), store.verify(&info).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    for result in [store.read(&info).await, store.map(&info).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn another_object_in_its_place_is_noticed() {
    let local = local();
    let Local { root, store, .. } = &local;
    let info = store.put(&path(1), bytes(300_000)).await.unwrap();
    let mapped = store.map(&info).await.unwrap();
    info.check(&mapped).unwrap();
    let other = vec![7; 300_000];
    std::fs::write(root.path().join(info.path.as_str()), other).unwrap();
    let mapped = store.map(&info).await.unwrap();
    let error = info.check(&mapped).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn mapped_bytes_outlive_the_object_and_empty_folders_go() {
    let local = local();
    let Local { root, store, .. } = &local;
    let info = store.put(&path(1), bytes(9_000)).await.unwrap();
    let mapped = store.map(&info).await.unwrap();
    store.delete(&info.path).await.unwrap();
    store.delete(&info.path).await.unwrap();
    assert_eq!(mapped, bytes(9_000));
    assert!(!root.path().join("data").exists());
    // The folders are made, and made durable, anew.
    let info = store.put(&info.path, bytes(1)).await.unwrap();
    store.verify(&info).await.unwrap();
}

#[tokio::test]
async fn only_our_own_objects_are_listed() {
    let local = local();
    let Local { root, store, .. } = &local;
    let info = store.put(&path(1), bytes(3)).await.unwrap();
    let folder = root.path().join("data/7/0/1.1.0");
    for stranger in ["keys#1", "notes.txt"] {
        std::fs::write(folder.join(stranger), b"?").unwrap();
    }
    let mut listed = Vec::new();
    for folder in paths::FOLDERS {
        let found: Vec<Listed> = store.list(folder).try_collect().await.unwrap();
        listed.extend(found);
    }
    let [one] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!((&one.path, one.size), (&info.path, 3));
}
