//! Whether a disk may be destroyed: whether every record that is still needed has an intact copy elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_qlog::{CopyHolder, meta::SegmentDescriptor};
use holdfast_quorum_wal::{
    Registry, TcpConnect,
    survey::{NodeReport, ask_node},
};
use holdfast_types::{ChannelId, LogSegment};

use crate::cluster::Cluster;

/// Segments that object storage does not have, and that lack a copy on a disk other than `but_for`'s, with the holders that
/// lack it.
///
/// # Errors
/// The metadata cannot be read.
pub async fn lacking(
    cluster: &Cluster,
    but_for: Option<&str>,
) -> anyhow::Result<BTreeMap<ChannelId, Vec<String>>> {
    let registry = Registry::new(Arc::clone(cluster.store()));
    // The logs before the nodes: what had ended by then they have, or will never have.
    let logs = registry.logs().await?;
    let (nodes, _) = registry.nodes().await?;
    let mut reports = BTreeMap::new();
    for node in &nodes.nodes {
        if let Ok(report) = ask_node(&TcpConnect, node).await {
            reports.insert(Arc::clone(&node.node), report);
        }
    }
    let mut found: BTreeMap<ChannelId, Vec<String>> = BTreeMap::new();
    for (log, view) in logs {
        let unstored = view.segments.iter();
        for (segment, descriptor) in unstored.filter(|(_, d)| !d.is_settled()) {
            for holder in &descriptor.copies.holders {
                let report = reports.get(&holder.node);
                let spared = but_for == Some(&*holder.node);
                if !spared && !is_whole(report, log, *segment, descriptor, holder) {
                    let text = format!("segment {segment} on {}", holder.node);
                    found.entry(log).or_default().push(text);
                }
            }
        }
    }
    Ok(found)
}

/// Logs whose newest segment counts on a disk that is not there any more: their writers are about to move on.
///
/// # Errors
/// The metadata cannot be read.
pub async fn on_lost_disks(cluster: &Cluster) -> anyhow::Result<Vec<ChannelId>> {
    let registry = Registry::new(Arc::clone(cluster.store()));
    let (nodes, _) = registry.nodes().await?;
    let lost = |h: &CopyHolder| nodes.nodes.iter().all(|node| node.storage != h.storage);
    let mut found = Vec::new();
    for (log, view) in registry.logs().await? {
        let newest = view.last().filter(|(_, d)| d.end().is_none());
        if newest.is_some_and(|(_, d)| d.copies.holders.iter().any(lost)) {
            found.push(log);
        }
    }
    Ok(found)
}

fn is_whole(
    report: Option<&NodeReport>,
    log: ChannelId,
    segment: LogSegment,
    descriptor: &SegmentDescriptor,
    holder: &CopyHolder,
) -> bool {
    let Some(report) = report.filter(|r| r.status.storage == holder.storage.0[..]) else {
        return false;
    };
    let held = report.logs.get(&log);
    let held = held.and_then(|log| log.segments.iter().find(|s| s.segment == segment));
    match (held, descriptor.end()) {
        (Some(held), Some(end)) => held.len_certain >= end,
        // What is acknowledged of it lies on two of its holders, and one of them stays.
        (Some(_), None) => true,
        (None, _) => false,
    }
}
