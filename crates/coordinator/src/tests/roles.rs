//! The other roles: they note what they are asked, and fail when told to.

use std::{collections::HashSet, sync::Arc};

use arrow_array::RecordBatch;
use async_trait::async_trait;
use holdfast_node_api::{
    QueryNode, StreamNode, Worker,
    query_node::{LoadProgress, LoadedSegment},
    read::{Guarantee, HitLists, NodeFetch, NodeQuery, NodeSearch, ReadPoint, RowSet},
    stream_node::{Flushed, FreshSegment},
    worker::{Compacted, CompactionJob, IndexJob, JobOutcome},
    write::{WriteAck, WriteRequest},
};
use holdfast_storage::{CommitError, Manifests};
use holdfast_types::{
    Code, CollectionId, Failure, ManifestVersion, PartitionId, SegmentId, Timestamp,
};
use parking_lot::Mutex;

use super::fixtures::{index_entry, segment};

/// What all roles were asked, in order, and which calls fail.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) made: Mutex<Vec<String>>,
    failing: Mutex<HashSet<&'static str>>,
}

impl Calls {
    fn call(&self, name: &'static str, about: impl std::fmt::Display) -> Result<(), Failure> {
        self.made.lock().push(format!("{name} {about}"));
        if self.failing.lock().contains(name) {
            return Err(Failure::new(Code::Unavailable, format!("{name} fails")));
        }
        Ok(())
    }

    pub(super) fn fail(&self, name: &'static str) {
        self.failing.lock().insert(name);
    }

    pub(super) fn heal(&self) {
        self.failing.lock().clear();
    }

    /// What was asked since the last look.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.made.lock())
    }
}

fn not_asked<T>() -> Result<T, Failure> {
    Err(Failure::internal(
        "a coordinator never reads or writes rows",
    ))
}

#[derive(Default)]
pub(super) struct Streams {
    pub(super) calls: Arc<Calls>,
    pub(super) fresh: Mutex<Vec<FreshSegment>>,
}

#[async_trait]
impl StreamNode for Streams {
    async fn write(&self, _: WriteRequest) -> Result<WriteAck, Failure> {
        not_asked()
    }
    async fn read_point(&self, _: CollectionId, _: Guarantee) -> Result<ReadPoint, Failure> {
        not_asked()
    }
    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        not_asked()
    }
    async fn query(&self, _: NodeQuery) -> Result<RowSet, Failure> {
        not_asked()
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        not_asked()
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        not_asked()
    }
    async fn flush(&self, collection: CollectionId) -> Result<Flushed, Failure> {
        self.calls.call("flush", collection)?;
        Ok(Flushed {
            segments: vec![SegmentId(5)],
            ts: Timestamp::from_unix_ms(77_000_000),
        })
    }
    async fn truncate(&self, collection: CollectionId) -> Result<Timestamp, Failure> {
        self.calls.call("truncate", collection)?;
        Ok(Timestamp::from_unix_ms(66_000_000))
    }
    async fn drop_partition(&self, _: CollectionId, partition: PartitionId) -> Result<(), Failure> {
        self.calls.call("drop_partition", partition)?;
        self.fresh.lock().retain(|s| s.partition != partition);
        Ok(())
    }
    async fn drop_collection(&self, collection: CollectionId) -> Result<(), Failure> {
        self.calls.call("drop_collection", collection)
    }
    async fn fresh_segments(&self, _: CollectionId) -> Result<Vec<FreshSegment>, Failure> {
        Ok(self.fresh.lock().clone())
    }
}

pub(super) struct Queries {
    pub(super) calls: Arc<Calls>,
    pub(super) progress: Mutex<Result<LoadProgress, Failure>>,
}

impl Queries {
    pub(super) fn new(calls: Arc<Calls>) -> Self {
        let progress = Mutex::new(Ok(LoadProgress {
            loaded: 1,
            total: 1,
        }));
        Self { calls, progress }
    }
}

#[async_trait]
impl QueryNode for Queries {
    async fn load(&self, collection: CollectionId) -> Result<(), Failure> {
        self.calls.call("load", collection)
    }
    async fn release(&self, collection: CollectionId) -> Result<(), Failure> {
        self.calls.call("release", collection)
    }
    async fn progress(&self, _: CollectionId) -> Result<LoadProgress, Failure> {
        self.progress.lock().clone()
    }
    async fn versions(
        &self,
        _: CollectionId,
        _: &[ManifestVersion],
    ) -> Result<Vec<ManifestVersion>, Failure> {
        not_asked()
    }
    async fn search(&self, _: NodeSearch) -> Result<HitLists, Failure> {
        not_asked()
    }
    async fn query(&self, _: NodeQuery) -> Result<RowSet, Failure> {
        not_asked()
    }
    async fn count(&self, _: NodeQuery) -> Result<u64, Failure> {
        not_asked()
    }
    async fn fetch(&self, _: NodeFetch) -> Result<RecordBatch, Failure> {
        not_asked()
    }
    async fn segments(&self, _: CollectionId) -> Result<Vec<LoadedSegment>, Failure> {
        not_asked()
    }
}

/// Commits what a worker would, without files.
pub(super) struct Commits {
    pub(super) calls: Arc<Calls>,
    pub(super) manifests: Arc<Manifests>,
    /// The failure of every index build, while there is one.
    pub(super) index_failure: Mutex<Option<Failure>>,
    /// Held while jobs are to wait.
    pub(super) gate: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Worker for Commits {
    async fn build_index(&self, job: IndexJob) -> Result<JobOutcome, Failure> {
        self.calls
            .call("build", format!("{} {}", job.segment, job.index))?;
        let _open = self.gate.lock().await;
        if let Some(failure) = self.index_failure.lock().clone() {
            return Err(failure);
        }
        let update = self.manifests.update(job.shard, |current| {
            let mut next = current
                .expect("a job is about a segment")
                .next(Timestamp::ZERO);
            let found = next.segments.iter_mut().find(|s| s.id == job.segment);
            let entry = index_entry(job.shard, job.segment, job.index);
            found.expect("nobody merged it").indexes.push(entry);
            Ok::<_, CommitError>(Some(next))
        });
        update.await.expect("committed");
        Ok(JobOutcome::Done)
    }

    async fn compact(&self, job: CompactionJob) -> Result<Compacted, Failure> {
        self.calls.call("merge", job.sources.len())?;
        let _open = self.gate.lock().await;
        let mut target = None;
        let update = self.manifests.update(job.shard, |current| {
            let mut next = current
                .expect("a job is about segments")
                .next(Timestamp::ZERO);
            let (gone, kept): (Vec<_>, Vec<_>) = next
                .segments
                .into_iter()
                .partition(|s| job.sources.contains(&s.id));
            next.segments = kept;
            let mut merged = segment(job.shard, gone[0].partition, gone[0].id.0 + 1_000);
            merged.rows = gone.iter().map(|s| s.rows).sum();
            merged.level = 1;
            target = Some(merged.id);
            next.segments.push(merged);
            Ok::<_, CommitError>(Some(next))
        });
        update.await.expect("committed");
        Ok(Compacted {
            outcome: JobOutcome::Done,
            target,
        })
    }
}
