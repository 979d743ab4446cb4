//! Nothing is dropped that somebody may still need.

use holdfast_types::{Epoch, Lsn, Timestamp};

use super::*;
use crate::{
    copies::Copies,
    messages::Owner,
    meta::{LogHead, ManifestRef, Phase, SegmentDescriptor},
};

const LOG: ChannelId = ChannelId(1);

/// A log of segments of ten entries each: `s`ealed, in object storage (`t`), `e`mpty, trimmed (`-`), and an open one at the end.
fn view(states: &str) -> LogView {
    let mut view = LogView::default();
    let mut number = 0;
    let mut add = |state: Option<SegmentState>, first| {
        number += 1;
        if let Some(state) = state {
            let descriptor = SegmentDescriptor {
                epoch: Epoch(1),
                first: Lsn(first),
                tick_floor: Timestamp(0),
                state,
                copies: Copies {
                    holders: Vec::new(),
                    quorum: 2,
                    zones: 2,
                },
            };
            view.segments.insert(LogSegment(number), descriptor);
        }
    };
    let mut first = 1;
    for state in states.chars() {
        let end = Lsn(first + 9);
        let before = Lsn(first - 1);
        let state = match state {
            's' => Some(SegmentState::Sealed { end }),
            'e' => Some(SegmentState::Sealed { end: before }),
            't' => Some(SegmentState::Tiered {
                end,
                manifest: ManifestRef {
                    key: "x/wal/1/1/a/manifest".into(),
                    bytes: 1,
                    checksum: 1,
                },
            }),
            _ => None,
        };
        let empty = matches!(state, Some(SegmentState::Sealed { end }) if end == before);
        add(state, first);
        first += if empty { 0 } else { 10 };
    }
    add(Some(SegmentState::Open), first);
    view.head = Some(LogHead {
        epoch: Epoch(1),
        owner: Owner {
            node: "w".into(),
            incarnation: 1,
        },
        phase: Phase::Open,
        segment: LogSegment(number),
    });
    view
}

/// With 100 bytes a segment that is in object storage, since its number of seconds; now is 1000 seconds.
#[track_caller]
fn check(states: &str, rule: (u64, u64), expect: u64) {
    let view = view(states);
    let stored = view.segments.iter().filter_map(|(segment, d)| {
        let stored = StoredHere {
            since: Duration::from_secs(segment.0),
            bytes: 100,
        };
        matches!(d.state, SegmentState::Tiered { .. }).then_some(((LOG, *segment), stored))
    });
    let stored = stored.collect();
    let rule = LocalRule {
        bytes: rule.0,
        age: Duration::from_secs(rule.1),
    };
    let last = view.head.as_ref().map_or(0, |head| head.segment.0);
    let held = [(LOG, (1..=last).map(LogSegment).collect())].into();
    let now = Duration::from_secs(1000);
    let dropped = droppable(&[(LOG, view)].into(), &held, &stored, rule, now);
    assert_eq!(dropped.get(&LOG).map_or(0, |s| s.0), expect, "{states}");
}

#[test]
fn only_beginnings_that_nobody_needs_are_dropped() {
    let (all, none) = ((0, 0), (1000, 5000));
    check("sss", all, 0);
    check("ttt", all, 3);
    check("ttt", none, 0);
    check("tts", all, 2);
    check("stt", all, 0);
    check("tets", all, 3);
    check("--tt", none, 2);
    check("--tt", all, 4);
    check("--st", all, 2);
    check("---", none, 3);
    // Those of the first 2 seconds are old enough.
    check("tttt", (1000, 998), 2);
    check("tttt", (300, 5000), 1);
    check("tttt", (299, 5000), 2);
    check("tttt", (0, 5000), 4);
    check("", all, 0);
}

#[test]
fn what_is_not_known_of_a_log_is_kept() {
    let held: BTreeMap<_, _> = [(LOG, vec![LogSegment(1)])].into();
    let rule = LocalRule {
        bytes: 0,
        age: Duration::ZERO,
    };
    let no_head = [(LOG, LogView::default())].into();
    for logs in [BTreeMap::new(), no_head] {
        let dropped = droppable(&logs, &held, &BTreeMap::new(), rule, Duration::ZERO);
        assert!(dropped.is_empty());
    }
}

#[test]
fn objects_go_when_no_transaction_can_name_them_any_more() {
    let (view, mine) = (view("-st"), "x/wal/1/1/a/");
    let check = |segment, folder| is_unreachable(&view, LogSegment(segment), folder);
    assert!(check(1, mine), "trimmed");
    assert!(!check(2, mine), "it may yet be recorded");
    assert!(!check(3, mine), "it is recorded");
    assert!(check(3, "x/wal/1/1/b/"), "another upload won");
    assert!(!check(4, mine), "open");
    assert!(!check(5, mine), "not begun");
    assert!(!is_unreachable(&LogView::default(), LogSegment(1), mine));
}
