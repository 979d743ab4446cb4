//! The rules of the journal, one by one.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use holdfast_disk::{Faults, SimDisk};
use holdfast_qlog::{Entry, NodeRecord, StorageId, messages::ClusterId};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::model::{
    DIR, Model, append, check, open, open_segment, opened, options, owner, read_all,
};
use crate::{AppendError, Journal, JournalError, JournalThread, Options, Owner, ReadError};

fn promise(log: u32, epoch: u64) -> NodeRecord {
    NodeRecord::Promise {
        log: ChannelId(log),
        epoch: Epoch(epoch),
    }
}

fn trim(log: u32, segment: u64) -> NodeRecord {
    NodeRecord::Trim {
        log: ChannelId(log),
        segment: LogSegment(segment),
    }
}

fn write(journal: &mut Journal, model: &mut Model, records: &[NodeRecord]) {
    journal.append(records).unwrap();
    records.iter().for_each(|r| model.apply(r));
}

/// Fills files with entries of a segment, and says what the next LSN is.
fn fill(journal: &mut Journal, model: &mut Model, log: u32, from: u64, files: usize) -> u64 {
    let mut lsn = from;
    while journal.inspect().unwrap().files.len() < files {
        write(journal, model, &[append(log, 1, lsn, &[lsn as u8; 9_000])]);
        lsn += 1;
    }
    lsn
}

#[test]
fn an_empty_directory_becomes_a_new_storage() {
    let disk = SimDisk::new(1);
    let (journal, recovered) = opened(&disk);
    assert_eq!(recovered.identity.storage, owner().fresh.0);
    assert_eq!(recovered.identity.generation, 1);
    assert!(recovered.image.logs.is_empty() && recovered.damage.is_empty());
    drop(journal);
    let other = Owner {
        fresh: (StorageId([9; 16]), [9; 16]),
        ..owner()
    };
    let disk: Arc<dyn holdfast_disk::Disk> = Arc::new(disk);
    let (_, recovered) = Journal::open(disk, Path::new(DIR), &other, &options()).unwrap();
    assert_eq!(recovered.identity.storage, owner().fresh.0, "it has one");
    assert_eq!(recovered.identity.generation, 2, "starts are counted");
}

#[test]
fn a_foreign_disk_is_refused() {
    let disk = SimDisk::new(1);
    drop(opened(&disk));
    let open = |owner: &Owner| {
        let disk: Arc<dyn holdfast_disk::Disk> = Arc::new(disk.clone());
        Journal::open(disk, Path::new(DIR), owner, &options()).map(|_| ())
    };
    let cluster = Owner {
        cluster: ClusterId([8; 16]),
        ..owner()
    };
    let refused = open(&cluster);
    assert!(
        matches!(refused, Err(JournalError::ForeignCluster { .. })),
        "{refused:?}"
    );
    let storage = Owner {
        storage: Some(StorageId([3; 16])),
        ..owner()
    };
    let refused = open(&storage);
    assert!(
        matches!(refused, Err(JournalError::ForeignStorage { .. })),
        "{refused:?}"
    );
    let own = Owner {
        storage: Some(owner().fresh.0),
        ..owner()
    };
    open(&own).unwrap();
}

#[test]
fn missing_files_are_not_taken_for_an_empty_journal() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(&mut journal, &mut model, &[open_segment(1, 1, 1, 1)]);
    fill(&mut journal, &mut model, 1, 1, 3);
    drop(journal);
    drop(opened(&disk));
    let names: Vec<String> = holdfast_disk::Disk::list(&disk, Path::new(DIR)).unwrap();
    for name in names
        .iter()
        .filter(|n| !n.starts_with("spare-") && !n.ends_with(".idx"))
    {
        let copy = disk.image(1);
        holdfast_disk::Disk::remove(&copy, &Path::new(DIR).join(name)).unwrap();
        let oldest =
            name.starts_with("00000000000000000001") || name.starts_with("00000000000000000002");
        match open(&copy) {
            Err(JournalError::Missing { .. }) => assert!(!oldest, "{name}"),
            Ok((journal, recovered)) => {
                assert!(oldest, "{name} is not missed");
                assert!(!recovered.damage.is_empty());
                let held = &recovered.image.logs[&ChannelId(1)].segments[&LogSegment(1)];
                let truth = &model.image.logs[&ChannelId(1)].segments[&LogSegment(1)];
                assert!(held.certain < truth.certain && held.possible >= truth.certain);
                let read =
                    journal
                        .reader()
                        .read(ChannelId(1), LogSegment(1), held.certain.next(), 1);
                assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
            }
            Err(e) => panic!("{name}: {e}"),
        }
    }
}

#[test]
fn records_that_do_not_follow_are_refused_and_write_nothing() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(
        &mut journal,
        &mut model,
        &[promise(1, 5), open_segment(1, 1, 5, 1)],
    );
    let mut forged = append(1, 1, 1, b"x");
    if let NodeRecord::Append { entry, .. } = &mut forged {
        entry.payload = Bytes::from_static(b"y");
    }
    let before = disk.operations();
    for wrong in [
        vec![promise(1, 4)],
        vec![append(1, 1, 2, b"gap")],
        vec![append(1, 1, 1, b"good"), append(1, 1, 3, b"gap")],
        vec![append(2, 1, 1, b"never opened")],
        vec![open_segment(1, 1, 5, 1)],
        vec![forged],
    ] {
        let refused = journal.append(&wrong);
        assert!(
            matches!(
                refused,
                Err(AppendError::OutOfOrder(_) | AppendError::NotIntact { .. })
            ),
            "{wrong:?}: {refused:?}"
        );
    }
    assert_eq!(disk.operations(), before);
    check(&journal, &model, "refused");
    // One bad group does not touch the others, and a good one may follow from another.
    let groups = [
        vec![append(1, 1, 1, b"a")],
        vec![append(1, 1, 3, b"gap")],
        vec![append(1, 1, 2, b"b"), promise(1, 9)],
        vec![append(1, 1, 3, b"c")],
    ];
    let slices: Vec<&[NodeRecord]> = groups.iter().map(Vec::as_slice).collect();
    let outcomes = journal.append_groups(&slices);
    let taken: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, true, true]);
    for (group, outcome) in groups.iter().zip(&outcomes) {
        if outcome.is_ok() {
            group.iter().for_each(|r| model.apply(r));
        }
    }
    check(&journal, &model, "taken");
    drop(journal);
    check(&opened(&disk).0, &model, "opened again");
}

#[test]
fn a_failed_sync_is_final_and_what_was_acknowledged_stays() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(
        &mut journal,
        &mut model,
        &[open_segment(1, 1, 1, 1), append(1, 1, 1, b"kept")],
    );
    disk.set_faults(Faults {
        failed_sync: 1.0,
        ..Faults::default()
    });
    let failed = journal.append(&[append(1, 1, 2, b"?")]);
    assert!(matches!(failed, Err(AppendError::Unknown(_))), "{failed:?}");
    disk.set_faults(Faults::default());
    let refused = journal.append(&[append(1, 1, 2, b"?")]);
    assert!(matches!(refused, Err(AppendError::ReadOnly)), "{refused:?}");
    check(&journal, &model, "reads go on");
}

#[test]
fn a_full_disk_takes_promises_and_trims_and_recovers() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    disk.set_free(Some(5 * options().file_bytes));
    write(
        &mut journal,
        &mut model,
        &[open_segment(1, 1, 1, 1), open_segment(2, 1, 1, 1)],
    );
    let mut lsn = 1;
    let full = loop {
        let record = append(1, 1, lsn, &[7; 9_000]);
        match journal.append(std::slice::from_ref(&record)) {
            Ok(()) => model.apply(&record),
            Err(e) => break e,
        }
        lsn += 1;
    };
    assert!(matches!(full, AppendError::Full(_)), "{full:?}");
    assert!(lsn > 10, "{lsn}");
    check(&journal, &model, "full");
    // A promise gets through, as long as the file set aside lasts, alone and in company of an append that does not.
    for epoch in 1..4 {
        write(
            &mut journal,
            &mut model,
            &[promise(1, epoch), promise(2, epoch)],
        );
    }
    let groups = [vec![append(1, 1, lsn, &[7; 9_000])], vec![promise(2, 30)]];
    let slices: Vec<&[NodeRecord]> = groups.iter().map(Vec::as_slice).collect();
    let outcomes = journal.append_groups(&slices);
    assert!(
        matches!(outcomes[..], [Err(AppendError::Full(_)), Ok(())]),
        "{outcomes:?}"
    );
    model.apply(&promise(2, 30));
    drop(journal);
    let (mut journal, recovered) = opened(&disk);
    assert_eq!(recovered.damage, []);
    check(&journal, &model, "opened while full");
    // A trim makes room.
    write(&mut journal, &mut model, &[trim(1, 1)]);
    write(&mut journal, &mut model, &[append(2, 1, 1, &[7; 9_000])]);
    check(&journal, &model, "room again");
}

#[test]
fn a_trim_gives_files_back_and_they_are_used_again() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    let mut used = 0;
    for round in 1..=8_u32 {
        write(&mut journal, &mut model, &[open_segment(round, 1, 1, 1)]);
        fill(&mut journal, &mut model, round, 1, 4);
        write(&mut journal, &mut model, &[trim(round, 1)]);
        let usage = journal.usage().unwrap();
        used = usage.files + usage.spares;
        assert_eq!(journal.inspect().unwrap().files.len(), 1);
    }
    assert!(used <= 4 * options().file_bytes, "{used}");
    check(&journal, &model, "trimmed");
}

#[test]
fn a_few_entries_do_not_hold_a_file_back() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(
        &mut journal,
        &mut model,
        &[open_segment(1, 1, 1, 1), open_segment(2, 1, 1, 1)],
    );
    write(&mut journal, &mut model, &[append(2, 1, 1, b"slow")]);
    for lsn in 1..60 {
        write(&mut journal, &mut model, &[append(1, 1, lsn, &[1; 3_000])]);
    }
    write(
        &mut journal,
        &mut model,
        &[trim(1, 1), open_segment(1, 2, 1, 60)],
    );
    let held = journal.inspect().unwrap().files.len();
    assert_eq!(held, 2, "the first, for one entry, and the newest");
    write(&mut journal, &mut model, &[append(2, 1, 2, b"slow")]);
    for lsn in 60..90 {
        write(&mut journal, &mut model, &[append(1, 2, lsn, &[1; 3_000])]);
    }
    assert!(journal.inspect().unwrap().files.len() > 2);
    while journal.compact().unwrap() {}
    let first = journal.inspect().unwrap().files[0].seq;
    assert!(first > 1, "{first}");
    check(&journal, &model, "moved");
    drop(journal);
    check(&opened(&disk).0, &model, "moved, and opened again");
}

#[test]
fn a_damaged_entry_is_mended_in_place() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(&mut journal, &mut model, &[open_segment(1, 1, 1, 1)]);
    fill(&mut journal, &mut model, 1, 1, 2);
    let (log, segment) = (ChannelId(1), LogSegment(1));
    disk.damage(&Path::new(DIR).join(crate::file::file_name(1)), |bytes| {
        bytes[40_000] ^= 1;
    });
    let reader = journal.reader();
    let (before, error) = read_all(&reader, log, segment, Lsn(1), 1);
    let Some(ReadError::Damaged { lsn, damage, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(before.last().map(|e| e.lsn.next()), Some(lsn));
    assert!((damage.offset..damage.offset + damage.bytes).contains(&40_000));
    let good = model.entries[&(log, segment, lsn)].clone();
    let wrong = Entry::new(ChannelId(2), lsn, Timestamp(1), None, Bytes::new());
    assert!(journal.mend(log, segment, &[wrong]).is_err());
    journal.mend(log, segment, &[good]).unwrap();
    check(&journal, &model, "mended");
    drop(journal);
    check(&opened(&disk).0, &model, "mended, and opened again");
}

#[test]
fn a_large_group_is_split_into_batches_and_may_outgrow_a_file() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    let mut records = vec![open_segment(1, 1, 1, 1)];
    records.extend((1..200).map(|lsn| append(1, 1, lsn, &[lsn as u8; 1_500])));
    records.push(append(1, 1, 200, &vec![9; 200_000]));
    write(&mut journal, &mut model, &records);
    check(&journal, &model, "large");
    drop(journal);
    check(&opened(&disk).0, &model, "large, opened again");
}

#[test]
fn an_index_that_is_missing_is_made_anew() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(&mut journal, &mut model, &[open_segment(1, 1, 1, 1)]);
    fill(&mut journal, &mut model, 1, 1, 3);
    drop(journal);
    let index = Path::new(DIR).join(crate::side::name(1));
    holdfast_disk::Disk::remove(&disk, &index).unwrap();
    let (journal, recovered) = opened(&disk);
    assert_eq!(recovered.damage, []);
    check(&journal, &model, "without an index");
    assert!(!disk.bytes(&index).is_empty());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |options: Options| options.validate().is_err();
    assert!(!refused(Options::default()));
    assert!(refused(Options {
        file_bytes: 1000,
        ..Options::default()
    }));
    assert!(refused(Options {
        batch_bytes_max: 0,
        ..Options::default()
    }));
    assert!(refused(Options {
        reserve_percent: 60,
        ..Options::default()
    }));
    assert!(refused(Options {
        queue_bytes_max: 0,
        ..Options::default()
    }));
    assert!(refused(Options {
        spares_max: 0,
        ..Options::default()
    }));
}

#[test]
fn submissions_that_gather_share_a_sync() {
    let disk = SimDisk::new(1);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    write(&mut journal, &mut model, &[open_segment(1, 1, 1, 1)]);
    let before = disk.syncs();
    let thread = JournalThread::start(journal).unwrap();
    let reader = thread.reader();
    let waiting: Vec<_> = (1..=500)
        .map(|lsn| {
            let record = append(1, 1, lsn, b"small");
            model.apply(&record);
            thread.submit(vec![record])
        })
        .collect();
    for completion in waiting {
        completion.wait().unwrap();
    }
    let refused = thread.submit(vec![append(1, 1, 9, b"again")]).wait();
    assert!(
        matches!(refused, Err(AppendError::OutOfOrder(_))),
        "{refused:?}"
    );
    let (entries, error) = read_all(&reader, ChannelId(1), LogSegment(1), Lsn(1), 1 << 20);
    assert!(error.is_none() && entries.len() == 500);
    drop(thread);
    assert!(disk.syncs() - before < 500, "{}", disk.syncs() - before);
    let (journal, recovered) = opened(&disk);
    assert_eq!(recovered.damage, []);
    check(&journal, &model, "closed in good order");
}

#[test]
fn a_full_queue_refuses_and_a_dropped_thread_finishes_its_work() {
    let disk = SimDisk::new(1);
    let small = Options {
        queue_bytes_max: 1,
        ..options()
    };
    let shared: Arc<dyn holdfast_disk::Disk> = Arc::new(disk.clone());
    let (journal, _) = Journal::open(shared, Path::new(DIR), &owner(), &small).unwrap();
    let thread = JournalThread::start(journal).unwrap();
    let mut outcomes = Vec::new();
    for epoch in 1..200 {
        outcomes.push((epoch, thread.submit(vec![promise(1, epoch)])));
    }
    drop(thread);
    let mut last = 0;
    for (epoch, outcome) in outcomes {
        match outcome.wait() {
            Ok(()) => last = epoch,
            Err(AppendError::Busy { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert!(last > 0);
    let (journal, _) = opened(&disk);
    assert_eq!(journal.image().logs[&ChannelId(1)].promise, Epoch(last));
}

#[test]
fn it_works_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let root = dir.path().join("journal");
    {
        let (mut journal, _) = Journal::open_real(&root, &owner(), &options()).unwrap();
        write(
            &mut journal,
            &mut model,
            &[promise(1, 3), open_segment(1, 1, 3, 1)],
        );
        fill(&mut journal, &mut model, 1, 1, 3);
        check(&journal, &model, "written");
        let second = Journal::open_real(&root, &owner(), &options());
        assert!(
            matches!(second, Err(JournalError::Locked { .. })),
            "{second:?}"
        );
    }
    let (journal, recovered) = Journal::open_real(&root, &owner(), &options()).unwrap();
    assert_eq!(recovered.damage, []);
    check(&journal, &model, "opened again");
    assert_eq!(journal.verify().unwrap().damage, []);
}
