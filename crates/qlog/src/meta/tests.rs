//! The records' bytes, and the transactions' conditions.

use super::*;
use crate::copies::CopyHolder;

const LOG: ChannelId = ChannelId(3);

fn owner(n: u64) -> Owner {
    Owner {
        node: "p".into(),
        incarnation: n,
    }
}

fn copies() -> Copies {
    let holder = |n: u8| CopyHolder {
        node: format!("n{n}").into(),
        storage: StorageId([n; 16]),
        zone: Zone(format!("z{n}").into()),
    };
    Copies {
        holders: (0..3).map(holder).collect(),
        quorum: 2,
        zones: 2,
    }
}

fn manifest() -> ManifestRef {
    ManifestRef {
        key: "wal/3/1.7".into(),
        bytes: 9,
        checksum: 7,
    }
}

fn descriptor(state: SegmentState) -> SegmentDescriptor {
    SegmentDescriptor {
        epoch: Epoch(1),
        first: Lsn(5),
        tick_floor: Timestamp(4),
        state,
        copies: copies(),
    }
}

/// Decodes what it encoded, and refuses it with any byte changed, any end cut off, or under another key.
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encode: impl Fn(&T, &str) -> Bytes,
    decode: impl Fn(&str, &[u8]) -> Result<T, BadRecord>,
) {
    let bytes = encode(value, "key");
    assert_eq!(decode("key", &bytes).as_ref(), Ok(value));
    assert!(decode("kez", &bytes).is_err());
    for at in 0..bytes.len() {
        assert!(decode("key", &bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1 << bit;
            assert!(decode("key", &bad).is_err(), "bit {bit} of {at}");
        }
    }
}

#[test]
fn records_come_back_and_damage_is_noticed() {
    let head = LogHead {
        epoch: Epoch(8),
        owner: owner(9),
        phase: Phase::Open,
        segment: LogSegment(7),
    };
    check(&head, LogHead::encode, LogHead::decode);
    for state in [
        SegmentState::Open,
        SegmentState::Sealed { end: Lsn(4) },
        SegmentState::Tiered {
            end: Lsn(9),
            manifest: manifest(),
        },
    ] {
        let encode = SegmentDescriptor::encode;
        check(&descriptor(state), encode, SegmentDescriptor::decode);
    }
    let folded = Folded {
        through: LogSegment(2),
        end: Lsn(3),
        manifest: manifest(),
    };
    check(&folded, Folded::encode, Folded::decode);
    let gone = Gone {
        storage: StorageId([1; 16]),
        forfeit: true,
        reason: "burnt".into(),
    };
    check(&gone, Gone::encode, Gone::decode);
    let node = NodeRegistration {
        node: "n".into(),
        address: "a:1".into(),
        zone: Zone("z".into()),
        storage: StorageId([1; 16]),
        generation: 5,
        state: NodeState::Drain,
        free_bytes: 1,
        total_bytes: 2,
    };
    check(&node, NodeRegistration::encode, NodeRegistration::decode);
}

#[test]
fn a_descriptor_that_makes_no_sense_is_refused() {
    let mut nonsense = descriptor(SegmentState::Sealed { end: Lsn(3) });
    assert!(SegmentDescriptor::decode("k", &nonsense.encode("k")).is_err());
    nonsense = descriptor(SegmentState::Open);
    nonsense.copies.quorum = 4;
    assert!(SegmentDescriptor::decode("k", &nonsense.encode("k")).is_err());
}

fn view(state: SegmentState) -> LogView {
    let head = LogHead {
        epoch: Epoch(1),
        owner: owner(1),
        phase: Phase::Open,
        segment: LogSegment(9),
    };
    LogView {
        head: Some(head),
        segments: [(LogSegment(9), descriptor(state))].into(),
        folded: None,
    }
}

#[test]
fn a_claim_compares_the_whole_head_and_takes_the_next_epoch() {
    let view = view(SegmentState::Open);
    let (head, txn) = claim(LOG, &view, owner(2), None);
    assert_eq!((head.epoch, head.phase), (Epoch(2), Phase::Recovering));
    assert_eq!(head.segment, LogSegment(9));
    let old = view.head.as_ref().map(|h| h.encode("wal/3/head"));
    assert_eq!(txn.compares, [("wal/3/head".to_owned(), old)]);
    let (first, txn) = claim(LOG, &LogView::default(), owner(2), None);
    assert_eq!(first.epoch, Epoch(1));
    assert_eq!(txn.compares, [("wal/3/head".to_owned(), None)]);
}

#[test]
fn what_goes_on_is_neither_trimmed_nor_folded() {
    let open = view(SegmentState::Open);
    let sealed = view(SegmentState::Sealed { end: Lsn(6) });
    let folded = Folded {
        through: LogSegment(9),
        end: Lsn(6),
        manifest: manifest(),
    };
    assert_eq!(trim(LOG, &open, LogSegment(9)), None);
    assert_eq!(fold(LOG, &open, &folded), None);
    assert_eq!(fold(LOG, &sealed, &folded), None, "it is not in objects");
    let txn = trim(LOG, &sealed, LogSegment(9)).unwrap();
    assert_eq!(txn.deletes, [segment_key(LOG, LogSegment(9))]);
    assert_eq!(txn.compares.len(), 1);
    assert_eq!(trim(LOG, &sealed, LogSegment(8)), None);
}

#[test]
fn keys_are_in_the_order_of_the_chain() {
    let (a, b) = (segment_number(Epoch(1), 9), segment_number(Epoch(2), 0));
    assert!(a < b && segment_key(LOG, a) < segment_key(LOG, b));
    let records = view(SegmentState::Open);
    let key = segment_key(LOG, LogSegment(9));
    let bytes = records.segments[&LogSegment(9)].encode(&key);
    let read = LogView::read(LOG, [(key.as_str(), &bytes)]).unwrap();
    assert_eq!(read.segments, records.segments);
    assert!(LogView::read(LOG, [("wal/3/other", &bytes)]).is_err());
}
