//! The ordered map that both embedded stores keep in memory, and its bounded memory of changes. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;

use super::{Changes, Compare, Event, Expect, MetaError, Range, Txn, Versioned};

/// Most transactions a watch that begins late can catch up on.
pub(super) const HISTORY_CHANGES: usize = 4_096;
/// Most bytes of keys and values the memory of changes holds.
pub(super) const HISTORY_BYTES: usize = 16 << 20;
/// Most transactions one call of [`Table::since`] looks at.
const SCAN: usize = 256;

#[derive(Debug)]
struct Entry {
    value: Bytes,
    mod_revision: u64,
}

/// Keys, values and the last changes.
#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
    revision: u64,
    history: VecDeque<Changes>,
    history_bytes: usize,
    /// Changes up to and including this revision are forgotten.
    forgotten: u64,
    history_max: usize,
}

/// What a transaction would do.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A compare does not hold.
    Failed,
    /// All compares hold and nothing would change.
    Unchanged,
    /// These changes are to be stored, then [`Table::apply`]ed.
    Apply(Changes),
}

/// The changes of interest, and how far the history was read for them.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) changes: Vec<Changes>,
    pub(super) read_up_to: u64,
}

impl Table {
    /// A table with these keys at this revision, remembering at most `history_max` changes.
    pub(super) fn new(
        items: impl IntoIterator<Item = Versioned>,
        revision: u64,
        history_max: usize,
    ) -> Self {
        let entries = items
            .into_iter()
            .map(|v| {
                let Versioned {
                    key,
                    value,
                    mod_revision,
                } = v;
                (
                    key,
                    Entry {
                        value,
                        mod_revision,
                    },
                )
            })
            .collect();
        Self {
            entries,
            revision,
            history: VecDeque::new(),
            history_bytes: 0,
            forgotten: revision,
            history_max,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn get(&self, key: &str) -> Option<Versioned> {
        let entry = self.entries.get(key)?;
        Some(versioned(key, entry))
    }

    pub(super) fn range(&self, prefix: &str) -> Range {
        Range {
            items: self
                .under(prefix)
                .map(|(key, entry)| versioned(key, entry))
                .collect(),
            revision: self.revision,
        }
    }

    /// What `txn` would do to this table.
    pub(super) fn evaluate(&self, txn: Txn) -> Result<Verdict, MetaError> {
        txn.check()?;
        let Txn {
            compares,
            puts,
            deletes,
        } = txn;
        if !compares.iter().all(|c| self.holds(c)) {
            return Ok(Verdict::Failed);
        }
        let mut events: Vec<Event> = puts
            .into_iter()
            .map(|(key, value)| Event {
                key,
                value: Some(value),
            })
            .collect();
        let removed = deletes
            .into_iter()
            .filter(|key| self.entries.contains_key(key));
        events.extend(removed.map(|key| Event { key, value: None }));
        if events.is_empty() {
            return Ok(Verdict::Unchanged);
        }
        events.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Verdict::Apply(Changes {
            revision: self.revision + 1,
            events,
        }))
    }

    /// Makes the changes of a verdict of this very table state.
    pub(super) fn apply(&mut self, changes: Changes) {
        assert_eq!(
            changes.revision,
            self.revision + 1,
            "changes are applied in order"
        );
        self.revision = changes.revision;
        for event in &changes.events {
            match &event.value {
                Some(value) => {
                    let entry = Entry {
                        value: value.clone(),
                        mod_revision: changes.revision,
                    };
                    self.entries.insert(event.key.clone(), entry);
                }
                None => {
                    self.entries.remove(&event.key);
                }
            }
        }
        self.history_bytes += weight(&changes);
        self.history.push_back(changes);
        while self.history.len() > self.history_max || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= weight(&oldest);
            self.forgotten = oldest.revision;
        }
    }

    /// The changes under `prefix` with a revision greater than `after`; a part of them when there are
    /// many, see [`Scan::read_up_to`].
    pub(super) fn since(&self, prefix: &str, after: u64) -> Result<Scan, MetaError> {
        if after < self.forgotten {
            return Err(MetaError::Compacted {
                after,
                oldest: self.forgotten + 1,
            });
        }
        let start = self.history.partition_point(|c| c.revision <= after);
        let mut scan = Scan {
            changes: Vec::new(),
            read_up_to: after,
        };
        for changes in self.history.iter().skip(start).take(SCAN) {
            scan.read_up_to = changes.revision;
            let events: Vec<Event> = changes
                .events
                .iter()
                .filter(|e| e.key.starts_with(prefix))
                .cloned()
                .collect();
            if !events.is_empty() {
                scan.changes.push(Changes {
                    revision: changes.revision,
                    events,
                });
            }
        }
        Ok(scan)
    }

    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.entries.get(&compare.key);
        match &compare.expect {
            Expect::Absent => entry.is_none(),
            Expect::Revision(revision) => entry.is_some_and(|e| e.mod_revision == *revision),
            Expect::Value(value) => entry.is_some_and(|e| e.value == *value),
            Expect::PrefixAbsent => self.under(&compare.key).next().is_none(),
        }
    }
}

fn versioned(key: &str, entry: &Entry) -> Versioned {
    Versioned {
        key: key.to_owned(),
        value: entry.value.clone(),
        mod_revision: entry.mod_revision,
    }
}

/// Bytes the history holds for these changes, their small allocations included.
fn weight(changes: &Changes) -> usize {
    let per_event = |e: &Event| 64 + e.key.len() + e.value.as_ref().map_or(0, Bytes::len);
    64 + changes.events.iter().map(per_event).sum::<usize>()
}
