//! One seed: how it is run, and what is told about it.

use holdfast_qlog::invariants::Violation;

use crate::world::{Counts, World};

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The invariant that did not hold, if any.
    pub violation: Option<Violation>,
    /// What was counted.
    pub counts: Counts,
    /// All events, in one number.
    pub trace_hash: u64,
    /// All events, as text, when asked for.
    pub trace: Vec<String>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, traced: bool) -> Outcome {
    let mut world = World::new(seed, traced);
    let violation = world.run().err();
    Outcome {
        seed,
        violation,
        counts: world.counts,
        trace_hash: world.trace_hash(),
        trace: world.trace.take().unwrap_or_default(),
    }
}
