//! The bytes of format version 1, kept for ever: they are written as they were, and read as they were.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use holdfast_disk::SimDisk;
use holdfast_qlog::NodeRecord;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};

use super::model::{DIR, Model, append, check, open_segment, opened};

const GOLDEN: &str = include_str!("golden/version_1.txt");
/// Bytes in a line of the dump.
const LINE: usize = 32;

/// One record of each kind, a checkpoint, a roll, an index, a moved entry, a start, an end.
fn write(disk: &SimDisk) -> Model {
    let mut model = Model::default();
    let (log, segment) = (ChannelId(1), LogSegment(1));
    let (mut journal, _) = opened(disk);
    let mut write = |journal: &mut crate::Journal, records: &[NodeRecord]| {
        journal.append(records).expect("a healthy disk");
        records.iter().for_each(|r| model.apply(r));
    };
    let epoch = Epoch(3);
    write(&mut journal, &[NodeRecord::Promise { log, epoch }]);
    write(
        &mut journal,
        &[
            open_segment(1, 1, 3, 1),
            open_segment(2, 1, 1, 9),
            append(1, 1, 1, b"first"),
            append(2, 1, 9, b""),
        ],
    );
    write(
        &mut journal,
        &[append(1, 1, 2, b"second"), append(1, 1, 3, b"third")],
    );
    let end = Lsn(2);
    write(&mut journal, &[NodeRecord::Finish { log, segment, end }]);
    // Larger than what is left: the next file begins.
    write(&mut journal, &[append(2, 1, 10, &[0; 45_000])]);
    let moved = model.entries[&(log, segment, Lsn(2))].clone();
    journal
        .mend(log, segment, &[moved])
        .expect("a healthy disk");
    let mut write = |journal: &mut crate::Journal, records: &[NodeRecord]| {
        journal.append(records).expect("a healthy disk");
        records.iter().for_each(|r| model.apply(r));
    };
    write(
        &mut journal,
        &[
            open_segment(3, 1, 1, 1),
            NodeRecord::Trim {
                log: ChannelId(3),
                segment,
            },
        ],
    );
    journal.close().expect("a healthy disk");
    model
}

/// Files as text: a line for each 32 bytes that are not all zero.
fn dump(disk: &SimDisk) -> String {
    let mut text = String::new();
    for (path, bytes) in disk.durable_files() {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("spare-") {
            continue;
        }
        writeln!(text, "{name} {}", bytes.len()).expect("memory");
        for (at, line) in bytes.chunks(LINE).enumerate() {
            if line.iter().any(|&b| b != 0) {
                write!(text, "{:06x} ", at * LINE).expect("memory");
                for byte in line {
                    write!(text, "{byte:02x}").expect("memory");
                }
                text.push('\n');
            }
        }
    }
    text
}

fn restore(text: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut current = PathBuf::new();
    for line in text.lines() {
        let (left, right) = line.split_once(' ').expect("two words a line");
        if left.contains('.') || left == "identity" {
            current = Path::new(DIR).join(left);
            let len = right.parse().expect("its length");
            files.insert(current.clone(), vec![0; len]);
            continue;
        }
        let at = usize::from_str_radix(left, 16).expect("an offset");
        let file = files.get_mut(&current).expect("a file's name comes first");
        for (byte, at) in right.as_bytes().chunks(2).zip(at..) {
            let byte = std::str::from_utf8(byte).expect("digits");
            file[at] = u8::from_str_radix(byte, 16).expect("hexadecimal");
        }
    }
    for (path, bytes) in files {
        disk.put(&path, &bytes);
    }
    disk
}

#[test]
fn version_1_is_written_as_ever() {
    let disk = SimDisk::new(1);
    write(&disk);
    let written = dump(&disk);
    if written != GOLDEN {
        let path = std::env::temp_dir().join("holdfast-journal-version_1.txt");
        std::fs::write(&path, &written).expect("a temporary directory");
        panic!(
            "the bytes differ from what was ever written: {}",
            path.display()
        );
    }
}

#[test]
fn version_1_is_read_as_ever() {
    let model = write(&SimDisk::new(1));
    let (journal, recovered) = opened(&restore(GOLDEN));
    assert_eq!(recovered.damage, []);
    assert_eq!(recovered.identity.generation, 2);
    check(&journal, &model, "golden");
    assert_eq!(journal.verify().expect("readable").damage, []);
}
