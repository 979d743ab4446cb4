//! Compactions that clients asked for: what is planned, done and failed. In memory: after a restart the
//! loop plans anew whatever still pays.

use std::collections::{BTreeMap, HashSet, VecDeque};

use holdfast_node_api::{
    coordinator::{CompactionProgress, MergePlan},
    worker::CompactionJob,
};
use holdfast_types::SegmentId;

/// Most compactions that are remembered once they are done.
const DONE_KEPT: usize = 1_000;

/// The compactions of this process.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<i64, CompactionProgress>,
    queue: VecDeque<Queued>,
    /// Segments of the merge under way, asked for or not.
    under_way: Vec<SegmentId>,
    /// Results of merges, newest last.
    merged: VecDeque<(SegmentId, Vec<SegmentId>)>,
}

/// A merge that a client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) job: CompactionJob,
    /// The compaction and the position among its plans; `None`: nobody waits.
    pub(crate) of: Option<(i64, usize)>,
    pub(crate) tries: u32,
}

impl Queued {
    /// A merge that nobody waits for.
    pub(crate) fn automatic(job: CompactionJob) -> Self {
        Self {
            job,
            of: None,
            tries: 0,
        }
    }
}

impl Runs {
    /// Adds a compaction whose merges wait for their turn.
    pub(crate) fn add(&mut self, id: i64, jobs: Vec<CompactionJob>) {
        let plans = jobs.iter().map(|job| MergePlan {
            sources: job.sources.clone(),
            target: None,
        });
        let progress = CompactionProgress {
            executing: jobs.len() as u64,
            plans: plans.collect(),
            ..CompactionProgress::default()
        };
        self.runs.insert(id, progress);
        for (plan, job) in jobs.into_iter().enumerate() {
            self.queue.push_back(Queued {
                job,
                of: Some((id, plan)),
                tries: 0,
            });
        }
        while self.runs.len() > DONE_KEPT {
            let oldest_done = self.runs.iter().find(|(_, p)| p.executing == 0);
            let Some(id) = oldest_done.map(|(id, _)| *id) else {
                break;
            };
            self.runs.remove(&id);
        }
    }

    /// The next merge that somebody waits for; it is under way from now on.
    pub(crate) fn start_next(&mut self) -> Option<Queued> {
        let next = self.queue.pop_front()?;
        self.start(&next.job);
        Some(next)
    }

    /// A merge is under way from now on.
    pub(crate) fn start(&mut self, job: &CompactionJob) {
        self.under_way.clone_from(&job.sources);
    }

    /// The merge under way is done; `target` is `None` when no row was left.
    pub(crate) fn done(&mut self, merge: &Queued, target: Option<SegmentId>) {
        self.under_way.clear();
        if let Some(target) = target {
            self.merged.push_back((target, merge.job.sources.clone()));
            if self.merged.len() > DONE_KEPT {
                self.merged.pop_front();
            }
        }
        if let Some((progress, plan)) = self.settle(merge) {
            progress.completed += 1;
            progress.plans[plan].target = Some(target.unwrap_or(SegmentId(0)));
        }
    }

    /// The merge under way found its segments gone: somebody else merged or dropped them.
    pub(crate) fn obsolete(&mut self, merge: &Queued) {
        self.under_way.clear();
        if let Some((progress, _)) = self.settle(merge) {
            progress.completed += 1;
        }
    }

    /// The merge under way failed for good.
    pub(crate) fn failed(&mut self, merge: &Queued) {
        self.under_way.clear();
        if let Some((progress, _)) = self.settle(merge) {
            progress.failed += 1;
        }
    }

    /// The merge under way failed and waits for another turn, behind the others.
    pub(crate) fn again(&mut self, mut merge: Queued) {
        self.under_way.clear();
        merge.tries += 1;
        self.queue.push_back(merge);
    }

    fn settle(&mut self, merge: &Queued) -> Option<(&mut CompactionProgress, usize)> {
        let (id, plan) = merge.of?;
        let progress = self.runs.get_mut(&id)?;
        progress.executing = progress.executing.saturating_sub(1);
        Some((progress, plan))
    }

    /// Segments that are being merged or wait for it.
    pub(crate) fn sources(&self) -> HashSet<SegmentId> {
        let queued = self.queue.iter().flat_map(|q| &q.job.sources);
        queued.chain(&self.under_way).copied().collect()
    }

    /// What a segment was merged from, if this process knows.
    pub(crate) fn merged_from(&self, target: SegmentId) -> Vec<SegmentId> {
        let found = self.merged.iter().find(|(id, _)| *id == target);
        found.map_or_else(Vec::new, |(_, sources)| sources.clone())
    }

    /// How far a compaction is. One that this process does not know is done, without any merge: nothing was
    /// planned for it, or it is long ago, or an earlier process made it, and what it left to do is planned
    /// anew. So a client that waits for it does not wait for ever.
    pub(crate) fn progress(&self, id: i64) -> CompactionProgress {
        self.runs.get(&id).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{CollectionId, ShardId, Timestamp};

    use super::*;

    fn job(sources: [i64; 2]) -> CompactionJob {
        CompactionJob {
            shard: ShardId {
                collection: CollectionId(1),
                index: 0,
            },
            sources: sources.map(SegmentId).to_vec(),
            drop_deleted_before: Timestamp::ZERO,
            expired_before: None,
        }
    }

    #[test]
    fn a_compaction_is_done_when_all_its_merges_are() {
        let mut runs = Runs::default();
        runs.add(9, vec![job([1, 2]), job([3, 4]), job([5, 6]), job([7, 8])]);
        assert_eq!(runs.progress(9).executing, 4);
        assert_eq!(runs.sources().len(), 8);
        let first = runs.start_next().unwrap();
        runs.done(&first, Some(SegmentId(10)));
        let second = runs.start_next().unwrap();
        runs.again(second);
        let third = runs.start_next().unwrap();
        assert!(runs.sources().contains(&SegmentId(5)), "it is under way");
        runs.done(&third, None);
        assert!(!runs.sources().contains(&SegmentId(5)));
        let fourth = runs.start_next().unwrap();
        runs.obsolete(&fourth);
        let again = runs.start_next().unwrap();
        assert_eq!((again.tries, again.of), (1, Some((9, 1))));
        runs.failed(&again);
        let progress = runs.progress(9);
        assert_eq!(
            (progress.executing, progress.completed, progress.failed),
            (0, 3, 1)
        );
        let targets: Vec<_> = progress.plans.iter().map(|p| p.target).collect();
        assert_eq!(
            targets,
            [Some(SegmentId(10)), None, Some(SegmentId(0)), None]
        );
        assert_eq!(
            runs.merged_from(SegmentId(10)),
            [SegmentId(1), SegmentId(2)]
        );
        assert!(runs.start_next().is_none() && runs.sources().is_empty());
    }

    #[test]
    fn only_compactions_that_are_done_are_forgotten() {
        let mut runs = Runs::default();
        runs.add(0, vec![job([1, 2])]);
        for id in 1..=i64::try_from(DONE_KEPT).unwrap() {
            runs.add(id, Vec::new());
        }
        assert_eq!(runs.progress(0).executing, 1);
        assert_eq!(runs.runs.len(), DONE_KEPT);
    }

    #[test]
    fn a_compaction_that_nobody_knows_is_done() {
        let runs = Runs::default();
        for id in [-1, 0, 7] {
            assert_eq!(runs.progress(id), CompactionProgress::default());
        }
    }
}
