//! A metadata store that loses the answer of a commit.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use holdfast_meta::{MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned, WatchStream, keys};

/// Does what it is asked; of manifest commits it can be told to lose the answer, and to be out of reach for
/// whoever asks about them next.
pub struct LosesAnswers {
    inner: Arc<dyn MetaStore>,
    commits: AtomicU32,
    silent: AtomicU32,
}

impl LosesAnswers {
    /// Loses nothing yet.
    #[must_use]
    pub fn new(inner: Arc<dyn MetaStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            commits: AtomicU32::new(0),
            silent: AtomicU32::new(0),
        })
    }

    /// The answers of the next so many manifest commits are lost.
    pub fn lose_commits(&self, commits: u32) {
        self.commits.store(commits, Ordering::SeqCst);
    }
}

fn take(counter: &AtomicU32) -> bool {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_ok()
}

fn lost() -> MetaError {
    MetaError::OutcomeUnknown {
        what: "the test".to_owned(),
        problem: "the answer was lost".to_owned(),
    }
}

#[async_trait]
impl MetaStore for LosesAnswers {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        if key.starts_with(keys::MANIFESTS) && take(&self.silent) {
            return Err(lost());
        }
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        self.inner.range(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        let commits = txn
            .puts
            .iter()
            .any(|(key, _)| key.starts_with(keys::MANIFESTS));
        let done = self.inner.txn(txn).await?;
        if commits && take(&self.commits) {
            self.silent.store(1, Ordering::SeqCst);
            return Err(lost());
        }
        Ok(done)
    }

    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError> {
        self.inner.watch(prefix, after_revision).await
    }
}
