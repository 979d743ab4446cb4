//! A log-node: keeps copies of the log's segments on one disk and answers only for what that disk has.
//!
//! | module       | what it knows                                                            |
//! |--------------|--------------------------------------------------------------------------|
//! | [`options`]  | settings                                                                 |
//! | [`device`]   | the disk: a journal behind a thread, or one that a simulation drives      |
//! | [`core`]     | the one task that owns the state machine                                 |
//! | [`register`] | telling the cluster which disk this is, and in which of its lives         |
//! | [`grpc`]     | the wire                                                                 |

pub mod core;
pub mod device;
pub mod grpc;
pub mod options;
pub mod register;

pub use core::{LogNode, NodeStatus};
pub use device::{Device, ThreadDevice};
pub use options::Options;
pub use register::{RegisterError, Registration, keep_raising, recognise, register};
