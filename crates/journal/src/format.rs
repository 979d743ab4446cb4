//! The bytes of a journal file around its records; `docs/formats/journal.md` is their description.
//!
//! ```text
//! | header | header again | checkpoint, twice | batch | batch | … | mark | zeros or bytes of an earlier life |
//!   4 KiB    4 KiB                             └ batch header, 64 B | records | zeros up to a multiple of 4 KiB |
//! ```

use holdfast_qlog::{StorageId, messages::ClusterId};

/// Every part starts at a multiple of this, so that a write never touches a sector that is durable already.
pub(crate) const BLOCK: u64 = 4096;
/// [`BLOCK`] as a buffer size.
pub(crate) const BLOCK_LEN: usize = 4096;
/// Where the first batch starts.
pub(crate) const DATA_AT: u64 = 2 * BLOCK;
/// Bytes of a batch header.
pub(crate) const BATCH_HEADER_LEN: usize = 64;

/// So that everything that is counted has a next one.
pub(crate) const COUNT_MAX: u64 = u64::MAX / 2;

const FILE_MAGIC: [u8; 8] = *b"HOLDFQLJ";
const BATCH_MAGIC: [u8; 4] = *b"HJB\x01";
const VERSION: u32 = 1;
const CRC_AT: usize = BLOCK_LEN - 4;

/// What a batch says about the batch before it, in this file or the one before: should that one be unreadable, this
/// is what is known about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its header's checksum, which covers the checksum of its records.
    pub(crate) crc: u32,
    pub(crate) records: u32,
    pub(crate) control: bool,
}

/// The first two blocks of a file, which are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) storage: StorageId,
    pub(crate) journal: [u8; 16],
    pub(crate) file_seq: u64,
    /// The start in which the file was put to use, and which of its attempts: together with the above no two uses
    /// of a file are the same, so its checksums are unlike those of every earlier life.
    pub(crate) generation: u64,
    pub(crate) attempt: u32,
    pub(crate) capacity: u64,
    /// Sequence number of the first batch.
    pub(crate) first_seq: u64,
    /// And of the checkpoint's last one: durable before the file got its name.
    pub(crate) checkpoint_last: u64,
    /// Logs in the checkpoint.
    pub(crate) logs: u32,
    /// The batch before the first one, in the file before.
    pub(crate) previous: Link,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; BLOCK_LEN] {
        let Self {
            cluster,
            storage,
            journal,
            file_seq,
            generation,
            attempt,
            capacity,
            first_seq,
            checkpoint_last,
            logs,
            previous,
        } = self;
        let mut block = [0; BLOCK_LEN];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &FILE_MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &attempt.to_le_bytes());
        put(16, &cluster.0);
        put(32, &storage.0);
        put(48, journal);
        put(64, &file_seq.to_le_bytes());
        put(72, &generation.to_le_bytes());
        put(80, &capacity.to_le_bytes());
        put(88, &first_seq.to_le_bytes());
        put(96, &checkpoint_last.to_le_bytes());
        put(104, &logs.to_le_bytes());
        put(108, &previous.crc.to_le_bytes());
        put(112, &previous.records.to_le_bytes());
        put(116, &[u8::from(previous.control)]);
        seal_block(&mut block);
        block
    }

    pub(crate) fn decode(block: &[u8; BLOCK_LEN]) -> Result<Self, String> {
        open_block(block, &FILE_MAGIC, VERSION)?;
        let header = Self {
            cluster: ClusterId(array_at(block, 16)),
            storage: StorageId(array_at(block, 32)),
            journal: array_at(block, 48),
            file_seq: u64_at(block, 64),
            generation: u64_at(block, 72),
            attempt: u32_at(block, 12),
            capacity: u64_at(block, 80),
            first_seq: u64_at(block, 88),
            checkpoint_last: u64_at(block, 96),
            logs: u32_at(block, 104),
            previous: Link {
                crc: u32_at(block, 108),
                records: u32_at(block, 112),
                control: block[116] != 0,
            },
        };
        let whole = header.capacity > DATA_AT && header.capacity.is_multiple_of(BLOCK);
        let ordered = (1..=header.checkpoint_last).contains(&header.first_seq)
            && header.checkpoint_last.max(header.generation) < COUNT_MAX;
        match whole && ordered {
            true => Ok(header),
            false => Err("the file header contradicts itself".to_owned()),
        }
    }

    /// What every checksum in the file starts from.
    pub(crate) fn seed(&self) -> u32 {
        let mut life = [0; 36];
        life[..16].copy_from_slice(&self.journal);
        life[16..24].copy_from_slice(&self.file_seq.to_le_bytes());
        life[24..32].copy_from_slice(&self.generation.to_le_bytes());
        life[32..].copy_from_slice(&self.attempt.to_le_bytes());
        crc32c::crc32c(&life)
    }
}

/// What a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Records.
    Records,
    /// The control records of the batch before, once more: a damaged sector cannot take away a promise.
    Repeat,
    /// A part of the checkpoint at the head of the file.
    Checkpoint,
    /// No records: it says that everything before it is durable. The next batch is written over it.
    Mark,
}

/// What precedes a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) kind: Kind,
    /// Counts the batches of the journal. A mark has the number of the batch that will be written over it.
    pub(crate) seq: u64,
    /// All batches up to this one were durable when this one was written.
    pub(crate) durable: u64,
    /// The start in which it was written.
    pub(crate) generation: u64,
    pub(crate) previous: Link,
    pub(crate) payload_crc: u32,
    /// Bytes of the records.
    pub(crate) len: u32,
    pub(crate) records: u32,
    /// Whether there are control records among them, which the next batch then repeats.
    pub(crate) control: bool,
}

impl BatchHeader {
    pub(crate) fn encode(&self, seed: u32, offset: u64) -> [u8; BATCH_HEADER_LEN] {
        let mut bytes = [0; BATCH_HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &BATCH_MAGIC);
        put(8, &self.seq.to_le_bytes());
        put(16, &self.durable.to_le_bytes());
        put(24, &self.generation.to_le_bytes());
        put(32, &self.previous.crc.to_le_bytes());
        put(36, &self.previous.records.to_le_bytes());
        put(40, &self.payload_crc.to_le_bytes());
        put(44, &self.len.to_le_bytes());
        put(48, &self.records.to_le_bytes());
        let kind = match self.kind {
            Kind::Records => 0,
            Kind::Repeat => 1,
            Kind::Checkpoint => 2,
            Kind::Mark => 3,
        };
        put(
            52,
            &[
                kind,
                u8::from(self.control),
                u8::from(self.previous.control),
            ],
        );
        let crc = header_crc(seed, offset, &bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at `offset` of the file and its checksum, if there is an intact one that was written there in
    /// this life of the file.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Option<(Self, u32)> {
        let bytes: &[u8; BATCH_HEADER_LEN] = bytes.first_chunk()?;
        let crc = u32_at(bytes, 4);
        if bytes[..4] != BATCH_MAGIC || crc != header_crc(seed, offset, bytes) {
            return None;
        }
        let header = Self {
            kind: match bytes[52] {
                0 => Kind::Records,
                1 => Kind::Repeat,
                2 => Kind::Checkpoint,
                3 => Kind::Mark,
                _ => return None,
            },
            seq: u64_at(bytes, 8),
            durable: u64_at(bytes, 16),
            generation: u64_at(bytes, 24),
            previous: Link {
                crc: u32_at(bytes, 32),
                records: u32_at(bytes, 36),
                control: bytes[54] != 0,
            },
            payload_crc: u32_at(bytes, 40),
            len: u32_at(bytes, 44),
            records: u32_at(bytes, 48),
            control: bytes[53] != 0,
        };
        let ordered = header.durable < header.seq && header.seq.max(header.generation) < COUNT_MAX;
        ordered.then_some((header, crc))
    }

    /// Bytes that the batch takes in its file.
    pub(crate) fn span(&self) -> u64 {
        span(self.len as usize)
    }

    /// What the next batch says about this one, whose header has this checksum.
    pub(crate) fn link(&self, crc: u32) -> Link {
        Link {
            crc,
            records: self.records,
            control: self.control,
        }
    }

    /// What the checksums of its records start from.
    pub(crate) fn record_seed(&self, seed: u32) -> u32 {
        record_seed(seed, self.seq)
    }
}

/// What the checksums of a batch's records start from.
pub(crate) fn record_seed(seed: u32, seq: u64) -> u32 {
    crc32c::crc32c_append(seed, &seq.to_le_bytes())
}

/// Bytes that a batch of `len` bytes of records takes.
pub(crate) fn span(len: usize) -> u64 {
    ((BATCH_HEADER_LEN + len) as u64).next_multiple_of(BLOCK)
}

fn header_crc(seed: u32, offset: u64, header: &[u8; BATCH_HEADER_LEN]) -> u32 {
    let seed = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(seed, &header[8..])
}

/// Puts the checksum of a block at its end.
pub(crate) fn seal_block(block: &mut [u8; BLOCK_LEN]) {
    let crc = crc32c::crc32c(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// Checks what a sealed block begins and ends with.
pub(crate) fn open_block(
    block: &[u8; BLOCK_LEN],
    magic: &[u8; 8],
    version: u32,
) -> Result<(), String> {
    if block[..8] != *magic {
        return Err("it does not begin as it should".to_owned());
    }
    if crc32c::crc32c(&block[..CRC_AT]) != u32_at(block, CRC_AT) {
        return Err("checksum does not match".to_owned());
    }
    match u32_at(block, 8) {
        known if known == version => Ok(()),
        other => Err(format!("format version {other} is not known here")),
    }
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("that many bytes")
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
