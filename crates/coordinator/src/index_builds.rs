//! The loop that has indexes built.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use holdfast_node_api::{
    coordinator::{CollectionName, IndexProgress},
    worker::{IndexJob, JobOutcome},
};
use holdfast_runtime::Shutdown;
use holdfast_types::{Code, Failure, IndexId, SegmentId, Timestamp};

use crate::{CoordinatorService, index_jobs};

impl CoordinatorService {
    /// Has missing indexes built, a few at a time, until `shutdown`.
    pub(crate) async fn build_indexes(&self, shutdown: &Shutdown) {
        let mut running = FuturesUnordered::new();
        let mut building: HashSet<(SegmentId, IndexId)> = HashSet::new();
        while !shutdown.is_triggered() {
            if running.len() < self.options.index_builds_max {
                let room = self.options.index_builds_max - running.len();
                match self.index_jobs_ready(&building).await {
                    Ok(jobs) => {
                        for job in jobs.into_iter().take(room) {
                            building.insert((job.segment, job.index));
                            running.push(self.build(job));
                        }
                    }
                    Err(failure) => {
                        tracing::warn!(error = %failure, "missing indexes can't be found out now");
                    }
                }
            }
            let idle = self.index_pause();
            tokio::select! {
                () = shutdown.triggered() => break,
                Some(done) = running.next() => { building.remove(&done); }
                () = self.index_work.notified() => {}
                () = tokio::time::sleep(idle) => {}
            }
        }
    }

    /// How long to wait when nothing is announced.
    fn index_pause(&self) -> Duration {
        let now = self.parts.clock.monotonic();
        let retry = self.index_faults.lock().next_retry(now);
        let period = self.options.scheduling_period;
        retry.map_or(period, |retry| {
            period.min(retry.max(self.options.retry_min))
        })
    }

    /// Index files that are missing and can be built now, those of loaded collections first.
    async fn index_jobs_ready(
        &self,
        building: &HashSet<(SegmentId, IndexId)>,
    ) -> Result<Vec<IndexJob>, Failure> {
        let snapshot = self.parts.catalog.snapshot();
        let mut metas: Vec<_> = snapshot
            .collections()
            .filter(|meta| !meta.indexes.is_empty())
            .collect();
        metas.sort_by_key(|meta| (meta.load.is_none(), meta.id));
        let mut jobs = Vec::new();
        let mut complete = true;
        for meta in metas {
            match self.manifests_of(meta).await {
                Ok(manifests) => {
                    jobs.extend(index_jobs::missing(
                        meta,
                        &manifests,
                        self.options.index_rows_min,
                    ));
                }
                Err(failure) => {
                    // One damaged shard does not keep the others from being served.
                    complete = false;
                    tracing::error!(collection = %meta.id, error = %failure, "a manifest can't be read");
                }
            }
        }
        let now = self.parts.clock.monotonic();
        let mut faults = self.index_faults.lock();
        if complete {
            let wanted: HashSet<_> = jobs.iter().map(|j| (j.segment, j.index)).collect();
            faults.retain(|key| wanted.contains(&key));
        }
        // What is about to be merged would be built in vain.
        let merging = self.runs.lock().sources();
        jobs.retain(|j| {
            let key = (j.segment, j.index);
            !building.contains(&key) && !faults.waits(key, now) && !merging.contains(&j.segment)
        });
        Ok(jobs)
    }

    async fn build(&self, job: IndexJob) -> (SegmentId, IndexId) {
        let key = (job.segment, job.index);
        match self.parts.worker.build_index(job.clone()).await {
            Ok(JobOutcome::Done) => self.index_faults.lock().succeeded(key),
            Ok(JobOutcome::Obsolete) => {
                // Gone, and then forgotten at the next look; should it be wanted still, it has to wait
                // like a failure, or this would go round and round.
                let gone = Failure::new(Code::Conflict, "the worker finds nothing to do");
                let now = self.parts.clock.monotonic();
                self.index_faults.lock().failed(key, &gone, now);
            }
            Err(failure) => {
                let now = self.parts.clock.monotonic();
                let is_final = self.index_faults.lock().failed(key, &failure, now);
                if is_final {
                    tracing::error!(shard = %job.shard, segment = %job.segment, index = %job.index, error = %failure, "an index can't be built");
                } else {
                    tracing::warn!(shard = %job.shard, segment = %job.segment, index = %job.index, error = %failure, "an index build failed and is tried again");
                }
            }
        }
        key
    }

    pub(crate) async fn indexes_so_far(
        &self,
        name: &CollectionName,
        until: Option<Timestamp>,
    ) -> Result<Vec<IndexProgress>, Failure> {
        let meta = self.resolve(name)?;
        if meta.indexes.is_empty() {
            return Ok(Vec::new());
        }
        // Fresh rows first: those flushed in between count twice, not never.
        let fresh = self.parts.streams.fresh_segments(meta.id).await?;
        let manifests = self.manifests_of(&meta).await?;
        let rows_min = self.options.index_rows_min;
        let faults = self.index_faults.lock();
        let progress = |index| {
            let mut progress = index_jobs::progress(index, &manifests, &fresh, until, rows_min);
            progress.failure = manifests
                .iter()
                .flat_map(|m| &m.segments)
                .find_map(|s| faults.final_failure((s.id, index.id)))
                .map(str::to_owned);
            progress
        };
        Ok(meta.indexes.iter().map(progress).collect())
    }
}
