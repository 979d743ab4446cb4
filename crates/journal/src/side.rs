//! The index of a finished file, beside it on disk, so that a start need not read the file. Nothing depends on it: when
//! it is missing or not intact, the file is walked.

use std::{io, path::Path};

use holdfast_disk::{Disk, write_all_at};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    format::{COUNT_MAX, u32_at, u64_at},
    index::{Key, Range},
};

const MAGIC: [u8; 8] = *b"HOLDFQLX";
const VERSION: u32 = 1;
const HEAD_LEN: usize = 40;
const RANGE_LEN: usize = 28;
const SUFFIX: &str = ".idx";
const DRAFT_SUFFIX: &str = ".idx.new";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) file_seq: u64,
    /// The number of the batch with which the next file begins.
    pub(crate) next_seq: u64,
    /// Damage was found in the file before it was finished.
    pub(crate) damaged: bool,
    /// In the order in which they were written.
    pub(crate) ranges: Vec<(Key, Range)>,
}

impl Side {
    fn encode(&self, seed: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.ranges.len() * RANGE_LEN + 4);
        let count = u32::try_from(self.ranges.len()).expect("a file is bounded");
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(u32::from(self.damaged).to_le_bytes());
        out.extend(self.file_seq.to_le_bytes());
        out.extend(self.next_seq.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend([0; 4]);
        for ((log, segment), range) in &self.ranges {
            out.extend(log.0.to_le_bytes());
            out.extend(segment.0.to_le_bytes());
            out.extend(range.first.0.to_le_bytes());
            out.extend(range.count.to_le_bytes());
            out.extend(range.block.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(seed, &out);
        out.extend(crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], seed: u32) -> Result<Self, &'static str> {
        let (head, crc) = bytes.split_last_chunk::<4>().ok_or("cut short")?;
        if head.len() < HEAD_LEN || head[..8] != MAGIC {
            return Err("not an index");
        }
        if crc32c::crc32c_append(seed, head) != u32::from_le_bytes(*crc) {
            return Err("checksum does not match");
        }
        if u32_at(head, 8) != VERSION {
            return Err("of a version that is not known here");
        }
        let (head, body) = head.split_at(HEAD_LEN);
        let file_seq = u64_at(head, 16);
        if !body.len().is_multiple_of(RANGE_LEN)
            || body.len() / RANGE_LEN != u32_at(head, 32) as usize
        {
            return Err("not as long as it says");
        }
        let range = |bytes: &[u8]| {
            let key = (ChannelId(u32_at(bytes, 0)), LogSegment(u64_at(bytes, 4)));
            let range = Range {
                first: Lsn(u64_at(bytes, 12)),
                count: u32_at(bytes, 20),
                block: u32_at(bytes, 24),
                file: file_seq,
            };
            let sound = range.count > 0 && range.first.0 > 0 && range.first.0 < u64::MAX / 2;
            sound.then_some((key, range))
        };
        if !(1..COUNT_MAX).contains(&u64_at(head, 24)) {
            return Err("of a file without batches");
        }
        let ranges = body.chunks_exact(RANGE_LEN).map(range);
        Ok(Self {
            file_seq,
            next_seq: u64_at(head, 24),
            damaged: u32_at(head, 12) != 0,
            ranges: ranges.collect::<Option<_>>().ok_or("a range of nothing")?,
        })
    }

    /// Reads the index of a file whose checksums start from `seed`. The inner error says what is wrong with it.
    pub(crate) fn read(
        disk: &dyn Disk,
        dir: &Path,
        file_seq: u64,
        seed: u32,
    ) -> io::Result<Result<Self, &'static str>> {
        let file = disk.open(&dir.join(name(file_seq)))?;
        let mut bytes =
            vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::OutOfMemory)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(match Self::decode(&bytes, seed) {
            Ok(side) if side.file_seq != file_seq => Err("of another file"),
            other => other,
        })
    }

    /// Writes it durably.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path, seed: u32) -> io::Result<()> {
        let bytes = self.encode(seed);
        let draft = dir.join(format!("{:020}{DRAFT_SUFFIX}", self.file_seq));
        let written = disk.create(&draft).and_then(|file| {
            file.allocate(bytes.len() as u64)?;
            write_all_at(&*file, &bytes, 0)?;
            file.sync()?;
            disk.rename(&draft, &dir.join(name(self.file_seq)))
        });
        if let Err(e) = written {
            // Whatever is left is removed at the next start.
            drop(disk.remove(&draft));
            return Err(e);
        }
        disk.sync_dir(dir)
    }
}

/// The name of the index of file number `seq`.
pub(crate) fn name(seq: u64) -> String {
    format!("{seq:020}{SUFFIX}")
}

/// The number of the file whose index has this name.
pub(crate) fn number(file_name: &str) -> Option<u64> {
    let seq = file_name.strip_suffix(SUFFIX)?.parse().ok()?;
    (name(seq) == file_name).then_some(seq)
}

/// Whether a file of this name is half an index.
pub(crate) fn is_draft(name: &str) -> bool {
    name.ends_with(DRAFT_SUFFIX)
}
