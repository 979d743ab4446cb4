//! The bytes of a log file; `docs/formats/wal.md` is their description.
//!
//! ```text
//! | file header | batch | batch | … | zeros or bytes of an earlier life |     every part starts at a
//!   4 KiB         └ batch header, 32 B | record header, 8 B | payload | …     multiple of 4 KiB
//! ```

use holdfast_types::{ChannelId, Epoch, Lsn};

use crate::wal::MAX_RECORD_BYTES;

/// Batches start at multiples of this, so that a write never touches a sector that is durable already.
pub(super) const BLOCK: u64 = 4096;
/// [`BLOCK`] as a buffer size.
pub(super) const BLOCK_LEN: usize = 4096;
/// Bytes of a batch header.
pub(super) const BATCH_HEADER_LEN: usize = 32;
/// Bytes of a record header.
pub(super) const RECORD_HEADER_LEN: usize = 8;

const FILE_MAGIC: [u8; 8] = *b"HOLDFWAL";
const BATCH_MAGIC: [u8; 4] = *b"HFB\x01";
const VERSION: u32 = 1;
const CRC_AT: usize = BLOCK_LEN - 4;

/// The first block of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) channel: ChannelId,
    /// Made anew each time a file is put to use, so that bytes of its earlier life cannot pass as new.
    pub(super) uuid: [u8; 16],
    pub(super) first: Lsn,
    /// The first LSN of the file before, 0 when there was none: a missing file shows.
    pub(super) previous_first: Lsn,
    /// Length of the file.
    pub(super) capacity: u64,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &FILE_MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.channel.0.to_le_bytes());
        put(16, &self.uuid);
        put(32, &self.first.0.to_le_bytes());
        put(40, &self.previous_first.0.to_le_bytes());
        put(48, &self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub(super) fn decode(block: &[u8; BLOCK_LEN]) -> Result<Self, String> {
        if block[..8] != FILE_MAGIC {
            return Err("not a log file".to_owned());
        }
        let crc = u32_at(block, CRC_AT);
        if crc32c::crc32c(&block[..CRC_AT]) != crc {
            return Err("checksum of the file header does not match".to_owned());
        }
        let version = u32_at(block, 8);
        if version != VERSION {
            return Err(format!("format version {version} is not known here"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&block[16..32]);
        Ok(Self {
            channel: ChannelId(u32_at(block, 12)),
            uuid,
            first: Lsn(u64_at(block, 32)),
            previous_first: Lsn(u64_at(block, 40)),
            capacity: u64_at(block, 48),
        })
    }

    /// What every checksum in the file starts from.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.uuid)
    }
}

/// What precedes the records that one sync made durable. A batch without records is a mark: it says
/// that everything before it was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) first: Lsn,
    pub(super) epoch: Epoch,
    /// Bytes of the records and their headers.
    pub(super) body: u32,
    pub(super) count: u32,
}

impl BatchHeader {
    pub(super) fn encode(&self, seed: u32, offset: u64) -> [u8; BATCH_HEADER_LEN] {
        let mut bytes = [0; BATCH_HEADER_LEN];
        bytes[..4].copy_from_slice(&BATCH_MAGIC);
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.count.to_le_bytes());
        let crc = header_crc(seed, offset, &bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at `offset` of the file, if there is an intact one that was written there.
    pub(super) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Option<Self> {
        let bytes: &[u8; BATCH_HEADER_LEN] = bytes.first_chunk()?;
        if bytes[..4] != BATCH_MAGIC || u32_at(bytes, 4) != header_crc(seed, offset, bytes) {
            return None;
        }
        Some(Self {
            first: Lsn(u64_at(bytes, 8)),
            epoch: Epoch(u64_at(bytes, 16)),
            body: u32_at(bytes, 24),
            count: u32_at(bytes, 28),
        })
    }

    /// Bytes that the batch takes in its file.
    pub(super) fn span(&self) -> u64 {
        (BATCH_HEADER_LEN as u64 + u64::from(self.body)).next_multiple_of(BLOCK)
    }

    /// The last LSN once the batch is applied.
    pub(super) fn last(&self) -> Option<Lsn> {
        let next = self.first.0.checked_add(u64::from(self.count))?;
        next.checked_sub(1).map(Lsn)
    }
}

fn header_crc(seed: u32, offset: u64, header: &[u8; BATCH_HEADER_LEN]) -> u32 {
    let seed = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(seed, &header[8..])
}

/// Length and checksum of a record. The checksum covers who wrote it and where it belongs, so that a
/// record of another epoch, position or file cannot stand in for it.
pub(super) fn record_header(
    seed: u32,
    epoch: Epoch,
    lsn: Lsn,
    payload: &[u8],
) -> [u8; RECORD_HEADER_LEN] {
    let len = u32::try_from(payload.len()).expect("append refuses larger records");
    let mut header = [0; RECORD_HEADER_LEN];
    header[..4].copy_from_slice(&len.to_le_bytes());
    let crc = record_crc(seed, epoch, lsn, payload);
    header[4..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Splits the next record off a batch's body and checks it.
pub(super) fn split_record(
    body: &[u8],
    seed: u32,
    epoch: Epoch,
    lsn: Lsn,
) -> Result<usize, &'static str> {
    let header: &[u8; RECORD_HEADER_LEN] =
        body.first_chunk().ok_or("a record header is cut short")?;
    let len = u32_at(header, 0) as usize;
    if len > MAX_RECORD_BYTES {
        return Err("a record is longer than any may be");
    }
    let payload = body[RECORD_HEADER_LEN..]
        .get(..len)
        .ok_or("a record is cut short")?;
    if record_crc(seed, epoch, lsn, payload) != u32_at(header, 4) {
        return Err("checksum of a record does not match");
    }
    Ok(len)
}

fn record_crc(seed: u32, epoch: Epoch, lsn: Lsn, payload: &[u8]) -> u32 {
    let mut place = [0; 24];
    place[..8].copy_from_slice(&epoch.0.to_le_bytes());
    place[8..16].copy_from_slice(&lsn.0.to_le_bytes());
    place[16..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &place), payload)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
