//! A run: load, faults, and the reckoning at the end.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, ensure};
use futures::StreamExt;
use holdfast_quorum_wal::{Options, QuorumWal};
use holdfast_types::{ChannelId, Lsn};
use holdfast_wal::{Wal, WalError};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    cluster::{Cluster, Setup},
    history::Violation,
    load::{self, Log},
    nemesis::{BOUND, Kind, Nemesis},
    report::Report,
};

/// Records that are kept when old ones are trimmed.
const KEEP: u64 = 2_000;
/// Time between trims.
const TRIM_EVERY: Duration = Duration::from_secs(20);
/// Appends to each log after everything was mended.
const LAST_APPENDS: usize = 20;
/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long faults are made.
    pub time: Duration,
    /// What decides their order.
    pub seed: u64,
    /// Log-nodes.
    pub nodes: usize,
    /// Logs.
    pub logs: u32,
    /// Mean time between appends to one log.
    pub every: Duration,
    /// Each node in a namespace of its own.
    pub namespaces: bool,
    /// A node on a small disk, to be filled.
    pub small_disk: bool,
    /// Where the disks are.
    pub dir: Option<PathBuf>,
    /// What is left is kept after a violation.
    pub keep: bool,
    /// Only these faults; all that are possible when there are none.
    pub only: Vec<Kind>,
}

fn options() -> Options {
    Options {
        // Small, so that many segments begin and end.
        segment_bytes: 2 << 20,
        ..Options::default()
    }
}

/// Runs the plan.
///
/// # Errors
/// The drill itself fails. What it finds is in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    ensure!(plan.nodes >= 3, "nodes: {} is below 3", plan.nodes);
    ensure!(plan.logs >= 1, "logs: 0 is too little");
    let began = Instant::now();
    let cluster = Cluster::start(&Setup {
        nodes: plan.nodes,
        namespaces: plan.namespaces,
        small_disk: plan.small_disk,
        dir: plan.dir.clone(),
        journal_file_bytes: 8 << 20,
    })
    .await?;
    let logs: Vec<Arc<Log>> = (0..plan.logs)
        .map(|i| Arc::new(Log::new(ChannelId(i))))
        .collect();
    let writers = [
        Arc::new(cluster.wal(options()).await?),
        Arc::new(cluster.wal(options()).await?),
    ];
    let reader = Arc::new(cluster.wal(options()).await?);
    let mut tasks = JoinSet::new();
    for log in &logs {
        for (which, wal) in writers.iter().enumerate() {
            let number = u64::from(log.channel.0) << 8 | which as u64;
            let seed = plan.seed ^ number << 32;
            let (log, wal) = (Arc::clone(log), Arc::clone(wal));
            tasks.spawn(load::write(log, which, wal, plan.every, seed));
        }
        // One that knows the log only from the nodes, and one in the process of a writer.
        let readers = [("a reader", &reader), ("a writer's reader", &writers[0])];
        for (which, (name, wal)) in readers.into_iter().enumerate() {
            tasks.spawn(load::follow(Arc::clone(log), which, name, Arc::clone(wal)));
        }
        log.order(0);
    }
    let rng = StdRng::seed_from_u64(plan.seed);
    let mut nemesis = Nemesis::new(cluster, logs, reader, rng, plan.only.clone());
    settle(&nemesis.logs).await?;
    let (begin, mut trimmed) = (Instant::now(), Instant::now());
    while begin.elapsed() < plan.time {
        nemesis.strike().await?;
        if trimmed.elapsed() > TRIM_EVERY {
            trimmed = Instant::now();
            for log in &nemesis.logs {
                nemesis.trim(log, KEEP).await;
            }
        }
    }
    let mut report = reckon(plan, nemesis).await?;
    tasks.shutdown().await;
    report.took = began.elapsed();
    Ok(report)
}

/// Waits until all logs accept appends for the first time.
async fn settle(logs: &[Arc<Log>]) -> anyhow::Result<()> {
    let began = Instant::now();
    while !logs.iter().all(|log| log.accepts_since(began)) {
        let troubles: Vec<String> = logs.iter().flat_map(|log| log.troubles()).collect();
        ensure!(began.elapsed() < BOUND, "no log begins: {troubles:?}");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Everything is well again. Whether everything is there.
async fn reckon(plan: &Plan, nemesis: Nemesis) -> anyhow::Result<Report> {
    let Nemesis {
        mut cluster,
        logs,
        effects,
        left_out,
        violations,
        ..
    } = nemesis;
    let mut report = Report::new(plan.clone(), effects, left_out, violations);
    logs.iter().for_each(|log| log.stop());
    let wal = cluster.wal(options()).await?;
    for log in &logs {
        if let Err(error) = last_look(log, &wal).await {
            let text = format!("log {}: {error:#}", log.channel);
            report.violations.add(Violation::Stalled, &text);
        }
    }
    for text in cluster.panics() {
        report.violations.add(Violation::Crashed, &text);
    }
    let verified = cluster.ctl(&["verify"]).await;
    report.verify = verified.unwrap_or_else(|e| json!({ "failed": format!("{e:#}") }));
    let problems = report.verify["problems"].as_array().cloned();
    for problem in problems.iter().flatten().filter(|p| p["node"] == "all") {
        report
            .violations
            .add(Violation::Damaged, &problem.to_string());
    }
    for log in &logs {
        let history = log.history.lock();
        let counts = history.counts();
        report.counts.acked += counts.acked;
        report.counts.rejected += counts.rejected;
        report.counts.unknown += counts.unknown;
        report.records += history.records();
        report.opens += log.opens.load(Ordering::Relaxed);
        report.violations.extend(history.violations.clone());
        report.troubles.extend(log.troubles());
    }
    if plan.keep && !report.is_clean() {
        cluster.keep();
        tracing::error!(dir = %cluster.dir().display(), "kept");
    }
    Ok(report)
}

/// Opens a log once more, appends, reads all that is left, and compares.
async fn last_look(log: &Arc<Log>, wal: &QuorumWal) -> anyhow::Result<()> {
    let epoch = log.next_epoch();
    let opening = wal.open_writer(log.channel, epoch);
    let (writer, last) = timeout(BOUND, opening).await.context("opening")??;
    log.history.lock().opened(epoch, last);
    for _ in 0..LAST_APPENDS {
        timeout(BOUND, writer.ready()).await.context("no room")?;
        let accepted = timeout(BOUND, log.append(&*writer, epoch, 1_000)).await;
        let accepted = accepted.context("appending")?;
        ensure!(accepted, "the last writer was refused");
    }
    let last = wal.committed(log.channel).await?;
    let mut next = first_left(log, wal).await?;
    let mut tail = wal.tail(log.channel, next).await?;
    while next <= last {
        let entry = timeout(BOUND, tail.next()).await;
        let entry = entry.with_context(|| format!("reading {next}"))?;
        let entry = entry.context("the log ended")??;
        let mut history = log.history.lock();
        next = history.delivered("the last reader", next, &entry);
    }
    let waiting = Instant::now();
    while log.read_by_all() < last {
        ensure!(
            waiting.elapsed() < BOUND,
            "readers are at {} of {last}: {:?}",
            log.read_by_all(),
            log.troubles()
        );
        sleep(LOOK).await;
    }
    log.history.lock().finish(last);
    Ok(())
}

/// The first record that was not trimmed.
async fn first_left(log: &Log, wal: &QuorumWal) -> anyhow::Result<Lsn> {
    match wal.tail(log.channel, Lsn(1)).await {
        Ok(_) => Ok(Lsn(1)),
        Err(WalError::Trimmed { first }) => Ok(first),
        Err(error) => Err(error.into()),
    }
}
