//! One run of the checker: how many states, how long, what was found, and a counterexample that can be read.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::action::{self, Action};
use crate::model::QuorumLog;
use crate::state::State;

/// What one run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// States that differ.
    pub unique: usize,
    /// States reached, with those reached again.
    pub generated: usize,
    /// The longest path.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// No state was left out.
    pub is_complete: bool,
    /// Properties that do not hold, each with its counterexample.
    pub violated: Vec<(&'static str, Vec<String>)>,
    /// What should have been seen, and was not.
    pub unseen: Vec<&'static str>,
}

impl Outcome {
    /// All promises held, and all that should be seen was.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.is_complete && self.violated.is_empty() && self.unseen.is_empty()
    }

    /// The counterexample of `property`, if one was found.
    #[must_use]
    pub fn counterexample(&self, property: &str) -> Option<&[String]> {
        let found = self.violated.iter().find(|(name, _)| *name == property);
        found.map(|(_, steps)| &steps[..])
    }
}

/// Explores all states of `log`, on `threads` threads. Stops early once all of `until` are violated, or, if it is
/// empty, once anything is; and when `limit` is over.
#[must_use]
pub fn explore(log: QuorumLog, threads: usize, limit: Duration, until: &[&'static str]) -> Outcome {
    log.scope.assert_fits();
    let stop = if until.is_empty() {
        HasDiscoveries::AnyFailures
    } else {
        HasDiscoveries::AllOf(until.iter().copied().collect())
    };
    let began = Instant::now();
    let checker = log
        .checker()
        .threads(threads)
        .finish_when(stop)
        .timeout(limit)
        .spawn_bfs()
        .join();
    let time = began.elapsed();
    let discoveries = checker.discoveries();
    let mut outcome = Outcome {
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        time,
        is_complete: time < limit,
        violated: Vec::new(),
        unseen: Vec::new(),
    };
    for property in log.properties() {
        match (property.expectation, discoveries.get(property.name)) {
            (Expectation::Sometimes, None) => outcome.unseen.push(property.name),
            (Expectation::Always, Some(path)) => {
                let states = path.clone().into_states();
                outcome
                    .violated
                    .push((property.name, tell_path(&log, &states)));
            }
            _ => {}
        }
    }
    outcome
}

/// The steps of a path in words. The checker's states have their nodes sorted; here the path is walked again
/// with nodes that keep their numbers.
fn tell_path(log: &QuorumLog, sorted: &[State]) -> Vec<String> {
    let mut state = State::first(&log.scope);
    let mut told = Vec::new();
    for goal in &sorted[1..] {
        let mut actions: Vec<Action> = Vec::new();
        action::candidates(&log.scope, &state, &mut actions);
        let step = actions.into_iter().find_map(|action| {
            let after = action::apply(log, &state, action)?;
            let mut same = after;
            same.sort_alike(&log.scope);
            (same == *goal).then_some((action, after))
        });
        let (action, after) = step.expect("sorted or not, a state has the same steps");
        told.push(action::tell(&log.scope, &state, action, &after));
        state = after;
    }
    told
}
