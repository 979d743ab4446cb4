//! A model of the quorum log: one writer, three log-nodes, racing recoverers, one compare-and-set register.
//!
//! The model explores **every** order of steps, messages, crashes and faults of a small system and checks the
//! promises of the log in each state. It has no product code in it: it is the specification that the protocol
//! core follows, with the same words. `docs/wal-model.md` says what it leaves out, and why that is sound.
//!
//! | module         | responsibility                                                         |
//! |----------------|------------------------------------------------------------------------|
//! | [`state`]      | what there is: head, segments, nodes, primaries, what the outside saw  |
//! | [`rules`]      | the switches, one for each rule of the protocol                        |
//! | [`scope`]      | how large a system, which faults                                       |
//! | [`action`]     | the steps, and how they read                                           |
//! | [`node`]       | what a log-node does with Append, Sync, Seal, Repair, Finish, Beat     |
//! | [`writer`]     | what the writer does: append, commit, roll, bare ticks                 |
//! | [`recoverer`]  | claim, Seal, decide, Repair, Finish                                    |
//! | [`fault`]      | restarts, lost nodes, wiped, restored and rotten disks                 |
//! | [`properties`] | what must hold, and what must be seen at least once                    |
//! | [`model`]      | the transition system that is explored                                 |
//! | [`check`]      | one run: states, time, verdict, a readable counterexample              |
//! | [`catalog`]    | the scopes and the broken variants that are run                        |

pub mod action;
pub mod catalog;
pub mod check;
pub mod fault;
pub mod model;
pub mod node;
pub mod properties;
pub mod recoverer;
pub mod rules;
pub mod scope;
pub mod state;
pub mod writer;
