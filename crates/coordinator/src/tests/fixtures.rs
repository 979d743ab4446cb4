//! Fields, schemas and manifest entries.

use holdfast_storage::{
    Digest, FileEntry, IndexEntry, Manifest, NextManifest, ObjectInfo, ObjectPath, SegmentEntry,
    paths,
};
use holdfast_types::{
    CollectionId, CollectionSchema, DataType, Epoch, FieldId, FieldSchema, FileRole, IndexId, Lsn,
    ManifestVersion, PartitionId, Pk, SegmentId, ShardId, Timestamp, schema::FIRST_USER_FIELD,
};

pub(crate) fn field(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(0),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: data_type.is_dense_vector().then_some(8),
        max_length: (data_type == DataType::VarChar).then_some(64),
        max_capacity: None,
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

/// `id` (Int64, primary), `vec` (FloatVector), `name` (VarChar), `$meta`.
pub(crate) fn schema() -> CollectionSchema {
    let mut fields = vec![
        field("id", DataType::Int64),
        field("vec", DataType::FloatVector),
        field("name", DataType::VarChar),
        field("$meta", DataType::Json),
    ];
    fields[0].is_primary = true;
    fields[3].is_dynamic = true;
    fields[3].nullable = true;
    for (id, field) in (FIRST_USER_FIELD.0..).zip(&mut fields) {
        field.id = FieldId(id);
    }
    CollectionSchema {
        description: String::new(),
        fields,
        enable_dynamic_field: true,
        version: 0,
    }
}

/// The id of `vec` in [`schema`].
pub(crate) const VEC: FieldId = FieldId(101);

fn object(path: ObjectPath) -> ObjectInfo {
    ObjectInfo {
        path,
        size: 1,
        blake3: Digest::of(b"x"),
    }
}

/// A segment with a vector file and 2 000 rows of a megabyte together.
pub(crate) fn segment(shard: ShardId, partition: PartitionId, id: i64) -> SegmentEntry {
    let id = SegmentId(id);
    let role = FileRole::Vector(VEC);
    SegmentEntry {
        id,
        partition,
        rows: 2_000,
        bytes: 1 << 20,
        min_ts: Timestamp::from_unix_ms(1_000),
        max_ts: Timestamp::from_unix_ms(2_000),
        pk_min: Pk::Int(0),
        pk_max: Pk::Int(1),
        deletes_lsn: Lsn(0),
        deleted_rows: 0,
        files: vec![FileEntry {
            role,
            object: object(paths::segment_file(shard, id, Epoch(1), 0, role)),
        }],
        indexes: Vec::new(),
        level: 0,
        created: Timestamp::from_unix_ms(3_000),
    }
}

pub(crate) fn index_entry(shard: ShardId, segment: SegmentId, index: IndexId) -> IndexEntry {
    IndexEntry {
        index,
        field: VEC,
        kind: "HNSW".to_owned(),
        build: 1,
        object: object(paths::index_file(shard, segment, index, 1)),
    }
}

pub(crate) const SHARD: ShardId = ShardId {
    collection: CollectionId(1),
    index: 0,
};

/// A manifest of [`SHARD`].
pub(crate) fn manifest(segments: Vec<SegmentEntry>) -> Manifest {
    let NextManifest {
        epoch,
        covers_lsn,
        covers_ts,
        segments: _,
        delete_logs,
        truncated,
        created,
    } = NextManifest::empty(Timestamp::ZERO);
    Manifest {
        shard: SHARD,
        version: ManifestVersion(1),
        epoch,
        covers_lsn,
        covers_ts,
        segments,
        delete_logs,
        truncated,
        created,
        previous: None,
    }
}
