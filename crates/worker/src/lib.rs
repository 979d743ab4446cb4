//! Builds indexes and merges segments; every job ends in one manifest commit.
//!
//! Jobs are idempotent: a job that is run twice, or dies half-way, leaves objects that nothing names, and
//! the collector removes them.
//!
//! | module      | what it knows                                        |
//! |-------------|------------------------------------------------------|
//! | [`service`] | the calls of the coordinator                         |

mod service;

pub use service::{Components, WorkerService};
