//! What makes up a shard at one version.

use holdfast_types::{
    Epoch, FieldId, FileRole, IndexId, Lsn, ManifestVersion, PartitionId, Pk, SegmentId, ShardId,
    Timestamp,
};

use crate::{ObjectInfo, ObjectPath};

mod check;
#[cfg(test)]
pub(crate) mod sample;

/// One version of one shard: complete in itself, never changed once written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The shard.
    pub shard: ShardId,
    /// Dense per shard, the first is 1.
    pub version: ManifestVersion,
    /// Epoch of the writer that committed it.
    pub epoch: Epoch,
    /// Every record at or before this position is in the segments and delete logs named here.
    pub covers_lsn: Lsn,
    /// Stamp of the record at `covers_lsn`.
    pub covers_ts: Timestamp,
    /// The segments, no id twice.
    pub segments: Vec<SegmentEntry>,
    /// Deletes that reach rows of earlier segments, in log order.
    pub delete_logs: Vec<DeleteLogEntry>,
    /// Rows stamped at or before this are gone.
    pub truncated: Option<Timestamp>,
    /// When it was written.
    pub created: Timestamp,
    /// The version that this one replaced; `None` in the first.
    pub previous: Option<Previous>,
}

/// Where the version before a manifest is, as long as it is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its version.
    pub version: ManifestVersion,
    /// Its object.
    pub object: ObjectInfo,
}

/// One flushed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// The segment.
    pub id: SegmentId,
    /// Its partition.
    pub partition: PartitionId,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Bytes of all files, indexes not included.
    pub bytes: u64,
    /// Smallest row stamp.
    pub min_ts: Timestamp,
    /// Largest row stamp.
    pub max_ts: Timestamp,
    /// Smallest key.
    pub pk_min: Pk,
    /// Largest key.
    pub pk_max: Pk,
    /// Every delete at or before this position is in the segment's own delete file.
    pub deletes_lsn: Lsn,
    /// Rows deleted at `deletes_lsn`.
    pub deleted_rows: u64,
    /// The files.
    pub files: Vec<FileEntry>,
    /// The indexes built so far.
    pub indexes: Vec<IndexEntry>,
    /// 0: flushed; each merge adds one.
    pub level: u32,
    /// When it was written.
    pub created: Timestamp,
}

/// One file of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// What it holds.
    pub role: FileRole,
    /// Its object.
    pub object: ObjectInfo,
}

/// One index of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The index definition.
    pub index: IndexId,
    /// The indexed field.
    pub field: FieldId,
    /// Kind of index as its builder named it. For people and statistics: the file's own header
    /// decides how it is read.
    pub kind: String,
    /// The build that made it, unique in the cluster.
    pub build: u64,
    /// Its object.
    pub object: ObjectInfo,
}

/// One delete log: the deletes of a range of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteLogEntry {
    /// Its object, see [`crate::delete_log`].
    pub object: ObjectInfo,
    /// First position covered.
    pub first_lsn: Lsn,
    /// Last position covered.
    pub last_lsn: Lsn,
    /// Smallest stamp of a delete.
    pub min_ts: Timestamp,
    /// Largest stamp of a delete.
    pub max_ts: Timestamp,
    /// Number of deletes.
    pub count: u64,
}

impl Manifest {
    /// The objects that this version names: files, indexes and delete logs. Not itself.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectInfo> {
        self.segments
            .iter()
            .flat_map(SegmentEntry::objects)
            .chain(self.delete_logs.iter().map(|d| &d.object))
    }

    /// The paths of [`Self::objects`].
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects().map(|o| &o.path)
    }

    /// The segment with this id.
    #[must_use]
    pub fn segment(&self, id: SegmentId) -> Option<&SegmentEntry> {
        self.segments.iter().find(|s| s.id == id)
    }
}

impl SegmentEntry {
    /// The objects of the segment: its files, then its indexes.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectInfo> {
        let files = self.files.iter().map(|f| &f.object);
        files.chain(self.indexes.iter().map(|i| &i.object))
    }
}
