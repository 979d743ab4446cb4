//! A store that forgets everything when dropped: for tests and simulation.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned, WatchStream,
    feed::Feed,
    table::{HISTORY_CHANGES, Table},
};

/// Keeps everything in memory. Transactions take effect at once, on the caller's thread.
#[derive(Debug)]
pub struct MemoryStore {
    feed: Arc<Feed>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_history(HISTORY_CHANGES)
    }

    /// An empty store that remembers at most this many transactions for late watchers.
    #[must_use]
    pub fn with_history(changes_max: usize) -> Self {
        Self {
            feed: Feed::new(Table::new([], 0, changes_max)),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.feed.close();
    }
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        Ok(self.feed.table().get(key))
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        Ok(self.feed.table().range(prefix))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        self.feed.transact(txn)
    }

    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError> {
        self.feed.watch(prefix, after_revision)
    }
}
