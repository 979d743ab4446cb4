//! `holdfast-wal-turmoil --seeds 1000` runs that many seeds, each in a process of its own; `--seed N --trace` replays one.

use std::process::ExitCode;

use holdfast_wal_turmoil::{run, sweep};

const USAGE: &str =
    "usage: holdfast-wal-turmoil [--seeds COUNT] [--from FIRST] [--jobs N] [--seed N [--trace]]";
/// Lines of the trace that a failing seed prints.
const TAIL: usize = 60;

struct Options {
    seeds: u64,
    from: u64,
    jobs: u64,
    seed: Option<u64>,
    trace: bool,
    /// Words that each seed's process is given besides its seed.
    besides: Vec<String>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match options.seed {
        Some(seed) => one(seed, options.trace),
        None => many(&options),
    }
}

fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seeds: 60,
        from: 0,
        jobs: 2,
        seed: None,
        trace: false,
        besides: Vec::new(),
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or(format!("{arg} needs a number"))?;
            value
                .parse()
                .map_err(|_| format!("{arg} {value}: not a number"))
        };
        match arg.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--jobs" => options.jobs = number()?,
            "--seed" => options.seed = Some(number()?),
            "--trace" => options.trace = true,
            #[cfg(feature = "mutants")]
            "--break" => {
                let rule = args.next().unwrap_or_default();
                break_rule(&rule)?;
                options.besides = vec![arg.clone(), rule];
            }
            _ => return Err(format!("{arg}: not known")),
        }
    }
    Ok(options)
}

/// Breaks a rule of the protocol in this process, which runs one seed.
#[cfg(feature = "mutants")]
fn break_rule(name: &str) -> Result<(), String> {
    use holdfast_qlog::rules::{Rule, break_rule};
    let rule = Rule::ALL.iter().find(|rule| rule.name() == name);
    let rule = rule.ok_or_else(|| format!("--break {name}: no such rule"))?;
    break_rule(Some(*rule));
    Ok(())
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
    let began = std::time::Instant::now();
    let seeds = options.from..options.from.saturating_add(options.seeds);
    let runs = sweep::seeds(&program, seeds, options.jobs, &options.besides);
    let failed: Vec<&sweep::Run> = runs.iter().filter(|run| !run.passed).collect();
    for run in &failed {
        println!(
            "{}\nrepeat it: {} --seed {} {}",
            run.output,
            program.display(),
            run.seed,
            options.besides.join(" ")
        );
    }
    println!("{}, {:?}", sweep::summary(&runs), began.elapsed());
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
