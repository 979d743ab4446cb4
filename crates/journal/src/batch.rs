//! Records laid out in batches, and the bytes of those.

use std::{collections::BTreeMap, ops};

use holdfast_qlog::{Entry, LogImage, NodeRecord};
use holdfast_types::{ChannelId, Epoch, Lsn};

use crate::{
    codec,
    format::{BATCH_HEADER_LEN, BLOCK, BatchHeader, Kind, Link, record_seed, span},
    index::{Key, Range},
};

/// Something to be written as a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writing<'a> {
    Node(&'a NodeRecord),
    Moved {
        key: Key,
        terms: (Epoch, Lsn),
        entry: &'a Entry,
    },
    Image {
        log: ChannelId,
        image: &'a LogImage,
    },
}

impl Writing<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Node(record) => codec::len(record),
            Self::Moved { entry, .. } => codec::ENTRY_LEN + entry.payload.len(),
            Self::Image { image, .. } => codec::image_len(image),
        }
    }

    fn put(&self, out: &mut Vec<u8>, seed: u32) {
        match self {
            Self::Node(record) => codec::put_node(out, seed, record),
            Self::Moved { key, terms, entry } => codec::put_moved(out, seed, *key, *terms, entry),
            Self::Image { log, image } => codec::put_image(out, seed, *log, image),
        }
    }

    fn is_control(&self) -> bool {
        match self {
            Self::Node(record) => !matches!(record, NodeRecord::Append { .. }),
            Self::Moved { .. } | Self::Image { .. } => false,
        }
    }

    fn entry(&self) -> Option<(Key, Lsn)> {
        match self {
            Self::Node(NodeRecord::Append {
                log,
                segment,
                entry,
                ..
            }) => Some(((*log, *segment), entry.lsn)),
            Self::Moved { key, entry, .. } => Some((*key, entry.lsn)),
            Self::Node(_) | Self::Image { .. } => None,
        }
    }
}

/// Which records go into which batch.
#[derive(Debug)]
pub(crate) struct Layout {
    batches: Vec<Planned>,
    /// Bytes of all of them in a file.
    pub(crate) span: u64,
}

#[derive(Debug)]
struct Planned {
    records: ops::Range<usize>,
    len: usize,
    control: Vec<usize>,
    control_len: usize,
}

impl Layout {
    /// Batches of about `batch_bytes_max`; at least one, of at least one record if there is any.
    pub(crate) fn of(records: &[Writing<'_>], batch_bytes_max: usize) -> Self {
        let mut batches = Vec::new();
        let mut open = Planned {
            records: 0..0,
            len: 0,
            control: Vec::new(),
            control_len: 0,
        };
        for (at, record) in records.iter().enumerate() {
            let len = record.len();
            if !open.records.is_empty() && open.len + len > batch_bytes_max {
                let next = Planned {
                    records: at..at,
                    len: 0,
                    control: Vec::new(),
                    control_len: 0,
                };
                batches.push(std::mem::replace(&mut open, next));
            }
            open.records.end = at + 1;
            open.len += len;
            if record.is_control() {
                open.control.push(at);
                open.control_len += len;
            }
        }
        batches.push(open);
        let bytes = |planned: &Planned| match planned.control.is_empty() {
            true => span(planned.len),
            false => span(planned.len) + span(planned.control_len),
        };
        let span = batches.iter().map(bytes).sum();
        Self { batches, span }
    }

    /// How many batches there are, those among them that repeat control records not counted.
    pub(crate) fn count(&self) -> u64 {
        self.batches.len() as u64
    }
}

/// Where the next batch goes, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) seq: u64,
    pub(crate) link: Link,
}

/// Where and when batches are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) file: u64,
    pub(crate) seed: u32,
    pub(crate) generation: u64,
    /// All batches up to this one are durable.
    pub(crate) durable: u64,
}

/// Appends the bytes of batches to `out` and says where the next one goes. `ranges` gets where the entries lie.
pub(crate) fn put(
    out: &mut Vec<u8>,
    records: &[Writing<'_>],
    layout: &Layout,
    kind: Kind,
    terms: &Terms,
    mut place: Place,
    ranges: &mut Vec<(Key, Range)>,
) -> Place {
    for planned in &layout.batches {
        let in_order = &records[planned.records.clone()];
        collect(in_order, place.at, terms.file, ranges);
        let control = !planned.control.is_empty();
        place = put_one(out, in_order.iter(), kind, control, terms, place);
        if control {
            let again = planned.control.iter().map(|&at| &records[at]);
            place = put_one(out, again, Kind::Repeat, false, terms, place);
        }
    }
    place
}

fn put_one<'a, 'b: 'a>(
    out: &mut Vec<u8>,
    records: impl Iterator<Item = &'a Writing<'b>>,
    kind: Kind,
    control: bool,
    terms: &Terms,
    place: Place,
) -> Place {
    let begin = out.len();
    out.resize(begin + BATCH_HEADER_LEN, 0);
    let seed = record_seed(terms.seed, place.seq);
    let mut count = 0;
    for record in records {
        record.put(out, seed);
        count += 1;
    }
    let payload = &out[begin + BATCH_HEADER_LEN..];
    let header = BatchHeader {
        kind,
        seq: place.seq,
        durable: terms.durable,
        generation: terms.generation,
        previous: place.link,
        payload_crc: crc32c::crc32c(payload),
        len: u32::try_from(payload.len()).expect("a batch is bounded far below 4 GiB"),
        records: count,
        control,
    };
    let bytes = header.encode(terms.seed, place.at);
    out[begin..begin + BATCH_HEADER_LEN].copy_from_slice(&bytes);
    // The last block is filled up with zeros, so that no byte of an earlier life stays in it.
    let end = begin + usize::try_from(header.span()).expect("it is in memory");
    out.resize(end, 0);
    let crc = crate::format::u32_at(&bytes, 4);
    Place {
        at: place.at + header.span(),
        seq: place.seq + 1,
        link: header.link(crc),
    }
}

/// The bytes of a mark.
pub(crate) fn mark(terms: &Terms, place: &Place) -> Vec<u8> {
    let header = BatchHeader {
        kind: Kind::Mark,
        seq: place.seq,
        durable: place.seq - 1,
        generation: terms.generation,
        previous: place.link,
        payload_crc: 0,
        len: 0,
        records: 0,
        control: false,
    };
    let mut bytes = header.encode(terms.seed, place.at).to_vec();
    bytes.resize(BLOCK as usize, 0);
    bytes
}

fn collect(records: &[Writing<'_>], at: u64, file: u64, ranges: &mut Vec<(Key, Range)>) {
    let mut builder = Ranges::new(at, file);
    for (key, lsn) in records.iter().filter_map(Writing::entry) {
        builder.add(key, lsn);
    }
    builder.finish(ranges);
}

/// Gathers where the entries of one batch lie.
#[derive(Debug)]
pub(crate) struct Ranges {
    block: u32,
    file: u64,
    open: BTreeMap<Key, Range>,
    done: Vec<(Key, Range)>,
}

impl Ranges {
    /// Of the batch at `at` of a file.
    pub(crate) fn new(at: u64, file: u64) -> Self {
        Self {
            block: u32::try_from(at / BLOCK).expect("files are bounded far below 16 TiB"),
            file,
            open: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// The next entry.
    pub(crate) fn add(&mut self, key: Key, lsn: Lsn) {
        match self.open.get_mut(&key) {
            Some(range) if range.last().next() == lsn => range.count += 1,
            _ => {
                let range = Range {
                    first: lsn,
                    count: 1,
                    block: self.block,
                    file: self.file,
                };
                self.done
                    .extend(self.open.insert(key, range).map(|r| (key, r)));
            }
        }
    }

    /// All of them.
    pub(crate) fn finish(self, ranges: &mut Vec<(Key, Range)>) {
        ranges.extend(self.done);
        ranges.extend(self.open);
    }
}
