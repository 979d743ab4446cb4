//! Start-up: take the channel over, learn what manifests cover, replay the rest of the log.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use holdfast_runtime::Hlc;
use holdfast_storage::Manifests;
use holdfast_types::{ChannelId, Code, Coded, Epoch, Failure, Lsn};
use holdfast_wal::{WalError, WalWriter, record::Record};
use tokio::task::JoinHandle;

use crate::{
    channel::{Channel, LogBytes, Parts},
    options::Options,
    service::Components,
    shard::Shard,
    watermark::Watermark,
};

/// Takes the channel over, replays its log and opens it for writes.
pub(crate) async fn open(
    id: ChannelId,
    owner: &str,
    hlc: Arc<Hlc>,
    options: &Options,
    parts: &Components,
) -> Result<(Arc<Channel>, JoinHandle<()>), Failure> {
    let started = parts.clock.monotonic();
    let epoch =
        holdfast_meta::claim_epoch(&*parts.meta, &holdfast_meta::keys::channel_epoch(id), owner)
            .await?;
    let (writer, last) = take_over(id, epoch, parts).await?;
    let watermark = Watermark::open(Arc::clone(&parts.meta), id).await?;
    hlc.observe(watermark.ceiling());
    let shards = covered_shards(id, &parts.catalog.snapshot(), &parts.manifests, &hlc).await?;
    check_reach(id, last, &shards)?;
    let (channel, applier) = Channel::start(Parts {
        id,
        epoch,
        hlc,
        watermark,
        options: options.clone(),
        catalog: Arc::clone(&parts.catalog),
        clock: Arc::clone(&parts.clock),
        pool: Arc::clone(&parts.pool),
        budget: Arc::clone(&parts.budget),
        writer,
        shards,
        applied_lsn: Lsn(0),
        log_bytes: LogBytes::default(),
    });
    let records = replay(&channel, last, parts).await?;
    channel.replayed(last);
    let took = parts.clock.monotonic().saturating_sub(started);
    tracing::info!(channel = %id, epoch = %epoch, last = %last, records, ?took, "channel open");
    Ok((channel, applier))
}

async fn take_over(
    id: ChannelId,
    epoch: Epoch,
    parts: &Components,
) -> Result<(Box<dyn WalWriter>, Lsn), Failure> {
    parts
        .wal
        .open_writer(id, epoch)
        .await
        .map_err(|e| e.to_failure().within(format_args!("channel {id}")))
}

/// The shards on this channel that have a manifest.
async fn covered_shards(
    id: ChannelId,
    catalog: &holdfast_meta::CatalogSnapshot,
    manifests: &Manifests,
    hlc: &Hlc,
) -> Result<HashMap<holdfast_types::ShardId, Arc<Shard>>, Failure> {
    let mut shards = HashMap::new();
    for meta in catalog.collections() {
        hlc.observe(meta.updated);
        for (shard, _) in meta
            .shard_ids()
            .zip(&meta.shards)
            .filter(|&(_, &channel)| channel == id)
        {
            if let Some(manifest) = manifests.current(shard).await? {
                hlc.observe(manifest.covers_ts);
                hlc.observe(manifest.created);
                let fresh = Shard::new(
                    shard,
                    manifest.version,
                    manifest.covers_lsn,
                    manifest.covers_ts,
                );
                shards.insert(shard, Arc::new(fresh));
            }
        }
    }
    Ok(shards)
}

/// A log that ends before what was flushed from it is not the one that was written: its positions would be
/// given out again, and replay would take new records for flushed ones.
fn check_reach(
    channel: ChannelId,
    last: Lsn,
    shards: &HashMap<holdfast_types::ShardId, Arc<Shard>>,
) -> Result<(), Failure> {
    let beyond = shards.iter().map(|(id, shard)| (shard.covers(), id));
    match beyond.max().filter(|&(covers, _)| covers > last) {
        Some((covers, shard)) => Err(Failure::new(
            Code::Corrupt,
            format!(
                "the log of channel {channel} ends at record {last}, but shard {shard} was flushed up to record \
                 {covers}: files of the log are missing, or from another time"
            ),
        )),
        None => Ok(()),
    }
}

/// Applies every record that the log still has; shards skip what their manifest covers.
async fn replay(channel: &Arc<Channel>, last: Lsn, parts: &Components) -> Result<u64, Failure> {
    if last == Lsn(0) {
        return Ok(0);
    }
    let mut entries = match parts.wal.tail(channel.id, Lsn(1)).await {
        Ok(entries) => entries,
        Err(WalError::Trimmed { first }) if first > last => return Ok(0),
        Err(WalError::Trimmed { first }) => parts.wal.tail(channel.id, first).await?,
        Err(error) => return Err(error.to_failure()),
    };
    let mut records = 0;
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let bytes = entry.payload.len() as u64;
        let record = Record::decode(entry.payload).map_err(|e| {
            e.to_failure()
                .within(format_args!("channel {}, record {}", channel.id, entry.lsn))
        })?;
        channel.hlc.observe(record.ts());
        channel
            .log_bytes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .add(entry.lsn, bytes);
        channel.replay(entry.lsn, record).await?;
        records += 1;
        if entry.lsn >= last {
            return Ok(records);
        }
    }
    Err(Failure::new(
        Code::Corrupt,
        format!(
            "the log of channel {} ended before record {last}",
            channel.id
        ),
    ))
}
