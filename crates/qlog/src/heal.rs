//! What to do after a loss: which segments lack copies, who uploads them, who gets a new copy, what may be trimmed.

mod local;
mod mend;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    copies::{Copies, CopyHolder, StorageId},
    meta::{Gone, LogView, NodeRegistration, NodeState, SegmentDescriptor, SegmentState},
    place::{CopyRule, place, score},
};

pub use local::{LocalRule, StoredHere, droppable, is_unreachable};
pub use mend::{Mend, MendAction, MendEvent, MendOptions};
pub use turns::Turns;

/// Time without progress after which the next in line uploads a segment.
pub const UPLOAD_PATIENCE: Duration = Duration::from_secs(20);
/// Silence after which a node counts as lost for healing, unless its disk is declared gone before.
pub const LOSS_GRACE: Duration = Duration::from_secs(30);

/// What is known of the log-nodes and of object storage.
#[derive(Clone, Debug)]
pub struct Health {
    /// Nodes as they registered.
    pub nodes: Vec<NodeRegistration>,
    /// Disks that will not come back.
    pub gone: Vec<Gone>,
    /// Since when a node was not heard of.
    pub silent: BTreeMap<StorageId, Duration>,
    /// Silence after which a node counts as lost.
    pub loss_grace: Duration,
    /// Copies that are known to end before their segment does, or not to be there at all.
    pub short: BTreeSet<(StorageId, ChannelId, LogSegment)>,
    /// Object storage does not take writes, or there is none.
    pub store_down: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            gone: Vec::new(),
            silent: BTreeMap::new(),
            loss_grace: LOSS_GRACE,
            short: BTreeSet::new(),
            store_down: false,
        }
    }
}

/// One thing to do for a segment that ended. Fewest copies first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heal {
    /// Put it into object storage: that outweighs any number of copies on disks, and is needed anyway.
    Upload {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// Its descriptor.
        descriptor: SegmentDescriptor,
        /// Holders that are alive and have all of it, first the one whose turn it is; the next after
        /// [`UPLOAD_PATIENCE`] without progress.
        by: Vec<CopyHolder>,
    },
    /// Copy it to another node, then name its holders anew.
    Copy {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// Its descriptor.
        descriptor: SegmentDescriptor,
        /// Holders that are alive and have all of it, in the order of their turns.
        from: Vec<CopyHolder>,
        /// The holders that it is to have.
        copies: Copies,
    },
    /// No copy is left that can be read.
    Lost {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
    },
}

impl Heal {
    /// What it is about.
    #[must_use]
    pub fn segment(&self) -> (ChannelId, LogSegment) {
        match self {
            Self::Upload { log, segment, .. }
            | Self::Copy { log, segment, .. }
            | Self::Lost { log, segment } => (*log, *segment),
        }
    }
}

impl Health {
    /// Whether a holder's copy counts, at this moment.
    #[must_use]
    pub fn is_alive(&self, holder: &CopyHolder, now: Duration) -> bool {
        let gone = self.gone.iter().any(|g| g.storage == holder.storage);
        let silent = self
            .silent
            .get(&holder.storage)
            .is_some_and(|since| now.saturating_sub(*since) >= self.loss_grace);
        let present = self
            .nodes
            .iter()
            .any(|n| n.storage == holder.storage && n.state != NodeState::DataLoss);
        present && !gone && !silent
    }

    /// Whether a holder's node is to be taken away.
    fn is_leaving(&self, holder: &CopyHolder) -> bool {
        self.nodes
            .iter()
            .any(|n| n.storage == holder.storage && n.state == NodeState::Drain)
    }
}

/// What the sealed segments of these logs need, in the order in which it is to be done.
#[must_use]
pub fn plan(
    logs: &BTreeMap<ChannelId, LogView>,
    health: &Health,
    rule: CopyRule,
    now: Duration,
) -> Vec<Heal> {
    let mut found: Vec<(usize, Heal)> = Vec::new();
    for (log, view) in logs {
        for (segment, descriptor) in &view.segments {
            let SegmentState::Sealed { end } = descriptor.state else {
                continue;
            };
            if end < descriptor.first {
                continue;
            }
            let holders = &descriptor.copies.holders;
            let alive: Vec<CopyHolder> = holders
                .iter()
                .filter(|h| health.is_alive(h, now))
                .cloned()
                .collect();
            let is_short = |h: &CopyHolder| health.short.contains(&(h.storage, *log, *segment));
            let mut whole: Vec<CopyHolder> =
                alive.iter().filter(|h| !is_short(h)).cloned().collect();
            whole.sort_by_key(|h| (uploader_score(*log, *segment, &h.node), h.node.clone()));
            let copies = whole.len();
            let heal = if copies == 0 {
                // Copies that are short may be whole together, after the next recovery or by hand: not for us to say.
                Heal::Lost {
                    log: *log,
                    segment: *segment,
                }
            } else if !health.store_down {
                Heal::Upload {
                    log: *log,
                    segment: *segment,
                    descriptor: descriptor.clone(),
                    by: whole,
                }
            } else {
                // Those that are to be taken away give their copies to others, and stay until those have them.
                let staying: Vec<CopyHolder> = alive
                    .iter()
                    .filter(|h| !health.is_leaving(h))
                    .cloned()
                    .collect();
                let new = match staying.len() < rule.copies {
                    true => substitutes(*log, descriptor, &staying, health, rule, now),
                    false => None,
                };
                let shorter = alive.iter().any(&is_short);
                let Some(new) = new.or_else(|| shorter.then(|| descriptor.copies.clone())) else {
                    continue;
                };
                Heal::Copy {
                    log: *log,
                    segment: *segment,
                    descriptor: descriptor.clone(),
                    from: whole,
                    copies: new,
                }
            };
            found.push((copies, heal));
        }
    }
    found.sort_by_key(|(copies, _)| *copies);
    found.into_iter().map(|(_, heal)| heal).collect()
}

/// The holders that a segment is to have: those that live, and others in place of the lost ones. `None` when there is
/// nobody to add.
#[must_use]
pub fn substitutes(
    log: ChannelId,
    descriptor: &SegmentDescriptor,
    alive: &[CopyHolder],
    health: &Health,
    rule: CopyRule,
    now: Duration,
) -> Option<Copies> {
    let mut holders = alive.to_vec();
    while holders.len() < rule.copies {
        let zones: Vec<_> = holders.iter().map(|h| &h.zone).collect();
        let candidates = health.nodes.iter().filter(|n| {
            let as_holder = CopyHolder {
                node: n.node.clone(),
                storage: n.storage,
                zone: n.zone.clone(),
            };
            n.state == NodeState::ReadWrite
                && health.is_alive(&as_holder, now)
                && !holders.iter().any(|h| h.node == n.node)
        });
        // A zone of its own first, then by hash, so that the copies of a lost node go to many others.
        let Some(next) = candidates.min_by_key(|n| {
            (
                zones.iter().filter(|z| ***z == n.zone).count(),
                score(log, &n.node),
            )
        }) else {
            break;
        };
        holders.push(CopyHolder {
            node: next.node.clone(),
            storage: next.storage,
            zone: next.zone.clone(),
        });
    }
    let copies = Copies {
        holders,
        ..descriptor.copies.clone()
    };
    let more = copies.holders.len() > alive.len();
    (more && copies.suffice(0..copies.holders.len())).then_some(copies)
}

fn uploader_score(log: ChannelId, segment: LogSegment, node: &Arc<str>) -> u64 {
    score(log, &format!("{node}/{segment}").into())
}

/// Who uploads a segment now: the first in line, and the next for every `patience` without progress.
#[must_use]
pub fn uploader(
    by: &[CopyHolder],
    without_progress: Duration,
    patience: Duration,
) -> Option<&CopyHolder> {
    let turns = without_progress.as_millis() / patience.as_millis().max(1);
    let turn = turns % u128::try_from(by.len().max(1)).unwrap_or(1);
    by.get(usize::try_from(turn).ok()?)
}

/// Positions that still need the log.
#[derive(Clone, Debug)]
pub struct Horizon {
    /// Every flushed checkpoint, standby, replication cursor and retention rule: the last entry that each does *not* need
    /// any more. None at all: nothing may go.
    pub released: Vec<Lsn>,
}

/// The last segment that may be trimmed: whole segments only, ended, and not needed by anybody.
#[must_use]
pub fn trim_through(view: &LogView, horizon: &Horizon) -> Option<LogSegment> {
    let released = *horizon.released.iter().min()?;
    view.segments
        .iter()
        .take_while(|(_, d)| d.end().is_some_and(|end| end <= released))
        .map(|(segment, _)| *segment)
        .last()
}

/// Whether a node may be taken away: each segment that it holds, and that is not in object storage, has enough other
/// copies that live. Returns those that do not.
#[must_use]
pub fn needs(
    logs: &BTreeMap<ChannelId, LogView>,
    storage: StorageId,
    health: &Health,
    now: Duration,
) -> Vec<(ChannelId, LogSegment)> {
    let mut needs = Vec::new();
    for (log, view) in logs {
        for (segment, descriptor) in &view.segments {
            let holders = &descriptor.copies.holders;
            let held = holders.iter().any(|h| h.storage == storage);
            if !held || descriptor.is_settled() {
                continue;
            }
            let others = (0..holders.len())
                .filter(|&i| holders[i].storage != storage && health.is_alive(&holders[i], now));
            if !descriptor.copies.suffice(others) {
                needs.push((*log, *segment));
            }
        }
    }
    needs
}

/// Whether another look at the place of a new segment is worthwhile: its copies are fewer than the rule asks for, or the
/// loss of one of them would stop the log, and the nodes would give better ones.
#[must_use]
pub fn could_be_wider(
    log: ChannelId,
    copies: &Copies,
    nodes: &[NodeRegistration],
    avoid: &[StorageId],
    rule: CopyRule,
) -> bool {
    let (held, fragile) = (copies.holders.len(), !copies.outlive_any_one());
    let better = |c: &Copies| {
        c.holders.len() > held || c.holders.len() == held && fragile && c.outlive_any_one()
    };
    (held < rule.copies || fragile) && place(log, nodes, avoid, rule).is_ok_and(|c| better(&c))
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Epoch, Timestamp};

    use super::*;
    use crate::copies::Zone;

    fn nodes(zones: &[&str]) -> Vec<NodeRegistration> {
        let node = |(n, zone): (usize, &&str)| NodeRegistration {
            node: format!("n{n}").into(),
            address: "a".into(),
            zone: Zone((*zone).into()),
            storage: StorageId([n as u8; 16]),
            generation: 1,
            state: NodeState::ReadWrite,
            free_bytes: 80,
            total_bytes: 100,
        };
        zones.iter().enumerate().map(node).collect()
    }

    fn sealed(nodes: &[NodeRegistration], holders: &[usize]) -> BTreeMap<ChannelId, LogView> {
        let holder = |&n: &usize| CopyHolder {
            node: nodes[n].node.clone(),
            storage: nodes[n].storage,
            zone: nodes[n].zone.clone(),
        };
        let descriptor = SegmentDescriptor {
            epoch: Epoch(1),
            first: Lsn(1),
            tick_floor: Timestamp(0),
            state: SegmentState::Sealed { end: Lsn(9) },
            copies: Copies {
                holders: holders.iter().map(holder).collect(),
                quorum: 2,
                zones: 2,
            },
        };
        let mut view = LogView::default();
        view.segments.insert(LogSegment(1), descriptor);
        [(ChannelId(1), view)].into()
    }

    /// Says what is done with a segment on the first three of four nodes: the numbers of those who may upload it, or the
    /// numbers of its new holders.
    #[track_caller]
    fn check_plan(change: impl Fn(&mut Health), expect: &str) {
        let nodes = nodes(&["a", "b", "c", "a"]);
        let logs = sealed(&nodes, &[0, 1, 2]);
        let mut health = Health {
            nodes,
            ..Health::default()
        };
        change(&mut health);
        let names = |holders: &[CopyHolder]| {
            let mut names: Vec<_> = holders.iter().map(|h| h.node.to_string()).collect();
            names.sort();
            names.join(" ")
        };
        let now = Duration::from_secs(100);
        let planned = plan(&logs, &health, CopyRule::default(), now);
        let planned: Vec<String> = planned
            .iter()
            .map(|heal| match heal {
                Heal::Upload { by, .. } => format!("upload by {}", names(by)),
                Heal::Copy { from, copies, .. } => {
                    format!("copy from {} to {}", names(from), names(&copies.holders))
                }
                Heal::Lost { .. } => "lost".to_owned(),
            })
            .collect();
        assert_eq!(planned.join("; "), expect);
    }

    #[test]
    fn a_segment_is_uploaded_by_who_has_it_or_copied_while_that_is_impossible() {
        let silent = |h: &mut Health, n: u8, since: u64| {
            h.silent
                .insert(StorageId([n; 16]), Duration::from_secs(since));
        };
        let short = |h: &mut Health, n: u8| {
            let copy = (StorageId([n; 16]), ChannelId(1), LogSegment(1));
            h.short.insert(copy);
        };
        check_plan(|_| {}, "upload by n0 n1 n2");
        check_plan(|h| silent(h, 0, 71), "upload by n0 n1 n2");
        check_plan(|h| silent(h, 0, 70), "upload by n1 n2");
        check_plan(|h| short(h, 1), "upload by n0 n2");
        check_plan(|h| h.store_down = true, "");
        let down = |h: &mut Health| h.store_down = true;
        check_plan(|h| (down(h), silent(h, 0, 71)).0, "");
        check_plan(
            |h| (down(h), silent(h, 0, 70)).0,
            "copy from n1 n2 to n1 n2 n3",
        );
        check_plan(|h| (down(h), short(h, 1)).0, "copy from n0 n2 to n0 n1 n2");
        check_plan(
            |h| (down(h), h.nodes[0].state = NodeState::Drain).0,
            "copy from n0 n1 n2 to n1 n2 n3",
        );
        check_plan(|h| (0..3).for_each(|n| short(h, n)), "lost");
    }

    /// What was placed while some disks were avoided, once they are not avoided any more.
    #[track_caller]
    fn check(zones: &[&str], avoid: &[u8], wider: bool) {
        let (log, rule, nodes) = (ChannelId(1), CopyRule::default(), nodes(zones));
        let avoid: Vec<StorageId> = avoid.iter().map(|n| StorageId([*n; 16])).collect();
        let copies = place(log, &nodes, &avoid, rule).expect("enough nodes");
        assert!(!could_be_wider(log, &copies, &nodes, &avoid, rule));
        assert_eq!(could_be_wider(log, &copies, &nodes, &[], rule), wider);
    }

    /// A log stayed on two nodes of one zone and one of another after the third zone was back: when that one node was
    /// paused, nothing was acknowledged.
    #[test]
    fn a_log_moves_on_when_a_zone_is_back() {
        check(&["a", "b", "c", "a"], &[1], true);
        check(&["a", "b", "c"], &[1], true);
        check(&["a", "b", "c", "a"], &[], false);
        check(&["a", "b", "c", "a"], &[0], false);
        check(&["a", "b", "a", "b"], &[0], false);
    }
}
