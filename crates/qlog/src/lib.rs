//! The quorum log: one writer a channel, three log-nodes, two durable copies before an acknowledgement.
//! Everything here is a value or a state machine: no clock, no network, no disk.
//!
//! | module     | what it knows                                                             |
//! |------------|---------------------------------------------------------------------------|
//! | [`entry`]  | one entry of the log and its end-to-end checksum                           |
//! | [`copies`] | who holds the copies of a segment                                          |
//! | [`record`] | what a log-node writes to its journal                                      |
//! | [`image`]  | what a log-node knows after reading its journal                            |

pub mod copies;
pub mod entry;
pub mod image;
pub mod record;

pub use copies::{Copies, CopyHolder, StorageId, Zone};
pub use entry::{Entry, RequestId};
pub use image::{LogImage, NodeImage, SegmentImage};
pub use record::{NodeRecord, SegmentOpen};
