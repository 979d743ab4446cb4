//! The steps that a system can take, and how a counterexample tells them.

use crate::model::QuorumLog;
use crate::scope::Scope;
use crate::state::{Append, Lsn, Phase, State};
use crate::{fault, node, recoverer, writer};

/// One step. Nodes, primaries and segments are named by number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum Action {
    /// A client's append reaches a writer.
    Write { primary: usize, append: Append },
    /// The next entry of a segment reaches a node.
    Append { node: usize, segment: u8 },
    /// A node's sync returns.
    Sync { node: usize },
    /// A writer commits its next entry and answers the client.
    Commit { primary: usize },
    /// A writer goes on in a new segment.
    Roll { primary: usize, node_set: u8 },
    /// A writer takes a bare tick and sends it in a Beat.
    TakeBareTick { primary: usize },
    /// A Beat reaches a node, and its answer the writer.
    Beat { primary: usize, node: usize },
    /// A writer announces its bare tick.
    Announce { primary: usize },
    /// A primary claims the next epoch.
    Claim { primary: usize },
    /// A Seal reaches a node, and its answer the recoverer.
    Seal { primary: usize, node: usize },
    /// A recoverer decides on an end.
    Decide { primary: usize },
    /// Copies of the tail reach a node, and its answer the recoverer.
    Repair { primary: usize, node: usize },
    /// A recoverer's compare-and-set makes the end final and opens the next segment.
    FinishCas { primary: usize, node_set: u8 },
    /// Finish reaches a node.
    Finish { node: usize, segment: u8 },
    /// Only in the variant that finishes too early: Finish with an end that is not final reaches a node.
    FinishEarly { primary: usize, node: usize },
    /// The reader reads its next position at a node.
    Read { node: usize },
    /// A primary disappears.
    Crash { primary: usize },
    /// A node restarts.
    Restart { node: usize },
    /// A node is gone for good.
    LoseNode { node: usize },
    /// A zone is gone for good.
    LoseZone { zone: u8 },
    /// A disk is wiped.
    Wipe { node: usize },
    /// A disk is restored from an older state.
    Restore { node: usize },
    /// A record becomes unreadable.
    Rot { node: usize, segment: u8, lsn: Lsn },
}

/// All steps that may be possible in `state`; [`apply`] says which are. In a fixed order.
pub fn candidates(scope: &Scope, state: &State, into: &mut Vec<Action>) {
    let segments: u8 = state.head.segment + 1;
    for primary in 0..scope.primaries() {
        of_primary(scope, state, primary, into);
    }
    for node in 0..scope.nodes() {
        into.push(Action::Sync { node });
        into.push(Action::Restart { node });
        if scope.reader {
            into.push(Action::Read { node });
        }
        for segment in 0..segments {
            into.push(Action::Append { node, segment });
            if scope.finish_messages {
                into.push(Action::Finish { node, segment });
            }
        }
        if scope.loss_count > 0 {
            into.push(Action::LoseNode { node });
            into.push(Action::Wipe { node });
            into.push(Action::Restore { node });
            for segment in 0..segments {
                let durable = state.nodes[node].replicas[usize::from(segment)].durable;
                for lsn in 1..=durable {
                    into.push(Action::Rot { node, segment, lsn });
                }
            }
        }
    }
    if scope.losses.zone {
        let last = scope.zones.iter().copied().max().unwrap_or(0);
        into.extend((0..=last).map(|zone| Action::LoseZone { zone }));
    }
}

fn of_primary(scope: &Scope, state: &State, primary: usize, into: &mut Vec<Action>) {
    match state.primaries[primary].phase {
        Phase::Crashed => return,
        Phase::Idle => into.push(Action::Claim { primary }),
        Phase::Sealing => {
            into.extend((0..scope.nodes()).map(|node| Action::Seal { primary, node }));
            into.push(Action::Decide { primary });
        }
        Phase::Repairing { .. } => {
            into.extend((0..scope.nodes()).map(|node| Action::Repair { primary, node }));
            into.extend((0..scope.nodes()).map(|node| Action::FinishEarly { primary, node }));
            for &node_set in scope.node_sets {
                into.push(Action::FinishCas { primary, node_set });
            }
        }
        Phase::Writing => {
            into.extend((1..=scope.appends).map(|append| Action::Write { primary, append }));
            into.push(Action::Commit { primary });
            for &node_set in scope.node_sets {
                into.push(Action::Roll { primary, node_set });
            }
            if scope.has_ticks() {
                into.push(Action::TakeBareTick { primary });
                into.extend((0..scope.nodes()).map(|node| Action::Beat { primary, node }));
                into.push(Action::Announce { primary });
            }
        }
    }
    into.push(Action::Crash { primary });
}

/// The state after the step, or `None` if the step is not possible.
#[must_use]
pub fn apply(log: &QuorumLog, s: &State, action: Action) -> Option<State> {
    match action {
        Action::Write { primary, append } => writer::write(log, s, primary, append),
        Action::Append { node, segment } => node::append(log, s, node, segment),
        Action::Sync { node } => node::sync(log, s, node),
        Action::Commit { primary } => writer::commit(log, s, primary),
        Action::Roll { primary, node_set } => writer::roll(log, s, primary, node_set),
        Action::TakeBareTick { primary } => writer::take_bare_tick(log, s, primary),
        Action::Beat { primary, node } => node::beat(s, node, primary),
        Action::Announce { primary } => writer::announce(log, s, primary),
        Action::Claim { primary } => recoverer::claim(s, primary),
        Action::Seal { primary, node } => recoverer::seal(log, s, primary, node),
        Action::Decide { primary } => recoverer::decide(log, s, primary),
        Action::Repair { primary, node } => recoverer::repair(log, s, primary, node),
        Action::FinishCas { primary, node_set } => recoverer::finish(log, s, primary, node_set),
        Action::Finish { node, segment } => {
            let last = s.segments[usize::from(segment)].last?;
            node::finish(s, node, segment, last)
        }
        Action::FinishEarly { primary, node } => match s.primaries[primary].phase {
            Phase::Repairing { end } if !log.rules.finish_after_cas => {
                node::finish(s, node, s.primaries[primary].segment, end)
            }
            _ => None,
        },
        Action::Read { node } => read(log, s, node),
        Action::Crash { primary } => recoverer::crash(log, s, primary),
        Action::Restart { node } => node::restart(log, s, node),
        Action::LoseNode { node } => fault::lose_node(log, s, node),
        Action::LoseZone { zone } => fault::lose_zone(log, s, zone),
        Action::Wipe { node } => fault::wipe(log, s, node),
        Action::Restore { node } => fault::restore(log, s, node),
        Action::Rot { node, segment, lsn } => fault::rot(log, s, node, segment, lsn),
    }
}

/// The reader reads its next position at node `n`: what lies in a sealed segment, or what the open segment's
/// writer has committed and told the node.
fn read(log: &QuorumLog, before: &State, n: usize) -> Option<State> {
    let lsn = before.witness.reader + 1;
    let at = before.segment_of(lsn)?;
    let segment = &before.segments[at];
    let node = &before.nodes[n];
    let is_held = node.can_answer(u8::try_from(at).ok()?) && node.replicas[at].can_read(lsn);
    let is_told = segment.last.is_some()
        || before
            .primaries
            .iter()
            .any(|p| p.epoch == segment.epoch && p.committed >= lsn);
    if !is_held || (log.rules.readers_wait_for_commit && !is_told) {
        return None;
    }
    let mut after = *before;
    after.witness.reader = lsn;
    Some(after)
}

/// The step in words, with what it found.
#[must_use]
pub fn tell(scope: &Scope, before: &State, action: Action, after: &State) -> String {
    let who = |p: usize| match after.primaries[p].epoch {
        0 => format!("primary {p}"),
        epoch => format!("primary {p} (epoch {epoch})"),
    };
    let set = |bits: u8| {
        let members: Vec<String> = (0..scope.nodes())
            .filter(|n| bits & (1 << n) != 0)
            .map(|n| n.to_string())
            .collect();
        format!("{{{}}}", members.join(", "))
    };
    match action {
        Action::Write { primary, append } => {
            let segment = before.primaries[primary].segment;
            let lsn = after.segments[usize::from(segment)].written;
            let again = if before.witness.sent >= append {
                " (retry)"
            } else {
                ""
            };
            let writer = who(primary);
            format!("{writer}: write append {append}{again} at lsn {lsn} of segment {segment}")
        }
        Action::Append { node, segment } => {
            let replica = after.nodes[node].replicas[usize::from(segment)];
            let state = if replica.durable == replica.len {
                "durable"
            } else {
                "in memory"
            };
            let len = replica.len;
            format!("node {node}: Append to segment {segment}, len {len}, {state}")
        }
        Action::Sync { node } => format!("node {node}: sync returns; acknowledges"),
        Action::Commit { primary } => {
            let p = &after.primaries[primary];
            let (lsn, segment) = (p.committed, p.segment);
            let append = after.segments[usize::from(segment)].entry(lsn).append;
            let writer = who(primary);
            format!(
                "{writer}: commit lsn {lsn} of segment {segment}; append {append} is acknowledged"
            )
        }
        Action::Roll { primary, node_set } => {
            let opened = &after.segments[usize::from(after.primaries[primary].segment)];
            let (last, carried) = (opened.first - 1, opened.written + 1 - opened.first);
            let (writer, nodes) = (who(primary), set(node_set));
            format!(
                "{writer}: roll, sealed at {last}, {carried} carried over, now on nodes {nodes}"
            )
        }
        Action::TakeBareTick { primary } => {
            let tick = after.primaries[primary].bare_tick;
            format!("{}: takes bare tick {tick}, sends Beat", who(primary))
        }
        Action::Beat { primary, node } => format!("node {node}: confirms Beat of {}", who(primary)),
        Action::Announce { primary } => {
            let tick = before.primaries[primary].bare_tick;
            format!("{}: announces bare tick {tick}", who(primary))
        }
        Action::Claim { primary } => {
            let segment = after.primaries[primary].segment;
            format!("{}: claims; segment {segment} is open", who(primary))
        }
        Action::Seal { primary, node } => {
            let r = after.nodes[node].replies[primary];
            let (certain, possible) = (r.len_certain, r.len_possible);
            let caller = who(primary);
            format!("node {node}: Seal of {caller}: len_certain {certain}, len_possible {possible}")
        }
        Action::Decide { primary } => match after.primaries[primary].phase {
            Phase::Repairing { end } => format!("{}: decides on end {end}", who(primary)),
            _ => String::new(),
        },
        Action::Repair { primary, node } => {
            let end = after.nodes[node].replies[primary].len_certain;
            format!(
                "node {node}: Repair of {} up to {end}, durable",
                who(primary)
            )
        }
        Action::FinishCas { primary, node_set } => {
            let at = usize::from(before.primaries[primary].segment);
            let end = after.segments[at].last.unwrap_or(0);
            let (writer, nodes) = (who(primary), set(node_set));
            format!("{writer}: segment {at} SEALED at {end}, the next is OPEN on nodes {nodes}")
        }
        Action::Finish { node, segment } => format!("node {node}: Finish of segment {segment}"),
        Action::FinishEarly { primary, node } => {
            format!(
                "node {node}: Finish of {}, whose end is not final",
                who(primary)
            )
        }
        Action::Read { node } => {
            format!("reader: reads lsn {} at node {node}", after.witness.reader)
        }
        Action::Crash { primary } => format!("{}: crashes", who(primary)),
        Action::Restart { node } => format!("node {node}: restarts"),
        Action::LoseNode { node } => format!("node {node}: lost for good"),
        Action::LoseZone { zone } => format!("zone {zone}: lost for good"),
        Action::Wipe { node } => format!("node {node}: comes back with a wiped disk"),
        Action::Restore { node } => format!("node {node}: comes back with an older disk"),
        Action::Rot { node, segment, lsn } => {
            format!("node {node}: lsn {lsn} of segment {segment} can't be read any more")
        }
    }
}
