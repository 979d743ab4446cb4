//! Log records, and directories of log files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use holdfast_types::{
    ChannelId, CollectionId, DataType, Epoch, Lsn, PartitionId, PkList, Timestamp,
};
use holdfast_wal::{
    AppendError, LocalWal, Record, RecordPart, Wal, WalError, WriteRecord, local::Options,
};
use tempfile::TempDir;

use crate::{checksums, edits, sample, stored::block_on};

static RECORD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let schema = sample::schema(DataType::Int64);
    let part = |shard, rows, deletes| RecordPart {
        shard,
        partition: PartitionId(7),
        rows,
        deletes,
        delete_partition: (shard == 1).then_some(PartitionId(7)),
    };
    let record = Record::Write(WriteRecord {
        ts: Timestamp(1 << 40),
        collection: CollectionId(5),
        request: Some((1, 2)),
        parts: vec![
            part(
                0,
                Some(sample::rows(&schema, 9)),
                Some(PkList::Int(vec![1, -1])),
            ),
            part(1, None, Some(PkList::Str(vec!["a".into(), "".into()]))),
        ],
    });
    record.encode().expect("the sample can be encoded").to_vec()
});

/// Decodes a record. What was accepted can be written again, and every row of it can be read.
pub fn record(input: &[u8]) {
    let bytes = edits::file(&RECORD, input, |_| {});
    let Ok(record) = Record::decode(Bytes::from(bytes)) else {
        return;
    };
    if let Record::Write(write) = &record {
        for batch in write.parts.iter().filter_map(|p| p.rows.as_ref()) {
            for column in batch.columns() {
                drop(PkList::from_array(&**column));
                drop(
                    column
                        .slice(0, column.len().min(3))
                        .to_data()
                        .validate_full(),
                );
            }
        }
    }
    drop(record.encode());
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn directory_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a temporary directory can be made")
}

const CHANNEL: ChannelId = ChannelId(0);

fn log_files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("channel-0"))
        .expect("the channel has a directory")
        .map(|entry| entry.expect("its entries can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "wal"))
        .collect();
    files.sort();
    files
}

/// A log of two writers, in one file.
static LOG: LazyLock<(String, Vec<u8>)> = LazyLock::new(|| {
    let root = directory_in_memory();
    for epoch in 1..=2 {
        let wal = LocalWal::open(root.path(), options()).expect("a new directory can be opened");
        block_on(async {
            let (writer, _) = wal
                .open_writer(CHANNEL, Epoch(epoch))
                .await
                .expect("a new epoch");
            for payload in [vec![b'a'; 10], vec![b'b'; 5_000], Vec::new()] {
                writer
                    .append(payload.into())
                    .1
                    .await
                    .expect("there is room");
            }
        });
    }
    let file = log_files(root.path()).pop().expect("there is a log file");
    let name = file
        .file_name()
        .expect("it has a name")
        .to_string_lossy()
        .into_owned();
    (name, fs::read(&file).expect("it can be read"))
});

/// Opens a directory whose log file is the input, as a new writer does, and reads all of it. When the log
/// is accepted, every record up to the end that it names is there, and it takes a further one.
pub fn directory(input: &[u8]) {
    let (name, valid) = &*LOG;
    let mut bytes = edits::file(valid, input, checksums::log_file);
    bytes.truncate(1 << 20);
    let root = directory_in_memory();
    let channel = root.path().join("channel-0");
    fs::create_dir(&channel).expect("the directory is new");
    fs::write(channel.join(name), bytes).expect("there is room");
    let wal = LocalWal::open(root.path(), options()).expect("nobody else has the directory");
    block_on(async {
        let (writer, last) = match wal.open_writer(CHANNEL, Epoch(u64::MAX - 1)).await {
            Ok(opened) => opened,
            Err(error) => {
                // What a panic of a thread of the log looks like from here.
                assert!(
                    !matches!(
                        error,
                        WalError::Io {
                            doing: "finish work on",
                            ..
                        }
                    ),
                    "{error}"
                );
                return;
            }
        };
        let Ok(mut entries) = wal.tail(CHANNEL, Lsn(1)).await else {
            return;
        };
        let mut next = None;
        while next.unwrap_or(Lsn(1)) <= last {
            let waiting = tokio::time::timeout(Duration::from_secs(5), entries.next()).await;
            let Some(entry) = waiting.expect("a record that the log counts is there") else {
                return;
            };
            let Ok(entry) = entry else { return };
            assert!(
                next.is_none_or(|n| n == entry.lsn),
                "records follow each other"
            );
            next = Some(entry.lsn.next());
        }
        match writer.append(Bytes::from_static(b"more")).1.await {
            Ok(lsn) => assert_eq!(lsn, last.next()),
            Err(error) => assert!(matches!(error, AppendError::Full(_)), "{error}"),
        }
    });
}
