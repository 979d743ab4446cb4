//! The wired quorum log on a simulated network: the gRPC servers and clients, state machines and journals that ship, under
//! a seeded schedule of faults. A seed is one run, and a run is one process.
//!
//! | module    | what it knows                                                                     |
//! |-----------|-----------------------------------------------------------------------------------|
//! | `run`     | one seed, from its first moment to the verdict                                    |
//! | `nemesis` | what goes wrong, and when it ends                                                 |
//! | `faults`  | how often: every seed draws its own mix                                           |
//! | `node`    | hosts that run a log-node                                                         |
//! | `device`  | the disk of a log-node: a journal on simulated bytes that takes simulated time    |
//! | `process` | hosts that take logs over, append, read and trim                                  |
//! | `meta`    | the metadata store, as far away as the faults say                                 |
//! | `net`     | gRPC over the simulated network                                                   |
//! | `watch`   | everything that is seen to happen, against the invariants of the log              |
//! | `clock`   | what time it is on a host                                                         |
//! | [`sweep`] | many seeds, each in a process of its own                                          |

mod clock;
mod device;
mod faults;
mod meta;
mod nemesis;
mod net;
mod node;
mod process;
mod run;
pub mod sweep;
mod watch;

pub use run::{Outcome, run};
