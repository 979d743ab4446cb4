//! What is known at one moment: the metadata, and what each log-node says it holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use holdfast_qlog::{
    StorageId,
    heal::Health,
    meta::{LogView, NodeRegistration, NodeState},
};
use holdfast_quorum_wal::{
    Connect, Registry,
    registry::{Nodes, RegistryError},
    survey::{NodeReport, ask_node},
};
use holdfast_types::ChannelId;

/// One look.
pub(crate) struct Look {
    pub(crate) nodes: Nodes,
    pub(crate) logs: BTreeMap<ChannelId, LogView>,
    reports: BTreeMap<StorageId, NodeReport>,
}

impl Look {
    /// Reads the metadata, then asks all log-nodes: what had ended by then they have, or will not get from its writer.
    pub(crate) async fn take(
        registry: &Registry,
        connect: &Arc<dyn Connect>,
    ) -> Result<Self, RegistryError> {
        let logs = registry.logs().await?;
        let (nodes, _) = registry.nodes().await?;
        let ask = async |node: &NodeRegistration| (node.storage, ask_node(&**connect, node).await);
        let answers = join_all(nodes.nodes.iter().map(ask)).await;
        let reports = answers.into_iter().filter_map(|(storage, answer)| {
            let report = answer.ok()?;
            // Another disk answers under this name until it is registered.
            (report.status.storage == storage.0[..]).then_some((storage, report))
        });
        Ok(Self {
            reports: reports.collect(),
            nodes,
            logs,
        })
    }

    /// What that means for the copies. `silent` is kept from one look to the next.
    pub(crate) fn health(
        &self,
        silent: &mut BTreeMap<StorageId, Duration>,
        loss_grace: Duration,
        store_down: bool,
        now: Duration,
    ) -> Health {
        let before = std::mem::take(silent);
        for node in &self.nodes.nodes {
            if !self.reports.contains_key(&node.storage) {
                let since = before.get(&node.storage).copied().unwrap_or(now);
                silent.insert(node.storage, since);
            }
        }
        Health {
            nodes: self.nodes.nodes.clone(),
            gone: self.nodes.gone.clone(),
            silent: silent.clone(),
            loss_grace,
            short: self.short(),
            store_down,
        }
    }

    fn short(&self) -> BTreeSet<(StorageId, ChannelId, holdfast_types::LogSegment)> {
        let mut short = BTreeSet::new();
        for (log, view) in &self.logs {
            for (segment, descriptor) in view.segments.iter().filter(|(_, d)| !d.is_settled()) {
                let Some(end) = descriptor.end() else {
                    continue;
                };
                for holder in &descriptor.copies.holders {
                    let Some(report) = self.reports.get(&holder.storage) else {
                        continue;
                    };
                    let held = report.logs.get(log).and_then(|held| {
                        let mut segments = held.segments.iter();
                        segments.find(|held| held.segment == *segment)
                    });
                    if held.is_none_or(|held| held.len_certain < end) {
                        short.insert((holder.storage, *log, *segment));
                    }
                }
            }
        }
        short
    }

    /// Segments of which fewer copies are there than they are to have, and that object storage does not have.
    pub(crate) fn under_replicated(&self, health: &Health, now: Duration) -> usize {
        let all = self.logs.iter().flat_map(|(log, view)| {
            let unsettled = view.segments.iter().filter(|(_, d)| !d.is_settled());
            unsettled.map(move |(segment, d)| (*log, *segment, d))
        });
        all.filter(|(log, segment, d)| {
            d.copies.holders.iter().any(|holder| {
                !health.is_alive(holder, now)
                    || health.short.contains(&(holder.storage, *log, *segment))
            })
        })
        .count()
    }

    /// Whether what needs to be done only once in a cluster is done by this node: the first of those that answer.
    pub(crate) fn is_first(&self, storage: StorageId) -> bool {
        let answering = self.nodes.nodes.iter().filter(|node| {
            node.state == NodeState::ReadWrite && self.reports.contains_key(&node.storage)
        });
        let first = answering.min_by(|a, b| a.node.cmp(&b.node));
        first.is_some_and(|node| node.storage == storage)
    }
}
