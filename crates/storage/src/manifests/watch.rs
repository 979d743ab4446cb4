//! Hearing of pointers as they move.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use holdfast_meta::{MetaError, MetaStore, WatchStream};
use holdfast_types::{ManifestVersion, ShardId};

use super::{LoadError, parse, shard_of};

/// What happened to a shard's pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestEvent {
    /// This is the newest version now.
    Moved {
        /// The shard.
        shard: ShardId,
        /// The version.
        version: ManifestVersion,
    },
    /// The shard's collection was dropped.
    Removed {
        /// The shard.
        shard: ShardId,
    },
}

struct Watch {
    meta: Arc<dyn MetaStore>,
    prefix: String,
    /// What was told last of each shard.
    told: HashMap<ShardId, ManifestVersion>,
    queue: VecDeque<ManifestEvent>,
    changes: WatchStream,
}

/// Tells of all pointers under a prefix, then of every change.
pub(super) async fn watch(
    meta: Arc<dyn MetaStore>,
    prefix: String,
) -> Result<BoxStream<'static, Result<ManifestEvent, LoadError>>, LoadError> {
    let mut watch = Watch {
        meta,
        prefix,
        told: HashMap::new(),
        queue: VecDeque::new(),
        changes: stream::empty().boxed(),
    };
    watch.list().await?;
    Ok(stream::try_unfold(watch, |mut watch| async move {
        Ok(watch.next().await?.map(|event| (event, watch)))
    })
    .boxed())
}

impl Watch {
    async fn next(&mut self) -> Result<Option<ManifestEvent>, LoadError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            match self.changes.next().await {
                None => return Ok(None),
                Some(Ok(changes)) => {
                    for event in changes.events {
                        match event.value {
                            Some(value) => {
                                let (shard, pointer) = parse(&event.key, &value)?;
                                self.moved(shard, pointer.version);
                            }
                            None => {
                                if let Some(shard) = shard_of(&event.key) {
                                    self.removed(shard);
                                }
                            }
                        }
                    }
                }
                Some(Err(MetaError::Compacted { after, oldest })) => {
                    tracing::debug!(
                        after,
                        oldest,
                        "manifest changes were forgotten, listing again"
                    );
                    self.list().await?;
                }
                Some(Err(e)) => return Err(e.into()),
            }
        }
    }

    /// Lists everything, tells what is new, and hears on from there.
    async fn list(&mut self) -> Result<(), LoadError> {
        loop {
            let range = self.meta.range(&self.prefix).await?;
            let mut there = HashSet::new();
            for item in &range.items {
                let (shard, pointer) = parse(&item.key, &item.value)?;
                there.insert(shard);
                self.moved(shard, pointer.version);
            }
            let gone: Vec<ShardId> = self.told.keys().copied().collect();
            for shard in gone.into_iter().filter(|s| !there.contains(s)) {
                self.removed(shard);
            }
            match self.meta.watch(&self.prefix, range.revision).await {
                Ok(changes) => {
                    self.changes = changes;
                    return Ok(());
                }
                // So many changes since the listing; the next one will be quicker than they are.
                Err(MetaError::Compacted { .. }) => tokio::task::yield_now().await,
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn moved(&mut self, shard: ShardId, version: ManifestVersion) {
        if self.told.insert(shard, version) != Some(version) {
            self.queue
                .push_back(ManifestEvent::Moved { shard, version });
        }
    }

    fn removed(&mut self, shard: ShardId) {
        if self.told.remove(&shard).is_some() {
            self.queue.push_back(ManifestEvent::Removed { shard });
        }
    }
}
