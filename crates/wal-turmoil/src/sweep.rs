//! Many seeds, each in a process of its own: a second run in a process finds what the first one left in its thread-locals.

use std::{
    ops::Range,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Outcome;

/// One seed that was run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Every invariant held.
    pub passed: bool,
    /// What the process printed.
    pub output: String,
    /// The numbers of its last line but one: see [`line`].
    pub figures: Vec<(String, u64)>,
    /// All events, in one number.
    pub trace_hash: String,
}

/// What a run prints about itself.
#[must_use]
pub fn line(outcome: &Outcome) -> String {
    let counts = outcome.counts;
    format!(
        "run seed={} simulated_ms={} events={} acknowledged={} unknown={} rejected={} read={} opened={} rolled={} crashes={} \
         losses={} faults={} trace={:016x}",
        outcome.seed,
        outcome.simulated.as_millis(),
        counts.events,
        counts.acknowledged,
        counts.unknown,
        counts.rejected,
        counts.read,
        counts.opened,
        counts.rolled,
        counts.crashes,
        counts.losses,
        counts.faults,
        outcome.trace_hash,
    )
}

/// Runs seeds, `jobs` at a time, by this program, with these words besides.
#[must_use]
pub fn seeds(program: &Path, seeds: Range<u64>, jobs: u64, besides: &[String]) -> Vec<Run> {
    let next = AtomicU64::new(seeds.start);
    let mut runs: Vec<Run> = std::thread::scope(|scope| {
        let work = || {
            let mut runs = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return runs;
                }
                runs.push(one(program, seed, besides));
            }
        };
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|w| w.join());
        done.flat_map(|runs| runs.expect("a worker only starts processes"))
            .collect()
    });
    runs.sort_by_key(|run| run.seed);
    runs
}

/// Runs one seed in a process of its own.
#[must_use]
pub fn one(program: &Path, seed: u64, besides: &[String]) -> Run {
    let ran = Command::new(program)
        .args(["--seed", &seed.to_string()])
        .args(besides)
        .stdin(Stdio::null())
        .output();
    let (passed, output) = match ran {
        Ok(ran) => {
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
            (ran.status.success(), text + &errors)
        }
        Err(error) => (false, format!("seed {seed} does not start: {error}")),
    };
    let told = output.lines().rev().find(|line| line.starts_with("run "));
    let words = told.unwrap_or_default().split(' ');
    let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
    let figures = pairs
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), value.parse().ok()?)));
    let trace = pairs.iter().find(|(name, _)| *name == "trace");
    Run {
        seed,
        passed,
        figures: figures.filter(|(name, _)| name != "trace").collect(),
        trace_hash: trace.map_or_else(String::new, |(_, hash)| (*hash).to_owned()),
        output,
    }
}

/// Sums of all runs.
#[must_use]
pub fn total(runs: &[Run], figure: &str) -> u64 {
    let figures = runs.iter().flat_map(|run| &run.figures);
    figures
        .filter(|(name, _)| name == figure)
        .map(|(_, value)| value)
        .sum()
}

/// All runs in one line.
#[must_use]
pub fn summary(runs: &[Run]) -> String {
    let names = [
        "acknowledged",
        "unknown",
        "rejected",
        "read",
        "opened",
        "rolled",
        "crashes",
        "losses",
        "faults",
    ];
    let mut text = format!(
        "{} seeds, {} failed, {} s simulated",
        runs.len(),
        runs.iter().filter(|run| !run.passed).count(),
        total(runs, "simulated_ms") / 1_000,
    );
    for name in names {
        text += &format!(", {} {name}", total(runs, name));
    }
    text
}
