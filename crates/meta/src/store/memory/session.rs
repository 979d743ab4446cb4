//! Sessions of a store in memory. Their owner is in this process, so it cannot fall silent, only drop them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{runtime::Handle, sync::watch, time};

use super::MemoryStore;
use crate::store::{
    MetaError, Txn, TxnOutcome,
    feed::Feed,
    session::{Session, Sessions},
};

#[async_trait]
impl Sessions for MemoryStore {
    async fn open_session(self: Arc<Self>, ttl: Duration) -> Result<Box<dyn Session>, MetaError> {
        Ok(Box::new(MemorySession {
            keys: Arc::new(Keys {
                feed: Arc::clone(&self.feed),
                put: Mutex::new(Some(BTreeMap::new())),
            }),
            ttl,
            over: watch::Sender::new(false),
        }))
    }
}

struct MemorySession {
    keys: Arc<Keys>,
    ttl: Duration,
    over: watch::Sender<bool>,
}

struct Keys {
    feed: Arc<Feed>,
    /// The keys with the revisions they were put at; none once the session is over.
    put: Mutex<Option<BTreeMap<String, u64>>>,
}

impl Keys {
    fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(put) = &mut *put else {
            return Err(MetaError::Closed("the session ended".to_owned()));
        };
        let keys: Vec<String> = txn.puts.iter().map(|(key, _)| key.clone()).collect();
        let outcome = self.feed.transact(txn)?;
        if let TxnOutcome::Done { revision } = outcome {
            put.extend(keys.into_iter().map(|key| (key, revision)));
        }
        Ok(outcome)
    }

    /// Deletes the keys that are still as the session put them, all at once.
    fn delete(&self) {
        let put = self
            .put
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.feed.delete_unchanged(put.unwrap_or_default());
    }
}

#[async_trait]
impl Session for MemorySession {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        self.keys.txn(txn)
    }

    async fn ended(&self) {
        // The sender is a field of `self`, so this ends only when the session is over.
        drop(self.over.subscribe().wait_for(|over| *over).await);
    }

    fn is_live(&self) -> bool {
        !*self.over.borrow()
    }

    async fn close(&self) -> Result<(), MetaError> {
        self.over.send_replace(true);
        self.keys.delete();
        Ok(())
    }
}

impl Drop for MemorySession {
    fn drop(&mut self) {
        if *self.over.borrow() {
            return;
        }
        // As with an owner that has died. Without a runtime nobody is left to notice.
        if let Ok(runtime) = Handle::try_current() {
            let (keys, ttl) = (Arc::clone(&self.keys), self.ttl);
            runtime.spawn(async move {
                time::sleep(ttl).await;
                keys.delete();
            });
        }
    }
}
