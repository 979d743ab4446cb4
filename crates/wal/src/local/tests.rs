//! Tests of `local`.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;

use holdfast_disk::SimDisk;

use super::{
    files::Files,
    format::{BLOCK_LEN, FileHeader},
    journal::Journal,
    *,
};
use crate::{
    contract,
    wal::{AppendError, WalEntry},
};

const CHANNEL: ChannelId = ChannelId(1);

fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        reserve_bytes: 0,
        ring_bytes_max: 50_000,
        ..Options::default()
    }
}

fn on(disk: &SimDisk, options: Options) -> LocalWal {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    LocalWal::on_disk(disk, PathBuf::from("/wal"), options, None).unwrap()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from("/wal/channel-1").join(name)
}

fn payload(i: u64) -> Bytes {
    format!("record number {i}").into()
}

async fn append(writer: &dyn WalWriter, i: u64) -> Lsn {
    writer.append(payload(i)).1.await.unwrap()
}

async fn read_all(wal: &LocalWal, from: Lsn) -> Result<Vec<WalEntry>, WalError> {
    let last = wal.committed(CHANNEL).await?;
    let mut tail = wal.tail(CHANNEL, from).await?;
    let mut entries = Vec::new();
    for _ in from.0..=last.0 {
        entries.push(tail.next().await.unwrap()?);
    }
    Ok(entries)
}

#[tokio::test]
async fn the_contract_holds_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    contract::run(async || LocalWal::open(dir.path(), small()).unwrap()).await;
}

#[tokio::test]
async fn the_contract_holds_on_the_disk_of_the_tests() {
    let disk = SimDisk::new(1);
    contract::run(async || on(&disk, small())).await;
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let held = LocalWal::open(dir.path(), small()).unwrap();
    let second = LocalWal::open(dir.path(), small());
    assert!(matches!(second, Err(WalError::Locked { .. })));
    drop(held);
    LocalWal::open(dir.path(), small()).unwrap();
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = Options {
        segment_bytes: 100_000,
        ..Options::default()
    };
    let refused = LocalWal::on_disk(disk, PathBuf::new(), options, None).unwrap_err();
    assert!(
        refused.to_string().starts_with("segment_bytes: "),
        "{refused}"
    );
}

#[tokio::test]
async fn a_large_record_gets_a_file_of_its_own_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let large = Bytes::from(vec![5; 3 << 20]);
    {
        let wal = LocalWal::open(dir.path(), small()).unwrap();
        let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
        append(&*writer, 1).await;
        writer.append(large.clone()).1.await.unwrap();
        append(&*writer, 3).await;
    }
    let wal = LocalWal::open(dir.path(), small()).unwrap();
    let entries = read_all(&wal, Lsn(1)).await.unwrap();
    assert_eq!(entries[1].payload, large);
    assert_eq!(entries[2].payload, payload(3));
    wal.trim(CHANNEL, Lsn(2)).await.unwrap();
    let sizes: BTreeSet<u64> = std::fs::read_dir(dir.path().join("channel-1"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.iter().all(|&len| len <= 64 << 10), "{sizes:?}");
}

#[tokio::test]
async fn a_record_that_is_too_large_takes_no_lsn() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    let vast = Bytes::from(vec![0; crate::wal::MAX_RECORD_BYTES + 1]);
    let refused = writer.append(vast).1.await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(append(&*writer, 1).await, Lsn(1));
}

#[tokio::test]
async fn a_full_disk_rejects_and_the_writer_recovers_when_there_is_room() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    append(&*writer, 1).await;
    disk.set_free(Some(0));
    let mut last = Lsn(1);
    let rejected = loop {
        // Files prepared before the disk was full are still used.
        match writer.append(Bytes::from(vec![1; 30_000])).1.await {
            Ok(lsn) => last = lsn,
            Err(e) => break e,
        }
        assert!(last < Lsn(100), "nothing is ever full");
    };
    assert!(matches!(rejected, AppendError::Full(_)), "{rejected}");
    let several: Vec<_> = (0..5)
        .map(|_| writer.append(Bytes::from(vec![2; 30_000])).1)
        .collect();
    for done in several {
        assert!(matches!(done.await, Err(AppendError::Full(_))));
    }
    disk.set_free(None);
    assert_eq!(append(&*writer, 7).await, last.next(), "LSNs stay dense");
    drop(wal);
    let wal = on(&disk, small());
    let entries = read_all(&wal, Lsn(1)).await.unwrap();
    assert_eq!(entries.len() as u64, last.0 + 1);
    assert_eq!(entries.last().unwrap().payload, payload(7));
    assert!(entries.iter().all(|e| e.payload.first() != Some(&2)));
}

#[tokio::test]
async fn a_failed_sync_is_final_and_readers_keep_what_is_durable() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    append(&*writer, 1).await;
    disk.set_faults(holdfast_disk::Faults {
        failed_sync: 1.0,
        ..Default::default()
    });
    let unknown = writer.append(payload(2)).1.await;
    assert!(
        matches!(unknown, Err(AppendError::Unknown(_))),
        "{unknown:?}"
    );
    disk.set_faults(holdfast_disk::Faults::default());
    let later = writer.append(payload(3)).1.await;
    assert!(matches!(later, Err(AppendError::Poisoned)), "{later:?}");
    let reopened = wal.open_writer(CHANNEL, Epoch(2)).await;
    assert!(matches!(reopened, Err(WalError::Poisoned)));
    let entries = read_all(&wal, Lsn(1)).await.unwrap();
    assert_eq!(entries.len(), 1);
    writer.ready().await;
}

#[tokio::test]
async fn readers_that_fall_behind_read_files_and_meet_the_ring() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    let mut slow = wal.tail(CHANNEL, Lsn(1)).await.unwrap();
    let bulky = |i: u64| Bytes::from(vec![(i % 251) as u8; 5_000]);
    for i in 1..=200 {
        writer.append(bulky(i)).1.await.unwrap();
    }
    for i in 1..=200 {
        let entry = slow.next().await.unwrap().unwrap();
        assert_eq!((entry.lsn, entry.payload), (Lsn(i), bulky(i)));
    }
    drop((writer, wal));
    assert!(slow.next().await.is_none(), "a closed log ends its readers");
}

#[tokio::test]
async fn a_reader_overtaken_by_trimming_is_told_and_ends() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    let mut slow = wal.tail(CHANNEL, Lsn(1)).await.unwrap();
    for _ in 0..100 {
        writer.append(Bytes::from(vec![0; 30_000])).1.await.unwrap();
    }
    wal.trim(CHANNEL, Lsn(90)).await.unwrap();
    let told = slow.next().await.unwrap();
    assert!(
        matches!(told, Err(WalError::Trimmed { first }) if first > Lsn(80)),
        "{told:?}"
    );
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn trimmed_files_are_used_again_and_their_old_records_stay_gone() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    for round in 0..30 {
        for _ in 0..4 {
            writer
                .append(Bytes::from(vec![round; 20_000]))
                .1
                .await
                .unwrap();
        }
        wal.trim(CHANNEL, Lsn(u64::from(round) * 4)).await.unwrap();
    }
    let names = disk.list(&file("x").with_file_name("")).unwrap();
    assert!(names.len() < 10, "{names:?}");
    drop((writer, wal));
    let wal = on(&disk, small());
    assert_eq!(wal.committed(CHANNEL).await.unwrap(), Lsn(120));
    let entries = read_all(&wal, Lsn(117)).await.unwrap();
    assert!(entries.iter().all(|e| e.payload[0] == 29));
}

#[tokio::test]
async fn what_is_queued_during_a_sync_becomes_one_batch() {
    let disk = SimDisk::new(1);
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    append(&*writer, 0).await;
    let before = disk.syncs();
    let appends: Vec<_> = (0..2_000).map(|i| writer.append(payload(i)).1).collect();
    for done in appends {
        done.await.unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs < 1_000, "{syncs} syncs for 2000 records");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_appenders_and_readers_agree_on_one_order() {
    let disk = SimDisk::new(1);
    disk.set_faults(holdfast_disk::Faults {
        short_write: 0.2,
        ..Default::default()
    });
    let wal = on(&disk, small());
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    let writer: Arc<dyn WalWriter> = writer.into();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let tail = wal.tail(CHANNEL, Lsn(1)).await.unwrap();
        readers.spawn(tail.take(1_200).map(Result::unwrap).collect::<Vec<_>>());
    }
    let mut appenders = tokio::task::JoinSet::new();
    for appender in 0..4_u64 {
        let writer = Arc::clone(&writer);
        appenders.spawn(async move {
            let mut mine = Vec::new();
            for i in 0..300 {
                let payload = Bytes::from(format!("{appender} {i} {:2000}", ' '));
                let (lsn, done) = writer.append(payload.clone());
                assert_eq!(done.await.unwrap(), lsn);
                mine.push((lsn, payload));
            }
            mine
        });
    }
    let mut appended = appenders.join_all().await.concat();
    appended.sort_unstable();
    for seen in readers.join_all().await {
        let seen: Vec<_> = seen.into_iter().map(|e| (e.lsn, e.payload)).collect();
        assert!(seen == appended, "a reader saw something else");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_ready_waits_for_room() {
    let disk = SimDisk::new(1);
    let options = Options {
        queue_bytes_max: 1,
        ..small()
    };
    let wal = on(&disk, options);
    let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
    let mut appended = 0;
    let mut busy = 0;
    for i in 0..500 {
        let (_, done) = writer.append(payload(i));
        match done.await {
            Ok(_) => appended += 1,
            Err(AppendError::Busy { .. }) => busy += 1,
            Err(e) => panic!("{e}"),
        }
        writer.ready().await;
        let (a, b) = (writer.append(payload(i)).1, writer.append(payload(i)).1);
        for done in [a, b] {
            match done.await {
                Ok(_) => appended += 1,
                Err(AppendError::Busy { .. }) => busy += 1,
                Err(e) => panic!("{e}"),
            }
        }
    }
    assert_eq!(appended + busy, 1_500);
    assert!(busy > 0, "the queue never filled up");
    assert_eq!(wal.committed(CHANNEL).await.unwrap(), Lsn(appended));
}

#[tokio::test]
async fn a_missing_file_in_the_middle_is_noticed_at_once() {
    let disk = SimDisk::new(1);
    {
        let wal = on(&disk, small());
        let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
        for _ in 0..6 {
            writer.append(Bytes::from(vec![0; 40_000])).1.await.unwrap();
        }
    }
    disk.remove(&file("00000000000000000003.wal")).unwrap();
    let refused = on(&disk, small()).committed(CHANNEL).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("00000000000000000004.wal") && text.contains("record 3"),
        "{text}"
    );
}

/// A log without its newest file used to be taken for a shorter one: what was acknowledged was gone without
/// a word, and its positions were given out again.
#[tokio::test]
async fn a_missing_newest_file_is_noticed_whether_or_not_there_are_older_ones() {
    for records in [1, 6] {
        let disk = SimDisk::new(1);
        {
            let wal = on(&disk, small());
            let (writer, _) = wal.open_writer(CHANNEL, Epoch(1)).await.unwrap();
            for _ in 0..records {
                writer.append(Bytes::from(vec![0; 40_000])).1.await.unwrap();
            }
        }
        let newest = format!("{records:020}.wal");
        disk.remove(&file(&newest)).unwrap();
        let refused = on(&disk, small()).committed(CHANNEL).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, WalError::Corrupt { .. }), "{text}");
        assert!(text.contains(&newest) && text.contains("missing"), "{text}");
    }
}

#[tokio::test]
async fn either_copy_of_the_epoch_is_enough_and_neither_is_refused() {
    let disk = SimDisk::new(1);
    on(&disk, small())
        .open_writer(CHANNEL, Epoch(9))
        .await
        .unwrap();
    let intact = disk.bytes(&file("epoch"));
    for damaged in [vec![10], vec![4096 + 10], vec![10, 4096 + 10]] {
        disk.damage(&file("epoch"), |bytes| {
            bytes.clone_from(&intact);
            for &at in &damaged {
                bytes[at] ^= 1;
            }
        });
        let opened = on(&disk, small())
            .open_writer(CHANNEL, Epoch(9))
            .await
            .err();
        match damaged.len() {
            1 => assert!(matches!(opened, Some(WalError::Fenced { newer: Epoch(9) }))),
            _ => assert!(
                matches!(opened, Some(WalError::Corrupt { .. })),
                "{opened:?}"
            ),
        }
    }
}

/// A log of two files whose last is closed by a mark, and what is in it.
fn two_files(disk: &SimDisk) -> Vec<(Lsn, Bytes)> {
    let sizes = holdfast_disk::FileSizes {
        segment: 64 << 10,
        reserve: 0,
    };
    let dir = PathBuf::from("/wal/channel-1");
    let (files, recovered) = Files::open(Arc::new(disk.clone()), dir, CHANNEL, sizes).unwrap();
    let mut journal = Journal::new(Arc::new(files), recovered);
    let records: Vec<Bytes> = vec![
        payload(1),
        Bytes::from(vec![2; 55_000]),
        payload(3),
        payload(4),
        payload(5),
    ];
    journal.write(Epoch(1), &records[..1]).unwrap();
    journal.write(Epoch(1), &records[1..2]).unwrap();
    journal.write(Epoch(1), &records[2..4]).unwrap();
    journal.write(Epoch(2), &records[4..]).unwrap();
    journal.mark(Epoch(2)).unwrap();
    (1..).map(Lsn).zip(records).collect()
}

/// Opens a damaged log and reads it all: what was written, or an error, and nothing else.
fn is_whole_or_refused(disk: &SimDisk, expected: &[(Lsn, Bytes)]) -> Result<(), WalError> {
    let sizes = holdfast_disk::FileSizes {
        segment: 64 << 10,
        reserve: 0,
    };
    let dir = PathBuf::from("/wal/channel-1");
    let (files, recovered) = Files::open(Arc::new(disk.clone()), dir, CHANNEL, sizes)?;
    let last = recovered.last;
    let entries = super::reader::read(&files, &mut None, Lsn(1), last, usize::MAX)?;
    let found: Vec<_> = entries.into_iter().map(|e| (e.lsn, e.payload)).collect();
    assert!(
        found == expected,
        "{} records, not {}",
        found.len(),
        expected.len()
    );
    Ok(())
}

#[test]
fn damage_to_any_byte_is_refused_or_harmless_but_never_changes_or_shortens_the_log() {
    let disk = SimDisk::new(1);
    let expected = two_files(&disk);
    is_whole_or_refused(&disk, &expected).unwrap();
    let mut refused = 0;
    let mut harmless = 0;
    for name in ["00000000000000000001.wal", "00000000000000000003.wal"] {
        let intact = disk.bytes(&file(name));
        // Every byte of what is in use at the front, then sparsely through the rest.
        let all = (0..4_300).chain(8_100..8_400).chain(12_200..12_400);
        for at in all.chain((12_400..intact.len()).step_by(997)) {
            disk.damage(&file(name), |bytes| bytes[at] ^= 0x10);
            match is_whole_or_refused(&disk, &expected) {
                Ok(()) => harmless += 1,
                Err(WalError::Corrupt { file: named, .. }) => {
                    assert_eq!(named, file(name), "byte {at}");
                    refused += 1;
                }
                Err(e) => panic!("byte {at}: {e}"),
            }
            disk.damage(&file(name), |bytes| bytes.clone_from(&intact));
        }
    }
    // Padding and unused room are harmless; headers and records are not.
    assert!(refused > 8_000 && harmless > 500, "{refused} {harmless}");
}

#[test]
fn a_header_with_right_checksum_and_senseless_capacity_is_refused() {
    let disk = SimDisk::new(1);
    let expected = two_files(&disk);
    let name = "00000000000000000003.wal";
    let intact = disk.bytes(&file(name));
    let header = FileHeader::decode(intact.first_chunk().unwrap()).unwrap();
    for capacity in [
        0,
        1,
        BLOCK - 1,
        BLOCK + 1,
        header.capacity - 1,
        header.capacity + BLOCK,
    ] {
        let header = FileHeader {
            capacity,
            ..header.clone()
        };
        disk.damage(&file(name), |bytes| {
            bytes[..BLOCK_LEN].copy_from_slice(&header.encode());
        });
        let refused = is_whole_or_refused(&disk, &expected).unwrap_err();
        assert!(matches!(refused, WalError::Corrupt { .. }), "{refused}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let disk = SimDisk::new(1);
    let expected = two_files(&disk);
    for name in ["00000000000000000001.wal", "00000000000000000003.wal"] {
        let intact = disk.bytes(&file(name));
        for len in (0..intact.len()).step_by(211).chain([intact.len() - 1]) {
            disk.damage(&file(name), |bytes| bytes.truncate(len));
            let refused = is_whole_or_refused(&disk, &expected).unwrap_err();
            assert!(
                matches!(refused, WalError::Corrupt { .. }),
                "{len}: {refused}"
            );
            disk.damage(&file(name), |bytes| bytes.clone_from(&intact));
        }
    }
}

#[test]
fn a_torn_batch_with_nothing_behind_it_is_cut_off() {
    let disk = SimDisk::new(1);
    let expected = two_files(&disk);
    // The mark and the batch before it, as a crash between their writes and syncs may leave them.
    let name = file("00000000000000000003.wal");
    disk.damage(&name, |bytes| {
        bytes[12_288..12_320].fill(0);
        bytes[8_192 + 45] ^= 1;
    });
    is_whole_or_refused(&disk, &expected[..4]).unwrap();
}

/// A crash tore a batch, and it was cut off. A later writer sent the first record again, then another
/// one; the next crash kept the header of that batch and the remains of the old one behind it.
#[test]
fn remains_of_a_batch_that_was_cut_off_do_not_pass_as_a_later_one() {
    let disk = SimDisk::new(1);
    let name = file("00000000000000000001.wal");
    let sizes = holdfast_disk::FileSizes {
        segment: 64 << 10,
        reserve: 0,
    };
    let open = || {
        let dir = PathBuf::from("/wal/channel-1");
        let (files, recovered) = Files::open(Arc::new(disk.clone()), dir, CHANNEL, sizes).unwrap();
        Journal::new(Arc::new(files), recovered)
    };
    let same = Bytes::from(vec![7; 5_000]);
    let batch = |other: u8| [same.clone(), Bytes::from(vec![other; 300])];
    open().write(Epoch(1), &batch(1)).unwrap();
    let old = disk.bytes(&name);
    disk.damage(&name, |bytes| bytes[4_096..4_128].fill(0));
    let mut journal = open();
    assert_eq!(journal.last(), Lsn(0));
    journal.write(Epoch(2), &batch(2)).unwrap();
    disk.damage(&name, |bytes| {
        bytes[8_192..12_288].copy_from_slice(&old[8_192..12_288]);
    });
    assert_eq!(open().last(), Lsn(0));
}
