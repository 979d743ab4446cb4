//! Appends to the local and to the quorum log, beside what the disk and the loopback can do in the same run.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use holdfast_quorum_wal::Options;
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::{AppendError, LocalWal, Wal, WalWriter};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    cluster::{Cluster, Setup},
    floor,
    latency::Latencies,
    raw::{self, Beside, Raw},
    scrape::Syncs,
};

const SIZES: [usize; 3] = [256, 4 << 10, 256 << 10];
const IN_FLIGHT: [usize; 3] = [1, 16, 256];
/// A log-node's disk and the local log's are written in files of this size.
const FILE_BYTES: u64 = 256 << 20;
/// Appends between two arrivals when a node is lost: a steady load that the disk keeps up with.
const LOSS_IN_FLIGHT: usize = 16;
const LOSS_BYTES: usize = 4 << 10;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long each case takes.
    pub time: Duration,
    /// Where the disks are.
    pub dir: Option<std::path::PathBuf>,
}

/// What the machine can do without us.
struct Hardware {
    raw: Raw,
    /// A message to three processes, two of which have synced a block.
    floor: Latencies,
}

/// One case.
#[derive(Clone, Debug)]
struct Case {
    wal: &'static str,
    bytes: usize,
    in_flight: usize,
    seconds: f64,
    latencies: Latencies,
    syncs: Syncs,
}

/// Measures everything. Returns a table for people and JSON for programs.
///
/// # Errors
/// Something cannot be started or written.
pub async fn run(plan: &Plan) -> anyhow::Result<(String, Value)> {
    let own = PrometheusBuilder::new().install_recorder()?;
    let mut cluster = Cluster::start(&Setup {
        nodes: 3,
        namespaces: false,
        small_disk: false,
        dir: plan.dir.clone(),
        journal_file_bytes: FILE_BYTES,
    })
    .await?;
    let hardware = Hardware {
        raw: raw::measure(cluster.dir())?,
        floor: floor::measure(cluster.dir()).await?,
    };
    let mut cases = Vec::new();
    let local = LocalWal::open(cluster.dir().join("local"), local_options())?;
    let quorum = cluster.wal(Options::default()).await?;
    for bytes in SIZES {
        for in_flight in IN_FLIGHT {
            let channel = ChannelId(u32::try_from(cases.len())?);
            let case = Running {
                channel,
                bytes,
                in_flight,
                time: plan.time,
            };
            let measured = case
                .measure(&local, async || Ok(Syncs::local(&own)))
                .await?;
            cases.push(measured.into_case("local", &case));
            let measured = case.measure(&quorum, async || cluster.syncs().await);
            cases.push(measured.await?.into_case("quorum", &case));
        }
    }
    drop(local);
    let loss = lose_a_node(&mut cluster, plan.time).await?;
    Ok((
        table(&hardware, &cases, &loss),
        report(&hardware, &cases, &loss),
    ))
}

fn local_options() -> holdfast_wal::local::Options {
    holdfast_wal::local::Options {
        reserve_bytes: 0,
        ..holdfast_wal::local::Options::default()
    }
}

/// A case that is to be measured.
struct Running {
    channel: ChannelId,
    bytes: usize,
    in_flight: usize,
    time: Duration,
}

struct Measured {
    seconds: f64,
    latencies: Latencies,
    syncs: Syncs,
}

impl Measured {
    fn into_case(self, wal: &'static str, running: &Running) -> Case {
        Case {
            wal,
            bytes: running.bytes,
            in_flight: running.in_flight,
            seconds: self.seconds,
            latencies: self.latencies,
            syncs: self.syncs,
        }
    }
}

impl Running {
    async fn measure(
        &self,
        wal: &dyn Wal,
        syncs: impl AsyncFn() -> anyhow::Result<Syncs>,
    ) -> anyhow::Result<Measured> {
        let (writer, _) = wal.open_writer(self.channel, Epoch(1)).await?;
        let writer: Arc<dyn WalWriter> = writer.into();
        // Files are made and connections opened before the clock runs.
        load(&writer, self.bytes, self.in_flight, self.time / 5).await?;
        let before = syncs().await?;
        let began = Instant::now();
        let latencies = load(&writer, self.bytes, self.in_flight, self.time).await?;
        let seconds = began.elapsed().as_secs_f64();
        let syncs = syncs().await?.since(before);
        drop(writer);
        let end = wal.committed(self.channel).await?;
        wal.trim(self.channel, Lsn(end.0.saturating_sub(1))).await?;
        Ok(Measured {
            seconds,
            latencies,
            syncs,
        })
    }
}

/// So many appends at a time, one after the other each.
async fn load(
    writer: &Arc<dyn WalWriter>,
    bytes: usize,
    in_flight: usize,
    time: Duration,
) -> anyhow::Result<Latencies> {
    let payload = Bytes::from(vec![7; bytes]);
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (writer, payload) = (Arc::clone(writer), payload.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                writer.ready().await;
                let began = Instant::now();
                loop {
                    match writer.append(payload.clone()).1.await {
                        // Others took the room that was free: back-pressure, and part of the time.
                        Err(AppendError::Busy { .. }) => writer.ready().await,
                        Err(error) => return Err(error),
                        Ok(_) => break,
                    }
                }
                took.push((began, began.elapsed()));
            }
            Ok::<_, AppendError>(took)
        });
    }
    let mut latencies = Latencies::default();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    ensure!(!latencies.is_empty(), "nothing was appended");
    Ok(latencies)
}

/// What the loss of a node does to appends.
struct Loss {
    before: Latencies,
    after: Latencies,
    /// What a sync of one block took in the same time.
    disk: Latencies,
    /// Appends after it that were slower than three times the 99th percentile before.
    slow: usize,
    /// Those of them in whose time the disk did not pause.
    slow_alone: usize,
}

/// `kill -9` of each node in turn, in the middle of a steady load.
async fn lose_a_node(cluster: &mut Cluster, time: Duration) -> anyhow::Result<Loss> {
    let wal = cluster.wal(Options::default()).await?;
    let (mut before, mut after) = (Latencies::default(), Latencies::default());
    let mut disk = Latencies::default();
    for node in 0..cluster.nodes.len() {
        let channel = ChannelId(1_000 + u32::try_from(node)?);
        let (writer, _) = wal.open_writer(channel, Epoch(1)).await?;
        let writer: Arc<dyn WalWriter> = writer.into();
        load(&writer, LOSS_BYTES, LOSS_IN_FLIGHT, time / 5).await?;
        let beside = Beside::start(cluster.dir())?;
        let loading = tokio::spawn({
            let writer = Arc::clone(&writer);
            async move { load(&writer, LOSS_BYTES, LOSS_IN_FLIGHT, time * 2).await }
        });
        tokio::time::sleep(time).await;
        let lost = Instant::now();
        cluster.nodes[node].kill().await?;
        let (earlier, later) = loading.await??.split(lost);
        before.extend(earlier);
        after.extend(later);
        disk.extend(beside.stop()?);
        cluster.nodes[node].start().await?;
    }
    let bound = before.at(0.99) * 3;
    Ok(Loss {
        slow: after.slower_than(bound),
        slow_alone: after.slower_alone(bound, &disk),
        before,
        after,
        disk,
    })
}

fn micros(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 100.0).round() / 10.0
}

impl Case {
    fn megabytes_per_second(&self) -> f64 {
        (self.bytes * self.latencies.len()) as f64 / self.seconds / 1e6
    }

    fn to_json(&self) -> Value {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|p| micros(self.latencies.at(p)));
        json!({
            "wal": self.wal, "bytes": self.bytes, "in_flight": self.in_flight,
            "appends_per_second": self.latencies.len() as f64 / self.seconds,
            "p50_us": p50, "p99_us": p99, "p999_us": p999,
            "max_us": micros(self.latencies.at(1.0)),
            "megabytes_per_second": self.megabytes_per_second(),
            "syncs_per_second_and_disk": self.syncs.syncs / self.seconds,
            "records_per_sync": self.syncs.records_per_sync(),
        })
    }
}

/// The figures that were promised: name, what was measured, the bound, and whether it holds.
fn ratios(
    hardware: &Hardware,
    cases: &[Case],
    loss: &Loss,
) -> Vec<(&'static str, f64, &'static str, bool)> {
    let find = |bytes, in_flight| {
        let mut of = cases.iter().filter(|c| c.wal == "quorum");
        of.find(|c| c.bytes == bytes && c.in_flight == in_flight)
    };
    let Hardware { raw, floor: three } = hardware;
    let floor = raw.sync.at(0.5) + raw.round_trip.at(0.5);
    let mut ratios = Vec::new();
    if let Some(low) = find(256, 1) {
        let ratio = low.latencies.at(0.5).as_secs_f64() / floor.as_secs_f64();
        let name = "quorum p50, 256 B, 1 in flight / (fdatasync + round trip)";
        ratios.push((name, ratio, "<= 1.5", ratio <= 1.5));
        let ratio = low.latencies.at(0.5).as_secs_f64() / three.at(0.5).as_secs_f64();
        let name = "quorum p50, 256 B, 1 in flight / three bare processes";
        ratios.push((name, ratio, "<= 1.5", ratio <= 1.5));
    }
    if let Some(many) = find(256 << 10, 256) {
        let ratio = many.megabytes_per_second() / raw.megabytes_per_second;
        let name = "quorum MB/s, 256 KiB, 256 in flight / one of three bare writers";
        ratios.push((name, ratio, ">= 0.7", ratio >= 0.7));
    }
    let name =
        "appends after the loss of a node slower than 3 x p99 before while the disk did not pause";
    ratios.push((name, loss.slow_alone as f64, "0", loss.slow_alone == 0));
    ratios
}

fn report(hardware: &Hardware, cases: &[Case], loss: &Loss) -> Value {
    let ratios = ratios(hardware, cases, loss).into_iter();
    let ratios: Vec<Value> = ratios
        .map(|(name, value, bound, holds)| {
            json!({ "name": name, "value": value, "bound": bound, "holds": holds })
        })
        .collect();
    let Hardware { raw, floor } = hardware;
    json!({
        "raw": {
            "three_processes_us": { "p50": micros(floor.at(0.5)), "p99": micros(floor.at(0.99)) },
            "fdatasync_us": { "p50": micros(raw.sync.at(0.5)), "p99": micros(raw.sync.at(0.99)) },
            "round_trip_us": {
                "p50": micros(raw.round_trip.at(0.5)), "p99": micros(raw.round_trip.at(0.99)),
            },
            "one_of_three_writers_megabytes_per_second": raw.megabytes_per_second,
            "one_of_three_writers_fresh_megabytes_per_second": raw.fresh_megabytes_per_second,
        },
        "cases": cases.iter().map(Case::to_json).collect::<Vec<_>>(),
        "loss": {
            "before_p99_us": micros(loss.before.at(0.99)), "before_max_us": micros(loss.before.at(1.0)),
            "after_p99_us": micros(loss.after.at(0.99)), "after_max_us": micros(loss.after.at(1.0)),
            "appends_after": loss.after.len(), "slower_than_3_p99": loss.slow,
            "slower_while_the_disk_did_not_pause": loss.slow_alone,
            "disk_p99_us": micros(loss.disk.at(0.99)), "disk_max_us": micros(loss.disk.at(1.0)),
        },
        "ratios": ratios,
    })
}

fn table(hardware: &Hardware, cases: &[Case], loss: &Loss) -> String {
    let Hardware { raw, floor } = hardware;
    let mut lines = vec![
        format!(
            "raw: write + fdatasync of 4 KiB p50 {} us, p99 {} us; loopback round trip p50 {} us; three bare processes p50 {} us, p99 {} us; one of three writers {:.0} MB/s into zeroed blocks, {:.0} MB/s into new ones",
            micros(raw.sync.at(0.5)),
            micros(raw.sync.at(0.99)),
            micros(raw.round_trip.at(0.5)),
            micros(floor.at(0.5)),
            micros(floor.at(0.99)),
            raw.megabytes_per_second,
            raw.fresh_megabytes_per_second
        ),
        format!(
            "{:<7} {:>7} {:>9} {:>10} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9}",
            "wal",
            "bytes",
            "in flight",
            "appends/s",
            "p50 us",
            "p99 us",
            "p999 us",
            "MB/s",
            "syncs/s",
            "rec/sync"
        ),
    ];
    for case in cases {
        lines.push(format!(
            "{:<7} {:>7} {:>9} {:>10.0} {:>9} {:>9} {:>9} {:>8.1} {:>8.0} {:>9.1}",
            case.wal,
            case.bytes,
            case.in_flight,
            case.latencies.len() as f64 / case.seconds,
            micros(case.latencies.at(0.5)),
            micros(case.latencies.at(0.99)),
            micros(case.latencies.at(0.999)),
            case.megabytes_per_second(),
            case.syncs.syncs / case.seconds,
            case.syncs.records_per_sync(),
        ));
    }
    lines.push(format!(
        "loss of a node, 4 KiB, 16 in flight: before p99 {} us, max {} us; after p99 {} us, max {} us; {} of {} slower than 3 x p99, {} of them while the disk did not pause; beside it a sync p99 {} us, max {} us",
        micros(loss.before.at(0.99)),
        micros(loss.before.at(1.0)),
        micros(loss.after.at(0.99)),
        micros(loss.after.at(1.0)),
        loss.slow,
        loss.after.len(),
        loss.slow_alone,
        micros(loss.disk.at(0.99)),
        micros(loss.disk.at(1.0)),
    ));
    for (name, value, bound, holds) in ratios(hardware, cases, loss) {
        let verdict = if holds { "holds" } else { "MISSED" };
        lines.push(format!("{name} = {value:.2} ({bound}): {verdict}"));
    }
    lines.join("\n") + "\n"
}

impl Syncs {
    /// Those of the local log in this process.
    fn local(own: &PrometheusHandle) -> Self {
        Self::read(&own.render(), "holdfast_wal_batch_records")
    }
}

impl Cluster {
    /// Those of the nodes' disks, a disk.
    async fn syncs(&self) -> anyhow::Result<Syncs> {
        let mut all = Syncs::default();
        for node in &self.nodes {
            let text = crate::scrape::metrics(node.http().context("a node's address")?).await?;
            let one = Syncs::read(&text, "holdfast_journal_group_records");
            all.syncs += one.syncs / self.nodes.len() as f64;
            all.records += one.records / self.nodes.len() as f64;
        }
        Ok(all)
    }
}
