//! The segments in memory of one shard, and which reads see which.
//!
//! ```text
//!   growing (one per partition) --cut--> frozen, flushed_in = None --commit--> frozen, flushed_in = V
//!                                                                              --linger--> dropped
//! ```
//! A read at manifest version V is answered with every segment whose `flushed_in` is absent or above V;
//! the rest of the shard is in the segments that V names. `oldest` is the largest version whose segments
//! were dropped from memory: reads below it can't be completed here any more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow_array::RecordBatch;
use holdfast_runtime::{Clock, Reservation};
use holdfast_scan::{Cancel, Readable};
use holdfast_segment::{GrowingSegment, Hit, QuerySpec, Rows, SearchSpec};
use holdfast_types::{
    Coded, CollectionSchema, Failure, FieldId, Lsn, ManifestVersion, PartitionId, PkList, RowIdx,
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
    reservation: Mutex<Option<Reservation>>,
}

impl MemorySegment {
    fn account(&self, more: Reservation) {
        let mut held = self.reservation.lock();
        match held.as_mut() {
            Some(reservation) => reservation.merge(more),
            None => *held = Some(more),
        }
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
    /// The first manifest version that names it, and when that was learnt.
    flushed_in: Option<(ManifestVersion, Duration)>,
}

/// Keys deleted by clients since the last flush.
#[derive(Clone, Debug)]
pub(crate) struct DeletedKeys {
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
    pub(crate) keys: PkList,
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
    pub(crate) deletes: Vec<DeletedKeys>,
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
    deletes: Vec<DeletedKeys>,
    truncated: Option<(Lsn, Timestamp)>,
    oldest: ManifestVersion,
    newest: ManifestVersion,
    /// When the last commit was learnt: the log is kept for a linger time after it.
    committed_at: Duration,
    kept_until_trim: Lsn,
}

/// The fresh part of one shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    state: RwLock<State>,
    /// Held for the length of a flush: there is one at a time.
    pub(crate) flushing: tokio::sync::Mutex<()>,
}

/// The version is older than what memory can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    pub(crate) oldest: ManifestVersion,
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
                oldest: version,
                newest: version,
                committed_at: Duration::ZERO,
                kept_until_trim: covers,
            }),
            flushing: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether the manifest already holds what the record at `lsn` did to this shard.
    pub(crate) fn is_covered(&self, lsn: Lsn) -> bool {
        lsn <= self.state.read().covers
    }

    /// Whether the next rows of a partition need a new segment: there is none, or the schema changed.
    pub(crate) fn needs_segment(&self, partition: PartitionId, schema: &CollectionSchema) -> bool {
        let state = self.state.read();
        state
            .growing
            .get(&partition)
            .is_none_or(|s| s.schema_version != schema.version)
    }

    /// Starts a segment. The one it replaces, if any, takes no more rows and waits for the next flush.
    pub(crate) fn start_segment(
        &self,
        id: SegmentId,
        partition: PartitionId,
        schema: &Arc<CollectionSchema>,
    ) {
        let segment = Arc::new(MemorySegment {
            id,
            partition,
            schema_version: schema.version,
            rows: GrowingSegment::new(id, partition, Arc::clone(schema)),
            reservation: Mutex::new(None),
        });
        let mut state = self.state.write();
        if let Some(old) = state.growing.insert(partition, segment) {
            state.frozen.push(Frozen {
                segment: old,
                flushed_in: None,
            });
        }
    }

    /// Applies deletes, then rows, of the record at `lsn`: rows of the same record survive its deletes.
    ///
    /// Row keys supersede older rows of the same keys everywhere in the shard: the newest wins. The caller
    /// applies records in log order and has made the segment.
    pub(crate) fn apply(&self, change: Change<'_>) -> Result<(), Failure> {
        let Change {
            lsn,
            ts,
            partition,
            rows,
            row_keys,
            deletes,
            reservation,
        } = change;
        let mut state = self.state.write();
        let everywhere = |keys: &PkList, state: &State| {
            let growing = state.growing.values();
            let frozen = state.frozen.iter().map(|f| &f.segment);
            for segment in growing.chain(frozen) {
                segment.rows.delete(keys, ts);
            }
        };
        if let Some(keys) = deletes {
            everywhere(keys, &state);
            state.deletes.push(DeletedKeys {
                lsn,
                ts,
                keys: keys.clone(),
            });
        }
        if let Some(batch) = rows {
            if let Some(keys) = row_keys {
                everywhere(keys, &state);
            }
            let segment = state
                .growing
                .get(&partition)
                .expect("the caller started the segment");
            segment
                .rows
                .append(batch, ts, lsn)
                .map_err(|e| e.to_failure())?;
            if let Some(reservation) = reservation {
                segment.account(reservation);
            }
        }
        state.first_unflushed.get_or_insert(lsn);
        state.last_lsn = state.last_lsn.max(lsn);
        state.last_ts = state.last_ts.max(ts);
        Ok(())
    }

    /// Applies a truncation: no row stamped at or before `ts` is left here, nor in the next manifest.
    pub(crate) fn truncate(&self, lsn: Lsn, ts: Timestamp) {
        let mut state = self.state.write();
        state.growing.clear();
        state.frozen.clear();
        state.deletes.clear();
        state.truncated = Some((lsn, ts));
        state.first_unflushed.get_or_insert(lsn);
        state.last_lsn = state.last_lsn.max(lsn);
        state.last_ts = state.last_ts.max(ts);
    }

    /// Forgets the fresh rows of a partition that is dropped.
    pub(crate) fn drop_partition(&self, partition: PartitionId) {
        let mut state = self.state.write();
        state.growing.remove(&partition);
        state.frozen.retain(|f| f.segment.partition != partition);
    }

    /// Bytes of rows that still grow.
    pub(crate) fn growing_bytes(&self) -> u64 {
        self.state.read().growing.values().map(|s| s.bytes()).sum()
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
        if now.saturating_sub(state.committed_at) >= linger {
            state.kept_until_trim = free;
        }
        state.kept_until_trim.min(free)
    }

    /// What is known of the manifest versions: (oldest that memory can complete, newest).
    pub(crate) fn versions(&self) -> (ManifestVersion, ManifestVersion) {
        let state = self.state.read();
        (state.oldest, state.newest)
    }

    /// The segments that complete `version`, in `partitions` (all when absent).
    pub(crate) fn read(
        &self,
        version: ManifestVersion,
        partitions: Option<&[PartitionId]>,
    ) -> Result<Vec<Arc<MemorySegment>>, TooOld> {
        let state = self.state.read();
        if version < state.oldest {
            return Err(TooOld {
                oldest: state.oldest,
            });
        }
        let frozen = state
            .frozen
            .iter()
            .filter(|f| f.flushed_in.is_none_or(|(v, _)| v > version))
            .map(|f| &f.segment);
        let segments = state.growing.values().chain(frozen);
        Ok(segments
            .filter(|s| partitions.is_none_or(|p| p.contains(&s.partition)))
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
            let lifecycle = if f.flushed_in.is_some() {
                Lifecycle::Flushed
            } else {
                Lifecycle::Sealed
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
        state
            .frozen
            .extend(growing.into_values().map(|segment| Frozen {
                segment,
                flushed_in: None,
            }));
        let segments = state
            .frozen
            .iter()
            .filter(|f| f.flushed_in.is_none())
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

    /// Learns that `version` holds everything of `cut`.
    pub(crate) fn committed(&self, cut: &Cut, version: ManifestVersion, clock: &dyn Clock) {
        let now = clock.monotonic();
        let mut state = self.state.write();
        for frozen in &mut state.frozen {
            if frozen.flushed_in.is_none() && cut.segments.iter().any(|s| s.id == frozen.segment.id)
            {
                frozen.flushed_in = Some((version, now));
            }
        }
        state.deletes.retain(|d| d.lsn > cut.lsn);
        if state.truncated.is_some_and(|(lsn, _)| lsn <= cut.lsn) {
            state.truncated = None;
        }
        state.covers = cut.lsn;
        state.newest = state.newest.max(version);
        state.committed_at = now;
        let first = (state.last_lsn > cut.lsn).then(|| cut.lsn.next());
        state.first_unflushed = first;
    }

    /// Learns of a version that somebody else committed, naming `segments`.
    pub(crate) fn observe(
        &self,
        version: ManifestVersion,
        segments: &[SegmentId],
        clock: &dyn Clock,
    ) {
        let now = clock.monotonic();
        let mut state = self.state.write();
        for frozen in &mut state.frozen {
            if frozen.flushed_in.is_none() && segments.contains(&frozen.segment.id) {
                frozen.flushed_in = Some((version, now));
            }
        }
        state.newest = state.newest.max(version);
    }

    /// Drops segments that were flushed at least `linger` ago.
    pub(crate) fn drop_lingering(&self, now: Duration, linger: Duration) {
        let mut state = self.state.write();
        let mut oldest = state.oldest;
        state.frozen.retain(|f| match f.flushed_in {
            Some((version, at)) if now.saturating_sub(at) >= linger => {
                oldest = oldest.max(version);
                false
            }
            Some(_) | None => true,
        });
        state.oldest = oldest;
    }
}

/// What one record does to one shard.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) ts: Timestamp,
    pub(crate) partition: PartitionId,
    pub(crate) rows: Option<&'a RecordBatch>,
    /// The primary keys of `rows`.
    pub(crate) row_keys: Option<&'a PkList>,
    pub(crate) deletes: Option<&'a PkList>,
    /// The memory that `rows` will hold.
    pub(crate) reservation: Option<Reservation>,
}

/// Where a segment in memory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Takes rows.
    Growing,
    /// Takes no more rows; not in a manifest yet.
    Sealed,
    /// In a manifest; kept for reads of older versions.
    Flushed,
}
