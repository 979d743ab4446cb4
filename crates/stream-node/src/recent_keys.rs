//! When a key was last written: the guard of a read-modify-write.
//!
//! A partial upsert reads a row, changes it and writes it back; it must fail when somebody else wrote the
//! key in between. Only the recent past matters, so two generations of key hashes are kept: an older read
//! is answered "maybe", which the writer meets by reading again.

use std::collections::HashMap;

use holdfast_types::{Pk, Timestamp};

/// Keys per generation: about 2 MiB each.
const GENERATION: usize = 1 << 16;

/// Stamps of the last write of recently written keys. Hash collisions only cause a needless retry.
#[derive(Debug, Default)]
pub(crate) struct RecentKeys {
    young: HashMap<u64, Timestamp>,
    old: HashMap<u64, Timestamp>,
    /// Every write stamped after this is in `young` or `old`.
    complete_after: Timestamp,
    /// Largest stamp in `young`.
    young_max: Timestamp,
    /// Largest stamp in `old`.
    old_max: Timestamp,
}

impl RecentKeys {
    /// Nothing is known of writes stamped at or before `start`.
    pub(crate) fn since(start: Timestamp) -> Self {
        Self {
            complete_after: start,
            ..Self::default()
        }
    }

    /// Notes a write.
    pub(crate) fn note(&mut self, key: &Pk, ts: Timestamp) {
        if self.young.len() >= GENERATION {
            self.complete_after = self.old_max.max(self.complete_after);
            self.old = std::mem::take(&mut self.young);
            self.old_max = self.young_max;
        }
        self.young.insert(key.stable_hash(), ts);
        self.young_max = self.young_max.max(ts);
    }

    /// Whether the key is known not to have been written after `since`.
    pub(crate) fn unchanged(&self, key: &Pk, since: Timestamp) -> bool {
        if since < self.complete_after {
            return false;
        }
        let hash = key.stable_hash();
        let last = self.young.get(&hash).or_else(|| self.old.get(&hash));
        last.is_none_or(|&ts| ts <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_unchanged_until_it_is_written() {
        let mut keys = RecentKeys::since(Timestamp(5));
        assert!(keys.unchanged(&Pk::Int(1), Timestamp(7)));
        keys.note(&Pk::Int(1), Timestamp(8));
        assert!(!keys.unchanged(&Pk::Int(1), Timestamp(7)));
        assert!(keys.unchanged(&Pk::Int(1), Timestamp(8)));
        assert!(keys.unchanged(&Pk::Int(2), Timestamp(7)));
    }

    #[test]
    fn what_was_forgotten_counts_as_changed() {
        let mut keys = RecentKeys::since(Timestamp(5));
        assert!(!keys.unchanged(&Pk::Int(1), Timestamp(4)));
        for i in 0..3 * GENERATION as u64 {
            keys.note(&Pk::Int(i.cast_signed()), Timestamp(10 + i));
        }
        assert!(!keys.unchanged(&Pk::Int(-1), Timestamp(11)));
        assert!(keys.young.len() + keys.old.len() <= 2 * GENERATION);
        let now = Timestamp(10 + 3 * GENERATION as u64);
        assert!(keys.unchanged(&Pk::Int(-1), now));
    }
}
