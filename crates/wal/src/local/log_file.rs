//! One file of a log: its batches, read and verified.

use std::{fmt, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use holdfast_disk::DiskFile;
use holdfast_types::{Epoch, Lsn};

use super::format::{
    BATCH_HEADER_LEN, BLOCK, BLOCK_LEN, BatchHeader, FileHeader, RECORD_HEADER_LEN, split_record,
};
use crate::wal::{WalEntry, WalError};

/// How much is read at once while looking for batches beyond a damaged one.
const LOOK_AHEAD: usize = 1 << 20;

/// An open log file whose header was verified.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: FileHeader,
    pub(super) seed: u32,
}

/// A place in a log file where a batch starts, and what it must start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    pub(super) next: Lsn,
    /// Epochs never fall along a log.
    pub(super) epoch: Epoch,
}

/// What a full scan of a file found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where the next batch goes.
    pub(super) end: Position,
    /// Offset and span of the last batch.
    pub(super) last_batch: Option<(u64, u64)>,
    /// Bytes of a torn batch at the end, which are to be overwritten.
    pub(super) torn: Option<String>,
}

impl LogFile {
    /// Opens a file by its header.
    pub(super) fn open(path: PathBuf, file: Arc<dyn DiskFile>) -> Result<Self, WalError> {
        let len = file.len().map_err(failed("measure", &path))?;
        let mut block = [0; BLOCK_LEN];
        if len < BLOCK {
            return Err(corrupt(&path, len, "shorter than a file header"));
        }
        file.read_exact_at(&mut block, 0)
            .map_err(failed("read", &path))?;
        let header = FileHeader::decode(&block).map_err(|problem| corrupt(&path, 0, problem))?;
        if header.capacity < BLOCK || !header.capacity.is_multiple_of(BLOCK) {
            let problem = format!("a capacity of {} bytes is none", header.capacity);
            return Err(corrupt(&path, 0, problem));
        }
        if len < header.capacity {
            return Err(corrupt(
                &path,
                len,
                format!("cut short: it had {} bytes", header.capacity),
            ));
        }
        let seed = header.seed();
        Ok(Self {
            path,
            file,
            header,
            seed,
        })
    }

    /// Where the first batch starts.
    pub(super) fn start(&self) -> Position {
        Position {
            offset: BLOCK,
            next: self.header.first,
            epoch: Epoch(0),
        }
    }

    /// The header at `at`: `None` when no intact batch starts there.
    ///
    /// # Errors
    /// When one does that cannot follow what precedes it.
    pub(super) fn header_at(&self, at: Position) -> Result<Option<BatchHeader>, WalError> {
        let mut bytes = [0; BATCH_HEADER_LEN];
        if at.offset.saturating_add(BLOCK) > self.header.capacity {
            return Ok(None);
        }
        self.file
            .read_exact_at(&mut bytes, at.offset)
            .map_err(failed("read", &self.path))?;
        let Some(header) = BatchHeader::decode(&bytes, self.seed, at.offset) else {
            return Ok(None);
        };
        if header.first != at.next || header.last().is_none() {
            let problem = format!("record {} where {} belongs", header.first, at.next);
            return Err(corrupt(&self.path, at.offset, problem));
        }
        if header.epoch < at.epoch {
            let problem = format!("epoch {} after epoch {}", header.epoch, at.epoch);
            return Err(corrupt(&self.path, at.offset, problem));
        }
        if at.offset.saturating_add(header.span()) > self.header.capacity {
            let problem = "a batch reaches beyond the end of the file";
            return Err(corrupt(&self.path, at.offset, problem));
        }
        Ok(Some(header))
    }

    /// The position after a batch.
    pub(super) fn after(at: Position, header: &BatchHeader) -> Position {
        Position {
            offset: at.offset + header.span(),
            next: Lsn(at.next.0 + u64::from(header.count)),
            epoch: header.epoch,
        }
    }

    /// The records of a batch. The inner error says what is damaged.
    pub(super) fn records(
        &self,
        at: Position,
        header: &BatchHeader,
    ) -> Result<Result<Vec<WalEntry>, &'static str>, WalError> {
        // `header_at` has checked that the body lies within the file.
        let mut body = vec![0; header.body as usize];
        self.file
            .read_exact_at(&mut body, at.offset + BATCH_HEADER_LEN as u64)
            .map_err(failed("read", &self.path))?;
        Ok(self.split(Bytes::from(body), at, header))
    }

    fn split(
        &self,
        body: Bytes,
        at: Position,
        header: &BatchHeader,
    ) -> Result<Vec<WalEntry>, &'static str> {
        if header.count as usize > body.len() / RECORD_HEADER_LEN {
            return Err("more records than bytes for them");
        }
        let mut entries = Vec::with_capacity(header.count as usize);
        let mut rest = body;
        let mut lsn = at.next;
        for _ in 0..header.count {
            let len = split_record(&rest, self.seed, header.epoch, lsn)?;
            let mut record = rest.split_to(RECORD_HEADER_LEN + len);
            entries.push(WalEntry {
                lsn,
                epoch: header.epoch,
                payload: record.split_off(RECORD_HEADER_LEN),
            });
            lsn = lsn.next();
        }
        match rest.is_empty() {
            true => Ok(entries),
            false => Err("bytes after the last record of a batch"),
        }
    }

    /// Verifies the whole file, as the last of its log.
    ///
    /// One batch is written at a time and synced before the next, so a damaged batch with nothing
    /// intact behind it was torn by a crash and never acknowledged; one with an intact batch behind
    /// it was durable and has rotted.
    pub(super) fn scan(&self) -> Result<Scan, WalError> {
        let mut at = self.start();
        let mut last_batch = None;
        let mut torn = None;
        while let Some(header) = self.header_at(at)? {
            if let Err(problem) = self.records(at, &header)? {
                torn = Some(problem.to_owned());
                break;
            }
            last_batch = Some((at.offset, header.span()));
            at = Self::after(at, &header);
        }
        if let Some(intact) = self.intact_batch_after(at.offset)? {
            let problem = torn.unwrap_or_else(|| "no batch here".to_owned());
            let problem = format!("{problem}, but a later batch at byte {intact} is intact");
            return Err(corrupt(&self.path, at.offset, problem));
        }
        Ok(Scan {
            end: at,
            last_batch,
            torn,
        })
    }

    fn intact_batch_after(&self, offset: u64) -> Result<Option<u64>, WalError> {
        let mut chunk = vec![0; LOOK_AHEAD];
        let mut at = offset.saturating_add(BLOCK);
        while at.saturating_add(BLOCK) <= self.header.capacity {
            let len = (self.header.capacity - at).min(LOOK_AHEAD as u64);
            let len = usize::try_from(len).expect("at most LOOK_AHEAD");
            self.file
                .read_exact_at(&mut chunk[..len], at)
                .map_err(failed("read", &self.path))?;
            for (block, from) in chunk[..len].chunks_exact(BLOCK_LEN).zip(0_u64..) {
                let block_at = at + from * BLOCK;
                if BatchHeader::decode(block, self.seed, block_at).is_some() {
                    return Ok(Some(block_at));
                }
            }
            at += LOOK_AHEAD as u64;
        }
        Ok(None)
    }
}

pub(super) fn corrupt(path: &std::path::Path, offset: u64, problem: impl fmt::Display) -> WalError {
    WalError::Corrupt {
        file: path.to_owned(),
        offset,
        problem: problem.to_string(),
    }
}

pub(super) fn failed(
    doing: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(io::Error) -> WalError {
    let path = path.to_owned();
    move |source| WalError::Io {
        doing,
        path,
        source,
    }
}
