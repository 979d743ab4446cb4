//! An input as a file: raw bytes, or a valid file with changes.
//!
//! ```text
//! byte 0   bit 0: the rest is edits of a valid file (else: the file itself)
//!          bit 1: make the checksums right afterwards
//! then     edits of 8 bytes: operation (1), offset modulo the length (3), value (4); little-endian
//! ```
//! Without the second form a fuzzer would spend its life on checksums.

/// The input as a file. `repair` makes checksums right.
pub fn file(valid: &[u8], input: &[u8], repair: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let Some((&mode, rest)) = input.split_first() else {
        return Vec::new();
    };
    let mut bytes = match mode & 1 {
        0 => rest.to_vec(),
        _ => edited(valid.to_vec(), rest),
    };
    if mode & 2 != 0 {
        repair(&mut bytes);
    }
    bytes
}

fn edited(mut bytes: Vec<u8>, edits: &[u8]) -> Vec<u8> {
    for edit in edits.chunks_exact(8) {
        if bytes.is_empty() {
            break;
        }
        let at = u32::from_le_bytes([edit[1], edit[2], edit[3], 0]) as usize % bytes.len();
        let value = u32::from_le_bytes([edit[4], edit[5], edit[6], edit[7]]);
        let wide = i64::from(value.cast_signed()).to_le_bytes();
        match edit[0] % 8 {
            0 => overwrite(&mut bytes, at, &wide[..1]),
            1 => overwrite(&mut bytes, at, &wide[..2]),
            2 => overwrite(&mut bytes, at, &wide[..4]),
            3 => overwrite(&mut bytes, at, &wide),
            4 => bytes.truncate(at),
            5 => {
                let count = (value >> 8) as usize % 64 + 1;
                bytes.splice(at..at, std::iter::repeat_n(wide[0], count));
            }
            6 => {
                let end = bytes.len().min(at + value as usize % 64 + 1);
                bytes.drain(at..end);
            }
            _ => {
                // Counts and offsets are most often wrong by a little.
                let delta = wide[0];
                bytes[at] = bytes[at].wrapping_add(delta);
            }
        }
    }
    bytes
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = bytes.len().min(at + with.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}
