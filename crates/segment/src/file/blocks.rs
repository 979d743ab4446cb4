//! CRC32C of 64 KiB blocks: small enough to name where damage is, large enough to cost nothing.

use crate::DamagedSegment;

/// Bytes under one checksum; the last block may be shorter.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

/// The checksums of all blocks of `bytes`, in order.
pub(crate) fn checksums(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks(BLOCK_BYTES).map(crc32c::crc32c)
}

/// Compares `bytes`, which start at `start` in the file, with the checksums that were written.
pub(crate) fn verify(
    file: &str,
    start: usize,
    bytes: &[u8],
    expected: &[u32],
) -> Result<(), DamagedSegment> {
    if expected.len() != bytes.len().div_ceil(BLOCK_BYTES) {
        return Err(damaged(
            file,
            start,
            format!(
                "{} checksums for {} bytes in blocks of {BLOCK_BYTES}",
                expected.len(),
                bytes.len()
            ),
        ));
    }
    for (i, (found, expected)) in checksums(bytes).zip(expected).enumerate() {
        if found != *expected {
            return Err(damaged(
                file,
                start + i * BLOCK_BYTES,
                format!("the block's CRC32C is {found:08x}, {expected:08x} was written"),
            ));
        }
    }
    Ok(())
}

/// The error for a problem at an offset of a file.
pub(crate) fn damaged(file: &str, offset: usize, problem: impl Into<String>) -> DamagedSegment {
    DamagedSegment {
        file: file.to_owned(),
        offset: offset as u64,
        problem: problem.into(),
    }
}

/// Bytes from hex digits, for tests that compare with bytes written down.
#[cfg(test)]
pub(crate) fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
