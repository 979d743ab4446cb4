//! The one critical section of a channel: a stamp, a place in the log, and the guard of read-modify-writes.

use std::sync::{Arc, PoisonError};

use holdfast_node_api::write::WriteAck;
use holdfast_runtime::{MemoryKind, Reservation};
use holdfast_types::{Code, Failure, FieldId, PkList, Timestamp};
use holdfast_wal::{AppendDone, record::Record};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Channel, primary_keys};
use crate::recent_keys::RecentKeys;

/// What is given out under the stamping lock.
pub(super) struct Stamper {
    pub(super) recent: RecentKeys,
    pub(super) issued: u64,
    pub(super) queue: mpsc::UnboundedSender<Pending>,
    /// Why the channel takes no more writes.
    pub(super) failed: Option<Failure>,
}

/// A write that is not stamped yet.
pub(super) struct Unstamped {
    pub(super) record: Record,
    /// The field of the primary key, for a record that has rows.
    pub(super) primary: Option<FieldId>,
    /// Only if none of its keys was written after this.
    pub(super) unchanged_since: Option<Timestamp>,
    /// The memory that its rows and deletes will hold.
    pub(super) memory: Option<Reservation>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A record between its append and its application. The in-flight permit bounds how many there are.
pub(super) struct Pending {
    pub(super) sequence: u64,
    pub(super) record: Record,
    /// The primary keys of the rows of each part.
    pub(super) keys: RowKeys,
    /// Of the record in the log.
    pub(super) bytes: u64,
    pub(super) done: AppendDone,
    pub(super) memory: Option<Reservation>,
    /// The record as the log's queue holds it.
    pub(super) queued: Reservation,
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) reply: oneshot::Sender<Result<WriteAck, Failure>>,
}

/// The primary keys of the rows of each part of a record; `None` for a part without rows.
pub(super) type RowKeys = Vec<Option<PkList>>;

impl Channel {
    /// Stamps a record, hands it to the log and waits until it is applied.
    pub(super) async fn append(self: &Arc<Self>, write: Unstamped) -> Result<WriteAck, Failure> {
        let (reply, answer) = oneshot::channel();
        let channel = Arc::clone(self);
        let turn = self.turn.lock().await;
        self.writer.ready().await;
        // Encoding copies the rows, which is too long for an async thread.
        self.pool
            .run(move || channel.stamp_and_append(write, reply))
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
        write: Unstamped,
        reply: oneshot::Sender<Result<WriteAck, Failure>>,
    ) -> Result<(), Failure> {
        let Unstamped {
            mut record,
            primary,
            unchanged_since,
            memory,
            permit,
        } = write;
        let keys = row_keys(&record, primary)?;
        let mut stamper = self.stamper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &stamper.failed {
            return Err(failure.clone());
        }
        if let Some(since) = unchanged_since {
            let applied = self.applied();
            // What was stamped later than that and is decided was refused: nothing of it is stored.
            let settled = (applied.sequence == stamper.issued).then_some(applied.ts);
            stamper.recent.wake(self.hlc.last());
            for key in written_keys(&record, &keys).flat_map(PkList::iter) {
                if !stamper.recent.unchanged(&key, since, settled) {
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
        if stamper.recent.is_awake() {
            for key in written_keys(&record, &keys).flat_map(PkList::iter) {
                stamper.recent.note(&key, ts);
            }
            stamper.recent.account();
        }
        match &mut record {
            Record::Write(write) => write.ts = ts,
            Record::Truncate { ts: at, .. }
            | Record::DropPartition { ts: at, .. }
            | Record::DropCollection { ts: at, .. } => *at = ts,
        }
        let payload = record.encode()?;
        let bytes = payload.len() as u64;
        let queued = self.budget.charge(MemoryKind::Wal, bytes);
        let (_, done) = self.writer.append(payload);
        stamper.issued += 1;
        let pending = Pending {
            sequence: stamper.issued,
            record,
            keys,
            bytes,
            done,
            memory,
            queued,
            _permit: permit,
            reply,
        };
        stamper
            .queue
            .send(pending)
            .map_err(|_| Failure::new(Code::Unavailable, "the server is shutting down"))
    }
}

/// The keys of a record's rows, part by part.
pub(super) fn row_keys(record: &Record, primary: Option<FieldId>) -> Result<RowKeys, Failure> {
    let (Record::Write(write), Some(primary)) = (record, primary) else {
        return Ok(RowKeys::new());
    };
    write
        .parts
        .iter()
        .map(|part| {
            let rows = part.rows.as_ref();
            rows.map(|rows| primary_keys(rows, primary)).transpose()
        })
        .collect()
}

/// All keys that a record writes or deletes.
fn written_keys<'r>(record: &'r Record, rows: &'r RowKeys) -> impl Iterator<Item = &'r PkList> {
    let parts = match record {
        Record::Write(write) => write.parts.as_slice(),
        Record::Truncate { .. } | Record::DropPartition { .. } | Record::DropCollection { .. } => {
            &[]
        }
    };
    let deletes = parts.iter().filter_map(|part| part.deletes.as_ref());
    deletes.chain(rows.iter().flatten())
}
