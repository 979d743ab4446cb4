//! The hybrid logical timestamp that every row, delete and commit carries.

use std::fmt;

const LOGICAL_BITS: u32 = 18;

/// `physical unix milliseconds << 18 | logical counter`, the form Milvus clients expect.
///
/// A row is visible at `T` iff `insert <= T` and no delete of its key has a stamp in `(insert, T]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every stamp.
    pub const ZERO: Self = Self(0);
    /// After every stamp.
    pub const MAX: Self = Self(u64::MAX);

    /// The first stamp of a millisecond. Milliseconds past the year 4199 saturate.
    #[must_use]
    pub fn from_unix_ms(ms: u64) -> Self {
        Self(ms.min(u64::MAX >> LOGICAL_BITS) << LOGICAL_BITS)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The next larger stamp.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a row stamped `insert`, whose earliest later delete is stamped `deleted`, is visible at `at`.
///
/// This is invariant I5, written once; every read path calls it or is tested against it. A row whose
/// `deleted` equals its `insert` was replaced within its own batch and is never visible.
#[must_use]
pub fn visible(insert: Timestamp, deleted: Option<Timestamp>, at: Timestamp) -> bool {
    insert <= at && deleted.is_none_or(|d| d > at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_round_trip() {
        let ts = Timestamp::from_unix_ms(1_763_700_000_123);
        assert_eq!(ts.unix_ms(), 1_763_700_000_123);
        assert_eq!(ts.next().unix_ms(), 1_763_700_000_123);
    }

    #[test]
    fn a_row_is_visible_from_its_insert_until_just_before_its_delete() {
        let (insert, delete) = (Timestamp(10), Some(Timestamp(20)));
        let seen: Vec<bool> = [9, 10, 19, 20, 21]
            .map(|at| visible(insert, delete, Timestamp(at)))
            .into();
        assert_eq!(seen, [false, true, true, false, false]);
        assert!(visible(insert, None, Timestamp::MAX));
    }
}
