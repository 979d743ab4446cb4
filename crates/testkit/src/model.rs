//! What a read at a stamp must show.

use std::collections::BTreeMap;

use holdfast_types::Timestamp;

/// One acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Rows, in order: of one key the later row counts.
    Put(Vec<(i64, i64)>),
    /// Keys.
    Delete(Vec<i64>),
    /// Everything.
    Truncate,
    /// Every key for which the rest of a division is this: a partition.
    DropKeys {
        /// Divide by this.
        by: i64,
        /// The rest.
        rest: i64,
    },
}

/// All acknowledged writes by stamp.
#[derive(Clone, Debug, Default)]
pub struct Model(BTreeMap<Timestamp, Change>);

impl Model {
    /// Notes an acknowledged write.
    ///
    /// # Panics
    /// When the stamp was given before.
    pub fn note(&mut self, ts: Timestamp, change: Change) {
        let before = self.0.insert(ts, change);
        assert_eq!(before, None, "stamp {ts} was given twice");
    }

    /// The rows visible at a stamp.
    #[must_use]
    pub fn at(&self, ts: Timestamp) -> BTreeMap<i64, i64> {
        let mut rows = BTreeMap::new();
        for change in self.0.range(..=ts).map(|(_, change)| change) {
            match change {
                Change::Put(put) => rows.extend(put.iter().copied()),
                Change::Delete(keys) => rows.retain(|key, _| !keys.contains(key)),
                Change::Truncate => rows.clear(),
                Change::DropKeys { by, rest } => rows.retain(|key, _| key.rem_euclid(*by) != *rest),
            }
        }
        rows
    }

    /// The stamps of all writes.
    #[must_use]
    pub fn stamps(&self) -> Vec<Timestamp> {
        self.0.keys().copied().collect()
    }

    /// The last truncation.
    #[must_use]
    pub fn truncated(&self) -> Timestamp {
        let last = self
            .0
            .iter()
            .rfind(|(_, change)| **change == Change::Truncate);
        last.map_or(Timestamp::ZERO, |(ts, _)| *ts)
    }
}
