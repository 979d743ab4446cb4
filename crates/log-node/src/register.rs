//! Telling the cluster which disk this is, and in which of its lives.
//!
//! The disk counts its starts, and so does the metadata. A disk that comes back with a count that the metadata has seen
//! already is a copy of an earlier day: it has forgotten promises and entries, so its word counts for nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use holdfast_journal::Identity;
use holdfast_meta::{MetaError, MetaStore, Txn, TxnOutcome};
use holdfast_qlog::{
    Zone,
    meta::{BadRecord, NodeRegistration, NodeState, node_key},
};

/// Time between attempts to reach the metadata store.
const AGAIN: Duration = Duration::from_millis(200);

/// What a node says about itself.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub node: Arc<str>,
    /// Where it listens.
    pub address: Arc<str>,
    /// Where it stands.
    pub zone: Zone,
    /// Bytes free, and in all.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Why a node cannot join.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// What the metadata says of this node is damaged.
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

/// Registers the node before it serves anybody, and says whether its disk has lost something. Waits for the metadata store.
///
/// # Errors
/// [`RegisterError`].
pub async fn register(
    store: &dyn MetaStore,
    registration: &Registration,
    identity: &Identity,
) -> Result<bool, RegisterError> {
    let key = node_key(&registration.node);
    // What this life has tried to write: finding one of these is not finding an older life.
    let mut attempts: Vec<(Bytes, bool)> = Vec::new();
    loop {
        let read = match store.get(&key).await {
            Ok(read) => read,
            Err(error) => {
                wait(&error).await;
                continue;
            }
        };
        if let Some(found) = &read
            && let Some((_, data_loss)) = attempts.iter().find(|(bytes, _)| *bytes == found.value)
        {
            return Ok(*data_loss);
        }
        let known = match &read {
            Some(found) => Some(NodeRegistration::decode(&key, &found.value)?),
            None => None,
        };
        let (wanted, data_loss) = next_life(registration, identity, known.as_ref());
        let bytes = wanted.encode(&key);
        attempts.push((bytes.clone(), data_loss));
        let txn = Txn::new().expect_read(&key, read.as_ref()).put(&key, bytes);
        match store.txn(txn).await {
            Ok(TxnOutcome::Done { .. }) => return Ok(data_loss),
            // Somebody else changed it: look again.
            Ok(TxnOutcome::Failed) => {}
            Err(error) => wait(&error).await,
        }
    }
}

/// What the node registers as, and whether its disk has lost something.
fn next_life(
    registration: &Registration,
    identity: &Identity,
    known: Option<&NodeRegistration>,
) -> (NodeRegistration, bool) {
    let same = known.filter(|known| known.storage == identity.storage);
    let data_loss = same.is_some_and(|known| {
        known.generation >= identity.generation || known.state == NodeState::DataLoss
    });
    if data_loss {
        tracing::error!(
            node = &*registration.node, storage = %identity.storage, generation = identity.generation,
            "this disk is a copy of an earlier day, and what it holds is not trusted: replace it by an empty one"
        );
    }
    let state = match (data_loss, same.map(|known| known.state)) {
        (true, _) => NodeState::DataLoss,
        (false, Some(NodeState::Drain)) => NodeState::Drain,
        (false, _) => NodeState::ReadWrite,
    };
    let generation = identity
        .generation
        .max(same.map_or(0, |known| known.generation));
    let wanted = NodeRegistration {
        node: Arc::clone(&registration.node),
        address: Arc::clone(&registration.address),
        zone: registration.zone.clone(),
        storage: identity.storage,
        generation,
        state,
        free_bytes: registration.free_bytes,
        total_bytes: registration.total_bytes,
    };
    (wanted, data_loss)
}

async fn wait(error: &MetaError) {
    tracing::warn!(%error, "the metadata store does not answer: the log-node waits for it");
    tokio::time::sleep(AGAIN).await;
}
