//! The planner against a model, and the collector against real directories.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use holdfast_meta::{MemoryStore, MetaStore, Txn, TxnOutcome, keys};
use holdfast_types::{Epoch, FileRole, Lsn, SegmentId, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    FileEntry, Manifests, NextManifest, SegmentEntry, Store,
    manifest::sample::{SHARD, segment},
    manifests::CommitError,
    paths,
    testing::{Fault, Faulty},
};

const GRACE: Duration = Duration::from_secs(100);

fn file(id: u32) -> ObjectPath {
    paths::segment_file(SHARD, SegmentId(i64::from(id)), Epoch(1), 0, FileRole::Keys)
}

/// One thing that happens in the model.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody writes an object.
    Upload,
    /// Somebody commits: some of their young uploads come in, some objects go out.
    Commit { take: u32, drop: u32 },
    /// Uploads in flight are forgotten; so is what is condemned.
    Crash,
    /// Time passes.
    Wait { seconds: u64 },
    /// The collector looks: lists, and a commit may come before it gathers evidence.
    Collect { commit_between: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Upload),
        3 => (any::<u32>(), any::<u32>()).prop_map(|(take, drop)| Step::Commit { take, drop }),
        1 => Just(Step::Crash),
        3 => (1u64..120).prop_map(|seconds| Step::Wait { seconds }),
        4 => any::<bool>().prop_map(|commit_between| Step::Collect { commit_between }),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Default)]
struct Model {
    now: Duration,
    next: u32,
    /// Objects in the store and when they were written.
    objects: BTreeMap<ObjectPath, Duration>,
    /// Objects that nobody has named yet and somebody may.
    uploads: Vec<ObjectPath>,
    /// What the newest and the retained version name.
    versions: [HashSet<ObjectPath>; 2],
    version: u64,
    condemned: Condemned,
}

impl Model {
    fn commit(&mut self, take: u32, drop: u32) {
        // The rule every writer keeps: what it names is in the newest version, or younger than the
        // grace.
        let now = self.now;
        let written = &self.objects;
        self.uploads
            .retain(|p| written.get(p).is_some_and(|at| now - *at < GRACE));
        let mut next = self.versions[0].clone();
        let mut bit = 0;
        next.retain(|_| {
            bit += 1;
            drop.rotate_left(bit) & 1 == 0
        });
        let taken = self.uploads.len() * (take % 3) as usize / 2;
        next.extend(self.uploads.drain(..taken));
        self.versions[1] = std::mem::replace(&mut self.versions[0], next);
        self.version += 1;
    }

    fn collect(&mut self, commit_between: bool) -> Result<(), TestCaseError> {
        let objects: Vec<Seen> = self
            .objects
            .iter()
            .map(|(path, at)| Seen {
                path: path.clone(),
                size: 1,
                age: self.now - *at,
            })
            .collect();
        if commit_between {
            self.commit(2, 0x5555_5555);
        }
        let evidence = Evidence {
            shards: HashMap::from([(SHARD, ManifestVersion(self.version))]),
            dropped: HashSet::new(),
            reachable: self.versions.iter().flatten().cloned().collect(),
        };
        let plan = plan(&objects, &evidence, &self.condemned, self.now, GRACE);
        for path in &plan.delete {
            prop_assert!(!evidence.reachable.contains(path), "{path} is reachable");
            let at = self.objects.remove(path);
            prop_assert!(
                at.is_some_and(|at| self.now - at > GRACE),
                "{path} is young"
            );
            prop_assert!(
                self.condemned[path] + GRACE <= self.now,
                "{path} did not wait"
            );
        }
        for path in plan.condemned.keys() {
            prop_assert!(!plan.delete.contains(path));
            prop_assert!(!evidence.reachable.contains(path));
        }
        self.condemned = plan.condemned;
        let lost = self
            .versions
            .iter()
            .flatten()
            .find(|p| !self.objects.contains_key(*p));
        prop_assert_eq!(lost, None);
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_reachable_or_young_goes_and_all_else_goes_in_the_end(steps in steps()) {
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Upload => {
                    model.next += 1;
                    let path = file(model.next);
                    model.objects.insert(path.clone(), model.now);
                    model.uploads.push(path);
                }
                Step::Commit { take, drop } => model.commit(take, drop),
                Step::Crash => {
                    model.uploads.clear();
                    model.condemned.clear();
                }
                Step::Wait { seconds } => model.now += Duration::from_secs(seconds),
                Step::Collect { commit_between } => model.collect(commit_between)?,
            }
        }
        // All writers gone: two looks a grace apart, the first when everything is old enough.
        model.now += GRACE + Duration::from_secs(1);
        model.collect(false)?;
        model.now += GRACE;
        model.collect(false)?;
        let left: HashSet<ObjectPath> = model.objects.keys().cloned().collect();
        let reachable: HashSet<ObjectPath> = model.versions.iter().flatten().cloned().collect();
        prop_assert_eq!(left, reachable);
    }
}

fn old(path: ObjectPath) -> Seen {
    Seen {
        path,
        size: 1,
        age: GRACE * 5,
    }
}

#[test]
fn a_shard_of_which_nothing_is_known_is_left_alone() {
    let objects = [old(file(1)), old(file(2))];
    let all = objects
        .iter()
        .map(|o| (o.path.clone(), Duration::ZERO))
        .collect();
    let plan = plan(&objects, &Evidence::default(), &all, GRACE * 9, GRACE);
    assert_eq!(
        (plan.delete.len(), plan.condemned.len(), plan.unproven),
        (0, 0, 2)
    );
}

#[test]
fn a_pointer_that_went_back_protects_its_shard() {
    let manifest = |version| {
        old(paths::manifest(
            SHARD,
            ManifestVersion(version),
            Epoch(1),
            0,
        ))
    };
    let decide = |objects: &[Seen]| {
        let evidence = Evidence {
            shards: HashMap::from([(SHARD, ManifestVersion(4))]),
            ..Evidence::default()
        };
        let all = objects
            .iter()
            .map(|o| (o.path.clone(), Duration::ZERO))
            .collect();
        plan(objects, &evidence, &all, GRACE * 9, GRACE)
    };
    // One ahead is a commit that did not come to its end.
    let one_ahead = decide(&[old(file(1)), manifest(3), manifest(5)]);
    assert_eq!((one_ahead.delete.len(), one_ahead.suspect.len()), (3, 0));
    let two_ahead = decide(&[old(file(1)), manifest(3), manifest(6)]);
    assert_eq!(
        (two_ahead.delete.len(), two_ahead.suspect),
        (0, vec![SHARD])
    );
}

#[test]
fn the_proof_of_a_drop_goes_after_all_else() {
    let proof = paths::dropped(SHARD.collection);
    let evidence = Evidence {
        dropped: HashSet::from([SHARD.collection]),
        ..Evidence::default()
    };
    let all: Condemned = [file(1), proof.clone()].map(|p| (p, Duration::ZERO)).into();
    let both = [old(proof.clone()), old(file(1))];
    let first = plan(&both, &evidence, &all, GRACE * 9, GRACE);
    assert_eq!(first.delete, [file(1)]);
    let last = plan(&both[..1], &evidence, &all, GRACE * 9, GRACE);
    assert_eq!(last.delete, [proof]);
}

struct World {
    root: TempDir,
    meta: Arc<MemoryStore>,
    faults: Arc<Faulty>,
    manifests: Arc<Manifests>,
    pins: Pins,
    start_ms: u64,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let meta = Arc::new(MemoryStore::new());
        let mut faults = None;
        let store = Store::open_local_through(root.path(), |files| {
            let faulty = Faulty::new(files);
            faults = Some(Arc::clone(&faulty));
            faulty
        });
        let manifests = Manifests::new(
            Arc::clone(&meta) as Arc<dyn MetaStore>,
            Arc::new(store.unwrap()),
        );
        // The file system stamps objects with its own time: ours starts there.
        let here = root.path().metadata().unwrap().modified().unwrap();
        let start = here.duration_since(std::time::UNIX_EPOCH).unwrap();
        Self {
            root,
            meta,
            faults: faults.unwrap(),
            manifests: Arc::new(manifests),
            pins: Pins::default(),
            start_ms: u64::try_from(start.as_millis()).unwrap(),
        }
    }

    fn collector(&self) -> Collector {
        self.collector_of(Arc::clone(&self.manifests))
    }

    fn collector_of(&self, manifests: Arc<Manifests>) -> Collector {
        let policy = Policy {
            grace: GRACE,
            versions_max: 1,
            version_age_max: Duration::from_secs(1_000),
        };
        Collector::new(manifests, self.pins.clone(), policy)
    }

    fn now(&self, seconds: u64) -> Now {
        Now {
            unix_ms: self.start_ms + seconds * 1_000,
            monotonic: Duration::from_secs(seconds),
        }
    }

    /// Writes a segment's objects for real.
    async fn upload(&self, id: i64) -> SegmentEntry {
        let mut entry = segment(id);
        for FileEntry { object, .. } in &mut entry.files {
            let bytes = object.path.to_string().into();
            *object = self
                .manifests
                .store()
                .put(&object.path, bytes)
                .await
                .unwrap();
        }
        entry
    }

    /// Commits a manifest of exactly these segments.
    async fn commit(&self, segments: Vec<SegmentEntry>, at_seconds: u64) -> Arc<crate::Manifest> {
        let created = Timestamp::from_unix_ms(self.start_ms + at_seconds * 1_000);
        let change = |before: Option<&crate::Manifest>| {
            let lsn = before.map_or(Lsn(0), |m| m.covers_lsn);
            Ok::<_, CommitError>(Some(NextManifest {
                epoch: Epoch(3),
                covers_lsn: lsn,
                covers_ts: Timestamp(0),
                segments: segments.clone(),
                delete_logs: Vec::new(),
                truncated: None,
                created,
            }))
        };
        self.manifests.update(SHARD, change).await.unwrap().unwrap()
    }

    async fn listed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in crate::paths::FOLDERS {
            let objects = self.manifests.store().list(folder);
            let names = objects.map_ok(|o| o.path.to_string());
            found.extend(names.try_collect::<Vec<_>>().await.unwrap());
        }
        found.sort();
        found
    }
}

#[tokio::test]
async fn a_replaced_segment_goes_when_its_version_is_no_longer_kept() {
    let world = World::new();
    let mut collector = world.collector();
    let (a, b, c) = (
        world.upload(1).await,
        world.upload(2).await,
        world.upload(3).await,
    );
    world.commit(vec![a], 0).await;
    world.commit(vec![b], 0).await;
    let newest = world.commit(vec![c], 0).await;
    let before = world.listed().await;
    assert_eq!(before.len(), 9);
    // One version before the newest is kept, so that two segments are.
    for (seconds, deleted) in [(90, 0), (110, 0), (150, 0), (220, 3), (400, 0)] {
        let report = collector.run_once(world.now(seconds)).await.unwrap();
        assert_eq!(report.deleted, deleted, "at {seconds} s: {report:?}");
    }
    let gone = |name: &&String| name.contains("/1.3.0/") || name.contains("001.3.");
    assert_eq!(before.iter().filter(gone).count(), 3);
    let kept: Vec<String> = before.iter().filter(|n| !gone(n)).cloned().collect();
    assert_eq!(world.listed().await, kept);
    let first = world.manifests.load(SHARD, ManifestVersion(1)).await;
    assert!(first.is_err());
    // Past its time the last old version goes too; what is newest never does.
    for seconds in [1_200, 1_400] {
        collector.run_once(world.now(seconds)).await.unwrap();
    }
    for object in newest.objects() {
        world.manifests.store().verify(object).await.unwrap();
    }
    assert_eq!(world.listed().await.len(), 3);
}

#[tokio::test]
async fn a_collector_that_restarts_waits_again() {
    let world = World::new();
    world.commit(vec![world.upload(1).await], 0).await;
    world.upload(2).await; // never committed
    let mut collector = world.collector();
    assert_eq!(
        collector.run_once(world.now(150)).await.unwrap().condemned,
        2
    );
    let mut collector = world.collector();
    assert_eq!(collector.run_once(world.now(300)).await.unwrap().deleted, 0);
    assert_eq!(collector.run_once(world.now(350)).await.unwrap().deleted, 0);
    assert_eq!(collector.run_once(world.now(401)).await.unwrap().deleted, 2);
}

#[tokio::test]
async fn what_is_pinned_stays_until_it_is_unpinned() {
    let world = World::new();
    let first = world.commit(vec![world.upload(1).await], 0).await;
    for id in [2, 3] {
        world.commit(vec![world.upload(id).await], 0).await;
    }
    let pin = world.pins.manifest(&first);
    let second_pin = world.pins.manifest(&first);
    drop(second_pin);
    let mut collector = world.collector();
    for seconds in [150, 300, 450] {
        collector.run_once(world.now(seconds)).await.unwrap();
    }
    for object in first.objects() {
        world.manifests.store().verify(object).await.unwrap();
    }
    drop(pin);
    assert_eq!(world.pins.all().len(), 0);
    for seconds in [600, 750] {
        collector.run_once(world.now(seconds)).await.unwrap();
    }
    for object in first.objects() {
        assert!(world.manifests.store().verify(object).await.is_err());
    }
}

#[tokio::test]
async fn a_dropped_collection_goes_with_its_folders_and_its_proof() {
    let world = World::new();
    world.commit(vec![world.upload(1).await], 0).await;
    std::fs::write(world.root.path().join("notes.txt"), b"not ours").unwrap();
    world.manifests.delete_all(SHARD.collection).await.unwrap();
    let mut collector = world.collector();
    for seconds in [150, 260, 400, 510] {
        collector.run_once(world.now(seconds)).await.unwrap();
    }
    assert_eq!(world.listed().await, [""; 0]);
    let left: Vec<_> = std::fs::read_dir(world.root.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the stranger is left: {left:?}");
}

#[tokio::test]
async fn a_lost_metadata_store_costs_no_object() {
    let world = World::new();
    world.commit(vec![world.upload(1).await], 0).await;
    let before = world.listed().await;
    let lost = Txn::new().delete(keys::manifest(SHARD));
    assert_ne!(world.meta.txn(lost).await.unwrap(), TxnOutcome::Failed);
    let mut collector = world.collector();
    for seconds in [150, 300, 450] {
        let report = collector.run_once(world.now(seconds)).await.unwrap();
        assert_eq!((report.deleted, report.unproven), (0, 3));
    }
    assert_eq!(world.listed().await, before);
}

#[tokio::test]
async fn a_look_that_cannot_see_everything_deletes_nothing() {
    let world = World::new();
    let newest = world.commit(vec![world.upload(1).await], 0).await;
    world.upload(2).await;
    let before = world.listed().await;
    // Another process, which has not read the manifest yet.
    let manifests = Manifests::new(
        Arc::clone(&world.meta) as Arc<dyn MetaStore>,
        Arc::clone(world.manifests.store()),
    );
    let mut collector = world.collector();
    collector.run_once(world.now(150)).await.unwrap();
    let mut blind = collector;
    blind.manifests = Arc::new(manifests);
    world.faults.fail_gets([Some(Fault::Unavailable)]);
    assert!(blind.run_once(world.now(300)).await.is_err());
    assert_eq!(world.listed().await, before);
    for fault in [Fault::Flipped(40), Fault::Cut(3)] {
        world.faults.fail_gets([Some(fault)]);
        let report = blind.run_once(world.now(300)).await.unwrap();
        assert_eq!((report.damaged, report.deleted), (1, 0), "{fault:?}");
        assert_eq!(world.listed().await, before);
    }
    // What was condemned before that waits again.
    assert_eq!(blind.run_once(world.now(300)).await.unwrap().deleted, 0);
    // Deletes that fail are done by the next run.
    world.faults.fail_deletes([None, Some(Fault::Unavailable)]);
    assert!(blind.run_once(world.now(450)).await.is_err());
    for seconds in [450, 600] {
        blind.run_once(world.now(seconds)).await.unwrap();
    }
    assert_eq!(world.listed().await.len(), before.len() - 2);
    for object in newest.objects() {
        world.manifests.store().verify(object).await.unwrap();
    }
}

#[tokio::test]
async fn a_wall_clock_that_jumps_does_not_cut_the_wait_short() {
    let world = World::new();
    world.commit(vec![world.upload(1).await], 0).await;
    world.upload(2).await;
    let mut collector = world.collector();
    let mut now = world.now(0);
    now.unix_ms += 1_000_000_000;
    assert_eq!(collector.run_once(now).await.unwrap().condemned, 2);
    now.unix_ms += 1_000_000_000;
    assert_eq!(collector.run_once(now).await.unwrap().deleted, 0);
    now.monotonic += GRACE;
    assert_eq!(collector.run_once(now).await.unwrap().deleted, 2);
}

/// What only a damaged manifest names looks like what nothing names.
#[tokio::test]
async fn nothing_of_a_shard_with_a_damaged_manifest_is_collected() {
    let world = World::new();
    let (a, b) = (world.upload(1).await, world.upload(2).await);
    let kept = world.commit(vec![a.clone()], 0).await;
    let newest = world.commit(vec![a, b], 0).await;
    let other = ShardId {
        collection: CollectionId(77),
        index: 0,
    };
    let orphan = paths::segment_file(other, SegmentId(9), Epoch(1), 0, FileRole::Keys);
    let put = world.manifests.store().put(&orphan, "x".into()).await;
    put.unwrap();
    let first = NextManifest {
        epoch: Epoch(1),
        ..NextManifest::empty(Timestamp(1))
    };
    world.manifests.commit(other, None, first).await.unwrap();
    let before = newest.previous.as_ref().unwrap().object.path.to_string();
    let ours = format!("man/{}/", SHARD.collection);
    for of_before in [true, false] {
        let named = world.listed().await;
        let mut manifests = named.iter().filter(|name| name.starts_with(&ours));
        let path = manifests.find(|name| (**name == before) == of_before);
        let path = world.root.path().join(path.unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"noise").unwrap();
        // A collector of another process: it remembers no manifest.
        let manifests = Manifests::new(
            Arc::clone(&world.meta) as Arc<dyn MetaStore>,
            Arc::clone(world.manifests.store()),
        );
        let mut collector = world.collector_of(Arc::new(manifests));
        let mut deleted = 0;
        for seconds in [150, 300, 450] {
            let report = collector.run_once(world.now(seconds)).await.unwrap();
            assert_eq!(report.damaged, 1, "{report:?}");
            deleted += report.deleted;
        }
        std::fs::write(&path, whole).unwrap();
        let left = world.listed().await;
        assert_eq!(left.len() + deleted, named.len());
        assert!(
            !left.contains(&orphan.to_string()),
            "the others are not kept waiting"
        );
        for object in newest.objects().chain(kept.objects()) {
            world.manifests.store().verify(object).await.unwrap();
        }
    }
}
