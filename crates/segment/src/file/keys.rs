//! The Keys file: the primary keys in row order, which is key order, and a Bloom filter over them.
//!
//! Frame (see [`super::frame`]) of magic `HFKEYS\r\n`, kind 0 = `Int64`, 1 = `VarChar`. Payload: the
//! Bloom filter (the "first part"), then either `rows` x i64, or `rows + 1` x u32 offsets followed by
//! the keys' bytes. Keys ascend; equal keys (versions of one row) are adjacent, oldest first. The row
//! of the i-th key is i, so a delete is resolved without touching a column.

use std::{cmp::Ordering, ops::Range};

use arrow_array::{Array, cast::AsArray, types::Int64Type};
use bytes::Bytes;
use holdfast_types::{Pk, PkList};

use super::{
    blocks::damaged,
    bloom,
    frame::{Frame, PAYLOAD_AT},
};
use crate::{DamagedSegment, SegmentError};

const MAGIC: [u8; 8] = *b"HFKEYS\r\n";
const KIND_INT: u32 = 0;
const KIND_STR: u32 = 1;

/// Writes the keys, which ascend.
pub(crate) fn write(keys: &PkList) -> Result<Bytes, SegmentError> {
    let mut payload = bloom::build((0..keys.len()).map(|i| keys.get(i).stable_hash()));
    let first_part = payload.len();
    let kind = match keys {
        PkList::Int(keys) => {
            for key in keys {
                payload.extend_from_slice(&key.to_le_bytes());
            }
            KIND_INT
        }
        PkList::Str(keys) => {
            let mut end = 0_u32;
            payload.extend_from_slice(&end.to_le_bytes());
            for key in keys {
                end = u32::try_from(key.len())
                    .ok()
                    .and_then(|len| end.checked_add(len))
                    .ok_or_else(|| {
                        SegmentError::Unsupported("4 GiB of keys in one segment".to_owned())
                    })?;
                payload.extend_from_slice(&end.to_le_bytes());
            }
            for key in keys {
                payload.extend_from_slice(key.as_bytes());
            }
            KIND_STR
        }
    };
    let frame = Frame {
        kind,
        rows: keys.len(),
        first_part,
        payload: payload.into(),
    };
    Ok(frame.write(MAGIC))
}

/// The keys of a segment, read in place.
#[derive(Debug)]
pub(crate) struct Keys {
    bloom: Bytes,
    list: List,
}

#[derive(Debug)]
enum List {
    /// i64 each.
    Int(Bytes),
    Str {
        /// u32 each, one more than keys.
        offsets: Bytes,
        text: Bytes,
    },
}

impl Keys {
    pub(crate) fn open(file: &str, bytes: &Bytes) -> Result<Self, DamagedSegment> {
        let frame = Frame::read(file, MAGIC, bytes)?;
        let bloom = frame.payload.slice(..frame.first_part);
        let rest = frame.payload.slice(frame.first_part..);
        let list_at = PAYLOAD_AT + frame.first_part;
        let bad = |problem: &str| damaged(file, list_at, problem);
        if bloom.is_empty() || !bloom.len().is_multiple_of(64) {
            return Err(bad("the filter is not a multiple of 64 bytes"));
        }
        let list = match frame.kind {
            KIND_INT => {
                if frame.rows.checked_mul(8) != Some(rest.len()) {
                    return Err(bad("the keys do not fill their part"));
                }
                List::Int(rest)
            }
            KIND_STR => {
                let offsets_bytes = frame
                    .rows
                    .checked_add(1)
                    .and_then(|n| n.checked_mul(4))
                    .filter(|n| *n <= rest.len())
                    .ok_or_else(|| bad("the offsets do not fit"))?;
                let (offsets, text) = (rest.slice(..offsets_bytes), rest.slice(offsets_bytes..));
                let mut last = 0;
                for (i, word) in offsets.as_chunks::<4>().0.iter().enumerate() {
                    let end = u32::from_le_bytes(*word) as usize;
                    if (i == 0 && end != 0)
                        || end < last
                        || text
                            .get(last..end)
                            .is_none_or(|t| std::str::from_utf8(t).is_err())
                    {
                        return Err(bad("an offset or a key's text is wrong"));
                    }
                    last = end;
                }
                if last != text.len() {
                    return Err(bad("the keys do not fill their part"));
                }
                List::Str { offsets, text }
            }
            other => return Err(damaged(file, 12, format!("{other} is no kind of key"))),
        };
        let keys = Self { bloom, list };
        if (1..keys.len()).any(|i| keys.compare(i - 1, &keys.get(i)).is_gt()) {
            return Err(bad("the keys do not ascend"));
        }
        Ok(keys)
    }

    pub(crate) fn len(&self) -> usize {
        match &self.list {
            List::Int(keys) => keys.len() / 8,
            List::Str { offsets, .. } => offsets.len() / 4 - 1,
        }
    }

    /// Whether the keys are `Int64`.
    pub(crate) fn is_int(&self) -> bool {
        matches!(self.list, List::Int(_))
    }

    pub(crate) fn get(&self, row: usize) -> Pk {
        match &self.list {
            List::Int(keys) => Pk::Int(int(keys, row)),
            List::Str { offsets, text } => Pk::Str(string(offsets, text, row).into()),
        }
    }

    /// Whether the key of `row` is the i-th of a key column.
    pub(crate) fn is_key_of(&self, row: usize, column: &dyn Array, i: usize) -> bool {
        match &self.list {
            List::Int(keys) => column
                .as_primitive_opt::<Int64Type>()
                .is_some_and(|column| column.value(i) == int(keys, row)),
            List::Str { offsets, text } => column
                .as_string_opt::<i32>()
                .is_some_and(|column| column.value(i) == string(offsets, text, row)),
        }
    }

    /// Orders the key of `row` relative to another segment's.
    pub(crate) fn compare_with(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        match (&self.list, &other.list) {
            (List::Int(a), List::Int(b)) => int(a, row).cmp(&int(b, other_row)),
            (
                List::Str { offsets, text },
                List::Str {
                    offsets: other_offsets,
                    text: other_text,
                },
            ) => string(offsets, text, row).cmp(string(other_offsets, other_text, other_row)),
            _ => self.compare(row, &other.get(other_row)),
        }
    }

    /// The rows of this key: its versions, oldest first.
    pub(crate) fn rows(&self, key: &Pk) -> Range<usize> {
        if !bloom::may_contain(&self.bloom, key.stable_hash()) {
            return 0..0;
        }
        let start = self.partition(0, |order| order.is_lt(), key);
        let end = self.partition(start, |order| order.is_le(), key);
        start..end
    }

    /// The first row whose key is greater than `key`.
    pub(crate) fn after(&self, key: &Pk) -> usize {
        self.partition(0, |order| order.is_le(), key)
    }

    /// The first row from `from` whose order relative to `key` does not satisfy `before`.
    fn partition(&self, from: usize, before: impl Fn(Ordering) -> bool, key: &Pk) -> usize {
        let (mut low, mut high) = (from, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.compare(middle, key)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn compare(&self, row: usize, key: &Pk) -> Ordering {
        match (&self.list, key) {
            (List::Int(keys), Pk::Int(key)) => int(keys, row).cmp(key),
            (List::Str { offsets, text }, Pk::Str(key)) => {
                string(offsets, text, row).as_bytes().cmp(key.as_bytes())
            }
            // As `Pk` orders kinds; a key of the other kind is simply not here.
            (List::Int(_), Pk::Str(_)) => Ordering::Less,
            (List::Str { .. }, Pk::Int(_)) => Ordering::Greater,
        }
    }
}

fn int(keys: &[u8], row: usize) -> i64 {
    i64::from_le_bytes(keys[row * 8..row * 8 + 8].try_into().expect("eight bytes"))
}

fn string<'a>(offsets: &[u8], text: &'a [u8], row: usize) -> &'a str {
    let offset = |i: usize| {
        u32::from_le_bytes(offsets[i * 4..i * 4 + 4].try_into().expect("four bytes")) as usize
    };
    std::str::from_utf8(&text[offset(row)..offset(row + 1)]).expect("checked when opened")
}

#[cfg(test)]
mod tests {
    use super::{super::blocks, *};

    #[test]
    fn keys_are_found_with_all_their_versions() {
        let ints = PkList::Int(vec![-5, 1, 1, 1, 8, i64::MAX]);
        let keys = Keys::open("k", &write(&ints).unwrap()).unwrap();
        assert_eq!(keys.rows(&Pk::Int(1)), 1..4);
        assert_eq!(keys.rows(&Pk::Int(-5)), 0..1);
        assert!(keys.rows(&Pk::Int(2)).is_empty());
        assert!(keys.rows(&Pk::Str("1".into())).is_empty());
        assert_eq!(keys.after(&Pk::Int(1)), 4);
        assert_eq!(keys.after(&Pk::Int(i64::MAX)), 6);
        let texts = PkList::Str(["", "a", "ab", "b", "é"].map(Into::into).to_vec());
        let keys = Keys::open("k", &write(&texts).unwrap()).unwrap();
        assert!(!keys.is_int());
        assert_eq!(keys.len(), 5);
        for i in 0..5 {
            assert_eq!(keys.rows(&texts.get(i)), i..i + 1);
            assert_eq!(keys.get(i), texts.get(i));
        }
        assert!(keys.rows(&Pk::Str("aa".into())).is_empty());
        assert_eq!(keys.after(&Pk::Str("aa".into())), 2);
    }

    // Made by a writer of its own, from the format's page.
    const GOLDEN_INT: &str = "\
        48464b4559530d0a010000000000000002000000000000000000000000000000500000000000000040000000\
        00000000000000000000000000000000b2a83777020000000020000000000080000080000040000000800000\
        1000000000000002000200000000080040000000000001000000080000040000000020000100000007000000\
        0000000009000000000000000769c9d82dfa3e39\
        ";
    const GOLDEN_STR: &str = "\
        48464b4559530d0a0100000001000000020000000000000000000000000000004f0000000000000040000000\
        000000000000000000000000000000009682500c200000002000000000000001000001000000000200000800\
        0400000000010000000000800000000800000010000040000040000000004000001000000100000000000000\
        0100000003000000616263b8b034d94dfca66d\
        ";

    #[test]
    fn the_bytes_of_version_1_are_these() {
        let ints = PkList::Int(vec![7, 9]);
        let texts = PkList::Str(vec!["a".into(), "bc".into()]);
        for (keys, golden) in [(ints, GOLDEN_INT), (texts, GOLDEN_STR)] {
            let bytes: Vec<u8> = blocks::from_hex(golden);
            assert_eq!(write(&keys).unwrap(), bytes);
            let opened = Keys::open("k", &bytes.into()).unwrap();
            for (i, key) in keys.iter().enumerate() {
                assert_eq!(opened.rows(&key), i..i + 1);
            }
        }
    }

    #[test]
    fn damage_is_refused() {
        let texts = PkList::Str(
            (10_000..30_000)
                .map(|i| format!("key {i}").into())
                .collect(),
        );
        for keys in [PkList::Int((0..20_000).collect()), texts] {
            let good = write(&keys).unwrap();
            for at in (0..good.len()).step_by(211).chain(0..64) {
                let mut bad = good.to_vec();
                bad[at] ^= 0x10;
                let error = Keys::open("keys", &bad.into()).unwrap_err();
                assert_eq!(error.file, "keys");
            }
            for len in (0..good.len()).step_by(1_009).chain([good.len() - 1]) {
                Keys::open("k", &good.slice(..len)).unwrap_err();
            }
        }
    }

    #[test]
    fn keys_out_of_order_are_refused_though_their_checksums_hold() {
        Keys::open("k", &write(&PkList::Int(vec![2, 1])).unwrap()).unwrap_err();
    }
}
