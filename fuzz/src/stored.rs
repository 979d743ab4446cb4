//! Manifests, their pointers, delete logs and the catalog.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use holdfast_meta::{
    Catalog, DEFAULT_DATABASE, MemoryStore, MetaStore, NewCollection, Txn, envelope, keys,
};
use holdfast_storage::{
    DeleteLogEntry, Digest, FileEntry, IndexEntry, Manifest, Manifests, ObjectInfo, ObjectPath,
    SegmentEntry, Store,
    delete_log::{self, DeleteLog},
    paths, testing,
};
use holdfast_types::{
    ChannelId, CollectionId, Epoch, FieldId, FileRole, IndexId, Lsn, ManifestVersion, PartitionId,
    Pk, PkList, SegmentId, ShardId, Timestamp,
};
use prost::Message;

use crate::{checksums, edits, sample};

const SHARD: ShardId = ShardId {
    collection: CollectionId(7),
    index: 1,
};
const ENVELOPE_BYTES: usize = 20;

fn object(path: ObjectPath) -> ObjectInfo {
    ObjectInfo {
        blake3: Digest::of(path.as_str().as_bytes()),
        size: 10,
        path,
    }
}

static MANIFEST: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let id = SegmentId(42);
    let roles = [
        FileRole::Columns,
        FileRole::Keys,
        FileRole::Vector(FieldId(101)),
        FileRole::Deletes,
    ];
    let files = roles.map(|role| FileEntry {
        role,
        object: object(paths::segment_file(SHARD, id, Epoch(3), 0, role)),
    });
    let manifest = Manifest {
        shard: SHARD,
        version: ManifestVersion(1),
        epoch: Epoch(3),
        covers_lsn: Lsn(30),
        covers_ts: Timestamp(400),
        segments: vec![SegmentEntry {
            id,
            partition: PartitionId(2),
            rows: 10,
            bytes: 40,
            min_ts: Timestamp(100),
            max_ts: Timestamp(200),
            pk_min: Pk::Int(-5),
            pk_max: Pk::Int(5),
            deletes_lsn: Lsn(20),
            deleted_rows: 1,
            files: files.into(),
            indexes: vec![IndexEntry {
                index: IndexId(9),
                field: FieldId(101),
                kind: "HNSW".to_owned(),
                build: 1,
                object: object(paths::index_file(SHARD, id, IndexId(9), 1)),
            }],
            level: 0,
            created: Timestamp(300),
        }],
        delete_logs: vec![DeleteLogEntry {
            object: object(paths::delete_log(SHARD, Lsn(21), Lsn(30), Epoch(3), 0)),
            first_lsn: Lsn(21),
            last_lsn: Lsn(30),
            min_ts: Timestamp(210),
            max_ts: Timestamp(400),
            count: 2,
        }],
        truncated: Some(Timestamp(50)),
        created: Timestamp(500),
        previous: None,
    };
    let bytes = testing::encode_manifest(&manifest);
    testing::decode_manifest(&bytes).expect("the sample is a manifest");
    bytes.to_vec()
});

/// Decodes a manifest. What was accepted is written as it was read.
pub fn manifest(input: &[u8]) {
    let payload = &MANIFEST[ENVELOPE_BYTES..];
    let bytes = match input.first() {
        Some(mode) if mode & 2 != 0 => {
            checksums::envelope(*b"HFMN", &edits::file(payload, input, |_| {}))
        }
        _ => edits::file(&MANIFEST, input, |_| {}),
    };
    if let Ok(manifest) = testing::decode_manifest(&bytes.into()) {
        let again = testing::decode_manifest(&testing::encode_manifest(&manifest));
        assert_eq!(again, Ok(manifest));
    }
}

/// Runs `work` on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made")
        .block_on(work)
}

static STORE: LazyLock<(tempfile::TempDir, Arc<Store>)> = LazyLock::new(|| {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    let store = Store::open_local(root.path()).expect("the directory is new");
    (root, Arc::new(store))
});

/// Reads a pointer to a manifest.
pub fn pointer(input: &[u8]) {
    let valid = {
        use holdfast_proto::persisted::manifest as pb;
        pb::Pointer {
            version: 1,
            epoch: 3,
            manifest: None,
        }
        .encode_to_vec()
    };
    let bytes = match input.first() {
        Some(mode) if mode & 2 != 0 => {
            checksums::envelope(*b"HFMP", &edits::file(&valid, input, |_| {}))
        }
        _ => edits::file(&valid, input, |_| {}),
    };
    block_on(async {
        let meta = Arc::new(MemoryStore::new());
        let put = Txn::new().put(keys::manifest(SHARD), Bytes::from(bytes));
        let _done = meta.txn(put).await.expect("memory takes every value");
        drop(
            Manifests::new(meta, Arc::clone(&STORE.1))
                .version(SHARD)
                .await,
        );
    });
}

static DELETES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let stamps = vec![Timestamp(1), Timestamp(1), Timestamp(9)];
    let ints = PkList::Int(vec![3, -3, i64::MAX]);
    let texts = PkList::Str(vec!["a".into(), "".into(), "äöü".into()]);
    [ints, texts].map(|keys| delete_log::encode(&DeleteLog::new(keys, stamps.clone())).to_vec())
});

/// Decodes a delete log. What was accepted is written as it was read.
pub fn delete_log(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let valid = &DELETES[usize::from(which & 1)];
    let bytes = match input.first() {
        Some(mode) if mode & 2 != 0 => checksums::envelope(
            *b"HFDL",
            &edits::file(&valid[ENVELOPE_BYTES..], input, |_| {}),
        ),
        _ => edits::file(valid, input, |_| {}),
    };
    let path = paths::delete_log(SHARD, Lsn(1), Lsn(2), Epoch(1), 0);
    let bytes = Bytes::from(bytes);
    if let Ok(log) = delete_log::decode(&path, &bytes) {
        let runs: usize = log.runs().map(|(_, keys)| keys.len()).sum();
        assert_eq!(runs, log.len());
        assert_eq!(delete_log::encode(&log), bytes);
    }
}

/// The keys and values of a catalog with one collection.
static CATALOG: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    block_on(async {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::open(store.clone(), Timestamp(1))
            .await
            .expect("a new catalog");
        let new = NewCollection {
            name: "books".to_owned(),
            schema: sample::every_type(),
            shards: vec![ChannelId(0), ChannelId(0)],
            consistency: 2,
            properties: BTreeMap::from([("collection.ttl.seconds".to_owned(), "60".to_owned())]),
            num_partitions: 0,
            partitions: vec!["_default".to_owned()],
        };
        catalog
            .create_collection(DEFAULT_DATABASE, &new, Timestamp(2))
            .await
            .expect("a new name");
        let range = store.range("").await.expect("memory answers");
        range
            .items
            .into_iter()
            .map(|item| {
                let payload = envelope::open(&item.key, &item.value).expect("the catalog wrote it");
                (item.key, payload.to_vec())
            })
            .collect()
    })
});

/// Opens a catalog of which one value is the input.
pub fn catalog(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let changed = usize::from(which) % CATALOG.len();
    block_on(async {
        let store = Arc::new(MemoryStore::new());
        let mut txn = Txn::new();
        for (i, (key, payload)) in CATALOG.iter().enumerate() {
            let payload = match i == changed {
                true => edits::file(payload, input, |_| {}),
                false => payload.clone(),
            };
            txn = txn.put(key, envelope::seal(key, &payload));
        }
        let _done = store.txn(txn).await.expect("memory takes every value");
        if let Ok(catalog) = Catalog::open(store, Timestamp(3)).await {
            for collection in catalog.snapshot().collections() {
                let _key = collection.schema.primary();
                for id in collection.shard_ids() {
                    assert_eq!(id.collection, collection.id);
                }
            }
            drop(catalog.allocate_ids(3).await);
        }
    });
}
