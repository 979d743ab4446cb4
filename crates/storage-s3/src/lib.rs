//! Objects in an S3 bucket: how it is reached, what it can do, and what its refusals mean.
//!
//! | module          | what it knows                                                     |
//! |-----------------|-------------------------------------------------------------------|
//! | [`options`]     | settings                                                          |
//! | [`credentials`] | who we are to the bucket: from the environment or a profile file  |
//! | [`bucket`]      | opening it as an `ObjectStore`                                    |
//! | [`fault`]       | what a refusal means, and what to do about it                     |
//! | `explained`     | a layer that puts faults in these words                           |
//! | [`check`]       | what a bucket can do, and what of it is needed                    |
//!
//! A crate of its own because only the binary has to build an HTTP client.
//!
//! **Invariant:** no secret is in an option, an error or a log line.

pub mod bucket;
pub mod check;
pub mod credentials;
mod explained;
pub mod fault;
pub mod options;

pub use bucket::{OpenError, open};
pub use credentials::Credentials;
pub use fault::Fault;
pub use options::Options;
