//! The metadata store as the state machines see it: views of logs, transactions as values, who the log-nodes are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use holdfast_meta::{MetaError, MetaStore, Txn, store};
use holdfast_qlog::{
    messages::ClusterId,
    meta::{
        BadRecord, GONE_PREFIX, Gone, LogView, MetaTxn, NODE_PREFIX, NodeRegistration, TxnOutcome,
        log_prefix,
    },
};
use holdfast_types::ChannelId;
use tokio::sync::watch;

/// Time between attempts to reach a store that does not answer.
const AGAIN: Duration = Duration::from_millis(100);

/// The log-nodes and the lost disks that the metadata names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nodes {
    /// Registered log-nodes.
    pub nodes: Vec<NodeRegistration>,
    /// Disks that will not come back.
    pub gone: Vec<Gone>,
}

impl Nodes {
    /// Where a node listens.
    #[must_use]
    pub fn address(&self, node: &str) -> Option<&str> {
        let found = self.nodes.iter().find(|n| &*n.node == node)?;
        Some(&found.address)
    }
}

/// Why the metadata could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The store does not answer.
    #[error("the metadata store does not answer")]
    Store(#[from] MetaError),
    /// A record is not what it should be.
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

/// The metadata of the quorum log.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn MetaStore>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Over this store.
    #[must_use]
    pub fn new(store: Arc<dyn MetaStore>) -> Self {
        Self { store }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn MetaStore> {
        &self.store
    }

    /// All that is known of a log.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn view(&self, log: ChannelId) -> Result<LogView, RegistryError> {
        let range = self.store.range(&log_prefix(log)).await?;
        let records = range.items.iter().map(|item| (&*item.key, &item.value));
        Ok(LogView::read(log, records)?)
    }

    /// The view, however long it takes: a recovery does not give up by the clock.
    ///
    /// # Errors
    /// [`BadRecord`]: an operator must look.
    pub async fn view_patiently(&self, log: ChannelId) -> Result<LogView, BadRecord> {
        loop {
            match self.view(log).await {
                Ok(view) => return Ok(view),
                Err(RegistryError::Bad(bad)) => return Err(bad),
                Err(RegistryError::Store(error)) => {
                    tracing::warn!(%log, %error, "the metadata store does not answer");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Runs a transaction. A failure that may have been a success is [`TxnOutcome::Unknown`].
    pub async fn txn(&self, txn: &MetaTxn) -> TxnOutcome {
        let mut wanted = Txn::new();
        for (key, value) in &txn.compares {
            wanted = wanted.expect(
                key.clone(),
                match value {
                    Some(bytes) => store::Expect::Value(bytes.clone()),
                    None => store::Expect::Absent,
                },
            );
        }
        for (key, value) in &txn.puts {
            wanted = wanted.put(key.clone(), value.clone());
        }
        for key in &txn.deletes {
            wanted = wanted.delete(key.clone());
        }
        match self.store.txn(wanted).await {
            Ok(holdfast_meta::TxnOutcome::Done { .. }) => TxnOutcome::Applied,
            Ok(holdfast_meta::TxnOutcome::Failed) => TxnOutcome::Refused,
            Err(error) => {
                // Some errors mean that nothing was written; looking again costs little and is always right.
                tracing::warn!(%error, "a transaction of the log has no answer");
                TxnOutcome::Unknown
            }
        }
    }

    /// All logs, with all that is known of each.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn logs(&self) -> Result<BTreeMap<ChannelId, LogView>, RegistryError> {
        let range = self.store.range("wal/").await?;
        let mut records: BTreeMap<ChannelId, Vec<(&str, &Bytes)>> = BTreeMap::new();
        for item in &range.items {
            let number = item.key.split('/').nth(1).and_then(|n| n.parse().ok());
            if let Some(log) = number {
                let record = (item.key.as_str(), &item.value);
                records.entry(ChannelId(log)).or_default().push(record);
            }
        }
        records
            .into_iter()
            .map(|(log, records)| Ok((log, LogView::read(log, records)?)))
            .collect()
    }

    /// The log-nodes as of now.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn nodes(&self) -> Result<(Nodes, u64), RegistryError> {
        let registered = self.store.range(NODE_PREFIX).await?;
        let gone = self.store.range(GONE_PREFIX).await?;
        let mut nodes = Nodes::default();
        for item in &registered.items {
            let node = NodeRegistration::decode(&item.key, &item.value)?;
            nodes.nodes.push(node);
        }
        for item in &gone.items {
            nodes.gone.push(Gone::decode(&item.key, &item.value)?);
        }
        Ok((nodes, registered.revision))
    }

    /// Keeps `seen` at what the metadata says of log-nodes, until nobody looks at it any more.
    pub async fn follow_nodes(self, seen: watch::Sender<Nodes>) {
        while !seen.is_closed() {
            match self.nodes().await {
                Ok((nodes, revision)) => {
                    drop(seen.send(nodes));
                    self.follow_from(revision, &seen).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "log-nodes cannot be listed");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Returns when the changes end: the caller lists again.
    async fn follow_from(&self, revision: u64, seen: &watch::Sender<Nodes>) {
        let watching = async {
            let registered = self.store.watch(NODE_PREFIX, revision).await?;
            let gone = self.store.watch(GONE_PREFIX, revision).await?;
            Ok::<_, MetaError>(futures::stream::select(registered, gone))
        };
        let watched = tokio::select! {
            // Nobody looks: what else is ready is of no use.
            biased;
            () = seen.closed() => return,
            watched = watching => watched,
        };
        let mut changes = match watched {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(%error, "log-nodes cannot be followed");
                tokio::time::sleep(AGAIN).await;
                return;
            }
        };
        loop {
            let next = tokio::select! {
                biased;
                () = seen.closed() => return,
                next = changes.next() => next,
            };
            let Some(Ok(_)) = next else { return };
            // Rare: listing again is simpler than applying.
            match self.nodes().await {
                Ok((nodes, _)) => drop(seen.send(nodes)),
                Err(_) => return,
            }
        }
    }
}

/// Key of the cluster's identity.
const CLUSTER_KEY: &str = "wal/cluster";

/// The cluster's identity; made by whoever asks first.
///
/// # Errors
/// [`RegistryError`].
pub async fn cluster_id(store: &dyn MetaStore) -> Result<ClusterId, RegistryError> {
    loop {
        if let Some(found) = store.get(CLUSTER_KEY).await? {
            let id = found.value.as_ref().try_into().map_err(|_| BadRecord {
                key: CLUSTER_KEY.to_owned(),
                problem: format!("{} bytes are no identity", found.value.len()),
            })?;
            return Ok(ClusterId(id));
        }
        let made: [u8; 16] = rand::random();
        let txn = Txn::new()
            .expect(CLUSTER_KEY, store::Expect::Absent)
            .put(CLUSTER_KEY, made.to_vec().into());
        // Whether or not it was this one: what stands there counts.
        match store.txn(txn).await {
            Ok(_) | Err(MetaError::OutcomeUnknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
