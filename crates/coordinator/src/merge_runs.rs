//! Compactions, asked for by clients or not: what is planned, done and failed. In memory: after a restart the
//! loop plans anew whatever still pays.

use std::collections::{BTreeMap, HashSet, VecDeque};

use holdfast_node_api::{
    coordinator::{CompactionProgress, MergePlan, MergeState},
    worker::CompactionJob,
};
use holdfast_types::{CollectionId, Failure, PartitionId, SegmentId};

/// Most compactions that are remembered once they are done.
const DONE_KEPT: usize = 1_000;

/// The compactions of this process.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: BTreeMap<i64, Run>,
    queue: VecDeque<Queued>,
    /// Segments of the merge under way.
    under_way: Vec<SegmentId>,
    /// Results of merges, newest last.
    merged: VecDeque<(SegmentId, Vec<SegmentId>)>,
}

/// One compaction.
#[derive(Debug)]
struct Run {
    collection: CollectionId,
    plans: Vec<MergePlan>,
}

impl Run {
    fn is_done(&self) -> bool {
        let open =
            |plan: &MergePlan| matches!(plan.state, MergeState::Waiting | MergeState::Running);
        !self.plans.iter().any(open)
    }
}

/// Who wants a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A client, who waits for it: a merge that fails is tried again.
    ByClient,
    /// Nobody waits: what fails is planned anew when it may pay again.
    ByItself,
}

/// A merge that is worth it.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) job: CompactionJob,
    pub(crate) partition: PartitionId,
}

/// A merge that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) job: CompactionJob,
    pub(crate) wanted: Wanted,
    /// The compaction and the position among its plans.
    pub(crate) of: (i64, usize),
    pub(crate) tries: u32,
}

impl Runs {
    /// Adds a compaction whose merges wait for their turn, but for those of segments that others took
    /// meanwhile; false when these are all. Numbers from `id` on are its own: that and one for each merge.
    pub(crate) fn add(
        &mut self,
        id: i64,
        collection: CollectionId,
        wanted: Wanted,
        mut merges: Vec<Planned>,
    ) -> bool {
        let busy = self.sources();
        merges.retain(|merge| !merge.job.sources.iter().any(|s| busy.contains(s)));
        if merges.is_empty() {
            return false;
        }
        let mut plans = Vec::with_capacity(merges.len());
        for (Planned { job, partition }, number) in merges.into_iter().zip(id + 1..) {
            let of = (id, plans.len());
            plans.push(MergePlan {
                id: number,
                compaction: id,
                shard: job.shard,
                partition,
                sources: job.sources.clone(),
                target: None,
                state: MergeState::Waiting,
            });
            self.queue.push_back(Queued {
                job,
                wanted,
                of,
                tries: 0,
            });
        }
        self.runs.insert(id, Run { collection, plans });
        while self.runs.len() > DONE_KEPT {
            let oldest_done = self.runs.iter().find(|(_, run)| run.is_done());
            let Some(id) = oldest_done.map(|(id, _)| *id) else {
                break;
            };
            self.runs.remove(&id);
        }
        true
    }

    /// The next merge; it is under way from now on.
    pub(crate) fn start_next(&mut self) -> Option<Queued> {
        let next = self.queue.pop_front()?;
        self.under_way.clone_from(&next.job.sources);
        self.settle(&next, MergeState::Running, None);
        Some(next)
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
        let target = target.unwrap_or(SegmentId(0));
        self.settle(merge, MergeState::Done, Some(target));
    }

    /// The merge under way found its segments gone: somebody else merged or dropped them.
    pub(crate) fn obsolete(&mut self, merge: &Queued) {
        self.under_way.clear();
        self.settle(merge, MergeState::Done, None);
    }

    /// The merge under way failed for good.
    pub(crate) fn failed(&mut self, merge: &Queued, why: &Failure) {
        self.under_way.clear();
        self.settle(merge, MergeState::Failed(why.message.clone()), None);
    }

    /// The merge under way failed and waits for another turn, behind the others.
    pub(crate) fn again(&mut self, mut merge: Queued) {
        self.under_way.clear();
        self.settle(&merge, MergeState::Waiting, None);
        merge.tries += 1;
        self.queue.push_back(merge);
    }

    fn settle(&mut self, merge: &Queued, state: MergeState, target: Option<SegmentId>) {
        let (id, at) = merge.of;
        // One that is not done is not forgotten.
        if let Some(plan) = self.runs.get_mut(&id).and_then(|r| r.plans.get_mut(at)) {
            plan.state = state;
            plan.target = target;
        }
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

    /// The newest compaction of a collection that is not done.
    pub(crate) fn unfinished(&self, collection: CollectionId) -> Option<i64> {
        let mut runs = self.runs.iter().rev();
        let found = runs.find(|(_, run)| run.collection == collection && !run.is_done());
        found.map(|(id, _)| *id)
    }

    /// How far a compaction is. One that this process does not know is done, without any merge: nothing was
    /// planned for it, or it is long ago, or an earlier process made it, and what it left to do is planned
    /// anew. So a client that waits for it does not wait for ever.
    pub(crate) fn progress(&self, id: i64) -> CompactionProgress {
        progress(self.runs.get(&id).into_iter())
    }

    /// How far all compactions of a collection are that are still known.
    pub(crate) fn progress_of(&self, collection: CollectionId) -> CompactionProgress {
        progress(
            self.runs
                .values()
                .filter(|run| run.collection == collection),
        )
    }
}

fn progress<'r>(runs: impl Iterator<Item = &'r Run>) -> CompactionProgress {
    let mut progress = CompactionProgress::default();
    for plan in runs.flat_map(|run| &run.plans) {
        match plan.state {
            MergeState::Waiting | MergeState::Running => progress.executing += 1,
            MergeState::Done => progress.completed += 1,
            MergeState::Failed(_) => progress.failed += 1,
        }
        progress.plans.push(plan.clone());
    }
    progress
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Code, ShardId, Timestamp};

    use super::*;

    const COLLECTION: CollectionId = CollectionId(1);

    fn merge(sources: [i64; 2]) -> Planned {
        Planned {
            job: CompactionJob {
                shard: ShardId {
                    collection: COLLECTION,
                    index: 0,
                },
                sources: sources.map(SegmentId).to_vec(),
                drop_deleted_before: Timestamp::ZERO,
                expired_before: None,
            },
            partition: PartitionId(3),
        }
    }

    fn add(runs: &mut Runs, id: i64, merges: Vec<Planned>) -> bool {
        runs.add(id, COLLECTION, Wanted::ByClient, merges)
    }

    #[test]
    fn a_compaction_is_done_when_all_its_merges_are() {
        let mut runs = Runs::default();
        let merges = [[1, 2], [3, 4], [5, 6], [7, 8]].map(merge).to_vec();
        assert!(add(&mut runs, 9, merges));
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
        assert_eq!((again.tries, again.of), (1, (9, 1)));
        assert_eq!(runs.unfinished(COLLECTION), Some(9));
        runs.failed(&again, &Failure::new(Code::Corrupt, "a bad block"));
        assert_eq!(runs.unfinished(COLLECTION), None);
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
        let why = MergeState::Failed("a bad block".to_owned());
        assert_eq!((progress.plans[1].id, &progress.plans[1].state), (11, &why));
        assert_eq!(runs.progress_of(COLLECTION), progress);
        let other = runs.progress_of(CollectionId(2));
        assert_eq!(other, CompactionProgress::default());
        assert_eq!(
            runs.merged_from(SegmentId(10)),
            [SegmentId(1), SegmentId(2)]
        );
        assert!(runs.start_next().is_none() && runs.sources().is_empty());
    }

    #[test]
    fn only_compactions_that_are_done_are_forgotten() {
        let mut runs = Runs::default();
        assert!(add(&mut runs, 0, vec![merge([1, 2])]));
        let waiting = runs.start_next().unwrap();
        for number in 1..=i64::try_from(DONE_KEPT).unwrap() {
            let id = number * 10;
            assert!(add(&mut runs, id, vec![merge([id, id + 1])]));
            let next = runs.start_next().unwrap();
            runs.done(&next, None);
        }
        assert_eq!(runs.progress(0).executing, 1);
        assert_eq!(runs.runs.len(), DONE_KEPT);
        runs.done(&waiting, None);
    }

    #[test]
    fn segments_that_are_taken_are_not_taken_again() {
        let mut runs = Runs::default();
        assert!(runs.add(10, COLLECTION, Wanted::ByItself, vec![merge([1, 2])]));
        let started = runs.start_next().unwrap();
        assert!(!add(&mut runs, 20, vec![merge([2, 3])]));
        assert!(add(&mut runs, 30, vec![merge([2, 3]), merge([4, 5])]));
        assert_eq!(runs.progress(30).plans.len(), 1);
        assert_eq!(runs.unfinished(COLLECTION), Some(30));
        runs.done(&started, Some(SegmentId(6)));
        let states: Vec<_> = runs.progress_of(COLLECTION).plans;
        let states: Vec<_> = states.into_iter().map(|p| p.state).collect();
        assert_eq!(states, [MergeState::Done, MergeState::Waiting]);
    }

    #[test]
    fn a_compaction_that_nobody_knows_is_done() {
        let runs = Runs::default();
        for id in [-1, 0, 7] {
            assert_eq!(runs.progress(id), CompactionProgress::default());
        }
    }
}
