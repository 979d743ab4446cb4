//! Thousands of runs, each with its own faults; and the proof that a run can be repeated.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wal_sim::{Outcome, run};

/// Seeds of every build. `cargo run --release -p holdfast-wal-sim -- --seeds 100000` runs more.
const SEEDS: u64 = 2_000;

#[test]
fn every_invariant_holds_in_every_seed() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failed: Vec<Outcome> = std::thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return failed;
                }
                failed.extend(Some(run(seed, false)).filter(|o| o.violation.is_some()));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().expect("a panic is a finding"))
            .collect()
    });
    let Some(first) = failed.iter().min_by_key(|o| o.seed) else {
        return;
    };
    let replayed = run(first.seed, true);
    let tail = replayed.trace.len().saturating_sub(60);
    panic!(
        "seed {}: {}\n{}\n{} seeds failed; `cargo run -p holdfast-wal-sim -- --seed {} --trace` replays this one",
        first.seed,
        replayed
            .violation
            .map_or_else(|| "did not fail again".to_owned(), |v| v.to_string()),
        replayed.trace[tail..].join("\n"),
        failed.len(),
        first.seed,
    );
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [3, 77, 1_000] {
        let (first, second) = (run(seed, false), run(seed, true));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
        assert!(!second.trace.is_empty());
    }
}

#[test]
fn the_faults_really_happen() {
    let outcomes: Vec<Outcome> = (0..60).map(|seed| run(seed, false)).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let counts: [(&str, u64); 8] = [
        ("acknowledged", sum(|o| o.counts.acknowledged)),
        ("unknown", sum(|o| o.counts.unknown)),
        ("repeated", sum(|o| o.counts.repeated)),
        ("rolled", sum(|o| o.counts.rolled)),
        ("crashes", sum(|o| o.counts.crashes)),
        ("losses", sum(|o| o.counts.losses)),
        ("announced", sum(|o| o.counts.announced)),
        ("confirmed", sum(|o| o.counts.confirmed)),
    ];
    for (what, count) in counts {
        assert!(count > 10, "{what}: {count}");
    }
    // Each log is opened once without any fault.
    assert!(sum(|o| o.counts.opened) > 3 * 60);
}
