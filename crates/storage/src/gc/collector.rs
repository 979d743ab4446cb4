//! Looks at the store, asks [`plan`], deletes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::TryStreamExt;
use holdfast_types::{Code, Coded, CollectionId};

use super::{Condemned, Evidence, Pins, Plan, Seen, plan};
use crate::{
    Manifests, ObjectInfo, ObjectPath, StorageError,
    manifests::LoadError,
    paths::{FOLDERS, ObjectName},
};

/// How long things are kept.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How old an object must be to be condemned, and how long it then waits. Longer than the longest
    /// time from an object's put to the commit that names it, and than the difference between the
    /// store's clock and ours.
    pub grace: Duration,
    /// Most manifest versions kept before the newest one.
    pub versions_max: usize,
    /// How long a manifest version is kept after it was replaced.
    pub version_age_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(3_600),
            versions_max: 64,
            version_age_max: Duration::from_secs(3_600),
        }
    }
}

/// The time of one look, by both kinds of clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Unix milliseconds, for the age of objects.
    pub unix_ms: u64,
    /// Monotonic time, for the wait of the condemned: a jump of the wall clock cannot shorten it.
    pub monotonic: Duration,
}

/// What one look found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects in the store.
    pub objects: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Objects deleted.
    pub deleted: usize,
    /// Objects that wait to be deleted.
    pub condemned: usize,
    /// Objects of shards of which nothing is known; left alone.
    pub unproven: usize,
    /// Shards left alone because their pointer went back.
    pub suspect: usize,
    /// Shards left alone because a manifest of theirs can't be read.
    pub damaged: usize,
    /// Left-overs of puts that a crash cut short; removed.
    pub staged: usize,
}

/// The only one who deletes objects. One per cluster at a time.
#[derive(Debug)]
pub struct Collector {
    pub(super) manifests: Arc<Manifests>,
    pins: Pins,
    policy: Policy,
    condemned: Condemned,
}

impl Collector {
    /// A collector that has condemned nothing yet.
    #[must_use]
    pub fn new(manifests: Arc<Manifests>, pins: Pins, policy: Policy) -> Self {
        Self {
            manifests,
            pins,
            policy,
            condemned: Condemned::new(),
        }
    }

    /// Takes one look and deletes what may go.
    ///
    /// # Errors
    /// The look failed: nothing was deleted; or a delete failed: those before it are done. Either way
    /// the next run goes on.
    ///
    /// # Cancel safety
    /// Cancel safe: what was not deleted is deleted by a later run.
    pub async fn run_once(&mut self, now: Now) -> Result<Report, LoadError> {
        let grace = self.policy.grace;
        // In this order: a commit between the two is either in the evidence, or of young objects.
        let objects = self.list(now).await?;
        let (evidence, damaged) = self.evidence(&objects, now).await?;
        let Plan {
            delete,
            condemned,
            suspect,
            unproven,
        } = plan(&objects, &evidence, &self.condemned, now.monotonic, grace);
        for shard in &suspect {
            tracing::error!(%shard, "manifests are newer than the pointer: the metadata store lost commits; nothing of this shard is collected");
        }
        self.condemned = condemned;
        for path in &delete {
            self.manifests.forget(path);
            self.manifests.store().delete(path).await?;
            tracing::debug!(%path, "unreachable object deleted");
        }
        let staged = self
            .manifests
            .store()
            .sweep_staged(now.unix_ms, grace)
            .await?;
        let report = Report {
            objects: objects.len(),
            bytes: objects.iter().map(|o| o.size).sum(),
            deleted: delete.len(),
            condemned: self.condemned.len(),
            unproven,
            suspect: suspect.len(),
            damaged,
            staged,
        };
        if report.deleted > 0 || report.staged > 0 {
            tracing::info!(?report, "unreachable objects deleted");
        }
        Ok(report)
    }

    async fn list(&self, now: Now) -> Result<Vec<Seen>, LoadError> {
        let mut objects = Vec::new();
        for folder in FOLDERS {
            let mut listed = std::pin::pin!(self.manifests.store().list(folder));
            while let Some(object) = listed.try_next().await? {
                objects.push(Seen {
                    path: object.path,
                    size: object.size,
                    // Written in our future: the clocks differ, and it counts as new.
                    age: Duration::from_millis(now.unix_ms.saturating_sub(object.modified_ms)),
                });
            }
        }
        Ok(objects)
    }

    /// What is alive, and of how many shards that can't be told.
    async fn evidence(&self, objects: &[Seen], now: Now) -> Result<(Evidence, usize), LoadError> {
        let mut damaged = 0;
        let mut evidence = Evidence::default();
        for seen in objects {
            if let ObjectName::Dropped { collection } = seen.path.name() {
                evidence.dropped.insert(collection);
            }
        }
        let mut revived: HashSet<CollectionId> = HashSet::new();
        for (shard, newest) in self.manifests.pointers().await? {
            if evidence.dropped.contains(&shard.collection) {
                revived.insert(shard.collection);
                continue;
            }
            match self.reach(newest, now, &mut evidence).await {
                // Without evidence nothing of the shard is touched, and the others are not kept waiting.
                Err(error) if error.code() == Code::Corrupt => {
                    tracing::error!(%shard, error = %error.to_failure(), "a manifest can't be read; nothing of its shard is collected");
                    damaged += 1;
                }
                reached => reached?,
            }
        }
        // A commit that raced with the drop brought its pointer back.
        for collection in revived {
            self.manifests.forget_pointers(collection).await?;
        }
        evidence.reachable.extend(self.pins.all());
        Ok((evidence, damaged))
    }

    /// Adds what the kept versions of a shard need, the newest first.
    async fn reach(
        &self,
        newest: ObjectInfo,
        now: Now,
        evidence: &mut Evidence,
    ) -> Result<(), LoadError> {
        let manifest = self.manifests.manifest(&newest).await?;
        let (shard, version) = (manifest.shard, manifest.version);
        let mut reachable: Vec<ObjectPath> = vec![newest.path];
        let mut manifest = manifest;
        for kept in 0.. {
            reachable.extend(manifest.paths().cloned());
            let Some(previous) = &manifest.previous else {
                break;
            };
            let replaced =
                Duration::from_millis(now.unix_ms.saturating_sub(manifest.created.unix_ms()));
            if kept >= self.policy.versions_max || replaced > self.policy.version_age_max {
                break;
            }
            let object = previous.object.clone();
            manifest = match self.manifests.manifest(&object).await {
                Ok(manifest) => manifest,
                // A stricter policy was in force before.
                Err(LoadError::Storage(StorageError::NotFound { .. })) => break,
                Err(e) => return Err(e),
            };
            reachable.push(object.path);
        }
        // All of it or nothing: a shard with some evidence would lose the rest.
        evidence.shards.insert(shard, version);
        evidence.reachable.extend(reachable);
        Ok(())
    }
}
