//! The newest records, kept in memory for the readers that keep up.

use std::collections::VecDeque;

use holdfast_types::Lsn;

use crate::wal::WalEntry;

/// What an entry costs beside its payload.
const ENTRY_OVERHEAD: usize = 64;

/// A bounded run of consecutive records that ends with the newest.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<WalEntry>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds the next record and forgets the oldest ones beyond the bound.
    pub(super) fn push(&mut self, entry: WalEntry) {
        debug_assert!(
            self.entries
                .back()
                .is_none_or(|last| last.lsn.next() == entry.lsn)
        );
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
        }
    }

    /// Records from `from` to at most `upto`, at least one, about `bytes_max` bytes of them; `None`
    /// when `from` is not kept.
    pub(super) fn read(&self, from: Lsn, upto: Lsn, bytes_max: usize) -> Option<Vec<WalEntry>> {
        let first = self.entries.front()?.lsn;
        let skip = usize::try_from(from.0.checked_sub(first.0)?).ok()?;
        let mut bytes = 0;
        let found: Vec<_> = self
            .entries
            .range(skip.min(self.entries.len())..)
            .take_while(|e| {
                let wanted = e.lsn <= upto && (bytes == 0 || bytes < bytes_max);
                bytes += cost(e);
                wanted
            })
            .cloned()
            .collect();
        (!found.is_empty()).then_some(found)
    }
}

fn cost(entry: &WalEntry) -> usize {
    entry.payload.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_types::Epoch;

    use super::*;

    fn entry(lsn: u64) -> WalEntry {
        WalEntry {
            lsn: Lsn(lsn),
            epoch: Epoch(1),
            payload: Bytes::from_static(&[0; 36]),
        }
    }

    #[test]
    fn the_oldest_records_go_first_and_are_then_unknown() {
        let mut ring = Ring::new(300);
        for lsn in 5..=9 {
            ring.push(entry(lsn));
        }
        let lsns = |found: Option<Vec<WalEntry>>| {
            found.map(|f| f.iter().map(|e| e.lsn.0).collect::<Vec<_>>())
        };
        assert_eq!(lsns(ring.read(Lsn(6), Lsn(9), 1_000)), None);
        assert_eq!(lsns(ring.read(Lsn(7), Lsn(8), 1_000)), Some(vec![7, 8]));
        assert_eq!(lsns(ring.read(Lsn(7), Lsn(9), 1)), Some(vec![7]));
        assert_eq!(lsns(ring.read(Lsn(10), Lsn(12), 1_000)), None);
    }

    #[test]
    fn a_record_larger_than_the_ring_is_not_kept() {
        let mut ring = Ring::new(10);
        ring.push(entry(1));
        assert!(ring.read(Lsn(1), Lsn(1), 10).is_none());
    }
}
