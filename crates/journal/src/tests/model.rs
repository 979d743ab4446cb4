//! What a journal must hold, kept in plain maps; random records that follow from it; and the comparison.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use holdfast_disk::SimDisk;
use holdfast_qlog::{
    Copies, CopyHolder, Entry, NodeImage, NodeRecord, RequestId, SegmentOpen, StorageId, Zone,
    messages::ClusterId,
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};
use rand::{Rng, rngs::StdRng};

use crate::{Journal, JournalError, JournalReader, Options, Owner, ReadError, Recovered};

pub(super) const DIR: &str = "/journal";

pub(super) fn options() -> Options {
    Options {
        file_bytes: 64 << 10,
        batch_bytes_max: 12 << 10,
        // The room of a simulated disk changes; the file set aside is reserve enough.
        reserve_percent: 0,
        ..Options::default()
    }
}

pub(super) fn owner() -> Owner {
    Owner {
        cluster: ClusterId([7; 16]),
        storage: None,
        fresh: (StorageId([1; 16]), [2; 16]),
    }
}

pub(super) fn open(disk: &SimDisk) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(Arc::new(disk.clone()), Path::new(DIR), &owner(), &options())
}

pub(super) fn opened(disk: &SimDisk) -> (Journal, Recovered) {
    open(disk).unwrap_or_else(|e| panic!("{e}"))
}

pub(super) fn copies() -> Copies {
    let holder = |n: u8| CopyHolder {
        node: format!("node-{n}").into(),
        storage: StorageId([n; 16]),
        zone: Zone(format!("zone-{n}").into()),
    };
    Copies {
        holders: (1..=3).map(holder).collect(),
        quorum: 2,
        zones: 2,
    }
}

pub(super) fn open_segment(log: u32, segment: u64, epoch: u64, first: u64) -> NodeRecord {
    NodeRecord::SegmentOpen {
        log: ChannelId(log),
        segment: LogSegment(segment),
        open: SegmentOpen {
            epoch: Epoch(epoch),
            first: Lsn(first),
            copies: copies(),
        },
    }
}

pub(super) fn append(log: u32, segment: u64, lsn: u64, payload: &[u8]) -> NodeRecord {
    let log = ChannelId(log);
    let request = lsn.is_multiple_of(2).then_some(RequestId {
        client: 5,
        sequence: lsn,
    });
    NodeRecord::Append {
        log,
        segment: LogSegment(segment),
        epoch: Epoch(1),
        committed: Lsn(lsn - 1),
        entry: Entry::new(
            log,
            Lsn(lsn),
            Timestamp(1000 + lsn),
            request,
            Bytes::copy_from_slice(payload),
        ),
    }
}

/// What was acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) image: NodeImage,
    pub(super) entries: BTreeMap<(ChannelId, LogSegment, Lsn), Entry>,
    made: u64,
}

impl Model {
    pub(super) fn apply(&mut self, record: &NodeRecord) {
        self.image.apply(record).expect("it follows");
        match record {
            NodeRecord::Append {
                log,
                segment,
                entry,
                ..
            } => {
                self.entries
                    .insert((*log, *segment, entry.lsn), entry.clone());
            }
            NodeRecord::Finish {
                log, segment, end, ..
            } => self
                .entries
                .retain(|(l, s, lsn), _| (l, s) != (log, segment) || lsn <= end),
            NodeRecord::Trim { log, segment } => {
                self.entries.retain(|(l, s, _), _| l != log || s > segment);
            }
            NodeRecord::Promise { .. } | NodeRecord::SegmentOpen { .. } => {}
        }
    }

    /// A few records that follow from what there is.
    pub(super) fn random(&mut self, rng: &mut StdRng) -> Vec<NodeRecord> {
        let mut next = self.clone();
        let mut records = Vec::new();
        for _ in 0..rng.random_range(1..=3) {
            let record = next.random_one(rng);
            next.apply(&record);
            records.push(record);
        }
        self.made = next.made;
        records
    }

    fn random_one(&mut self, rng: &mut StdRng) -> NodeRecord {
        let log = ChannelId(rng.random_range(1..=3));
        let image = self.image.logs.entry(log).or_default();
        let writable = image.segments.iter().filter(|(_, s)| s.end.is_none());
        let newest = writable
            .map(|(segment, held)| (*segment, held.clone()))
            .next_back();
        let oldest = image.segments.keys().next().copied();
        match (rng.random_range(0..100), newest) {
            (0..70, Some((segment, held))) => {
                let len = match rng.random_range(0..20) {
                    0 => rng.random_range(8_000..20_000),
                    1..6 => rng.random_range(0..5_000),
                    _ => rng.random_range(0..300),
                };
                // Each unlike every other, or a mix-up would go unseen.
                self.made += 1;
                let mut payload = vec![(self.made % 251) as u8; len];
                payload.extend_from_slice(&self.made.to_le_bytes());
                append(log.0, segment.0, held.certain.0 + 1, &payload)
            }
            (0..78, None) => {
                let last = image.segments.keys().next_back().copied();
                let segment = last.unwrap_or_default().max(image.trimmed).next();
                let first = image.segments.values().next_back();
                let first = first.map_or(1, |held| held.certain.0 + 1);
                let epoch = image.promise.0.max(1);
                open_segment(log.0, segment.0, epoch, first)
            }
            (70..78, Some((segment, held))) => {
                let back = rng.random_range(0..=2);
                let end = Lsn(held.certain.0.saturating_sub(back)).max(Lsn(held.first.0 - 1));
                NodeRecord::Finish { log, segment, end }
            }
            (78..88, _) if oldest.is_some() => {
                let segment = oldest.expect("asked");
                NodeRecord::Trim { log, segment }
            }
            _ => NodeRecord::Promise {
                log,
                epoch: Epoch(image.promise.0 + rng.random_range(0..3)),
            },
        }
    }
}

/// Logs that were never really touched do not count.
pub(super) fn used(image: &NodeImage) -> NodeImage {
    let mut image = image.clone();
    image
        .logs
        .retain(|_, log| *log != holdfast_qlog::LogImage::default());
    image
}

/// Reads a whole segment in steps, until its end or damage.
pub(super) fn read_all(
    reader: &JournalReader,
    log: ChannelId,
    segment: LogSegment,
    first: Lsn,
    step: usize,
) -> (Vec<Entry>, Option<ReadError>) {
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = first;
    loop {
        match reader.read(log, segment, next, step) {
            Ok(some) if some.is_empty() => return (entries, None),
            Ok(some) => {
                for entry in some {
                    assert_eq!(entry.lsn, next, "entries follow each other");
                    next = next.next();
                    entries.push(entry);
                }
            }
            Err(e) => return (entries, Some(e)),
        }
    }
}

/// Whether the journal holds exactly what the model says.
pub(super) fn check(journal: &Journal, model: &Model, context: &str) {
    assert_eq!(used(&journal.image()), used(&model.image), "{context}");
    let reader = journal.reader();
    for (log, image) in &model.image.logs {
        for (segment, held) in &image.segments {
            let (entries, error) = read_all(&reader, *log, *segment, held.first, 9_000);
            assert!(error.is_none(), "{context}: {error:?}");
            let expected = model
                .entries
                .range((*log, *segment, Lsn(0))..=(*log, *segment, Lsn(u64::MAX)));
            let expected: Vec<&Entry> = expected.map(|(_, entry)| entry).collect();
            assert_eq!(entries.iter().collect::<Vec<_>>(), expected, "{context}");
        }
    }
}
