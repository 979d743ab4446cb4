//! Tests of `log_node`.

use std::time::Duration;

use bytes::Bytes;
use holdfast_qlog::messages::*;
use holdfast_types::LogSegment;
use prost::Message;

use super::*;

const LOG: ChannelId = ChannelId(3);
const SEGMENT: LogSegment = LogSegment(4);
const EPOCH: Epoch = Epoch(5);

fn open() -> SegmentOpen {
    let holder = |n: u8| CopyHolder {
        node: format!("log-{n}").into(),
        storage: StorageId([n; 16]),
        zone: Zone(format!("zone-{n}").into()),
    };
    SegmentOpen {
        epoch: EPOCH,
        first: Lsn(7),
        copies: Copies {
            holders: (1..=3).map(holder).collect(),
            quorum: 2,
            zones: 2,
        },
    }
}

fn entries() -> Vec<Entry> {
    let id = RequestId {
        client: 1,
        sequence: 2,
    };
    let payload = |text| Bytes::from_static(text);
    vec![
        Entry::new(LOG, Lsn(7), Timestamp(70), None, payload(b"rows")),
        Entry::new(LOG, Lsn(8), Timestamp(80), Some(id), payload(b"")),
    ]
}

fn asks() -> Vec<Ask> {
    let repair = |end| {
        Ask::Repair(Repair {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
            end,
            open: open(),
            entries: entries(),
        })
    };
    let append = |open, entries| {
        Ask::Append(Append {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
            open,
            committed: Lsn(6),
            acknowledged: Lsn(5),
            entries,
        })
    };
    let beat = |tick| BeatAt {
        log: LOG,
        epoch: EPOCH,
        segment: SEGMENT,
        committed: Lsn(6),
        tick,
    };
    let read = |visibility| {
        Ask::Read(Read {
            log: LOG,
            segment: SEGMENT,
            from: Lsn(7),
            visibility,
            bytes_max: 1 << 20,
        })
    };
    vec![
        Ask::Hello { protocol: PROTOCOL },
        append(Some(open()), entries()),
        append(None, vec![]),
        Ask::Beat(Beat {
            nonce: 9,
            at: vec![beat(None), beat(Some(Timestamp(90)))],
        }),
        Ask::Seal(vec![SealOne {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
        }]),
        repair(None),
        repair(Some(Lsn(8))),
        Ask::Finish(Finish {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
            end: Lsn(8),
        }),
        Ask::Inspect(vec![LOG]),
        read(Visibility::Committed),
        read(Visibility::Durable),
        Ask::Trim {
            log: LOG,
            through: SEGMENT,
        },
    ]
}

fn answers() -> Vec<Answer> {
    let sealed = |authority| {
        Answer::Sealed(vec![SealedAt {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
            promise: Epoch(6),
            len_certain: Lsn(7),
            len_possible: Lsn(8),
            committed: Lsn(6),
            authority,
            tick: Timestamp(3),
            restarted: true,
        }])
    };
    let inspected = |heard, end| {
        Answer::Inspected(vec![Inspected {
            log: LOG,
            promise: EPOCH,
            heard,
            segments: vec![SegmentLen {
                segment: SEGMENT,
                first: Lsn(1),
                len_certain: Lsn(7),
                len_possible: Lsn(8),
                end,
            }],
        }])
    };
    let read = |end| {
        Answer::Entries(Entries {
            log: LOG,
            segment: SEGMENT,
            entries: entries(),
            committed: Lsn(8),
            end,
        })
    };
    let mut all = vec![
        Answer::Welcome {
            protocol: PROTOCOL,
            generation: 2,
        },
        Answer::Durable {
            log: LOG,
            segment: SEGMENT,
            epoch: EPOCH,
            lsn: Lsn(8),
        },
        Answer::Beat {
            nonce: 9,
            at: vec![BeatAnswer {
                log: LOG,
                epoch: EPOCH,
                confirmed: true,
                promise: EPOCH,
            }],
        },
        sealed(Authority::Authoritative),
        sealed(Authority::DataLoss),
        Answer::Finished {
            log: LOG,
            segment: SEGMENT,
        },
        inspected(None, None),
        inspected(Some((EPOCH, Duration::from_millis(20))), Some(Lsn(8))),
        read(None),
        read(Some(Lsn(8))),
        Answer::Trimmed {
            log: LOG,
            through: SEGMENT,
        },
    ];
    let rejects = [
        Reject::Fenced { promise: Epoch(6) },
        Reject::Behind { len: Lsn(5) },
        Reject::Busy,
        Reject::Full,
        Reject::ReadOnly,
        Reject::Unknown,
        Reject::Ended { end: Lsn(8) },
        Reject::Trimmed { through: SEGMENT },
        Reject::Storage {
            storage: StorageId([9; 16]),
        },
        Reject::Cluster,
        Reject::Protocol { ours: PROTOCOL },
        Reject::Damaged,
        Reject::Rotten { lsn: Lsn(7) },
        Reject::Forgotten { len: Lsn(4) },
    ];
    all.extend(rejects.map(|why| Answer::Rejected {
        log: LOG,
        segment: SEGMENT,
        epoch: EPOCH,
        why,
    }));
    all
}

fn request(ask: Ask) -> Request {
    Request {
        cluster: ClusterId([1; 16]),
        storage: Some(StorageId([2; 16])),
        sender: Owner {
            node: "stream-1".into(),
            incarnation: 77,
        },
        ask,
    }
}

#[test]
fn every_request_arrives_as_it_was_sent() {
    for ask in asks() {
        let sent = request(ask);
        let bytes = request_to_wire(&sent).encode_to_vec();
        let got = request_from_wire(pb::Request::decode(&bytes[..]).unwrap());
        assert_eq!(got, Ok(sent));
    }
}

#[test]
fn every_reply_arrives_as_it_was_sent() {
    for answer in answers() {
        let sent = Reply {
            storage: StorageId([2; 16]),
            credits: 1 << 30,
            answer,
        };
        let bytes = reply_to_wire(&sent).encode_to_vec();
        let got = reply_from_wire(pb::Reply::decode(&bytes[..]).unwrap());
        assert_eq!(got, Ok(sent));
    }
}

#[test]
fn an_entry_without_its_checksum_is_refused() {
    let mut ask = asks().swap_remove(1);
    let Ask::Append(append) = &mut ask else {
        panic!("an append");
    };
    append.entries[1].checksum ^= 1;
    let refused = request_from_wire(request_to_wire(&request(ask))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "entries: an entry doesn't have its checksum"
    );
}

#[test]
fn forged_messages_are_refused_by_field() {
    fn check(forge: impl Fn(&mut pb::Request), field: &str) {
        let mut wire = request_to_wire(&request(asks().swap_remove(1)));
        forge(&mut wire);
        assert_eq!(request_from_wire(wire).unwrap_err().field, field);
    }
    fn open(wire: &mut pb::Request) -> &mut pb::SegmentOpen {
        match wire.ask.as_mut().unwrap() {
            pb::request::Ask::Append(append) => append.open.as_mut().unwrap(),
            other => panic!("{other:?}"),
        }
    }
    check(|w| w.cluster = Bytes::from_static(b"short"), "cluster");
    check(|w| w.storage = Some(Bytes::new()), "storage");
    check(|w| w.sender = None, "sender");
    check(|w| w.ask = None, "ask");
    check(|w| open(w).holders.clear(), "open.holders");
    check(|w| open(w).quorum = 4, "open.quorum");
    check(|w| open(w).quorum = 0, "open.quorum");
    check(|w| open(w).zones = u32::MAX, "open.quorum");
    check(|w| open(w).first = 0, "open.first");
    check(
        |w| open(w).holders[0].storage = Bytes::new(),
        "open.holders.storage",
    );
}
