//! What a crash or a failed call left undone is found by comparing, and done.

use std::time::Duration;

use futures::StreamExt;
use holdfast_meta::CollectionMeta;
use holdfast_runtime::Shutdown;
use holdfast_storage::{CommitError, Manifest, NextManifest};
use holdfast_types::{Coded, CollectionId, Failure, PartitionId, ShardId, Timestamp};

use crate::CoordinatorService;

/// Pause before a broken watch is started anew.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

impl CoordinatorService {
    /// Does what was left undone, when told and from time to time, until `shutdown`.
    pub(crate) async fn make_good(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.left_over.notified() => {}
                () = tokio::time::sleep(self.options.scheduling_period) => {}
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.reconcile() => {}
            }
        }
    }

    /// Announces work whenever a manifest moves, whoever moved it.
    pub(crate) async fn follow_manifests(&self, shutdown: &Shutdown) {
        loop {
            let followed = async {
                let mut events = self.parts.manifests.watch(None).await?;
                while let Some(event) = events.next().await {
                    event?;
                    self.announce_segments();
                }
                Ok::<_, holdfast_storage::manifests::LoadError>(())
            };
            tokio::select! {
                () = shutdown.triggered() => return,
                followed = followed => if let Err(e) = followed {
                    tracing::warn!(error = %e.to_failure(), "manifests can't be followed; they are looked at from time to time");
                }
            }
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(WATCH_PAUSE) => {}
            }
        }
    }

    /// Finishes drops, tells the query-node what is loaded, removes what the catalog knows no more. What
    /// fails is logged, and found again the next time.
    pub(crate) async fn reconcile(&self) {
        let snapshot = self.parts.catalog.snapshot();
        for meta in snapshot.list_dropping() {
            if let Err(failure) = self.clean_up(&meta).await {
                tracing::warn!(collection = %meta.id, error = %failure, "a dropped collection is not cleaned up yet");
            }
        }
        let ids: Vec<CollectionId> = snapshot.collections().map(|meta| meta.id).collect();
        for id in ids {
            if let Err(failure) = self.reload(id).await {
                tracing::warn!(collection = %id, error = %failure, "a loaded collection is not served yet");
            }
            if let Err(failure) = self.remove_forgotten(id).await {
                tracing::warn!(collection = %id, error = %failure, "what was dropped from a collection is not removed yet");
            }
        }
    }

    /// Tells the query-node to serve a collection that is loaded; it does so already most of the time.
    async fn reload(&self, id: CollectionId) -> Result<(), Failure> {
        let _loads = self.loads.lock().await;
        let snapshot = self.parts.catalog.snapshot();
        let is_loaded = snapshot.collection(id).is_some_and(|m| m.load.is_some());
        if is_loaded {
            self.parts.queries.load(id).await?;
        }
        Ok(())
    }

    /// Removes rows of partitions, and files of indexes, that the catalog does not know any more.
    async fn remove_forgotten(&self, id: CollectionId) -> Result<(), Failure> {
        let Some(meta) = self.parts.catalog.snapshot().collection(id).cloned() else {
            return Ok(());
        };
        let fresh = self.parts.streams.fresh_segments(id).await?;
        let manifests = self.manifests_of(&meta).await?;
        // Read after the manifests: what they name was in the catalog before them.
        let Some(meta) = self.parts.catalog.snapshot().collection(id).cloned() else {
            return Ok(());
        };
        let stored = manifests
            .iter()
            .flat_map(|m| &m.segments)
            .map(|s| s.partition);
        let mut gone: Vec<PartitionId> = stored
            .chain(fresh.iter().map(|s| s.partition))
            .filter(|p| meta.partition_by_id(*p).is_none())
            .collect();
        gone.sort_unstable();
        gone.dedup();
        for partition in gone {
            self.parts.streams.drop_partition(id, partition).await?;
            tracing::info!(collection = %id, %partition, "rows of a dropped partition removed");
        }
        for manifest in &manifests {
            if names_unknown_index(manifest, &meta) {
                self.strip_indexes(manifest.shard).await?;
            }
        }
        Ok(())
    }

    async fn strip_indexes(&self, shard: ShardId) -> Result<(), Failure> {
        let created = self.wall();
        let stripped = self.parts.manifests.update(shard, |current| {
            let snapshot = self.parts.catalog.snapshot();
            let meta = snapshot.collection(shard.collection);
            Ok::<_, CommitError>(
                current
                    .zip(meta.map(|m| &**m))
                    .and_then(|(m, meta)| without_unknown_indexes(m, meta, created)),
            )
        });
        stripped.await.map(drop).map_err(Failure::from)
    }
}

fn names_unknown_index(manifest: &Manifest, meta: &CollectionMeta) -> bool {
    let mut named = manifest.segments.iter().flat_map(|s| &s.indexes);
    named.any(|entry| !meta.indexes.iter().any(|i| i.id == entry.index))
}

fn without_unknown_indexes(
    manifest: &Manifest,
    meta: &CollectionMeta,
    created: Timestamp,
) -> Option<NextManifest> {
    if !names_unknown_index(manifest, meta) {
        return None;
    }
    let mut next = manifest.next(created);
    for segment in &mut next.segments {
        segment
            .indexes
            .retain(|entry| meta.indexes.iter().any(|i| i.id == entry.index));
    }
    Some(next)
}
