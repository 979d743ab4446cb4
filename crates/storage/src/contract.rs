//! What every object store must do for us. The local directory, a store in memory and real buckets pass it.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use holdfast_meta::{MemoryStore, MetaStore};
use holdfast_types::{Code, Coded, CollectionId, Epoch, FileRole, SegmentId, ShardId, Timestamp};

use crate::{
    CommitError, Digest, Manifests, NextManifest, ObjectInfo, ObjectPath, StorageError, Store,
    paths, store::Listed,
};

const SHARD: ShardId = ShardId {
    collection: CollectionId(7),
    index: 0,
};

fn path(segment: i64) -> ObjectPath {
    paths::segment_file(SHARD, SegmentId(segment), Epoch(1), 0, FileRole::Keys)
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>().into()
}

/// Every clause, each on an empty store that `open` makes.
///
/// # Panics
/// A clause does not hold.
pub async fn run<F: Future<Output = Store>>(open: impl Fn() -> F) {
    what_was_put_is_read_mapped_and_verified(&open().await).await;
    an_object_is_never_overwritten(&open().await).await;
    what_is_missing_or_not_as_recorded_is_told_apart(&open().await).await;
    mapped_bytes_outlive_the_object(&open().await).await;
    everything_is_listed_at_once(&open().await).await;
    one_cluster_owns_it(&open().await).await;
    commits_build_on_each_other(open().await).await;
}

async fn what_was_put_is_read_mapped_and_verified(store: &Store) {
    for (segment, len) in [0, 1, 5_000, 300_000, 6 << 20].into_iter().enumerate() {
        let path = path(segment as i64);
        let info = store.put(&path, bytes(len)).await.expect("put");
        let expected = (len as u64, Digest::of(&bytes(len)));
        assert_eq!((info.size, info.blake3), expected);
        assert_eq!(store.read(&info).await.expect("read"), bytes(len));
        assert_eq!(store.map(&info).await.expect("map"), bytes(len));
        store.verify(&info).await.expect("verify");
    }
}

async fn an_object_is_never_overwritten(store: &Store) {
    let info = store.put(&path(1), bytes(10)).await.expect("put");
    for second in [bytes(10), bytes(20)] {
        let refused = store
            .put(&path(1), second)
            .await
            .expect_err("a name is used once");
        assert!(
            matches!(refused, StorageError::AlreadyExists { .. }),
            "{refused}"
        );
    }
    assert_eq!(store.read(&info).await.expect("read"), bytes(10));
}

async fn what_is_missing_or_not_as_recorded_is_told_apart(store: &Store) {
    let info = store.put(&path(1), bytes(100)).await.expect("put");
    let missing = ObjectInfo {
        path: path(2),
        ..info.clone()
    };
    for result in [store.read(&missing).await, store.map(&missing).await] {
        let error = result.expect_err("it is missing");
        assert!(matches!(error, StorageError::NotFound { .. }), "{error}");
    }
    assert!(!store.exists(&missing.path).await.expect("head"));
    assert!(store.exists(&info.path).await.expect("head"));
    let longer = ObjectInfo {
        size: 101,
        ..info.clone()
    };
    let other = ObjectInfo {
        blake3: Digest::of(b"other"),
        ..info
    };
    for recorded in [longer, other] {
        let error = store
            .read(&recorded)
            .await
            .expect_err("it is not as recorded");
        assert_eq!(error.code(), Code::Corrupt, "{error}");
        store
            .verify(&recorded)
            .await
            .expect_err("it is not as recorded");
    }
}

async fn mapped_bytes_outlive_the_object(store: &Store) {
    let info = store.put(&path(1), bytes(9_000)).await.expect("put");
    let mapped = store.map(&info).await.expect("map");
    store.delete(&info.path).await.expect("delete");
    store
        .delete(&info.path)
        .await
        .expect("deleting again is no error");
    assert_eq!(mapped, bytes(9_000));
    assert!(!store.exists(&info.path).await.expect("head"));
    // The name may be used up, or not; the bytes are not those of before.
    let next = store.put(&path(2), bytes(1)).await.expect("put");
    store.verify(&next).await.expect("verify");
}

async fn everything_is_listed_at_once(store: &Store) {
    let mut put = Vec::new();
    for segment in 0..25 {
        let info = store.put(&path(segment), bytes(segment as usize)).await;
        put.push(info.expect("put"));
    }
    let found: Vec<Listed> = store.list("data").try_collect().await.expect("list");
    assert_eq!(found.len(), put.len());
    for info in &put {
        let one = found
            .iter()
            .find(|f| f.path == info.path)
            .expect("it is listed");
        assert_eq!(one.size, info.size);
        assert!(one.modified_ms > 1_600_000_000_000, "{one:?}");
    }
    store.delete(&put[3].path).await.expect("delete");
    let found: Vec<Listed> = store.list("data").try_collect().await.expect("list");
    assert_eq!(found.len(), put.len() - 1);
    for folder in paths::FOLDERS.iter().filter(|f| **f != "data") {
        let found: Vec<Listed> = store.list(folder).try_collect().await.expect("list");
        assert_eq!(found, []);
    }
}

async fn one_cluster_owns_it(store: &Store) {
    store.claim("a").await.expect("nobody's yet");
    store.claim("a").await.expect("ours");
    let error = store.claim("b").await.expect_err("another's");
    let StorageError::Foreign { owner, cluster } = &error else {
        panic!("{error}");
    };
    assert_eq!((owner.as_str(), cluster.as_str()), ("a", "b"));
}

async fn commits_build_on_each_other(store: Store) {
    let meta: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
    let store = Arc::new(store);
    let manifests = Manifests::new(Arc::clone(&meta), Arc::clone(&store));
    for version in 1..=3 {
        let add = |before: Option<&crate::Manifest>| {
            let next = match before {
                None => NextManifest::empty(Timestamp::from_unix_ms(1_000)),
                Some(before) => before.next(before.created.next()),
            };
            Ok::<_, CommitError>(Some(next))
        };
        let committed = manifests.update(SHARD, add).await.expect("commit");
        assert_eq!(committed.expect("a change").version.0, version);
    }
    let newest = manifests
        .current(SHARD)
        .await
        .expect("load")
        .expect("it has versions");
    let elsewhere = Manifests::new(meta, store);
    let seen = elsewhere.current(SHARD).await.expect("load");
    assert_eq!(seen, Some(newest));
}
