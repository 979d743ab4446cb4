//! The segments in memory of one shard, and which reads see which.
//!
//! ```text
//!   growing (one per partition) --cut--> frozen, flushed_in = None --commit--> frozen, flushed_in = V
//!                                                                              --linger--> dropped
//! ```
//! A read at manifest version V is answered with every segment whose `flushed_in` is absent or above V;
//! the rest of the shard is in the segments that V names. `oldest` is the largest version whose segments
//! were dropped from memory: reads below it can't be completed here any more.
//!
//! Which version a segment is in follows from positions, not from names: a version that covers the log up
//! to a segment's last record holds its rows, in that segment or in one that they were merged into.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use arrow_array::RecordBatch;
use holdfast_runtime::Reservation;
use holdfast_scan::{Cancel, Readable};
use holdfast_segment::{GrowingSegment, Hit, QuerySpec, Rows, SearchSpec};
use holdfast_types::{
    CollectionSchema, Failure, FieldId, Lsn, ManifestVersion, PartitionId, PkList, RowIdx,
    SegmentId, ShardId, Timestamp,
};
use parking_lot::{Mutex, RwLock};

/// A segment in memory and the memory it accounts for.
#[derive(Debug)]
pub(crate) struct MemorySegment {
    pub(crate) id: SegmentId,
    pub(crate) partition: PartitionId,
    pub(crate) schema_version: i32,
    pub(crate) rows: GrowingSegment,
    memory: Mutex<Reservation>,
}

impl MemorySegment {
    /// Takes over what was set aside for rows that were appended, and corrects it to what they take.
    fn account(&self, more: Reservation) {
        let mut memory = self.memory.lock();
        memory.merge(more);
        memory.resize(self.bytes());
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.bytes() as u64
    }
}

impl Readable for MemorySegment {
    fn search(&self, spec: &SearchSpec, cancel: &Cancel) -> Result<Vec<Vec<Hit>>, Failure> {
        Readable::search(&self.rows, spec, cancel)
    }

    fn query(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<Rows, Failure> {
        Readable::query(&self.rows, spec, cancel)
    }

    fn count(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<u64, Failure> {
        Readable::count(&self.rows, spec, cancel)
    }

    fn fetch(&self, rows: &[RowIdx], fields: &[FieldId]) -> Result<RecordBatch, Failure> {
        Readable::fetch(&self.rows, rows, fields)
    }
}

/// A segment that takes no more rows.
#[derive(Clone, Debug)]
struct Frozen {
    segment: Arc<MemorySegment>,
    /// The first manifest version that holds its rows, and when that was learnt.
    flushed_in: Option<(ManifestVersion, Duration)>,
    /// The truncation that removed its rows, and when that was applied. Reads before it still see them.
    gone: Option<(Timestamp, Duration)>,
}

impl Frozen {
    fn new(segment: Arc<MemorySegment>) -> Self {
        Self {
            segment,
            flushed_in: None,
            gone: None,
        }
    }

    fn is_unflushed(&self) -> bool {
        self.flushed_in.is_none() && self.gone.is_none()
    }
}

/// Keys deleted by clients since the last flush.
#[derive(Debug)]
pub(crate) struct DeletedKeys {
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
    pub(crate) keys: PkList,
    _memory: Reservation,
}

impl DeletedKeys {
    /// Memory that these keys will take.
    pub(crate) fn bytes(keys: &PkList) -> u64 {
        keys.bytes() + size_of::<Self>() as u64
    }

    /// With what was set aside for the keys, corrected to what they take.
    fn new(lsn: Lsn, ts: Timestamp, keys: PkList, mut memory: Reservation) -> Arc<Self> {
        memory.resize(Self::bytes(&keys));
        Arc::new(Self {
            lsn,
            ts,
            keys,
            _memory: memory,
        })
    }
}

/// What one flush has to make durable.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Every record at or before this is in `segments`, `deletes` and the manifest so far.
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
    /// The manifest covered the log up to here before.
    pub(crate) covered: Lsn,
    pub(crate) segments: Vec<Arc<MemorySegment>>,
    pub(crate) deletes: Vec<Arc<DeletedKeys>>,
    pub(crate) truncated: Option<Timestamp>,
}

#[derive(Debug)]
struct State {
    covers: Lsn,
    last_lsn: Lsn,
    last_ts: Timestamp,
    first_unflushed: Option<Lsn>,
    growing: BTreeMap<PartitionId, Arc<MemorySegment>>,
    frozen: Vec<Frozen>,
    deletes: Vec<Arc<DeletedKeys>>,
    truncated: Option<(Lsn, Timestamp)>,
    /// The last truncation whose rows are no longer in memory: reads before it can't be answered.
    forgotten: Option<Timestamp>,
    /// Partitions dropped since the start: rows of theirs that were under way are not kept.
    dropped: HashSet<PartitionId>,
    oldest: ManifestVersion,
    newest: ManifestVersion,
    /// Positions that commits covered, and when they were learnt: the log is kept for a linger time
    /// after each.
    commits: VecDeque<(Duration, Lsn)>,
    /// The log up to here was superfluous a linger time ago.
    superfluous: Lsn,
}

impl State {
    /// Deletes older rows of the keys, in every segment.
    fn delete(&self, keys: &PkList, ts: Timestamp) {
        let frozen = self.frozen.iter().map(|f| &f.segment);
        for segment in self.growing.values().chain(frozen) {
            segment.rows.delete(keys, ts);
        }
    }
}

/// The fresh part of one shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    state: RwLock<State>,
    /// Held for the length of a flush: there is one at a time.
    pub(crate) flushing: tokio::sync::Mutex<()>,
}

/// Memory does not hold any more what the read needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooOld {
    /// Segments above the version were dropped; this is the oldest version that can be completed.
    Version(ManifestVersion),
    /// Rows of before this truncation were dropped.
    Truncated(Timestamp),
}

impl Shard {
    /// A shard without fresh rows, whose manifest covers the log up to `covers`.
    pub(crate) fn new(
        id: ShardId,
        version: ManifestVersion,
        covers: Lsn,
        covers_ts: Timestamp,
    ) -> Self {
        Self {
            id,
            state: RwLock::new(State {
                covers,
                last_lsn: covers,
                last_ts: covers_ts,
                first_unflushed: None,
                growing: BTreeMap::new(),
                frozen: Vec::new(),
                deletes: Vec::new(),
                truncated: None,
                forgotten: None,
                dropped: HashSet::new(),
                oldest: version,
                newest: version,
                commits: VecDeque::new(),
                superfluous: Lsn(0),
            }),
            flushing: tokio::sync::Mutex::new(()),
        }
    }

    /// Applies one record. All of it or, when the manifest covers it, nothing: a flush can't cut it in two.
    ///
    /// Rows supersede older rows of the same keys everywhere in the shard: the newest wins. Rows survive
    /// the deletes of their own record. The caller applies records in log order. `ids` are for the segments
    /// that have to be started, at most one a part.
    ///
    /// # Errors
    /// A defect: the record was checked before it was logged. The shard is then not to be written to again.
    pub(crate) fn apply(
        &self,
        change: Change<'_>,
        ids: &mut Vec<SegmentId>,
    ) -> Result<(), Failure> {
        let Change {
            lsn,
            ts,
            schema,
            parts,
        } = change;
        let mut state = self.state.write();
        if lsn <= state.covers {
            return Ok(());
        }
        for part in parts {
            let PartChange {
                partition,
                rows,
                keep_rows,
                deletes,
                mut memory,
            } = part;
            if let Some(keys) = deletes {
                state.delete(&keys, ts);
                let held = memory.split(DeletedKeys::bytes(&keys));
                state.deletes.push(DeletedKeys::new(lsn, ts, keys, held));
            }
            let Some((batch, keys)) = rows else {
                continue;
            };
            state.delete(&keys, ts);
            if !keep_rows || state.dropped.contains(&partition) {
                // The partition is gone, but its rows had superseded older ones by then.
                state.deletes.push(DeletedKeys::new(lsn, ts, keys, memory));
                continue;
            }
            let current = state
                .growing
                .get(&partition)
                .filter(|s| s.schema_version == schema.version);
            let segment = match current {
                Some(segment) => Arc::clone(segment),
                None => {
                    let id = ids
                        .pop()
                        .ok_or_else(|| Failure::internal("no id for a new segment"))?;
                    let segment = Arc::new(MemorySegment {
                        id,
                        partition,
                        schema_version: schema.version,
                        rows: GrowingSegment::new(id, partition, Arc::clone(schema)),
                        memory: Mutex::new(memory.split(0)),
                    });
                    // One of an older schema takes no more rows and waits for the next flush.
                    if let Some(old) = state.growing.insert(partition, Arc::clone(&segment)) {
                        state.frozen.push(Frozen::new(old));
                    }
                    segment
                }
            };
            segment.rows.append(&batch, ts, lsn)?;
            segment.account(memory);
        }
        state.first_unflushed.get_or_insert(lsn);
        state.last_lsn = state.last_lsn.max(lsn);
        state.last_ts = state.last_ts.max(ts);
        Ok(())
    }

    /// Applies a truncation: no row stamped at or before `ts` is left for reads at or after it, nor in the
    /// next manifest.
    pub(crate) fn truncate(&self, lsn: Lsn, ts: Timestamp, now: Duration) {
        let mut state = self.state.write();
        if lsn <= state.covers {
            return;
        }
        let growing = std::mem::take(&mut state.growing);
        state.frozen.extend(growing.into_values().map(Frozen::new));
        for frozen in &mut state.frozen {
            frozen.gone.get_or_insert((ts, now));
        }
        state.deletes.clear();
        state.truncated = Some((lsn, ts));
        state.first_unflushed.get_or_insert(lsn);
        state.last_lsn = state.last_lsn.max(lsn);
        state.last_ts = state.last_ts.max(ts);
    }

    /// Forgets the fresh rows of a partition that is dropped. The older rows that they had superseded, in
    /// whatever partition, stay deleted.
    ///
    /// # Errors
    /// A defect: a segment without keys.
    pub(crate) fn drop_partition(&self, partition: PartitionId) -> Result<(), Failure> {
        let state = &mut *self.state.write();
        state.dropped.insert(partition);
        let growing = state.growing.remove(&partition);
        let frozen = state
            .frozen
            .extract_if(.., |f| f.segment.partition == partition);
        let gone: Vec<_> = frozen
            .filter(Frozen::is_unflushed)
            .map(|f| f.segment)
            .chain(growing)
            .collect();
        for segment in gone {
            let lsn = segment.rows.lsn();
            for (keys, stamps) in segment.rows.keys_and_stamps()? {
                let mut first = 0;
                for run in stamps.chunk_by(|a, b| a == b) {
                    let keys: PkList = (first..first + run.len()).map(|i| keys.get(i)).collect();
                    first += run.len();
                    let memory = segment.memory.lock().split(DeletedKeys::bytes(&keys));
                    state
                        .deletes
                        .push(DeletedKeys::new(lsn, run[0], keys, memory));
                }
            }
        }
        Ok(())
    }

    /// Bytes of rows that are in no manifest yet.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        let state = self.state.read();
        let frozen = state
            .frozen
            .iter()
            .filter(|f| f.is_unflushed())
            .map(|f| &f.segment);
        state
            .growing
            .values()
            .chain(frozen)
            .map(|s| s.bytes())
            .sum()
    }

    /// The first record that a restart would have to replay for this shard.
    pub(crate) fn first_unflushed(&self) -> Option<Lsn> {
        self.state.read().first_unflushed
    }

    /// The log up to here is not needed by this shard, `applied` being the channel's position.
    ///
    /// What a commit made superfluous is kept for `linger`, so that whoever follows the log from an
    /// older manifest still finds it.
    pub(crate) fn trimmable(&self, applied: Lsn, now: Duration, linger: Duration) -> Lsn {
        let mut state = self.state.write();
        let free = state
            .first_unflushed
            .map_or(applied, |first| Lsn(first.0 - 1));
        while let Some(&(at, covers)) = state.commits.front()
            && now.saturating_sub(at) >= linger
        {
            state.superfluous = covers;
            state.commits.pop_front();
        }
        if state.commits.is_empty() {
            // Nothing of what lies between the last commit and `free` is of this shard.
            state.superfluous = free;
        }
        state.superfluous.min(free)
    }

    /// What is known of the manifest versions: (oldest that memory can complete, newest).
    pub(crate) fn versions(&self) -> (ManifestVersion, ManifestVersion) {
        let state = self.state.read();
        (state.oldest, state.newest)
    }

    /// The segments of `partitions` that complete `version`, for a read at `at`.
    pub(crate) fn read(
        &self,
        version: ManifestVersion,
        at: Timestamp,
        partitions: &[PartitionId],
    ) -> Result<Vec<Arc<MemorySegment>>, TooOld> {
        let state = self.state.read();
        if version < state.oldest {
            return Err(TooOld::Version(state.oldest));
        }
        if let Some(truncated) = state.forgotten.filter(|&ts| at < ts) {
            return Err(TooOld::Truncated(truncated));
        }
        let frozen = state
            .frozen
            .iter()
            .filter(|f| {
                f.flushed_in.is_none_or(|(v, _)| v > version)
                    && f.gone.is_none_or(|(ts, _)| ts > at)
            })
            .map(|f| &f.segment);
        let segments = state.growing.values().chain(frozen);
        Ok(segments
            .filter(|s| partitions.contains(&s.partition))
            .cloned()
            .collect())
    }

    /// Every segment in memory, whatever reads see it.
    pub(crate) fn all(&self) -> Vec<(Arc<MemorySegment>, Lifecycle)> {
        let state = self.state.read();
        let growing = state
            .growing
            .values()
            .map(|s| (Arc::clone(s), Lifecycle::Growing));
        let frozen = state.frozen.iter().map(|f| {
            let lifecycle = if f.is_unflushed() {
                Lifecycle::Sealed
            } else {
                Lifecycle::Lingering
            };
            (Arc::clone(&f.segment), lifecycle)
        });
        growing.chain(frozen).collect()
    }

    /// Freezes everything that grows and says what has to be made durable; `None` when nothing has.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let mut state = self.state.write();
        state.first_unflushed?;
        let growing = std::mem::take(&mut state.growing);
        state.frozen.extend(growing.into_values().map(Frozen::new));
        let segments = state
            .frozen
            .iter()
            .filter(|f| f.is_unflushed())
            .map(|f| Arc::clone(&f.segment))
            .collect();
        Some(Cut {
            lsn: state.last_lsn,
            ts: state.last_ts,
            covered: state.covers,
            segments,
            deletes: state.deletes.clone(),
            truncated: state.truncated.map(|(_, ts)| ts),
        })
    }

    /// Learns that `version` covers the log up to `covers`, whoever committed it. Versions are learnt in any
    /// order and any number of times; of those that hold a segment's rows the first counts.
    pub(crate) fn learn(&self, version: ManifestVersion, covers: Lsn, now: Duration) {
        let mut state = self.state.write();
        for frozen in &mut state.frozen {
            let holds = frozen.segment.rows.lsn() <= covers;
            if holds && frozen.flushed_in.is_none_or(|(known, _)| known > version) {
                frozen.flushed_in = Some((version, now));
            }
        }
        state.newest = state.newest.max(version);
        if covers <= state.covers {
            return;
        }
        state.covers = covers;
        state.commits.push_back((now, covers));
        state.deletes.retain(|d| d.lsn > covers);
        if state.truncated.is_some_and(|(lsn, _)| lsn <= covers) {
            state.truncated = None;
        }
        state.first_unflushed = (state.last_lsn > covers).then(|| covers.next());
    }

    /// The log up to here is in the newest manifest that is known.
    pub(crate) fn covers(&self) -> Lsn {
        self.state.read().covers
    }

    /// Drops segments that were flushed or truncated at least `linger` ago.
    pub(crate) fn drop_lingering(&self, now: Duration, linger: Duration) {
        let mut state = self.state.write();
        let (mut oldest, mut forgotten) = (state.oldest, state.forgotten);
        state.frozen.retain(|f| {
            let over = |since: Duration| now.saturating_sub(since) >= linger;
            if let Some((version, at)) = f.flushed_in
                && over(at)
            {
                oldest = oldest.max(version);
                return false;
            }
            if let Some((ts, at)) = f.gone
                && over(at)
            {
                forgotten = forgotten.max(Some(ts));
                return false;
            }
            true
        });
        (state.oldest, state.forgotten) = (oldest, forgotten);
    }
}

/// What one record does to one shard.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
    pub(crate) schema: &'a Arc<CollectionSchema>,
    pub(crate) parts: Vec<PartChange>,
}

/// What one record does to one partition of a shard; deletes reach all of the shard.
#[derive(Debug)]
pub(crate) struct PartChange {
    pub(crate) partition: PartitionId,
    /// Rows and their primary keys.
    pub(crate) rows: Option<(RecordBatch, PkList)>,
    /// Whether the partition still exists.
    pub(crate) keep_rows: bool,
    pub(crate) deletes: Option<PkList>,
    /// The memory that rows and deletes will hold.
    pub(crate) memory: Reservation,
}

/// Where a segment in memory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Takes rows.
    Growing,
    /// Takes no more rows; not in a manifest yet.
    Sealed,
    /// In a manifest, or truncated; kept for reads of older versions or stamps.
    Lingering,
}
