//! One log: stamping, appending, applying in order, and points to read at.
//!
//! Stamps and positions are given in one critical section, so their orders agree. Records are applied by
//! one task in log order, each only after the log has it on disk; a write is answered after that. So the
//! stamp of the last applied record is at or above every acknowledged write, and everything stamped at or
//! below it has been applied: it is the point a strong read needs, without waiting for anything.
//!
//! | module        | what it knows                                                            |
//! |---------------|--------------------------------------------------------------------------|
//! | `stamping`    | the critical section: a stamp, a place in the log                        |
//! | `applying`    | durable records to the shards, in log order                              |
//! | `read_points` | the points at which reads see what they have to                          |
//! | `log_bytes`   | how much of the log lies after a position                                |

mod applying;
mod log_bytes;
mod read_points;
mod stamping;

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
use holdfast_node_api::write::{WriteAck, WritePart, WriteRequest};
use holdfast_runtime::{Clock, CpuPool, Hlc, MemoryBudget, MemoryKind};
use holdfast_types::{
    ChannelId, Code, Coded, CollectionId, Epoch, Failure, FieldId, Lsn, PkList, SegmentId, ShardId,
    Timestamp, columns,
};
use holdfast_wal::{
    WalWriter,
    record::{Record, RecordPart, WriteRecord},
};
use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, watch};

pub(crate) use self::log_bytes::LogBytes;
use self::stamping::{Stamper, Unstamped};
use crate::{
    checkpoint::{Checkpoint, Settled},
    damage::Damage,
    metrics,
    options::Options,
    recent_keys::RecentKeys,
    shard::{DeletedKeys, Shard},
    watermark::Watermark,
};

/// Bytes that one permit of the in-flight semaphore stands for.
const PERMIT_BYTES: u64 = 1 << 10;
/// Memory that a row needs beside its columns: its entry in the key map and its stamps.
const ROW_OVERHEAD_BYTES: u64 = 96;

/// Memory that a batch of rows will hold.
fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64 + batch.num_rows() as u64 * ROW_OVERHEAD_BYTES
}

/// Memory that the rows and the deletes of one part of a write will hold.
fn write_bytes(rows: &Option<RecordBatch>, deletes: &Option<PkList>) -> u64 {
    rows.as_ref().map_or(0, batch_bytes) + deletes.as_ref().map_or(0, DeletedKeys::bytes)
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

/// One log and the shards on it.
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) epoch: Epoch,
    pub(crate) hlc: Arc<Hlc>,
    watermark: Watermark,
    pub(crate) checkpoint: Checkpoint,
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
    pub(crate) damage: Damage,
    applied: watch::Sender<Applied>,
    /// Bytes of log after each position of interest: (position, bytes appended when it was), for the
    /// bound on replay.
    pub(crate) log_bytes: Mutex<LogBytes>,
    /// Ids for segments to come.
    segment_ids: tokio::sync::Mutex<Vec<SegmentId>>,
    attempts: AtomicU32,
}

/// What a channel is made of.
pub(crate) struct Parts {
    pub(crate) id: ChannelId,
    pub(crate) epoch: Epoch,
    /// Shared by the channels of a node: a stamp of one is above every read of another.
    pub(crate) hlc: Arc<Hlc>,
    pub(crate) watermark: Watermark,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) options: Options,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) writer: Box<dyn WalWriter>,
    pub(crate) shards: HashMap<ShardId, Arc<Shard>>,
    pub(crate) damage: Damage,
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
            watermark,
            checkpoint,
            options,
            catalog,
            clock,
            pool,
            budget,
            writer,
            shards,
            damage,
            applied_lsn,
            log_bytes,
        } = parts;
        let (queue, pending) = mpsc::unbounded_channel();
        let ts = hlc.last();
        let permits = usize::try_from(options.inflight_bytes_max / PERMIT_BYTES)
            .unwrap_or(Semaphore::MAX_PERMITS)
            .min(Semaphore::MAX_PERMITS);
        let recent = RecentKeys::asleep(&budget);
        let channel = Arc::new(Self {
            id,
            epoch,
            hlc,
            watermark,
            checkpoint,
            options,
            catalog,
            clock,
            pool,
            budget,
            stamper: Mutex::new(Stamper {
                recent,
                issued: 0,
                queue,
                failed: None,
            }),
            writer,
            turn: tokio::sync::Mutex::default(),
            broken: OnceLock::new(),
            inflight: Arc::new(Semaphore::new(permits)),
            shards: RwLock::new(shards),
            damage,
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

    /// The position up to which a restart would need nothing of the log.
    pub(crate) fn settled(&self) -> Settled {
        if self.damage.is_any() {
            return Settled::default();
        }
        // Looked at first: what is applied meanwhile is behind it, whatever shards say of it.
        let Applied { lsn, ts, .. } = self.applied();
        let shards = self.shards.read();
        let needed = shards.values().filter_map(|s| s.first_unflushed());
        let first = needed.min().unwrap_or(lsn.next()).min(lsn.next());
        Settled {
            lsn: Lsn(first.0 - 1),
            ts,
        }
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
        let bytes = |p: &WritePart| write_bytes(&p.rows, &p.deletes);
        let bytes: u64 = request.parts.iter().map(bytes).sum();
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
        let memory = self
            .budget
            .reserve(MemoryKind::Growing, bytes, self.options.memory_wait_max)
            .await
            .map_err(|e| {
                e.to_failure().within(
                    "quota exceeded[reason=memory]: wait until rows were flushed, send less at a time, or raise memory_budget",
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
        self.append(Unstamped {
            record: Record::Write(record),
            primary: Some(primary),
            unchanged_since,
            memory: Some(memory),
            permit,
        })
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
        self.append(Unstamped {
            record,
            primary: None,
            unchanged_since: None,
            memory: None,
            permit,
        })
        .await
    }

    /// Whether fresh rows take so much of their memory that some have to be flushed.
    pub(crate) fn memory_is_short(&self) -> bool {
        // What others take, such as deletes of flushed rows, may leave less than the share.
        let room = self.budget.room(MemoryKind::Growing);
        self.budget.used(MemoryKind::Growing) > room / 10 * 7
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
