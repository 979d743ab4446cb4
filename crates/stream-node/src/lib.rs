//! The owner of channels: orders and stamps writes, keeps fresh rows, answers reads of them, flushes.
//!
//! One write lives like this: [`service`] finds the channel, [`channel`] reserves memory, stamps the
//! record and appends it to the log in one critical section, waits until the log has it on disk, applies
//! it to the [`shard`]'s segments in log order and only then answers. [`flush`] turns segments into files
//! and commits them; [`replay`] rebuilds everything from manifests and log.
//!
//! | module          | what it knows                                                       |
//! |-----------------|---------------------------------------------------------------------|
//! | [`options`]     | settings                                                            |
//! | [`service`]     | the calls of other roles                                            |
//! | [`channel`]     | one log: stamping, appending, applying in order, read points        |
//! | [`recent_keys`] | when a key was last written: the guard of read-modify-write         |
//! | [`shard`]       | the segments in memory of one shard, and which reads see which      |
//! | [`flush`]       | sealing, files, delete logs, the manifest commit                    |
//! | [`replay`]      | start-up                                                            |
//! | [`checkpoint`]  | where a restart begins to replay                                    |
//! | [`claim`]       | what a channel's owner keeps in the metadata store                  |
//! | [`damage`]      | shards whose manifest can't be read                                 |
//! | [`watermark`]   | the highest stamp that was read at, across restarts                 |
//! | [`metrics`]     | what is measured                                                    |
//!
//! **Invariant:** what a read sees is a function of the log up to the read's stamp. **Invariant:** a row is
//! in exactly one of: the segments of manifest version V, the segments a stream-node answers with at V.

mod channel;
mod checkpoint;
mod claim;
mod damage;
mod flush;
mod metrics;
mod options;
mod recent_keys;
mod replay;
mod service;
mod shard;
mod watermark;

pub use options::Options;
pub use service::{Components, StreamNodeService};
