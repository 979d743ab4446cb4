//! What a file adds to the contract: durability, damage, full disks.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use holdfast_types::{Code, Coded};
use redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{backend::Faults, *};
use crate::{contract, contract::put};

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn open(path: &Path) -> Result<RedbStore, MetaError> {
    RedbStore::open(path).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds() {
    let directory = directory();
    let count = std::sync::atomic::AtomicUsize::new(0);
    contract::run_embedded(|| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let path = directory.path().join(format!("{n}.redb"));
        async move { Arc::new(open(&path).await.unwrap()) as Arc<dyn MetaStore> }
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    let store = open(&path).await.unwrap();
    for i in 0..20 {
        put(&store, &format!("k/{i}"), &i.to_string())
            .await
            .unwrap();
    }
    let txn = Txn::new().delete("k/3").delete("k/4");
    assert_eq!(
        store.txn(txn).await.unwrap(),
        TxnOutcome::Done { revision: 21 }
    );
    let before = store.range("").await.unwrap();
    drop(store);
    let store = open(&path).await.unwrap();
    assert_eq!(store.range("").await.unwrap(), before);
    // What happened before the file was opened is not remembered, and nobody may think it is.
    let watch = store.watch("", 20).await;
    assert!(matches!(watch.err(), Some(MetaError::Compacted { .. })));
    assert!(store.watch("", 21).await.is_ok());
    assert_eq!(put(&store, "k/3", "again").await.unwrap(), 22);
}

/// What kill -9 leaves is what the file holds at that moment, without any closing.
#[tokio::test]
async fn a_file_that_was_never_closed_holds_every_acknowledged_transaction() {
    let directory = directory();
    let store = open(&directory.path().join("meta.redb")).await.unwrap();
    for i in 0..10 {
        put(&store, &format!("k/{i}"), &"v".repeat(i * 1_000))
            .await
            .unwrap();
        let copy = directory.path().join(format!("copy-{i}.redb"));
        fs::copy(store.path(), &copy).unwrap();
        let copy = open(&copy).await.unwrap();
        assert_eq!(
            copy.range("").await.unwrap(),
            store.range("").await.unwrap()
        );
    }
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lives() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    let store = open(&path).await.unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, MetaError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("meta.redb"), "{error}");
    drop(store);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn a_foreign_file_is_refused_by_name_and_left_as_it_is() {
    let directory = directory();
    let text = directory.path().join("notes.txt");
    fs::write(&text, "dear diary ".repeat(1_000)).unwrap();
    let short = directory.path().join("short");
    fs::write(&short, "x").unwrap();
    let stranger = directory.path().join("stranger.redb");
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let database = Database::create(&stranger).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(table).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    for path in [text, short, stranger] {
        let before = fs::read(&path).unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, MetaError::Damaged { .. }), "{error:?}");
        assert_eq!(error.code(), Code::Corrupt);
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        if path.extension().is_none_or(|e| e != "redb") {
            assert_eq!(fs::read(&path).unwrap(), before);
        }
    }
}

#[tokio::test]
async fn a_missing_directory_is_an_io_error_that_names_the_file() {
    let directory = directory();
    let path = directory.path().join("absent/meta.redb");
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, MetaError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("absent/meta.redb"), "{error}");
}

/// A flipped byte may hit a page that is not in use; then everything is there. Never may something else
/// be read.
#[tokio::test]
async fn a_damaged_file_is_refused_or_reads_as_it_was_written() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    let store = open(&path).await.unwrap();
    for i in 0..200 {
        let txn = Txn::new().put(format!("key/{i:03}"), Bytes::from(vec![b'v'; 300]));
        assert_eq!(
            store.txn(txn).await.unwrap(),
            TxnOutcome::Done { revision: i + 1 }
        );
    }
    let before = store.range("").await.unwrap();
    drop(store);
    let bytes = fs::read(&path).unwrap();
    let damaged = directory.path().join("damaged.redb");
    let mut refused = 0;
    // The header, then one place in each page that is written.
    let header = 0..320;
    let pages = bytes.chunks(4_096).enumerate().skip(1);
    let used = pages.filter_map(|(page, bytes)| {
        let place = bytes
            .iter()
            .skip(page % 1_000)
            .position(|byte| *byte != 0)?;
        Some(page * 4_096 + page % 1_000 + place)
    });
    let places: Vec<usize> = header.step_by(9).chain(used.step_by(2)).collect();
    assert!(places.len() > 50, "{}", places.len());
    for place in &places {
        let mut copy = bytes.clone();
        copy[*place] ^= 0x10;
        fs::write(&damaged, copy).unwrap();
        match open(&damaged).await {
            Ok(store) => assert_eq!(store.range("").await.unwrap(), before, "byte {place}"),
            Err(error) => {
                assert!(error.to_string().contains("damaged.redb"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused} of {}", places.len());
    for cut in [100, 4_096, bytes.len() / 2, bytes.len() - 4_096] {
        fs::write(&damaged, &bytes[..cut]).unwrap();
        match open(&damaged).await {
            Ok(store) => assert_eq!(store.range("").await.unwrap(), before, "cut at {cut}"),
            Err(error) => assert!(error.to_string().contains("damaged.redb"), "{error}"),
        }
    }
}

async fn open_with_faults(path: &Path) -> (RedbStore, Arc<Faults>) {
    let opener = Opener::new(path.to_owned());
    let faults = Arc::clone(&opener.faults);
    (RedbStore::open_with(opener).await.unwrap(), faults)
}

fn set(fault: &AtomicBool, on: bool) {
    fault.store(on, Ordering::Release);
}

/// Fills the store until it refuses; returns the number of keys it took.
async fn fill(store: &RedbStore, from: usize) -> (usize, MetaError) {
    let value = "v".repeat(100_000);
    for i in from..from + 1_000 {
        if let Err(error) = put(store, &format!("k/{i:04}"), &value).await {
            return (i, error);
        }
    }
    panic!("it never refused");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    for fault in ["no_growth", "no_writes", "no_header"] {
        let (store, faults) = open_with_faults(&path).await;
        let fault = match fault {
            "no_growth" => &faults.no_growth,
            "no_writes" => &faults.no_writes,
            _ => &faults.no_header,
        };
        let start = store.range("").await.unwrap().items.len();
        put(&store, &format!("k/{start:04}"), "first")
            .await
            .unwrap();
        set(fault, true);
        let (stored, error) = fill(&store, start + 1).await;
        assert!(matches!(error, MetaError::StorageFull { .. }), "{error:?}");
        assert_eq!(error.code(), Code::QuotaExceeded);
        let full = store.range("").await.unwrap();
        assert_eq!(full.items.len(), stored);
        for _ in 0..3 {
            let error = put(&store, "large", &"v".repeat(1 << 20))
                .await
                .unwrap_err();
            assert!(matches!(error, MetaError::StorageFull { .. }), "{error:?}");
        }
        assert_eq!(store.range("").await.unwrap(), full);
        set(fault, false);
        let revision = put(&store, &format!("k/{stored:04}"), "room")
            .await
            .unwrap();
        assert_eq!(revision, full.revision + 1);
        let after = store.range("").await.unwrap();
        drop(store);
        let store = open(&path).await.unwrap();
        assert_eq!(store.range("").await.unwrap(), after);
    }
}

#[tokio::test]
async fn a_failed_fsync_is_an_unknown_outcome_and_ends_writing() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    let (store, faults) = open_with_faults(&path).await;
    put(&store, "a", "1").await.unwrap();
    set(&faults.no_sync, true);
    let error = put(&store, "a", "2").await.unwrap_err();
    assert_eq!(error.code(), Code::OutcomeUnknown, "{error:?}");
    set(&faults.no_sync, false);
    let error = put(&store, "b", "1").await.unwrap_err();
    assert!(matches!(error, MetaError::Closed(_)), "{error:?}");
    assert_eq!(store.get("a").await.unwrap().unwrap().value, "1");
    drop(store);
    let store = open(&path).await.unwrap();
    let a = store.get("a").await.unwrap().unwrap().value;
    assert!(a == "1" || a == "2", "{a:?}");
    put(&store, "a", "3").await.unwrap();
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_whole_transactions() {
    let directory = directory();
    let store = Arc::new(open(&directory.path().join("meta.redb")).await.unwrap());
    for i in 0..20 {
        let value = Bytes::from(i.to_string());
        let txn = Txn::new().put("a", value.clone()).put("b", value);
        let task = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.txn(txn).await }
        });
        tokio::task::yield_now().await;
        task.abort();
    }
    // Comes after all that were begun.
    put(&*store, "c", "end").await.unwrap();
    let value = |v: Option<Versioned>| v.map(|v| v.value);
    let a = value(store.get("a").await.unwrap());
    assert_eq!(a, value(store.get("b").await.unwrap()));
}

#[tokio::test]
async fn a_new_file_appears_whole_or_not_at_all() {
    let directory = directory();
    let path = directory.path().join("meta.redb");
    let opener = Opener::new(path.clone());
    // Dies at the first write, and at the first fsync.
    for fault in [&opener.faults.no_writes, &opener.faults.no_sync] {
        set(fault, true);
        opener.open_checked().unwrap_err();
        set(fault, false);
        assert!(!path.exists());
    }
    // What a killed process left behind is in nobody's way.
    fs::write(opener.unborn(), "rubbish").unwrap();
    drop(opener.open_checked().unwrap());
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    open(&path).await.unwrap();
}
