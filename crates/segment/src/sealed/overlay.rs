//! Which rows are deleted since when, and so which rows are visible.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use holdfast_index::BitSet;
use holdfast_types::{Timestamp, time::visible};

use super::Core;

/// The earliest delete of each deleted row.
#[derive(Debug)]
pub(super) struct Overlay {
    by_row: HashMap<u32, Timestamp>,
    by_time: BTreeSet<(Timestamp, u32)>,
    /// The rows that no delete has hit. Replaced, not changed, while a reader holds it.
    live: Arc<BitSet>,
}

/// The rows that count for one read.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    All,
    Some(Arc<BitSet>),
}

impl Rows {
    pub(super) fn count(&self, rows: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Some(bits) => bits.count(),
        }
    }

    pub(super) fn into_bits(self, rows: usize) -> BitSet {
        match self {
            Self::All => BitSet::full(rows),
            Self::Some(bits) => Arc::unwrap_or_clone(bits),
        }
    }
}

impl Overlay {
    pub(super) fn new(rows: usize, deletes: Vec<(u32, Timestamp)>) -> Self {
        let mut live = BitSet::full(rows);
        for (row, _) in &deletes {
            live.clear(*row as usize);
        }
        Self {
            by_time: deletes.iter().map(|(row, ts)| (*ts, *row)).collect(),
            by_row: deletes.into_iter().collect(),
            live: Arc::new(live),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_row.len()
    }

    /// An estimate from above of what the maps' nodes take, and the bits.
    pub(super) fn bytes(&self) -> usize {
        self.by_row.capacity() * 26 + self.by_time.len() * 32 + self.live.len() / 8
    }

    pub(super) fn deleted(&self, row: u32) -> Option<Timestamp> {
        self.by_row.get(&row).copied()
    }

    pub(super) fn by_row(&self) -> Vec<(u32, Timestamp)> {
        let mut deletes: Vec<_> = self.by_row.iter().map(|(row, ts)| (*row, *ts)).collect();
        deletes.sort_unstable();
        deletes
    }

    /// Marks a row deleted at `ts`, unless it was deleted earlier. Says whether this is its first delete.
    pub(super) fn delete(&mut self, row: u32, ts: Timestamp) -> bool {
        match self.by_row.get(&row) {
            Some(before) if *before <= ts => false,
            Some(before) => {
                self.by_time.remove(&(*before, row));
                self.by_time.insert((ts, row));
                self.by_row.insert(row, ts);
                false
            }
            None => {
                self.by_time.insert((ts, row));
                self.by_row.insert(row, ts);
                Arc::make_mut(&mut self.live).clear(row as usize);
                true
            }
        }
    }
}

impl Core {
    /// The rows visible at `at` and stamped after `ttl_before`.
    pub(super) fn visible(&self, at: Timestamp, ttl_before: Option<Timestamp>) -> Rows {
        let overlay = self.overlay.read();
        let all_inserted = at >= self.stats.max_ts;
        let none_expired = ttl_before.is_none_or(|expired| expired < self.stats.min_ts);
        if all_inserted && none_expired {
            if overlay.by_row.is_empty() {
                return Rows::All;
            }
            let mut later = overlay.by_time.range((at.next(), 0)..).peekable();
            // `next` saturates: nothing is later than the last stamp.
            if at == Timestamp::MAX || later.peek().is_none() {
                return Rows::Some(overlay.live.clone());
            }
            let mut bits = BitSet::clone(&overlay.live);
            for (_, row) in later {
                bits.set(*row as usize);
            }
            return Rows::Some(Arc::new(bits));
        }
        let mut bits = BitSet::new(self.keys.len());
        for part in &self.parts {
            for (i, inserted) in part.stamps.values().iter().enumerate() {
                let (row, inserted) = (part.base + i, Timestamp(*inserted));
                if inserted <= at && ttl_before.is_none_or(|expired| inserted > expired) {
                    bits.set(row);
                }
            }
        }
        for (row, deleted) in &overlay.by_row {
            let inserted = self.stamp(*row as usize);
            if !visible(inserted, Some(*deleted), at) {
                bits.clear(*row as usize);
            }
        }
        Rows::Some(Arc::new(bits))
    }
}
