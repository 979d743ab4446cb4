//! Thousands of random histories of appends, rolls, trims, full disks, failing disks, kills and power cuts, each
//! checked against the model after every restart.

use holdfast_disk::{Faults, SimDisk};
use holdfast_qlog::NodeRecord;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    crashes::settle,
    model::{Model, check, opened},
};
use crate::{AppendError, Journal};

struct Run {
    seed: u64,
    rng: StdRng,
    disk: SimDisk,
    faults: Faults,
    journal: Option<Journal>,
    model: Model,
    unknown: Vec<NodeRecord>,
    seen: Seen,
}

/// That a run met what it is there to meet.
#[derive(Default, Debug)]
struct Seen {
    appended: u64,
    full: u64,
    urgent_when_full: u64,
    fatal: u64,
    kills: u64,
    power_cuts: u64,
    files: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed ^ 0x5eed);
        let (journal, _) = opened(&disk);
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            disk,
            faults: Faults::default(),
            journal: Some(journal),
            model: Model::default(),
            unknown: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("it is open between steps")
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..75 => self.append(),
            // A failure here is for the next append to find out.
            75..80 => drop(self.journal().prepare()),
            80..84 => {
                let context = format!("seed {}", self.seed);
                let model = self.model.clone();
                check(self.journal(), &model, &context);
            }
            84..92 => self.change_weather(),
            92..96 => self.restart(false),
            _ => self.restart(true),
        }
    }

    fn append(&mut self) {
        // Several groups at once, as the thread does it.
        let mut model = self.model.clone();
        let mut groups = Vec::new();
        for _ in 0..self.rng.random_range(1..=3) {
            let records = model.random(&mut self.rng);
            records.iter().for_each(|r| model.apply(r));
            groups.push(records);
        }
        // What was made once is not made again, whatever comes of it.
        let mut wasted = model;
        std::mem::swap(&mut wasted, &mut self.model);
        self.model.image = wasted.image.clone();
        self.model.entries = wasted.entries.clone();
        let slices: Vec<&[NodeRecord]> = groups.iter().map(Vec::as_slice).collect();
        let outcomes = self.journal().append_groups(&slices);
        let was_full = outcomes
            .iter()
            .any(|o| matches!(o, Err(AppendError::Full(_))));
        let mut failed = false;
        for (group, outcome) in groups.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    self.seen.appended += 1;
                    self.seen.urgent_when_full += u64::from(was_full);
                    group.iter().for_each(|r| self.model.apply(r));
                }
                Err(AppendError::Full(_)) => self.seen.full += 1,
                // It followed from a group that was refused.
                Err(AppendError::OutOfOrder(_)) if was_full => {}
                Err(AppendError::Unknown(_)) => {
                    failed = true;
                    self.unknown.extend(group.iter().cloned());
                }
                Err(AppendError::ReadOnly) => failed = true,
                Err(e) => panic!("seed {}: {e}", self.seed),
            }
        }
        if failed {
            self.seen.fatal += 1;
            let again = self.journal().append(&[]);
            assert!(matches!(again, Err(AppendError::ReadOnly)), "{again:?}");
            let power = self.rng.random_bool(0.5);
            self.restart(power);
        } else if self.journal().is_read_only() {
            // The mark or giving back a file failed; what was acknowledged stands.
            self.seen.fatal += 1;
            self.restart(false);
        }
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
            slow: likely(0.05),
            free_space_lies: likely(1.0) > 0.0,
            ..Faults::default()
        };
        self.disk.set_faults(self.faults);
        let tight = self.rng.random_bool(0.4);
        let free = self.rng.random_range(0..300_000);
        self.disk.set_free(tight.then_some(free));
    }

    fn restart(&mut self, power: bool) {
        let files = self.journal().inspect().map_or(0, |i| i.files.len());
        self.seen.files = self.seen.files.max(files as u64);
        self.journal = None;
        if power {
            self.seen.power_cuts += 1;
            self.disk.cut_power();
        } else {
            self.seen.kills += 1;
            self.disk.restart_process();
        }
        self.disk.set_faults(Faults::default());
        let unknown = std::mem::take(&mut self.unknown);
        let context = format!("seed {}", self.seed);
        let journal = settle(&self.disk, &mut self.model, &unknown, &context);
        self.journal = Some(journal);
        self.disk.set_faults(self.faults);
    }
}

fn run(seed: u64, steps: u32) -> Seen {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        run.step();
    }
    run.restart(true);
    let report = run.journal().verify().unwrap();
    assert_eq!(report.damage, [], "seed {seed}");
    run.seen
}

#[test]
fn what_is_acknowledged_survives_and_what_is_rejected_never_appears() {
    let mut all = Seen::default();
    for seed in 0..1_500 {
        let seen = run(seed, 60);
        all.appended += seen.appended;
        all.full += seen.full;
        all.urgent_when_full += seen.urgent_when_full;
        all.fatal += seen.fatal;
        all.kills += seen.kills;
        all.power_cuts += seen.power_cuts;
        all.files = all.files.max(seen.files);
    }
    let Seen {
        appended,
        full,
        urgent_when_full,
        fatal,
        kills,
        power_cuts,
        files,
    } = all;
    let met = [full, urgent_when_full, fatal, kills, power_cuts];
    // A history that meets no fault proves nothing.
    let enough = met.iter().all(|&n| n >= 50) && appended > 20_000 && files > 2;
    assert!(enough, "{all:?}");
}
