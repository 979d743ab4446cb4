//! From a manifest to open segments.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_meta::CollectionMeta;
use holdfast_runtime::CpuPool;
use holdfast_segment::{DamagedSegment, IndexFile, SealedSegment, SegmentFile};
use holdfast_storage::{
    DeleteLogEntry, FileRole, Manifest, ObjectInfo, SegmentEntry, Store, delete_log,
};
use holdfast_types::{Coded, Failure, IndexId, Lsn, SegmentId};

use crate::shard::{Served, View};

/// An object and its bytes.
type Mapped = (ObjectInfo, Bytes);

/// Opens segments.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) store: Arc<Store>,
    pub(crate) pool: Arc<CpuPool>,
}

impl Loader {
    /// The view of a manifest. Segments open already are used again.
    pub(crate) async fn view(
        &self,
        manifest: &Manifest,
        meta: &CollectionMeta,
        reusable: &HashMap<SegmentId, Arc<Served>>,
        reusable_schema: Option<i32>,
    ) -> Result<View, Failure> {
        let mut segments = Vec::with_capacity(manifest.segments.len());
        let mut fresh = Vec::new();
        for entry in &manifest.segments {
            match reusable.get(&entry.id) {
                Some(served)
                    if reusable_schema == Some(meta.schema.version)
                        && served.entry.files == entry.files
                        && served.indexes()
                            == entry
                                .indexes
                                .iter()
                                .map(|i| (i.index, i.build))
                                .collect::<Vec<_>>() =>
                {
                    segments.push(Arc::clone(served));
                }
                Some(served)
                    if reusable_schema == Some(meta.schema.version)
                        && served.entry.files == entry.files =>
                {
                    segments.push(Arc::new(self.reopen(served, entry, meta).await?));
                }
                _ => fresh.push(entry),
            }
        }
        let opened = try_join_all(fresh.into_iter().map(|entry| self.open(entry, meta))).await?;
        self.apply_logs(&manifest.delete_logs, &opened).await?;
        segments.extend(opened.into_iter().map(Arc::new));
        Ok(View {
            version: manifest.version,
            covers: manifest.covers_lsn,
            truncated: manifest.truncated,
            schema_version: meta.schema.version,
            segments,
        })
    }

    /// The segment with the indexes that `entry` names. Rows and deletes are shared with what it replaces.
    async fn reopen(
        &self,
        served: &Arc<Served>,
        entry: &SegmentEntry,
        meta: &CollectionMeta,
    ) -> Result<Served, Failure> {
        let has = served.indexes();
        let mut wanted = entry.clone();
        wanted
            .indexes
            .retain(|i| !has.contains(&(i.index, i.build)));
        let (fresh, mapped) = self.indexes(&wanted, meta).await?;
        let gone: Vec<IndexId> = has
            .into_iter()
            .map(|(id, _)| id)
            .filter(|id| entry.indexes.iter().all(|i| i.index != *id))
            .collect();
        let from = Arc::clone(served);
        let segment = self
            .pool
            .run(move || {
                let mut segment: Option<SealedSegment> = None;
                for id in gone {
                    segment = Some(segment.as_ref().unwrap_or(&from.segment).without_index(id));
                }
                for file in fresh {
                    segment = Some(segment.as_ref().unwrap_or(&from.segment).with_index(file)?);
                }
                Ok::<_, DamagedSegment>(segment.map_or_else(|| Arc::clone(&from.segment), Arc::new))
            })
            .await
            .map_err(|e| e.to_failure())?
            .map_err(|e| e.to_failure())?;
        self.pool
            .run(move || check(&mapped))
            .await
            .map_err(|e| e.to_failure())??;
        Ok(Served {
            entry: entry.clone(),
            segment,
        })
    }

    async fn open(&self, entry: &SegmentEntry, meta: &CollectionMeta) -> Result<Served, Failure> {
        let mut files = Vec::with_capacity(entry.files.len());
        let mut mapped = Vec::with_capacity(entry.files.len());
        for file in &entry.files {
            // A field that was dropped since has no use for its vectors.
            if let FileRole::Vector(field) = file.role
                && meta.schema.field_by_id(field).is_none()
            {
                continue;
            }
            let bytes = self
                .store
                .map(&file.object)
                .await
                .map_err(|e| e.to_failure())?;
            mapped.push((file.object.clone(), bytes.clone()));
            files.push(SegmentFile {
                role: holdfast_scan::segment_role(file.role),
                name: file.object.path.to_string(),
                bytes,
            });
        }
        let (indexes, mapped_indexes) = self.indexes(entry, meta).await?;
        mapped.extend(mapped_indexes);
        let (id, partition, schema) = (entry.id, entry.partition, Arc::clone(&meta.schema));
        let segment = self
            .pool
            .run(move || {
                let opened = SealedSegment::open(id, partition, schema, files, indexes);
                let segment = opened.map_err(|e| e.to_failure())?;
                check(&mapped).map(|()| segment)
            })
            .await
            .map_err(|e| e.to_failure())??;
        Ok(Served {
            entry: entry.clone(),
            segment: Arc::new(segment),
        })
    }

    async fn indexes(
        &self,
        entry: &SegmentEntry,
        meta: &CollectionMeta,
    ) -> Result<(Vec<IndexFile>, Vec<Mapped>), Failure> {
        let mut indexes = Vec::with_capacity(entry.indexes.len());
        let mut mapped = Vec::with_capacity(entry.indexes.len());
        for index in &entry.indexes {
            let Some(definition) = meta.indexes.iter().find(|d| d.id == index.index) else {
                continue;
            };
            let Some(build) = holdfast_scan::index_build(definition, &meta.schema)? else {
                continue;
            };
            let bytes = self
                .store
                .map(&index.object)
                .await
                .map_err(|e| e.to_failure())?;
            mapped.push((index.object.clone(), bytes.clone()));
            let name = index.object.path.to_string();
            indexes.push(IndexFile {
                index: index.index,
                field: index.field,
                build,
                name,
                bytes,
            });
        }
        Ok((indexes, mapped))
    }

    /// Applies the deletes that came after each segment's own.
    async fn apply_logs(
        &self,
        logs: &[DeleteLogEntry],
        segments: &[Served],
    ) -> Result<(), Failure> {
        let first = segments
            .iter()
            .map(|s| s.entry.deletes_lsn)
            .min()
            .unwrap_or(Lsn(u64::MAX));
        for log in logs.iter().filter(|l| l.last_lsn > first) {
            let bytes = self
                .store
                .read(&log.object)
                .await
                .map_err(|e| e.to_failure())?;
            let path = log.object.path.clone();
            let targets: Vec<Arc<SealedSegment>> = segments
                .iter()
                .filter(|s| s.entry.deletes_lsn < log.last_lsn)
                .map(|s| Arc::clone(&s.segment))
                .collect();
            self.pool
                .run(move || {
                    let log = delete_log::decode(&path, &bytes).map_err(|e| e.to_failure())?;
                    for (ts, keys) in log.runs() {
                        for segment in &targets {
                            segment.delete(&keys, ts);
                        }
                    }
                    Ok::<_, Failure>(())
                })
                .await
                .map_err(|e| e.to_failure())??;
        }
        Ok(())
    }
}

/// That files are those that the manifest names, once they were found in order.
fn check(mapped: &[Mapped]) -> Result<(), Failure> {
    mapped
        .iter()
        .try_for_each(|(object, bytes)| object.check(bytes).map_err(|e| e.to_failure()))
}
