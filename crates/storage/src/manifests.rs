//! The newest manifest of each shard, moved by compare-and-set.
//!
//! A commit writes the new manifest as an object of its own, then moves the shard's pointer in the
//! metadata store from the version it was based on. Between the two a crash leaves an object that
//! nothing names, for garbage collection. Whoever loses a race finds the winner's version and decides
//! anew: [`Manifests::update`] does that in a loop.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_meta::{Compare, MetaError, MetaStore, Txn, TxnOutcome, Versioned, keys};
use holdfast_types::{CollectionId, Epoch, Lsn, ManifestVersion, ShardId, Timestamp};
use parking_lot::Mutex;

use crate::{
    DeleteLogEntry, Manifest, ObjectInfo, ObjectPath, Previous, SegmentEntry, StorageError, Store,
    codec::{self, Pointer},
    paths,
};

mod error;
mod recent;
mod watch;

pub use error::{CommitError, LoadError};
pub use watch::ManifestEvent;

/// Tries of [`Manifests::update`] before it gives up. A try fails only when somebody else committed,
/// so this many mean that something is wrong.
const UPDATE_TRIES_MAX: u32 = 100;

/// Most bytes of a manifest: some 200 000 segments.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// Shards whose commits of this process take turns rather than race: by hash.
const STRIPES: usize = 64;

/// What a commit decides; the rest of a [`Manifest`] follows from the version it is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextManifest {
    /// Epoch of the writer: not below that of the base.
    pub epoch: Epoch,
    /// See [`Manifest::covers_lsn`]: not below that of the base.
    pub covers_lsn: Lsn,
    /// See [`Manifest::covers_ts`].
    pub covers_ts: Timestamp,
    /// See [`Manifest::segments`].
    pub segments: Vec<SegmentEntry>,
    /// See [`Manifest::delete_logs`].
    pub delete_logs: Vec<DeleteLogEntry>,
    /// See [`Manifest::truncated`].
    pub truncated: Option<Timestamp>,
    /// See [`Manifest::created`]: the time now.
    pub created: Timestamp,
}

impl NextManifest {
    /// A first manifest that names nothing and covers nothing, to be filled in.
    #[must_use]
    pub fn empty(created: Timestamp) -> Self {
        Self {
            epoch: Epoch(0),
            covers_lsn: Lsn(0),
            covers_ts: Timestamp::ZERO,
            segments: Vec::new(),
            delete_logs: Vec::new(),
            truncated: None,
            created,
        }
    }
}

impl Manifest {
    /// The same contents, to be changed and committed.
    #[must_use]
    pub fn next(&self, created: Timestamp) -> NextManifest {
        NextManifest {
            epoch: self.epoch,
            covers_lsn: self.covers_lsn,
            covers_ts: self.covers_ts,
            segments: self.segments.clone(),
            delete_logs: self.delete_logs.clone(),
            truncated: self.truncated,
            created,
        }
    }
}

/// The manifests of all shards.
pub struct Manifests {
    meta: Arc<dyn MetaStore>,
    store: Arc<Store>,
    recent: Mutex<recent::Recent>,
    committing: Vec<tokio::sync::Mutex<()>>,
    /// What must hold in the metadata for any commit.
    condition: Option<Compare>,
}

/// A pointer as it was read, to be compared against when it is moved.
struct Read {
    pointer: Pointer,
    key: Versioned,
}

impl Manifests {
    /// Manifests as objects of `store`, pointers in `meta`.
    #[must_use]
    pub fn new(meta: Arc<dyn MetaStore>, store: Arc<Store>) -> Self {
        Self {
            meta,
            store,
            recent: Mutex::default(),
            committing: (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect(),
            condition: None,
        }
    }

    /// The same, with commits that happen only while `condition` holds, and are conflicts otherwise. Once somebody changed
    /// what it looks at, no commit of this process comes any more, however late.
    #[must_use]
    pub fn only_while(mut self, condition: Compare) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Where the objects are.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The newest manifest as of now; `None` before the shard's first. Asks the metadata store each
    /// time, and reads the object only when it is another than before.
    ///
    /// # Errors
    /// The pointer or the manifest is missing, damaged or out of reach.
    pub async fn current(&self, shard: ShardId) -> Result<Option<Arc<Manifest>>, LoadError> {
        match self.pointer(shard).await? {
            Some(read) => self.manifest(&read.pointer.manifest).await.map(Some),
            None => Ok(None),
        }
    }

    /// The newest version as of now; 0 before the shard's first.
    ///
    /// # Errors
    /// The pointer is damaged or out of reach.
    pub async fn version(&self, shard: ShardId) -> Result<ManifestVersion, LoadError> {
        let read = self.pointer(shard).await?;
        Ok(read.map_or(ManifestVersion(0), |r| r.pointer.version))
    }

    /// One version. Costs a read for each version between it and the newest that was not read lately.
    ///
    /// # Errors
    /// [`LoadError::NotRetained`] when it does not exist yet or no longer, else as for
    /// [`Self::current`].
    pub async fn load(
        &self,
        shard: ShardId,
        version: ManifestVersion,
    ) -> Result<Arc<Manifest>, LoadError> {
        let missing = || LoadError::NotRetained { shard, version };
        if let Some(manifest) = self.recent.lock().version(shard, version) {
            return Ok(manifest);
        }
        let mut manifest = self.current(shard).await?.ok_or_else(missing)?;
        while manifest.version > version {
            let previous = manifest.previous.as_ref().ok_or_else(missing)?;
            manifest = match self.manifest(&previous.object).await {
                // Versions are collected oldest first, so nothing before this one is left either.
                Err(LoadError::Storage(StorageError::NotFound { .. })) => return Err(missing()),
                other => other?,
            };
        }
        if manifest.version == version {
            return Ok(manifest);
        }
        Err(missing())
    }

    /// Makes `next` the newest manifest if `base` still is (`None`: if there is none).
    ///
    /// # Errors
    /// [`CommitError::Unknown`]: it may or may not have become the newest. Any other: it has not.
    ///
    /// # Cancel safety
    /// Not cancel safe: a dropped future leaves the outcome unknown.
    pub async fn commit(
        &self,
        shard: ShardId,
        base: Option<ManifestVersion>,
        next: NextManifest,
    ) -> Result<Arc<Manifest>, CommitError> {
        let read = self.pointer(shard).await?;
        let found = read.as_ref().map(|r| r.pointer.version);
        if found != base {
            return Err(CommitError::Conflict { shard, base, found });
        }
        let before = match &read {
            Some(read) => Some(self.manifest(&read.pointer.manifest).await?),
            None => None,
        };
        self.commit_onto(shard, read, before.as_deref(), next).await
    }

    /// Reads the newest manifest, lets `change` say what follows it, and commits that; again from the
    /// start when somebody else committed meanwhile. `change` answers `None` when there is nothing to
    /// do. Returns the newest manifest, which is `None` only when there is none and nothing was done.
    ///
    /// # Errors
    /// Those of `change` and of [`Self::commit`].
    ///
    /// # Cancel safety
    /// As for [`Self::commit`].
    pub async fn update<E: From<CommitError>>(
        &self,
        shard: ShardId,
        mut change: impl FnMut(Option<&Manifest>) -> Result<Option<NextManifest>, E>,
    ) -> Result<Option<Arc<Manifest>>, E> {
        // Racing within one process would only write manifests in vain.
        let stripe = holdfast_types::Pk::Int(shard.collection.0).stable_hash();
        let stripe = (stripe ^ u64::from(shard.index)) % STRIPES as u64;
        let stripe = usize::try_from(stripe).expect("below STRIPES");
        let _turn = self.committing[stripe].lock().await;
        let mut tries = 0;
        loop {
            let read = self.pointer(shard).await.map_err(CommitError::from)?;
            let before = match &read {
                Some(read) => Some(
                    self.manifest(&read.pointer.manifest)
                        .await
                        .map_err(CommitError::from)?,
                ),
                None => None,
            };
            let Some(next) = change(before.as_deref())? else {
                return Ok(before);
            };
            tries += 1;
            match self.commit_onto(shard, read, before.as_deref(), next).await {
                Err(CommitError::Conflict { .. }) if tries < UPDATE_TRIES_MAX => {
                    tracing::debug!(%shard, tries, "another commit was first");
                }
                other => return Ok(Some(other?)),
            }
        }
    }

    async fn commit_onto(
        &self,
        shard: ShardId,
        read: Option<Read>,
        before: Option<&Manifest>,
        next: NextManifest,
    ) -> Result<Arc<Manifest>, CommitError> {
        let manifest = follow(shard, read.as_ref(), before, next)?;
        if read.is_none() && self.is_dropped(shard.collection).await? {
            return Err(CommitError::Dropped { shard });
        }
        let (nonce, _) = uuid::Uuid::new_v4().as_u64_pair();
        let path = paths::manifest(shard, manifest.version, manifest.epoch, nonce);
        let bytes = codec::encode_manifest(&manifest);
        let cost = bytes.len() as u64;
        let object = self
            .store
            .put(&path, bytes)
            .await
            .map_err(LoadError::from)?;
        let pointer = Pointer {
            version: manifest.version,
            epoch: manifest.epoch,
            manifest: object,
        };
        let key = keys::manifest(shard);
        let mut txn = Txn::new()
            .expect_read(key.clone(), read.as_ref().map(|r| &r.key))
            .put(key, codec::encode_pointer(&pointer));
        txn.compares.extend(self.condition.clone());
        match self.meta.txn(txn).await {
            Ok(TxnOutcome::Done { .. }) => {}
            Ok(TxnOutcome::Failed) => {
                return Err(CommitError::Conflict {
                    shard,
                    base: read.map(|r| r.pointer.version),
                    found: self.pointer(shard).await?.map(|r| r.pointer.version),
                });
            }
            Err(unknown @ MetaError::OutcomeUnknown { .. }) => {
                self.settle(&pointer, shard, read.as_ref(), unknown).await?;
            }
            Err(refused) => return Err(LoadError::from(refused).into()),
        }
        let manifest = Arc::new(manifest);
        self.recent.lock().insert(path, cost, Arc::clone(&manifest));
        tracing::debug!(
            %shard, version = %manifest.version, covers_lsn = %manifest.covers_lsn,
            segments = manifest.segments.len(), "manifest committed"
        );
        Ok(manifest)
    }

    /// Looks whether a commit of unknown outcome happened: `Ok` if it did.
    async fn settle(
        &self,
        ours: &Pointer,
        shard: ShardId,
        base: Option<&Read>,
        unknown: MetaError,
    ) -> Result<(), CommitError> {
        let Ok(found) = self.pointer(shard).await else {
            return Err(CommitError::Unknown {
                shard,
                source: unknown,
            });
        };
        let base = base.map(|r| r.pointer.version);
        let Some(Read {
            pointer: newest, ..
        }) = found
        else {
            // Nothing there: still to come, or the collection was dropped.
            return Err(CommitError::Unknown {
                shard,
                source: unknown,
            });
        };
        if Some(newest.version) == base {
            return Err(CommitError::Unknown {
                shard,
                source: unknown,
            });
        }
        // Somebody committed our version or a later one: ours is in the chain or it never will be.
        let mut object = newest.manifest.clone();
        let mut version = newest.version;
        while version > ours.version {
            let Ok(manifest) = self.manifest(&object).await else {
                return Err(CommitError::Unknown {
                    shard,
                    source: unknown,
                });
            };
            let Some(previous) = &manifest.previous else {
                break;
            };
            (object, version) = (previous.object.clone(), previous.version);
        }
        if object == ours.manifest {
            return Ok(());
        }
        Err(CommitError::Conflict {
            shard,
            base,
            found: Some(newest.version),
        })
    }

    /// Lets go of all manifests of a dropped collection, and leaves the proof that garbage collection
    /// needs before it touches the objects. Doing it again does no harm.
    ///
    /// # Errors
    /// Some of it may have been done; do it again.
    pub async fn delete_all(&self, collection: CollectionId) -> Result<(), LoadError> {
        match self
            .store
            .put(&paths::dropped(collection), codec::encode_dropped())
            .await
        {
            Ok(_) | Err(StorageError::AlreadyExists { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        self.forget_pointers(collection).await
    }

    pub(crate) async fn forget_pointers(&self, collection: CollectionId) -> Result<(), LoadError> {
        let first = keys::manifest(ShardId {
            collection,
            index: 0,
        });
        let prefix = first.trim_end_matches(|c| c != '/');
        loop {
            let found = self.meta.range(prefix).await?.items;
            if found.is_empty() {
                break;
            }
            let chunk = found
                .into_iter()
                .take(holdfast_meta::store::MAX_TXN_OPERATIONS);
            let txn = chunk.fold(Txn::new(), |txn, item| txn.delete(item.key));
            match self.meta.txn(txn).await? {
                TxnOutcome::Done { .. } | TxnOutcome::Failed => {}
            }
        }
        self.recent.lock().forget_all(collection);
        Ok(())
    }

    /// Tells of every pointer as it is now, then of every one that moves or goes. Versions may be
    /// skipped; the newest is always told. The stream ends when the metadata store is closed, and
    /// after an error.
    ///
    /// # Errors
    /// The metadata store is out of reach.
    pub async fn watch(
        &self,
        shard: Option<ShardId>,
    ) -> Result<BoxStream<'static, Result<ManifestEvent, LoadError>>, LoadError> {
        let prefix = shard.map_or_else(|| keys::MANIFESTS.to_owned(), keys::manifest);
        watch::watch(Arc::clone(&self.meta), prefix).await
    }

    /// Every shard's newest manifest object, by shard.
    pub(crate) async fn pointers(&self) -> Result<Vec<(ShardId, ObjectInfo)>, LoadError> {
        let range = self.meta.range(keys::MANIFESTS).await?;
        let mut found = Vec::with_capacity(range.items.len());
        for item in &range.items {
            let (shard, pointer) = parse(&item.key, &item.value)?;
            found.push((shard, pointer.manifest));
        }
        Ok(found)
    }

    /// A manifest that is about to be deleted is no longer to be had.
    pub(crate) fn forget(&self, path: &ObjectPath) {
        self.recent.lock().remove(path);
    }

    async fn is_dropped(&self, collection: CollectionId) -> Result<bool, LoadError> {
        Ok(self.store.exists(&paths::dropped(collection)).await?)
    }

    async fn pointer(&self, shard: ShardId) -> Result<Option<Read>, LoadError> {
        let Some(key) = self.meta.get(&keys::manifest(shard)).await? else {
            return Ok(None);
        };
        let (_, pointer) = parse(&key.key, &key.value)?;
        Ok(Some(Read { pointer, key }))
    }

    /// The manifest in an object, read at most once while it is in use or recent.
    pub(crate) async fn manifest(&self, object: &ObjectInfo) -> Result<Arc<Manifest>, LoadError> {
        if let Some(manifest) = self.recent.lock().get(&object.path) {
            return Ok(manifest);
        }
        let path = &object.path;
        if object.size > MANIFEST_BYTES_MAX {
            let problem = format!("no manifest has {} bytes", object.size);
            return Err(StorageError::damaged(path, problem).into());
        }
        let bytes = self.store.read(object).await?;
        let manifest = codec::decode_manifest(&bytes)
            .map_err(|problem| StorageError::damaged(path, problem))?;
        let named = path.name();
        if !matches!(named, paths::ObjectName::Manifest { shard, version, epoch, .. }
            if shard == manifest.shard && version == manifest.version && epoch == manifest.epoch)
        {
            let problem = format!(
                "it is manifest {}.{} of shard {}",
                manifest.version, manifest.epoch, manifest.shard
            );
            return Err(StorageError::damaged(path, problem).into());
        }
        let manifest = Arc::new(manifest);
        let cost = bytes.len() as u64;
        self.recent
            .lock()
            .insert(path.clone(), cost, Arc::clone(&manifest));
        Ok(manifest)
    }
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// The manifest that follows `before`, if `next` may follow it.
fn follow(
    shard: ShardId,
    read: Option<&Read>,
    before: Option<&Manifest>,
    next: NextManifest,
) -> Result<Manifest, CommitError> {
    let NextManifest {
        epoch,
        covers_lsn,
        covers_ts,
        segments,
        delete_logs,
        truncated,
        created,
    } = next;
    let refused = |problem| CommitError::Refused { shard, problem };
    if let Some(before) = before {
        if epoch < before.epoch {
            let newer = before.epoch;
            return Err(CommitError::Fenced {
                shard,
                epoch,
                newer,
            });
        }
        if covers_lsn < before.covers_lsn {
            return Err(refused(format!(
                "it would go back from position {} to {covers_lsn}",
                before.covers_lsn
            )));
        }
    }
    let manifest = Manifest {
        shard,
        version: read
            .map_or(ManifestVersion(0), |r| r.pointer.version)
            .next(),
        epoch,
        covers_lsn,
        covers_ts,
        segments,
        delete_logs,
        truncated,
        created,
        previous: read.map(|r| Previous {
            version: r.pointer.version,
            object: r.pointer.manifest.clone(),
        }),
    };
    manifest.check().map_err(refused)?;
    Ok(manifest)
}

/// The shard of a pointer's key.
fn shard_of(key: &str) -> Option<ShardId> {
    let (collection, index) = key.strip_prefix(keys::MANIFESTS)?.split_once('/')?;
    let shard = ShardId {
        collection: CollectionId(collection.parse().ok()?),
        index: index.parse().ok()?,
    };
    (keys::manifest(shard) == key).then_some(shard)
}

fn parse(key: &str, value: &Bytes) -> Result<(ShardId, Pointer), LoadError> {
    let damaged = |problem: String| MetaError::Damaged {
        what: format!("metadata key {key}"),
        problem,
    };
    let shard = shard_of(key).ok_or_else(|| damaged("it names no shard".to_owned()))?;
    let pointer = codec::decode_pointer(shard, value).map_err(damaged)?;
    Ok((shard, pointer))
}

#[cfg(test)]
mod tests;
