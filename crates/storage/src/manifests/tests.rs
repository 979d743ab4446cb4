//! Commits, races, crashes between the two steps of a commit, lost answers.

use async_trait::async_trait;
use futures::StreamExt;
use holdfast_meta::{Expect, MemoryStore, Range, WatchStream};
use holdfast_types::{Code, Coded, Failure};
use tempfile::TempDir;

use super::*;
use crate::{
    manifest::sample::{SHARD, segment},
    testing::{Fault, Faulty},
};

/// What becomes of one transaction.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The process dies before it is sent.
    Lost,
    /// It is done, and the answer is lost.
    Done,
    /// It is not done, and the answer is lost.
    Undone,
}

/// When a watch finds that its changes are forgotten.
#[derive(Clone, Copy, Debug)]
enum Forgets {
    AtOnce,
    WhenPolled,
}

/// A metadata store that loses answers and forgets changes.
struct Shaky {
    inner: MemoryStore,
    fates: Mutex<Vec<Fate>>,
    watches: Mutex<Vec<Forgets>>,
}

impl Shaky {
    fn unknown() -> MetaError {
        MetaError::OutcomeUnknown {
            what: "test".to_owned(),
            problem: "answer lost".to_owned(),
        }
    }
}

#[async_trait]
impl MetaStore for Shaky {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        self.inner.range(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        let fate = self.fates.lock().pop();
        match fate {
            None => self.inner.txn(txn).await,
            Some(Fate::Lost) => Err(MetaError::Closed("the process died".to_owned())),
            Some(Fate::Undone) => Err(Self::unknown()),
            Some(Fate::Done) => {
                assert_ne!(self.inner.txn(txn).await?, TxnOutcome::Failed);
                Err(Self::unknown())
            }
        }
    }

    async fn watch(&self, prefix: &str, after: u64) -> Result<WatchStream, MetaError> {
        let forgotten = MetaError::Compacted {
            after,
            oldest: after + 9,
        };
        let fate = self.watches.lock().pop();
        match fate {
            None => self.inner.watch(prefix, after).await,
            Some(Forgets::AtOnce) => Err(forgotten),
            Some(Forgets::WhenPolled) => Ok(futures::stream::iter([Err(forgotten)]).boxed()),
        }
    }
}

struct World {
    _root: TempDir,
    meta: Arc<Shaky>,
    faults: Arc<Faulty>,
    store: Arc<Store>,
    manifests: Arc<Manifests>,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let meta = Arc::new(Shaky {
        inner: MemoryStore::new(),
        fates: Mutex::default(),
        watches: Mutex::default(),
    });
    let mut faults = None;
    let store = Store::open_local_through(root.path(), |files| {
        let faulty = Faulty::new(files);
        faults = Some(Arc::clone(&faulty));
        faulty
    });
    let store = Arc::new(store.unwrap());
    let manifests = Arc::new(Manifests::new(
        Arc::clone(&meta) as Arc<dyn MetaStore>,
        Arc::clone(&store),
    ));
    World {
        _root: root,
        meta,
        faults: faults.unwrap(),
        store,
        manifests,
    }
}

impl World {
    /// Another process over the same stores.
    fn another(&self) -> Manifests {
        Manifests::new(
            Arc::clone(&self.meta) as Arc<dyn MetaStore>,
            Arc::clone(&self.store),
        )
    }

    fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        let mut all: Vec<Fate> = fates.into_iter().collect();
        all.reverse();
        *self.meta.fates.lock() = all;
    }
}

/// What follows `before` when segment `id` is added.
fn adding(id: i64, before: Option<&Manifest>) -> NextManifest {
    let mut next = before.map_or(
        NextManifest {
            epoch: Epoch(3),
            covers_lsn: Lsn(0),
            covers_ts: Timestamp(0),
            segments: Vec::new(),
            delete_logs: Vec::new(),
            truncated: None,
            created: Timestamp::from_unix_ms(1_000),
        },
        |m| m.next(m.created.next()),
    );
    next.segments.push(segment(id));
    next.covers_lsn = next.covers_lsn.next();
    next
}

async fn add(manifests: &Manifests, id: i64) -> Result<Option<Arc<Manifest>>, CommitError> {
    manifests
        .update(SHARD, |before| Ok(Some(adding(id, before))))
        .await
}

async fn segments(manifests: &Manifests) -> Vec<i64> {
    let newest = manifests.current(SHARD).await.unwrap();
    let ids = newest
        .iter()
        .flat_map(|m| m.segments.iter().map(|s| s.id.0));
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_shard_starts_without_a_manifest_and_then_counts_versions() {
    let world = world();
    assert_eq!(world.manifests.current(SHARD).await.unwrap(), None);
    assert_eq!(
        world.manifests.version(SHARD).await.unwrap(),
        ManifestVersion(0)
    );
    for id in 1..=3 {
        let committed = add(&world.manifests, id).await.unwrap().unwrap();
        assert_eq!(committed.version.0, u64::try_from(id).unwrap());
    }
    let seen = world.another().current(SHARD).await.unwrap().unwrap();
    assert_eq!(Some(seen), world.manifests.current(SHARD).await.unwrap());
    assert_eq!(segments(&world.manifests).await, [1, 2, 3]);
}

#[tokio::test]
async fn who_was_replaced_commits_nothing_any_more() {
    let world = world();
    let put = |value: &'static str| {
        let txn = Txn::new().put("active", Bytes::from_static(value.as_bytes()));
        world.meta.inner.txn(txn)
    };
    let holds = |value: &'static str| Compare {
        key: "active".to_owned(),
        expect: Expect::Value(Bytes::from_static(value.as_bytes())),
    };
    let (old, new) = (world.another(), world.another());
    let (old, new) = (old.only_while(holds("old")), new.only_while(holds("new")));
    assert_ne!(put("old").await.unwrap(), TxnOutcome::Failed);
    add(&old, 1).await.unwrap();
    assert_ne!(put("new").await.unwrap(), TxnOutcome::Failed);
    let late = add(&old, 2).await.unwrap_err();
    assert!(matches!(late, CommitError::Conflict { .. }), "{late}");
    add(&new, 3).await.unwrap();
    assert_eq!(segments(&world.manifests).await, [1, 3]);
}

#[tokio::test]
async fn a_commit_on_an_old_version_is_a_conflict() {
    let world = world();
    let manifests = &world.manifests;
    let first = manifests
        .commit(SHARD, None, adding(1, None))
        .await
        .unwrap();
    for base in [None, Some(ManifestVersion(0)), Some(ManifestVersion(2))] {
        let refused = manifests.commit(SHARD, base, adding(2, Some(&first))).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused,
                CommitError::Conflict {
                    found: Some(ManifestVersion(1)),
                    ..
                }
            ),
            "{refused}"
        );
        assert_eq!(refused.code(), Code::Conflict);
    }
    let base = Some(first.version);
    manifests
        .commit(SHARD, base, adding(2, Some(&first)))
        .await
        .unwrap();
    assert_eq!(segments(manifests).await, [1, 2]);
}

#[tokio::test]
async fn old_versions_are_found_along_the_chain() {
    let world = world();
    for id in 1..=5 {
        add(&world.manifests, id).await.unwrap();
    }
    for manifests in [&world.another(), &*world.manifests] {
        for version in 1..=5 {
            let found = manifests
                .load(SHARD, ManifestVersion(version))
                .await
                .unwrap();
            assert_eq!(
                (found.version.0, found.segments.len() as u64),
                (version, version)
            );
        }
        for version in [0, 6, u64::MAX] {
            let refused = manifests.load(SHARD, ManifestVersion(version)).await;
            assert!(matches!(refused, Err(LoadError::NotRetained { .. })));
        }
    }
    let third = world
        .manifests
        .load(SHARD, ManifestVersion(3))
        .await
        .unwrap();
    let second = third.previous.clone().unwrap().object;
    world.store.delete(&second.path).await.unwrap();
    let fresh = world.another();
    fresh.load(SHARD, ManifestVersion(3)).await.unwrap();
    for version in [2, 1] {
        let refused = fresh.load(SHARD, ManifestVersion(version)).await;
        assert!(matches!(refused, Err(LoadError::NotRetained { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_who_race_all_land_exactly_once() {
    let world = world();
    let mut tasks = tokio::task::JoinSet::new();
    for id in 1..=16 {
        // Every second one shares a process with others; the rest have one each.
        let manifests = if id % 2 == 0 {
            Arc::clone(&world.manifests)
        } else {
            Arc::new(world.another())
        };
        tasks.spawn(async move { add(&manifests, id).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(
        segments(&world.manifests).await,
        (1..=16).collect::<Vec<_>>()
    );
    let newest = world.manifests.current(SHARD).await.unwrap().unwrap();
    assert_eq!(newest.version, ManifestVersion(16));
    // Each version adds one segment to the one before.
    for version in 1..=16 {
        let found = world
            .manifests
            .load(SHARD, ManifestVersion(version))
            .await
            .unwrap();
        assert_eq!(found.segments.len() as u64, version);
    }
}

#[tokio::test]
async fn a_crash_before_the_pointer_moves_changes_nothing() {
    let world = world();
    add(&world.manifests, 1).await.unwrap();
    // The manifest is written, the pointer is not.
    world.fates([Fate::Lost]);
    let died = add(&world.manifests, 2).await.unwrap_err();
    assert_eq!(died.code(), Code::Unavailable);
    let next = world.another();
    assert_eq!(segments(&next).await, [1]);
    // The version that was lost is taken by another object of its own name.
    add(&next, 3).await.unwrap();
    assert_eq!(segments(&next).await, [1, 3]);
    assert_eq!(segments(&world.manifests).await, [1, 3]);
}

#[tokio::test]
async fn a_commit_that_cannot_write_its_object_changes_nothing() {
    let world = world();
    add(&world.manifests, 1).await.unwrap();
    for (fault, code) in [
        (Fault::Full, Code::QuotaExceeded),
        (Fault::Unavailable, Code::Unavailable),
        (Fault::AnswerLost, Code::Unavailable),
    ] {
        world.faults.fail_puts([Some(fault)]);
        assert_eq!(add(&world.manifests, 2).await.unwrap_err().code(), code);
        assert_eq!(segments(&world.manifests).await, [1]);
    }
    add(&world.manifests, 2).await.unwrap();
    assert_eq!(segments(&world.manifests).await, [1, 2]);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    let world = world();
    for (id, before) in [(1, vec![]), (2, vec![1])] {
        world.fates([Fate::Undone]);
        let unknown = add(&world.manifests, id).await.unwrap_err();
        assert_eq!(unknown.code(), Code::OutcomeUnknown);
        assert_eq!(segments(&world.manifests).await, before);
        world.fates([Fate::Done]);
        add(&world.manifests, id).await.unwrap();
    }
    assert_eq!(segments(&world.manifests).await, [1, 2]);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_below_a_newer_one() {
    let world = world();
    add(&world.manifests, 1).await.unwrap();
    let base = world.manifests.pointer(SHARD).await.unwrap();
    world.fates([Fate::Done]);
    add(&world.manifests, 2).await.unwrap();
    let ours = world
        .manifests
        .pointer(SHARD)
        .await
        .unwrap()
        .unwrap()
        .pointer;
    add(&world.another(), 3).await.unwrap();
    add(&world.another(), 4).await.unwrap();
    // Two newer versions are there when the look-up happens.
    let settled = world
        .manifests
        .settle(&ours, SHARD, base.as_ref(), Shaky::unknown());
    settled.await.unwrap();
    // Another commit of the same version has lost.
    let mut loser = ours;
    loser.manifest.path = paths::manifest(SHARD, loser.version, loser.epoch, 1);
    let settled = world
        .manifests
        .settle(&loser, SHARD, base.as_ref(), Shaky::unknown());
    assert!(matches!(settled.await, Err(CommitError::Conflict { .. })));
}

#[tokio::test]
async fn an_older_epoch_is_fenced_and_coverage_never_goes_back() {
    let world = world();
    let manifests = &world.manifests;
    let first = manifests
        .commit(SHARD, None, adding(1, None))
        .await
        .unwrap();
    let base = Some(first.version);
    let old = NextManifest {
        epoch: Epoch(2),
        ..adding(2, Some(&first))
    };
    let fenced = manifests.commit(SHARD, base, old).await.unwrap_err();
    assert_eq!(fenced.code(), Code::NotLeader);
    let back = NextManifest {
        covers_lsn: Lsn(0),
        ..adding(2, Some(&first))
    };
    let refused = manifests.commit(SHARD, base, back).await.unwrap_err();
    assert!(matches!(refused, CommitError::Refused { .. }), "{refused}");
    let twice = adding(1, Some(&first));
    let refused = manifests.commit(SHARD, base, twice).await.unwrap_err();
    assert!(refused.to_string().contains("named twice"), "{refused}");
    assert_eq!(segments(manifests).await, [1]);
}

#[tokio::test]
async fn an_update_may_decline_or_fail() {
    let world = world();
    let manifests = &world.manifests;
    let nothing = manifests
        .update(SHARD, |_| Ok::<_, CommitError>(None))
        .await;
    assert_eq!(nothing.unwrap(), None);
    add(manifests, 1).await.unwrap();
    let same = manifests
        .update(SHARD, |_| Ok::<_, Failure>(None))
        .await
        .unwrap();
    assert_eq!(same.unwrap().version, ManifestVersion(1));
    let failed = manifests
        .update(SHARD, |_| Err(Failure::invalid("no")))
        .await;
    assert_eq!(failed.unwrap_err(), Failure::invalid("no"));
}

#[tokio::test]
async fn the_newest_manifest_is_read_once() {
    let world = world();
    add(&world.manifests, 1).await.unwrap();
    let fresh = world.another();
    for _ in 0..5 {
        fresh.current(SHARD).await.unwrap();
    }
    assert_eq!(world.faults.get_count(), 1);
}

#[tokio::test]
async fn a_damaged_manifest_or_pointer_is_refused_by_name() {
    let world = world();
    add(&world.manifests, 1).await.unwrap();
    world.faults.fail_gets([Some(Fault::Flipped(30))]);
    let damaged = world.another().current(SHARD).await.unwrap_err();
    assert_eq!(damaged.code(), Code::Corrupt);
    assert!(damaged.to_string().contains("man/7/1/"), "{damaged}");
    let garbage = Txn::new().put(keys::manifest(SHARD), Bytes::from_static(b"garbage"));
    assert_ne!(world.meta.txn(garbage).await.unwrap(), TxnOutcome::Failed);
    let damaged = world.manifests.current(SHARD).await.unwrap_err();
    assert_eq!(damaged.code(), Code::Corrupt);
    assert!(
        damaged.to_string().contains(&keys::manifest(SHARD)),
        "{damaged}"
    );
    let refused = add(&world.manifests, 2).await.unwrap_err();
    assert_eq!(refused.code(), Code::Corrupt);
}

#[tokio::test]
async fn a_dropped_collection_has_no_manifests_and_gets_none() {
    let world = world();
    let other = ShardId {
        collection: CollectionId(70),
        index: 0,
    };
    add(&world.manifests, 1).await.unwrap();
    let empty = NextManifest {
        segments: Vec::new(),
        ..adding(1, None)
    };
    world.manifests.commit(other, None, empty).await.unwrap();
    for _ in 0..2 {
        world.manifests.delete_all(SHARD.collection).await.unwrap();
    }
    assert_eq!(world.manifests.current(SHARD).await.unwrap(), None);
    let refused = add(&world.manifests, 2).await.unwrap_err();
    assert_eq!(refused.code(), Code::CollectionNotFound);
    assert!(world.manifests.current(other).await.unwrap().is_some());
}

#[tokio::test]
async fn a_watch_tells_what_is_and_then_what_becomes() {
    let world = world();
    let moved = |version| ManifestEvent::Moved {
        shard: SHARD,
        version: ManifestVersion(version),
    };
    add(&world.manifests, 1).await.unwrap();
    add(&world.manifests, 2).await.unwrap();
    for scope in [None, Some(SHARD)] {
        let before = world.manifests.version(SHARD).await.unwrap().0;
        let mut events = world.manifests.watch(scope).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap(), moved(before));
        for version in [before + 1, before + 2] {
            let id = i64::try_from(version).unwrap();
            add(&world.manifests, id).await.unwrap();
            assert_eq!(events.next().await.unwrap().unwrap(), moved(version));
        }
    }
    let mut events = world.manifests.watch(None).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), moved(6));
    world.manifests.delete_all(SHARD.collection).await.unwrap();
    let removed = ManifestEvent::Removed { shard: SHARD };
    assert_eq!(events.next().await.unwrap().unwrap(), removed);
}

#[tokio::test]
async fn a_watch_that_fell_behind_lists_again() {
    let world = world();
    let manifests = &world.manifests;
    let moved = |version| ManifestEvent::Moved {
        shard: SHARD,
        version: ManifestVersion(version),
    };
    add(manifests, 1).await.unwrap();
    // Taken from the end.
    *world.meta.watches.lock() = vec![
        Forgets::WhenPolled,
        Forgets::AtOnce,
        Forgets::WhenPolled,
        Forgets::AtOnce,
    ];
    let mut events = manifests.watch(None).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), moved(1));
    for id in 2..=5 {
        add(manifests, id).await.unwrap();
    }
    assert_eq!(events.next().await.unwrap().unwrap(), moved(5));
    // Nobody tells that it went; it is no longer listed.
    manifests.delete_all(SHARD.collection).await.unwrap();
    let removed = ManifestEvent::Removed { shard: SHARD };
    assert_eq!(events.next().await.unwrap().unwrap(), removed);
    assert!(world.meta.watches.lock().is_empty());
}
