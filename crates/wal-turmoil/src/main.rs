//! `holdfast-wal-turmoil --seeds 1000` runs that many seeds, each in a process of its own; `--seed N --trace` replays one.

use std::process::ExitCode;

use clap::Parser;
#[cfg(feature = "mutants")]
use holdfast_qlog::rules::{Rule, break_rule};
use holdfast_wal_turmoil::{run, sweep};

/// Lines of the trace that a failing seed prints.
const TAIL: usize = 60;

/// The wired quorum log on a simulated network. Fails if an invariant does not hold.
#[derive(Parser)]
struct Options {
    /// How many seeds, each in a process of its own.
    #[arg(long, default_value_t = 60)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Only this one, in this process.
    #[arg(long)]
    seed: Option<u64>,
    /// All that it did.
    #[arg(long)]
    trace: bool,
    /// The rule of the protocol that is broken.
    #[cfg(feature = "mutants")]
    #[arg(long = "break", value_parser = rule)]
    broken: Option<Rule>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.seed {
        Some(seed) => {
            #[cfg(feature = "mutants")]
            break_rule(options.broken);
            one(seed, options.trace)
        }
        None => many(&options),
    }
}

#[cfg(feature = "mutants")]
fn rule(name: &str) -> Result<Rule, &'static str> {
    let rule = Rule::ALL.iter().find(|rule| rule.name() == name);
    rule.copied().ok_or("no such rule")
}

fn one(seed: u64, all: bool) -> ExitCode {
    if all {
        // What the code under test says itself, among its hosts.
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    let outcome = run(seed, true);
    let failed = outcome.violation.is_some();
    let skip = match (all, failed) {
        (true, _) => 0,
        (false, true) => outcome.trace.len().saturating_sub(TAIL),
        (false, false) => outcome.trace.len(),
    };
    for line in outcome.trace.iter().skip(skip) {
        println!("{line}");
    }
    println!("{}", sweep::line(&outcome));
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("this program does not find itself: {error}");
            return ExitCode::from(2);
        }
    };
    // What each process is told besides its seed.
    #[cfg(feature = "mutants")]
    let besides = options.broken.map_or(Vec::new(), |rule| {
        vec!["--break".to_owned(), rule.name().to_owned()]
    });
    #[cfg(not(feature = "mutants"))]
    let besides = Vec::new();
    let began = std::time::Instant::now();
    let seeds = options.from..options.from.saturating_add(options.seeds);
    let runs = sweep::seeds(&program, seeds, options.jobs, &besides);
    let failed: Vec<&sweep::Run> = runs.iter().filter(|run| !run.passed).collect();
    for run in &failed {
        println!(
            "{}\nrepeat it: {} --seed {} {}",
            run.output,
            program.display(),
            run.seed,
            besides.join(" ")
        );
    }
    println!("{}, {:?}", sweep::summary(&runs), began.elapsed());
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
