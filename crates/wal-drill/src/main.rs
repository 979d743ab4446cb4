//! The command line of the drills.

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use holdfast_wal_drill::{
    bench,
    faults::{self, Plan},
    floor,
    nemesis::Kind,
    network,
};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "Drills for the quorum log")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Real log-nodes under load and faults. Fails if a record is lost, there twice or elsewhere.
    Faults(Faults),
    /// One of three bare processes that the bench compares with.
    #[command(hide = true, name = floor::WORD)]
    FloorNode {
        /// Its file.
        path: PathBuf,
    },
    /// Appends to the local and to the quorum log, beside what the disk and the loopback can do.
    Bench {
        /// How long each of the 18 cases takes.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Where the disks are.
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Where the figures go as JSON; they are printed otherwise.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Faults {
    /// How long faults are made.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What decides their order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Log-nodes, in three zones.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Logs.
    #[arg(long, default_value_t = 3)]
    logs: u32,
    /// Appends a second to each log.
    #[arg(long, default_value_t = 30)]
    rate: u32,
    /// No network namespaces and no small disk, even as root.
    #[arg(long)]
    plain: bool,
    /// Where the nodes' disks are.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep what is left after a violation.
    #[arg(long)]
    keep: bool,
    /// Only these faults, each as often as it is named. A full disk and partitions need root.
    #[arg(long)]
    only: Vec<Kind>,
    /// Where the report goes as JSON; it is printed otherwise.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("DRILL_LOG");
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("error,holdfast_wal_drill=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match Cli::parse().command {
        Command::Faults(faults) => run_faults(faults).await,
        Command::FloorNode { path } => {
            floor::serve(&path)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench { seconds, dir, json } => {
            let time = Duration::from_secs(seconds.max(1));
            let (table, figures) = bench::run(&bench::Plan { time, dir }).await?;
            publish(json, &figures)?;
            write!(std::io::stderr(), "{table}")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn run_faults(given: Faults) -> anyhow::Result<ExitCode> {
    let root = !given.plain && network::available();
    let report = faults::run(&Plan {
        time: Duration::from_secs(given.seconds),
        seed: given.seed,
        nodes: given.nodes,
        logs: given.logs,
        every: Duration::from_secs(1) / given.rate.max(1),
        namespaces: root,
        small_disk: root,
        dir: given.dir,
        keep: given.keep,
        only: given.only,
    })
    .await?;
    publish(given.json, &report.to_json())?;
    write!(std::io::stderr(), "{}", report.to_table())?;
    Ok(match report.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn publish(to: Option<PathBuf>, figures: &serde_json::Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(figures)?;
    match to {
        Some(path) => std::fs::write(path, text)?,
        None => writeln!(std::io::stdout(), "{text}")?,
    }
    Ok(())
}
