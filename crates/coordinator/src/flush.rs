//! Flush, and what is stored.

use holdfast_node_api::coordinator::{CollectionName, FlushReport, Statistics, StoredSegment};
use holdfast_types::{Failure, PartitionId, Timestamp};

use crate::{CoordinatorService, partitions::not_found};

impl CoordinatorService {
    pub(crate) async fn flush_now(&self, name: &CollectionName) -> Result<FlushReport, Failure> {
        let meta = self.resolve(name)?;
        let flushed = self.parts.streams.flush(meta.id).await?;
        // The largest stamp stands for "nothing was ever written".
        if flushed.ts != Timestamp::MAX {
            self.hlc.observe(flushed.ts);
        }
        self.announce_segments();
        let manifests = self.manifests_of(&meta).await?;
        let all = manifests.iter().flat_map(|m| &m.segments);
        Ok(FlushReport {
            collection: meta.id,
            segments: flushed.segments,
            all_segments: all.map(|s| s.id).collect(),
            ts: flushed.ts,
        })
    }

    pub(crate) async fn list_segments(
        &self,
        name: &CollectionName,
    ) -> Result<Vec<StoredSegment>, Failure> {
        let meta = self.resolve(name)?;
        let manifests = self.manifests_of(&meta).await?;
        let runs = self.runs.lock();
        let mut found = Vec::new();
        for manifest in &manifests {
            found.extend(manifest.segments.iter().map(|s| StoredSegment {
                id: s.id,
                partition: s.partition,
                shard: manifest.shard.index,
                rows: s.rows,
                deleted_rows: s.deleted_rows,
                bytes: s.bytes,
                level: s.level,
                indexes: s.indexes.iter().map(|i| i.index).collect(),
                merged_from: runs.merged_from(s.id),
            }));
        }
        Ok(found)
    }

    pub(crate) async fn count_rows(
        &self,
        name: &CollectionName,
        partition: Option<&str>,
    ) -> Result<Statistics, Failure> {
        let meta = self.resolve(name)?;
        let only = match partition {
            None => None,
            Some(name) => Some(meta.partition(name).ok_or_else(|| not_found(name))?.id),
        };
        let counts = |p: PartitionId| only.is_none_or(|only| only == p);
        let fresh = self.parts.streams.fresh_segments(meta.id).await?;
        let fresh = fresh.iter().filter(|s| counts(s.partition)).map(|s| s.rows);
        let manifests = self.manifests_of(&meta).await?;
        let stored = manifests
            .iter()
            .flat_map(|m| &m.segments)
            .filter(|s| counts(s.partition))
            .map(|s| s.rows.saturating_sub(s.deleted_rows));
        Ok(Statistics {
            rows: fresh.chain(stored).sum(),
        })
    }
}
