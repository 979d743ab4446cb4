//! Random schedules of writes, trims, faults, kills and power cuts over a failing disk, checked against
//! a model after every restart.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use holdfast_disk::{Faults, FileSizes, SimDisk};
use holdfast_types::{ChannelId, Epoch, Lsn};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    files::{Files, WriteError},
    journal::Journal,
    reader,
};

const CHANNEL: ChannelId = ChannelId(3);
const SIZES: FileSizes = FileSizes {
    segment: 64 << 10,
    reserve: 4 << 10,
};

struct Run {
    seed: u64,
    rng: StdRng,
    disk: SimDisk,
    faults: Faults,
    files: Arc<Files>,
    journal: Journal,
    epoch: Epoch,
    /// What was acknowledged and not allowed to be trimmed, by LSN.
    acknowledged: BTreeMap<u64, (Epoch, Bytes)>,
    last: u64,
    /// What may or may not follow it.
    unknown: Vec<(Epoch, Bytes)>,
    trimmed: u64,
    records_made: u64,
    seen: Seen,
}

/// That a run met what it is there to meet.
#[derive(Default, Debug)]
struct Seen {
    full: u64,
    fatal: u64,
    kills: u64,
    power_cuts: u64,
    unknown_kept: u64,
    unknown_lost: u64,
    trims: u64,
    writes: u64,
}

fn open(disk: &SimDisk) -> (Arc<Files>, Journal) {
    let opened = Files::open(Arc::new(disk.clone()), dir(), CHANNEL, SIZES);
    let (files, recovered) = opened.unwrap_or_else(|e| panic!("{e}"));
    let files = Arc::new(files);
    (Arc::clone(&files), Journal::new(files, recovered))
}

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed ^ 0x5eed);
        let (files, journal) = open(&disk);
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            disk,
            faults: Faults::default(),
            files,
            journal,
            epoch: Epoch(1),
            acknowledged: BTreeMap::new(),
            last: 0,
            unknown: Vec::new(),
            trimmed: 0,
            records_made: 0,
            seen: Seen::default(),
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..60 => self.write(),
            // A failure here is the writer's to find out.
            60..68 => drop(self.files.prepare_spare()),
            68..78 => self.trim(),
            78..84 => self.read_somewhere(),
            84..90 => self.change_weather(),
            90..95 => self.restart(Self::kill),
            _ => self.restart(Self::cut_power),
        }
    }

    fn write(&mut self) {
        let count = self.rng.random_range(1..=6);
        let records: Vec<Bytes> = (0..count).map(|_| self.record()).collect();
        let mut rest = &records[..];
        self.seen.writes += 1;
        while !rest.is_empty() {
            match self.journal.write(self.epoch, rest) {
                Ok(count) => {
                    let (written, left) = rest.split_at(count);
                    for payload in written {
                        self.last += 1;
                        let entry = (self.epoch, payload.clone());
                        self.acknowledged.insert(self.last, entry);
                    }
                    rest = left;
                    assert_eq!(self.journal.last(), Lsn(self.last));
                }
                Err(WriteError::Full(_)) => {
                    self.seen.full += 1;
                    assert_eq!(self.journal.last(), Lsn(self.last));
                    return;
                }
                Err(WriteError::Fatal(_)) => {
                    self.seen.fatal += 1;
                    self.unknown = rest.iter().map(|p| (self.epoch, p.clone())).collect();
                    let how = match self.rng.random_bool(0.5) {
                        true => Self::kill,
                        false => Self::cut_power,
                    };
                    return self.restart(how);
                }
            }
        }
    }

    fn record(&mut self) -> Bytes {
        let len = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(60_000..150_000),
            1..5 => self.rng.random_range(0..20_000),
            // Of one length, so that remains of one record might pose as another.
            5..10 => 9_000,
            _ => self.rng.random_range(0..600),
        };
        // Each record is unlike every other, or a mix-up would go unseen.
        self.records_made += 1;
        let mut bytes = vec![(self.records_made % 251) as u8; len];
        bytes.extend_from_slice(&self.records_made.to_le_bytes());
        bytes.into()
    }

    fn trim(&mut self) {
        if self.last == 0 {
            return;
        }
        let upto = self.rng.random_range(self.trimmed..=self.last);
        self.trimmed = upto;
        self.acknowledged = self.acknowledged.split_off(&(upto + 1));
        // A failed trim leaves more than it must.
        self.seen.trims += u64::from(self.files.trim(Lsn(upto)).is_ok());
    }

    fn change_weather(&mut self) {
        let mut likely = |p: f64| match self.rng.random_bool(0.3) {
            true => p,
            false => 0.0,
        };
        self.faults = Faults {
            short_write: likely(0.3),
            full_write: likely(0.05),
            failed_write: likely(0.01),
            failed_sync: likely(0.03),
            free_space_lies: likely(1.0) > 0.0,
            ..Faults::default()
        };
        self.disk.set_faults(self.faults);
        let tight = self.rng.random_bool(0.3);
        let free = self.rng.random_range(0..300_000);
        self.disk.set_free(tight.then_some(free));
    }

    fn kill(&mut self) {
        self.seen.kills += 1;
    }

    fn cut_power(&mut self) {
        self.seen.power_cuts += 1;
        self.disk.cut_power();
    }

    fn restart(&mut self, how: impl FnOnce(&mut Self)) {
        how(self);
        self.disk.set_faults(Faults::default());
        (self.files, self.journal) = open(&self.disk);
        let found = self.journal.last().0;
        let extra = found
            .checked_sub(self.last)
            .unwrap_or_else(|| panic!("seed {}: {found} of {} left", self.seed, self.last));
        let extra = extra as usize;
        assert!(
            extra <= self.unknown.len(),
            "seed {}: {extra} records from nowhere",
            self.seed
        );
        self.seen.unknown_kept += extra as u64;
        self.seen.unknown_lost += (self.unknown.len() - extra) as u64;
        for entry in std::mem::take(&mut self.unknown).into_iter().take(extra) {
            self.last += 1;
            self.acknowledged.insert(self.last, entry);
        }
        let first = self.files.first();
        assert!(first.0 <= self.trimmed + 1, "seed {}", self.seed);
        self.check_from(Lsn(self.trimmed + 1));
        if self.rng.random_bool(0.7) {
            self.epoch.0 += 1;
            let marked = self.journal.mark(self.epoch);
            assert!(marked.is_ok(), "no fault was asked for");
        }
        self.disk.set_faults(self.faults);
    }

    fn read_somewhere(&mut self) {
        let from = self.rng.random_range(self.trimmed..=self.last) + 1;
        self.check_from(Lsn(from));
    }

    fn check_from(&mut self, from: Lsn) {
        let mut cursor = None;
        let mut next = from;
        while next.0 <= self.last {
            let some = self.rng.random_range(1..200_000);
            let read = reader::read(&self.files, &mut cursor, next, Lsn(self.last), some);
            let entries = read.unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
            assert!(!entries.is_empty(), "seed {}", self.seed);
            for entry in entries {
                assert_eq!(entry.lsn, next, "seed {}", self.seed);
                let expected = &self.acknowledged[&next.0];
                assert!(
                    (entry.epoch, &entry.payload) == (expected.0, &expected.1),
                    "seed {}: record {next} changed",
                    self.seed
                );
                next = next.next();
            }
        }
    }
}

fn run(seed: u64, steps: u32) -> Seen {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        run.step();
    }
    run.restart(Run::cut_power);
    run.seen
}

#[test]
fn acknowledged_records_survive_and_rejected_ones_never_appear() {
    let mut all = Seen::default();
    for seed in 0..30 {
        let seen = run(seed, 150);
        all.full += seen.full;
        all.fatal += seen.fatal;
        all.kills += seen.kills;
        all.power_cuts += seen.power_cuts;
        all.unknown_kept += seen.unknown_kept;
        all.unknown_lost += seen.unknown_lost;
        all.trims += seen.trims;
        all.writes += seen.writes;
    }
    // A schedule that meets no fault proves nothing.
    let Seen {
        full,
        fatal,
        kills,
        power_cuts,
        unknown_kept,
        unknown_lost,
        trims,
        writes,
    } = all;
    let met = [
        full,
        fatal,
        kills,
        power_cuts,
        unknown_kept,
        unknown_lost,
        trims,
    ];
    assert!(met.iter().all(|&n| n >= 20) && writes > 2_000, "{all:?}");
}
