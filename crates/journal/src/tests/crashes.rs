//! The power fails after every single operation of a workload, and any part of what was not synced survives.

use holdfast_disk::SimDisk;
use holdfast_qlog::NodeRecord;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::model::{Model, check, open, opened, used};
use crate::{AppendError, Journal};

/// Runs a workload until it is over or the disk gives up; what was acknowledged is in `model`. Returns the records
/// whose outcome is unknown.
fn run(disk: &SimDisk, seed: u64, steps: u32, model: &mut Model) -> Vec<NodeRecord> {
    let mut rng = StdRng::seed_from_u64(seed);
    let Ok((mut journal, _)) = open(disk) else {
        return Vec::new();
    };
    for _ in 0..steps {
        if rng.random_bool(0.1) && journal.prepare().is_err() {
            return Vec::new();
        }
        let records = model.random(&mut rng);
        match journal.append(&records) {
            Ok(()) => records.iter().for_each(|r| model.apply(r)),
            Err(AppendError::Unknown(_)) => return records,
            Err(AppendError::ReadOnly) => return Vec::new(),
            Err(e) => panic!("{e}"),
        }
    }
    Vec::new()
}

/// Opens the journal after a crash: it holds what was acknowledged, and of the rest a beginning.
pub(super) fn settle(
    disk: &SimDisk,
    model: &mut Model,
    unknown: &[NodeRecord],
    context: &str,
) -> Journal {
    let (journal, recovered) = opened(disk);
    assert_eq!(recovered.damage, [], "{context}: a crash is no damage");
    let found = used(&recovered.image);
    let mut records = unknown.iter();
    while used(&model.image) != found {
        let next = records.next();
        let next = next.unwrap_or_else(|| {
            panic!(
                "{context}: not what was acknowledged: {found:?}\n{:?}",
                model.image
            )
        });
        model.apply(next);
    }
    check(&journal, model, context);
    journal
}

#[test]
fn the_power_may_fail_after_any_operation() {
    const STEPS: u32 = 60;
    for workload in 0..3 {
        let disk = SimDisk::new(workload);
        let mut whole = Model::default();
        run(&disk, workload, STEPS, &mut whole);
        let operations = disk.operations();
        assert!(operations > 150, "{operations}");
        for cut in 0..=operations {
            // Of what was not synced nothing is left, or all, or any sectors.
            for kept in [0.0, 1.0, 0.3, 0.7] {
                let context = format!("workload {workload}, cut after {cut}, kept {kept}");
                let disk = SimDisk::new(cut ^ 0x5eed);
                disk.fail_power_after(cut);
                let mut model = Model::default();
                let unknown = run(&disk, workload, STEPS, &mut model);
                disk.cut_power_keeping(kept);
                // The start after it may be cut off as well.
                for again in [3, 11] {
                    disk.fail_power_after(again);
                    drop(open(&disk));
                    disk.cut_power_keeping(kept);
                }
                let mut journal = settle(&disk, &mut model, &unknown, &context);
                let mut rng = StdRng::seed_from_u64(cut);
                for _ in 0..3 {
                    let records = model.random(&mut rng);
                    journal.append(&records).unwrap();
                    records.iter().for_each(|r| model.apply(r));
                }
                disk.cut_power_keeping(0.0);
                drop(settle(&disk, &mut model, &[], &context));
            }
        }
    }
}
