//! `holdfast-wal-sim --seeds 100000` runs that many seeds, on all cores; `--seed N --trace` replays one.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use clap::Parser;
use holdfast_wal_sim::{Outcome, run};

/// Lines of the trace that a failing seed prints.
const TAIL: usize = 60;

/// The quorum log under a seeded scheduler. Fails if an invariant does not hold.
#[derive(Parser)]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// All that it did.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) => replay(seed, options.trace),
        None => sweep(options.from, options.seeds),
    }
}

fn replay(seed: u64, all: bool) -> ExitCode {
    let outcome = run(seed, true);
    let skip = if all {
        0
    } else {
        outcome.trace.len().saturating_sub(TAIL)
    };
    for line in outcome.trace.iter().skip(skip) {
        println!("{line}");
    }
    println!(
        "{:?}, trace hash {:016x}",
        outcome.counts, outcome.trace_hash
    );
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn sweep(from: u64, seeds: u64) -> ExitCode {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let outcomes: Vec<Vec<Outcome>> = std::thread::scope(|scope| {
        let work = || {
            let mut outcomes = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + seeds || failed.load(Ordering::Relaxed) {
                    return outcomes;
                }
                let outcome = run(seed, false);
                if outcome.violation.is_some() {
                    failed.store(true, Ordering::Relaxed);
                }
                outcomes.push(outcome);
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|w| w.join().expect("a worker's panic is the finding"))
            .collect()
    });
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    println!(
        "{} seeds, {} events, {} s simulated: {} acknowledged, {} unknown, {} repeated, {} opened, {} rolled, {} crashes, \
         {} losses, {} ticks announced, {} strong reads",
        outcomes.len(),
        sum(|o| o.counts.events),
        sum(|o| o.counts.simulated_ms) / 1_000,
        sum(|o| o.counts.acknowledged),
        sum(|o| o.counts.unknown),
        sum(|o| o.counts.repeated),
        sum(|o| o.counts.opened),
        sum(|o| o.counts.rolled),
        sum(|o| o.counts.crashes),
        sum(|o| o.counts.losses),
        sum(|o| o.counts.announced),
        sum(|o| o.counts.confirmed),
    );
    match outcomes.iter().find(|o| o.violation.is_some()) {
        None => ExitCode::SUCCESS,
        Some(outcome) => replay(outcome.seed, false),
    }
}
