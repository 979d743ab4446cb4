//! A sealed segment, or a part of one, as an object to be uploaded: pure bytes, of which a reader can fetch and
//! verify a part. `docs/formats/log-objects.md` describes them.
//!
//! ```text
//! | head, 64 B | block | block | … | index | footer, 80 B |
//! ```

use std::ops::Range;

use bytes::Bytes;
use holdfast_qlog::{Entry, NodeRecord};
use holdfast_types::{ChannelId, Code, Coded, Epoch, LogSegment, Lsn};

use crate::{
    codec::{self, Found, Stored},
    format::{array_at, u32_at, u64_at},
};

/// Bytes of the footer, which is read first.
pub const FOOTER_LEN: usize = 80;
const HEAD_LEN: usize = 64;
const PLACE_LEN: usize = 24;
const HEAD_MAGIC: [u8; 8] = *b"HOLDFQLO";
const FOOTER_MAGIC: [u8; 8] = *b"HOLDFQLF";
const VERSION: u32 = 1;

/// Why bytes are not an object, or entries cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object of log {log}, segment {segment}: {problem}")]
pub struct ObjectError {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// What is wrong.
    pub problem: String,
}

impl Coded for ObjectError {
    fn code(&self) -> Code {
        Code::Corrupt
    }
}

/// Which entries an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The epoch that wrote the segment.
    pub epoch: Epoch,
    /// The first entry in the object.
    pub first: Lsn,
    /// The last one.
    pub last: Lsn,
}

impl ObjectHead {
    fn wrong(&self, problem: impl Into<String>) -> ObjectError {
        ObjectError {
            log: self.log,
            segment: self.segment,
            problem: problem.into(),
        }
    }

    fn encode(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &HEAD_MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.log.0.to_le_bytes());
        put(16, &self.segment.0.to_le_bytes());
        put(24, &self.epoch.0.to_le_bytes());
        put(32, &self.first.0.to_le_bytes());
        put(40, &self.last.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The bytes of an object. Blocks have about `block_bytes` each.
///
/// # Errors
/// When the entries are not exactly those that `head` names, or one is not what its writer made: a replica that has not
/// everything cannot publish.
pub fn encode(
    head: &ObjectHead,
    entries: &[Entry],
    block_bytes: usize,
) -> Result<Vec<u8>, ObjectError> {
    let mut out = head.encode().to_vec();
    let seed = u32_at(&out, 60);
    let mut places = Vec::new();
    let mut begun: Option<(Lsn, usize)> = None;
    let mut next = head.first;
    for entry in entries {
        if entry.lsn != next || entry.lsn > head.last {
            return Err(head.wrong(format!("entry {} where {next} belongs", entry.lsn)));
        }
        if !entry.is_intact(head.log) {
            return Err(head.wrong(format!("entry {} does not match its checksum", entry.lsn)));
        }
        let (_, at) = *begun.get_or_insert((entry.lsn, out.len()));
        let record = NodeRecord::Append {
            log: head.log,
            segment: head.segment,
            epoch: head.epoch,
            committed: head.last,
            entry: entry.clone(),
        };
        codec::check(&record).map_err(|e| head.wrong(e.to_string()))?;
        codec::put_node(&mut out, seed, &record);
        next = next.next();
        if out.len() - at >= block_bytes {
            places.extend(begun.take().map(|b| place(&out, b)));
        }
    }
    places.extend(begun.map(|b| place(&out, b)));
    if entries.is_empty() || next != head.last.next() {
        return Err(head.wrong(format!("it ends before entry {next}")));
    }
    let index_at = out.len();
    let index = places.concat();
    out.extend_from_slice(&index);
    let mut footer = [0; FOOTER_LEN];
    let mut put = |at: usize, field: &[u8]| footer[at..at + field.len()].copy_from_slice(field);
    let blocks = u32::try_from(places.len()).map_err(|_| head.wrong("too many blocks"))?;
    put(0, &FOOTER_MAGIC);
    put(8, &(index_at as u64).to_le_bytes());
    put(16, &blocks.to_le_bytes());
    put(20, &crc32c::crc32c_append(seed, &index).to_le_bytes());
    put(24, &(entries.len() as u64).to_le_bytes());
    put(32, &((out.len() + FOOTER_LEN) as u64).to_le_bytes());
    put(40, blake3::hash(&out).as_bytes());
    put(72, &seed.to_le_bytes());
    let crc = crc32c::crc32c(&footer[..76]);
    footer[76..].copy_from_slice(&crc.to_le_bytes());
    out.extend(footer);
    Ok(out)
}

fn place(out: &[u8], (first, at): (Lsn, usize)) -> [u8; PLACE_LEN] {
    let block = &out[at..];
    let mut bytes = [0; PLACE_LEN];
    bytes[..8].copy_from_slice(&first.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&(at as u64).to_le_bytes());
    let len = u32::try_from(block.len()).expect("a block is one entry longer than wanted at most");
    bytes[16..20].copy_from_slice(&len.to_le_bytes());
    bytes[20..].copy_from_slice(&crc32c::crc32c(block).to_le_bytes());
    bytes
}

/// The end of an object: where its index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    head: ObjectHead,
    /// The index, in bytes of the object.
    pub index: Range<u64>,
    /// Entries in the object.
    pub entries: u64,
    /// BLAKE3 of all before the footer.
    pub digest: [u8; 32],
    index_crc: u32,
    seed: u32,
}

impl Footer {
    /// Reads the last [`FOOTER_LEN`] bytes of an object of `len` bytes that must be the one `head` names.
    ///
    /// # Errors
    /// When it is not, or is damaged.
    pub fn read(head: &ObjectHead, len: u64, bytes: &[u8]) -> Result<Self, ObjectError> {
        let wrong = |problem: &str| Err(head.wrong(problem));
        let Ok(bytes) = <&[u8; FOOTER_LEN]>::try_from(bytes) else {
            return wrong("its footer is cut short");
        };
        if bytes[..8] != FOOTER_MAGIC || crc32c::crc32c(&bytes[..76]) != u32_at(bytes, 76) {
            return wrong("its footer is damaged");
        }
        let seed = u32_at(bytes, 72);
        if seed != u32_at(&head.encode(), 60) {
            return wrong("it is another object");
        }
        let (at, blocks) = (u64_at(bytes, 8), u64::from(u32_at(bytes, 16)));
        let end = blocks
            .checked_mul(PLACE_LEN as u64)
            .and_then(|index| at.checked_add(index));
        let end_of_index = end.filter(|end| end.checked_add(FOOTER_LEN as u64) == Some(len));
        let entries = u64_at(bytes, 24);
        let counted = head.last.0.checked_sub(head.first.0);
        let counted = counted.and_then(|n| n.checked_add(1));
        match end_of_index {
            Some(end) if u64_at(bytes, 32) == len && counted == Some(entries) => Ok(Self {
                head: *head,
                index: at..end,
                entries,
                digest: array_at(bytes, 40),
                index_crc: u32_at(bytes, 20),
                seed,
            }),
            _ => wrong("its footer contradicts its length"),
        }
    }

    /// Reads the bytes that [`Self::index`] names.
    ///
    /// # Errors
    /// When they are damaged.
    pub fn index(&self, bytes: &[u8]) -> Result<ObjectIndex, ObjectError> {
        let wrong = |problem: &str| Err(self.head.wrong(problem));
        let len = self.index.end - self.index.start;
        if bytes.len() as u64 != len || crc32c::crc32c_append(self.seed, bytes) != self.index_crc {
            return wrong("its index is damaged");
        }
        let mut blocks = Vec::new();
        let (mut next_at, mut next_first) = (HEAD_LEN as u64, self.head.first);
        for place in bytes.chunks_exact(PLACE_LEN) {
            let (first, at) = (Lsn(u64_at(place, 0)), u64_at(place, 8));
            let range = at..at.saturating_add(u64::from(u32_at(place, 16)));
            let follows = at == next_at && range.end <= self.index.start;
            if !follows || first < next_first || (blocks.is_empty() && first != next_first) {
                return wrong("its index contradicts itself");
            }
            (next_at, next_first) = (range.end, first.next());
            blocks.push(BlockPlace {
                first,
                range,
                crc: u32_at(place, 20),
            });
        }
        if next_at != self.index.start || next_first.0 > self.head.last.0.saturating_add(1) {
            return wrong("its index contradicts itself");
        }
        Ok(ObjectIndex {
            head: self.head,
            seed: self.seed,
            blocks,
        })
    }
}

/// Where the entries of an object are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectIndex {
    head: ObjectHead,
    seed: u32,
    /// The blocks, in order.
    pub blocks: Vec<BlockPlace>,
}

/// A part of an object that is fetched and verified by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its first entry.
    pub first: Lsn,
    /// Its bytes in the object.
    pub range: Range<u64>,
    crc: u32,
}

impl ObjectIndex {
    /// The number of the block that holds `lsn`.
    #[must_use]
    pub fn find(&self, lsn: Lsn) -> Option<usize> {
        if !(self.head.first..=self.head.last).contains(&lsn) {
            return None;
        }
        self.blocks
            .partition_point(|b| b.first <= lsn)
            .checked_sub(1)
    }

    /// The entries of block `number`, whose bytes these are.
    ///
    /// # Errors
    /// When they are damaged.
    ///
    /// # Panics
    /// Without a block of that number.
    pub fn entries(&self, number: usize, bytes: &Bytes) -> Result<Vec<Entry>, ObjectError> {
        let place = &self.blocks[number];
        let wrong = |problem: &str| Err(self.head.wrong(problem));
        let len = place.range.end - place.range.start;
        if bytes.len() as u64 != len || crc32c::crc32c(bytes) != place.crc {
            return wrong("a block is damaged");
        }
        let after = self.blocks.get(number + 1);
        let end = after.map_or(self.head.last.next(), |b| b.first);
        let mut left = bytes.clone();
        let mut next = place.first;
        let mut entries = Vec::new();
        while !left.is_empty() {
            let record = match codec::take(&left, self.seed) {
                Ok((Found::Record(Stored::Node(record)), len)) => {
                    drop(left.split_to(len));
                    record
                }
                Ok(_) => return wrong("a block holds what is no intact entry"),
                Err(problem) => return wrong(problem),
            };
            let NodeRecord::Append {
                log,
                segment,
                entry,
                ..
            } = record
            else {
                return wrong("a block holds what is no entry");
            };
            if (log, segment) != (self.head.log, self.head.segment) || entry.lsn != next {
                return wrong("a block holds an entry that belongs elsewhere");
            }
            next = next.next();
            entries.push(entry);
        }
        match next == end {
            true => Ok(entries),
            false => wrong("a block does not reach the next one"),
        }
    }
}

/// All entries of an object, every byte of it verified.
///
/// # Errors
/// When any is not what was written.
pub fn decode(head: &ObjectHead, bytes: &Bytes) -> Result<Vec<Entry>, ObjectError> {
    let body = bytes
        .len()
        .checked_sub(FOOTER_LEN)
        .filter(|n| *n >= HEAD_LEN);
    let Some(body) = body else {
        return Err(head.wrong("cut short"));
    };
    let footer = Footer::read(head, bytes.len() as u64, &bytes[body..])?;
    if bytes[..HEAD_LEN] != head.encode()
        || footer.digest != *blake3::hash(&bytes[..body]).as_bytes()
    {
        return Err(head.wrong("its digest does not match"));
    }
    let part = |range: &Range<u64>| -> Bytes {
        let at = |n: u64| usize::try_from(n).expect("within bytes in memory");
        bytes.slice(at(range.start)..at(range.end))
    };
    let index = footer.index(&part(&footer.index))?;
    let mut entries = Vec::new();
    for (number, place) in index.blocks.iter().enumerate() {
        entries.extend(index.entries(number, &part(&place.range))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use holdfast_types::Timestamp;

    use super::*;

    const HEAD: ObjectHead = ObjectHead {
        log: ChannelId(1),
        segment: LogSegment(2),
        epoch: Epoch(3),
        first: Lsn(10),
        last: Lsn(29),
    };

    fn sample() -> Vec<Entry> {
        let entry = |lsn: u64| {
            let payload = Bytes::from(vec![lsn as u8; lsn as usize]);
            Entry::new(HEAD.log, Lsn(lsn), Timestamp(100 + lsn), None, payload)
        };
        (10..30).map(entry).collect()
    }

    #[test]
    fn a_range_is_fetched_without_the_rest() {
        let object = encode(&HEAD, &sample(), 300).unwrap();
        let object = Bytes::from(object);
        assert_eq!(decode(&HEAD, &object), Ok(sample()));
        let len = object.len() as u64;
        let footer = Footer::read(&HEAD, len, &object[object.len() - FOOTER_LEN..]).unwrap();
        let slice = |r: &Range<u64>| object.slice(r.start as usize..r.end as usize);
        let index = footer.index(&slice(&footer.index)).unwrap();
        assert!(index.blocks.len() > 3);
        for entry in sample() {
            let block = index.find(entry.lsn).unwrap();
            let some = index
                .entries(block, &slice(&index.blocks[block].range))
                .unwrap();
            assert!(some.contains(&entry));
        }
        assert_eq!((index.find(Lsn(9)), index.find(Lsn(30))), (None, None));
    }

    #[test]
    fn only_exactly_what_the_head_names_is_published() {
        for wrong in [&sample()[1..], &sample()[..19], &[]] {
            assert!(encode(&HEAD, wrong, 300).is_err());
        }
        let mut damaged = sample();
        damaged[3].payload = Bytes::from_static(b"?");
        assert!(encode(&HEAD, &damaged, 300).is_err());
    }

    #[test]
    fn any_byte_that_changes_and_any_cut_is_refused() {
        let object = encode(&HEAD, &sample(), 300).unwrap();
        for at in 0..object.len() {
            for xor in [1, 0x80] {
                let mut changed = object.clone();
                changed[at] ^= xor;
                assert!(decode(&HEAD, &changed.into()).is_err(), "byte {at}");
            }
            assert!(decode(&HEAD, &object[..at].to_vec().into()).is_err());
        }
        let other = ObjectHead {
            epoch: Epoch(4),
            ..HEAD
        };
        assert!(decode(&other, &object.into()).is_err());
    }

    #[test]
    fn version_1_is_written_and_read_as_ever() {
        let golden = include_str!("tests/golden/object_1.txt");
        let digits: Vec<u8> = golden.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect();
        assert_eq!(decode(&HEAD, &bytes.clone().into()), Ok(sample()));
        assert_eq!(encode(&HEAD, &sample(), 300).unwrap(), bytes);
    }
}
