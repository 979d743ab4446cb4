//! Writes batches: the one place that changes a log. No threads, no async, no clock; the disk decides
//! everything that can happen, so tests can decide it too.

use std::{io, sync::Arc};

use bytes::Bytes;
use holdfast_disk::{is_full, write_all_at};
use holdfast_types::{Epoch, Lsn};

use super::{
    files::{Files, Recovered, WriteError},
    format::{BATCH_HEADER_LEN, BLOCK, BLOCK_LEN, BatchHeader, RECORD_HEADER_LEN, record_header},
    log_file::{LogFile, Position},
};

/// Payloads up to this many bytes are gathered into one write; larger ones are written from where they are.
const GATHER_MAX: usize = 64 << 10;

/// The writing end of a channel's files.
#[derive(Debug)]
pub(super) struct Journal {
    files: Arc<Files>,
    active: Option<(Arc<LogFile>, Position)>,
    last: Lsn,
    epoch: Epoch,
    staging: Vec<u8>,
}

impl Journal {
    pub(super) fn new(files: Arc<Files>, recovered: Recovered) -> Self {
        Self {
            files,
            active: recovered.active,
            last: recovered.last,
            epoch: recovered.epoch,
            staging: Vec::new(),
        }
    }

    /// The last durable LSN.
    pub(super) fn last(&self) -> Lsn {
        self.last
    }

    /// Writes and syncs as many of `records` as fit the current file, at least one, as one batch, and
    /// says how many. Their LSNs follow [`Self::last`].
    ///
    /// After [`WriteError::Full`] the journal is as before; after [`WriteError::Fatal`] it must not be
    /// used again.
    pub(super) fn write(&mut self, epoch: Epoch, records: &[Bytes]) -> Result<usize, WriteError> {
        assert!(epoch >= self.epoch, "epochs never fall along a log");
        assert!(!records.is_empty(), "a batch has records");
        let mut count = fitting(self.room(), records);
        if count == 0 {
            let next = self.last.next();
            let file = self.files.roll(next, span(&records[..1]))?;
            let start = file.start();
            self.active = Some((file, start));
            count = fitting(self.room(), records).max(1);
        }
        self.write_batch(epoch, &records[..count])?;
        Ok(count)
    }

    /// Writes a batch without records, which says that all before it was durable: damage to the last
    /// real batch can then be told from a torn write. Does nothing when the file has no room for it.
    pub(super) fn mark(&mut self, epoch: Epoch) -> Result<(), WriteError> {
        assert!(epoch >= self.epoch, "epochs never fall along a log");
        match self.room() >= BLOCK {
            true => self.write_batch(epoch, &[]),
            false => Ok(()),
        }
    }

    fn room(&self) -> u64 {
        self.active
            .as_ref()
            .map_or(0, |(file, at)| file.header.capacity - at.offset)
    }

    fn write_batch(&mut self, epoch: Epoch, records: &[Bytes]) -> Result<(), WriteError> {
        let (file, at) = self.active.clone().expect("there is room in some file");
        let header = BatchHeader {
            first: self.last.next(),
            epoch,
            body: u32::try_from(body(records)).expect("a batch is bounded far below 4 GiB"),
            count: u32::try_from(records.len()).expect("as is its number of records"),
        };
        let written = self.put(&file, at.offset, &header, records);
        if let Err(e) = written {
            return Err(match is_full(&e) {
                // Only file systems that copy on write get here: the room was allocated before.
                true => neutralise(&file, at.offset, header.span(), e),
                false => WriteError::Fatal(e),
            });
        }
        file.file.sync().map_err(WriteError::Fatal)?;
        self.last = Lsn(self.last.0 + u64::from(header.count));
        self.epoch = epoch;
        self.active = Some((Arc::clone(&file), LogFile::after(at, &header)));
        Ok(())
    }

    fn put(
        &mut self,
        file: &LogFile,
        offset: u64,
        header: &BatchHeader,
        records: &[Bytes],
    ) -> io::Result<()> {
        let mut at = offset;
        let staging = &mut self.staging;
        staging.clear();
        staging.extend_from_slice(&header.encode(file.seed, offset));
        let mut lsn = header.first;
        for payload in records {
            staging.extend_from_slice(&record_header(file.seed, header.epoch, lsn, payload));
            lsn = lsn.next();
            if payload.len() <= GATHER_MAX {
                staging.extend_from_slice(payload);
                continue;
            }
            write_all_at(&*file.file, staging, at)?;
            at += staging.len() as u64;
            staging.clear();
            write_all_at(&*file.file, payload, at)?;
            at += payload.len() as u64;
        }
        // The last block is filled up with zeros, so that no byte of an earlier life stays in it.
        let end = offset + header.span();
        let padding = usize::try_from(end - at).expect("staged bytes") - staging.len();
        debug_assert!(padding < BLOCK_LEN);
        staging.resize(staging.len() + padding, 0);
        let done = write_all_at(&*file.file, staging, at);
        staging.shrink_to(4 * GATHER_MAX);
        done
    }
}

/// Undoes a write that found no room, durably: only then may its records be called rejected, since
/// whole ones among them would come back at the next start.
fn neutralise(file: &LogFile, offset: u64, span: u64, cause: io::Error) -> WriteError {
    let zeros = [0; BLOCK_LEN];
    for block in 0..span / BLOCK {
        if let Err(e) = write_all_at(&*file.file, &zeros, offset + block * BLOCK) {
            tracing::error!(error = %e, "cannot undo a write that found no room");
            return WriteError::Fatal(cause);
        }
    }
    match file.file.sync() {
        Ok(()) => WriteError::Full(cause),
        Err(e) => WriteError::Fatal(e),
    }
}

/// How many of `records` fit into `room` bytes as one batch.
fn fitting(room: u64, records: &[Bytes]) -> usize {
    let mut bytes = BATCH_HEADER_LEN as u64;
    records
        .iter()
        .take_while(|record| {
            bytes += (RECORD_HEADER_LEN + record.len()) as u64;
            bytes.next_multiple_of(BLOCK) <= room
        })
        .count()
}

fn body(records: &[Bytes]) -> u64 {
    let bytes = |record: &Bytes| (RECORD_HEADER_LEN + record.len()) as u64;
    records.iter().map(bytes).sum()
}

fn span(records: &[Bytes]) -> u64 {
    (BATCH_HEADER_LEN as u64 + body(records)).next_multiple_of(BLOCK)
}
