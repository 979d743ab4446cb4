//! The quorum log as a [`holdfast_wal::Wal`]: the state machines of `holdfast-qlog`, driven over gRPC and the metadata
//! store.
//!
//! | module       | what it knows                                                               |
//! |--------------|-----------------------------------------------------------------------------|
//! | [`options`]  | settings                                                                    |
//! | [`quorum`]   | [`QuorumWal`]: opening, reading, trimming                                    |
//! | `writer`     | one open writer: its state machine and what it wants done                    |
//! | `recovery`   | driving a recovery to its end                                                |
//! | `tail`       | following a log                                                              |
//! | `peers`      | sessions with log-nodes                                                      |
//! | [`mending`]  | new copies of segments that ended                                            |
//! | [`survey`]   | what an operator asks about copies                                           |
//! | [`connect`]  | how a log-node is reached                                                    |
//! | [`registry`] | the metadata store as the state machines see it                              |

pub mod connect;
pub mod mending;
pub mod options;
mod peers;
pub mod quorum;
mod recovery;
pub mod registry;
pub mod survey;
mod tail;
mod writer;

pub use connect::{Connect, TcpConnect};
pub use options::Options;
pub use quorum::{Components, QuorumWal};
pub use registry::Registry;
