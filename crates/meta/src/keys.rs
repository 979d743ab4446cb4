//! The keys of the metadata store. Every key Holdfast writes begins with one of these prefixes.
//!
//! | key                                  | value                                            |
//! |--------------------------------------|--------------------------------------------------|
//! | `catalog/database/<name>`            | a database                                       |
//! | `catalog/collection/<id>`            | a collection and everything that belongs to it   |
//! | `names/<database id>/<name>`         | which collection has this name, or this alias    |
//! | `ids/next`                           | the first id nobody has taken                    |
//! | `channel/<id>/epoch`                 | the epoch of a channel's writer, and who took it |
//! | `channel/<id>/ceiling`               | what a channel's reads may have been answered at |
//! | `channel/<id>/checkpoint`            | where a replay of a channel's log begins         |
//! | `manifest/<collection>/<shard>`      | pointer to a shard's newest manifest             |
//!
//! Ids are decimal, zero-padded to 20 digits, so that keys sort as the numbers do.

use holdfast_types::{ChannelId, CollectionId, DatabaseId, ShardId};

/// Everything a catalog follows.
pub const CATALOG: &str = "catalog/";
/// All databases.
pub const DATABASES: &str = "catalog/database/";
/// All collections.
pub const COLLECTIONS: &str = "catalog/collection/";
/// All manifest pointers.
pub const MANIFESTS: &str = "manifest/";
/// The id allocator.
pub const NEXT_ID: &str = "ids/next";

/// A database.
#[must_use]
pub fn database(name: &str) -> String {
    format!("{DATABASES}{name}")
}

/// A collection.
#[must_use]
pub fn collection(id: CollectionId) -> String {
    format!("{COLLECTIONS}{:020}", id.0)
}

/// The collection of a key made by [`collection`].
#[must_use]
pub fn collection_id(key: &str) -> Option<CollectionId> {
    key.strip_prefix(COLLECTIONS)?
        .parse()
        .ok()
        .map(CollectionId)
}

/// All names of a database's collections and aliases.
#[must_use]
pub fn names(database: DatabaseId) -> String {
    format!("names/{:020}/", database.0)
}

/// One name of a collection or alias.
#[must_use]
pub fn name(database: DatabaseId, name: &str) -> String {
    format!("names/{:020}/{name}", database.0)
}

/// The epoch of a channel's writer.
#[must_use]
pub fn channel_epoch(channel: ChannelId) -> String {
    format!("channel/{:020}/epoch", channel.0)
}

/// The stamp up to which a channel's reads may have been answered. What it holds is the stream-node's business.
#[must_use]
pub fn channel_ceiling(channel: ChannelId) -> String {
    format!("channel/{:020}/ceiling", channel.0)
}

/// The position up to which a channel's log needs no replay. What it holds is the stream-node's business.
#[must_use]
pub fn channel_checkpoint(channel: ChannelId) -> String {
    format!("channel/{:020}/checkpoint", channel.0)
}

/// The pointer to a shard's newest manifest. What it holds is the storage crate's business.
#[must_use]
pub fn manifest(shard: ShardId) -> String {
    format!("{MANIFESTS}{:020}/{:010}", shard.collection.0, shard.index)
}
