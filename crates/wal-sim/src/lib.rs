//! The quorum log, whole clusters of it, under a seeded scheduler: messages are lost, late, doubled and out of order, hosts
//! crash, hang and are cut off, disks lose what was not synced, rot, fail, fill up, are exchanged or restored. After each
//! event the invariants are checked; after the faults every log must work again. One seed is one run, always the same.

mod client;
mod disk;
mod faults;
mod healing;
mod meta;
mod nemesis;
mod node;
mod outcome;
mod process;
mod rng;
mod text;
mod world;

pub use outcome::{Outcome, run};
pub use world::Counts;
