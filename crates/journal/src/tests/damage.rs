//! Damage to any byte is named, nothing that is damaged is read as if it were not, and no promise is lost by it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use holdfast_disk::{Faults, SimDisk};
use holdfast_types::Lsn;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::model::{DIR, Model, check, open, opened, read_all, used};
use crate::{Journal, JournalError, Report, error::Loss};

/// A journal of several files that was closed, and what it holds.
struct Sample {
    disk: SimDisk,
    model: Model,
    /// Bytes of each file that mean something.
    live: BTreeMap<PathBuf, u64>,
}

fn sample(seed: u64) -> Sample {
    let disk = SimDisk::new(seed);
    let (mut journal, _) = opened(&disk);
    let mut model = Model::default();
    let mut rng = StdRng::seed_from_u64(seed);
    while journal.inspect().unwrap().files.len() < 4 {
        let records = model.random(&mut rng);
        journal.append(&records).unwrap();
        records.iter().for_each(|r| model.apply(r));
    }
    for _ in 0..12 {
        let records = model.random(&mut rng);
        journal.append(&records).unwrap();
        records.iter().for_each(|r| model.apply(r));
    }
    let live = live(&disk, &journal);
    journal.close().unwrap();
    Sample { disk, model, live }
}

/// How far the files mean something: what each ends with is where the walk ended.
fn live(disk: &SimDisk, journal: &Journal) -> BTreeMap<PathBuf, u64> {
    let report = journal.verify().unwrap();
    assert_eq!(report.damage, []);
    let mut live = BTreeMap::new();
    for (path, bytes) in disk.durable_files() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "identity" || name.ends_with(".idx") {
            live.insert(path, bytes.len() as u64);
        }
    }
    let ends = journal.file_ends();
    live.extend(ends);
    live
}

fn covers(report: &Report, file: &Path, byte: u64) -> bool {
    report
        .damage
        .iter()
        .any(|d| d.file == file && (d.offset..d.offset.saturating_add(d.bytes)).contains(&byte))
}

/// Whether what a damaged journal says about itself is true: it vouches for nothing that it does not have, does not
/// shorten anything, and keeps every promise.
fn is_honest(journal: &Journal, model: &Model, context: &str) {
    let found = used(&journal.image());
    let truth = used(&model.image);
    let logs: Vec<_> = truth.logs.keys().collect();
    assert_eq!(found.logs.keys().collect::<Vec<_>>(), logs, "{context}");
    for (log, truth) in &truth.logs {
        let found = &found.logs[log];
        assert_eq!(found.promise, truth.promise, "{context}");
        assert_eq!(found.trimmed, truth.trimmed, "{context}");
        let segments: Vec<_> = truth.segments.keys().collect();
        assert_eq!(
            found.segments.keys().collect::<Vec<_>>(),
            segments,
            "{context}"
        );
        for (segment, truth) in &truth.segments {
            let held = &found.segments[segment];
            assert_eq!(held.end, truth.end, "{context}");
            assert!(
                held.certain <= truth.certain,
                "{context}: {held:?} {truth:?}"
            );
            assert!(
                held.possible >= truth.certain,
                "{context}: {held:?} {truth:?}"
            );
            let (entries, _) = read_all(&journal.reader(), *log, *segment, held.first, 50_000);
            for entry in &entries {
                let expected = &model.entries[&(*log, *segment, entry.lsn)];
                assert_eq!(entry, expected, "{context}");
            }
        }
    }
}

/// Damages one byte and looks at the journal: while it is open, and when it is opened again.
fn damage_one(sample: &Sample, file: &Path, byte: u64, xor: u8) {
    let context = format!("{} byte {byte} xor {xor}", file.display());
    let disk = sample.disk.image(1);
    let (journal, _) = opened(&disk.image(2));
    drop(journal);
    let flip = |disk: &SimDisk| disk.damage(file, |bytes| bytes[byte as usize] ^= xor);

    let watched = disk.image(3);
    let (journal, _) = opened(&watched);
    flip(&watched);
    let report = journal.verify().unwrap();
    assert!(covers(&report, file, byte), "{context}: {report:?}");
    drop(journal);

    flip(&disk);
    let (journal, recovered) = opened(&disk);
    is_honest(&journal, &sample.model, &context);
    let lost_control = recovered.damage.iter().any(|d| d.loss == Loss::Control);
    assert!(!lost_control, "{context}: {:?}", recovered.damage);
    drop(journal);
    // What was found once is not forgotten by the next start, and not found worse.
    let (journal, _) = opened(&disk);
    is_honest(&journal, &sample.model, &context);
}

/// The byte at `place` of all that mean something, counted from the start of the first file.
fn pick(sample: &Sample, place: u64) -> (PathBuf, u64) {
    let total: u64 = sample.live.values().sum();
    let mut at = place % total;
    for (file, len) in &sample.live {
        match at.checked_sub(*len) {
            Some(beyond) => at = beyond,
            None => return (file.clone(), at),
        }
    }
    unreachable!("it is below the total")
}

#[test]
fn damage_to_any_byte_is_named_and_nothing_false_is_read() {
    let samples: Vec<Sample> = (1..=3).map(sample).collect();
    let config = ProptestConfig {
        cases: 400,
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(which in 0..samples.len(), place: u64, xor in 1..=255_u8)| {
        let sample = &samples[which];
        let (file, byte) = pick(sample, place);
        damage_one(sample, &file, byte, xor);
    });
}

#[test]
fn damage_to_any_header_is_named() {
    let sample = sample(4);
    for (file, len) in &sample.live {
        // Where parts of a file begin, most of what gives the rest its meaning lies.
        for block in (0..*len).step_by(4096) {
            for byte in [0, 5, 9, 17, 33, 41, 45, 49, 52, 53, 54, 63, 64, 70, 80] {
                if block + byte < *len {
                    damage_one(&sample, file, block + byte, 1);
                }
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_is_not_taken_for_a_short_log() {
    let sample = sample(5);
    for (file, len) in &sample.live {
        for cut in (0..*len).step_by(1000).chain([len - 1]) {
            let context = format!("{} cut to {cut}", file.display());
            let disk = sample.disk.image(1);
            disk.damage(file, |bytes| bytes.truncate(cut as usize));
            match open(&disk) {
                Ok((journal, recovered)) => {
                    is_honest_about_segments(&journal, &sample.model, &context);
                    assert!(!recovered.damage.is_empty(), "{context}");
                }
                Err(JournalError::Corrupt { file: named, .. }) => {
                    assert_eq!(&named, file, "{context}");
                }
                Err(e) => panic!("{context}: {e}"),
            }
        }
    }
}

/// As [`is_honest`] for what a cut leaves: promises may be gone with the end of the file, which the damage says.
fn is_honest_about_segments(journal: &Journal, model: &Model, context: &str) {
    let found = journal.image();
    for (log, truth) in &model.image.logs {
        for (segment, truth) in &truth.segments {
            let Some(held) = found.logs.get(log).and_then(|l| l.segments.get(segment)) else {
                continue;
            };
            assert!(
                held.possible >= truth.certain,
                "{context}: {held:?} {truth:?}"
            );
            let (entries, _) = read_all(&journal.reader(), *log, *segment, held.first, 50_000);
            for entry in entries.iter().filter(|e| e.lsn <= truth.certain) {
                let expected = &model.entries[&(*log, *segment, entry.lsn)];
                assert_eq!(entry, expected, "{context}");
            }
        }
    }
}

#[test]
fn a_lost_or_misdirected_write_is_found() {
    let mut hits = 0;
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let (mut journal, _) = opened(&disk);
        let mut model = Model::default();
        let mut rng = StdRng::seed_from_u64(seed);
        let rate = match seed % 2 {
            0 => Faults {
                lost_write: 0.02,
                ..Faults::default()
            },
            _ => Faults {
                misdirected_write: 0.02,
                ..Faults::default()
            },
        };
        for _ in 0..20 {
            let records = model.random(&mut rng);
            disk.set_faults(rate);
            let outcome = journal.append(&records);
            disk.set_faults(Faults::default());
            outcome.unwrap();
            records.iter().for_each(|r| model.apply(r));
        }
        let report = journal.verify().unwrap();
        drop(journal);
        // Several of them together may take a record and its repetition, and then the damage says so; whatever is
        // read is right.
        match open(&disk) {
            Ok((journal, recovered)) => {
                let context = format!("seed {seed}: {:?}", recovered.damage);
                if report.damage.is_empty() {
                    check(&journal, &model, &context);
                    continue;
                }
                hits += 1;
                for (log, truth) in &model.image.logs {
                    for (segment, truth) in &truth.segments {
                        let (entries, _) =
                            read_all(&journal.reader(), *log, *segment, truth.first, 50_000);
                        for entry in entries.iter().filter(|e| e.lsn <= truth.certain) {
                            let expected = model.entries.get(&(*log, *segment, entry.lsn));
                            assert_eq!(Some(entry), expected, "{context}");
                        }
                    }
                }
            }
            Err(JournalError::Corrupt { .. } | JournalError::Missing { .. }) => hits += 1,
            Err(e) => panic!("seed {seed}: {e}"),
        }
    }
    assert!(hits > 50, "{hits}");
}

#[test]
fn a_gap_is_filled_from_peers() {
    let sample = sample(6);
    let newest = sample
        .live
        .keys()
        .rfind(|f| f.extension().is_some_and(|e| e == "journal"));
    let newest = newest.unwrap();
    let end = sample.live[newest];
    let mut mended = 0;
    for block in (2..end / 4096).rev() {
        let disk = sample.disk.image(1);
        disk.damage(newest, |bytes| {
            bytes[block as usize * 4096..][..4096].fill(0xff);
        });
        let Ok((mut journal, recovered)) = open(&disk) else {
            continue;
        };
        assert!(!recovered.damage.is_empty());
        for (log, image) in &recovered.image.logs {
            for (segment, held) in &image.segments {
                if held.end.is_some() {
                    continue;
                }
                // As a recoverer does it: everything after what is certain, once more.
                for lsn in held.certain.0 + 1..=held.possible.0 {
                    let Some(entry) = sample.model.entries.get(&(*log, *segment, Lsn(lsn))) else {
                        break;
                    };
                    mended += 1;
                    let mut record = super::model::append(log.0, segment.0, lsn, b"");
                    if let holdfast_qlog::NodeRecord::Append { entry: e, .. } = &mut record {
                        *e = entry.clone();
                    }
                    journal.append(&[record]).unwrap();
                }
                let (entries, _) = read_all(&journal.reader(), *log, *segment, held.first, 50_000);
                let expected = sample
                    .model
                    .entries
                    .range((*log, *segment, Lsn(0))..=(*log, *segment, Lsn(u64::MAX)));
                assert!(entries.iter().eq(expected.map(|(_, e)| e)));
            }
        }
        is_honest(&journal, &sample.model, "mended");
    }
    assert!(mended > 0);
    assert_eq!(newest.parent(), Some(Path::new(DIR)));
}
