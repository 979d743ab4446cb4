//! A table that can be watched: what the embedded stores read from and publish to.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    Changes, Event, MetaError, Txn, TxnOutcome, WatchStream,
    table::{Table, Verdict},
};

/// The shared state of an embedded store. Locks are held for memory work only.
#[derive(Debug)]
pub(super) struct Feed {
    table: Mutex<Table>,
    /// Wakes watchers; true once the store is closed.
    closed: watch::Sender<bool>,
}

impl Feed {
    pub(super) fn new(table: Table) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(table),
            closed: watch::Sender::new(false),
        })
    }

    /// The table. Nothing that holds it can panic halfway through a change, so poison means nothing.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes stored changes visible to readers and watchers.
    pub(super) fn publish(&self, changes: Changes) {
        self.table().apply(changes);
        self.closed.send_modify(|_| ());
    }

    /// Evaluates and publishes in one step, for a store that has nowhere else to write.
    pub(super) fn transact(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        let mut table = self.table();
        let outcome = match table.evaluate(txn)? {
            Verdict::Failed => TxnOutcome::Failed,
            Verdict::Unchanged => TxnOutcome::Done {
                revision: table.revision(),
            },
            Verdict::Apply(changes) => {
                let revision = changes.revision;
                table.apply(changes);
                TxnOutcome::Done { revision }
            }
        };
        drop(table);
        self.closed.send_modify(|_| ());
        Ok(outcome)
    }

    /// Deletes these keys, all at once, as far as they are still of the revision given.
    pub(super) fn delete_unchanged(&self, keys: BTreeMap<String, u64>) {
        let mut table = self.table();
        let still = |(key, revision): &(String, u64)| {
            table.get(key).is_some_and(|v| v.mod_revision == *revision)
        };
        let events: Vec<Event> = keys
            .into_iter()
            .filter(still)
            .map(|(key, _)| Event { key, value: None })
            .collect();
        if !events.is_empty() {
            let revision = table.revision() + 1;
            table.apply(Changes { revision, events });
        }
        drop(table);
        self.closed.send_modify(|_| ());
    }

    /// Ends all watches once they have told everything.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: u64,
    ) -> Result<WatchStream, MetaError> {
        // Subscribed before the first look, so that a change between the two wakes the watcher.
        let mut watcher = Watcher {
            closed: self.closed.subscribe(),
            feed: Arc::clone(self),
            prefix: prefix.to_owned(),
            after,
            ready: VecDeque::new(),
        };
        watcher.look()?;
        Ok(stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(Some(changes)) => Some((Ok(changes), Some(watcher))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed())
    }
}

struct Watcher {
    feed: Arc<Feed>,
    closed: watch::Receiver<bool>,
    prefix: String,
    after: u64,
    ready: VecDeque<Changes>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<Changes>, MetaError> {
        loop {
            if let Some(changes) = self.ready.pop_front() {
                return Ok(Some(changes));
            }
            let closed = *self.closed.borrow_and_update();
            let seen = self.after;
            self.look()?;
            if self.after > seen {
                continue;
            }
            if closed || self.closed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Reads on in the history.
    fn look(&mut self) -> Result<(), MetaError> {
        let scan = self.feed.table().since(&self.prefix, self.after)?;
        self.after = scan.read_up_to;
        self.ready.extend(scan.changes);
        Ok(())
    }
}
