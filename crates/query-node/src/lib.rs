//! The server of flushed segments: maps them, applies deletes, answers reads.
//!
//! Everything here is a cache: segments come from the store as the manifests name them, and the deletes
//! that came after them from delete logs and from the channel's log, which the node follows.
//!
//! | module       | what it knows                                                              |
//! |--------------|----------------------------------------------------------------------------|
//! | [`options`]  | settings                                                                   |
//! | [`service`]  | the calls of other roles; which collections are served                     |
//! | [`shard`]    | the views of one shard (a manifest version each), and deletes on them      |
//! | [`loader`]   | from a manifest to open segments                                           |
//! | [`follower`] | following a channel's log                                                  |
//!
//! **Invariant:** a view at version V, read when the log has been applied to LSN L, shows every delete at
//! or before L. **Invariant:** a segment whose files do not verify is never read.

mod follower;
mod loader;
mod options;
mod service;
mod shard;

pub use options::Options;
pub use service::{Components, QueryNodeService};
