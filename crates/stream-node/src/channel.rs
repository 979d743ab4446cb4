//! One log: stamping, appending, applying in order, and points to read at.
//!
//! Stamps and positions are given in one critical section, so their orders agree. Records are applied by
//! one task in log order, each only after the log has it on disk; a write is answered after that. So the
//! stamp of the last applied record is at or above every acknowledged write, and everything stamped at or
//! below it has been applied: it is the point a strong read needs, without waiting for anything.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arrow_array::RecordBatch;
use holdfast_meta::{Catalog, CollectionMeta};
use holdfast_node_api::{
    read::Guarantee,
    write::{WriteAck, WriteRequest},
};
use holdfast_runtime::{Clock, CpuPool, Hlc, MemoryBudget, MemoryKind, Reservation};
use holdfast_types::{
    ChannelId, Code, Coded, CollectionId, Epoch, Failure, FieldId, Lsn, PkList, SegmentId, ShardId,
    Timestamp, columns,
};
use holdfast_wal::{
    AppendDone, AppendError, WalWriter,
    record::{Record, RecordPart, WriteRecord},
};
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    metrics,
    options::Options,
    recent_keys::RecentKeys,
    shard::{Change, PartChange, Shard},
};

/// Bytes that one permit of the in-flight semaphore stands for.
const PERMIT_BYTES: u64 = 1 << 10;
/// Memory that a row needs beside its columns: its entry in the key map and its stamps.
const ROW_OVERHEAD_BYTES: u64 = 96;

/// Memory that a batch of rows will hold.
fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64 + batch.num_rows() as u64 * ROW_OVERHEAD_BYTES
}

/// How far the channel has been applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Position of the last applied record.
    pub(crate) lsn: Lsn,
    /// Everything stamped at or before this has been applied.
    pub(crate) ts: Timestamp,
    /// How many records this process has decided.
    sequence: u64,
}

/// What is given out under the stamping lock.
struct Stamper {
    recent: RecentKeys,
    issued: u64,
    queue: mpsc::UnboundedSender<Pending>,
    /// Why the channel takes no more writes.
    failed: Option<Failure>,
}

/// A record between its append and its application. The in-flight permit bounds how many there are.
struct Pending {
    sequence: u64,
    record: Record,
    /// Of the record in the log.
    bytes: u64,
    done: AppendDone,
    reservation: Option<Reservation>,
    _permit: OwnedSemaphorePermit,
    reply: oneshot::Sender<Result<WriteAck, Failure>>,
}

/// One log and the shards on it.
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) epoch: Epoch,
    pub(crate) hlc: Hlc,
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    stamper: Mutex<Stamper>,
    writer: Box<dyn WalWriter>,
    /// Held while a write waits for room in the log's queue and takes it, so that nobody else takes it.
    turn: tokio::sync::Mutex<()>,
    /// Why nothing is applied any more: reads at newer points would miss a durable record.
    broken: OnceLock<Failure>,
    inflight: Arc<Semaphore>,
    pub(crate) shards: RwLock<HashMap<ShardId, Arc<Shard>>>,
    applied: watch::Sender<Applied>,
    /// Bytes of log after each position of interest: (position, bytes appended when it was), for the
    /// bound on replay.
    pub(crate) log_bytes: Mutex<LogBytes>,
    /// Ids for segments to come.
    segment_ids: tokio::sync::Mutex<Vec<SegmentId>>,
    attempts: AtomicU32,
}

/// Bytes appended to the log, sampled: enough to know how much of it lies after a position.
#[derive(Debug, Default)]
pub(crate) struct LogBytes {
    total: u64,
    samples: std::collections::VecDeque<(Lsn, u64)>,
}

impl LogBytes {
    /// A sample every so many bytes.
    const STEP: u64 = 1 << 20;

    pub(crate) fn add(&mut self, lsn: Lsn, bytes: u64) {
        if self
            .samples
            .back()
            .is_none_or(|&(_, at)| self.total - at >= Self::STEP)
        {
            self.samples.push_back((lsn, self.total));
        }
        self.total += bytes;
    }

    /// Bytes from `lsn` to the end, to within [`Self::STEP`].
    pub(crate) fn since(&self, lsn: Lsn) -> u64 {
        let i = self.samples.partition_point(|&(at, _)| at <= lsn);
        let before = i.checked_sub(1).map_or(0, |i| self.samples[i].1);
        self.total - before
    }

    /// Forgets samples before `lsn`.
    pub(crate) fn forget_before(&mut self, lsn: Lsn) {
        while self.samples.len() > 1 && self.samples[1].0 <= lsn {
            self.samples.pop_front();
        }
    }
}

/// What a channel is made of.
pub(crate) struct Parts {
    pub(crate) id: ChannelId,
    pub(crate) epoch: Epoch,
    pub(crate) hlc: Hlc,
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) writer: Box<dyn WalWriter>,
    pub(crate) shards: HashMap<ShardId, Arc<Shard>>,
    pub(crate) applied_lsn: Lsn,
    pub(crate) log_bytes: LogBytes,
}

impl Channel {
    /// Opens the channel for writes and starts the task that applies them. Replay is done.
    pub(crate) fn start(parts: Parts) -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let Parts {
            id,
            epoch,
            hlc,
            options,
            catalog,
            clock,
            pool,
            budget,
            writer,
            shards,
            applied_lsn,
            log_bytes,
        } = parts;
        let (queue, pending) = mpsc::unbounded_channel();
        let ts = hlc.last();
        let permits = usize::try_from(options.inflight_bytes_max / PERMIT_BYTES)
            .unwrap_or(Semaphore::MAX_PERMITS)
            .min(Semaphore::MAX_PERMITS);
        let channel = Arc::new(Self {
            id,
            epoch,
            hlc,
            options,
            catalog,
            clock,
            pool,
            budget,
            stamper: Mutex::new(Stamper {
                recent: RecentKeys::since(ts),
                issued: 0,
                queue,
                failed: None,
            }),
            writer,
            turn: tokio::sync::Mutex::default(),
            broken: OnceLock::new(),
            inflight: Arc::new(Semaphore::new(permits)),
            shards: RwLock::new(shards),
            applied: watch::Sender::new(Applied {
                lsn: applied_lsn,
                ts,
                sequence: 0,
            }),
            log_bytes: Mutex::new(log_bytes),
            segment_ids: tokio::sync::Mutex::default(),
            attempts: AtomicU32::new(0),
        });
        let applier = tokio::spawn(Arc::clone(&channel).apply_all(pending));
        (channel, applier)
    }

    /// How far the channel has been applied.
    pub(crate) fn applied(&self) -> Applied {
        *self.applied.borrow()
    }

    /// The shard, if it has been written to or flushed.
    pub(crate) fn shard(&self, id: ShardId) -> Option<Arc<Shard>> {
        self.shards.read().get(&id).cloned()
    }

    /// The shard, made if the collection exists and is placed here.
    pub(crate) fn shard_of(
        &self,
        meta: &CollectionMeta,
        index: u32,
    ) -> Result<Arc<Shard>, Failure> {
        let id = ShardId {
            collection: meta.id,
            index,
        };
        if let Some(shard) = self.shard(id) {
            return Ok(shard);
        }
        if meta.shards.get(index as usize) != Some(&self.id) {
            return Err(Failure::new(
                Code::NotLeader,
                format!("shard {id} is not on channel {}", self.id),
            ));
        }
        let mut shards = self.shards.write();
        let shard = shards.entry(id).or_insert_with(|| {
            Arc::new(Shard::new(
                id,
                Default::default(),
                Lsn::default(),
                Timestamp::ZERO,
            ))
        });
        Ok(Arc::clone(shard))
    }

    /// Makes a write durable and visible.
    ///
    /// # Cancel safety
    /// Once stamped, the write goes on although nobody waits for its answer.
    pub(crate) async fn write(
        self: &Arc<Self>,
        request: WriteRequest,
    ) -> Result<WriteAck, Failure> {
        let started = self.clock.monotonic();
        let rows: usize = request
            .parts
            .iter()
            .filter_map(|p| p.rows.as_ref())
            .map(|b| b.num_rows())
            .sum();
        let deletes: usize = request
            .parts
            .iter()
            .filter_map(|p| p.deletes.as_ref())
            .map(PkList::len)
            .sum();
        let bytes: u64 = request
            .parts
            .iter()
            .filter_map(|p| p.rows.as_ref())
            .map(batch_bytes)
            .sum::<u64>()
            + deletes as u64 * ROW_OVERHEAD_BYTES;
        let result = self.write_reserved(request, bytes).await;
        match &result {
            Ok(_) => metrics::write_done(
                rows,
                deletes,
                (self.clock.monotonic() - started).as_secs_f64(),
            ),
            Err(failure) => metrics::write_refused(failure.code.name()),
        }
        result
    }

    async fn write_reserved(
        self: &Arc<Self>,
        request: WriteRequest,
        bytes: u64,
    ) -> Result<WriteAck, Failure> {
        let reservation = self
            .budget
            .reserve(MemoryKind::Growing, bytes, self.options.memory_wait_max)
            .await
            .map_err(|e| {
                e.to_failure().within(
                    "quota exceeded[reason=memory]: wait until rows were flushed, send less at a time, or raise memory.budget",
                )
            })?;
        let permits = u32::try_from(
            (bytes / PERMIT_BYTES).clamp(1, self.options.inflight_bytes_max / PERMIT_BYTES),
        )
        .unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.inflight)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))?;
        let WriteRequest {
            collection,
            unchanged_since,
            parts,
        } = request;
        let snapshot = self.catalog.snapshot();
        let meta = snapshot
            .collection(collection)
            .ok_or_else(|| collection_not_found(collection))?;
        let primary = meta.schema.primary().id;
        for part in parts.iter().filter(|p| p.rows.is_some()) {
            if meta.partition_by_id(part.partition).is_none() {
                return Err(Failure::new(
                    Code::PartitionNotFound,
                    format!("partition not found[partition={}]", part.partition),
                ));
            }
        }
        let parts = parts
            .into_iter()
            .map(|p| RecordPart {
                shard: p.shard,
                partition: p.partition,
                rows: p.rows,
                deletes: p.deletes,
                delete_partition: None,
            })
            .collect();
        let record = WriteRecord {
            ts: Timestamp::ZERO,
            collection,
            request: None,
            parts,
        };
        self.append(
            Record::Write(record),
            Some(primary),
            unchanged_since,
            Some(reservation),
            permit,
        )
        .await
    }

    /// Appends a truncation of a collection and waits until it is applied.
    pub(crate) async fn truncate(
        self: &Arc<Self>,
        collection: CollectionId,
    ) -> Result<WriteAck, Failure> {
        let permit = Arc::clone(&self.inflight)
            .acquire_owned()
            .await
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))?;
        let record = Record::Truncate {
            ts: Timestamp::ZERO,
            collection,
        };
        self.append(record, None, None, None, permit).await
    }

    async fn append(
        self: &Arc<Self>,
        record: Record,
        primary: Option<FieldId>,
        unchanged_since: Option<Timestamp>,
        reservation: Option<Reservation>,
        permit: OwnedSemaphorePermit,
    ) -> Result<WriteAck, Failure> {
        let (reply, answer) = oneshot::channel();
        let channel = Arc::clone(self);
        let turn = self.turn.lock().await;
        self.writer.ready().await;
        // Encoding copies the rows, which is too long for an async thread.
        self.pool
            .run(move || {
                channel.stamp_and_append(
                    record,
                    primary,
                    unchanged_since,
                    reservation,
                    permit,
                    reply,
                )
            })
            .await??;
        drop(turn);
        answer.await.unwrap_or_else(|_| {
            Err(Failure::new(
                Code::OutcomeUnknown,
                "the server stopped before the write was decided",
            ))
        })
    }

    fn stamp_and_append(
        &self,
        mut record: Record,
        primary: Option<FieldId>,
        unchanged_since: Option<Timestamp>,
        reservation: Option<Reservation>,
        permit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<WriteAck, Failure>>,
    ) -> Result<(), Failure> {
        let keys = written_keys(&record, primary)?;
        let mut stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &stamper.failed {
            return Err(failure.clone());
        }
        if let Some(since) = unchanged_since {
            for key in keys.iter().flat_map(PkList::iter) {
                if !stamper.recent.unchanged(&key, since) {
                    return Err(Failure::new(
                        Code::Conflict,
                        format!(
                            "the row of key {key} was changed by another write at the same time"
                        ),
                    ));
                }
            }
        }
        let ts = self.hlc.next();
        for key in keys.iter().flat_map(PkList::iter) {
            stamper.recent.note(&key, ts);
        }
        match &mut record {
            Record::Write(write) => write.ts = ts,
            Record::Truncate { ts: at, .. }
            | Record::DropPartition { ts: at, .. }
            | Record::DropCollection { ts: at, .. } => *at = ts,
        }
        let payload = record.encode()?;
        let bytes = payload.len() as u64;
        let (_, done) = self.writer.append(payload);
        stamper.issued += 1;
        let pending = Pending {
            sequence: stamper.issued,
            record,
            bytes,
            done,
            reservation,
            _permit: permit,
            reply,
        };
        stamper
            .queue
            .send(pending)
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))
    }

    /// Applies records in log order until the channel is closed.
    async fn apply_all(self: Arc<Self>, mut pending: mpsc::UnboundedReceiver<Pending>) {
        while let Some(pending) = pending.recv().await {
            let Pending {
                sequence,
                record,
                bytes,
                done,
                reservation,
                _permit,
                reply,
            } = pending;
            let result = match done.await {
                Ok(lsn) => {
                    self.log_bytes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(lsn, bytes);
                    self.apply_live(lsn, record, reservation)
                        .await
                        .map(|ts| (lsn, ts))
                }
                Err(error) => Err(self.refused(&error)),
            };
            self.applied.send_modify(|applied| {
                applied.sequence = sequence;
                if let Ok((lsn, ts)) = &result {
                    applied.lsn = *lsn;
                    applied.ts = applied.ts.max(*ts);
                }
            });
            if let Ok((lsn, _)) = &result {
                metrics::applied(self.id.0, lsn.0);
            }
            // The client may have gone away; the write stands all the same.
            drop(reply.send(result.map(|(_, ts)| WriteAck { ts })));
        }
    }

    /// Applies a record that was just logged; after the first that can't be, none.
    async fn apply_live(
        self: &Arc<Self>,
        lsn: Lsn,
        record: Record,
        reservation: Option<Reservation>,
    ) -> Result<Timestamp, Failure> {
        let undecided = |why: &Failure| {
            Failure::new(
                Code::OutcomeUnknown,
                format!(
                    "the write is in the log, but it can't be shown before the server starts anew: {why}"
                ),
            )
        };
        if let Some(broken) = self.broken.get() {
            return Err(undecided(broken));
        }
        match self.apply(lsn, record, reservation).await {
            Ok(ts) => Ok(ts),
            Err(failure) => {
                tracing::error!(channel = %self.id, lsn = %lsn, error = %failure, "a logged record can't be applied; the channel stops");
                let stopped = Failure::new(
                    Code::Unavailable,
                    format!(
                        "channel {}: record {lsn} could not be applied ({failure}); restart the server",
                        self.id
                    ),
                );
                let mut stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
                stamper.failed.get_or_insert_with(|| stopped.clone());
                drop(stamper);
                Err(undecided(self.broken.get_or_init(|| stopped)))
            }
        }
    }

    fn refused(&self, error: &AppendError) -> Failure {
        let failure = error.to_failure();
        match error {
            AppendError::Full(_) => failure.within(
                "quota exceeded[reason=disk]: the write was refused and nothing of it is stored; free space on the log's disk and send it again",
            ),
            AppendError::Fenced { .. } | AppendError::Unknown(_) | AppendError::Poisoned | AppendError::Closed => {
                tracing::error!(channel = %self.id, error = %failure, "the log takes no more writes");
                let mut stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
                stamper.failed.get_or_insert_with(|| {
                    Failure::new(
                        Code::Unavailable,
                        format!("writes are closed since the log failed ({failure}); look at its disk and restart the server"),
                    )
                });
                failure
            }
            AppendError::Busy { .. } | AppendError::TooLarge { .. } => failure,
        }
    }

    /// Applies one durable record and returns its stamp.
    ///
    /// A record that can't be applied although it was checked before it was logged is a defect; the
    /// channel then refuses further writes rather than answer reads that miss an acknowledged row.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        lsn: Lsn,
        record: Record,
        mut reservation: Option<Reservation>,
    ) -> Result<Timestamp, Failure> {
        match record {
            Record::Write(write) => {
                let ts = write.ts;
                let snapshot = self.catalog.snapshot();
                let Some(meta) = snapshot.collection(write.collection).cloned() else {
                    // Dropped while the write was under way: there is nothing left to show it in.
                    return Ok(ts);
                };
                let primary = meta.schema.primary().id;
                let mut work: Vec<(Arc<Shard>, Vec<HeldPart>)> = Vec::new();
                for part in write.parts {
                    let shard = self.shard_of(&meta, part.shard)?;
                    let held = match (&mut reservation, &part.rows) {
                        (Some(all), Some(batch)) => Some(all.split(batch_bytes(batch))),
                        _ => None,
                    };
                    match work.iter_mut().find(|(s, _)| s.id == shard.id) {
                        Some((_, parts)) => parts.push((part, held)),
                        None => work.push((shard, vec![(part, held)])),
                    }
                }
                let started = work
                    .iter()
                    .flat_map(|(_, parts)| parts)
                    .filter(|(p, _)| p.rows.is_some())
                    .count();
                let mut ids = self.take_segment_ids(started).await?;
                let (applied, unused) = self
                    .pool
                    .run(move || {
                        let applied = work.into_iter().try_for_each(|(shard, parts)| {
                            apply_parts(&shard, lsn, ts, &meta, primary, parts, &mut ids)
                        });
                        (applied, ids)
                    })
                    .await?;
                self.segment_ids.lock().await.extend(unused);
                applied.map(|()| ts)
            }
            Record::Truncate { ts, collection } => {
                let shards: Vec<_> = {
                    let all = self.shards.read();
                    all.values()
                        .filter(|s| s.id.collection == collection)
                        .cloned()
                        .collect()
                };
                for shard in shards {
                    shard.truncate(lsn, ts, self.clock.monotonic());
                }
                Ok(ts)
            }
            Record::DropPartition { ts, .. } | Record::DropCollection { ts, .. } => Ok(ts),
        }
    }

    /// Notes that replay has come to the end of the log.
    pub(crate) fn replayed(&self, last: Lsn) {
        let ts = self.hlc.last();
        self.applied.send_modify(|applied| {
            applied.lsn = last;
            applied.ts = applied.ts.max(ts);
        });
        self.stamper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recent = RecentKeys::since(ts);
    }

    /// Accounts for the rows of a replayed record. Replay never fails for want of memory: the rows were
    /// acknowledged, and flushing them is what makes room.
    pub(crate) fn reserve_for_replay(&self, record: &Record) -> Option<Reservation> {
        let Record::Write(write) = record else {
            return None;
        };
        let bytes = write
            .parts
            .iter()
            .filter_map(|p| p.rows.as_ref())
            .map(batch_bytes)
            .sum();
        self.budget.try_reserve(MemoryKind::Growing, bytes).ok()
    }

    /// Whether fresh rows take so much of their memory that some have to be flushed.
    pub(crate) fn memory_is_short(&self) -> bool {
        self.budget.used(MemoryKind::Growing) > self.budget.limit(MemoryKind::Growing) / 10 * 7
    }

    /// A number for the name of an object, different each time.
    pub(crate) fn next_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Ids for as many new segments; ids are taken from the catalog many at a time.
    async fn take_segment_ids(&self, wanted: usize) -> Result<Vec<SegmentId>, Failure> {
        const BLOCK: u32 = 64;
        let mut ids = self.segment_ids.lock().await;
        while ids.len() < wanted {
            let first = self.catalog.allocate_ids(BLOCK).await?;
            ids.extend((first..first + i64::from(BLOCK)).rev().map(SegmentId));
        }
        let kept = ids.len() - wanted;
        Ok(ids.split_off(kept))
    }

    /// A point at which `guarantee` holds.
    pub(crate) async fn read_point(&self, guarantee: Guarantee) -> Result<Applied, Failure> {
        let wanted = match guarantee {
            Guarantee::Strong => return Ok(self.applied()),
            Guarantee::AtLeast(ts) | Guarantee::Exactly(ts) => ts,
        };
        let now = self.applied();
        if now.ts >= wanted {
            return Ok(now);
        }
        let horizon = self.clock.unix_ms()
            + u64::try_from(self.options.future_read_max.as_millis()).unwrap_or(u64::MAX);
        if wanted.unix_ms() > horizon {
            return Err(Failure::invalid(format!(
                "guarantee_timestamp: {wanted} is {} ms ahead of the server's clock",
                wanted.unix_ms().saturating_sub(self.clock.unix_ms())
            )));
        }
        // From here on every new stamp is above `wanted`; when what was stamped before is applied,
        // nothing at or below `wanted` is missing.
        let barrier = {
            let stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
            self.hlc.observe(wanted);
            stamper.issued
        };
        let mut applied = self.applied.subscribe();
        applied
            .wait_for(|a| a.sequence >= barrier)
            .await
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))?;
        if let Some(broken) = self.broken.get() {
            return Err(broken.clone());
        }
        self.applied.send_if_modified(|a| {
            let behind = a.ts < wanted;
            a.ts = a.ts.max(wanted);
            behind
        });
        Ok(*self.applied.borrow())
    }

    /// Takes no more writes and waits until what is under way is decided.
    pub(crate) async fn close(&self, deadline: Duration) -> bool {
        let barrier = {
            let mut stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
            stamper.failed.get_or_insert_with(|| {
                Failure::new(Code::Unavailable, "the server is shutting down")
            });
            stamper.issued
        };
        let mut applied = self.applied.subscribe();
        tokio::time::timeout(deadline, applied.wait_for(|a| a.sequence >= barrier))
            .await
            .is_ok_and(|r| r.is_ok())
    }
}

/// The collection is not in the catalog.
pub(crate) fn collection_not_found(collection: CollectionId) -> Failure {
    Failure::new(
        Code::CollectionNotFound,
        format!("collection not found[collection={collection}]"),
    )
}

/// One part of a record and the memory that its rows will hold.
type HeldPart = (RecordPart, Option<Reservation>);

fn apply_parts(
    shard: &Shard,
    lsn: Lsn,
    ts: Timestamp,
    meta: &CollectionMeta,
    primary: FieldId,
    parts: Vec<HeldPart>,
    ids: &mut Vec<SegmentId>,
) -> Result<(), Failure> {
    let (parts, held): (Vec<RecordPart>, Vec<Option<Reservation>>) = parts.into_iter().unzip();
    let mut changes = Vec::with_capacity(parts.len());
    for (part, reservation) in parts.iter().zip(held) {
        let rows = match &part.rows {
            Some(batch) => Some((batch, primary_keys(batch, primary)?)),
            None => None,
        };
        changes.push(PartChange {
            partition: part.partition,
            rows,
            keep_rows: meta.partition_by_id(part.partition).is_some(),
            deletes: part.deletes.as_ref(),
            reservation,
        });
    }
    let parts = changes;
    shard.apply(
        Change {
            lsn,
            ts,
            schema: &meta.schema,
            parts,
        },
        ids,
    )
}

/// The keys of a batch's rows.
pub(crate) fn primary_keys(batch: &RecordBatch, primary: FieldId) -> Result<PkList, Failure> {
    columns::column(batch, primary)
        .and_then(|column| PkList::from_array(column))
        .ok_or_else(|| {
            Failure::internal(format!(
                "a logged batch has no primary key column {primary}"
            ))
        })
}

/// All keys that a record writes or deletes.
fn written_keys(record: &Record, primary: Option<FieldId>) -> Result<Vec<PkList>, Failure> {
    let (Record::Write(write), Some(primary)) = (record, primary) else {
        return Ok(Vec::new());
    };
    let mut keys = Vec::new();
    for part in &write.parts {
        keys.extend(part.deletes.clone());
        if let Some(batch) = &part.rows {
            keys.push(primary_keys(batch, primary)?);
        }
    }
    Ok(keys)
}
