//! The calls of the coordinator.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdfast_meta::{Catalog, CollectionMeta};
use holdfast_node_api::{
    Worker,
    worker::{Compacted, CompactionJob, IndexJob, JobOutcome},
};
use holdfast_runtime::{Clock, CpuPool, MemoryBudget, MemoryKind, Reservation};
use holdfast_scan::Cancel;
use holdfast_segment::SegmentFiles;
use holdfast_storage::{
    FileEntry, IndexEntry, Manifest, Manifests, NextManifest, SegmentEntry, Store, paths,
};
use holdfast_types::{Code, CollectionId, Epoch, Failure, SegmentId, Timestamp};
use metrics::{counter, histogram};

/// How long a job waits for memory before it is put off.
const MEMORY_WAIT: Duration = Duration::from_secs(10);
/// Of the budget: with more than this part in deletes of served segments, merges press.
const DELETES_PRESS: u64 = 4;
/// Of the budget: the largest merge that goes on beyond it.
const MERGE_BEYOND: u64 = 2;
/// What a graph under construction needs beside the vectors, a row: measured for M = 16.
const GRAPH_BYTES_PER_ROW: u64 = 3_000;

/// What a worker is built on.
#[derive(Clone)]
pub struct Components {
    /// Collections and index definitions.
    pub catalog: Arc<Catalog>,
    /// Segment and index files.
    pub store: Arc<Store>,
    /// What the shards are made of.
    pub manifests: Arc<Manifests>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where computing happens.
    pub pool: Arc<CpuPool>,
    /// What memory there is.
    pub budget: Arc<MemoryBudget>,
    /// Names this worker's objects: rises with every start of the process.
    pub epoch: Epoch,
}

/// Builds and merges.
pub struct WorkerService {
    parts: Components,
}

impl WorkerService {
    /// A worker that does what it is asked.
    #[must_use]
    pub fn new(parts: Components) -> Self {
        Self { parts }
    }

    fn meta(&self, collection: CollectionId) -> Option<Arc<CollectionMeta>> {
        self.parts
            .catalog
            .snapshot()
            .collection(collection)
            .cloned()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.parts.clock.unix_ms())
    }

    async fn unique(&self) -> Result<u64, Failure> {
        let id = self.parts.catalog.allocate_ids(1).await?;
        Ok(id.unsigned_abs())
    }

    async fn reserve(&self, bytes: u64) -> Result<Reservation, Failure> {
        self.parts
            .budget
            .reserve(MemoryKind::Build, bytes, MEMORY_WAIT)
            .await
            .map_err(Failure::from)
    }

    /// Memory for a merge. Where deletes of served segments fill memory, merges are what gives it back: then
    /// one that is not too large goes on beyond the budget.
    async fn reserve_for_merge(&self, bytes: u64) -> Result<Reservation, Failure> {
        let budget = &self.parts.budget;
        match self.reserve(bytes).await {
            Err(failure)
                if budget.used(MemoryKind::Sealed) > budget.total() / DELETES_PRESS
                    && bytes <= budget.total() / MERGE_BEYOND =>
            {
                tracing::warn!(error = %failure, "merging beyond the memory budget: it is what frees memory");
                Ok(budget.charge(MemoryKind::Build, bytes))
            }
            other => other,
        }
    }
}

#[async_trait]
impl Worker for WorkerService {
    async fn build_index(&self, job: IndexJob) -> Result<JobOutcome, Failure> {
        let started = self.parts.clock.monotonic();
        let Components {
            store,
            manifests,
            pool,
            ..
        } = &self.parts;
        let Some(meta) = self.meta(job.shard.collection) else {
            return Ok(JobOutcome::Obsolete);
        };
        let Some(definition) = meta.indexes.iter().find(|i| i.id == job.index) else {
            return Ok(JobOutcome::Obsolete);
        };
        let Some(build) = holdfast_scan::index_build(definition, &meta.schema)? else {
            return Ok(JobOutcome::Obsolete);
        };
        let Some(manifest) = manifests.current(job.shard).await? else {
            return Ok(JobOutcome::Obsolete);
        };
        let Some(entry) = manifest.segment(job.segment).cloned() else {
            return Ok(JobOutcome::Obsolete);
        };
        if entry.indexes.iter().any(|i| i.index == job.index) {
            return Ok(JobOutcome::Done);
        }
        let _memory = self
            .reserve(entry.bytes + entry.rows * GRAPH_BYTES_PER_ROW)
            .await?;
        // An index covers dead rows as well, searches filter them: no deletes have to be known.
        let segment =
            holdfast_scan::open_segment(store, pool, &entry, &meta, Default::default()).await?;
        let (field, rows) = (definition.field, entry.rows);
        let bytes = pool
            .run(move || holdfast_segment::build_index(&segment, field, &build, &Cancel::new()))
            .await??;
        let size = bytes.len();
        let number = self.unique().await?;
        let path = paths::index_file(job.shard, job.segment, job.index, number);
        let object = store.put(&path, bytes).await?;
        let index = IndexEntry {
            index: job.index,
            field,
            kind: holdfast_scan::index_kind_name(&definition.kind).to_owned(),
            build: number,
            object,
        };
        let created = self.now();
        let outcome = manifests
            .update(job.shard, |current| {
                with_index(current, job.segment, &index, created)
            })
            .await;
        let took = self.parts.clock.monotonic().saturating_sub(started);
        match outcome {
            Ok(_) => {
                counter!("holdfast_worker_indexes_built_total").increment(1);
                histogram!("holdfast_worker_index_build_seconds").record(took.as_secs_f64());
                tracing::info!(shard = %job.shard, segment = %job.segment, index = %job.index, rows, bytes = size, ?took, "index built");
                Ok(JobOutcome::Done)
            }
            Err(failure) => obsolete_or(failure).map(|()| JobOutcome::Obsolete),
        }
    }

    async fn compact(&self, job: CompactionJob) -> Result<Compacted, Failure> {
        let obsolete = Compacted {
            outcome: JobOutcome::Obsolete,
            target: None,
        };
        let started = self.parts.clock.monotonic();
        let Components {
            store,
            manifests,
            pool,
            ..
        } = &self.parts;
        let Some(meta) = self.meta(job.shard.collection) else {
            return Ok(obsolete);
        };
        let Some(manifest) = manifests.current(job.shard).await? else {
            return Ok(obsolete);
        };
        let sources: Option<Vec<SegmentEntry>> = job
            .sources
            .iter()
            .map(|id| manifest.segment(*id).cloned())
            .collect();
        let Some(sources) = sources.filter(|s| !s.is_empty()) else {
            return Ok(obsolete);
        };
        let partition = sources[0].partition;
        if sources.iter().any(|s| s.partition != partition) {
            return Err(Failure::invalid(
                "segments of several partitions can't be merged",
            ));
        }
        // The merged files are built in memory before they are written.
        let output: u64 = sources.iter().map(|s| s.bytes).sum();
        let mut memory = self.reserve_for_merge(output).await?;
        let mut segments = Vec::with_capacity(sources.len());
        for entry in &sources {
            let segment =
                holdfast_scan::open_segment(store, pool, entry, &meta, Default::default()).await?;
            segments.push((entry.deletes_lsn, segment));
        }
        holdfast_scan::apply_delete_logs(store, pool, &manifest.delete_logs, &segments).await?;
        let segments: Vec<_> = segments.into_iter().map(|(_, segment)| segment).collect();
        let deletes: usize = segments.iter().map(|s| s.overlay_bytes()).sum();
        memory.resize(output + deletes as u64);
        let (schema, drop_before, expired) = (
            Arc::clone(&meta.schema),
            job.drop_deleted_before,
            job.expired_before,
        );
        let SegmentFiles { files, stats } = pool
            .run(move || {
                holdfast_segment::merge(&segments, drop_before, &schema, expired, &Cancel::new())
            })
            .await??;
        let target = match stats {
            None => None,
            Some(stats) => {
                let id = SegmentId(self.parts.catalog.allocate_ids(1).await?);
                let mut stored = Vec::with_capacity(files.len());
                for file in files {
                    let path = paths::segment_file(job.shard, id, self.parts.epoch, 0, file.role);
                    let object = store.put(&path, file.bytes).await?;
                    stored.push(FileEntry {
                        role: file.role,
                        object,
                    });
                }
                Some(SegmentEntry {
                    id,
                    partition,
                    rows: stats.rows,
                    bytes: stats.bytes,
                    min_ts: stats.min_ts,
                    max_ts: stats.max_ts,
                    pk_min: stats.pk_min,
                    pk_max: stats.pk_max,
                    deletes_lsn: manifest.covers_lsn,
                    deleted_rows: stats.deleted_rows,
                    files: stored,
                    indexes: Vec::new(),
                    level: sources.iter().map(|s| s.level).max().unwrap_or(0) + 1,
                    created: self.now(),
                })
            }
        };
        let created = self.now();
        let committed = manifests
            .update(job.shard, |current| {
                merged(current, &job.sources, target.as_ref(), created)
            })
            .await;
        match committed {
            Ok(manifest) => {
                let took = self.parts.clock.monotonic().saturating_sub(started);
                counter!("holdfast_worker_compactions_total").increment(1);
                histogram!("holdfast_worker_compaction_seconds").record(took.as_secs_f64());
                let rows = target.as_ref().map_or(0, |t| t.rows);
                tracing::info!(shard = %job.shard, version = manifest.map_or(0, |m| m.version.0), sources = sources.len(), rows, ?took, "merged");
                Ok(Compacted {
                    outcome: JobOutcome::Done,
                    target: target.map(|t| t.id),
                })
            }
            Err(failure) => obsolete_or(failure).map(|()| obsolete),
        }
    }
}

/// What the job was about is gone: that is no failure.
fn obsolete_or(failure: Failure) -> Result<(), Failure> {
    if failure.code == Code::Conflict {
        Ok(())
    } else {
        Err(failure)
    }
}

fn gone() -> Failure {
    Failure::new(
        Code::Conflict,
        "the segments of this job are not in the manifest any more",
    )
}

fn with_index(
    current: Option<&Manifest>,
    segment: SegmentId,
    index: &IndexEntry,
    created: Timestamp,
) -> Result<Option<NextManifest>, Failure> {
    let mut next = current.ok_or_else(gone)?.next(created);
    let entry = next
        .segments
        .iter_mut()
        .find(|s| s.id == segment)
        .ok_or_else(gone)?;
    entry.indexes.retain(|i| i.index != index.index);
    entry.indexes.push(index.clone());
    Ok(Some(next))
}

/// The manifest with `sources` replaced. Delete logs that every segment has absorbed go.
fn merged(
    current: Option<&Manifest>,
    sources: &[SegmentId],
    target: Option<&SegmentEntry>,
    created: Timestamp,
) -> Result<Option<NextManifest>, Failure> {
    let mut next = current.ok_or_else(gone)?.next(created);
    let before = next.segments.len();
    next.segments.retain(|s| !sources.contains(&s.id));
    if before - next.segments.len() != sources.len() {
        return Err(gone());
    }
    next.segments.extend(target.cloned());
    let absorbed = next.segments.iter().map(|s| s.deletes_lsn).min();
    next.delete_logs
        .retain(|l| absorbed.is_some_and(|lsn| l.last_lsn > lsn));
    Ok(Some(next))
}
