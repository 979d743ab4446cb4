//! The log of a channel: a durable, totally ordered, fenced sequence of records.
//!
//! | module       | responsibility                                                       |
//! |--------------|----------------------------------------------------------------------|
//! | [`wal`]      | the [`Wal`] contract and what can go wrong                            |
//! | [`record`]   | what a record says: rows, deletes, truncations, and their bytes       |
//! | [`local`]    | one machine's disk, for standalone mode                               |
//! | `contract`   | the suite that every implementation passes (feature `testing`)        |

#[cfg(feature = "testing")]
pub mod contract;
pub mod local;
mod metrics;
pub mod record;
pub mod wal;

pub use local::LocalWal;
pub use record::{Record, RecordError, RecordPart, WriteRecord};
pub use wal::{AppendDone, AppendError, TailStream, Wal, WalEntry, WalError, WalWriter};
