//! The quorum log, whole clusters of it, under a seeded scheduler: messages are lost, late, doubled and out of order, hosts
//! crash, hang and are cut off, disks lose what was not synced, rot, fail, fill up, are exchanged or restored. After each
//! event the invariants are checked; after the faults every log must work again. One seed is one run, always the same.

mod client;
mod disk;
mod faults;
mod meta;
mod nemesis;
mod node;
mod process;
mod rng;
mod world;

use std::fmt::Write;

use holdfast_qlog::{
    invariants::Violation,
    messages::{Answer, Ask},
    meta::MetaTxn,
};

pub use world::Counts;

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
    let mut world = world::World::new(seed, traced);
    let violation = world.run().err();
    Outcome {
        seed,
        violation,
        counts: world.counts,
        trace_hash: world.trace_hash(),
        trace: world.trace.take().unwrap_or_default(),
    }
}

fn describe(txn: &MetaTxn) -> String {
    let mut text = String::new();
    for (key, _) in &txn.puts {
        write!(text, "{key} ").expect("a String takes everything");
    }
    text
}

fn brief(ask: &Ask) -> String {
    match ask {
        Ask::Append(a) => format!(
            "append log {} seg {} epoch {} committed {} entries {:?} open {}",
            a.log,
            a.segment,
            a.epoch,
            a.committed,
            a.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>(),
            a.open.is_some()
        ),
        Ask::Repair(r) => format!(
            "repair log {} seg {} epoch {} entries {:?}",
            r.log,
            r.segment,
            r.epoch,
            r.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>()
        ),
        other => format!("{other:?}"),
    }
}

fn brief_answer(answer: &Answer) -> String {
    match answer {
        Answer::Entries(e) => format!(
            "entries log {} seg {} {:?} committed {} end {:?}",
            e.log,
            e.segment,
            e.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>(),
            e.committed,
            e.end
        ),
        other => format!("{other:?}"),
    }
}
