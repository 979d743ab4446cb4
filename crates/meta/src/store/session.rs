//! Keys that live only as long as their owner: membership, and who leads.
//!
//! A session suggests, it never decides: whoever was elected with one may be cut off, not know it yet, and go on
//! for a moment beside the next one. What must not happen twice is fenced by an epoch.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use super::{Expect, MetaError, MetaStore, Txn, TxnOutcome};

/// A store with sessions. Every implementation passes `contract::run_sessions`.
#[async_trait]
pub trait Sessions: MetaStore {
    /// Opens a session. It is kept alive until it is closed or dropped, or nothing is heard from the store, or
    /// the store nothing of it, for `ttl` (rounded up to what the store can tell, seconds for etcd).
    ///
    /// # Errors
    /// The store's.
    async fn open_session(self: Arc<Self>, ttl: Duration) -> Result<Box<dyn Session>, MetaError>;
}

/// The owner's end of a session. Dropping it says nothing to the store: its keys go after the `ttl`.
#[async_trait]
pub trait Session: Send + Sync {
    /// Like [`MetaStore::txn`]; the keys it puts are deleted when the session ends, unless somebody has put them
    /// again since.
    ///
    /// # Errors
    /// The store's, and [`MetaError::Closed`] when the session has ended.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError>;

    /// Returns once the session has ended, or may have: its keys must not be counted on any more.
    async fn ended(&self);

    /// Whether the session has certainly not ended, by the clock of this moment. A process that was paused may run
    /// on before [`Self::ended`] tells it.
    fn is_live(&self) -> bool;

    /// Ends the session and deletes its keys. Doing it again changes nothing.
    ///
    /// # Errors
    /// The store's; the keys then go after the `ttl`.
    async fn close(&self) -> Result<(), MetaError>;
}

/// Waits until nobody holds `key`, and takes it for as long as the session lives. Returns the revision it was
/// taken at, which is higher than that of any holder before.
///
/// `value` must be the candidate's own, so that it knows its key when the outcome of a write was unknown.
///
/// # Errors
/// The store's, and [`MetaError::Closed`] when the session ended meanwhile.
///
/// # Cancel safety
/// A dropped future may leave the key taken; closing the session gives it back.
pub async fn elected(
    store: &dyn MetaStore,
    session: &dyn Session,
    key: &str,
    value: &Bytes,
) -> Result<u64, MetaError> {
    loop {
        let claim = Txn::new()
            .expect(key, Expect::Absent)
            .put(key, value.clone());
        match session.txn(claim).await {
            Ok(TxnOutcome::Done { revision }) => return Ok(revision),
            Ok(TxnOutcome::Failed) | Err(MetaError::OutcomeUnknown { .. }) => {}
            Err(other) => return Err(other),
        }
        let now = store.range(key).await?;
        let Some(holder) = now.items.iter().find(|v| v.key == key) else {
            continue;
        };
        if holder.value == *value {
            return Ok(holder.mod_revision);
        }
        let mut changes = store.watch(key, now.revision).await?;
        tokio::select! {
            () = session.ended() => {
                return Err(MetaError::Closed("the session ended".to_owned()));
            }
            // Whatever it is, the claim above finds out; only a final error of the watch ends this.
            change = changes.next() => match change {
                Some(Err(error)) if !matches!(error, MetaError::Compacted { .. }) => {
                    return Err(error);
                }
                None => return Err(MetaError::Closed("it sends no more changes".to_owned())),
                Some(_) => {}
            },
        }
    }
}
