//! From a manifest entry to a segment with its deletes.

use std::sync::Arc;

use holdfast_meta::CollectionMeta;
use holdfast_runtime::CpuPool;
use holdfast_segment::{SealedSegment, SegmentFile};
use holdfast_storage::{FileRole, Manifest, SegmentEntry, Store, delete_log};
use holdfast_types::{Coded, Failure};

/// Opens a segment without its indexes. With `deletes`, every delete that the manifest knows of is applied.
pub(crate) async fn segment(
    store: &Store,
    pool: &CpuPool,
    manifest: &Manifest,
    entry: &SegmentEntry,
    meta: &CollectionMeta,
    deletes: Deletes,
) -> Result<Arc<SealedSegment>, Failure> {
    let mut files = Vec::with_capacity(entry.files.len());
    let mut mapped = Vec::with_capacity(entry.files.len());
    for file in &entry.files {
        if let FileRole::Vector(field) = file.role
            && meta.schema.field_by_id(field).is_none()
        {
            continue;
        }
        let bytes = store.map(&file.object).await.map_err(|e| e.to_failure())?;
        mapped.push((file.object.clone(), bytes.clone()));
        let role = holdfast_scan::segment_role(file.role);
        files.push(SegmentFile {
            role,
            name: file.object.path.to_string(),
            bytes,
        });
    }
    let (id, partition, schema) = (entry.id, entry.partition, Arc::clone(&meta.schema));
    let segment = pool
        .run(move || {
            let opened = SealedSegment::open(id, partition, schema, files, Vec::new());
            let segment = opened.map_err(|e| e.to_failure())?;
            for (object, bytes) in mapped {
                object.check(&bytes).map_err(|e| e.to_failure())?;
            }
            Ok::<_, Failure>(segment)
        })
        .await
        .map_err(|e| e.to_failure())??;
    let segment = Arc::new(segment);
    if deletes == Deletes::Applied {
        for log in manifest
            .delete_logs
            .iter()
            .filter(|l| l.last_lsn > entry.deletes_lsn)
        {
            let bytes = store.read(&log.object).await.map_err(|e| e.to_failure())?;
            let (path, target) = (log.object.path.clone(), Arc::clone(&segment));
            pool.run(move || {
                let log = delete_log::decode(&path, &bytes).map_err(|e| e.to_failure())?;
                for (ts, keys) in log.runs() {
                    target.delete(&keys, ts);
                }
                Ok::<_, Failure>(())
            })
            .await
            .map_err(|e| e.to_failure())??;
        }
    }
    Ok(segment)
}

/// Whether a job needs to know what was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletes {
    /// An index covers dead rows as well: searches filter them.
    Ignored,
    /// A merge leaves dead rows out.
    Applied,
}
