//! Which objects nothing can reach, and the two-step way in which they go.
//!
//! An object is deleted only after **two** looks, a grace time apart, found it unreachable: the first
//! condemns it, the second, not before the grace has passed, deletes it. An object younger than the
//! grace is never condemned: it may belong to a commit that is on its way.
//!
//! [`plan`] decides without I/O; [`Collector`] looks, asks it and deletes. What is condemned is known
//! in memory only: after a restart everything waits its grace again.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use holdfast_types::{CollectionId, ManifestVersion, ShardId};

use crate::{ObjectPath, paths::ObjectName};

mod collector;
mod pins;

pub use collector::{Collector, Now, Policy, Report};
pub use pins::{Pin, Pins};

/// An object as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub path: ObjectPath,
    /// Its bytes.
    pub size: u64,
    /// Time since it was written.
    pub age: Duration,
}

/// What is known to be alive, and what is known to be dead. Objects of shards that are neither are
/// left alone: a lost metadata store must not look like an empty cluster.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Newest manifest version of every shard that has one.
    pub shards: HashMap<ShardId, ManifestVersion>,
    /// Collections that were dropped, by the proof that the drop left.
    pub dropped: HashSet<CollectionId>,
    /// Objects that a kept manifest version or a pin needs, manifests themselves included.
    pub reachable: HashSet<ObjectPath>,
}

/// Since when each condemned object is condemned, in monotonic time.
pub type Condemned = HashMap<ObjectPath, Duration>;

/// What to do after one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Unreachable twice, a grace apart: to be deleted, in this order.
    pub delete: Vec<ObjectPath>,
    /// Unreachable, and waiting.
    pub condemned: Condemned,
    /// Shards with manifests newer than their pointer allows: the metadata store has lost commits.
    /// Nothing of them is touched.
    pub suspect: Vec<ShardId>,
    /// Objects left alone because nothing tells whether their shard is alive.
    pub unproven: usize,
}

/// Decides what may go. `objects` must have been listed before `evidence` was gathered: then whatever
/// was committed in between is either reachable or young.
#[must_use]
pub fn plan(
    objects: &[Seen],
    evidence: &Evidence,
    condemned: &Condemned,
    now: Duration,
    grace: Duration,
) -> Plan {
    let suspect = suspects(objects, evidence);
    let mut plan = Plan::default();
    let mut left: HashSet<CollectionId> = HashSet::new();
    let mut proofs = Vec::new();
    for Seen { path, age, size: _ } in objects {
        let name = path.name();
        let collection = name.collection();
        if let ObjectName::Dropped { .. } = name {
            proofs.push((path, *age));
            continue;
        }
        let dropped = evidence.dropped.contains(&collection);
        let alive = name
            .shard()
            .is_some_and(|s| evidence.shards.contains_key(&s));
        let suspected = name.shard().is_some_and(|s| suspect.contains(&s));
        if !dropped && !alive {
            plan.unproven += 1;
        }
        let needed = evidence.reachable.contains(path);
        if (dropped || alive) && !suspected && !needed && *age > grace {
            plan.wait(path, condemned, now, grace);
        }
        left.insert(collection);
    }
    // The proof goes when a look finds nothing else: without it the rest could never go.
    for (path, age) in proofs {
        if !left.contains(&path.name().collection()) && age > grace {
            plan.wait(path, condemned, now, grace);
        }
    }
    plan.suspect = suspect.into_iter().collect();
    plan.suspect.sort_unstable();
    plan
}

impl Plan {
    /// Condemns the object or, when it has waited long enough, deletes it.
    fn wait(&mut self, path: &ObjectPath, condemned: &Condemned, now: Duration, grace: Duration) {
        match condemned.get(path) {
            Some(since) if now.saturating_sub(*since) >= grace => self.delete.push(path.clone()),
            since => {
                let since = since.copied().unwrap_or(now);
                self.condemned.insert(path.clone(), since);
            }
        }
    }
}

/// A commit writes the version after the pointer's before it moves the pointer, so no manifest is ever
/// more than one version ahead, unless the pointer went back.
fn suspects(objects: &[Seen], evidence: &Evidence) -> HashSet<ShardId> {
    let mut suspect = HashSet::new();
    for seen in objects {
        if let ObjectName::Manifest { shard, version, .. } = seen.path.name()
            && let Some(newest) = evidence.shards.get(&shard)
            && version.0 > newest.0.saturating_add(1)
            && !evidence.dropped.contains(&shard.collection)
        {
            suspect.insert(shard);
        }
    }
    suspect
}

#[cfg(test)]
mod tests;
