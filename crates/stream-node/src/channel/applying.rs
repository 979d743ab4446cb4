//! Durable records to the shards, in log order.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};

use holdfast_meta::{CatalogSnapshot, CollectionMeta};
use holdfast_node_api::write::WriteAck;
use holdfast_runtime::{MemoryKind, Reservation};
use holdfast_types::{Code, Coded, Failure, Lsn, SegmentId, ShardId, Timestamp};
use holdfast_wal::{
    AppendError, WalEntry,
    record::{Record, RecordPart, WriteRecord},
};
use tokio::sync::mpsc;

use super::{
    Channel,
    stamping::{Pending, RowKeys, row_keys},
    write_bytes,
};
use crate::{
    metrics,
    recent_keys::RecentKeys,
    shard::{Change, PartChange, Shard},
};

/// One part of a record, the keys of its rows, and the memory that it will hold.
type HeldPart = (RecordPart, Option<holdfast_types::PkList>, Reservation);

impl Channel {
    /// Applies records in log order until the channel is closed.
    pub(super) async fn apply_all(self: Arc<Self>, mut pending: mpsc::UnboundedReceiver<Pending>) {
        while let Some(pending) = pending.recv().await {
            let Pending {
                sequence,
                record,
                keys,
                bytes,
                done,
                memory,
                queued,
                _permit,
                reply,
            } = pending;
            let decided = done.await;
            drop(queued);
            let result = match decided {
                Ok(lsn) => {
                    self.log_bytes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(lsn, bytes);
                    self.apply_live(lsn, record, keys, memory)
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
        keys: RowKeys,
        memory: Option<Reservation>,
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
        match self.apply(lsn, record, keys, memory).await {
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

    /// Applies records of an earlier process, which follow each other. That never fails for want of memory: the
    /// rows were acknowledged, and flushing them is what makes room.
    pub(crate) async fn replay(self: &Arc<Self>, entries: Vec<WalEntry>) -> Result<(), Failure> {
        let channel = Arc::clone(self);
        let records = self.pool.run(move || channel.decode(entries)).await??;
        let mut wanted = 0;
        // Segments that grow, at most: a truncation ends all of them.
        let mut growing = HashSet::new();
        for (_, record, _) in &records {
            match record {
                Record::Write(write) => {
                    let parts = write.parts.iter().filter(|part| part.rows.is_some());
                    let segments = parts.map(|p| (write.collection, p.shard, p.partition));
                    wanted += segments.filter(|segment| growing.insert(*segment)).count();
                }
                _ => growing.clear(),
            }
        }
        let catalog = self.catalog.snapshot();
        self.compute(wanted, move |channel, ids| {
            records.into_iter().try_for_each(|(lsn, record, keys)| {
                let applied = channel.apply_now(&catalog, lsn, record, keys, None, ids);
                applied.map(drop)
            })
        })
        .await
    }

    /// The records that some shard still needs, with the keys of their rows; the clock is shown all stamps.
    fn decode(&self, entries: Vec<WalEntry>) -> Result<Vec<(Lsn, Record, RowKeys)>, Failure> {
        let catalog = self.catalog.snapshot();
        let mut records = Vec::with_capacity(entries.len());
        for WalEntry { lsn, payload, .. } in entries {
            self.log_bytes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(lsn, payload.len() as u64);
            let record = Record::decode(payload).map_err(|e| {
                e.to_failure()
                    .within(format_args!("channel {}, record {lsn}", self.id))
            })?;
            self.hlc.observe(record.ts());
            let primary = match &record {
                Record::Write(write) => match catalog.collection(write.collection) {
                    Some(meta) if self.needs(lsn, write) => Some(meta.schema.primary().id),
                    _ => continue,
                },
                _ => None,
            };
            let keys = row_keys(&record, primary)?;
            records.push((lsn, record, keys));
        }
        Ok(records)
    }

    /// Whether the manifest of some shard does not cover its part of a write.
    fn needs(&self, lsn: Lsn, write: &WriteRecord) -> bool {
        let shards = self.shards.read();
        write.parts.iter().any(|part| {
            let id = ShardId {
                collection: write.collection,
                index: part.shard,
            };
            !self.damage.has(id) && shards.get(&id).is_none_or(|shard| lsn > shard.covers())
        })
    }

    /// Applies one durable record and returns its stamp.
    ///
    /// A record that can't be applied although it was checked before it was logged is a defect; the
    /// channel then refuses further writes rather than answer reads that miss an acknowledged row.
    async fn apply(
        self: &Arc<Self>,
        lsn: Lsn,
        record: Record,
        keys: RowKeys,
        memory: Option<Reservation>,
    ) -> Result<Timestamp, Failure> {
        let wanted = match &record {
            Record::Write(write) => write.parts.iter().filter(|p| p.rows.is_some()).count(),
            _ => 0,
        };
        self.compute(wanted, move |channel, ids| {
            let catalog = channel.catalog.snapshot();
            channel.apply_now(&catalog, lsn, record, keys, memory, ids)
        })
        .await
    }

    /// Runs `work` on the pool with so many ids for segments to start.
    async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        ids_wanted: usize,
        work: impl FnOnce(&Self, &mut Vec<SegmentId>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut ids = self.take_segment_ids(ids_wanted).await?;
        let channel = Arc::clone(self);
        let (done, unused) = self
            .pool
            .run(move || {
                let done = work(&channel, &mut ids);
                (done, ids)
            })
            .await?;
        self.segment_ids.lock().await.extend(unused);
        done
    }

    fn apply_now(
        &self,
        catalog: &CatalogSnapshot,
        lsn: Lsn,
        record: Record,
        keys: RowKeys,
        memory: Option<Reservation>,
        ids: &mut Vec<SegmentId>,
    ) -> Result<Timestamp, Failure> {
        match record {
            Record::Write(write) => self.apply_write(catalog, lsn, write, keys, memory, ids),
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

    fn apply_write(
        &self,
        catalog: &CatalogSnapshot,
        lsn: Lsn,
        write: WriteRecord,
        keys: RowKeys,
        memory: Option<Reservation>,
        ids: &mut Vec<SegmentId>,
    ) -> Result<Timestamp, Failure> {
        let ts = write.ts;
        let Some(meta) = catalog.collection(write.collection) else {
            // Dropped while the write was under way: there is nothing left to show it in.
            return Ok(ts);
        };
        if keys.len() != write.parts.len() {
            return Err(Failure::internal("a write without the keys of its rows"));
        }
        let mut memory = memory.unwrap_or_else(|| {
            let bytes = write.parts.iter().map(|p| write_bytes(&p.rows, &p.deletes));
            self.budget.charge(MemoryKind::Growing, bytes.sum())
        });
        let mut work: Vec<(Arc<Shard>, Vec<HeldPart>)> = Vec::new();
        for (part, keys) in write.parts.into_iter().zip(keys) {
            let id = ShardId {
                collection: meta.id,
                index: part.shard,
            };
            if self.damage.has(id) {
                // Its manifest may cover this, or not. The record stays in the log.
                continue;
            }
            let shard = self.shard_of(meta, part.shard)?;
            let held = memory.split(write_bytes(&part.rows, &part.deletes));
            match work.iter_mut().find(|(s, _)| s.id == shard.id) {
                Some((_, parts)) => parts.push((part, keys, held)),
                None => work.push((shard, vec![(part, keys, held)])),
            }
        }
        work.into_iter()
            .try_for_each(|(shard, parts)| apply_parts(&shard, lsn, ts, meta, parts, ids))
            .map(|()| ts)
    }

    /// Notes that replay has come to the end of the log.
    pub(crate) fn replayed(&self, last: Lsn) {
        let ts = self.hlc.last();
        self.applied.send_modify(|applied| {
            applied.lsn = last;
            applied.ts = applied.ts.max(ts);
        });
        // Awake at once: the first delete by filter after a start would be told "maybe" otherwise, and again while
        // writes that were stamped before it are under way. In the end it would be split.
        let mut recent = RecentKeys::asleep(&self.budget);
        recent.wake(ts);
        self.stamper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recent = recent;
    }
}

fn apply_parts(
    shard: &Shard,
    lsn: Lsn,
    ts: Timestamp,
    meta: &CollectionMeta,
    parts: Vec<HeldPart>,
    ids: &mut Vec<SegmentId>,
) -> Result<(), Failure> {
    let parts = parts
        .into_iter()
        .map(|(part, keys, memory)| PartChange {
            partition: part.partition,
            rows: part.rows.zip(keys),
            keep_rows: meta.partition_by_id(part.partition).is_some(),
            deletes: part.deletes,
            memory,
        })
        .collect();
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
