//! A write to the owners of its channels.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdfast_meta::CollectionMeta;
use holdfast_node_api::write::{WritePart, WriteRequest};
use holdfast_types::{ChannelId, Code, Failure, Timestamp};

use crate::Proxy;

/// Makes the changes durable and visible; returns the stamp from which on all of them are.
///
/// What lies on one channel is one event; with `unchanged_since`, one that happens only when none of its
/// keys was written after that.
///
/// # Errors
/// The stream-node's. When a part of the changes is stored and another is not, which takes several
/// channels: `OutcomeUnknown`.
pub(crate) async fn send(
    proxy: &Proxy,
    meta: &CollectionMeta,
    parts: Vec<WritePart>,
    unchanged_since: Option<Timestamp>,
) -> Result<Timestamp, Failure> {
    let mut channels: BTreeMap<ChannelId, Vec<WritePart>> = BTreeMap::new();
    for part in parts {
        let channel = meta.shards.get(part.shard as usize).ok_or_else(|| {
            Failure::internal(format!(
                "collection {} has no shard {}",
                meta.name, part.shard
            ))
        })?;
        channels.entry(*channel).or_default().push(part);
    }
    let writes = channels.into_values().map(|parts| {
        proxy.streams.write(WriteRequest {
            collection: meta.id,
            unchanged_since,
            parts,
        })
    });
    let (mut stored, mut refused) = (Vec::new(), Vec::new());
    for result in join_all(writes).await {
        match result {
            Ok(ack) => stored.push(ack.ts),
            Err(failure) => refused.push(failure),
        }
    }
    match (stored.into_iter().max(), refused.into_iter().next()) {
        (Some(ts), None) => Ok(ts),
        (None, Some(failure)) => Err(failure),
        (Some(_), Some(failure)) => Err(Failure::new(
            Code::OutcomeUnknown,
            format!("a part of the rows is stored, another is not: {failure}"),
        )),
        (None, None) => Err(Failure::internal("a write without any change")),
    }
}
