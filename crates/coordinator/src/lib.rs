//! DDL, load and release, flush, and the planning of index builds, compactions and garbage collection.
//!
//! What is decided stands in the catalog and in the manifests, nowhere else: every loop here compares what
//! is wanted with what is, and asks other roles for the difference. A coordinator that starts anew goes on
//! where the last one stopped.
//!
//! | module              | what it knows                                                          |
//! |---------------------|------------------------------------------------------------------------|
//! | [`options`]         | settings                                                               |
//! | [`service`]         | what a coordinator is built on, its loops, and the calls of a proxy    |
//! | `collections`       | DDL of databases, collections and aliases; the two phases of a drop    |
//! | `properties`        | which collection properties are accepted                               |
//! | `fields`            | DDL of fields                                                          |
//! | `partitions`        | DDL of partitions                                                      |
//! | `indexes`           | DDL of indexes                                                         |
//! | `index_params`      | what a client asks of an index, and what is built for it; pure         |
//! | `index_jobs`        | which segment lacks which index, and how far they are; pure            |
//! | `index_builds`      | the loop that has indexes built                                        |
//! | `load`              | load and release                                                       |
//! | `flush`             | flush, and what is stored                                              |
//! | `merge_plans`       | which segments are worth merging; pure                                 |
//! | `merge_runs`        | compactions that clients asked for; pure                               |
//! | `merges`            | the loop that has segments merged                                      |
//! | `faults`            | what failed, and when to try again; pure                               |
//! | `reconcile`         | what a crash or a failed call left undone                              |
//! | `collect`           | the loop that deletes objects nobody can reach                         |
//!
//! **Invariant:** only the catalog says what exists; manifests follow it.

mod collect;
mod collections;
mod faults;
mod fields;
mod flush;
mod index_builds;
mod index_jobs;
mod index_params;
mod indexes;
mod load;
mod merge_plans;
mod merge_runs;
mod merges;
pub mod options;
mod partitions;
mod properties;
mod reconcile;
pub mod service;
#[cfg(test)]
mod tests;

pub use options::Options;
pub use service::{Components, CoordinatorService};
