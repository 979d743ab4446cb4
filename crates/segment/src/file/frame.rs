//! The frame of our own small files.
//!
//! ```text
//! 0   magic, 8 bytes                  32  payload bytes, u64
//! 8   version, u32 = 1                40  first part of the payload, bytes, u64
//! 12  kind, u32                       48  zeros, 12 bytes
//! 16  rows, u64                       60  CRC32C of bytes 0..60
//! 24  zeros, 8 bytes
//! 64  payload
//!     CRC32C of each 64 KiB block of the payload, u32 each
//!     CRC32C of those checksums, u32
//! ```
//! All numbers are little-endian.

use bytes::Bytes;

use super::blocks::{self, damaged};
use crate::DamagedSegment;

const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// A file's header fields and payload.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u32,
    pub(crate) rows: usize,
    /// Bytes of the first of the payload's parts.
    pub(crate) first_part: usize,
    pub(crate) payload: Bytes,
}

/// Where the payload starts, for messages that name an offset of the file.
pub(crate) const PAYLOAD_AT: usize = HEADER_BYTES;

impl Frame {
    pub(crate) fn write(&self, magic: [u8; 8]) -> Bytes {
        let blocks = self.payload.len().div_ceil(blocks::BLOCK_BYTES);
        let mut out = Vec::with_capacity(HEADER_BYTES + self.payload.len() + 4 * (blocks + 1));
        out.extend_from_slice(&magic);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&(self.rows as u64).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(self.payload.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.first_part as u64).to_le_bytes());
        out.resize(HEADER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&self.payload);
        let table = out.len();
        for crc in blocks::checksums(&self.payload) {
            out.extend_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[table..]);
        out.extend_from_slice(&crc.to_le_bytes());
        Bytes::from(out)
    }

    /// Verifies every byte. The payload shares the memory of `bytes`.
    pub(crate) fn read(file: &str, magic: [u8; 8], bytes: &Bytes) -> Result<Self, DamagedSegment> {
        let bad = |offset: usize, problem: String| Err(damaged(file, offset, problem));
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return bad(
                0,
                format!("{} bytes have no room for the header", bytes.len()),
            );
        };
        if header[..8] != magic {
            return bad(
                0,
                format!("the magic is not {:?}", magic.escape_ascii().to_string()),
            );
        }
        let word =
            |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let long =
            |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (found, expected) = (crc32c::crc32c(&header[..60]), word(60));
        if found != expected {
            return bad(
                0,
                format!("the header's CRC32C is {found:08x}, {expected:08x} was written"),
            );
        }
        if word(8) != VERSION {
            return bad(8, format!("version {} is not {VERSION}", word(8)));
        }
        let sizes = [16, 32, 40].map(|at| usize::try_from(long(at)).ok());
        let [Some(rows), Some(payload), Some(first_part)] = sizes else {
            return bad(16, "a size does not fit this machine".to_owned());
        };
        let blocks = payload.div_ceil(blocks::BLOCK_BYTES);
        let expected_len = payload
            .checked_add(HEADER_BYTES + 4)
            .and_then(|n| n.checked_add(blocks.checked_mul(4)?));
        if expected_len != Some(bytes.len()) || first_part > payload {
            return bad(
                32,
                format!("{} bytes do not fit a payload of {payload}", bytes.len()),
            );
        }
        let table_at = HEADER_BYTES + payload;
        let (table, table_crc) = bytes[table_at..].split_at(4 * blocks);
        if crc32c::crc32c(table).to_le_bytes() != *table_crc {
            return bad(table_at, "the checksum table is damaged".to_owned());
        }
        let crcs: Vec<u32> = table
            .as_chunks::<4>()
            .0
            .iter()
            .map(|c| u32::from_le_bytes(*c))
            .collect();
        let content = bytes.slice(HEADER_BYTES..table_at);
        blocks::verify(file, HEADER_BYTES, &content, &crcs)?;
        Ok(Self {
            kind: word(12),
            rows,
            first_part,
            payload: content,
        })
    }
}
