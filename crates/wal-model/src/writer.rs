//! What a writer does: append, commit, roll to a new segment, announce bare ticks.
//!
//! A writer that was fenced and does not know it goes on like any other; stepping down is never taking a step again.

use crate::model::QuorumLog;
use crate::state::{Append, Entry, LSNS, Lsn, Phase, Segment, State};

/// Whether writer `p` finds `append` in its log: in the segments it recovered, or among its own entries.
fn has_seen(log: &QuorumLog, state: &State, p: usize, append: Append) -> bool {
    let writer = state.primaries[p];
    (0..=usize::from(writer.segment)).any(|at| {
        let segment = &state.segments[at];
        let is_own = segment.epoch == writer.epoch;
        if !is_own && !log.rules.dedup {
            return false;
        }
        segment.holds(append, segment.last.unwrap_or(segment.written))
    })
}

/// The client sends `append` to writer `p`, for the first time or again because it never had an answer. The
/// writer gives it the next position and sends it to all nodes of the segment, unless it is in the log already.
#[must_use]
pub fn write(log: &QuorumLog, before: &State, p: usize, append: Append) -> Option<State> {
    let writer = before.primaries[p];
    let at = usize::from(writer.segment);
    let is_answered =
        (0..LSNS).any(|i| before.witness.acked_in[i] != 0 && before.witness.committed[i] == append);
    if writer.phase != Phase::Writing
        || append > before.witness.sent + 1
        || is_answered
        || usize::from(before.segments[at].written) >= LSNS
        || has_seen(log, before, p, append)
    {
        return None;
    }
    let mut after = *before;
    after.witness.sent = before.witness.sent.max(append);
    let tick = next_stamp(log, &mut after, p);
    let segment = &mut after.segments[at];
    segment.entries[usize::from(segment.written)] = Entry { append, tick };
    segment.written += 1;
    Some(after)
}

fn next_stamp(log: &QuorumLog, state: &mut State, p: usize) -> u8 {
    if log.scope.has_ticks() {
        state.primaries[p].stamp += 1;
    }
    state.primaries[p].stamp
}

/// Writer `p` has acknowledgements of its next entry from a quorum: it commits the entry and answers the client.
#[must_use]
pub fn commit(log: &QuorumLog, before: &State, p: usize) -> Option<State> {
    let writer = before.primaries[p];
    let at = usize::from(writer.segment);
    let lsn = writer.committed + 1;
    let segment = before.segments[at];
    if writer.phase != Phase::Writing || lsn > segment.written {
        return None;
    }
    let holders = before.nodes_where(&log.scope, |node| {
        let counts = |k: usize| node.replicas[k].named != 0 && node.replicas[k].acked >= lsn;
        let earlier = 0..at;
        counts(at)
            || (!log.rules.acks_are_of_the_segment
                && earlier
                    .into_iter()
                    .any(|k| before.segments[k].epoch == writer.epoch && counts(k)))
    });
    if !log
        .scope
        .is_quorum(holders, log.rules.ack_copies, log.rules.ack_spans_zones)
    {
        return None;
    }
    let mut after = *before;
    after.primaries[p].committed = lsn;
    let finished_above = before.segments.iter().any(|s| s.epoch > writer.epoch);
    // A late acknowledgement of an entry that the higher epoch recovered is true, and harmless.
    if finished_above && segment.last.is_some_and(|last| lsn > last) {
        after.witness.broken.ack_after_finish = true;
    }
    after.commit(&log.scope, lsn, segment.entry(lsn));
    after.witness.acked_in[usize::from(lsn) - 1] = writer.segment + 1;
    Some(after)
}

/// Writer `p` closes its segment at what is committed and goes on in a new one, on `node_set`. Entries that are
/// not committed go along with their positions. One compare-and-set; a writer that loses it is fenced.
#[must_use]
pub fn roll(log: &QuorumLog, before: &State, p: usize, node_set: u8) -> Option<State> {
    let writer = before.primaries[p];
    let at = usize::from(writer.segment);
    let is_current = before.head.is_open
        && before.head.epoch == writer.epoch
        && before.segments[at].last.is_none();
    if writer.phase != Phase::Writing
        || before.witness.rolls >= log.scope.rolls
        || (log.rules.roll_by_cas && !is_current)
    {
        return None;
    }
    let mut after = *before;
    after.witness.rolls += 1;
    let old = before.segments[at];
    set_last(&mut after, at, writer.committed);
    let mut opened = Segment {
        epoch: writer.epoch,
        first: writer.committed + 1,
        written: old.written,
        tick: if log.rules.segment_carries_tick {
            writer.stamp
        } else {
            0
        },
        ..Segment::default()
    };
    for lsn in opened.first..=old.written {
        opened.entries[usize::from(lsn) - 1] = old.entry(lsn);
    }
    let next = writer.segment + 1;
    after.open_segment(&log.scope, next, opened, node_set);
    after.head.segment = next;
    after.primaries[p].segment = next;
    // Confirmations of a Beat count only from the nodes of the segment that is open.
    after.primaries[p].bare_tick = 0;
    after.forget_replies(p);
    Some(after)
}

/// The segment becomes SEALED at `last`, for good.
pub(crate) fn set_last(state: &mut State, at: usize, last: Lsn) {
    let segment = &mut state.segments[at];
    if segment.last.is_some_and(|was| was != last) {
        state.witness.broken.sealed_end_moved = true;
    }
    segment.last = Some(last);
}

/// Writer `p` takes a stamp for a bare tick and sends it in a Beat to the nodes of its segment.
#[must_use]
pub fn take_bare_tick(log: &QuorumLog, before: &State, p: usize) -> Option<State> {
    let writer = before.primaries[p];
    if writer.phase != Phase::Writing
        || writer.bare_tick != 0
        || before.witness.bare_ticks >= log.scope.bare_ticks
    {
        return None;
    }
    let mut after = *before;
    after.witness.bare_ticks += 1;
    let tick = next_stamp(log, &mut after, p);
    after.primaries[p].bare_tick = tick;
    Some(after)
}

/// Writer `p` tells readers that everything up to its bare tick is in the log: a quorum has confirmed the epoch
/// since the tick was taken, and every entry stamped below it is committed.
#[must_use]
pub fn announce(log: &QuorumLog, before: &State, p: usize) -> Option<State> {
    let writer = before.primaries[p];
    let segment = before.segments[usize::from(writer.segment)];
    if writer.phase != Phase::Writing || writer.bare_tick == 0 {
        return None;
    }
    let confirmed = before.nodes_where(&log.scope, |node| node.beats & (1 << p) != 0);
    let is_confirmed = !log.rules.beat_before_bare_tick || log.scope.is_quorum(confirmed, 2, false);
    let is_drained = (writer.committed + 1..=segment.written)
        .filter(|lsn| *lsn >= segment.first)
        .all(|lsn| segment.entry(lsn).tick > writer.bare_tick);
    if !is_confirmed || !is_drained {
        return None;
    }
    let mut after = *before;
    after.witness.announced = before.witness.announced.max(writer.bare_tick);
    after.primaries[p].bare_tick = 0;
    after.forget_replies(p);
    Some(after)
}
