//! Manifests for tests.

use holdfast_types::{
    CollectionId, Epoch, FieldId, FileRole, IndexId, Lsn, ManifestVersion, PartitionId, Pk,
    SegmentId, ShardId, Timestamp,
};

use crate::{
    DeleteLogEntry, Digest, FileEntry, IndexEntry, Manifest, ObjectInfo, ObjectPath, Previous,
    SegmentEntry, paths,
};

pub(crate) const SHARD: ShardId = ShardId {
    collection: CollectionId(7),
    index: 1,
};

/// An object that says what it is called.
pub(crate) fn object(path: ObjectPath) -> ObjectInfo {
    let blake3 = Digest::of(path.as_str().as_bytes());
    ObjectInfo {
        size: path.as_str().len() as u64,
        path,
        blake3,
    }
}

/// A segment with two files.
pub(crate) fn segment(id: i64) -> SegmentEntry {
    let id = SegmentId(id);
    let file = |role| FileEntry {
        role,
        object: object(paths::segment_file(SHARD, id, Epoch(3), 0, role)),
    };
    SegmentEntry {
        id,
        partition: PartitionId(2),
        rows: 10,
        bytes: 1_000,
        min_ts: Timestamp(100),
        max_ts: Timestamp(200),
        pk_min: Pk::Int(-5),
        pk_max: Pk::Int(5),
        deletes_lsn: Lsn(20),
        deleted_rows: 1,
        files: vec![file(FileRole::Columns), file(FileRole::Keys)],
        indexes: Vec::new(),
        level: 0,
        created: Timestamp(300),
    }
}

/// A manifest in which every field is set.
pub(crate) fn manifest() -> Manifest {
    let mut full = segment(42);
    let id = full.id;
    for role in [FileRole::Vector(FieldId(101)), FileRole::Deletes] {
        let path = paths::segment_file(SHARD, id, Epoch(3), 1, role);
        full.files.push(FileEntry {
            role,
            object: object(path),
        });
    }
    full.pk_min = Pk::Str("a".into());
    full.pk_max = Pk::Str("\u{e9}".into());
    full.level = 2;
    full.indexes = vec![IndexEntry {
        index: IndexId(5),
        field: FieldId(101),
        kind: "HNSW".to_owned(),
        build: 9,
        object: object(paths::index_file(SHARD, id, IndexId(5), 9)),
    }];
    Manifest {
        shard: SHARD,
        version: ManifestVersion(6),
        epoch: Epoch(3),
        covers_lsn: Lsn(20),
        covers_ts: Timestamp(250),
        segments: vec![full, segment(43)],
        delete_logs: vec![DeleteLogEntry {
            object: object(paths::delete_log(SHARD, Lsn(11), Lsn(20), Epoch(3), 0)),
            first_lsn: Lsn(11),
            last_lsn: Lsn(20),
            min_ts: Timestamp(210),
            max_ts: Timestamp(240),
            count: 4,
        }],
        truncated: Some(Timestamp(50)),
        created: Timestamp(400),
        previous: Some(Previous {
            version: ManifestVersion(5),
            object: object(paths::manifest(SHARD, ManifestVersion(5), Epoch(2), 0xabc)),
        }),
    }
}
