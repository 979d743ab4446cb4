//! Beside each log-node: sees to it that what ended stays whole, wherever it lies.
//!
//! | module      | what it knows                                                                 |
//! |-------------|-------------------------------------------------------------------------------|
//! | [`options`] | settings                                                                      |
//! | [`keeper`]  | [`Keeper`]: the task, one look after the other                                 |
//! | `look`      | what is known at one moment: metadata, and what each log-node says it holds    |
//! | `heal`      | a segment into object storage, or to another log-node                          |
//! | `fold`      | the keys of old segments into a list                                          |
//! | `letting_go`| what the disk and the object storage need no more                             |
//! | `scrub`     | damage, found and mended                                                       |
//! | `metrics`   | names of what is counted                                                       |
//!
//! The decisions are in [`holdfast_qlog::heal`]. No keeper knows of the others: that two do the same is settled by the
//! metadata's compare-and-set.

mod fold;
mod heal;
pub mod keeper;
mod letting_go;
mod look;
mod metrics;
pub mod options;
mod scrub;

pub use keeper::{Keeper, Parts};
pub use options::Options;
