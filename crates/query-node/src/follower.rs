//! Following a channel's log: the deletes in it reach the segments that are served.
//!
//! One task follows each channel, from the position at which the first shard of it was served. A shard
//! that is served later is attached at once, and what lies between its manifest and the record that the
//! task was at is read separately; deletes may be applied twice and in any order, since the earliest one
//! after a row's insert is what counts.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use futures::StreamExt;
use holdfast_meta::Catalog;
use holdfast_runtime::{CpuPool, Shutdown};
use holdfast_storage::Manifests;
use holdfast_types::{
    ChannelId, Code, CollectionId, Failure, Lsn, PkList, ShardId, Timestamp, columns,
};
use holdfast_wal::{
    Wal, WalEntry, WalError,
    record::{Record, WriteRecord},
};
use parking_lot::Mutex;

use crate::shard::ServedShard;

/// Records that are applied at once when so many are there: see the stream-node's replay.
const CHUNK_RECORDS: usize = 1_024;

/// Follows one channel.
pub(crate) struct Follower {
    channel: ChannelId,
    wal: Arc<dyn Wal>,
    catalog: Arc<Catalog>,
    manifests: Arc<Manifests>,
    pool: Arc<CpuPool>,
    state: Mutex<State>,
}

struct State {
    /// Every record at or before this has reached the attached shards.
    position: Lsn,
    /// The last record whose receivers were chosen: a shard attached from now on gets those after it.
    taken: Lsn,
    shards: HashMap<ShardId, Weak<ServedShard>>,
}

impl Follower {
    /// Follows the channel from its present end.
    pub(crate) async fn start(
        channel: ChannelId,
        wal: Arc<dyn Wal>,
        catalog: Arc<Catalog>,
        manifests: Arc<Manifests>,
        pool: Arc<CpuPool>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Self>, Failure> {
        let position = wal.committed(channel).await?;
        let follower = Arc::new(Self {
            channel,
            wal,
            catalog,
            manifests,
            pool,
            state: Mutex::new(State {
                position,
                taken: position,
                shards: HashMap::new(),
            }),
        });
        shutdown.spawn(Arc::clone(&follower).run(shutdown.child()));
        Ok(follower)
    }

    /// Delivers what comes from now on to the shard; returns the position before that. The record at that
    /// position may still be on its way to others, so it counts as missed.
    pub(crate) fn attach(&self, shard: &Arc<ServedShard>) -> Lsn {
        let mut state = self.state.lock();
        state.shards.insert(shard.id, Arc::downgrade(shard));
        state.taken
    }

    /// Delivers no more to the shard.
    pub(crate) fn detach(&self, shard: ShardId) {
        self.state.lock().shards.remove(&shard);
    }

    /// Delivers the records after `covers` up to `upto` to the shard, and says that it has caught up; false
    /// when the log has lost some of them: then a newer manifest has them.
    pub(crate) async fn catch_up(
        &self,
        shard: &Arc<ServedShard>,
        covers: Lsn,
        upto: Lsn,
    ) -> Result<bool, Failure> {
        if covers < upto {
            let entries = match self.wal.tail(self.channel, covers.next()).await {
                Err(WalError::Trimmed { first }) => {
                    // What was trimmed is in manifests. If this manifest is still the newest, nothing of it
                    // was of this shard.
                    let newest = self.manifests.current(shard.id).await?;
                    if newest.map_or(Lsn(0), |m| m.covers_lsn) > covers {
                        return Ok(false);
                    }
                    self.wal.tail(self.channel, first).await
                }
                other => other,
            }?;
            let mut entries = entries.ready_chunks(CHUNK_RECORDS);
            while let Some(chunk) = entries.next().await {
                let mut chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
                let reached = chunk.last().map_or(Lsn(0), |entry| entry.lsn);
                chunk.retain(|entry| entry.lsn <= upto);
                self.deliver(chunk, Some(shard)).await?;
                if reached >= upto {
                    break;
                }
            }
        }
        // Under the lock, so that the position can't move between the two.
        let state = self.state.lock();
        shard.applied.send_replace(Some(state.position));
        Ok(true)
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            let followed = tokio::select! {
                () = shutdown.triggered() => return,
                followed = self.follow() => followed,
            };
            match followed {
                Ok(()) => return, // the log was closed
                Err(failure) => {
                    tracing::error!(channel = %self.channel, error = %failure, "following the log failed; strong reads wait");
                    tokio::select! {
                        () = shutdown.triggered() => return,
                        () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
                    }
                }
            }
        }
    }

    async fn follow(&self) -> Result<(), Failure> {
        let from = self.state.lock().position.next();
        let entries = match self.wal.tail(self.channel, from).await {
            Err(WalError::Trimmed { first }) => {
                // This node fell behind further than the log is kept. Manifests have what was trimmed, so
                // every shard is opened anew from them.
                tracing::warn!(channel = %self.channel, behind = %from, first = %first, "fell behind the log; opening all shards anew");
                self.skip_to(Lsn(first.0 - 1));
                self.wal.tail(self.channel, first).await
            }
            other => other,
        }?;
        let mut entries = entries.ready_chunks(CHUNK_RECORDS);
        while let Some(chunk) = entries.next().await {
            let chunk = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
            self.deliver(chunk, None).await?;
        }
        Ok(())
    }

    /// Goes on after `position`, and has every shard opened anew.
    fn skip_to(&self, position: Lsn) {
        let mut state = self.state.lock();
        state.position = position;
        state.taken = position;
        for shard in state.shards.values().filter_map(Weak::upgrade) {
            shard.applied.send_replace(None);
            shard.reload.notify_one();
        }
    }

    /// Applies records to one shard, or to all that are attached, moving the position.
    async fn deliver(
        &self,
        entries: Vec<WalEntry>,
        only: Option<&Arc<ServedShard>>,
    ) -> Result<(), Failure> {
        let Some(lsn) = entries.last().map(|entry| entry.lsn) else {
            return Ok(());
        };
        let attached: HashMap<ShardId, Arc<ServedShard>> = match only {
            Some(shard) => HashMap::from([(shard.id, Arc::clone(shard))]),
            None => {
                let mut state = self.state.lock();
                state.taken = lsn;
                state
                    .shards
                    .iter()
                    .filter_map(|(id, s)| Some((*id, s.upgrade()?)))
                    .collect()
            }
        };
        if !attached.is_empty() {
            let catalog = self.catalog.snapshot();
            self.pool
                .run(move || {
                    entries.into_iter().try_for_each(|entry| {
                        let record = Record::decode(entry.payload)?;
                        apply(entry.lsn, &record, &attached, |collection| {
                            catalog
                                .collection(collection)
                                .map(|m| m.schema.primary().id)
                        })
                    })
                })
                .await??;
        }
        if only.is_none() {
            let mut state = self.state.lock();
            state.position = lsn;
            state.shards.retain(|_, shard| match shard.upgrade() {
                Some(shard) => {
                    // A shard attached meanwhile has this record still to come from its catching up.
                    shard.applied.send_if_modified(|applied| {
                        let caught_up = applied.is_some();
                        if caught_up {
                            *applied = Some(lsn);
                        }
                        caught_up
                    });
                    true
                }
                None => false,
            });
        }
        Ok(())
    }
}

fn apply(
    lsn: Lsn,
    record: &Record,
    shards: &HashMap<ShardId, Arc<ServedShard>>,
    primary: impl Fn(CollectionId) -> Option<holdfast_types::FieldId>,
) -> Result<(), Failure> {
    match record {
        Record::Write(write) => apply_write(lsn, write, shards, primary),
        Record::Truncate { ts, collection } => {
            for shard in shards.values().filter(|s| s.id.collection == *collection) {
                shard.truncate(*ts);
            }
            Ok(())
        }
        Record::DropPartition { .. } | Record::DropCollection { .. } => Ok(()),
    }
}

fn apply_write(
    lsn: Lsn,
    write: &WriteRecord,
    shards: &HashMap<ShardId, Arc<ServedShard>>,
    primary: impl Fn(CollectionId) -> Option<holdfast_types::FieldId>,
) -> Result<(), Failure> {
    let ts: Timestamp = write.ts;
    let mut keys: HashMap<ShardId, Vec<PkList>> = HashMap::new();
    for part in &write.parts {
        let id = ShardId {
            collection: write.collection,
            index: part.shard,
        };
        if !shards.contains_key(&id) {
            continue;
        }
        let lists = keys.entry(id).or_default();
        lists.extend(part.deletes.clone());
        if let Some(batch) = &part.rows {
            // New rows supersede older rows of their keys.
            let Some(field) = primary(write.collection) else {
                continue;
            };
            let list = columns::column(batch, field)
                .and_then(|c| PkList::from_array(c))
                .ok_or_else(|| {
                    Failure::new(
                        Code::Corrupt,
                        format!("record {lsn} holds rows without their primary key"),
                    )
                })?;
            lists.push(list);
        }
    }
    for (id, lists) in keys {
        shards[&id].apply(lsn, ts, lists);
    }
    Ok(())
}
