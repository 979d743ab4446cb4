//! The journal of a log-node: one log on a disk, shared by all channels, so that one sync serves them all.
//! `docs/formats/journal.md` describes its bytes and rules.
//!
//! | module       | what it knows                                                              |
//! |--------------|----------------------------------------------------------------------------|
//! | [`options`]  | settings                                                                   |
//! | [`error`]    | what can go wrong, and what is then known                                  |
//! | [`codec`]    | the bytes of a record                                                      |
//! | `format`     | the bytes around them: file headers, batches                               |
//! | [`identity`] | whose disk this is, and how often it was started                           |
//! | `batch`      | records laid out in batches                                                |
//! | `file`       | one open file                                                              |
//! | `scan`       | walking a file: torn or rotten                                             |
//! | `index`      | where the entries of each segment lie                                      |
//! | `side`       | the index of a finished file, on disk                                      |
//! | `recover`    | what the files say at start                                                |
//! | [`journal`]  | appending: the one place that changes a journal                            |
//! | [`reader`]   | reading entries back, verified                                             |
//! | [`verify`]   | looking at every byte                                                      |
//! | [`manifest`] | which objects hold a segment                                          |
//! | [`object`]   | a sealed segment as an object to be uploaded                               |
//! | [`thread`]   | a queue and a thread around a journal: group commit                        |

mod batch;
pub mod codec;
pub mod error;
mod file;
mod format;
pub mod identity;
mod index;
pub mod journal;
pub mod manifest;
mod metrics;
pub mod object;
pub mod options;
pub mod reader;
mod recover;
mod scan;
mod side;
pub mod thread;
pub mod verify;

pub use error::{AppendError, Damage, JournalError, ReadError};
pub use identity::{Identity, Owner, stored_identity};
pub use journal::{Inspection, Journal, Recovered, Usage};
pub use options::Options;
pub use reader::JournalReader;
pub use thread::{Completion, JournalThread};
pub use verify::Report;

#[cfg(test)]
mod tests;
