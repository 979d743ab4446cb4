//! Losses of nodes, zones and disks, as far as they are within what the log must survive.

use crate::model::QuorumLog;
use crate::state::{Lsn, Node, Replica, State};

/// Whether one more loss is within what must be survived: the first one, or one after the segment that was open
/// then was sealed by a recoverer who claimed after the loss. Any other segment may have been left with one copy
/// by the first loss, even one whose Repair was acknowledged before it; only re-replication of sealed segments
/// makes a second one, and that is not in the model. So the first of two losses comes before the first seal.
fn is_survivable(log: &QuorumLog, state: &State) -> bool {
    let seen = &state.witness;
    seen.losses == 0
        || (seen.losses < log.scope.loss_count
            && seen.losses == 1
            && state.segments[1].epoch > seen.loss_epoch)
}

fn lose(log: &QuorumLog, before: &State, is_allowed: bool) -> Option<State> {
    let seen = &before.witness;
    let is_too_late = log.scope.loss_count > 1 && seen.losses == 0 && before.head.segment > 0;
    if !is_allowed || is_too_late || log.scope.loss_count == 0 || !is_survivable(log, before) {
        return None;
    }
    let mut after = *before;
    after.witness.losses += 1;
    after.witness.loss_epoch = before.head.epoch;
    Some(after)
}

/// Nothing of the disk remains. What others have heard from the node before does.
fn empty(node: &mut Node, segments_base: &[Lsn]) {
    node.promise = 0;
    node.promise_durable = 0;
    node.promise_told = 0;
    node.tick = 0;
    for (replica, base) in node.replicas.iter_mut().zip(segments_base) {
        if replica.named != 0 {
            *replica = Replica {
                named: replica.named,
                len: *base,
                durable: *base,
                acked: replica.acked,
                ..Replica::default()
            };
        }
    }
}

fn bases(state: &State) -> Vec<Lsn> {
    state
        .segments
        .iter()
        .map(|segment| segment.first.saturating_sub(1))
        .collect()
}

/// Node `n` is gone for good.
#[must_use]
pub fn lose_node(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let is_allowed = log.scope.losses.node && !before.nodes[n].is_lost;
    let mut after = lose(log, before, is_allowed)?;
    remove(&mut after, n);
    Some(after)
}

fn remove(state: &mut State, n: usize) {
    let bases = bases(state);
    state.nodes[n].is_lost = true;
    empty(&mut state.nodes[n], &bases);
}

/// All nodes of `zone` are gone for good.
#[must_use]
pub fn lose_zone(log: &QuorumLog, before: &State, zone: u8) -> Option<State> {
    let mut after = lose(log, before, log.scope.losses.zone)?;
    for (n, _) in log
        .scope
        .zones
        .iter()
        .enumerate()
        .filter(|(_, z)| **z == zone)
    {
        remove(&mut after, n);
    }
    Some(after)
}

/// The disk of node `n` comes back empty. The node makes a new storage id for it.
#[must_use]
pub fn wipe(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let is_allowed = log.scope.losses.wiped && !before.nodes[n].is_lost;
    let mut after = lose(log, before, is_allowed)?;
    let bases = bases(before);
    let node = &mut after.nodes[n];
    empty(node, &bases);
    if log.rules.storage_id_guard {
        node.storage += 1;
    }
    Some(after)
}

/// The disk of node `n` comes back as it was before the last entry and the last promise. Its generation is behind
/// the one that the metadata has, so it is refused and provisioned again.
#[must_use]
pub fn restore(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let node = &before.nodes[n];
    let is_allowed = log.scope.losses.restored && !node.is_lost;
    let mut after = lose(log, before, is_allowed)?;
    let bases = bases(before);
    let node = &mut after.nodes[n];
    for (replica, base) in node.replicas.iter_mut().zip(&bases) {
        if replica.named != 0 {
            replica.durable = replica.durable.saturating_sub(1).max(*base);
            replica.len = replica.durable;
            replica.closed = false;
            if replica.rot > replica.durable {
                replica.rot = 0;
            }
        }
    }
    node.promise = 1;
    node.promise_durable = 1;
    node.promise_told = 0;
    node.tick = 0;
    if log.rules.generation_guard {
        node.storage += 1;
    }
    Some(after)
}

/// The durable record at `lsn` of `segment` on node `n` can't be read any more.
#[must_use]
pub fn rot(log: &QuorumLog, before: &State, n: usize, segment: u8, lsn: Lsn) -> Option<State> {
    let at = usize::from(segment);
    let node = &before.nodes[n];
    let is_there = node.can_answer(segment)
        && segment == before.head.segment
        && before.segments[at].first <= lsn
        && lsn <= node.replicas[at].durable;
    let mut after = lose(log, before, log.scope.losses.rot && is_there)?;
    after.nodes[n].replicas[at].rot = lsn;
    Some(after)
}
