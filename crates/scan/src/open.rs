//! From a manifest entry to an open segment with its deletes.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_meta::CollectionMeta;
use holdfast_runtime::CpuPool;
use holdfast_segment::{IndexFile, SealedSegment, SegmentFile};
use holdfast_storage::{DeleteLogEntry, ObjectInfo, SegmentEntry, Store, delete_log};
use holdfast_types::{Failure, FileRole, Lsn};

use crate::index_build;

/// Objects as they were mapped.
#[derive(Debug, Default)]
pub struct Mapped(Vec<(ObjectInfo, Bytes)>);

impl Mapped {
    /// That they are those that the manifest names, once they were found in order.
    ///
    /// # Errors
    /// One is another: what a damaged disk, or a person, put in its place.
    pub fn check(&self) -> Result<(), Failure> {
        self.0
            .iter()
            .try_for_each(|(object, bytes)| object.check(bytes).map_err(Failure::from))
    }
}

/// The index files of a segment.
#[derive(Debug, Default)]
pub struct IndexFiles {
    files: Vec<IndexFile>,
    mapped: Mapped,
}

impl IndexFiles {
    /// The files, and the objects that they have to be.
    #[must_use]
    pub fn into_parts(self) -> (Vec<IndexFile>, Mapped) {
        (self.files, self.mapped)
    }
}

/// Opens a segment with the indexes given. Its own deletes are those of its files: see
/// [`apply_delete_logs`].
///
/// # Errors
/// A file is missing, damaged or out of reach.
pub async fn open_segment(
    store: &Store,
    pool: &CpuPool,
    entry: &SegmentEntry,
    meta: &CollectionMeta,
    indexes: IndexFiles,
) -> Result<Arc<SealedSegment>, Failure> {
    let IndexFiles {
        files: indexes,
        mut mapped,
    } = indexes;
    let mut files = Vec::with_capacity(entry.files.len());
    for file in &entry.files {
        // A field that was dropped since has no use for its vectors.
        if let FileRole::Vector(field) = file.role
            && meta.schema.field_by_id(field).is_none()
        {
            continue;
        }
        let bytes = store.map(&file.object).await?;
        mapped.0.push((file.object.clone(), bytes.clone()));
        files.push(SegmentFile {
            role: file.role,
            name: file.object.path.to_string(),
            bytes,
        });
    }
    let (id, partition, schema) = (entry.id, entry.partition, Arc::clone(&meta.schema));
    let segment = pool
        .run(move || {
            let segment = SealedSegment::open(id, partition, schema, files, indexes)?;
            mapped.check()?;
            Ok::<_, Failure>(segment)
        })
        .await??;
    Ok(Arc::new(segment))
}

/// The index files of a segment whose definitions still exist.
///
/// # Errors
/// A file is missing or out of reach, or a definition is one that the catalog should not have let in.
pub async fn index_files(
    store: &Store,
    entry: &SegmentEntry,
    meta: &CollectionMeta,
) -> Result<IndexFiles, Failure> {
    let mut indexes = IndexFiles::default();
    for index in &entry.indexes {
        let Some(definition) = meta.indexes.iter().find(|d| d.id == index.index) else {
            continue;
        };
        let Some(build) = index_build(definition, &meta.schema)? else {
            continue;
        };
        let bytes = store.map(&index.object).await?;
        let object = (index.object.clone(), bytes.clone());
        indexes.mapped.0.push(object);
        indexes.files.push(IndexFile {
            index: index.index,
            field: index.field,
            build,
            name: index.object.path.to_string(),
            bytes,
        });
    }
    Ok(indexes)
}

/// Applies to each segment the deletes that came after its own, which reach up to the position beside it.
///
/// # Errors
/// A log is missing, damaged or out of reach. Deletes may have been applied in part, which doing it again
/// makes whole.
pub async fn apply_delete_logs(
    store: &Store,
    pool: &CpuPool,
    logs: &[DeleteLogEntry],
    segments: &[(Lsn, Arc<SealedSegment>)],
) -> Result<(), Failure> {
    for entry in logs {
        let targets: Vec<Arc<SealedSegment>> = segments
            .iter()
            .filter(|(own, _)| *own < entry.last_lsn)
            .map(|(_, segment)| Arc::clone(segment))
            .collect();
        if targets.is_empty() {
            continue;
        }
        let log = delete_log::read(store, entry).await?;
        pool.run(move || {
            for (ts, keys) in log.runs() {
                for segment in &targets {
                    segment.delete(&keys, ts);
                }
            }
        })
        .await?;
    }
    Ok(())
}
