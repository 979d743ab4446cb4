//! The quorum log: one writer a channel, three log-nodes, two durable copies before an acknowledgement.
//! Everything here is a value or a state machine: no clock, no network, no disk. A state machine takes an event and the
//! time since some fixed moment, and says what to do.
//!
//! | module       | what it knows                                                               |
//! |--------------|-----------------------------------------------------------------------------|
//! | [`entry`]    | one entry of the log and its end-to-end checksum                             |
//! | [`copies`]   | who holds the copies of a segment                                            |
//! | [`record`]   | what a log-node writes to its journal                                        |
//! | [`image`]    | what a log-node knows after reading its journal                              |
//! | [`messages`] | what is said to log-nodes, and what they answer                              |
//! | [`meta`]     | what the metadata store holds, and the transactions that change it           |
//! | [`node`]     | the log-node                                                                 |
//! | [`writer`]   | the one writer of a log                                                      |
//! | [`recover`]  | how a log gets its next writer                                               |
//! | [`reader`]   | how the log is followed                                                      |
//! | [`detect`]   | when the writer is taken for gone                                            |
//! | [`place`]    | which nodes hold a new segment                                               |
//! | [`heal`]     | what to do after a loss                                                      |
//! | [`fold`]     | segments that lost their keys: a list in object storage names them           |
//! | [`invariants`] | what must hold at every moment                                              |
//! | [`rules`]    | the rules that are never relaxed, and how the simulator breaks them           |

mod codec;
pub mod copies;
pub mod detect;
pub mod entry;
pub mod fold;
pub mod heal;
pub mod image;
pub mod invariants;
pub mod messages;
pub mod meta;
pub mod node;
pub mod place;
pub mod reader;
pub mod record;
pub mod recover;
pub mod rules;
pub mod writer;

pub use copies::{Copies, CopyHolder, StorageId, Zone};
pub use entry::{Entry, RequestId};
pub use image::{LogImage, NodeImage, SegmentImage};
pub use record::{NodeRecord, SegmentOpen};
