//! Magic, version, length and checksum around a payload.
//!
//! ```text
//! offset  size  what
//! 0       4     magic: which kind of document this is
//! 4       4     u32 format version of that kind
//! 8       8     u64 length of the payload
//! 16      4     u32 CRC32C of bytes 0..16 and the payload
//! 20      n     payload, to the end
//! ```
//! All numbers are little-endian.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 20;

/// Wraps a payload.
pub(crate) fn seal(magic: [u8; 4], version: u32, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    out.put_slice(&magic);
    out.put_u32_le(version);
    out.put_u64_le(payload.len() as u64);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), payload);
    out.put_u32_le(crc);
    out.put_slice(payload);
    out.freeze()
}

/// Checks everything and returns the payload, without copying.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn open(magic: [u8; 4], version: u32, bytes: &Bytes) -> Result<Bytes, String> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!(
            "{} bytes are too few for a header of {HEADER_BYTES}",
            bytes.len()
        ));
    };
    let word = |at: usize| {
        u32::from_le_bytes(
            header[at..at + 4]
                .try_into()
                .expect("four bytes of the header"),
        )
    };
    if header[..4] != magic {
        return Err(format!(
            "magic at offset 0 is {:02x?}, not {magic:02x?}",
            &header[..4]
        ));
    }
    let length = u64::from(word(8)) | u64::from(word(12)) << 32;
    if length != payload.len() as u64 {
        return Err(format!(
            "{} bytes follow the header, which speaks of {length}",
            payload.len()
        ));
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), payload);
    if crc != word(16) {
        return Err(format!(
            "checksum at offset 16 is {:08x}, the bytes have {crc:08x}",
            word(16)
        ));
    }
    // After the checksum, so that a flipped bit is not taken for a newer writer.
    if word(4) != version {
        return Err(format!(
            "format version {} was written by another release; this one reads {version}",
            word(4)
        ));
    }
    Ok(bytes.slice(HEADER_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    #[test]
    fn a_payload_survives_and_the_layout_is_as_documented() {
        let sealed = seal(MAGIC, 2, b"abc");
        assert_eq!(open(MAGIC, 2, &sealed).unwrap(), b"abc"[..]);
        assert_eq!(&sealed[..16], b"TEST\x02\0\0\0\x03\0\0\0\0\0\0\0");
        assert_eq!(&sealed[20..], b"abc");
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        for payload in [&b""[..], b"x", b"some payload"] {
            let sealed = seal(MAGIC, 1, payload);
            for i in 0..sealed.len() {
                for bit in 0..8 {
                    let mut damaged = sealed.to_vec();
                    damaged[i] ^= 1 << bit;
                    assert!(
                        open(MAGIC, 1, &damaged.into()).is_err(),
                        "byte {i} bit {bit}"
                    );
                }
                assert!(open(MAGIC, 1, &sealed.slice(..i)).is_err(), "cut at {i}");
            }
            let mut longer = sealed.to_vec();
            longer.push(0);
            assert!(open(MAGIC, 1, &longer.into()).is_err());
        }
    }

    #[test]
    fn another_version_is_named() {
        let problem = open(MAGIC, 1, &seal(MAGIC, 2, b"")).unwrap_err();
        assert!(problem.contains("format version 2"), "{problem}");
    }
}
