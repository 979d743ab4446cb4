//! Which objects hold a segment: the value that the metadata names once a segment is in object storage.
//! `docs/formats/log-objects.md` describes it.

use bytes::Bytes;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};

use crate::{
    format::{array_at, u32_at, u64_at},
    object::{ObjectError, ObjectHead},
};

const MAGIC: [u8; 8] = *b"HOLDFQLM";
const VERSION: u32 = 1;
const HEAD_LEN: usize = 52;
const PART_LEN: usize = 56;

/// One object of a segment. Its name is that of the manifest with the part's number in place of `manifest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first entry.
    pub first: Lsn,
    /// Its last.
    pub last: Lsn,
    /// Its length.
    pub bytes: u64,
    /// Its footer's digest: of all bytes before the footer.
    pub digest: [u8; 32],
}

/// All objects of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    segment: ObjectHead,
    parts: Vec<Part>,
}

impl Manifest {
    /// Of the segment that `segment` names from its first entry to its last.
    ///
    /// # Errors
    /// When the parts are not exactly its entries: a copy that has not everything cannot be published.
    pub fn new(segment: ObjectHead, parts: Vec<Part>) -> Result<Self, ObjectError> {
        let mut next = segment.first;
        for part in &parts {
            if part.first != next || part.last < part.first || part.last > segment.last {
                return Err(wrong(&segment, format!("a part does not begin at {next}")));
            }
            next = part.last.next();
        }
        if parts.is_empty() || next != segment.last.next() {
            return Err(wrong(&segment, format!("its parts end before {next}")));
        }
        Ok(Self { segment, parts })
    }

    /// The segment, from its first entry to its last.
    #[must_use]
    pub fn segment(&self) -> &ObjectHead {
        &self.segment
    }

    /// Its objects, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes of all objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The number of the object that holds `lsn`, and what that object's head says.
    #[must_use]
    pub fn find(&self, lsn: Lsn) -> Option<(usize, ObjectHead)> {
        let holds = |part: &Part| (part.first..=part.last).contains(&lsn);
        let number = self.parts.iter().position(holds)?;
        let Part { first, last, .. } = self.parts[number];
        let head = ObjectHead {
            first,
            last,
            ..self.segment
        };
        Some((number, head))
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let ObjectHead {
            log,
            segment,
            epoch,
            first,
            last,
        } = self.segment;
        let count = u32::try_from(self.parts.len()).expect("a part has an entry at least");
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(log.0.to_le_bytes());
        for number in [segment.0, epoch.0, first.0, last.0] {
            out.extend(number.to_le_bytes());
        }
        out.extend(count.to_le_bytes());
        for part in &self.parts {
            for number in [part.first.0, part.last.0, part.bytes] {
                out.extend(number.to_le_bytes());
            }
            out.extend(part.digest);
        }
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// Reads the bytes of a manifest, which must be all of them.
    ///
    /// # Errors
    /// A sentence: they are damaged, or of another version.
    pub fn decode(bytes: &Bytes) -> Result<Self, String> {
        let Some(body) = bytes.len().checked_sub(4).filter(|len| *len >= HEAD_LEN) else {
            return Err("cut short".to_owned());
        };
        if bytes[..8] != MAGIC {
            return Err("not a manifest".to_owned());
        }
        if crc32c::crc32c(&bytes[..body]) != u32_at(bytes, body) {
            return Err("does not match its checksum".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!("version {version} is not known"));
        }
        let segment = ObjectHead {
            log: ChannelId(u32_at(bytes, 12)),
            segment: LogSegment(u64_at(bytes, 16)),
            epoch: Epoch(u64_at(bytes, 24)),
            first: Lsn(u64_at(bytes, 32)),
            last: Lsn(u64_at(bytes, 40)),
        };
        let rows = &bytes[HEAD_LEN..body];
        let count = u64::from(u32_at(bytes, 48));
        if rows.len() as u64 != count * PART_LEN as u64 {
            return Err("contradicts its length".to_owned());
        }
        let part = |row: &[u8]| Part {
            first: Lsn(u64_at(row, 0)),
            last: Lsn(u64_at(row, 8)),
            bytes: u64_at(row, 16),
            digest: array_at(row, 24),
        };
        let parts = rows.chunks_exact(PART_LEN).map(part).collect();
        Self::new(segment, parts).map_err(|e| e.problem)
    }
}

fn wrong(segment: &ObjectHead, problem: String) -> ObjectError {
    ObjectError {
        log: segment.log,
        segment: segment.segment,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (ObjectHead, Vec<Part>) {
        let segment = ObjectHead {
            log: ChannelId(1),
            segment: LogSegment(2),
            epoch: Epoch(3),
            first: Lsn(10),
            last: Lsn(29),
        };
        let part = |first, last| Part {
            first: Lsn(first),
            last: Lsn(last),
            bytes: 1000 + first,
            digest: [first as u8; 32],
        };
        (segment, vec![part(10, 10), part(11, 25), part(26, 29)])
    }

    #[test]
    fn only_exactly_a_whole_segment_has_a_manifest() {
        let (segment, parts) = sample();
        let without = |n: usize| {
            let mut parts = parts.clone();
            parts.remove(n);
            parts
        };
        for some in [without(0), without(1), without(2), Vec::new()] {
            assert!(Manifest::new(segment, some).is_err());
        }
        let shorter = ObjectHead {
            last: Lsn(28),
            ..segment
        };
        assert!(Manifest::new(shorter, parts.clone()).is_err());
        let manifest = Manifest::new(segment, parts).unwrap();
        assert_eq!(
            manifest.find(Lsn(25)).map(|(n, head)| (n, head.first)),
            Some((1, Lsn(11)))
        );
        assert_eq!(manifest.find(Lsn(30)), None);
        assert_eq!(manifest.bytes(), 3047);
    }

    #[test]
    fn any_byte_that_changes_and_any_cut_is_refused() {
        let (segment, parts) = sample();
        let manifest = Manifest::new(segment, parts).unwrap();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes.clone().into()), Ok(manifest));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Manifest::decode(&changed.into()).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at].to_vec().into()).is_err());
        }
    }

    #[test]
    fn version_1_is_written_and_read_as_ever() {
        let (segment, parts) = sample();
        let bytes = Manifest::new(segment, parts).unwrap().encode();
        assert_eq!(bytes.len(), 52 + 3 * 56 + 4);
        let digest = blake3::hash(&bytes).to_hex();
        assert_eq!(&digest.as_str()[..16], "245cc35347d6b36e");
    }
}
