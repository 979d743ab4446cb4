//! Telling the cluster which disk this is, and in which of its lives.
//!
//! The disk counts its starts, and the metadata remembers the count, also of disks that another one took the place of. A
//! disk that comes back with a lower one is a copy of an earlier day: it has forgotten promises and entries, so its word counts
//! for nothing. The disk is always counted first, so that a crash in between leaves it ahead. Whether it is behind is
//! asked before a start is counted ([`recognise`]): otherwise a copy that is started often enough while the metadata store is
//! away would look new. As a node may run for months, the count is also raised while it runs ([`keep_raising`]).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use holdfast_journal::{AppendError, Identity};
use holdfast_meta::{MetaError, MetaStore, Txn, TxnOutcome, Versioned};
use holdfast_qlog::{
    StorageId, Zone,
    meta::{BadRecord, NODE_PREFIX, NodeRegistration, NodeState, node_key, retired_key},
};
use holdfast_runtime::Shutdown;

use crate::device::Device;

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
    /// The same disk, or a copy of it, is another node.
    #[error(
        "disk {storage} is registered as node {node}: start it under that name, or start this node with an empty \
         directory"
    )]
    Taken {
        /// The disk.
        storage: StorageId,
        /// The node that has it.
        node: Arc<str>,
    },
}

/// What the metadata has on a node and a disk.
struct Known {
    /// The node's registration, with whatever disk.
    node: Option<(Versioned, NodeRegistration)>,
    /// What is left of this disk's, when another disk took its place.
    retired: Option<(Versioned, NodeRegistration)>,
}

impl Known {
    /// What was last registered of this disk.
    fn disk(&self, storage: StorageId) -> Option<&NodeRegistration> {
        let current = self.node.as_ref().filter(|(_, n)| n.storage == storage);
        let known = current.or(self.retired.as_ref())?;
        Some(&known.1)
    }
}

/// Why something cannot be looked up or changed.
#[derive(Debug, thiserror::Error)]
enum AmendError {
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Store(#[from] MetaError),
}

impl From<BadRecord> for AmendError {
    fn from(bad: BadRecord) -> Self {
        Self::Register(bad.into())
    }
}

async fn look(store: &dyn MetaStore, node: &str, storage: StorageId) -> Result<Known, AmendError> {
    let mut known = Known {
        node: None,
        retired: None,
    };
    for read in store.range(NODE_PREFIX).await?.items {
        let registered = NodeRegistration::decode(&read.key, &read.value)?;
        if *registered.node == *node {
            known.node = Some((read, registered));
        } else if registered.storage == storage {
            let node = registered.node;
            return Err(RegisterError::Taken { storage, node }.into());
        }
    }
    let key = retired_key(storage);
    if let Some(read) = store.get(&key).await? {
        let registered = NodeRegistration::decode(&key, &read.value)?;
        known.retired = Some((read, registered));
    }
    Ok(known)
}

/// Asks whether the disk is an old copy, by what it was left with, and has that on record before anything is written to
/// it. Waits for the metadata store.
///
/// # Errors
/// [`RegisterError`].
pub async fn recognise(
    store: &dyn MetaStore,
    node: &str,
    stored: &Identity,
) -> Result<(), RegisterError> {
    let behind = |known: &NodeRegistration| {
        let old = known.generation > stored.generation && known.state != NodeState::DataLoss;
        old.then(|| NodeRegistration {
            state: NodeState::DataLoss,
            ..known.clone()
        })
    };
    loop {
        match amend(store, node, stored.storage, behind).await {
            Ok(TxnOutcome::Done { .. }) => return Ok(()),
            Ok(TxnOutcome::Failed) => {}
            Err(AmendError::Register(error)) => return Err(error),
            Err(AmendError::Store(error)) => wait(&error).await,
        }
    }
}

/// Raises the generation on the disk, then in the metadata, where the free space is noted as well, again and again until the
/// shutdown. It ends when the disk
/// fails: the node says so by itself.
pub async fn keep_raising(
    store: Arc<dyn MetaStore>,
    node: Arc<str>,
    device: Arc<dyn Device>,
    every: Duration,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            biased;
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(every) => {}
        }
        match device.raise_generation().await {
            Ok(()) => {}
            // Next time.
            Err(AppendError::Busy { .. }) => continue,
            Err(error) => {
                tracing::warn!(%error, "the generation of the disk is not raised any more");
                return;
            }
        }
        let identity = device.identity();
        // What is free is told along with it: new segments are placed by that.
        let space = device.space();
        let raised = |known: &NodeRegistration| {
            let lower = known.generation < identity.generation;
            let (free_bytes, total_bytes) = match &space {
                Ok(space) => (space.free, space.total),
                Err(_) => (known.free_bytes, known.total_bytes),
            };
            lower.then(|| NodeRegistration {
                generation: identity.generation,
                free_bytes,
                total_bytes,
                ..known.clone()
            })
        };
        // What is not written now is overtaken by the next one.
        match amend(&*store, &node, identity.storage, raised).await {
            Ok(TxnOutcome::Done { .. } | TxnOutcome::Failed) => {}
            Err(error) => {
                tracing::warn!(%error, "the generation of the disk is not registered");
            }
        }
    }
}

/// Changes what is registered of a disk, if there is something to change.
async fn amend(
    store: &dyn MetaStore,
    node: &str,
    storage: StorageId,
    change: impl Fn(&NodeRegistration) -> Option<NodeRegistration>,
) -> Result<TxnOutcome, AmendError> {
    let Known {
        node: current,
        retired,
    } = look(store, node, storage).await?;
    let current = current.filter(|(_, registered)| registered.storage == storage);
    let (key, known) = match (current, retired) {
        (Some(current), _) => (node_key(node), current),
        (None, Some(retired)) => (retired_key(storage), retired),
        (None, None) => return Ok(TxnOutcome::Done { revision: 0 }),
    };
    let (read, registered) = known;
    let Some(wanted) = change(&registered) else {
        return Ok(TxnOutcome::Done { revision: 0 });
    };
    let txn = Txn::new()
        .expect_read(&key, Some(&read))
        .put(&key, wanted.encode(&key));
    Ok(store.txn(txn).await?)
}

/// Registers the node before it serves anybody, and says whether its disk has lost something. Waits for the metadata
/// store. The identity is that of this start: [`recognise`] came first.
///
/// # Errors
/// [`RegisterError`].
pub async fn register(
    store: &dyn MetaStore,
    registration: &Registration,
    identity: &Identity,
) -> Result<bool, RegisterError> {
    // What this life has tried to write: finding one of these is not finding an older life.
    let mut attempts: Vec<(Bytes, bool)> = Vec::new();
    loop {
        match attempt(store, registration, identity, &mut attempts).await {
            Ok(Some(data_loss)) => return Ok(data_loss),
            // Somebody else changed it: look again.
            Ok(None) => {}
            Err(AmendError::Register(error)) => return Err(error),
            Err(AmendError::Store(error)) => wait(&error).await,
        }
    }
}

async fn attempt(
    store: &dyn MetaStore,
    registration: &Registration,
    identity: &Identity,
    attempts: &mut Vec<(Bytes, bool)>,
) -> Result<Option<bool>, AmendError> {
    let key = node_key(&registration.node);
    let known = look(store, &registration.node, identity.storage).await?;
    let read = known.node.as_ref().map(|(read, _)| read);
    let written = |(bytes, _): &&(Bytes, bool)| read.is_some_and(|read| read.value == *bytes);
    if let Some((_, data_loss)) = attempts.iter().find(written) {
        return Ok(Some(*data_loss));
    }
    let (wanted, data_loss) = next_life(registration, identity, known.disk(identity.storage));
    let bytes = wanted.encode(&key);
    attempts.push((bytes.clone(), data_loss));
    let retired = retired_key(identity.storage);
    let mut txn = Txn::new()
        .expect_read(&key, read)
        .expect_read(&retired, known.retired.as_ref().map(|(read, _)| read))
        .put(&key, bytes);
    if known.retired.is_some() {
        txn = txn.delete(&retired);
    }
    if let Some((_, other)) = &known.node
        && other.storage != identity.storage
    {
        // It may come back, or an old copy of it.
        let key = retired_key(other.storage);
        let bytes = other.encode(&key);
        txn = txn.put(&key, bytes);
    }
    Ok(match store.txn(txn).await? {
        TxnOutcome::Done { .. } => Some(data_loss),
        TxnOutcome::Failed => None,
    })
}

/// What the node registers as, and whether its disk has lost something.
fn next_life(
    registration: &Registration,
    identity: &Identity,
    known: Option<&NodeRegistration>,
) -> (NodeRegistration, bool) {
    let data_loss = known.is_some_and(|known| {
        known.generation >= identity.generation || known.state == NodeState::DataLoss
    });
    if data_loss {
        tracing::error!(
            node = &*registration.node, storage = %identity.storage, generation = identity.generation,
            "this disk is a copy of an earlier day, and what it holds is not trusted: replace it by an empty one"
        );
    }
    let state = match (data_loss, known.map(|known| known.state)) {
        (true, _) => NodeState::DataLoss,
        (false, Some(NodeState::Drain)) => NodeState::Drain,
        (false, _) => NodeState::ReadWrite,
    };
    let generation = identity
        .generation
        .max(known.map_or(0, |known| known.generation));
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

#[cfg(test)]
mod tests;
