//! The wrapping of stored values: a version and a checksum, so that damage and newer formats are refused.
//!
//! | offset | size | meaning                                                             |
//! |--------|------|---------------------------------------------------------------------|
//! | 0      | 1    | format version, 1                                                   |
//! | 1      | 4    | CRC32C, little-endian, of the key's bytes, the version byte, the payload |
//! | 5      | rest | payload                                                             |
//!
//! The key is part of the checksum, so that a value that strayed to another key is refused too.

use bytes::{BufMut, Bytes, BytesMut};

use crate::MetaError;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;

/// Wraps the payload of `key`.
#[must_use]
pub fn seal(key: &str, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    bytes.put_u8(VERSION);
    bytes.put_u32_le(checksum(key, VERSION, payload));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// The payload of the value stored at `key`.
///
/// # Errors
/// [`MetaError::Damaged`], naming the key.
pub fn open(key: &str, value: &Bytes) -> Result<Bytes, MetaError> {
    let Some((header, payload)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(MetaError::damaged(
            key,
            format!("{} bytes are too few for a value", value.len()),
        ));
    };
    let [version, crc @ ..] = *header;
    if version != VERSION {
        return Err(MetaError::damaged(
            key,
            format!("value format {version} is not known, {VERSION} is"),
        ));
    }
    let (stored, computed) = (u32::from_le_bytes(crc), checksum(key, version, payload));
    if stored != computed {
        return Err(MetaError::damaged(
            key,
            format!("checksum {computed:#010x} of the value, {stored:#010x} expected"),
        ));
    }
    Ok(value.slice(HEADER_BYTES..))
}

fn checksum(key: &str, version: u8, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key.as_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &[version]), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_key() {
        let value = seal("k", b"payload");
        assert_eq!(open("k", &value).unwrap(), "payload");
        assert_eq!(open("k", &seal("k", b"")).unwrap(), "");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let value = seal("k", b"payload");
        for bit in 0..value.len() * 8 {
            let mut bytes = value.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(open("k", &bytes.into()), Err(MetaError::Damaged { .. })),
                "bit {bit}"
            );
        }
        for cut in 0..value.len() {
            assert!(open("k", &value.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_value_of_another_key_is_refused() {
        let error = open("b", &seal("a", b"payload")).unwrap_err();
        assert!(error.to_string().starts_with("b: checksum"), "{error}");
    }
}
