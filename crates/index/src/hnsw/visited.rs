//! Which nodes a walk has seen: one mark a node, cleared by counting up.

use std::cell::Cell;

thread_local! {
    /// Marks of the last walk on this thread, kept so that a walk allocates nothing. They fit every index:
    /// they only grow, and an epoch is used once.
    static SPARE: Cell<(Vec<u16>, u16)> = const { Cell::new((Vec::new(), 0)) };
}

pub(super) struct Visited {
    marks: Vec<u16>,
    epoch: u16,
}

impl Visited {
    /// Nothing of `nodes` nodes seen yet.
    pub(super) fn take(nodes: usize) -> Self {
        let (marks, epoch) = SPARE.take();
        let mut visited = Self { marks, epoch };
        if visited.marks.len() < nodes {
            visited.marks.resize(nodes, 0);
        }
        visited.epoch = match visited.epoch.checked_add(1) {
            Some(next) => next,
            None => {
                visited.marks.fill(0);
                1
            }
        };
        visited
    }

    /// Marks `node`; whether this is the first time.
    #[inline(always)]
    pub(super) fn first(&mut self, node: u32) -> bool {
        let mark = &mut self.marks[node as usize];
        let first = *mark != self.epoch;
        *mark = self.epoch;
        first
    }
}

impl Drop for Visited {
    fn drop(&mut self) {
        let spare = (std::mem::take(&mut self.marks), self.epoch);
        // A thread that is ending has no place for it any more.
        let _kept = SPARE.try_with(|place| place.set(spare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_do_not_survive_into_the_next_walk_even_when_epochs_wrap() {
        for round in 0..70_000_usize {
            let mut visited = Visited::take(3 + round % 5);
            assert!(visited.first(2));
            assert!(!visited.first(2));
        }
    }
}
