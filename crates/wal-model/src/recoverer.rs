//! What a recoverer does: claim an epoch, Seal, decide on an end, Repair, Finish. Anybody may do it, any number
//! of times, and stop anywhere.

use crate::model::QuorumLog;
use crate::node;
use crate::state::{Lsn, Phase, Primary, SealReply, Segment, State, Tick};
use crate::writer::set_last;

/// Primary `p` takes the next epoch by one compare-and-set on the head, and learns which segment is open.
#[must_use]
pub fn claim(before: &State, p: usize) -> Option<State> {
    // Primaries are numbered by the order of their claims.
    if p == 0 || before.primaries[p].phase != Phase::Idle || before.primaries[p - 1].epoch == 0 {
        return None;
    }
    let mut after = *before;
    after.head.epoch += 1;
    after.head.is_open = false;
    after.primaries[p] = Primary {
        epoch: after.head.epoch,
        phase: Phase::Sealing,
        segment: after.head.segment,
        ..Primary::default()
    };
    Some(after)
}

/// Primary `p` sends Seal to node `n`, and hears the answer. A lost answer is a node sealed by a recoverer that
/// never uses it; a late one is a recoverer that acts later.
#[must_use]
pub fn seal(log: &QuorumLog, before: &State, p: usize, n: usize) -> Option<State> {
    if before.primaries[p].phase != Phase::Sealing {
        return None;
    }
    node::seal(log, before, n, p)
}

/// The end that the replies allow, if they are enough.
#[must_use]
pub fn end_of(log: &QuorumLog, replies: &[SealReply]) -> Option<Lsn> {
    let heard = || replies.iter().filter(|reply| reply.heard);
    if heard().count() < log.rules.seal_answers {
        return None;
    }
    if !log.rules.longest_tail {
        let mut tails: Vec<Lsn> = heard().map(|reply| reply.len_certain).collect();
        tails.sort_unstable();
        return Some(tails[tails.len() - 2]);
    }
    let end = heard().map(|reply| reply.len_certain).max()?;
    // The next position is absent when enough nodes swear that they never held it. A node that can't read what it
    // holds there does not swear: then another answer is needed.
    let swear_absent = heard().filter(|reply| reply.len_possible <= end).count();
    (swear_absent >= log.rules.seal_answers).then_some(end)
}

/// Primary `p` decides on an end from the answers it has, and on the stamp it will start above.
#[must_use]
pub fn decide(log: &QuorumLog, before: &State, p: usize) -> Option<State> {
    let recoverer = before.primaries[p];
    if recoverer.phase != Phase::Sealing {
        return None;
    }
    let replies = before.nodes.map(|node| node.replies[p]);
    let end = end_of(log, &replies)?;
    let mut after = *before;
    after.primaries[p].phase = Phase::Repairing { end };
    if log.scope.has_ticks() {
        after.primaries[p].stamp = first_stamp(log, before, p, end, &replies);
    }
    Some(after)
}

/// A stamp that no bare tick of a lower epoch can reach any more: above the segment's own, above all in the tail,
/// above what the nodes confirmed. The lowest such stamp, as a clock that lags would give.
fn first_stamp(log: &QuorumLog, s: &State, p: usize, end: Lsn, replies: &[SealReply]) -> Tick {
    let segment = &s.segments[usize::from(s.primaries[p].segment)];
    let mut stamp = segment.tick;
    for lsn in segment.first..=end {
        stamp = stamp.max(segment.entry(lsn).tick);
    }
    for reply in replies.iter().filter(|reply| reply.heard) {
        if log.rules.seal_returns_tick {
            stamp = stamp.max(reply.tick);
        }
        if log.rules.restart_is_told && reply.restarted {
            // It waits out the clock bound: then its clock is above every stamp given before the Seal.
            let lower = s
                .primaries
                .iter()
                .filter(|q| q.epoch < s.primaries[p].epoch);
            stamp = lower.map(|q| q.stamp).fold(stamp, Tick::max);
        }
    }
    stamp
}

/// Primary `p` copies the tail to node `n`, from a node that can read all of it.
#[must_use]
pub fn repair(log: &QuorumLog, before: &State, p: usize, n: usize) -> Option<State> {
    let recoverer = before.primaries[p];
    let Phase::Repairing { end } = recoverer.phase else {
        return None;
    };
    let at = usize::from(recoverer.segment);
    let has_source = before.nodes[..log.scope.nodes()]
        .iter()
        .any(|node| node.can_answer(recoverer.segment) && node.replicas[at].certain() >= end);
    if !log.rules.repair_before_finish || !has_source {
        return None;
    }
    node::repair(log, before, n, p, end)
}

/// Whether the nodes that told primary `p` that they hold all up to `end`, under its promise, are enough.
fn is_repaired(log: &QuorumLog, state: &State, p: usize, end: Lsn) -> bool {
    let holders = state.nodes_where(&log.scope, |node| {
        node.replies[p].heard && node.replies[p].len_certain >= end
    });
    !log.rules.repair_before_finish || log.scope.is_quorum(holders, 2, true)
}

/// Primary `p` makes the end final and opens the next segment on `node_set`, in one compare-and-set: the head is
/// still its own and the segment still open.
#[must_use]
pub fn finish(log: &QuorumLog, before: &State, p: usize, node_set: u8) -> Option<State> {
    let recoverer = before.primaries[p];
    let Phase::Repairing { end } = recoverer.phase else {
        return None;
    };
    let at = usize::from(recoverer.segment);
    let is_current = before.head.epoch == recoverer.epoch && before.segments[at].last.is_none();
    if (log.rules.finish_by_cas && !is_current) || !is_repaired(log, before, p, end) {
        return None;
    }
    let mut after = *before;
    let sealed = before.segments[at];
    set_last(&mut after, at, end);
    for lsn in sealed.first..=end {
        after.commit(&log.scope, lsn, sealed.entry(lsn));
    }
    let next = recoverer.segment + 1;
    let opened = Segment {
        epoch: recoverer.epoch,
        first: end + 1,
        written: end,
        tick: if log.rules.segment_carries_tick {
            recoverer.stamp
        } else {
            0
        },
        ..Segment::default()
    };
    after.open_segment(&log.scope, next, opened, node_set);
    after.head.epoch = after.head.epoch.max(recoverer.epoch);
    after.head.is_open = true;
    after.head.segment = next;
    let writer = &mut after.primaries[p];
    writer.phase = Phase::Writing;
    writer.segment = next;
    writer.committed = end;
    after.forget_replies(p);
    Some(after)
}

/// Primary `p` disappears. Its messages stay under way.
#[must_use]
pub fn crash(log: &QuorumLog, before: &State, p: usize) -> Option<State> {
    let is_running = !matches!(before.primaries[p].phase, Phase::Idle | Phase::Crashed);
    if !log.scope.crash_is_a_step || !is_running {
        return None;
    }
    let mut after = *before;
    after.primaries[p].phase = Phase::Crashed;
    after.primaries[p].bare_tick = 0;
    after.forget_replies(p);
    Some(after)
}

/// Whether a new recoverer, alone and undisturbed, reaches OPEN from `state`, and which end it would seal.
///
/// It runs the rules above with the last primary's place, whose own recovery is taken to have crashed.
#[must_use]
pub fn end_if_alone(log: &QuorumLog, state: &State) -> Option<Lsn> {
    let p = log.scope.primaries() - 1;
    let mut alone = *state;
    alone.forget_replies(p);
    alone.head.epoch += 1;
    alone.primaries[p] = Primary {
        epoch: alone.head.epoch,
        phase: Phase::Sealing,
        segment: alone.head.segment,
        ..Primary::default()
    };
    for n in 0..log.scope.nodes() {
        alone = seal(log, &alone, p, n).unwrap_or(alone);
    }
    alone = decide(log, &alone, p)?;
    for n in 0..log.scope.nodes() {
        alone = repair(log, &alone, p, n).unwrap_or(alone);
    }
    let Phase::Repairing { end } = alone.primaries[p].phase else {
        return None;
    };
    let at = usize::from(alone.head.segment);
    (alone.segments[at].last.is_none() && is_repaired(log, &alone, p, end)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;
    use crate::scope::Scope;

    /// `tails` are `(len_certain, len_possible)` of the answers.
    #[track_caller]
    fn check(tails: &[(Lsn, Lsn)], end: Option<Lsn>) {
        let log = QuorumLog {
            scope: Scope::BASE,
            rules: Rules::KEPT,
        };
        let reply = |&(len_certain, len_possible): &(Lsn, Lsn)| SealReply {
            heard: true,
            len_certain,
            len_possible,
            ..SealReply::default()
        };
        let mut replies: Vec<SealReply> = tails.iter().map(reply).collect();
        replies.push(SealReply::default());
        assert_eq!(end_of(&log, &replies), end, "{tails:?}");
    }

    #[test]
    fn one_answer_is_not_enough() {
        check(&[], None);
        check(&[(3, 3)], None);
    }

    #[test]
    fn the_longest_tail_is_the_end() {
        check(&[(1, 1), (3, 3)], Some(3));
        check(&[(0, 0), (0, 0)], Some(0));
        check(&[(0, 0), (0, 0), (1, 1)], Some(1));
    }

    #[test]
    fn what_cannot_be_read_is_neither_there_nor_absent() {
        check(&[(0, 2), (0, 0)], None);
        check(&[(0, 2), (0, 0), (2, 2)], Some(2));
        check(&[(0, 2), (0, 0), (0, 0)], Some(0));
        check(&[(0, 2), (2, 2)], Some(2));
        check(&[(0, 3), (2, 2)], None);
    }
}
