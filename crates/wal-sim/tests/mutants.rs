//! A simulation that does not notice a broken rule proves nothing: each rule is broken, and some seed must see it.

#![cfg(feature = "mutants")]

use holdfast_qlog::rules::{Rule, break_rule};

/// Seeds that a broken rule may survive.
const SEEDS_MAX: u64 = 2_000;

/// What is seen of the broken rule in a run: an invariant is violated, or the state machines notice it by themselves.
fn noticed(seed: u64) -> Option<String> {
    match std::panic::catch_unwind(|| holdfast_wal_sim::run(seed, false)) {
        Ok(outcome) => outcome.violation.map(|v| v.to_string()),
        Err(_) => Some("a state machine refused to go on".to_owned()),
    }
}

#[test]
fn every_broken_rule_is_noticed() {
    let mut survivors = Vec::new();
    let only = option_env!("HOLDFAST_MUTANT");
    for rule in Rule::ALL {
        if only.is_some_and(|only| only != rule.name()) {
            continue;
        }
        break_rule(Some(*rule));
        let began = std::time::Instant::now();
        let caught = (0..SEEDS_MAX).find_map(|seed| Some((seed, noticed(seed)?)));
        break_rule(None);
        match caught {
            Some((seed, violation)) => {
                println!(
                    "{}: seed {seed}, {violation}, {:?}",
                    rule.name(),
                    began.elapsed()
                );
            }
            None => {
                println!("{}: SURVIVES, {:?}", rule.name(), began.elapsed());
                survivors.push(rule.name());
            }
        }
    }
    assert!(
        survivors.is_empty(),
        "broken rules that no seed noticed: {survivors:?}"
    );
}
