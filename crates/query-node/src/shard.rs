//! The views of one shard, and deletes on them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use holdfast_runtime::{MemoryBudget, MemoryKind, Reservation};
use holdfast_segment::SealedSegment;
use holdfast_storage::SegmentEntry;
use holdfast_types::{
    ChannelId, Code, Failure, IndexId, Lsn, ManifestVersion, PartitionId, PkList, SegmentId,
    ShardId, Timestamp,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// One open segment.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) entry: SegmentEntry,
    pub(crate) segment: Arc<SealedSegment>,
}

impl Served {
    /// The index files it was opened with.
    pub(crate) fn indexes(&self) -> Vec<(IndexId, u64)> {
        self.entry
            .indexes
            .iter()
            .map(|i| (i.index, i.build))
            .collect()
    }
}

/// The segments of one manifest version.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) version: ManifestVersion,
    pub(crate) covers: Lsn,
    /// Rows stamped at or before this are not in it; so it can't answer reads of before that.
    pub(crate) truncated: Option<Timestamp>,
    /// Version of the schema the segments were opened with.
    pub(crate) schema_version: i32,
    pub(crate) segments: Vec<Arc<Served>>,
}

impl View {
    /// The segments of `partitions`.
    pub(crate) fn of(&self, partitions: &[PartitionId]) -> Vec<Arc<SealedSegment>> {
        self.segments
            .iter()
            .filter(|s| partitions.contains(&s.entry.partition))
            .map(|s| Arc::clone(&s.segment))
            .collect()
    }
}

/// Deletes of one log record.
#[derive(Clone, Debug)]
struct Deletes {
    lsn: Lsn,
    ts: Timestamp,
    keys: Vec<PkList>,
}

impl Deletes {
    fn bytes(&self) -> u64 {
        self.keys.iter().map(PkList::bytes).sum()
    }
}

#[derive(Debug)]
struct State {
    /// Oldest first; the last is the newest. Each with the time at which a newer one came.
    views: VecDeque<(Arc<View>, Option<Duration>)>,
    /// Deletes that the newest view's manifest does not cover, in log order.
    recent: VecDeque<Deletes>,
    /// Rows stamped at or before this are gone, seen from this stamp on.
    truncated: Option<Timestamp>,
    /// Bytes of `recent`.
    recent_bytes: u64,
    /// Of `recent`, and of the deletes of every segment.
    memory: Reservation,
}

impl State {
    /// Says what is held by now. What is applied is durable, so it is held whether it fits or not; who
    /// writes more waits.
    fn account(&mut self) {
        let segments = distinct(self);
        self.account_with(&segments);
    }

    /// As [`Self::account`], for who knows which segments there are.
    fn account_with(&mut self, segments: &[Arc<SealedSegment>]) {
        let overlays: usize = segments.iter().map(|s| s.overlay_bytes()).sum();
        self.memory.resize(self.recent_bytes + overlays as u64);
    }
}

/// What a shard is doing.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The first view is on its way.
    Loading,
    /// There is a view.
    Serving,
    /// The newest version can't be served, and why.
    Failed(Failure),
}

/// One shard that is served.
#[derive(Debug)]
pub(crate) struct ServedShard {
    pub(crate) id: ShardId,
    pub(crate) channel: ChannelId,
    state: Mutex<State>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Every delete of the log at or before this has been applied; absent until the log was caught up with.
    pub(crate) applied: watch::Sender<Option<Lsn>>,
    /// Raised when the log lost what this shard had still to read: everything is opened anew.
    pub(crate) reload: Notify,
    /// Raised when the collection is released.
    pub(crate) released: tokio_util::sync::CancellationToken,
}

impl ServedShard {
    pub(crate) fn new(id: ShardId, channel: ChannelId, budget: &Arc<MemoryBudget>) -> Self {
        Self {
            id,
            channel,
            state: Mutex::new(State {
                views: VecDeque::new(),
                recent: VecDeque::new(),
                truncated: None,
                recent_bytes: 0,
                memory: budget.charge(MemoryKind::Sealed, 0),
            }),
            phase: watch::Sender::new(Phase::Loading),
            applied: watch::Sender::new(None),
            reload: Notify::new(),
            released: tokio_util::sync::CancellationToken::new(),
        }
    }

    /// Applies the deletes of one record to every segment held, and keeps them for segments to come.
    pub(crate) fn apply(&self, lsn: Lsn, ts: Timestamp, keys: Vec<PkList>) {
        let mut state = self.state.lock();
        let segments = distinct(&state);
        for segment in &segments {
            for list in &keys {
                segment.delete(list, ts);
            }
        }
        let deletes = Deletes { lsn, ts, keys };
        state.recent_bytes += deletes.bytes();
        state.recent.push_back(deletes);
        state.account_with(&segments);
    }

    /// Forgets every view, so that the next one is opened from the store alone.
    pub(crate) fn forget(&self) {
        self.phase.send_replace(Phase::Loading);
        let mut state = self.state.lock();
        state.views.clear();
        state.recent.clear();
        state.recent_bytes = 0;
        state.account();
    }

    /// Applies a truncation.
    pub(crate) fn truncate(&self, ts: Timestamp) {
        let mut state = self.state.lock();
        state.truncated = state.truncated.max(Some(ts));
    }

    /// Rows stamped at or before this don't show in a read at `at`.
    pub(crate) fn gone_before(&self, at: Timestamp) -> Option<Timestamp> {
        self.state.lock().truncated.filter(|&ts| ts <= at)
    }

    /// Begins to serve a view: what the log deleted since its manifest is applied first.
    pub(crate) fn publish(&self, view: View, now: Duration) {
        let mut state = self.state.lock();
        let known: HashSet<*const SealedSegment> =
            distinct(&state).iter().map(Arc::as_ptr).collect();
        for served in &view.segments {
            if known.contains(&Arc::as_ptr(&served.segment)) {
                continue;
            }
            for deletes in &state.recent {
                for list in &deletes.keys {
                    served.segment.delete(list, deletes.ts);
                }
            }
        }
        // A segment to come can only be one that a later manifest names, and that covers at least this much.
        let covers = view.covers;
        while let Some(covered) = state.recent.pop_front_if(|d| d.lsn <= covers) {
            state.recent_bytes -= covered.bytes();
        }
        if let Some((_, replaced)) = state.views.back_mut() {
            replaced.get_or_insert(now);
        }
        state.views.push_back((Arc::new(view), None));
        state.account();
        drop(state);
        self.phase.send_replace(Phase::Serving);
    }

    /// Stops to serve versions that were replaced at least `linger` ago.
    pub(crate) fn drop_lingering(&self, now: Duration, linger: Duration) {
        let mut state = self.state.lock();
        let before = state.views.len();
        state
            .views
            .retain(|(_, replaced)| replaced.is_none_or(|at| now.saturating_sub(at) < linger));
        if state.views.len() < before {
            state.account();
        }
    }

    /// The newest view.
    pub(crate) fn newest(&self) -> Option<Arc<View>> {
        self.state.lock().views.back().map(|(v, _)| Arc::clone(v))
    }

    /// The view of a version; the newest opening of it when there are several.
    ///
    /// # Errors
    /// `Conflict`: it is no longer, or not yet, served.
    pub(crate) fn view(&self, version: ManifestVersion) -> Result<Arc<View>, Failure> {
        let state = self.state.lock();
        let found = state.views.iter().rev().find(|(v, _)| v.version == version);
        found.map(|(v, _)| Arc::clone(v)).ok_or_else(|| {
            Failure::new(
                Code::Conflict,
                format!(
                    "shard {}: manifest version {version} is not served",
                    self.id
                ),
            )
        })
    }

    /// Open segments of the newest view, to be used again by the next.
    pub(crate) fn reusable(&self) -> HashMap<SegmentId, Arc<Served>> {
        let state = self.state.lock();
        let newest = state.views.back();
        newest
            .into_iter()
            .flat_map(|(v, _)| v.segments.iter().map(|s| (s.entry.id, Arc::clone(s))))
            .collect()
    }

    /// Every segment of every view held.
    pub(crate) fn all_segments(&self) -> HashMap<SegmentId, Arc<SealedSegment>> {
        let state = self.state.lock();
        state
            .views
            .iter()
            .flat_map(|(v, _)| {
                v.segments
                    .iter()
                    .map(|s| (s.entry.id, Arc::clone(&s.segment)))
            })
            .collect()
    }
}

fn distinct(state: &State) -> Vec<Arc<SealedSegment>> {
    let mut seen = HashSet::new();
    let segments = state.views.iter().flat_map(|(v, _)| v.segments.iter());
    segments
        .filter(|s| seen.insert(Arc::as_ptr(&s.segment)))
        .map(|s| Arc::clone(&s.segment))
        .collect()
}
