//! `holdfast ctl wal`: log-nodes, logs, segments and their copies.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use holdfast_meta::{MetaStore, Txn, TxnOutcome};
use holdfast_qlog::{
    CopyHolder, StorageId,
    messages::Owner,
    meta::{
        LogView, NodeRegistration, NodeState, Phase, SegmentDescriptor, SegmentState, node_key,
    },
};
use holdfast_quorum_wal::{
    Registry, TcpConnect,
    registry::{Nodes, cluster_id},
    survey::{Copy, NodeReport, Reader, ask_node},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};
use serde_json::{Value, json};

use super::Answer;
use crate::cli::WalCommand;

/// Segments that are named where there may be many.
const NAMED_MAX: usize = 8;
/// Time between two looks at what needs a node.
const LOOK: Duration = Duration::from_secs(1);

/// Everything the commands look at.
struct Survey {
    nodes: Nodes,
    reports: BTreeMap<Arc<str>, Result<NodeReport, String>>,
    logs: BTreeMap<ChannelId, LogView>,
}

pub(super) async fn run(
    store: &Arc<dyn MetaStore>,
    command: &WalCommand,
) -> anyhow::Result<Answer> {
    match command {
        WalCommand::Status => Ok(status(&survey(store).await?)),
        WalCommand::Inspect { log } => inspect(&survey(store).await?, ChannelId(*log)),
        WalCommand::Verify { log } => verify(store, log.map(ChannelId)).await,
        WalCommand::Drain { node, cancel, wait } => drain(store, node, *cancel, *wait).await,
    }
}

async fn survey(store: &Arc<dyn MetaStore>) -> anyhow::Result<Survey> {
    let registry = Registry::new(Arc::clone(store));
    let (nodes, _) = registry.nodes().await?;
    let logs = registry.logs().await?;
    let mut reports = BTreeMap::new();
    for node in &nodes.nodes {
        let report = ask_node(&TcpConnect, node).await;
        reports.insert(Arc::clone(&node.node), report);
    }
    Ok(Survey {
        nodes,
        reports,
        logs,
    })
}

impl Survey {
    /// The last entry of a segment that a holder vouches for; `None` when it does not answer or is another disk.
    fn held(&self, log: ChannelId, segment: LogSegment, holder: &CopyHolder) -> Option<Lsn> {
        let report = self.reports.get(&holder.node)?.as_ref().ok()?;
        if report.status.storage != holder.storage.0[..] {
            return None;
        }
        let held = report.logs.get(&log)?;
        let held = held.segments.iter().find(|s| s.segment == segment)?;
        Some(held.len_certain)
    }

    /// Segments that object storage does not have, and that lack a copy.
    fn lacking(&self, log: ChannelId, view: &LogView) -> Vec<u64> {
        let all = view.segments.iter();
        all.filter(|(_, d)| !d.is_settled())
            .filter(|(segment, d)| self.copies(log, **segment, d) < d.copies.holders.len())
            .map(|(segment, _)| segment.0)
            .collect()
    }

    /// Copies that have all of a segment that ended, or that are there at all of one that goes on.
    fn copies(&self, log: ChannelId, segment: LogSegment, descriptor: &SegmentDescriptor) -> usize {
        let end = descriptor.end();
        let whole = |holder: &&CopyHolder| match (self.held(log, segment, holder), end) {
            (Some(last), Some(end)) => last >= end,
            (held, None) => held.is_some(),
            (None, Some(_)) => false,
        };
        descriptor.copies.holders.iter().filter(whole).count()
    }
}

fn status(survey: &Survey) -> Answer {
    let mut text = String::from("LOG-NODE  ZONE  ADDRESS  STATE  FREE  STARTS  DISK\n");
    let mut nodes = Vec::new();
    for node in &survey.nodes.nodes {
        let report = &survey.reports[&node.node];
        let (state, free) = match report {
            Ok(report) if report.status.storage != node.storage.0[..] => {
                ("another disk answers".to_owned(), None)
            }
            Ok(report) => (
                state_name(node.state, report).to_owned(),
                Some((report.status.disk_free_bytes, report.status.disk_bytes)),
            ),
            Err(problem) => (format!("down ({problem})"), None),
        };
        let share = free.map_or("-".to_owned(), |(free, all)| {
            format!("{} %", free * 100 / all.max(1))
        });
        line(
            &mut text,
            format_args!(
                "{}  {}  {}  {state}  {share}  {}  {}",
                node.node, node.zone.0, node.address, node.generation, node.storage
            ),
        );
        nodes.push(json!({
            "node": &*node.node, "zone": &*node.zone.0, "address": &*node.address, "state": state,
            "free_bytes": free.map(|f| f.0), "disk_bytes": free.map(|f| f.1),
            "generation": node.generation, "storage": node.storage.to_string(),
        }));
    }
    line(
        &mut text,
        format_args!("\nLOG  EPOCH  WRITER  PHASE  SEGMENTS  STORED  FROM  COPIES"),
    );
    let mut logs = Vec::new();
    for (log, view) in &survey.logs {
        let lacking = survey.lacking(*log, view);
        let stored = stored(view);
        let copies = match lacking.len() {
            0 => "all there".to_owned(),
            n => {
                let named: Vec<String> =
                    lacking.iter().take(NAMED_MAX).map(u64::to_string).collect();
                let more = if n > NAMED_MAX { ", ..." } else { "" };
                format!("{n} segments lack a copy: {}{more}", named.join(", "))
            }
        };
        let first = view.segments.values().next().map_or(0, |d| d.first.0);
        let (epoch, owner, phase) = match &view.head {
            Some(head) => (
                head.epoch.0,
                head.owner.to_string(),
                match head.phase {
                    Phase::Open => "open",
                    Phase::Recovering => "recovering",
                },
            ),
            None => (0, "-".to_owned(), "never opened"),
        };
        line(
            &mut text,
            format_args!(
                "{log}  {epoch}  {owner}  {phase}  {}  {stored}  {first}  {copies}",
                view.segments.len()
            ),
        );
        logs.push(json!({
            "log": log.0, "epoch": epoch, "writer": owner, "phase": phase,
            "segments": view.segments.len(), "stored": stored, "first": first, "under_replicated": lacking,
        }));
    }
    Answer {
        json: json!({ "nodes": nodes, "logs": logs }),
        text,
    }
}

/// Segments that object storage has.
fn stored(view: &LogView) -> usize {
    let is_stored = |d: &&SegmentDescriptor| matches!(d.state, SegmentState::Tiered { .. });
    view.segments.values().filter(is_stored).count()
}

fn state_name(state: NodeState, report: &NodeReport) -> &'static str {
    use holdfast_proto::internal::log_node::NodeState as Own;
    match (state, report.status.state()) {
        (NodeState::DataLoss, _) => "lost data",
        (_, Own::ReadOnly) | (NodeState::ReadOnly, _) => "read-only",
        (_, Own::Full) => "full",
        (NodeState::Drain, _) => "draining",
        (NodeState::ReadWrite, _) => "ok",
    }
}

fn inspect(survey: &Survey, log: ChannelId) -> anyhow::Result<Answer> {
    let Some(view) = survey.logs.get(&log) else {
        bail!("there is no log {log}: holdfast ctl wal status lists them");
    };
    let mut text = String::from("SEGMENT  EPOCH  FROM  TO  STATE  COPIES (last entry)\n");
    let mut segments = Vec::new();
    for (segment, descriptor) in &view.segments {
        let (state, end) = match &descriptor.state {
            SegmentState::Open => ("open", None),
            SegmentState::Sealed { end } => ("ended", Some(*end)),
            SegmentState::Tiered { end, .. } => ("in object storage", Some(*end)),
        };
        let held = |holder: &CopyHolder| survey.held(log, *segment, holder);
        let copies: Vec<String> = descriptor
            .copies
            .holders
            .iter()
            .map(|holder| match held(holder) {
                Some(last) => format!("{} ({last})", holder.node),
                None => format!("{} (none)", holder.node),
            })
            .collect();
        let to = end.map_or("-".to_owned(), |end| end.to_string());
        line(
            &mut text,
            format_args!(
                "{segment}  {}  {}  {to}  {state}  {}",
                descriptor.epoch,
                descriptor.first,
                copies.join(", ")
            ),
        );
        let holders = descriptor.copies.holders.iter();
        let holders: Vec<Value> = holders
            .map(|holder| {
                json!({
                    "node": &*holder.node, "zone": &*holder.zone.0,
                    "storage": holder.storage.to_string(), "last": held(holder).map(|l| l.0),
                })
            })
            .collect();
        segments.push(json!({
            "segment": segment.0, "epoch": descriptor.epoch.0, "first": descriptor.first.0,
            "end": end.map(|e| e.0), "state": state, "copies": holders,
        }));
    }
    Ok(Answer {
        json: json!({ "log": log.0, "segments": segments }),
        text,
    })
}

async fn verify(store: &Arc<dyn MetaStore>, only: Option<ChannelId>) -> anyhow::Result<Answer> {
    let survey = survey(store).await?;
    let cluster = cluster_id(&**store).await?;
    let owner = Owner {
        node: "ctl".into(),
        incarnation: std::process::id().into(),
    };
    let reader = Reader::new(Arc::new(TcpConnect), survey.nodes.clone(), cluster, owner);
    let mut text = String::new();
    let mut findings = Vec::new();
    let mut read = 0;
    for (log, view) in &survey.logs {
        if only.is_some_and(|only| only != *log) {
            continue;
        }
        for (segment, descriptor) in &view.segments {
            let SegmentState::Sealed { end } = descriptor.state else {
                continue;
            };
            let mut digests = BTreeMap::new();
            let mut problem = |node: &str, what: String| {
                line(
                    &mut text,
                    format_args!("log {log}, segment {segment}, {node}: {what}"),
                );
                findings.push(json!({
                    "log": log.0, "segment": segment.0, "node": node, "problem": what,
                }));
            };
            for holder in &descriptor.copies.holders {
                let copy = reader.read(*log, *segment, descriptor, end, holder).await;
                match copy {
                    Copy::Intact { digest, entries } => {
                        read += entries;
                        digests.insert(Arc::clone(&holder.node), digest);
                    }
                    Copy::Short { last } => {
                        problem(&holder.node, format!("ends at {last} instead of {end}"));
                    }
                    Copy::Bad { problem: what } => problem(&holder.node, what),
                }
            }
            let first = digests.values().next().copied();
            if digests.values().any(|digest| Some(*digest) != first) {
                problem("all", format!("copies differ: {digests:?}"));
            }
        }
    }
    line(
        &mut text,
        format_args!(
            "{read} entries read in segments that ended, {} problems",
            findings.len()
        ),
    );
    Ok(Answer {
        json: json!({ "entries": read, "problems": findings }),
        text,
    })
}

async fn drain(
    store: &Arc<dyn MetaStore>,
    name: &str,
    cancel: bool,
    wait: bool,
) -> anyhow::Result<Answer> {
    let key = node_key(name);
    let storage: StorageId = loop {
        let Some(found) = store.get(&key).await? else {
            bail!("there is no log-node {name}: holdfast ctl wal status lists them");
        };
        let mut node = NodeRegistration::decode(&key, &found.value)?;
        node.state = match (node.state, cancel) {
            (NodeState::ReadWrite | NodeState::Drain, false) => NodeState::Drain,
            (NodeState::ReadWrite | NodeState::Drain, true) => NodeState::ReadWrite,
            (NodeState::ReadOnly | NodeState::DataLoss, _) => {
                bail!("{name} takes no new segments anyway: its disk failed or lost data")
            }
        };
        let txn = Txn::new()
            .expect_read(&key, Some(&found))
            .put(&key, node.encode(&key));
        let outcome = store.txn(txn).await.context("etcd")?;
        if let TxnOutcome::Done { .. } = outcome {
            break node.storage;
        }
    };
    let mut needed = needed_by(store, storage).await?;
    while wait && !needed.is_empty() {
        tokio::time::sleep(LOOK).await;
        needed = needed_by(store, storage).await?;
    }
    let text = match cancel {
        true => format!("{name} is given new segments again\n"),
        false if needed.is_empty() => format!("{name} holds nothing that is needed: stop it\n"),
        false => format!(
            "{name} is given no new segments; {} segments still count on its copy\n",
            needed.len()
        ),
    };
    let needed: Vec<Value> = needed
        .into_iter()
        .map(|(log, segment)| json!({ "log": log, "segment": segment }))
        .collect();
    Ok(Answer {
        json: json!({ "node": name, "draining": !cancel, "needed_by": needed }),
        text,
    })
}

/// Segments that still count on a disk.
async fn needed_by(
    store: &Arc<dyn MetaStore>,
    storage: StorageId,
) -> anyhow::Result<Vec<(u32, u64)>> {
    let logs = Registry::new(Arc::clone(store)).logs().await?;
    let all = logs
        .iter()
        .flat_map(|(log, view)| view.segments.iter().map(move |(s, d)| (log, s, d)));
    Ok(all
        .filter(|(_, _, d)| !d.is_settled())
        .filter(|(_, _, d)| d.copies.holders.iter().any(|h| h.storage == storage))
        .map(|(log, segment, _)| (log.0, segment.0))
        .collect())
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("a String takes everything");
}
