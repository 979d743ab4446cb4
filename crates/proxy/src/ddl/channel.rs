//! What clients are told of channels. They show the names and give them back, nothing more.

use holdfast_meta::CollectionMeta;

/// The name of the physical log of every shard, in shard order.
pub(super) fn physical(meta: &CollectionMeta) -> Vec<String> {
    meta.shards
        .iter()
        .map(|channel| format!("channel_{channel}"))
        .collect()
}

/// The name of every shard's part of its log, in shard order.
pub(crate) fn all(meta: &CollectionMeta) -> Vec<String> {
    (0u32..)
        .take(meta.shards.len())
        .map(|shard| of_shard(meta, shard))
        .collect()
}

/// The name of one shard's part of its log; empty when there is no such shard.
pub(crate) fn of_shard(meta: &CollectionMeta, shard: u32) -> String {
    let channel = usize::try_from(shard)
        .ok()
        .and_then(|at| meta.shards.get(at));
    channel.map_or_else(String::new, |channel| {
        format!("channel_{channel}_{}v{shard}", meta.id)
    })
}
