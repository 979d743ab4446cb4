//! Which log-nodes hold a new segment: enough zones first, then free space, then few different partners.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_types::ChannelId;

use crate::{
    copies::{Copies, CopyHolder, StorageId},
    meta::{NodeRegistration, NodeState},
};

/// How many copies a segment has, and how many of them an acknowledgement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRule {
    /// Copies of a segment.
    pub copies: usize,
    /// Durable copies before an acknowledgement.
    pub quorum: usize,
    /// Zones those copies must lie in.
    pub zones: usize,
    /// Different nodes with which one node shares segments, where there is a choice: fewer of them make it less
    /// likely that the loss of any few nodes takes all copies of something.
    pub scatter: usize,
}

impl Default for CopyRule {
    fn default() -> Self {
        Self {
            copies: 3,
            quorum: 2,
            zones: 2,
            scatter: 6,
        }
    }
}

/// Why no holders can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{usable} log-nodes in {zones} zones are usable: too few for {} copies in {} zones",
    rule.quorum,
    rule.zones
)]
pub struct TooFewNodes {
    /// What was asked for.
    pub rule: CopyRule,
    /// Nodes that take new segments.
    pub usable: usize,
    /// Their zones.
    pub zones: usize,
}

/// Below this share of free space, in percent, a node is only chosen when the others are too few for an acknowledgement.
const FREE_PERCENT_MIN: u64 = 20;

/// Holders for a new segment of `log`.
///
/// `avoid` are disks that are not to be chosen: slow, silent or lost ones. Of the rest, those are usable that take writes
/// and have space, and those with little space where the others are too few: what nodes say of their space is as old as
/// their start, one that is really full refuses, and a log that cannot be opened at all helps nobody. One is chosen from each zone while there are zones, more per zone after that. The choice is a function of
/// the arguments: everybody who asks gets the same.
///
/// # Errors
/// [`TooFewNodes`] when an acknowledgement would not be possible. Fewer than `rule.copies` holders, but enough for an
/// acknowledgement, are no error: the log goes on, and healing adds a copy later.
pub fn place(
    log: ChannelId,
    nodes: &[NodeRegistration],
    avoid: &[StorageId],
    rule: CopyRule,
) -> Result<Copies, TooFewNodes> {
    let takes_writes =
        |n: &&NodeRegistration| n.state == NodeState::ReadWrite && !avoid.contains(&n.storage);
    let all: Vec<&NodeRegistration> = nodes.iter().filter(takes_writes).collect();
    let roomy = all.iter().copied().filter(|n| has_space(n)).collect();
    place_on(log, roomy, rule).or_else(|_| place_on(log, all, rule))
}

fn has_space(node: &NodeRegistration) -> bool {
    let needed = u128::from(node.total_bytes) * u128::from(FREE_PERCENT_MIN);
    u128::from(node.free_bytes) * 100 >= needed
}

/// Holders among these nodes.
fn place_on(
    log: ChannelId,
    mut usable: Vec<&NodeRegistration>,
    rule: CopyRule,
) -> Result<Copies, TooFewNodes> {
    usable.sort_by(|a, b| a.node.cmp(&b.node));
    let circle = circle(&usable);
    // Neighbours on a circle of alternating zones share segments; a node's partners are those within `scatter / 2` of it.
    let weight = |node: &NodeRegistration| (score(log, &node.node), node.node.clone());
    let Some(start) = (0..circle.len()).min_by_key(|&i| {
        // Space counts in eighths, so that nodes that are about equally full are told apart by the hash only.
        let fullness = 8 - eighths_free(circle[i]);
        (fullness, weight(circle[i]))
    }) else {
        return Err(TooFewNodes {
            rule,
            usable: 0,
            zones: 0,
        });
    };
    let reach = rule.scatter.max(rule.copies);
    let mut near: Vec<&NodeRegistration> = (1..circle.len())
        .map(|step| {
            // 1, -1, 2, -2, ... steps away from the first.
            let far = step.div_ceil(2);
            let at = if step % 2 == 1 {
                start + far
            } else {
                start + circle.len() - far
            };
            circle[at % circle.len()]
        })
        .collect();
    // Within reach the emptier ones first; those out of reach only when zones or copies are lacking.
    let within = reach.min(near.len());
    near[..within].sort_by_key(|n| (8 - eighths_free(n), weight(n)));
    let mut chosen = vec![circle[start]];
    while chosen.len() < rule.copies {
        let taken = |n: &NodeRegistration| chosen.iter().any(|c| c.node == n.node);
        let in_zone = |n: &NodeRegistration| chosen.iter().filter(|c| c.zone == n.zone).count();
        let Some(next) = near.iter().filter(|n| !taken(n)).min_by_key(|n| in_zone(n)) else {
            break;
        };
        chosen.push(next);
    }
    let copies = Copies {
        holders: chosen
            .iter()
            .map(|n| CopyHolder {
                node: n.node.clone(),
                storage: n.storage,
                zone: n.zone.clone(),
            })
            .collect(),
        quorum: rule.quorum,
        zones: rule.zones,
    };
    if copies.suffice(0..copies.holders.len()) {
        Ok(copies)
    } else {
        let mut zones: Vec<_> = usable.iter().map(|n| &n.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        Err(TooFewNodes {
            rule,
            usable: usable.len(),
            zones: zones.len(),
        })
    }
}

/// Nodes in an order in which neighbours lie in different zones as long as possible.
fn circle<'a>(nodes: &[&'a NodeRegistration]) -> Vec<&'a NodeRegistration> {
    let mut zones: BTreeMap<&str, Vec<&'a NodeRegistration>> = BTreeMap::new();
    for node in nodes {
        zones.entry(&node.zone.0).or_default().push(node);
    }
    let longest = zones.values().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|round| zones.values().filter_map(move |z| z.get(round)))
        .copied()
        .collect()
}

fn eighths_free(node: &NodeRegistration) -> u64 {
    let total = node.total_bytes.max(1);
    let eighths = u128::from(node.free_bytes) * 8 / u128::from(total);
    u64::try_from(eighths).unwrap_or(8).min(8)
}

/// A number that depends on a log and a name only: who has the lowest is chosen first (rendezvous hashing).
#[must_use]
pub fn score(log: ChannelId, name: &Arc<str>) -> u64 {
    // FNV-1a, then the finalizer of SplitMix64, which spreads the short names' few bits.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in log.0.to_le_bytes().iter().chain(name.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copies::Zone;

    fn node(n: u8, zone: &str) -> NodeRegistration {
        NodeRegistration {
            node: format!("n{n}").into(),
            address: "a".into(),
            zone: Zone(zone.into()),
            storage: StorageId([n; 16]),
            generation: 1,
            state: NodeState::ReadWrite,
            free_bytes: 80,
            total_bytes: 100,
        }
    }

    fn five() -> Vec<NodeRegistration> {
        vec![
            node(0, "a"),
            node(1, "a"),
            node(2, "b"),
            node(3, "b"),
            node(4, "c"),
        ]
    }

    fn zones(copies: &Copies) -> usize {
        let mut zones: Vec<_> = copies.holders.iter().map(|h| &h.zone).collect();
        zones.sort_unstable();
        zones.dedup();
        zones.len()
    }

    #[test]
    fn three_zones_hold_one_copy_each() {
        for log in 0..50 {
            let copies = place(ChannelId(log), &five(), &[], CopyRule::default()).unwrap();
            assert_eq!((copies.holders.len(), zones(&copies)), (3, 3));
        }
    }

    #[test]
    fn a_lost_zone_leaves_two_and_one() {
        let copies = place(
            ChannelId(1),
            &five(),
            &[StorageId([4; 16])],
            CopyRule::default(),
        )
        .unwrap();
        assert_eq!((copies.holders.len(), zones(&copies)), (3, 2));
    }

    #[test]
    fn nodes_that_drain_fail_or_are_full_are_not_chosen() {
        for state in [NodeState::Drain, NodeState::ReadOnly, NodeState::DataLoss] {
            let mut nodes = five();
            nodes[2].state = state;
            nodes[0].free_bytes = 19;
            for log in 0..50 {
                let copies = place(ChannelId(log), &nodes, &[], CopyRule::default()).unwrap();
                assert!(copies.holders.iter().all(|h| *h.node != *"n2"));
                assert!(copies.holders.iter().all(|h| *h.node != *"n0"));
            }
        }
    }

    /// Logs could not be opened at all when every disk was four fifths full.
    #[test]
    fn nodes_with_little_space_are_better_than_none() {
        let mut nodes = five();
        for node in &mut nodes {
            node.free_bytes = 16;
        }
        let copies = place(ChannelId(1), &nodes, &[], CopyRule::default()).unwrap();
        assert_eq!((copies.holders.len(), zones(&copies)), (3, 3));
        // Two with space in two zones are enough for an acknowledgement, and the others are spared.
        nodes[0].free_bytes = 80;
        nodes[2].free_bytes = 80;
        let copies = place(ChannelId(1), &nodes, &[], CopyRule::default()).unwrap();
        assert!(
            copies
                .holders
                .iter()
                .all(|h| *h.node == *"n0" || *h.node == *"n2")
        );
        // With space in one zone only, nothing could be acknowledged.
        nodes[2].free_bytes = 16;
        let copies = place(ChannelId(1), &nodes, &[], CopyRule::default()).unwrap();
        assert!(zones(&copies) >= 2);
    }

    #[test]
    fn one_zone_cannot_acknowledge() {
        let nodes = [node(0, "a"), node(1, "a"), node(2, "a")];
        let error = place(ChannelId(1), &nodes, &[], CopyRule::default()).unwrap_err();
        assert_eq!((error.usable, error.zones), (3, 1));
    }

    #[test]
    fn logs_are_spread_and_partners_are_few() {
        let nodes: Vec<_> = (0..30)
            .map(|n| node(n, ["a", "b", "c"][usize::from(n % 3)]))
            .collect();
        let mut held: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for log in 0..600 {
            for holder in place(ChannelId(log), &nodes, &[], CopyRule::default())
                .unwrap()
                .holders
            {
                *held.entry(holder.node).or_default() += 1;
            }
        }
        let (fewest, most) = (held.values().min(), held.values().max());
        assert_eq!(held.len(), 30);
        assert!(fewest >= Some(&25) && most <= Some(&110), "{held:?}");
    }
}
