//! What a log-node does with each message. Every answer it gives is about what is durable.

use crate::model::QuorumLog;
use crate::state::{Lsn, Node, SealReply, State};

/// What a node's answer about a segment is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The disk is the one that the segment names: yes and no both count.
    Authoritative,
    /// The disk is another one, or an older state of it: neither counts.
    DataLoss,
    /// The node is not in the segment's node-set.
    UnknownSegment,
}

impl Node {
    /// What the node's answers about `segment` are worth.
    #[must_use]
    pub fn authority(&self, segment: u8) -> Authority {
        match self.replicas[usize::from(segment)].named {
            0 => Authority::UnknownSegment,
            named if named == self.storage => Authority::Authoritative,
            _ => Authority::DataLoss,
        }
    }

    /// Up, and with authority over `segment`.
    #[must_use]
    pub fn can_answer(&self, segment: u8) -> bool {
        !self.is_lost && self.authority(segment) == Authority::Authoritative
    }

    /// Makes everything in memory durable and acknowledges it: the journal has one order for all.
    fn sync(&mut self, keeps_promise: bool) {
        if keeps_promise {
            self.promise_durable = self.promise;
        }
        for replica in &mut self.replicas {
            // Only appends wait in memory, so only a gain is acknowledged to a writer; what a Repair or a
            // Finish changed is not.
            if replica.durable < replica.len {
                replica.durable = replica.len;
                replica.acked = replica.acked.max(replica.len);
            }
        }
    }
}

/// The next entry of `segment` arrives. Accepted from the segment's epoch only while nothing higher is promised,
/// and without gaps; a duplicate changes nothing.
#[must_use]
pub fn append(log: &QuorumLog, before: &State, n: usize, segment: u8) -> Option<State> {
    let at = usize::from(segment);
    let (node, opened) = (&before.nodes[n], &before.segments[at]);
    let replica = &node.replicas[at];
    if !node.can_answer(segment)
        || replica.closed
        || node.promise > opened.epoch
        || replica.len >= opened.written
    {
        return None;
    }
    let mut after = *before;
    let node = &mut after.nodes[n];
    node.promise = opened.epoch;
    node.replicas[at].len += 1;
    if !log.rules.ack_after_sync {
        node.replicas[at].acked = node.replicas[at].acked.max(node.replicas[at].len);
    }
    if !log.scope.sync_is_a_step {
        node.sync(log.rules.promise_is_durable);
        after.tell_promise(n);
    }
    Some(after)
}

/// The journal's sync returns.
#[must_use]
pub fn sync(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let node = &before.nodes[n];
    let waiting = node.replicas.iter().any(|r| r.durable < r.len);
    if !log.scope.sync_is_a_step || node.is_lost || !waiting {
        return None;
    }
    let mut after = *before;
    after.nodes[n].sync(log.rules.promise_is_durable);
    after.tell_promise(n);
    Some(after)
}

/// A Seal of primary `p` arrives: promise its epoch, durably, then say what is there. Idempotent for the holder
/// of the epoch; refused below the promise.
#[must_use]
pub fn seal(log: &QuorumLog, before: &State, n: usize, p: usize) -> Option<State> {
    let caller = before.primaries[p];
    let node = &before.nodes[n];
    if !node.can_answer(caller.segment) || node.promise > caller.epoch || node.replies[p].heard {
        return None;
    }
    let mut after = *before;
    let node = &mut after.nodes[n];
    node.promise = caller.epoch;
    node.sync(log.rules.promise_is_durable);
    let replica = node.replicas[usize::from(caller.segment)];
    let len_certain = replica.certain();
    node.replies[p] = SealReply {
        heard: true,
        len_certain,
        len_possible: if log.rules.corrupt_is_unknown {
            replica.durable
        } else {
            len_certain
        },
        tick: node.tick,
        restarted: replica.restarted,
    };
    after.tell_promise(n);
    Some(after)
}

/// Recovery's copies of the tail up to `end` arrive from primary `p`: made durable under its promise. What lies
/// beyond `end` stays, until Finish says that it is dead.
#[must_use]
pub fn repair(log: &QuorumLog, before: &State, n: usize, p: usize, end: Lsn) -> Option<State> {
    let caller = before.primaries[p];
    let at = usize::from(caller.segment);
    let node = &before.nodes[n];
    if !node.can_answer(caller.segment)
        || node.promise > caller.epoch
        || node.replicas[at].closed
        || (node.replies[p].heard && node.replies[p].len_certain >= end)
    {
        return None;
    }
    let mut after = *before;
    let node = &mut after.nodes[n];
    node.promise = caller.epoch;
    node.sync(log.rules.promise_is_durable);
    let replica = &mut node.replicas[at];
    if replica.rot <= end {
        replica.rot = 0;
    }
    replica.len = replica.len.max(end);
    replica.durable = replica.len;
    node.replies[p].heard = true;
    node.replies[p].len_certain = end;
    after.tell_promise(n);
    Some(after)
}

/// Finish arrives: the segment ends at `last`. A phantom tail beyond it goes, and nothing is accepted any more.
#[must_use]
pub fn finish(before: &State, n: usize, segment: u8, last: Lsn) -> Option<State> {
    let at = usize::from(segment);
    let node = &before.nodes[n];
    if !node.can_answer(segment) || node.replicas[at].closed {
        return None;
    }
    let mut after = *before;
    let replica = &mut after.nodes[n].replicas[at];
    replica.len = replica.len.min(last);
    replica.durable = replica.durable.min(last);
    if replica.rot > last {
        replica.rot = 0;
    }
    replica.closed = true;
    Some(after)
}

/// A Beat of writer `p` arrives: is its epoch still the highest here? If so, remember the tick and confirm.
#[must_use]
pub fn beat(before: &State, n: usize, p: usize) -> Option<State> {
    let writer = before.primaries[p];
    let node = &before.nodes[n];
    if writer.bare_tick == 0
        || !node.can_answer(writer.segment)
        || node.promise > writer.epoch
        || node.beats & (1 << p) != 0
    {
        return None;
    }
    let mut after = *before;
    let node = &mut after.nodes[n];
    node.beats |= 1 << p;
    node.tick = node.tick.max(writer.bare_tick);
    Some(after)
}

/// The node restarts: what was only in memory is gone.
#[must_use]
pub fn restart(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let node = &before.nodes[n];
    if before.witness.restarts >= log.scope.restarts || node.is_lost {
        return None;
    }
    let mut after = *before;
    after.witness.restarts += 1;
    let node = &mut after.nodes[n];
    node.promise = node.promise_durable;
    node.tick = 0;
    for replica in &mut node.replicas {
        replica.len = replica.durable;
        // Only what asks for ticks cares, and two states less is a smaller exploration.
        replica.restarted = log.scope.has_ticks() && replica.named != 0;
    }
    Some(after)
}
