//! Start-up: take the channel over, learn what manifests cover, replay the rest of the log.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt;
use holdfast_runtime::Hlc;
use holdfast_storage::Manifests;
use holdfast_types::{ChannelId, Code, Coded, Epoch, Failure, Lsn};
use holdfast_wal::{WalError, WalWriter};
use tokio::task::JoinHandle;

use crate::{
    channel::{Channel, LogBytes, Parts},
    checkpoint::{Checkpoint, Settled},
    claim::Claim,
    damage::Damage,
    metrics,
    options::Options,
    service::Components,
    shard::Shard,
    watermark::Watermark,
};

/// Records that are decoded and applied at once. Each time two threads wait for each other, which is nothing on
/// an idle machine and tens of milliseconds on one where dozens of threads want every core.
const CHUNK_RECORDS: usize = 1_024;

/// A channel that is open for writes.
pub(crate) struct Replayed {
    pub(crate) channel: Arc<Channel>,
    /// Applies what is written.
    pub(crate) applier: JoinHandle<()>,
    /// How many records were read from the log.
    pub(crate) records: u64,
}

/// Takes the channel over, replays its log and opens it for writes.
pub(crate) async fn open(
    id: ChannelId,
    owner: &str,
    hlc: Arc<Hlc>,
    options: &Options,
    parts: &Components,
) -> Result<Replayed, Failure> {
    let started = parts.clock.monotonic();
    let epoch =
        holdfast_meta::claim_epoch(&*parts.meta, &holdfast_meta::keys::channel_epoch(id), owner)
            .await?;
    let (writer, last) = take_over(id, epoch, parts).await?;
    let claim = Claim::of(Arc::clone(&parts.meta), id).await?;
    let checkpoint = Checkpoint::open(claim.clone()).await?;
    let settled = checkpoint.stored().await;
    hlc.observe(settled.ts);
    let watermark = Watermark::open(claim).await?;
    hlc.observe(watermark.ceiling());
    let damage = Damage::default();
    let catalog = parts.catalog.snapshot();
    let shards = covered_shards(id, &catalog, &parts.manifests, &hlc, &damage).await?;
    check_reach(id, last, settled, &shards)?;
    let (channel, applier) = Channel::start(Parts {
        id,
        epoch,
        hlc,
        watermark,
        checkpoint,
        options: options.clone(),
        catalog: Arc::clone(&parts.catalog),
        clock: Arc::clone(&parts.clock),
        pool: Arc::clone(&parts.pool),
        budget: Arc::clone(&parts.budget),
        writer,
        shards,
        damage,
        applied_lsn: Lsn(0),
        log_bytes: LogBytes::default(),
    });
    let records = replay(&channel, settled.lsn, last, parts).await?;
    channel.replayed(last);
    let took = parts.clock.monotonic().saturating_sub(started);
    tracing::info!(channel = %id, epoch = %epoch, checkpoint = %settled.lsn, last = %last, records, ?took, "channel open");
    metrics::replayed(id.0, records);
    Ok(Replayed {
        channel,
        applier,
        records,
    })
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

/// The shards on this channel that have a manifest; those that have one that can't be read are noted.
async fn covered_shards(
    id: ChannelId,
    catalog: &holdfast_meta::CatalogSnapshot,
    manifests: &Manifests,
    hlc: &Hlc,
    damage: &Damage,
) -> Result<HashMap<holdfast_types::ShardId, Arc<Shard>>, Failure> {
    let mut shards = HashMap::new();
    for meta in catalog.collections() {
        hlc.observe(meta.updated);
        for (shard, _) in meta
            .shard_ids()
            .zip(&meta.shards)
            .filter(|&(_, &channel)| channel == id)
        {
            let current = match manifests.current(shard).await.map_err(Failure::from) {
                // The collection is lost or waits for its file; that is no reason to refuse all others.
                Err(failure) if failure.code == Code::Corrupt => {
                    damage.note(shard, &failure);
                    continue;
                }
                current => current?,
            };
            if let Some(manifest) = current {
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
    settled: Settled,
    shards: &HashMap<holdfast_types::ShardId, Arc<Shard>>,
) -> Result<(), Failure> {
    let beyond = shards.iter().map(|(id, shard)| (shard.covers(), Some(id)));
    let beyond = beyond.chain([(settled.lsn, None)]);
    let Some((flushed, shard)) = beyond.max().filter(|&(flushed, _)| flushed > last) else {
        return Ok(());
    };
    let whose = shard.map_or_else(|| "it".to_owned(), |shard| format!("shard {shard}"));
    Err(Failure::new(
        Code::Corrupt,
        format!(
            "the log of channel {channel} ends at record {last}, but {whose} was flushed up to record {flushed}: \
             files of the log are missing, or from another time"
        ),
    ))
}

/// Applies the records after `settled`, many at a time; shards skip what their manifest covers.
async fn replay(
    channel: &Arc<Channel>,
    settled: Lsn,
    last: Lsn,
    parts: &Components,
) -> Result<u64, Failure> {
    if settled >= last {
        return Ok(0);
    }
    let entries = match parts.wal.tail(channel.id, settled.next()).await {
        Ok(entries) => entries,
        Err(WalError::Trimmed { first }) if first > last => return Ok(0),
        Err(WalError::Trimmed { first }) => parts.wal.tail(channel.id, first).await?,
        Err(error) => return Err(error.to_failure()),
    };
    let mut chunks = entries.ready_chunks(CHUNK_RECORDS);
    let mut records = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        records += chunk.len() as u64;
        let reached = chunk.last().map_or(Lsn(0), |entry| entry.lsn);
        channel.replay(chunk).await?;
        if reached >= last {
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
