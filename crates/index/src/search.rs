//! What every search shares: hits, the distance window, and being told to stop.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use holdfast_types::{Code, Coded};

/// One hit. Ordered by distance, then row.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor {
    /// The row.
    pub row: u32,
    /// Its distance from the query; smaller is closer. Never NaN, never -0.
    pub distance: f32,
}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance
            .total_cmp(&other.distance)
            .then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Neighbor {}

/// The distances a search may return: the ring of a range search, or what an iterator has left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Within {
    /// Nearest distance.
    pub from: Bound<f32>,
    /// Farthest distance.
    pub to: Bound<f32>,
}

impl Within {
    /// Every distance.
    pub const ALL: Self = Self {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
    };

    /// Whether a hit at this distance may be returned.
    #[must_use]
    #[inline]
    pub fn contains(&self, distance: f32) -> bool {
        let after = match self.from {
            Bound::Unbounded => true,
            Bound::Included(from) => distance >= from,
            Bound::Excluded(from) => distance > from,
        };
        after
            && match self.to {
                Bound::Unbounded => true,
                Bound::Included(to) => distance <= to,
                Bound::Excluded(to) => distance < to,
            }
    }
}

impl Default for Within {
    fn default() -> Self {
        Self::ALL
    }
}

/// A flag that searches and builds poll, shared by its clones.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag: work that polls it ends soon with [`Cancelled`].
    pub fn cancel(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// [`Cancelled`] once the flag is raised.
    ///
    /// # Errors
    /// [`Cancelled`] once the flag is raised.
    #[inline]
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}

/// The caller gave up on the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search or build was cancelled")]
pub struct Cancelled;

impl Coded for Cancelled {
    fn code(&self) -> Code {
        Code::DeadlineExceeded
    }
}

/// The `k` nearest hits seen so far.
pub(crate) struct TopK {
    heap: BinaryHeap<Neighbor>,
    k: usize,
}

impl TopK {
    pub(crate) fn new(k: usize, rows: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(k.min(rows) + 1),
            k,
        }
    }

    #[inline]
    pub(crate) fn offer(&mut self, hit: Neighbor) {
        if self.heap.len() < self.k {
            self.heap.push(hit);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }

    /// Nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Neighbor> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_smaller_row() {
        let mut top = TopK::new(2, 10);
        for (row, distance) in [(3, 1.0), (1, 1.0), (2, 1.0), (4, 5.0)] {
            top.offer(Neighbor { row, distance });
        }
        let rows: Vec<u32> = top.into_sorted().iter().map(|h| h.row).collect();
        assert_eq!(rows, [1, 2]);
    }

    #[test]
    fn a_window_honours_both_kinds_of_bound() {
        let ring = Within {
            from: Bound::Excluded(1.0),
            to: Bound::Included(2.0),
        };
        assert!(
            !ring.contains(1.0) && ring.contains(1.1) && ring.contains(2.0) && !ring.contains(2.1)
        );
        assert!(Within::ALL.contains(f32::INFINITY) && Within::ALL.contains(f32::NEG_INFINITY));
    }
}
