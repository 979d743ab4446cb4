//! What must hold in every state, and what must be seen at least once.

use stateright::Property;

use crate::model::QuorumLog;
use crate::recoverer;
use crate::state::{LSNS, Lsn, Phase, State};

/// An acknowledged entry lies at or below its segment's sealed end.
pub const ACKED_WITHIN_END: &str = "no acknowledged entry above the sealed end";
/// An acknowledged entry can be read somewhere, as long as the faults are within what must be survived.
pub const ACKED_HAS_COPY: &str = "every acknowledged entry has a live copy";
/// A position has one value, once the outside may have seen it.
pub const ONE_VALUE: &str = "one value at each committed position";
/// Sealed ends don't move, and the chain has no gap and no overlap.
pub const CHAIN_IS_DENSE: &str = "sealed ends stay, and the next segment starts behind them";
/// After a higher epoch finished, a lower one acknowledges nothing that the finish did not keep.
pub const NO_ACK_AFTER_FINISH: &str =
    "no acknowledgement by a lower epoch after a higher one's finish";
/// What a node told about its promise never falls.
pub const PROMISES_RISE: &str = "promises never fall";
/// A bare tick says that all at or below it is in the log.
pub const TICKS_HOLD: &str = "nothing is committed at or below an announced bare tick";
/// Readers see only what is committed.
pub const READERS_SEE_COMMITTED: &str = "readers never see what is not committed";
/// `(client, seq)` is in the log once.
pub const NO_DUPLICATE: &str = "a retried append is not in the log twice";
/// With two nodes of two zones that have their disks, a recoverer that is left alone reaches OPEN.
pub const CAN_OPEN: &str = "recovery can reach OPEN";
/// What that recoverer would seal holds all that was acknowledged.
pub const ALONE_KEEPS_ACKED: &str = "a recoverer left alone keeps every acknowledged entry";

/// An append is acknowledged.
pub const SEEN_ACK: &str = "seen: an acknowledgement";
/// A failover finishes.
pub const SEEN_FAILOVER: &str = "seen: a failover finishes";
/// Two recoverers run at the same time.
pub const SEEN_RACE: &str = "seen: two recoverers race";
/// An entry that was not acknowledged survives a failover.
pub const SEEN_UNACKED_KEPT: &str = "seen: an entry without acknowledgement is recovered";
/// An entry that was not acknowledged is gone after a failover.
pub const SEEN_UNACKED_DROPPED: &str = "seen: an entry without acknowledgement is dropped";
/// A position has another value in a later segment than in a dead tail.
pub const SEEN_REUSED: &str = "seen: a dropped position gets another value";
/// A roll carries entries over.
pub const SEEN_CARRIED: &str = "seen: a roll carries entries over";
/// A roll changes the node-set.
pub const SEEN_NODE_SET_CHANGE: &str = "seen: a roll changes the node-set";
/// A bare tick is announced.
pub const SEEN_BARE_TICK: &str = "seen: a bare tick is announced";
/// A failover finishes after a loss.
pub const SEEN_FAILOVER_AFTER_LOSS: &str = "seen: a failover finishes after a loss";
/// Two losses, a failover between them.
pub const SEEN_TWO_LOSSES: &str = "seen: a second loss after a failover";
/// A recoverer can't decide with two answers, because a record can't be read.
pub const SEEN_UNDECIDED: &str = "seen: two answers that don't decide";
/// Finish cuts a phantom tail.
pub const SEEN_TAIL_CUT: &str = "seen: Finish cuts a phantom tail";
/// A reader reads.
pub const SEEN_READ: &str = "seen: a reader reads";

impl State {
    /// The segment that the chain has for `lsn`.
    #[must_use]
    pub fn segment_of(&self, lsn: Lsn) -> Option<usize> {
        (0..=usize::from(self.head.segment)).find(|at| {
            let segment = &self.segments[*at];
            segment.first <= lsn && lsn <= segment.last.unwrap_or(segment.written)
        })
    }

    fn acked(&self) -> impl Iterator<Item = (Lsn, usize)> {
        (1..=4)
            .zip(self.witness.acked_in)
            .filter(|(_, at)| *at != 0)
            .map(|(lsn, at)| (lsn, usize::from(at) - 1))
    }
}

const _: () = assert!(LSNS == 4, "`acked` counts the positions");

fn acked_within_end(_: &QuorumLog, s: &State) -> bool {
    s.acked()
        .all(|(lsn, at)| s.segments[at].last.is_none_or(|last| lsn <= last))
}

fn acked_has_copy(log: &QuorumLog, s: &State) -> bool {
    s.acked().all(|(lsn, _)| {
        s.segment_of(lsn).is_some_and(|at| {
            s.nodes[..log.scope.nodes()].iter().any(|node| {
                u8::try_from(at).is_ok_and(|at| node.can_answer(at))
                    && node.replicas[at].can_read(lsn)
            })
        })
    })
}

fn one_value(_: &QuorumLog, s: &State) -> bool {
    !s.witness.broken.two_values
}

fn chain_is_dense(_: &QuorumLog, s: &State) -> bool {
    let chain = &s.segments[..=usize::from(s.head.segment)];
    !s.witness.broken.sealed_end_moved
        && chain
            .windows(2)
            .all(|pair| pair[0].last.is_some_and(|last| pair[1].first == last + 1))
}

fn no_ack_after_finish(_: &QuorumLog, s: &State) -> bool {
    !s.witness.broken.ack_after_finish
}

fn promises_rise(_: &QuorumLog, s: &State) -> bool {
    !s.witness.broken.promise_fell
}

fn ticks_hold(_: &QuorumLog, s: &State) -> bool {
    !s.witness.broken.tick_overtaken
}

fn readers_see_committed(_: &QuorumLog, s: &State) -> bool {
    s.witness.committed[..usize::from(s.witness.reader)]
        .iter()
        .all(|append| *append != 0)
}

fn no_duplicate(_: &QuorumLog, s: &State) -> bool {
    let committed = &s.witness.committed;
    (1..LSNS).all(|i| committed[i] == 0 || !committed[..i].contains(&committed[i]))
}

/// Whether the open segment still has two nodes, in two zones, that answer for all they ever held.
fn has_quorum(log: &QuorumLog, s: &State) -> bool {
    let segment = s.head.segment;
    let sound = s.nodes_where(&log.scope, |node| {
        node.can_answer(segment) && node.replicas[usize::from(segment)].rot == 0
    });
    log.scope.is_quorum(sound, 2, true)
}

fn can_open(log: &QuorumLog, s: &State) -> bool {
    !has_quorum(log, s) || recoverer::end_if_alone(log, s).is_some()
}

fn alone_keeps_acked(log: &QuorumLog, s: &State) -> bool {
    let open = usize::from(s.head.segment);
    recoverer::end_if_alone(log, s)
        .is_none_or(|end| s.acked().all(|(lsn, at)| at < open || lsn <= end))
}

fn is_failover_done(s: &State) -> bool {
    s.head.is_open && s.head.epoch > 1
}

/// All promises, and what the scope says must be seen.
#[must_use]
pub fn all(log: &QuorumLog) -> Vec<Property<QuorumLog>> {
    let mut all = vec![
        Property::always(ACKED_WITHIN_END, acked_within_end),
        Property::always(ACKED_HAS_COPY, acked_has_copy),
        Property::always(ONE_VALUE, one_value),
        Property::always(CHAIN_IS_DENSE, chain_is_dense),
        Property::always(NO_ACK_AFTER_FINISH, no_ack_after_finish),
        Property::always(PROMISES_RISE, promises_rise),
        Property::always(TICKS_HOLD, ticks_hold),
        Property::always(READERS_SEE_COMMITTED, readers_see_committed),
        Property::always(NO_DUPLICATE, no_duplicate),
        Property::always(CAN_OPEN, can_open),
        Property::always(ALONE_KEEPS_ACKED, alone_keeps_acked),
    ];
    let seen = sights();
    for name in log.scope.seen {
        let sight = seen.iter().find(|sight| sight.name == *name);
        all.push(
            sight
                .cloned()
                .expect("the catalog names sights of this list"),
        );
    }
    all
}

fn sights() -> Vec<Property<QuorumLog>> {
    vec![
        sight(SEEN_ACK, |_, s| s.acked().next().is_some()),
        sight(SEEN_FAILOVER, |_, s| is_failover_done(s)),
        sight(SEEN_RACE, |_, s| {
            let runs = |phase: Phase| matches!(phase, Phase::Sealing | Phase::Repairing { .. });
            s.primaries.iter().filter(|p| runs(p.phase)).count() > 1
        }),
        sight(SEEN_UNACKED_KEPT, |_, s| {
            let seen = &s.witness;
            (0..LSNS).any(|i| seen.committed[i] != 0 && seen.acked_in[i] == 0)
        }),
        sight(SEEN_UNACKED_DROPPED, |_, s| {
            is_failover_done(s)
                && s.segments[0]
                    .last
                    .is_some_and(|l| l < s.segments[0].written)
        }),
        sight(SEEN_REUSED, |_, s| {
            let (dead, next) = (&s.segments[0], &s.segments[1]);
            (1..=dead.written.min(next.written))
                .any(|lsn| next.first <= lsn && next.entry(lsn).append != dead.entry(lsn).append)
        }),
        sight(SEEN_CARRIED, |_, s| {
            s.segments.windows(2).any(|w| {
                w[0].epoch == w[1].epoch && w[0].last.is_some_and(|last| last < w[0].written)
            })
        }),
        sight(SEEN_NODE_SET_CHANGE, |_, s| {
            s.witness.rolls > 0
                && s.nodes
                    .iter()
                    .any(|node| node.replicas[0].named == 0 && node.replicas[1].named != 0)
        }),
        sight(SEEN_BARE_TICK, |_, s| s.witness.announced > 0),
        sight(SEEN_FAILOVER_AFTER_LOSS, |_, s| {
            s.witness.losses > 0 && s.head.is_open && s.head.epoch > s.witness.loss_epoch
        }),
        sight(SEEN_TWO_LOSSES, |_, s| s.witness.losses > 1),
        sight(SEEN_UNDECIDED, |log, s| {
            (0..log.scope.primaries()).any(|p| {
                let replies = s.nodes.map(|node| node.replies[p]);
                s.primaries[p].phase == Phase::Sealing
                    && replies.iter().filter(|reply| reply.heard).count() >= 2
                    && recoverer::end_of(log, &replies).is_none()
            })
        }),
        sight(SEEN_TAIL_CUT, |_, s| {
            s.nodes.iter().any(|node| {
                node.replicas
                    .iter()
                    .any(|replica| replica.closed && replica.acked > replica.durable)
            })
        }),
        sight(SEEN_READ, |_, s| s.witness.reader > 0),
    ]
}

fn sight(name: &'static str, seen: fn(&QuorumLog, &State) -> bool) -> Property<QuorumLog> {
    Property::sometimes(name, seen)
}
