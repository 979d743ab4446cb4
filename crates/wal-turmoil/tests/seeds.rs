//! Sixty runs, each with its own faults; and the proof that a run can be repeated.

use std::path::Path;

use holdfast_wal_turmoil::sweep;

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-wal-turmoil");
/// Seeds of every build. `just turmoil --seeds 1000` runs more.
const SEEDS: u64 = 60;
/// Runs at a time.
const JOBS: u64 = 2;

#[test]
fn every_invariant_holds_in_every_seed() {
    let runs = sweep::seeds(Path::new(PROGRAM), 0..SEEDS, JOBS, &[]);
    let failed: Vec<String> = runs
        .iter()
        .filter(|run| !run.passed)
        .map(|run| {
            format!(
                "{}\nrepeat it: cargo run -p holdfast-wal-turmoil -- --seed {} --trace",
                run.output, run.seed
            )
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    println!("{}", sweep::summary(&runs));
    // The faults really happen, and the logs really go on.
    for figure in [
        "acknowledged",
        "unknown",
        "rejected",
        "read",
        "opened",
        "rolled",
        "crashes",
        "losses",
    ] {
        let sum = sweep::total(&runs, figure);
        assert!(sum > SEEDS / 4, "{figure}: {sum}");
    }
}

#[test]
fn a_seed_is_the_same_run_in_every_process() {
    for seed in [2, 11, 47] {
        let [first, second] = [(); 2].map(|()| sweep::one(Path::new(PROGRAM), seed, &[]));
        assert!(!first.trace_hash.is_empty(), "{}", first.output);
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.figures, second.figures, "seed {seed}");
    }
}
