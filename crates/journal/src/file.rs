//! One open journal file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_disk::{Disk, DiskFile};

use crate::{
    error::{Damage, JournalError, Loss, corrupt, failed},
    format::{BATCH_HEADER_LEN, BLOCK, BLOCK_LEN, BatchHeader, COUNT_MAX, FileHeader},
};

const SUFFIX: &str = ".journal";

/// A journal file whose header was verified.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) header: FileHeader,
    pub(crate) seed: u32,
    /// Bytes that are there; fewer than `header.capacity` when somebody cut it.
    pub(crate) len: u64,
}

impl JournalFile {
    /// Opens a file that `name` says is number `file_seq`.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: PathBuf,
        file_seq: u64,
    ) -> Result<(Self, Vec<Damage>), JournalError> {
        let file = disk.open(&path).map_err(failed("open", &path))?;
        let len = file.len().map_err(failed("measure", &path))?;
        let copies = read_headers(&*file, len).map_err(failed("read", &path))?;
        let header = copies.iter().find_map(|copy| copy.as_ref().ok().cloned());
        let Some(header) = header else {
            let [problem, _] = copies;
            let problem = problem.err().unwrap_or_default();
            let problem = format!("neither copy of its header is intact: {problem}");
            return Err(corrupt(&path, 0, problem));
        };
        if header.file_seq != file_seq {
            let problem = format!("it is file {}", header.file_seq);
            return Err(corrupt(&path, 0, problem));
        }
        let mut damage = header_damage(&path, &copies);
        if len < header.capacity {
            damage.push(Damage {
                file: path.clone(),
                offset: len,
                bytes: header.capacity - len,
                problem: "cut short".to_owned(),
                loss: Loss::Nothing,
            });
        }
        let seed = header.seed();
        let opened = Self {
            path,
            file,
            header,
            seed,
            len,
        };
        Ok((opened, damage))
    }

    /// What is wrong with the copies of the header now.
    pub(crate) fn header_damage(&self) -> io::Result<Vec<Damage>> {
        let mut copies = read_headers(&*self.file, self.file.len()?)?;
        for copy in &mut copies {
            if copy.as_ref().is_ok_and(|header| *header != self.header) {
                *copy = Err("it is the header of another file".to_owned());
            }
        }
        Ok(header_damage(&self.path, &copies))
    }

    /// The header of the batch that starts at `offset`.
    pub(crate) fn batch_at(&self, offset: u64) -> io::Result<Option<(BatchHeader, u32)>> {
        let mut bytes = [0; BATCH_HEADER_LEN];
        if offset.saturating_add(BLOCK) > self.len {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(BatchHeader::decode(&bytes, self.seed, offset))
    }

    /// The records of a batch, and whether they are what was written; `None` when they reach beyond the file.
    pub(crate) fn payload(
        &self,
        offset: u64,
        header: &BatchHeader,
    ) -> io::Result<Option<(Bytes, bool)>> {
        if offset.saturating_add(header.span()) > self.len {
            return Ok(None);
        }
        let mut payload = vec![0; header.len as usize];
        self.file
            .read_exact_at(&mut payload, offset + BATCH_HEADER_LEN as u64)?;
        let intact = crc32c::crc32c(&payload) == header.payload_crc;
        Ok(Some((payload.into(), intact)))
    }
}

type Copy = Result<FileHeader, String>;

fn read_headers(file: &dyn DiskFile, len: u64) -> io::Result<[Copy; 2]> {
    let mut copies = [Err("cut short".to_owned()), Err("cut short".to_owned())];
    for (at, copy) in (0..).zip(&mut copies) {
        if (at + 1) * BLOCK <= len {
            let mut block = [0; BLOCK_LEN];
            file.read_exact_at(&mut block, at * BLOCK)?;
            *copy = FileHeader::decode(&block);
        }
    }
    Ok(copies)
}

fn header_damage(path: &Path, copies: &[Copy; 2]) -> Vec<Damage> {
    let bad = (0..).zip(copies).filter_map(|(at, copy)| {
        let problem = copy.as_ref().err()?;
        Some(Damage {
            file: path.to_owned(),
            offset: at * BLOCK,
            bytes: BLOCK,
            problem: format!("a copy of the file header: {problem}"),
            loss: Loss::Nothing,
        })
    });
    bad.collect()
}

/// The name of file number `seq`.
pub(crate) fn file_name(seq: u64) -> String {
    format!("{seq:020}{SUFFIX}")
}

/// The number that a file is named for.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let seq: u64 = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (seq < COUNT_MAX && file_name(seq) == name).then_some(seq)
}
