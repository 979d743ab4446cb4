//! A store that forgets everything when dropped: for tests and simulation.

mod session;

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

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_contract_holds() {
        contract::run_embedded(|| async { Arc::new(MemoryStore::new()) as Arc<dyn MetaStore> })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_contract_of_sessions_holds() {
        contract::run_sessions(|| async { Arc::new(MemoryStore::new()) }).await;
    }

    #[tokio::test]
    async fn a_watcher_that_fell_behind_is_told_to_list_again() {
        let store = MemoryStore::with_history(3);
        let mut behind = store.watch("", 0).await.unwrap();
        for i in 0..4 {
            contract::put(&store, "k", &i.to_string()).await.unwrap();
        }
        let told = behind.next().await.unwrap().unwrap_err();
        assert!(
            matches!(
                told,
                MetaError::Compacted {
                    after: 0,
                    oldest: 2
                }
            ),
            "{told}"
        );
        assert!(behind.next().await.is_none());
        assert!(matches!(
            store.watch("", 0).await.err(),
            Some(MetaError::Compacted { .. })
        ));
        let mut just_in_time = store.watch("", 1).await.unwrap();
        for revision in 2..=4 {
            let changes = just_in_time.next().await.unwrap().unwrap();
            assert_eq!(changes.revision, revision);
        }
    }

    #[tokio::test]
    async fn large_values_do_not_pile_up_in_the_history() {
        let store = MemoryStore::new();
        let value = "v".repeat(1 << 20);
        for _ in 0..20 {
            contract::put(&store, "k", &value).await.unwrap();
        }
        assert!(matches!(
            store.watch("", 1).await.err(),
            Some(MetaError::Compacted { .. })
        ));
        assert!(store.watch("", 10).await.is_ok());
    }
}
