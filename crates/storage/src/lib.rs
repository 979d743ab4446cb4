//! Objects of the store: what they are called, how they are written and read back, which of them
//! make up a shard, and when they may be deleted.
//!
//! | module         | what it knows                                                              |
//! |----------------|----------------------------------------------------------------------------|
//! | [`paths`]      | the name of every object, and the only way to make one                     |
//! | [`store`]      | durable create-once puts, verified reads, memory-mapped reads              |
//! | `map`          | memory-mapping a file: the only `unsafe` here                              |
//! | `cache`        | local copies of remote objects within a byte budget                        |
//! | `envelope`     | magic, version, length and checksum around a payload                       |
//! | [`manifest`]   | what makes up a shard at one version                                       |
//! | `codec`        | manifests and pointers as bytes                                            |
//! | [`manifests`]  | the newest manifest of each shard, moved by compare-and-set                |
//! | [`delete_log`] | the deletes of a range of the log, as an object                            |
//! | [`gc`]         | which objects nothing can reach, and the two-step way in which they go     |
//! | [`error`]      | what went wrong with which object                                          |
//! | `contract`     | what every object store must do for us (feature `testing`)                 |
//! | `testing`      | a store that fails on demand (feature `testing`)                           |
//!
//! **Invariant:** an object is written once and never changed; only pointers move.
//! **Invariant:** only [`gc`] deletes objects.

mod cache;
mod codec;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod delete_log;
mod envelope;
pub mod error;
pub mod gc;
pub mod manifest;
pub mod manifests;
mod map;
pub mod paths;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use cache::CacheOptions;
pub use error::StorageError;
pub use manifest::{DeleteLogEntry, FileEntry, IndexEntry, Manifest, Previous, SegmentEntry};
pub use manifests::{CommitError, ManifestEvent, Manifests, NextManifest};
pub use paths::ObjectPath;
pub use store::{Digest, ObjectInfo, Store};
