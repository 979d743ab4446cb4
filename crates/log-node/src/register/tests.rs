//! Old copies of a disk, however often they are started and whatever was registered meanwhile.

use futures::StreamExt;
use holdfast_disk::{RealDisk, SimDisk};
use holdfast_journal::{Journal, JournalThread, Options, Owner, stored_identity};
use holdfast_meta::MemoryStore;
use holdfast_qlog::messages::ClusterId;

use super::*;
use crate::device::ThreadDevice;

const NODE: &str = "log-1";

fn registration(node: &str) -> Registration {
    Registration {
        node: node.into(),
        address: "127.0.0.1:1".into(),
        zone: Zone("a".into()),
        free_bytes: 1,
        total_bytes: 2,
    }
}

fn disk(storage: u8, generation: u64) -> Identity {
    Identity {
        cluster: ClusterId([1; 16]),
        storage: StorageId([storage; 16]),
        journal: [storage; 16],
        generation,
    }
}

/// A start: asks, counts, registers. Whether the disk is not trusted.
async fn start(store: &dyn MetaStore, disk: &mut Identity) -> bool {
    recognise(store, NODE, disk).await.unwrap();
    disk.generation += 1;
    register(store, &registration(NODE), disk).await.unwrap()
}

#[tokio::test]
async fn a_disk_that_goes_on_is_trusted() {
    let store = MemoryStore::new();
    let mut disk = disk(1, 0);
    for _ in 0..3 {
        assert!(!start(&store, &mut disk).await);
    }
    // Starts that did not reach the metadata.
    disk.generation += 5;
    assert!(!start(&store, &mut disk).await);
}

#[tokio::test]
async fn an_old_copy_is_not_trusted_and_stays_so() {
    let store = MemoryStore::new();
    let mut disk = disk(1, 0);
    assert!(!start(&store, &mut disk).await);
    let mut copy = disk;
    assert!(!start(&store, &mut disk).await);
    // It is counted only after it was recognised, so starts that end in between cannot make it look new.
    recognise(&store, NODE, &copy).await.unwrap();
    copy.generation += 9;
    assert!(register(&store, &registration(NODE), &copy).await.unwrap());
    assert!(start(&store, &mut copy).await);
}

#[tokio::test]
async fn a_disk_that_was_replaced_is_remembered() {
    let store = MemoryStore::new();
    let mut first = disk(1, 0);
    assert!(!start(&store, &mut first).await);
    let copy = first;
    assert!(!start(&store, &mut first).await);
    let mut second = disk(2, 0);
    assert!(!start(&store, &mut second).await);
    let mut old = copy;
    assert!(start(&store, &mut old).await, "an old copy of the first");
    assert!(!start(&store, &mut second).await);
    assert!(start(&store, &mut old).await, "it was recognised before");
}

#[tokio::test]
async fn a_disk_that_was_replaced_may_come_back() {
    let store = MemoryStore::new();
    let (mut first, mut second) = (disk(1, 0), disk(2, 0));
    assert!(!start(&store, &mut first).await);
    assert!(!start(&store, &mut second).await);
    assert!(!start(&store, &mut first).await);
    let key = retired_key(first.storage);
    assert!(store.get(&key).await.unwrap().is_none(), "it is in use");
}

#[tokio::test]
async fn a_disk_is_one_node() {
    let store = MemoryStore::new();
    let mut disk = disk(1, 0);
    assert!(!start(&store, &mut disk).await);
    let taken = recognise(&store, "log-2", &disk).await;
    assert!(
        matches!(taken, Err(RegisterError::Taken { .. })),
        "{taken:?}"
    );
    let taken = register(&store, &registration("log-2"), &disk).await;
    let error = taken.unwrap_err().to_string();
    assert!(error.contains("is registered as node log-1"), "{error}");
}

#[tokio::test]
async fn a_running_node_leaves_copies_of_its_disk_behind() {
    let dir = std::path::Path::new("journal");
    let sim = SimDisk::new(1);
    let open = |sim: &SimDisk| {
        let disk: Arc<dyn holdfast_disk::Disk> = Arc::new(sim.clone());
        let owner = Owner::new(ClusterId([1; 16]));
        let options = Options {
            file_bytes: 1 << 20,
            ..Options::default()
        };
        Journal::open(disk, dir, &owner, &options).unwrap()
    };
    let store: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
    let (journal, recovered) = open(&sim);
    let identity = recovered.identity;
    assert!(
        !register(&*store, &registration(NODE), &identity)
            .await
            .unwrap()
    );
    let copy = sim.image(2);
    let thread = JournalThread::start(journal).unwrap();
    let device = Arc::new(ThreadDevice::new(thread, Arc::new(RealDisk), dir, 1));
    let shutdown = Shutdown::new();
    let raising = tokio::spawn(keep_raising(
        Arc::clone(&store),
        NODE.into(),
        device.clone(),
        Duration::from_millis(10),
        shutdown.clone(),
    ));
    let raised_twice = async {
        let mut changes = store.watch(NODE_PREFIX, 0).await.unwrap();
        while let Some(change) = changes.next().await {
            let change = change.unwrap();
            let bytes = change.events[0].value.as_ref().unwrap();
            let registered = NodeRegistration::decode(&node_key(NODE), bytes).unwrap();
            if registered.generation >= identity.generation + 2 {
                return;
            }
        }
    };
    let raised = tokio::time::timeout(Duration::from_secs(60), raised_twice);
    raised.await.expect("it is raised");
    shutdown.trigger();
    raising.await.unwrap();
    drop(device);
    // The disk itself goes on.
    let stored = stored_identity(&sim, dir).unwrap().unwrap();
    recognise(&*store, NODE, &stored).await.unwrap();
    let (_, recovered) = open(&sim);
    assert!(
        !register(&*store, &registration(NODE), &recovered.identity)
            .await
            .unwrap()
    );
    // The copy of the time before does not.
    let stored = stored_identity(&copy, dir).unwrap().unwrap();
    recognise(&*store, NODE, &stored).await.unwrap();
    let (_, recovered) = open(&copy);
    assert!(
        register(&*store, &registration(NODE), &recovered.identity)
            .await
            .unwrap()
    );
}
