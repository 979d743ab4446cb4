//! From a manifest to open segments.

use std::{collections::HashMap, sync::Arc};

use futures::future::try_join_all;
use holdfast_meta::CollectionMeta;
use holdfast_runtime::CpuPool;
use holdfast_segment::{DamagedSegment, SealedSegment};
use holdfast_storage::{Manifest, SegmentEntry, Store};
use holdfast_types::{Failure, IndexId, SegmentId};

use crate::shard::{Served, View};

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
        let targets: Vec<_> = opened
            .iter()
            .map(|s| (s.entry.deletes_lsn, Arc::clone(&s.segment)))
            .collect();
        let logs = &manifest.delete_logs;
        holdfast_scan::apply_delete_logs(&self.store, &self.pool, logs, &targets).await?;
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
        let (fresh, mapped) = holdfast_scan::index_files(&self.store, &wanted, meta)
            .await?
            .into_parts();
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
            .await??;
        self.pool.run(move || mapped.check()).await??;
        Ok(Served {
            entry: entry.clone(),
            segment,
        })
    }

    async fn open(&self, entry: &SegmentEntry, meta: &CollectionMeta) -> Result<Served, Failure> {
        let indexes = holdfast_scan::index_files(&self.store, entry, meta).await?;
        Ok(Served {
            entry: entry.clone(),
            segment: holdfast_scan::open_segment(&self.store, &self.pool, entry, meta, indexes)
                .await?,
        })
    }
}
