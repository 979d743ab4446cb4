//! A segment in memory that rows are appended to.
//!
//! ```text
//! writer ── append, delete ──> lock: key map, list of chunks
//! reader ── one short lock ──> its own list of chunks, then no lock at all
//! ```
//! A chunk's rows never change. Only the stamp of a row's earliest delete does, in an atomic beside the
//! chunk. A reader at stamp T ignores deletes stamped after T, and all others were in place before it
//! took its list: so it sees exactly the rows visible at T, whatever the writer does meanwhile.
//! Small chunks are merged into larger ones, so that rows written one by one are searched as one block.

mod chunk;
mod keys;
mod read;
mod seal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::RecordBatch;
use holdfast_types::{
    CollectionSchema, Lsn, PartitionId, Pk, PkList, SegmentId, Timestamp, columns,
};
use parking_lot::{RwLock, RwLockUpgradableReadGuard};

use self::{chunk::Chunk, keys::KeyMap};
use crate::{SegmentError, fields::ReadSchema};

/// A segment that grows. All methods take `&self`; there is one writer at a time, any number of readers.
#[derive(Debug)]
pub struct GrowingSegment {
    id: SegmentId,
    partition: PartitionId,
    /// Of the rows it takes.
    schema: Arc<CollectionSchema>,
    reads: ReadSchema,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    chunks: Vec<Arc<Chunk>>,
    keys: KeyMap,
    rows: usize,
    deleted: usize,
    /// Bytes of chunks; the key map counts its own.
    bytes: usize,
    stamps: Option<(Timestamp, Timestamp)>,
    lsn: Lsn,
}

impl GrowingSegment {
    /// An empty segment. Rows of an older schema version may be appended: fields that they lack read as
    /// their default, or null.
    #[must_use]
    pub fn new(id: SegmentId, partition: PartitionId, schema: Arc<CollectionSchema>) -> Self {
        let keys = KeyMap::new(schema.primary().data_type);
        Self {
            id,
            partition,
            reads: ReadSchema::new(Arc::clone(&schema)),
            schema,
            state: RwLock::new(State {
                chunks: Vec::new(),
                keys,
                rows: 0,
                deleted: 0,
                bytes: 0,
                stamps: None,
                lsn: Lsn::default(),
            }),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The partition its rows belong to.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The schema of the rows it takes.
    #[must_use]
    pub fn schema(&self) -> &Arc<CollectionSchema> {
        &self.schema
    }

    /// Shows it a schema: reads are answered by the youngest. Fields that rows lack read as their default, or null.
    pub fn show_schema(&self, schema: &Arc<CollectionSchema>) {
        self.reads.show(schema);
    }

    /// Rows appended, deleted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().rows
    }

    /// Whether no row was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that some delete has hit.
    #[must_use]
    pub fn deleted(&self) -> usize {
        self.state.read().deleted
    }

    /// Bytes of memory that its rows, stamps and keys take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.state.read();
        state.bytes + state.keys.bytes()
    }

    /// Smallest and largest row stamp; `None` while it is empty.
    #[must_use]
    pub fn ts_range(&self) -> Option<(Timestamp, Timestamp)> {
        self.state.read().stamps
    }

    /// The last log position whose rows were appended.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.state.read().lsn
    }

    /// Whether a row of this key is here that no delete has hit.
    #[must_use]
    pub fn contains(&self, key: &Pk) -> bool {
        let state = self.state.read();
        state
            .keys
            .versions(key)
            .any(|row| locate(&state.chunks, row).is_some_and(|(c, i)| c.deleted(i).is_none()))
    }

    /// Adds rows stamped `ts`, found at `lsn` in the log. Of rows with the same key in one call, the
    /// last is the row and the others never are visible. Rows of earlier calls are not touched: the
    /// record's deletes do that, by [`Self::delete`], in either order.
    ///
    /// # Errors
    /// [`SegmentError::Internal`] when the columns are not those of the schema; nothing is added then.
    pub fn append(&self, rows: &RecordBatch, ts: Timestamp, lsn: Lsn) -> Result<(), SegmentError> {
        if rows.num_rows() == 0 {
            self.state.write().lsn = lsn;
            return Ok(());
        }
        let primary = self.schema.primary().id;
        let keys = columns::column(rows, primary)
            .and_then(|column| PkList::from_array(&**column))
            .ok_or_else(|| SegmentError::Internal("rows have no key column".to_owned()))?;
        // Built outside of the lock: readers only wait for the list to change.
        let mut chunk = Chunk::new(&self.schema, rows, ts)?;
        let mut state = self.state.write();
        let first = state.rows;
        let end = u32::try_from(first + rows.num_rows())
            .map_err(|_| SegmentError::Unsupported("2^32 rows in one segment".to_owned()))?;
        state.keys.check_kind(&keys)?;
        chunk.set_base(first);
        for (i, row) in (first as u32..end).enumerate() {
            let replaced = state.keys.insert(&keys, i, row);
            if let Some(replaced) = replaced.filter(|r| *r as usize >= first) {
                chunk.delete(replaced as usize - first, ts);
                state.deleted += 1;
            }
        }
        state.rows = end as usize;
        state.bytes += chunk.bytes();
        state.stamps = Some(match state.stamps {
            None => (ts, ts),
            Some((min, max)) => (min.min(ts), max.max(ts)),
        });
        state.lsn = lsn;
        state.chunks.push(Arc::new(chunk));
        drop(state);
        self.coalesce();
        Ok(())
    }

    /// Deletes the rows of these keys that were stamped before `ts`. Returns how many rows this hit for
    /// the first time. Doing it again changes nothing; the earliest delete of a row counts.
    pub fn delete(&self, keys: &PkList, ts: Timestamp) -> usize {
        let mut state = self.state.write();
        let mut hit = 0;
        for key in keys.iter() {
            for row in state.keys.versions(&key) {
                let Some((chunk, i)) = locate(&state.chunks, row) else {
                    continue;
                };
                let inserted = chunk.stamp(i);
                match chunk.deleted(i) {
                    // That delete also hit every older version, which were stamped before it.
                    Some(deleted) if deleted <= ts && deleted > inserted => break,
                    Some(deleted) if deleted <= ts => {}
                    before if inserted < ts => {
                        chunk.delete(i, ts);
                        hit += usize::from(before.is_none());
                    }
                    _ => {}
                }
            }
        }
        state.deleted += hit;
        hit
    }
}

impl GrowingSegment {
    /// Merges the last chunks while the one before is not larger, as long as the result is not too
    /// large: a row is copied O(log rows) times, and there are O(log rows) small chunks.
    ///
    /// Readers go on while the merged chunk is made; only writers wait.
    fn coalesce(&self) {
        let state = self.state.upgradable_read();
        let Some(from) = state.small_tail() else {
            return;
        };
        let merged = match Chunk::merge(&self.schema, &state.chunks[from..]) {
            Ok(merged) => merged,
            Err(error) => {
                // The rows are there as they were; searches are slower than they could be.
                tracing::error!(segment = self.id.0, %error, "chunks of one schema did not merge");
                return;
            }
        };
        let mut state = RwLockUpgradableReadGuard::upgrade(state);
        let old: usize = state.chunks.drain(from..).map(|chunk| chunk.bytes()).sum();
        state.bytes = state.bytes - old + merged.bytes();
        state.chunks.push(Arc::new(merged));
    }
}

impl State {
    /// The first of the last chunks that should be one.
    fn small_tail(&self) -> Option<usize> {
        let mut from = self.chunks.len().checked_sub(1)?;
        let mut rows = self.chunks[from].len();
        let mut bytes = self.chunks[from].bytes();
        while from > 0 {
            let before = &self.chunks[from - 1];
            if before.len() > rows
                || before.len() + rows > chunk::ROWS_MAX
                || before.bytes() + bytes > chunk::BYTES_MAX
            {
                break;
            }
            rows += before.len();
            bytes += before.bytes();
            from -= 1;
        }
        (self.chunks.len() - from > 1).then_some(from)
    }
}

/// The chunk of a row, and the row's place in it.
fn locate(chunks: &[Arc<Chunk>], row: u32) -> Option<(&Chunk, usize)> {
    let at = row as usize;
    let chunk = chunks
        .partition_point(|chunk| chunk.base() <= at)
        .checked_sub(1)?;
    let chunk = &*chunks[chunk];
    Some((chunk, at - chunk.base()))
}
