//! Shards whose manifest can't be read: their collections are refused, and nothing of theirs is let go.
//!
//! What such a shard has in its segments, and from where on it needs the log, only its manifest says. So its
//! records are not applied, and the log of its channel is neither trimmed nor passed by the checkpoint, until
//! the file is there again at a start, or the collection is dropped.

use std::collections::BTreeMap;

use holdfast_types::{CollectionId, Failure, ShardId};
use parking_lot::RwLock;

/// The damaged shards of one channel, as its start found them.
#[derive(Debug, Default)]
pub(crate) struct Damage(RwLock<BTreeMap<ShardId, Failure>>);

impl Damage {
    /// Takes note of a shard, and why.
    pub(crate) fn note(&self, shard: ShardId, why: &Failure) {
        let failure = Failure::new(
            why.code,
            format!(
                "shard {shard} can't be served: {why}; put the file back from a copy and start the server anew, or \
                 drop the collection; until then nothing of it is deleted"
            ),
        );
        tracing::error!(%shard, error = %why, "a manifest is damaged; its collection is refused, all else is served");
        self.0.write().insert(shard, failure);
    }

    /// Whether a shard of this channel is damaged.
    pub(crate) fn is_any(&self) -> bool {
        !self.0.read().is_empty()
    }

    /// Whether this shard is.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.0.read().contains_key(&shard)
    }

    /// Why nothing of a collection can be read or written.
    pub(crate) fn of(&self, collection: CollectionId) -> Option<Failure> {
        let shards = self.0.read();
        let found = shards.iter().find(|(id, _)| id.collection == collection);
        found.map(|(_, failure)| failure.clone())
    }

    /// Forgets the shards of collections that are no more.
    pub(crate) fn retain(&self, exists: impl Fn(CollectionId) -> bool) {
        if self.is_any() {
            self.0.write().retain(|id, _| exists(id.collection));
        }
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<(ShardId, Failure)> {
        let shards = self.0.read();
        shards.iter().map(|(id, f)| (*id, f.clone())).collect()
    }
}
