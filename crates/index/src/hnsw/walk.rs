//! Walks over the frozen graph: SEARCH-LAYER, Algorithm 2 of arXiv:1603.09320.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::visited::Visited;
use crate::search::{Cancel, Cancelled};

/// Neighbours whose codes are fetched ahead of the one being compared.
const AHEAD: usize = 6;

/// The distance from the query to a node.
pub(super) trait NodeDistance {
    fn distance(&self, node: u32) -> f32;
    /// Asks for the memory that [`Self::distance`] will read.
    fn prefetch(&self, node: u32);
}

/// Asks for the cache lines of `bytes`.
#[inline(always)]
pub(super) fn prefetch<T>(items: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = items.as_ptr().cast::<i8>();
        for at in (0..size_of_val(items)).step_by(64) {
            // SAFETY: the address lies inside of `items`, and a prefetch reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = items;
}

/// Links of nodes: those of node `i` are `links[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Copy)]
pub(super) struct Links<'a> {
    pub(super) offsets: &'a [u32],
    pub(super) links: &'a [u32],
}

impl<'a> Links<'a> {
    #[inline(always)]
    pub(super) fn of(&self, node: usize) -> &'a [u32] {
        &self.links[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }
}

/// A node and its distance. The order is by distance, then node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) distance: f32,
    pub(super) node: u32,
}

impl Candidate {
    fn key(&self) -> (f32, u32) {
        (self.distance, self.node)
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let ((a, i), (b, j)) = (self.key(), other.key());
        a.total_cmp(&b).then(i.cmp(&j))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == std::cmp::Ordering::Equal
    }
}

impl Eq for Candidate {}

/// Goes from `start` to a neighbour as long as one is nearer. `nodes[p]` is the node at position `p` of
/// the level, and links are positions. Returns a position.
pub(super) fn descend<D: NodeDistance>(
    nodes: &[u32],
    links: Links<'_>,
    start: usize,
    distance: &D,
) -> usize {
    let mut at = start;
    let mut nearest = distance.distance(nodes[at]);
    loop {
        let mut next = at;
        for &position in links.of(at) {
            let d = distance.distance(nodes[position as usize]);
            if d < nearest {
                nearest = d;
                next = position as usize;
            }
        }
        if next == at {
            return at;
        }
        at = next;
    }
}

/// Entries of the pool whose links were followed have this bit set; nodes are numbered below it.
const EXPANDED: u32 = 1 << 31;

/// The `ef` nearest nodes that a walk from `start` finds, nearest first.
pub(super) fn nearest<D: NodeDistance>(
    graph: Links<'_>,
    start: u32,
    ef: usize,
    distance: &D,
    cancel: &Cancel,
) -> Result<Vec<Candidate>, Cancelled> {
    let mut visited = Visited::take(graph.offsets.len() - 1);
    let mut pool: Vec<Candidate> = Vec::with_capacity(ef + 1);
    let mut fresh: Vec<u32> = Vec::with_capacity(64);
    visited.first(start);
    pool.push(Candidate {
        distance: distance.distance(start),
        node: start,
    });
    let mut at = 0;
    while at < pool.len() {
        let node = pool[at].node;
        if node & EXPANDED != 0 {
            at += 1;
            continue;
        }
        cancel.check()?;
        pool[at].node |= EXPANDED;
        fresh.clear();
        fresh.extend(
            graph
                .of(node as usize)
                .iter()
                .filter(|&&x| visited.first(x)),
        );
        for &ahead in fresh.iter().take(AHEAD) {
            distance.prefetch(ahead);
        }
        let mut lowest = at + 1;
        for (i, &x) in fresh.iter().enumerate() {
            if let Some(&ahead) = fresh.get(i + AHEAD) {
                distance.prefetch(ahead);
            }
            let d = distance.distance(x);
            let full = pool.len() == ef;
            if full && d >= pool[ef - 1].distance {
                continue;
            }
            let place = pool.partition_point(|c| c.distance < d);
            if full {
                pool.pop();
            }
            pool.insert(
                place,
                Candidate {
                    distance: d,
                    node: x,
                },
            );
            lowest = lowest.min(place);
            if place < 2 {
                prefetch(&graph.offsets[x as usize..=x as usize + 1]);
            }
        }
        at = lowest;
    }
    for c in &mut pool {
        c.node &= !EXPANDED;
    }
    Ok(pool)
}

/// What a filtered walk is to find.
pub(super) struct Wanted {
    /// Passing nodes that must be nearer than every node left to expand before the walk stops.
    pub(super) settled: usize,
    /// Passing nodes to keep.
    pub(super) keep: usize,
    /// Distances after which a scan would have been cheaper.
    pub(super) budget: usize,
}

/// The nearest passing nodes that a walk from `start` finds, nearest first. Nodes that do not pass are
/// walked through: leaving them out would disconnect the graph. `None` when the budget ran out.
pub(super) fn nearest_passing<D: NodeDistance>(
    graph: Links<'_>,
    start: u32,
    wanted: &Wanted,
    distance: &D,
    passes: impl Fn(u32) -> bool,
    cancel: &Cancel,
) -> Result<Option<Vec<Candidate>>, Cancelled> {
    let mut visited = Visited::take(graph.offsets.len() - 1);
    let mut open: BinaryHeap<Reverse<Candidate>> = BinaryHeap::with_capacity(wanted.settled * 4);
    let mut found: Vec<Candidate> = Vec::with_capacity(wanted.keep + 1);
    let mut fresh: Vec<u32> = Vec::with_capacity(64);
    let mut compared = 1;
    let first = Candidate {
        distance: distance.distance(start),
        node: start,
    };
    visited.first(start);
    open.push(Reverse(first));
    if passes(start) {
        found.push(first);
    }
    while let Some(Reverse(nearest)) = open.pop() {
        cancel.check()?;
        if found
            .get(wanted.settled - 1)
            .is_some_and(|last| nearest.distance > last.distance)
        {
            break;
        }
        if compared > wanted.budget {
            return Ok(None);
        }
        fresh.clear();
        let links = graph.of(nearest.node as usize);
        fresh.extend(links.iter().filter(|&&x| visited.first(x)));
        for &ahead in fresh.iter().take(AHEAD) {
            distance.prefetch(ahead);
        }
        compared += fresh.len();
        for (i, &x) in fresh.iter().enumerate() {
            if let Some(&ahead) = fresh.get(i + AHEAD) {
                distance.prefetch(ahead);
            }
            let candidate = Candidate {
                distance: distance.distance(x),
                node: x,
            };
            // NaN cannot be: distances are ordered, and codes are finite.
            if found
                .get(wanted.settled - 1)
                .is_some_and(|last| candidate.distance >= last.distance)
            {
                // Too far to lead anywhere; it may still be one to keep for the exact comparison.
                if found.len() < wanted.keep && passes(x) {
                    insert(&mut found, candidate, wanted.keep);
                }
                continue;
            }
            open.push(Reverse(candidate));
            if passes(x) {
                insert(&mut found, candidate, wanted.keep);
            }
        }
    }
    Ok(Some(found))
}

/// Which side of a window a node lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Allowed, and nearer than the window.
    Nearer,
    /// Allowed, and not nearer than the window.
    Beyond,
    /// Not allowed.
    Refused,
}

/// What a walk past the nearest nodes is to find.
pub(super) struct WantedBeyond {
    /// Nodes that would have to be settled if the window began at the query.
    pub(super) settled: usize,
    /// Hits asked for.
    pub(super) k: usize,
    /// Distances after which a scan would have been cheaper.
    pub(super) budget: usize,
}

impl WantedBeyond {
    /// Nodes beyond the window's near end that must be settled when `nearer` lie before it.
    ///
    /// The hits lie on the rim of a ball, and are reached from nodes inside and around it: the larger the
    /// ball, the more of those lie outside. Measured at `nearer / k` of 1, 10 and 40, the recall of the
    /// first page takes 1.4, 2 and 3 times its breadth.
    fn settled(&self, nearer: usize) -> usize {
        let pages = nearer as f64 / self.k as f64;
        (self.settled as f64 * (1.0 + pages.sqrt() / 3.0)) as usize
    }
}

/// The allowed nodes nearest beyond the near end of a window that a walk from `start` finds, nearest first.
/// All other nodes are walked through. `None` when the budget ran out.
pub(super) fn nearest_beyond<D: NodeDistance>(
    graph: Links<'_>,
    start: u32,
    wanted: &WantedBeyond,
    distance: &D,
    side: impl Fn(u32, f32) -> Side,
    cancel: &Cancel,
) -> Result<Option<Vec<Candidate>>, Cancelled> {
    let mut visited = Visited::take(graph.offsets.len() - 1);
    let mut open: BinaryHeap<Reverse<Candidate>> = BinaryHeap::with_capacity(wanted.settled * 4);
    // The nearest beyond, as many as must be settled, and the others: the number grows on the way, as
    // nodes nearer than the window turn up. For the same reason no node is too far to be left open.
    let mut best: BinaryHeap<Candidate> = BinaryHeap::with_capacity(wanted.settled * 2);
    let mut others: BinaryHeap<Reverse<Candidate>> = BinaryHeap::new();
    let mut fresh: Vec<u32> = Vec::with_capacity(64);
    let (mut nearer, mut settled, mut compared) = (0, wanted.settled(0), 0);
    visited.first(start);
    fresh.push(start);
    loop {
        for &ahead in fresh.iter().take(AHEAD) {
            distance.prefetch(ahead);
        }
        compared += fresh.len();
        for (i, &x) in fresh.iter().enumerate() {
            if let Some(&ahead) = fresh.get(i + AHEAD) {
                distance.prefetch(ahead);
            }
            let candidate = Candidate {
                distance: distance.distance(x),
                node: x,
            };
            open.push(Reverse(candidate));
            match side(x, candidate.distance) {
                Side::Refused => continue,
                Side::Nearer => {
                    nearer += 1;
                    settled = wanted.settled(nearer);
                }
                Side::Beyond => others.push(Reverse(candidate)),
            }
            // One more in at most: then those in `best` are all nearer than the others.
            while best.len() < settled
                && let Some(Reverse(nearest)) = others.pop()
            {
                best.push(nearest);
            }
            if let Some(Reverse(nearest)) = others.peek()
                && let Some(mut farthest) = best.peek_mut()
                && nearest < &*farthest
            {
                let out = std::mem::replace(&mut *farthest, *nearest);
                drop(farthest);
                others.pop();
                others.push(Reverse(out));
            }
        }
        let Some(Reverse(nearest)) = open.pop() else {
            break;
        };
        cancel.check()?;
        let farthest = best.peek().filter(|_| best.len() >= settled);
        if farthest.is_some_and(|farthest| nearest.distance > farthest.distance) {
            break;
        }
        if compared > wanted.budget {
            return Ok(None);
        }
        fresh.clear();
        let links = graph.of(nearest.node as usize);
        fresh.extend(links.iter().filter(|&&x| visited.first(x)));
    }
    Ok(Some(best.into_sorted_vec()))
}

fn insert(found: &mut Vec<Candidate>, candidate: Candidate, keep: usize) {
    let place = found.partition_point(|c| c < &candidate);
    if place < keep {
        if found.len() == keep {
            found.pop();
        }
        found.insert(place, candidate);
    }
}
