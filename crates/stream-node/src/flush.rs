//! Sealing, files, delete logs, the manifest commit.
//!
//! A flush makes everything up to one cut of the log durable in the store: segment files, the deletes
//! that reach earlier segments, and a manifest version that names both together with the position it
//! covers. A crash before the commit leaves objects that nothing names, which the collector removes; the
//! log still has the rows.

use std::{sync::Arc, time::Duration};

use holdfast_node_api::stream_node::Flushed;
use holdfast_runtime::{Clock, MemoryKind, Shutdown};
use holdfast_scan::Cancel;
use holdfast_segment::{KeySet, SegmentFiles};
use holdfast_storage::{
    DeleteLogEntry, FileEntry, Manifest, Manifests, NextManifest, ObjectInfo, SegmentEntry, Store,
    delete_log::{self, Covered, DeleteLog},
    manifests::LoadError,
    paths,
};
use holdfast_types::{
    Coded, Epoch, Failure, FileRole, Lsn, ManifestVersion, Pk, ShardId, Timestamp,
};
use tokio::sync::Notify;

use crate::{
    channel::Channel,
    metrics,
    shard::{Cut, DeletedKeys, MemorySegment, Shard},
};

/// First pause after a failed flush.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// How long a flush waits for memory before it goes on without: it is what frees memory.
const SEAL_MEMORY_WAIT: Duration = Duration::from_secs(5);

/// Writes fresh rows to the store.
pub(crate) struct Flusher {
    pub(crate) channel: Arc<Channel>,
    pub(crate) store: Arc<Store>,
    pub(crate) manifests: Arc<Manifests>,
    pub(crate) wal: Arc<dyn holdfast_wal::Wal>,
}

impl Flusher {
    /// Flushes one shard, and returns the segments that this made durable.
    pub(crate) async fn flush(&self, shard: &Shard) -> Result<Flushed, Failure> {
        let _one_at_a_time = shard.flushing.lock().await;
        let before = self.manifests.current(shard.id).await?;
        if let Some(manifest) = &before {
            // A commit of ours whose outcome we never learnt may have succeeded: its rows are in already.
            learn(
                &self.manifests,
                shard,
                manifest.version,
                &*self.channel.clock,
            )
            .await?;
        }
        let applied = self.channel.applied().ts;
        let Some(cut) = shard.cut() else {
            return Ok(Flushed {
                segments: Vec::new(),
                ts: applied,
            });
        };
        let started = self.channel.clock.monotonic();
        let mut entries = Vec::with_capacity(cut.segments.len());
        for segment in &cut.segments {
            if let Some(entry) = self.store_segment(shard.id, segment, &cut).await? {
                entries.push(entry);
            }
        }
        let log = self
            .store_deletes(shard.id, before.as_deref(), &cut)
            .await?;
        let created = Timestamp::from_unix_ms(self.channel.clock.unix_ms());
        let manifest = self
            .manifests
            .update(shard.id, |current| {
                Ok::<_, Failure>(Some(next_manifest(
                    current,
                    self.channel.epoch,
                    created,
                    &cut,
                    &entries,
                    log.as_ref(),
                )))
            })
            .await?;
        let version = manifest.map_or(ManifestVersion(0), |m| m.version);
        shard.learn(version, cut.lsn, self.channel.clock.monotonic());
        self.checkpoint().await;
        let (rows, bytes) = entries
            .iter()
            .fold((0, 0), |(r, b), e| (r + e.rows, b + e.bytes));
        let took = self.channel.clock.monotonic().saturating_sub(started);
        metrics::flush_done(rows, bytes, took.as_secs_f64());
        tracing::info!(shard = %shard.id, version = %version, covers = %cut.lsn, segments = entries.len(), rows, bytes, ?took, "flushed");
        Ok(Flushed {
            segments: entries.iter().map(|e| e.id).collect(),
            ts: cut.ts,
        })
    }

    async fn store_segment(
        &self,
        shard: ShardId,
        segment: &Arc<MemorySegment>,
        cut: &Cut,
    ) -> Result<Option<SegmentEntry>, Failure> {
        // The files are a second copy of the rows for as long as they are written.
        let bytes = segment.bytes();
        let budget = &self.channel.budget;
        let reserved = budget.reserve(MemoryKind::Build, bytes, SEAL_MEMORY_WAIT);
        let _memory = reserved.await.unwrap_or_else(|error| {
            tracing::warn!(shard = %shard, %error, "sealing beyond the memory budget: the flush is what frees memory");
            budget.charge(MemoryKind::Build, bytes)
        });
        let sealing = Arc::clone(segment);
        let SegmentFiles { files, stats } = self
            .channel
            .pool
            .run(move || sealing.rows.seal(&Cancel::new()))
            .await??;
        let Some(stats) = stats else { return Ok(None) };
        let mut stored = Vec::with_capacity(files.len());
        for file in files {
            let role = file.role;
            let object = self
                .put(
                    |attempt| {
                        paths::segment_file(shard, segment.id, self.channel.epoch, attempt, role)
                    },
                    file.bytes,
                )
                .await?;
            stored.push(FileEntry { role, object });
        }
        Ok(Some(SegmentEntry {
            id: segment.id,
            partition: segment.partition,
            rows: stats.rows,
            bytes: stats.bytes,
            min_ts: stats.min_ts,
            max_ts: stats.max_ts,
            pk_min: stats.pk_min,
            pk_max: stats.pk_max,
            deletes_lsn: cut.lsn,
            deleted_rows: stats.deleted_rows,
            files: stored,
            indexes: Vec::new(),
            level: 0,
            created: Timestamp::from_unix_ms(self.channel.clock.unix_ms()),
        }))
    }

    /// Writes the deletes of the cut that may reach rows of segments already in the manifest: those of
    /// clients, and the keys of new rows, which supersede older rows. Keys that no such segment can hold
    /// are left out, so a plain load of new keys writes no log at all.
    async fn store_deletes(
        &self,
        shard: ShardId,
        before: Option<&Manifest>,
        cut: &Cut,
    ) -> Result<Option<DeleteLogEntry>, Failure> {
        let Some(before) = before.filter(|m| !m.segments.is_empty()) else {
            return Ok(None);
        };
        let mut key_files = Vec::with_capacity(before.segments.len());
        for segment in &before.segments {
            let Some(file) = segment.files.iter().find(|f| f.role == FileRole::Keys) else {
                return Err(Failure::internal(format!(
                    "segment {} has no key file",
                    segment.id
                )));
            };
            key_files.push((file.object.clone(), self.store.map(&file.object).await?));
        }
        // The keys that are found, then sorted, and the log that is made of them: at most all keys.
        let most = cut.deletes.iter().map(|d| d.keys.len()).sum::<usize>()
            + cut.segments.iter().map(|s| s.rows.len()).sum::<usize>();
        let bytes = most * (size_of::<(Pk, Timestamp)>() + size_of::<(u64, u64)>());
        let _memory = self.channel.budget.charge(MemoryKind::Build, bytes as u64);
        let deletes = cut.deletes.clone();
        let segments = cut.segments.clone();
        let log = self
            .channel
            .pool
            .run(move || {
                let mut keys = Vec::with_capacity(key_files.len());
                for (object, bytes) in &key_files {
                    keys.push(KeySet::open(object.path.as_str(), bytes)?);
                    object.check(bytes)?;
                }
                deletes_that_reach(&keys, &deletes, &segments)
            })
            .await??;
        let covered = Covered {
            shard,
            first: cut.covered.next(),
            last: cut.lsn,
            epoch: self.channel.epoch,
            attempt: self.channel.next_attempt(),
        };
        delete_log::write(&self.store, covered, &log)
            .await
            .map_err(Failure::from)
    }

    /// Puts an object under a name that was never used: an attempt that failed half-way uses its name up.
    async fn put(
        &self,
        name: impl Fn(u32) -> holdfast_storage::ObjectPath,
        bytes: bytes::Bytes,
    ) -> Result<ObjectInfo, Failure> {
        // The attempt is drawn, not counted: an earlier process may have used up the first ones.
        let attempt = self.channel.next_attempt();
        self.store
            .put(&name(attempt), bytes)
            .await
            .map_err(Failure::from)
    }

    /// Flushes whatever has to be, when woken and now and then, until shutdown.
    pub(crate) async fn run(self: Arc<Self>, wake: Arc<Notify>, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(self.channel.options.maintenance_period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = RETRY_MIN;
        let mut not_before = Duration::ZERO;
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = wake.notified() => {}
                _ = tick.tick() => {}
            }
            if self.channel.clock.monotonic() < not_before {
                continue;
            }
            for id in self.due() {
                let Some(shard) = self.channel.shard(id) else {
                    continue;
                };
                let done = tokio::select! {
                    // What is written by then and named by no manifest is collected as garbage.
                    () = shutdown.triggered() => return,
                    done = self.flush(&shard) => done,
                };
                match done {
                    Ok(_) => pause = RETRY_MIN,
                    Err(failure) => {
                        metrics::flush_failed();
                        tracing::warn!(shard = %id, error = %failure, retry_in = ?pause, "flush failed; the rows stay in memory and in the log");
                        not_before = self.channel.clock.monotonic() + pause;
                        pause = (pause * 2).min(self.channel.options.flush_retry_max);
                    }
                }
            }
        }
    }

    /// Stores how far a restart needs nothing of the log.
    async fn checkpoint(&self) {
        let settled = self.channel.settled();
        if let Err(error) = self.channel.checkpoint.advance(settled).await {
            // The log has it all the same: a restart replays more than it had to.
            tracing::warn!(channel = %self.channel.id, lsn = %settled.lsn, %error, "the checkpoint was not stored");
        }
    }

    /// Drops what lingered long enough and trims the log, now and then, until shutdown: also while a long
    /// flush runs.
    pub(crate) async fn keep_house(self: Arc<Self>, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(self.channel.options.maintenance_period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                _ = tick.tick() => self.maintain().await,
            }
        }
    }

    /// Shards that have to be flushed: too large, too long a log behind them, or memory is short.
    fn due(&self) -> Vec<ShardId> {
        let channel = &self.channel;
        let shards: Vec<Arc<Shard>> = channel.shards.read().values().cloned().collect();
        let log = channel
            .log_bytes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut due: Vec<ShardId> = shards
            .iter()
            .filter(|s| {
                s.unflushed_bytes() >= channel.options.segment_bytes_max
                    || s.first_unflushed()
                        .is_some_and(|lsn| log.since(lsn) >= channel.options.replay_bytes_max)
            })
            .map(|s| s.id)
            .collect();
        drop(log);
        if due.is_empty() && channel.memory_is_short() {
            let largest = shards
                .iter()
                .map(|s| (s.unflushed_bytes(), s.id))
                .max_by_key(|(bytes, _)| *bytes);
            due.extend(largest.filter(|(bytes, _)| *bytes > 0).map(|(_, id)| id));
        }
        due
    }

    async fn maintain(&self) {
        let channel = &self.channel;
        let (now, linger) = (channel.clock.monotonic(), channel.options.linger);
        // When memory is short, what lingers only for the sake of older reads goes first.
        let (used, room) = (
            channel.budget.used(MemoryKind::Growing),
            channel.budget.room(MemoryKind::Growing),
        );
        let linger = if used > room / 2 {
            linger.min(Duration::from_secs(1))
        } else {
            linger
        };
        // A shard of a collection that was dropped under a write is never flushed, and would hold the log.
        let catalog = channel.catalog.snapshot();
        channel
            .shards
            .write()
            .retain(|id, _| catalog.collection(id.collection).is_some());
        channel
            .damage
            .retain(|collection| catalog.collection(collection).is_some());
        let applied = channel.applied().lsn;
        let mut upto = applied;
        for shard in channel.shards.read().values() {
            shard.drop_lingering(now, linger);
            upto = upto.min(shard.trimmable(applied, now, linger));
        }
        channel
            .log_bytes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .forget_before(upto);
        if upto > Lsn(0)
            && !channel.damage.is_any()
            && let Err(error) = self.wal.trim(channel.id, upto).await
        {
            tracing::warn!(channel = %channel.id, upto = %upto, error = %error.to_failure(), "the log could not be trimmed");
        }
    }
}

/// Learns which manifest versions up to `version` hold which fresh segments: of each the first that does.
pub(crate) async fn learn(
    manifests: &Manifests,
    shard: &Shard,
    version: ManifestVersion,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let (_, known) = shard.versions();
    let covered = shard.covers();
    let mut steps: Vec<(ManifestVersion, Lsn)> = Vec::new();
    let mut next = version;
    while next > known {
        let manifest = match manifests.load(shard.id, next).await {
            // Older ones are not kept either, so nobody reads them.
            Err(LoadError::NotRetained { .. }) if !steps.is_empty() => break,
            other => other?,
        };
        steps.push((manifest.version, manifest.covers_lsn));
        if manifest.covers_lsn <= covered {
            break;
        }
        next = ManifestVersion(next.0 - 1);
    }
    for (version, covers) in steps.into_iter().rev() {
        shard.learn(version, covers, clock.monotonic());
    }
    Ok(())
}

/// The deletes that may reach a row of the segments whose keys are given, in stamp order.
fn deletes_that_reach(
    keys: &[KeySet],
    deletes: &[Arc<DeletedKeys>],
    segments: &[Arc<MemorySegment>],
) -> Result<DeleteLog, Failure> {
    let mut found: Vec<(Pk, Timestamp)> = Vec::new();
    let mut add = |key: Pk, ts: Timestamp| {
        if keys.iter().any(|k| k.contains(&key)) {
            found.push((key, ts));
        }
    };
    for deleted in deletes {
        for key in deleted.keys.iter() {
            add(key, deleted.ts);
        }
    }
    for segment in segments {
        for (list, stamps) in segment.rows.keys_and_stamps()? {
            for (key, ts) in list.iter().zip(stamps) {
                add(key, ts);
            }
        }
    }
    found.sort_by_key(|(_, ts)| *ts);
    let stamps = found.iter().map(|(_, ts)| *ts).collect();
    Ok(DeleteLog::new(
        found.into_iter().map(|(key, _)| key).collect(),
        stamps,
    ))
}

/// The manifest after a flush. Segments that a truncation emptied go, whoever committed them.
fn next_manifest(
    current: Option<&Manifest>,
    epoch: Epoch,
    created: Timestamp,
    cut: &Cut,
    entries: &[SegmentEntry],
    log: Option<&DeleteLogEntry>,
) -> NextManifest {
    let mut next = current.map_or_else(|| NextManifest::empty(created), |m| m.next(created));
    if let Some(ts) = cut.truncated {
        next.segments.retain(|s| s.max_ts > ts);
        next.truncated = next.truncated.max(Some(ts));
    }
    next.delete_logs.extend(log.cloned());
    if next.segments.is_empty() {
        next.delete_logs.clear();
    }
    next.segments.extend_from_slice(entries);
    next.epoch = epoch;
    next.covers_lsn = cut.lsn;
    next.covers_ts = next.covers_ts.max(cut.ts);
    next
}
