//! When a key was last written: the guard of a read-modify-write.
//!
//! A partial upsert reads a row, changes it and writes it back; it must fail when somebody else wrote the
//! key in between. Only the recent past matters, so two generations of key hashes are kept: an older read
//! is answered "maybe", which the writer meets by reading again. Nothing is kept while nobody asks: the
//! first to ask is answered "maybe", and keys are noted until two generations pass without a question.

use std::{collections::HashMap, sync::Arc};

use holdfast_runtime::{MemoryBudget, MemoryKind, Reservation};
use holdfast_types::{Pk, Timestamp};

/// Keys per generation: about 1 MiB each.
const GENERATION: usize = 1 << 15;
/// Bytes of the map for each entry it has room for: hash, stamp, a control byte, and the share of room that
/// a map keeps free.
const ENTRY_BYTES: usize = 20;

/// Stamps of the last write of recently written keys. Hash collisions only cause a needless retry.
#[derive(Debug)]
pub(crate) struct RecentKeys {
    notes: Option<Notes>,
    memory: Reservation,
}

#[derive(Debug)]
struct Notes {
    young: HashMap<u64, Timestamp>,
    old: HashMap<u64, Timestamp>,
    /// Every write stamped after this is in `young` or `old`.
    complete_after: Timestamp,
    /// Largest stamp in `young`.
    young_max: Timestamp,
    /// Largest stamp in `old`.
    old_max: Timestamp,
    /// Whether somebody asked since `young` was begun.
    asked: bool,
}

impl RecentKeys {
    /// Nobody has asked yet.
    pub(crate) fn asleep(budget: &Arc<MemoryBudget>) -> Self {
        Self {
            notes: None,
            memory: budget.charge(MemoryKind::Wal, 0),
        }
    }

    /// Whether writes have to be noted.
    pub(crate) fn is_awake(&self) -> bool {
        self.notes.is_some()
    }

    /// Notes writes from now on; nothing is known of those stamped at or before `now`.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        let notes = self.notes.get_or_insert_with(|| Notes {
            young: HashMap::new(),
            old: HashMap::new(),
            complete_after: now,
            young_max: Timestamp::ZERO,
            old_max: Timestamp::ZERO,
            asked: true,
        });
        notes.asked = true;
    }

    /// Notes a write, while awake.
    pub(crate) fn note(&mut self, key: &Pk, ts: Timestamp) {
        let Some(notes) = &mut self.notes else {
            return;
        };
        if notes.young.len() >= GENERATION {
            if !notes.asked && !notes.old.is_empty() {
                self.notes = None;
                return;
            }
            notes.complete_after = notes.old_max.max(notes.complete_after);
            notes.old = std::mem::take(&mut notes.young);
            notes.old_max = notes.young_max;
            notes.asked = false;
        }
        notes.young.insert(key.stable_hash(), ts);
        notes.young_max = notes.young_max.max(ts);
    }

    /// Accounts for what is kept by now.
    pub(crate) fn account(&mut self) {
        let entries = self
            .notes
            .as_ref()
            .map_or(0, |notes| notes.young.capacity() + notes.old.capacity());
        let bytes = (entries * ENTRY_BYTES) as u64;
        if bytes != self.memory.bytes() {
            self.memory.resize(bytes);
        }
    }

    /// Whether the key is known not to have been written after `since`. Nothing stamped after `settled` is
    /// stored, where that is known: such writes were refused.
    pub(crate) fn unchanged(&self, key: &Pk, since: Timestamp, settled: Option<Timestamp>) -> bool {
        let Some(notes) = &self.notes else {
            return false;
        };
        let settled = settled.unwrap_or(Timestamp::MAX);
        if since < notes.complete_after.min(settled) {
            return false;
        }
        let hash = key.stable_hash();
        let last = notes.young.get(&hash).or_else(|| notes.old.get(&hash));
        last.is_none_or(|&ts| ts <= since || ts > settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awake(now: u64) -> RecentKeys {
        let mut keys = RecentKeys::asleep(&MemoryBudget::new(1 << 30));
        keys.wake(Timestamp(now));
        keys
    }

    fn unchanged(keys: &RecentKeys, key: i64, since: u64) -> bool {
        keys.unchanged(&Pk::Int(key), Timestamp(since), None)
    }

    #[test]
    fn a_key_is_unchanged_until_it_is_written() {
        let mut keys = awake(5);
        assert!(unchanged(&keys, 1, 7));
        keys.note(&Pk::Int(1), Timestamp(8));
        assert!(!unchanged(&keys, 1, 7));
        assert!(unchanged(&keys, 1, 8));
        assert!(unchanged(&keys, 2, 7));
    }

    #[test]
    fn what_was_forgotten_counts_as_changed() {
        let mut keys = awake(5);
        assert!(!unchanged(&keys, 1, 4));
        for i in 0..3 * GENERATION as u64 {
            keys.wake(Timestamp(0));
            keys.note(&Pk::Int(i.cast_signed()), Timestamp(10 + i));
        }
        assert!(!unchanged(&keys, -1, 11));
        assert!(unchanged(&keys, -1, 10 + 3 * GENERATION as u64));
    }

    #[test]
    fn nothing_is_kept_while_nobody_asks() {
        let budget = MemoryBudget::new(1 << 30);
        let mut keys = RecentKeys::asleep(&budget);
        keys.note(&Pk::Int(1), Timestamp(6));
        assert!(!unchanged(&keys, 1, 7), "asleep, it can't know");
        keys.wake(Timestamp(7));
        assert!(unchanged(&keys, 1, 7));
        for i in 0..2 * GENERATION as u64 {
            keys.note(&Pk::Int(i.cast_signed()), Timestamp(10 + i));
        }
        keys.account();
        let most = 2 * 2 * GENERATION * ENTRY_BYTES;
        let held = budget.used(MemoryKind::Wal);
        assert!(held > 0 && held <= most as u64, "{held}");
        for i in 0..2 * GENERATION as u64 {
            keys.note(&Pk::Int(i.cast_signed()), Timestamp(10 << 20 | i));
        }
        keys.account();
        assert!(!keys.is_awake());
        assert_eq!(budget.used(MemoryKind::Wal), 0);
    }

    #[test]
    fn a_write_that_was_refused_changed_nothing() {
        let mut keys = awake(9);
        keys.note(&Pk::Int(1), Timestamp(12));
        let settled = Some(Timestamp(8));
        assert!(!unchanged(&keys, 1, 8), "it may be under way");
        assert!(keys.unchanged(&Pk::Int(1), Timestamp(8), settled));
        assert!(!keys.unchanged(&Pk::Int(1), Timestamp(7), settled));
    }
}
