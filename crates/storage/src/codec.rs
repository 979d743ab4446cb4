//! Manifests and pointers as bytes: protobuf in an [`envelope`]. The format pages are
//! `docs/formats/manifest.md` and `proto/persisted/manifest.proto`.

use bytes::Bytes;
use holdfast_proto::persisted::manifest as wire;
use holdfast_types::{
    CollectionId, Epoch, FieldId, FileRole, IndexId, Lsn, ManifestVersion, PartitionId, Pk,
    SegmentId, ShardId, Timestamp,
};
use prost::Message;

use crate::{
    DeleteLogEntry, Digest, FileEntry, IndexEntry, Manifest, ObjectInfo, ObjectPath, Previous,
    SegmentEntry, envelope, paths::ObjectName,
};

const MANIFEST_MAGIC: [u8; 4] = *b"HFMN";
const POINTER_MAGIC: [u8; 4] = *b"HFMP";
const DROPPED_MAGIC: [u8; 4] = *b"HFDR";
const FORMAT_VERSION: u32 = 1;

/// Which manifest of a shard is the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) version: ManifestVersion,
    pub(crate) epoch: Epoch,
    pub(crate) manifest: ObjectInfo,
}

pub(crate) fn encode_manifest(manifest: &Manifest) -> Bytes {
    let message = manifest_to_wire(manifest).encode_to_vec();
    envelope::seal(MANIFEST_MAGIC, FORMAT_VERSION, &message)
}

/// Decodes and checks a manifest.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn decode_manifest(bytes: &Bytes) -> Result<Manifest, String> {
    let payload = envelope::open(MANIFEST_MAGIC, FORMAT_VERSION, bytes)?;
    let message = wire::Manifest::decode(payload).map_err(|e| e.to_string())?;
    let manifest = manifest_from_wire(message)?;
    manifest.check()?;
    Ok(manifest)
}

pub(crate) fn encode_pointer(pointer: &Pointer) -> Bytes {
    let Pointer {
        version,
        epoch,
        manifest,
    } = pointer;
    let message = wire::Pointer {
        version: version.0,
        epoch: epoch.0,
        manifest: Some(object_to_wire(manifest)),
    };
    envelope::seal(POINTER_MAGIC, FORMAT_VERSION, &message.encode_to_vec())
}

/// Decodes a pointer and checks that it is one of `shard`.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn decode_pointer(shard: ShardId, bytes: &Bytes) -> Result<Pointer, String> {
    let payload = envelope::open(POINTER_MAGIC, FORMAT_VERSION, bytes)?;
    let message = wire::Pointer::decode(payload).map_err(|e| e.to_string())?;
    let wire::Pointer {
        version,
        epoch,
        manifest,
    } = message;
    let pointer = Pointer {
        version: ManifestVersion(version),
        epoch: Epoch(epoch),
        manifest: object_from_wire(manifest)?,
    };
    match pointer.manifest.path.name() {
        ObjectName::Manifest {
            shard: of,
            version,
            epoch,
            nonce: _,
        } if of == shard && version == pointer.version && epoch == pointer.epoch => Ok(pointer),
        _ => Err(format!(
            "{} is not manifest {version}.{epoch} of shard {shard}",
            pointer.manifest.path
        )),
    }
}

/// The proof that a collection was dropped.
pub(crate) fn encode_dropped() -> Bytes {
    envelope::seal(DROPPED_MAGIC, FORMAT_VERSION, &[])
}

fn manifest_to_wire(manifest: &Manifest) -> wire::Manifest {
    let Manifest {
        shard,
        version,
        epoch,
        covers_lsn,
        covers_ts,
        segments,
        delete_logs,
        truncated,
        created,
        previous,
    } = manifest;
    wire::Manifest {
        collection: shard.collection.0,
        shard: shard.index,
        version: version.0,
        epoch: epoch.0,
        covers_lsn: covers_lsn.0,
        covers_ts: covers_ts.0,
        segments: segments.iter().map(segment_to_wire).collect(),
        delete_logs: delete_logs.iter().map(delete_log_to_wire).collect(),
        truncated: truncated.map(|ts| ts.0),
        created: created.0,
        previous: previous
            .as_ref()
            .map(|Previous { version, object }| wire::Previous {
                version: version.0,
                manifest: Some(object_to_wire(object)),
            }),
    }
}

fn manifest_from_wire(message: wire::Manifest) -> Result<Manifest, String> {
    let wire::Manifest {
        collection,
        shard,
        version,
        epoch,
        covers_lsn,
        covers_ts,
        segments,
        delete_logs,
        truncated,
        created,
        previous,
    } = message;
    let previous = previous
        .map(|wire::Previous { version, manifest }| {
            Ok::<_, String>(Previous {
                version: ManifestVersion(version),
                object: object_from_wire(manifest)?,
            })
        })
        .transpose()?;
    Ok(Manifest {
        shard: ShardId {
            collection: CollectionId(collection),
            index: shard,
        },
        version: ManifestVersion(version),
        epoch: Epoch(epoch),
        covers_lsn: Lsn(covers_lsn),
        covers_ts: Timestamp(covers_ts),
        segments: all(segments, segment_from_wire)?,
        delete_logs: all(delete_logs, delete_log_from_wire)?,
        truncated: truncated.map(Timestamp),
        created: Timestamp(created),
        previous,
    })
}

fn segment_to_wire(segment: &SegmentEntry) -> wire::Segment {
    let SegmentEntry {
        id,
        partition,
        rows,
        bytes,
        min_ts,
        max_ts,
        pk_min,
        pk_max,
        deletes_lsn,
        deleted_rows,
        files,
        indexes,
        level,
        created,
    } = segment;
    wire::Segment {
        id: id.0,
        partition: partition.0,
        rows: *rows,
        bytes: *bytes,
        min_ts: min_ts.0,
        max_ts: max_ts.0,
        pk_min: Some(key_to_wire(pk_min)),
        pk_max: Some(key_to_wire(pk_max)),
        deletes_lsn: deletes_lsn.0,
        deleted_rows: *deleted_rows,
        files: files.iter().map(file_to_wire).collect(),
        indexes: indexes.iter().map(index_to_wire).collect(),
        level: *level,
        created: created.0,
    }
}

fn segment_from_wire(message: wire::Segment) -> Result<SegmentEntry, String> {
    let wire::Segment {
        id,
        partition,
        rows,
        bytes,
        min_ts,
        max_ts,
        pk_min,
        pk_max,
        deletes_lsn,
        deleted_rows,
        files,
        indexes,
        level,
        created,
    } = message;
    Ok(SegmentEntry {
        id: SegmentId(id),
        partition: PartitionId(partition),
        rows,
        bytes,
        min_ts: Timestamp(min_ts),
        max_ts: Timestamp(max_ts),
        pk_min: key_from_wire(pk_min)?,
        pk_max: key_from_wire(pk_max)?,
        deletes_lsn: Lsn(deletes_lsn),
        deleted_rows,
        files: all(files, file_from_wire)?,
        indexes: all(indexes, index_from_wire)?,
        level,
        created: Timestamp(created),
    })
}

fn file_to_wire(file: &FileEntry) -> wire::File {
    use wire::file::Role;
    let FileEntry { role, object } = file;
    wire::File {
        role: Some(match role {
            FileRole::Columns => Role::Columns(wire::Unit {}),
            FileRole::Vector(field) => Role::Vector(field.0),
            FileRole::Keys => Role::Keys(wire::Unit {}),
            FileRole::Deletes => Role::Deletes(wire::Unit {}),
        }),
        object: Some(object_to_wire(object)),
    }
}

fn file_from_wire(message: wire::File) -> Result<FileEntry, String> {
    use wire::file::Role;
    let wire::File { role, object } = message;
    Ok(FileEntry {
        role: match role.ok_or("a file has no role that this release knows")? {
            Role::Columns(wire::Unit {}) => FileRole::Columns,
            Role::Vector(field) => FileRole::Vector(FieldId(field)),
            Role::Keys(wire::Unit {}) => FileRole::Keys,
            Role::Deletes(wire::Unit {}) => FileRole::Deletes,
        },
        object: object_from_wire(object)?,
    })
}

fn index_to_wire(entry: &IndexEntry) -> wire::Index {
    let IndexEntry {
        index,
        field,
        kind,
        build,
        object,
    } = entry;
    wire::Index {
        index: index.0,
        field: field.0,
        kind: kind.clone(),
        build: *build,
        object: Some(object_to_wire(object)),
    }
}

fn index_from_wire(message: wire::Index) -> Result<IndexEntry, String> {
    let wire::Index {
        index,
        field,
        kind,
        build,
        object,
    } = message;
    Ok(IndexEntry {
        index: IndexId(index),
        field: FieldId(field),
        kind,
        build,
        object: object_from_wire(object)?,
    })
}

fn delete_log_to_wire(entry: &DeleteLogEntry) -> wire::DeleteLog {
    let DeleteLogEntry {
        object,
        first_lsn,
        last_lsn,
        min_ts,
        max_ts,
        count,
    } = entry;
    wire::DeleteLog {
        object: Some(object_to_wire(object)),
        first_lsn: first_lsn.0,
        last_lsn: last_lsn.0,
        min_ts: min_ts.0,
        max_ts: max_ts.0,
        count: *count,
    }
}

fn delete_log_from_wire(message: wire::DeleteLog) -> Result<DeleteLogEntry, String> {
    let wire::DeleteLog {
        object,
        first_lsn,
        last_lsn,
        min_ts,
        max_ts,
        count,
    } = message;
    Ok(DeleteLogEntry {
        object: object_from_wire(object)?,
        first_lsn: Lsn(first_lsn),
        last_lsn: Lsn(last_lsn),
        min_ts: Timestamp(min_ts),
        max_ts: Timestamp(max_ts),
        count,
    })
}

fn object_to_wire(object: &ObjectInfo) -> wire::Object {
    let ObjectInfo { path, size, blake3 } = object;
    wire::Object {
        path: path.to_string(),
        size: *size,
        blake3: Bytes::copy_from_slice(&blake3.0),
    }
}

fn object_from_wire(message: Option<wire::Object>) -> Result<ObjectInfo, String> {
    let wire::Object { path, size, blake3 } = message.ok_or("an object is missing")?;
    let path = ObjectPath::parse(&path).map_err(|e| e.to_string())?;
    let blake3 = blake3[..]
        .try_into()
        .map_err(|_| format!("{path}: its BLAKE3 has {} bytes, not 32", blake3.len()))?;
    Ok(ObjectInfo {
        path,
        size,
        blake3: Digest(blake3),
    })
}

fn key_to_wire(key: &Pk) -> wire::Key {
    use wire::key::Key;
    wire::Key {
        key: Some(match key {
            Pk::Int(int) => Key::Int(*int),
            Pk::Str(text) => Key::Str(text.to_string()),
        }),
    }
}

fn key_from_wire(message: Option<wire::Key>) -> Result<Pk, String> {
    use wire::key::Key;
    match message.and_then(|m| m.key).ok_or("a key is missing")? {
        Key::Int(int) => Ok(Pk::Int(int)),
        Key::Str(text) => Ok(Pk::Str(text.into())),
    }
}

fn all<A, B>(items: Vec<A>, each: impl Fn(A) -> Result<B, String>) -> Result<Vec<B>, String> {
    items.into_iter().map(each).collect()
}

#[cfg(test)]
mod tests;
