//! The loop that has segments merged: first what clients wait for, then what pays.

use std::{collections::HashSet, sync::Arc, time::Duration};

use holdfast_meta::CollectionMeta;
use holdfast_node_api::{
    coordinator::{CollectionName, NOTHING_TO_MERGE},
    worker::{Compacted, CompactionJob, JobOutcome},
};
use holdfast_runtime::Shutdown;
use holdfast_storage::Manifest;
use holdfast_types::{Code, Failure, SegmentId, Timestamp};

use crate::{
    CoordinatorService,
    merge_plans::{self, Mode, Moment},
    merge_runs::{Planned, Queued, Wanted},
    properties,
};

/// Most tries of a merge that a client waits for.
const TRIES_MAX: u32 = 5;

impl CoordinatorService {
    /// Has segments merged, one group at a time, until `shutdown`.
    pub(crate) async fn merge_segments(&self, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            let planned = self.runs.lock().start_next();
            let next = match planned {
                Some(merge) => Some(merge),
                None if self.plan_merge().await => continue,
                None => None,
            };
            let Some(merge) = next else {
                tokio::select! {
                    () = shutdown.triggered() => break,
                    () = self.merge_work.notified() => {}
                    () = tokio::time::sleep(self.options.scheduling_period) => {}
                }
                continue;
            };
            tokio::select! {
                () = shutdown.triggered() => break,
                pause = self.merge(merge) => if let Some(pause) = pause {
                    tokio::select! {
                        () = shutdown.triggered() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    /// Plans the first merge that pays; whether there is one.
    async fn plan_merge(&self) -> bool {
        let snapshot = self.parts.catalog.snapshot();
        let mut seen = HashSet::new();
        let mut complete = true;
        for meta in snapshot.collections() {
            let manifests = match self.manifests_of(meta).await {
                Ok(manifests) => manifests,
                Err(failure) => {
                    complete = false;
                    tracing::error!(collection = %meta.id, error = %failure, "a manifest can't be read");
                    continue;
                }
            };
            let mut merges = self.merges_that_pay(meta, &manifests, Mode::Automatic);
            merges.truncate(1);
            if !merges.is_empty() {
                match self.add_run(meta, Wanted::ByItself, merges).await {
                    Ok(added) => return added.is_some(),
                    Err(failure) => {
                        tracing::warn!(collection = %meta.id, error = %failure, "a merge could not be planned");
                        return false;
                    }
                }
            }
            seen.extend(manifests.iter().flat_map(|m| &m.segments).map(|s| s.id));
        }
        if complete {
            self.merge_faults.lock().retain(|id| seen.contains(&id));
        }
        false
    }

    /// Adds a compaction under a number of its own; `None` when others took its segments meanwhile.
    async fn add_run(
        &self,
        meta: &CollectionMeta,
        wanted: Wanted,
        merges: Vec<Planned>,
    ) -> Result<Option<i64>, Failure> {
        let numbers = u32::try_from(merges.len() + 1).unwrap_or(u32::MAX);
        let id = self.parts.catalog.allocate_ids(numbers).await?;
        let count = merges.len();
        if !self.runs.lock().add(id, meta.id, wanted, merges) {
            return Ok(None);
        }
        tracing::info!(collection = %meta.id, compaction = id, merges = count, ?wanted, "compaction planned");
        Ok(Some(id))
    }

    /// What is worth merging in a collection now, but for what is planned already or failed lately.
    fn merges_that_pay(
        &self,
        meta: &CollectionMeta,
        manifests: &[Arc<Manifest>],
        mode: Mode,
    ) -> Vec<Planned> {
        let now = self.wall();
        let retention = u64::try_from(self.options.dead_rows_retention.as_millis());
        let kept = now.unix_ms().saturating_sub(retention.unwrap_or(u64::MAX));
        let moment = Moment {
            drop_deleted_before: Timestamp::from_unix_ms(kept),
            expired_before: properties::expired_before(&meta.properties, now),
        };
        let mut busy: HashSet<SegmentId> = self.runs.lock().sources();
        if mode == Mode::Automatic {
            let monotonic = self.parts.clock.monotonic();
            let faults = self.merge_faults.lock();
            let all = manifests.iter().flat_map(|m| &m.segments).map(|s| s.id);
            busy.extend(all.filter(|id| faults.waits(*id, monotonic)));
        }
        let mut jobs = Vec::new();
        for manifest in manifests {
            jobs.extend(merge_plans::plan(
                manifest,
                &self.options,
                mode,
                moment,
                &busy,
            ));
        }
        // Rows of a partition that is being dropped are not worth a merge.
        let placed = jobs.into_iter().filter_map(|job| {
            let first = manifests.iter().find_map(|m| m.segment(job.sources[0]))?;
            let partition = meta.partition_by_id(first.partition)?.id;
            Some(Planned { job, partition })
        });
        placed.collect()
    }

    /// Has segments merged; how long to wait before the next merge when this one failed.
    async fn merge(&self, merge: Queued) -> Option<Duration> {
        let job = &merge.job;
        let outcome = self.parts.worker.compact(job.clone()).await;
        let now = self.parts.clock.monotonic();
        match outcome {
            Ok(Compacted {
                outcome: JobOutcome::Done,
                target,
            }) => {
                let mut faults = self.merge_faults.lock();
                for &source in &job.sources {
                    faults.succeeded(source);
                }
                self.runs.lock().done(&merge, target);
                self.announce_segments();
                None
            }
            Ok(Compacted {
                outcome: JobOutcome::Obsolete,
                ..
            }) => {
                self.put_off(
                    job,
                    &Failure::new(Code::Conflict, "the worker finds nothing to do"),
                    now,
                );
                self.runs.lock().obsolete(&merge);
                None
            }
            Err(failure) => {
                let is_final = self.put_off(job, &failure, now);
                tracing::warn!(shard = %job.shard, sources = job.sources.len(), error = %failure, is_final, "segments could not be merged");
                let pause = self
                    .options
                    .retry_min
                    .saturating_mul(1 << merge.tries.min(TRIES_MAX));
                let mut runs = self.runs.lock();
                let again = merge.wanted == Wanted::ByClient && !is_final;
                if again && merge.tries + 1 < TRIES_MAX {
                    runs.again(merge);
                } else {
                    runs.failed(&merge, &failure);
                }
                Some(pause.min(self.options.retry_max))
            }
        }
    }

    /// Leaves the segments alone for a while; whether for good.
    fn put_off(&self, job: &CompactionJob, failure: &Failure, now: Duration) -> bool {
        let mut faults = self.merge_faults.lock();
        let mut is_final = false;
        for &source in &job.sources {
            is_final |= faults.failed(source, failure, now);
        }
        is_final
    }

    pub(crate) async fn plan_run(
        &self,
        name: &CollectionName,
        force: bool,
    ) -> Result<i64, Failure> {
        let meta = self.resolve(name)?;
        let manifests = self.manifests_of(&meta).await?;
        let mode = if force { Mode::Forced } else { Mode::Asked };
        let merges = self.merges_that_pay(&meta, &manifests, mode);
        if !merges.is_empty()
            && let Some(id) = self.add_run(&meta, Wanted::ByClient, merges).await?
        {
            self.merge_work.notify_one();
            return Ok(id);
        }
        // What there is to merge may be under way already: that is then what the client waits for.
        let under_way = self.runs.lock().unfinished(meta.id);
        Ok(under_way.unwrap_or(NOTHING_TO_MERGE))
    }
}
