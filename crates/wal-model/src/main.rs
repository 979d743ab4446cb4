//! Runs the scopes and broken variants, and prints one line of a table for each.

use std::process::ExitCode;
use std::time::Duration;

use holdfast_wal_model::catalog::{LARGE, MUTANTS, Mutant, SMALL};
use holdfast_wal_model::check::{Outcome, explore};
use holdfast_wal_model::model::QuorumLog;
use holdfast_wal_model::rules::Rules;
use holdfast_wal_model::scope::Scope;

/// For one scope. One that takes longer is reported as not explored whole.
const LIMIT: Duration = Duration::from_secs(3600);

const USAGE: &str = "\
usage: holdfast-wal-model small | large | mutants | show WORD

  small    the scopes that every change runs, whole
  large    the larger scopes: each up to an hour, and gigabytes of memory
  mutants  the broken variants, each until it is caught
  show     the counterexample of each broken variant, or the result of each scope, whose name contains WORD";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ok = match words[..] {
        ["small"] => scopes(SMALL.iter()),
        ["large"] => scopes(LARGE.iter()),
        ["mutants"] => mutants(MUTANTS.iter(), false),
        ["show", word] => {
            let held: Vec<&Scope> = SMALL
                .iter()
                .chain(LARGE)
                .filter(|scope| scope.name.contains(word))
                .collect();
            let caught: Vec<&Mutant> = MUTANTS
                .iter()
                .filter(|mutant| mutant.name.contains(word))
                .collect();
            if held.is_empty() && caught.is_empty() {
                eprintln!("no scope and no broken variant has {word:?} in its name");
                return ExitCode::from(2);
            }
            scopes(held.into_iter()) & mutants(caught.into_iter(), true)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn scopes<'a>(scopes: impl Iterator<Item = &'a Scope>) -> bool {
    let mut ok = true;
    for scope in scopes {
        let log = QuorumLog {
            scope: *scope,
            rules: Rules::KEPT,
        };
        let outcome = explore(log, threads(), LIMIT, &[]);
        let verdict = match (outcome.holds(), outcome.is_complete) {
            (true, _) => "holds",
            (false, false) if outcome.violated.is_empty() => {
                "no violation so far; NOT EXPLORED WHOLE"
            }
            (false, _) => "FAILS",
        };
        row(scope.name, &outcome, verdict);
        ok &= outcome.holds();
        for (property, steps) in &outcome.violated {
            println!("  violated: {property}");
            tell(steps);
        }
        for name in &outcome.unseen {
            println!("  not {name}");
        }
    }
    ok
}

fn mutants<'a>(mutants: impl Iterator<Item = &'a Mutant>, show: bool) -> bool {
    let mut ok = true;
    for mutant in mutants {
        let log = QuorumLog {
            scope: mutant.scope,
            rules: mutant.rules,
        };
        let outcome = explore(log, threads(), LIMIT, &[mutant.breaks]);
        let caught = outcome.counterexample(mutant.breaks);
        let verdict = match caught {
            Some(steps) => format!("caught in {} steps: {}", steps.len(), mutant.breaks),
            None => format!("NOT CAUGHT: {}", mutant.breaks),
        };
        row(mutant.name, &outcome, &verdict);
        ok &= caught.is_some();
        if show {
            tell(caught.unwrap_or(&[]));
        }
    }
    ok
}

fn row(name: &str, outcome: &Outcome, verdict: &str) {
    println!(
        "| {name} | {} | {} | {} | {:.1} s | {verdict} |",
        outcome.unique,
        outcome.generated,
        outcome.depth,
        outcome.time.as_secs_f64()
    );
}

fn tell(steps: &[String]) {
    for (at, step) in steps.iter().enumerate() {
        println!("  {:>2}. {step}", at + 1);
    }
}
