//! Reads everything that ended on this disk, now and then: damage is found while other copies are there to mend it.

use std::time::Duration;

use holdfast_quorum_wal::registry::RegistryError;
use holdfast_types::{ChannelId, LogSegment, Lsn};
use tokio::time::Instant;

use crate::{heal::READ_BYTES, keeper::Keeper, look::Look, metrics};

/// What a scrub found.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    segments: u64,
    bytes: u64,
    /// Segments with an entry that could not be read, nor mended.
    bad: u64,
}

impl Keeper {
    /// Scrubs, again and again.
    pub(crate) async fn keep_scrubbing(&self) {
        loop {
            tokio::time::sleep(self.options.scrub_every).await;
            let began = Instant::now();
            match self.scrub().await {
                Ok(found) => {
                    let Found {
                        segments,
                        bytes,
                        bad,
                    } = found;
                    tracing::info!(segments, bytes, bad, took = ?began.elapsed(), "this disk was read through");
                }
                Err(error) => tracing::warn!(%error, "this disk is not read through"),
            }
        }
    }

    async fn scrub(&self) -> Result<Found, RegistryError> {
        let look = Look::take(&self.registry, &self.connect).await?;
        let mut found = Found::default();
        let Ok(status) = self.log_node.status().await else {
            return Ok(found);
        };
        for (log, image) in &status.image.logs {
            for (segment, held) in &image.segments {
                let view = look.logs.get(log);
                let descriptor = view.and_then(|view| view.segments.get(segment));
                // What goes on is read by its followers, and what was trimmed goes.
                let Some(end) = descriptor.and_then(|d| d.end()) else {
                    continue;
                };
                found.segments += 1;
                let through = end.min(held.certain);
                match self
                    .scrub_one(&look, *log, *segment, held.first, through)
                    .await
                {
                    Ok(bytes) => found.bytes += bytes,
                    Err(()) => found.bad += 1,
                }
            }
        }
        Ok(found)
    }

    async fn scrub_one(
        &self,
        look: &Look,
        log: ChannelId,
        segment: LogSegment,
        first: Lsn,
        through: Lsn,
    ) -> Result<u64, ()> {
        let (mut next, mut all) = (first, 0);
        while next <= through {
            let entries = match self.read_whole(look, log, segment, next).await {
                Ok(entries) => entries,
                // It was dropped meanwhile.
                Err(
                    holdfast_journal::ReadError::UnknownSegment { .. }
                    | holdfast_journal::ReadError::BeforeFirst { .. },
                ) => return Ok(all),
                Err(error) => {
                    tracing::error!(%log, %segment, %error, "a copy on this disk is damaged and was not mended");
                    return Err(());
                }
            };
            let Some(last) = entries.last() else {
                return Ok(all);
            };
            next = last.lsn.next();
            let bytes: u64 = entries.iter().map(|e| e.payload.len() as u64).sum();
            all += bytes;
            ::metrics::counter!(metrics::SCRUBBED).increment(bytes);
            let rate = self.options.scrub_bytes_per_second;
            let paced = bytes.min(4 * READ_BYTES as u64) as f64 / rate as f64;
            tokio::time::sleep(Duration::from_secs_f64(paced)).await;
        }
        Ok(all)
    }
}
