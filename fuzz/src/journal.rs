//! The journal of a log-node: its records, and a directory of it.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use holdfast_disk::{Disk, SimDisk};
use holdfast_journal::{Journal, Options, Owner, codec, error::Loss};
use holdfast_qlog::{
    Copies, CopyHolder, Entry, NodeRecord, RequestId, SegmentOpen, StorageId, Zone,
    messages::ClusterId,
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::{checksums, edits};

const LOG: ChannelId = ChannelId(1);
const SEGMENT: LogSegment = LogSegment(1);
const DIR: &str = "/journal";

fn options() -> Options {
    Options {
        file_bytes: 64 << 10,
        batch_bytes_max: 16 << 10,
        ..Options::default()
    }
}

fn owner() -> Owner {
    Owner {
        cluster: ClusterId([7; 16]),
        storage: None,
        fresh: (StorageId([1; 16]), [2; 16]),
    }
}

fn open_segment() -> NodeRecord {
    let holder = |n: u8| CopyHolder {
        node: format!("node-{n}").into(),
        storage: StorageId([n; 16]),
        zone: Zone(format!("zone-{n}").into()),
    };
    NodeRecord::SegmentOpen {
        log: LOG,
        segment: SEGMENT,
        open: SegmentOpen {
            epoch: Epoch(3),
            first: Lsn(1),
            copies: Copies {
                holders: (1..=3).map(holder).collect(),
                quorum: 2,
                zones: 2,
            },
        },
    }
}

fn append(lsn: u64, len: usize) -> NodeRecord {
    let request = lsn.is_multiple_of(2).then_some(RequestId {
        client: 5,
        sequence: lsn,
    });
    let payload = Bytes::from(vec![lsn as u8; len]);
    NodeRecord::Append {
        log: LOG,
        segment: SEGMENT,
        epoch: Epoch(3),
        committed: Lsn(lsn - 1),
        entry: Entry::new(LOG, Lsn(lsn), Timestamp(lsn), request, payload),
    }
}

/// One record of each kind.
static RECORDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let records = [
        open_segment(),
        append(2, 40),
        NodeRecord::Promise {
            log: LOG,
            epoch: Epoch(9),
        },
        NodeRecord::Finish {
            log: LOG,
            segment: SEGMENT,
            end: Lsn(2),
        },
        NodeRecord::Trim {
            log: LOG,
            segment: SEGMENT,
        },
    ];
    let encoded = records.iter().map(codec::encode);
    encoded.map(|r| r.expect("small")).collect()
});

/// Decodes a record; the first byte says which valid one the edits are of. What was accepted is written again as it
/// was read.
pub fn record(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let valid = &RECORDS[usize::from(which) % RECORDS.len()];
    let bytes = edits::file(valid, input, |bytes| {
        checksums::journal_record(bytes, 0);
    });
    if let Ok(record) = codec::decode(&bytes.clone().into()) {
        let again = codec::encode(&record).expect("what was read is within bounds");
        assert_eq!(codec::decode(&again.into()), Ok(record));
    }
}

/// A journal of two files, and its names.
static JOURNAL: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let (mut journal, _) = open(&disk).expect("an empty disk");
    let mut write = |records: &[NodeRecord]| journal.append(records).expect("there is room");
    write(&[open_segment(), append(1, 100)]);
    write(&[append(2, 9_000), append(3, 10)]);
    write(&[NodeRecord::Promise {
        log: LOG,
        epoch: Epoch(7),
    }]);
    write(&[append(4, 45_000)]);
    write(&[append(5, 1), append(6, 1)]);
    journal.close().expect("a healthy disk");
    let files = disk.durable_files().into_iter();
    let files = files.map(|(path, bytes)| {
        let name = path.file_name().expect("a file").to_string_lossy();
        (name.into_owned(), bytes)
    });
    files
        .filter(|(name, _)| !name.starts_with("spare-"))
        .collect()
});

fn open(
    disk: &SimDisk,
) -> Result<(Journal, holdfast_journal::Recovered), holdfast_journal::JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Journal::open(disk, Path::new(DIR), &owner(), &options())
}

/// Opens a journal of which one file, chosen by the first byte, is the input; reads all of it, looks at every byte, and
/// goes on writing. Without valid checksums made anew, whatever is read is what was written, and no promise is lost.
pub fn directory(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let which = usize::from(which) % JOURNAL.len();
    let disk = SimDisk::new(1);
    for (at, (name, valid)) in JOURNAL.iter().enumerate() {
        let mut bytes = valid.clone();
        if at == which {
            bytes = edits::file(valid, input, |bytes| match name {
                name if name.ends_with(".journal") => checksums::journal_file(bytes),
                name if name.ends_with(".idx") => checksums::journal_index(bytes),
                _ => checksums::journal_identity(bytes),
            });
            bytes.truncate(1 << 20);
        }
        disk.put(&Path::new(DIR).join(name), &bytes);
    }
    let Ok((mut journal, recovered)) = open(&disk) else {
        return;
    };
    let honest = input.first().is_none_or(|mode| mode & 2 == 0);
    let reader = journal.reader();
    for (log, image) in &recovered.image.logs {
        for (segment, held) in &image.segments {
            let mut next = held.first;
            while let Ok(entries) = reader.read(*log, *segment, next, 1 << 20) {
                let Some(last) = entries.last() else { break };
                for entry in &entries {
                    assert!(entry.is_intact(*log), "entries are checked");
                }
                next = last.lsn.next();
            }
        }
    }
    let control_is_certain = recovered.damage.iter().all(|d| d.loss != Loss::Control);
    if honest && control_is_certain {
        let promise = recovered.image.logs.get(&LOG).map(|log| log.promise);
        let cut = recovered.damage.iter().any(|d| d.problem == "cut short");
        assert!(cut || promise == Some(Epoch(7)), "{recovered:?}");
    }
    drop(journal.verify());
    let more = NodeRecord::Promise {
        log: ChannelId(99),
        epoch: Epoch(u64::MAX),
    };
    let outcome = journal.append(&[more]);
    assert!(outcome.is_ok(), "{outcome:?}");
}
