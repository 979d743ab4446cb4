//! The loops: index builds, merges, objects that nobody can reach, and their end.

use std::{sync::Arc, time::Duration};

use holdfast_node_api::{
    Coordinator,
    coordinator::{CompactionProgress, IndexProgress, MergeState},
    stream_node::FreshSegment,
};
use holdfast_runtime::Shutdown;
use holdfast_types::{Code, Failure, SegmentId};

use super::world::{World, eventually, on};
use crate::Options;

/// Periods so long that only announcements can be the reason of work.
fn patient() -> Options {
    Options {
        scheduling_period: Duration::from_secs(3_600),
        retry_min: Duration::from_millis(1),
        ..Options::default()
    }
}

struct Running {
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    fn run(&self) -> Running {
        let shutdown = Shutdown::new();
        let task = tokio::spawn(Arc::clone(&self.service).run(shutdown.clone()));
        Running { shutdown, task }
    }

    async fn progress(&self) -> IndexProgress {
        self.service
            .index_progress(&on("c"), None)
            .await
            .unwrap()
            .remove(0)
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(Duration::from_secs(20), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn indexes_are_built_as_soon_as_segments_or_definitions_appear() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    let running = w.run();
    w.store_segments(partition, &[1], |_| {}).await;
    w.index("vec", &[]).await.unwrap();
    eventually("segment 1 is indexed", async || {
        w.segments().await == [(1, 1)]
    })
    .await;
    w.store_segments(partition, &[2, 3], |s| {
        s.rows = if s.id.0 == 3 { 10 } else { 2_000 }
    })
    .await;
    eventually("segment 2 is indexed", async || {
        w.segments().await == [(1, 1), (2, 1), (3, 0)]
    })
    .await;
    let p = w.progress().await;
    assert_eq!(
        (p.indexed_rows, p.total_rows, p.pending_rows, p.failure),
        (4_010, 4_010, 0, None)
    );
    running.stop().await;
}

#[tokio::test]
async fn an_empty_collection_is_indexed_at_once() {
    let w = World::new().await;
    let partition = w.collection().await.partitions[0].id;
    assert_eq!(w.service.index_progress(&on("c"), None).await, Ok(vec![]));
    w.index("vec", &[]).await.unwrap();
    let p = w.progress().await;
    assert_eq!((p.indexed_rows, p.total_rows, p.pending_rows), (0, 0, 0));
    *w.streams.fresh.lock() = vec![FreshSegment {
        id: SegmentId(9),
        partition,
        shard: 0,
        rows: 7,
        bytes: 1,
        growing: true,
        oldest: None,
    }];
    let p = w.progress().await;
    assert_eq!((p.indexed_rows, p.total_rows, p.pending_rows), (7, 7, 0));
}

#[tokio::test]
async fn a_build_that_fails_is_tried_again_unless_it_is_final() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    w.store_segments(partition, &[1], |_| {}).await;
    w.index("vec", &[]).await.unwrap();
    *w.worker.index_failure.lock() = Some(Failure::new(Code::QuotaExceeded, "no memory"));
    let running = w.run();
    let builds = || {
        w.calls
            .made
            .lock()
            .iter()
            .filter(|c| c.starts_with("build"))
            .count()
    };
    eventually("the build was tried", async || builds() == 1).await;
    assert_eq!(w.progress().await.failure, None);
    w.clock.advance(Duration::from_secs(1));
    eventually("the build was tried again", async || builds() == 2).await;
    *w.worker.index_failure.lock() = Some(Failure::invalid("row 3 is no vector"));
    eventually("the failure is final", async || {
        w.clock.advance(Duration::from_secs(1));
        w.progress().await.failure.is_some()
    })
    .await;
    let p = w.progress().await;
    assert_eq!(
        (p.pending_rows, p.failure.as_deref()),
        (2_000, Some("row 3 is no vector"))
    );
    running.stop().await;
}

#[tokio::test]
async fn a_forced_compaction_runs_and_its_result_is_indexed() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    w.index("vec", &[]).await.unwrap();
    w.store_segments(partition, &[1, 2], |_| {}).await;
    let id = w.service.compact(&on("c"), true).await.unwrap();
    assert!(id > 0);
    let waiting = w.service.compaction_progress(id).await.unwrap();
    assert_eq!((waiting.executing, waiting.completed), (1, 0));
    let running = w.run();
    let done = async || w.service.compaction_progress(id).await.unwrap().completed == 1;
    eventually("the compaction is done", done).await;
    let progress = w.service.compaction_progress(id).await.unwrap();
    assert_eq!(progress.plans[0].sources, [SegmentId(1), SegmentId(2)]);
    assert_eq!(progress.plans[0].target, Some(SegmentId(1_001)));
    eventually("the result is indexed", async || {
        w.segments().await == [(1_001, 1)]
    })
    .await;
    let listed = w.service.stored_segments(&on("c")).await.unwrap();
    assert_eq!(listed[0].merged_from, [SegmentId(1), SegmentId(2)]);
    assert_eq!(
        w.service.compact(&on("c"), true).await,
        Ok(-1),
        "nothing is left to be gained"
    );
    assert_eq!(
        w.service.compaction_progress(-1).await,
        Ok(CompactionProgress::default())
    );
    running.stop().await;
}

#[tokio::test]
async fn small_segments_are_merged_without_being_asked() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    let running = w.run();
    w.store_segments(partition, &[1, 2, 3, 4], |_| {}).await;
    eventually("they are merged", async || {
        w.segments().await == [(1_001, 0)]
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_merge_that_nobody_asked_for_is_what_a_client_waits_for_and_sees() {
    let w = World::with(patient()).await;
    let meta = w.collection().await;
    let partition = meta.partitions[0].id;
    w.store_segments(partition, &[1, 2, 3, 4], |_| {}).await;
    let closed = w.worker.gate.lock().await;
    let running = w.run();
    eventually("a merge is under way", async || {
        let made = w.calls.made.lock();
        made.iter().any(|c| c.starts_with("merge"))
    })
    .await;
    let id = w.service.compact(&on("c"), false).await.unwrap();
    assert!(id > 0, "there is something to wait for: {id}");
    let progress = w.service.compaction_progress(id).await.unwrap();
    assert_eq!((progress.executing, progress.plans.len()), (1, 1));
    assert_eq!(progress.plans[0].state, MergeState::Running);
    assert_eq!(progress.plans[0].partition, partition);
    let listed = w.service.compactions(&on("c")).await.unwrap();
    assert_eq!(listed, progress);
    drop(closed);
    eventually("it is done", async || {
        let progress = w.service.compaction_progress(id).await.unwrap();
        progress.completed == 1 && progress.plans[0].target == Some(SegmentId(1_001))
    })
    .await;
    assert_eq!(w.service.compact(&on("c"), false).await, Ok(-1));
    running.stop().await;
}

#[tokio::test]
async fn a_compaction_that_keeps_failing_is_reported() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    w.store_segments(partition, &[1, 2], |_| {}).await;
    w.calls.fail("merge");
    let running = w.run();
    let id = w.service.compact(&on("c"), false).await.unwrap();
    let failed = async || w.service.compaction_progress(id).await.unwrap().failed == 1;
    eventually("it has failed", failed).await;
    let merges = w
        .calls
        .take()
        .iter()
        .filter(|c| c.starts_with("merge"))
        .count();
    assert_eq!(merges, 5);
    running.stop().await;
}

#[tokio::test]
async fn a_job_under_way_does_not_hold_up_a_shutdown() {
    let w = World::with(patient()).await;
    let partition = w.collection().await.partitions[0].id;
    w.store_segments(partition, &[1, 2, 3, 4], |_| {}).await;
    w.index("vec", &[]).await.unwrap();
    let _closed = w.worker.gate.lock().await;
    let running = w.run();
    eventually("a build and a merge are under way", async || {
        let made = w.calls.made.lock();
        made.iter().any(|c| c.starts_with("merge"))
    })
    .await;
    running.stop().await;
    assert_eq!(w.segments().await.len(), 4, "nothing was committed");
}

#[tokio::test]
async fn left_overs_are_cleaned_up_while_running() {
    let w = World::with(patient()).await;
    w.collection().await;
    w.calls.fail("drop_collection");
    w.service.drop_collection(&on("c")).await.unwrap();
    w.calls.heal();
    let running = w.run();
    eventually("the drop is finished", async || {
        w.catalog.snapshot().list_dropping().is_empty()
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn objects_of_a_dropped_collection_are_deleted_after_the_grace() {
    let options = Options {
        gc_period: Duration::from_millis(1),
        gc_grace: Duration::from_millis(1),
        ..patient()
    };
    let w = World::with(options).await;
    // Objects are as old as the machine's clock says: be far ahead of it.
    w.clock.set(4_000_000_000_000);
    let partition = w.collection().await.partitions[0].id;
    w.store_segments(partition, &[1], |_| {}).await;
    assert!(w.object_files() > 0);
    w.service.drop_collection(&on("c")).await.unwrap();
    let running = w.run();
    eventually("all objects are gone", async || {
        w.clock.advance(Duration::from_secs(1));
        w.object_files() == 0
    })
    .await;
    running.stop().await;
}
