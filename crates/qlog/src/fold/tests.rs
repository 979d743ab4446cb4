//! The list's bytes, when it grows and shrinks, and a reader that is led through it.

use std::{sync::Arc, time::Duration};

use holdfast_types::{Epoch, Timestamp};

use super::*;
use crate::{
    copies::{Copies, CopyHolder, StorageId, Zone},
    entry::Entry,
    messages::{ClusterId, Owner},
    meta::{LogHead, Phase, SegmentState, fold, trim},
    reader::{Reader, ReaderAction, ReaderEvent, ReaderOptions},
};

const LOG: ChannelId = ChannelId(3);

fn manifest(key: &str) -> ManifestRef {
    ManifestRef {
        key: key.into(),
        bytes: 9,
        checksum: 7,
    }
}

/// Segment `n` of three entries; each fifth is empty and was never stored.
fn descriptor(n: u64, first: Lsn) -> SegmentDescriptor {
    let holder = |n: u8| CopyHolder {
        node: format!("n{n}").into(),
        storage: StorageId([n; 16]),
        zone: Zone(format!("z{n}").into()),
    };
    let state = match n.is_multiple_of(5) {
        true => SegmentState::Sealed {
            end: Lsn(first.0 - 1),
        },
        false => SegmentState::Tiered {
            end: Lsn(first.0 + 2),
            manifest: manifest(&format!("segment-{n}")),
        },
    };
    SegmentDescriptor {
        epoch: Epoch(1),
        first,
        tick_floor: Timestamp(0),
        state,
        copies: Copies {
            holders: (0..3).map(holder).collect(),
            quorum: 2,
            zones: 2,
        },
    }
}

/// A log of `count` segments that ended, and one that goes on.
fn view(count: u64) -> LogView {
    let mut view = LogView::default();
    let mut first = Lsn(1);
    for n in 1..=count {
        let descriptor = descriptor(n, first);
        first = descriptor.end().unwrap().next();
        view.segments.insert(LogSegment(n), descriptor);
    }
    let open = SegmentDescriptor {
        state: SegmentState::Open,
        ..descriptor(1, first)
    };
    view.segments.insert(LogSegment(count + 1), open);
    view.head = Some(LogHead {
        epoch: Epoch(1),
        owner: Owner {
            node: "p".into(),
            incarnation: 1,
        },
        phase: Phase::Open,
        segment: LogSegment(count + 1),
    });
    view
}

/// What the metadata says after the transaction.
fn after(view: &LogView, txn: &MetaTxn) -> LogView {
    let mut records: BTreeMap<String, Bytes> = BTreeMap::new();
    for (segment, descriptor) in &view.segments {
        let key = segment_key(LOG, *segment);
        records.insert(key.clone(), descriptor.encode(&key));
    }
    if let Some(folded) = &view.folded {
        let key = folded_key(LOG);
        records.insert(key.clone(), folded.encode(&key));
    }
    for (key, expected) in &txn.compares {
        assert_eq!(records.get(key), expected.as_ref(), "{key}");
    }
    txn.deletes.iter().for_each(|key| {
        records.remove(key);
    });
    records.extend(txn.puts.iter().cloned());
    let records = records.iter().map(|(key, value)| (key.as_str(), value));
    LogView {
        head: view.head.clone(),
        ..LogView::read(LOG, records).unwrap()
    }
}

/// A view of which all that may be is folded, the list, and how often it was written.
fn folded(count: u64) -> (LogView, SegmentList, u32) {
    let (mut now, mut list, mut writes) = (view(count), SegmentList::default(), 0);
    while let Some(longer) = extend(&now, &list) {
        writes += 1;
        let record = longer.folded(manifest(&format!("list-{writes}"))).unwrap();
        now = after(&now, &fold(LOG, &now, &record).unwrap());
        list = longer;
    }
    (now, list, writes)
}

#[test]
fn a_list_comes_back_and_damage_is_noticed() {
    let (_, list, _) = folded(100);
    let bytes = list.encode(LOG, "key");
    assert_eq!(SegmentList::decode(LOG, "key", &bytes), Ok(list.clone()));
    assert!(SegmentList::decode(ChannelId(4), "key", &bytes).is_err());
    assert!(SegmentList::decode(LOG, "kez", &bytes).is_err());
    for at in 0..bytes.len() {
        assert!(SegmentList::decode(LOG, "key", &bytes[..at]).is_err());
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        assert!(SegmentList::decode(LOG, "key", &bad).is_err(), "{at}");
    }
    let mut gap = list.clone();
    gap.segments.remove(&LogSegment(2));
    assert!(SegmentList::decode(LOG, "key", &gap.encode(LOG, "key")).is_err());
    let mut open = list;
    open.segments.insert(
        LogSegment(101),
        view(100).segments[&LogSegment(101)].clone(),
    );
    assert!(SegmentList::decode(LOG, "key", &open.encode(LOG, "key")).is_err());
}

#[test]
fn version_1_is_written_as_ever() {
    let (_, list, _) = folded(100);
    let bytes = list.encode(LOG, "key");
    assert_eq!((bytes.len(), crc32c::crc32c(&bytes)), (7595, 1928150910));
    let empty = SegmentList::default().encode(LOG, "key");
    assert_eq!(empty[..9], [1, 3, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn keys_are_bounded_and_nothing_is_forgotten() {
    let (now, list, writes) = folded(1_000);
    assert!(
        now.segments.len() <= UNFOLDED_SEGMENTS_MAX + 1,
        "{}",
        now.segments.len()
    );
    assert!(writes < 1_000 / 15, "{writes} lists were written");
    let mut all = list.segments;
    all.extend(now.segments);
    assert_eq!(all, view(1_000).segments);
    // What is not stored stays.
    let mut unstored = view(100);
    let third = unstored.segments.get_mut(&LogSegment(3)).unwrap();
    third.state = SegmentState::Sealed {
        end: third.end().unwrap(),
    };
    assert_eq!(extend(&unstored, &SegmentList::default()), None);
    // A list that is not the log's is not extended.
    let (now, _, _) = folded(100);
    assert!(!is_due(&now));
    let mut more = view(200);
    more.folded.clone_from(&now.folded);
    assert_eq!(extend(&more, &SegmentList::default()), None);
}

#[test]
fn a_trimmed_list_is_shortened_and_at_last_let_go() {
    let (now, list, _) = folded(1_000);
    let old = now.folded.clone().unwrap();
    let shorter = shorten(&list, LogSegment(500)).unwrap();
    assert_eq!(
        shorter.segments.first_key_value().unwrap().0,
        &LogSegment(501)
    );
    let new = shorter.folded(manifest("shorter")).unwrap();
    let next = after(&now, &replace(LOG, &old, &new).unwrap());
    assert_eq!(next.folded, Some(new));
    assert_eq!(shorten(&shorter, LogSegment(500)), None);
    assert_eq!(shorten(&shorter, old.through), None);
    let gone = after(&next, &trim(LOG, &next, old.through).unwrap());
    assert_eq!(gone.folded, None);
    let other = Folded {
        end: Lsn(1),
        ..old.clone()
    };
    assert_eq!(replace(LOG, &old, &other), None);
}

fn entry(lsn: Lsn) -> Entry {
    Entry::new(LOG, lsn, Timestamp(lsn.0), None, Bytes::from_static(b"x"))
}

#[test]
fn a_reader_is_led_through_the_list() {
    let (now, list, _) = folded(200);
    let options = ReaderOptions {
        cluster: ClusterId([1; 16]),
        log: LOG,
        owner: Owner {
            node: Arc::from("r"),
            incarnation: 1,
        },
        zone: None,
        bytes_max: 1_000,
        resend_after: Duration::from_secs(1),
        poll_every: Duration::from_secs(1),
    };
    let mut reader = Reader::new(options.clone(), Lsn(1));
    let mut event = ReaderEvent::Tick;
    let (mut delivered, mut lists) = (0, 0);
    let last = view(200).segments[&LogSegment(200)].end().unwrap();
    'reading: loop {
        let actions = reader.step(
            std::mem::replace(&mut event, ReaderEvent::Tick),
            Duration::ZERO,
        );
        for action in actions {
            match action {
                ReaderAction::ReadView => event = ReaderEvent::View(now.clone()),
                ReaderAction::ReadList(manifest) => {
                    lists += 1;
                    event = ReaderEvent::Listed(manifest, list.clone());
                }
                ReaderAction::ReadStored { from, through, .. } => {
                    let entries = (from.0..=through.0).map(|lsn| entry(Lsn(lsn)));
                    event = ReaderEvent::Stored(entries.collect());
                }
                ReaderAction::Deliver { entries, .. } => delivered += entries.len() as u64,
                // The segment that goes on.
                ReaderAction::Send { .. } => break 'reading,
                ReaderAction::Trimmed { .. } => panic!("nothing was trimmed"),
            }
        }
    }
    assert_eq!((delivered, lists), (last.0, 1));
    // What was trimmed off the list's beginning is gone.
    let shorter = shorten(&list, LogSegment(7)).unwrap();
    let mut reader = Reader::new(options, Lsn(1));
    reader.step(ReaderEvent::Tick, Duration::ZERO);
    let actions = reader.step(ReaderEvent::View(now.clone()), Duration::ZERO);
    let manifest = now.folded.unwrap().manifest;
    assert_eq!(actions, [ReaderAction::ReadList(manifest.clone())]);
    let first = shorter.segments[&LogSegment(8)].first;
    let actions = reader.step(ReaderEvent::Listed(manifest, shorter), Duration::ZERO);
    assert_eq!(actions, [ReaderAction::Trimmed { first: Some(first) }]);
}
