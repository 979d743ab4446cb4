//! Watch responses put together to whole transactions. Pure.
//!
//! etcd tells the events of one revision together, but cuts a large response into fragments, anywhere. A
//! stream that breaks is opened again **at** the last revision told, not after it: etcd before 3.4.36, 3.5.19
//! and 3.6.0 forgets the deletes of the very revision it was compacted at, so that a watch that begins there
//! would miss them. Beginning one revision early makes such a watch fail as compacted instead. What is told
//! twice is dropped here.

use etcd_client::proto::PbEvent;
use holdfast_meta::{Changes, Event, MetaError};

use crate::keyspace::{Keyspace, revision};

/// `type` of an event that deleted its key.
const DELETE: i32 = 1;

/// What a watch has told, and what it holds back because its transaction may not be complete.
#[derive(Debug)]
pub(crate) struct Batches {
    /// Everything up to this revision was told.
    after: u64,
    partial: Option<Changes>,
}

impl Batches {
    /// Nothing up to `after` is to be told.
    pub(crate) fn new(after: u64) -> Self {
        Self {
            after,
            partial: None,
        }
    }

    /// Everything up to this revision was told.
    pub(crate) fn after(&self) -> u64 {
        self.after
    }

    /// Where a stream begins; the half of a transaction that a broken one told is forgotten.
    pub(crate) fn begin(&mut self) -> i64 {
        self.partial = None;
        i64::try_from(self.after.max(1)).unwrap_or(i64::MAX)
    }

    /// All that happened up to this revision was told on the stream.
    pub(crate) fn progress(&mut self, revision: u64) {
        if self.partial.is_none() {
            self.after = self.after.max(revision);
        }
    }

    /// Takes the events of one response; `cut` when the next response continues it. Returns the transactions
    /// that are complete.
    pub(crate) fn take(
        &mut self,
        keys: &Keyspace,
        events: Vec<PbEvent>,
        cut: bool,
    ) -> Result<Vec<Changes>, MetaError> {
        let mut done = Vec::new();
        for event in events {
            let Some(kv) = event.kv else {
                continue;
            };
            let revision = revision(kv.mod_revision);
            if revision <= self.after {
                continue;
            }
            let told = Event {
                key: keys.stripped(kv.key)?,
                value: (event.r#type != DELETE).then(|| kv.value.into()),
            };
            match &mut self.partial {
                Some(partial) if partial.revision == revision => partial.events.push(told),
                partial => {
                    let next = Changes {
                        revision,
                        events: vec![told],
                    };
                    if let Some(complete) = partial.replace(next) {
                        self.after = complete.revision;
                        done.push(in_order(complete));
                    }
                }
            }
        }
        if !cut && let Some(complete) = self.partial.take() {
            self.after = complete.revision;
            done.push(in_order(complete));
        }
        Ok(done)
    }
}

/// Ascending by key. etcd tells changes in the order the transaction made them; of a key that was changed
/// twice (never by Holdfast) the last one counts.
fn in_order(mut changes: Changes) -> Changes {
    changes.events.sort_by(|a, b| a.key.cmp(&b.key));
    changes.events.reverse();
    changes.events.dedup_by(|a, b| a.key == b.key);
    changes.events.reverse();
    changes
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbKeyValue;
    use proptest::{
        prelude::*,
        test_runner::{Config, RngSeed},
    };

    use super::*;

    fn keys() -> Keyspace {
        Keyspace::new("/p/".to_owned())
    }

    fn event(revision: u64, key: &str, value: Option<&str>) -> PbEvent {
        PbEvent {
            r#type: i32::from(value.is_none()),
            kv: Some(PbKeyValue {
                key: format!("/p/{key}").into_bytes(),
                value: value.unwrap_or_default().as_bytes().to_vec(),
                mod_revision: i64::try_from(revision).unwrap(),
                ..PbKeyValue::default()
            }),
            prev_kv: None,
        }
    }

    fn put(revision: u64, key: &str) -> PbEvent {
        event(revision, key, Some("v"))
    }

    fn shape(changes: &[Changes]) -> Vec<(u64, Vec<&str>)> {
        changes
            .iter()
            .map(|c| (c.revision, c.events.iter().map(|e| &*e.key).collect()))
            .collect()
    }

    #[test]
    fn one_response_is_split_by_revision_and_ordered_by_key() {
        let mut batches = Batches::new(4);
        let events = vec![put(5, "b"), put(5, "a"), event(6, "a", None), put(7, "c")];
        let done = batches.take(&keys(), events, false).unwrap();
        let wanted = [(5, vec!["a", "b"]), (6, vec!["a"]), (7, vec!["c"])];
        assert_eq!(shape(&done), wanted);
        assert_eq!(done[1].events[0].value, None);
        assert_eq!(batches.after(), 7);
    }

    #[test]
    fn a_revision_that_is_cut_is_held_back_until_its_end() {
        let mut batches = Batches::new(0);
        let first = batches
            .take(&keys(), vec![put(2, "a"), put(3, "a")], true)
            .unwrap();
        assert_eq!(shape(&first), [(2, vec!["a"])]);
        batches.progress(9);
        assert_eq!(batches.after(), 2, "nothing is skipped for a progress note");
        assert_eq!(batches.take(&keys(), vec![put(3, "b")], true).unwrap(), []);
        let last = batches.take(&keys(), vec![put(3, "c")], false).unwrap();
        assert_eq!(shape(&last), [(3, vec!["a", "b", "c"])]);
    }

    #[test]
    fn a_new_stream_forgets_the_half_and_drops_what_was_told() {
        let mut batches = Batches::new(0);
        let told = batches
            .take(&keys(), vec![put(2, "a"), put(3, "a")], true)
            .unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(batches.begin(), 2);
        let again = vec![put(2, "a"), put(3, "a"), put(3, "b")];
        let done = batches.take(&keys(), again, false).unwrap();
        assert_eq!(shape(&done), [(3, vec!["a", "b"])]);
    }

    #[test]
    fn a_quiet_watch_moves_on_with_the_store() {
        let mut batches = Batches::new(0);
        assert_eq!(batches.begin(), 1, "0 would mean from now on");
        batches.progress(100);
        assert_eq!(batches.begin(), 100);
        batches.progress(50);
        assert_eq!(batches.begin(), 100);
    }

    #[test]
    fn the_last_of_two_changes_of_a_key_counts() {
        let mut batches = Batches::new(0);
        let events = vec![put(2, "a"), put(2, "b"), event(2, "a", None)];
        let done = batches.take(&keys(), events, false).unwrap();
        assert_eq!(shape(&done), [(2, vec!["a", "b"])]);
        assert_eq!(done[0].events[0].value, None);
    }

    proptest! {
        #![proptest_config(Config { rng_seed: RngSeed::Fixed(7), ..Config::default() })]

        /// However responses are cut, and wherever streams break, each transaction is told once and whole.
        #[test]
        fn cuts_and_breaks_change_nothing(
            sizes in prop::collection::vec(1usize..5, 1..12),
            cuts in prop::collection::vec((1usize..6, any::<bool>()), 1..40),
        ) {
            let mut log = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                for key in 0..*size {
                    log.push(put(2 + at as u64, &key.to_string()));
                }
            }
            let mut whole = Batches::new(0);
            let wanted = whole.take(&keys(), log.clone(), false).unwrap();

            let mut batches = Batches::new(0);
            let mut told = Vec::new();
            let mut at = 0;
            for (length, breaks) in cuts {
                if breaks {
                    let from = batches.begin();
                    at = log.iter().position(|e| e.kv.as_ref().unwrap().mod_revision >= from).unwrap();
                }
                let end = (at + length).min(log.len());
                told.extend(batches.take(&keys(), log[at..end].to_vec(), end < log.len()).unwrap());
                at = end;
            }
            told.extend(batches.take(&keys(), log[at..].to_vec(), false).unwrap());
            prop_assert_eq!(told, wanted);
        }
    }
}
