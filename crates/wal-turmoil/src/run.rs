//! One seed, from its first moment to the verdict.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use holdfast_qlog::{invariants::Violation, messages::Owner};
use holdfast_types::ChannelId;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use turmoil::{Builder, Sim};

use crate::{
    clock::HostClock,
    device::certain,
    faults::Faults,
    meta::Meta,
    nemesis::{Nemesis, Process},
    node::SimNode,
    process::{LOGS, Life},
    watch::{Counts, Watch},
};

/// How far the hosts go at a time.
const STEP: Duration = Duration::from_millis(1);
/// Longest time in which a healed cluster must serve again.
const LIVENESS_MAX: Duration = Duration::from_secs(60);
/// Acknowledgements that each log must give after the faults.
const LIVE_ACKNOWLEDGEMENTS: u64 = 5;

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The invariant that did not hold, if any.
    pub violation: Option<Violation>,
    /// What was counted.
    pub counts: Counts,
    /// Simulated time.
    pub simulated: Duration,
    /// All events, in one number.
    pub trace_hash: u64,
    /// All events, as text, when asked for.
    pub trace: Vec<String>,
}

/// What panicked, wherever it was: a task's panic would otherwise end with the task.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs one seed. Once a process: what a run leaves behind in it would change the next one.
#[must_use]
pub fn run(seed: u64, traced: bool) -> Outcome {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        PANICS.lock().push(panic.to_string());
    }));
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = Faults::draw(&mut rng);
    let watch = Watch::new(traced);
    watch.note(format_args!("seed {seed}: {faults:?}"));
    let meta = Meta::new(watch.clone(), (faults.meta_delay_max, faults.meta_lost));
    let mut sim = Builder::new()
        .rng_seed(rng.random())
        .epoch(UNIX_EPOCH)
        .tick_duration(STEP)
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::ZERO)
        .max_message_latency(faults.latency_max)
        .ephemeral_ports(1_024..=u16::MAX)
        .tcp_capacity(4_096)
        .enable_random_order()
        .build();
    let zones = if rng.random_bool(0.15) { 1 } else { 2 };
    let nodes = add_nodes(&mut sim, &mut rng, (&faults, zones), (&meta, &watch));
    let processes = add_processes(&mut sim, &mut rng, (&faults, zones), (&meta, &watch));
    let mut nemesis = Nemesis::new(
        rng,
        faults.clone(),
        nodes.clone(),
        processes,
        (meta.clone(), watch.clone()),
    );
    let mut calm_since = None;
    while watch.violation().is_none() {
        if let Err(error) = sim.step() {
            let problem = format!("a host failed: {error}");
            watch.violated(13, ChannelId(0), problem);
        }
        if let Some(panic) = PANICS.lock().pop() {
            watch.violated(13, ChannelId(0), panic);
        }
        let now = sim.elapsed();
        watch.at(now);
        meta.run_late(now);
        nemesis.step(&mut sim);
        match calm_since {
            None if now >= faults.lasts => {
                nemesis.calm(&mut sim);
                calm_since = Some(now);
            }
            None => {}
            Some(_) if watch.is_live(&LOGS, LIVE_ACKNOWLEDGEMENTS) => break,
            Some(since) if now - since > LIVENESS_MAX => {
                watch.violated(11, ChannelId(0), watch.stuck(&LOGS));
            }
            Some(_) => {}
        }
    }
    if watch.violation().is_none() {
        let images: Vec<_> = nodes.iter().map(SimNode::image).collect();
        let lost = usize::from(watch.counts().losses > 0);
        watch.copies_left(
            |log, segment, disk| {
                let on = images.iter().find(|(storage, _)| *storage == disk);
                on.map_or(holdfast_types::Lsn(0), |(_, image)| {
                    certain(image, log, segment)
                })
            },
            lost,
        );
    }
    let simulated = sim.elapsed();
    let outcome = Outcome {
        seed,
        violation: watch.violation(),
        counts: watch.counts(),
        simulated,
        trace_hash: watch.hash(),
        trace: watch.take_trace(),
    };
    drop(sim);
    outcome
}

fn add_nodes(
    sim: &mut Sim<'_>,
    rng: &mut StdRng,
    (faults, zones): (&Faults, usize),
    (meta, watch): (&Meta, &Watch),
) -> Vec<SimNode> {
    let count = rng.random_range(3..=5);
    let names: &[&str] = match (zones, count) {
        (1, _) => &["a"; 5],
        (_, 3) => &["a", "b", "c"],
        _ => &["a", "b", "c", "b", "a"],
    };
    let victim = rng.random_range(0..count);
    let nodes: Vec<SimNode> = (0..count)
        .map(|n| SimNode::new(n, names[n], (rng.random(), faults.sync_max)))
        .collect();
    nodes[victim].state.lock().victim = true;
    for node in &nodes {
        let (node, meta, watch, seed) = (node.clone(), meta.clone(), watch.clone(), rng.random());
        sim.host(&*node.name.clone(), move || {
            node.clone().run(meta.clone(), watch.clone(), seed)
        });
    }
    nodes
}

fn add_processes(
    sim: &mut Sim<'_>,
    rng: &mut StdRng,
    (faults, zones): (&Faults, usize),
    (meta, watch): (&Meta, &Watch),
) -> Vec<Process> {
    let writers = rng.random_range(1..=2);
    let mut processes = Vec::new();
    for p in 0..=writers {
        let name: Arc<str> = match p == writers {
            true => "reader".into(),
            false => format!("writer-{p}").into(),
        };
        let process = Process {
            name: Arc::clone(&name),
            clock: HostClock::default(),
        };
        let (lives, seed) = (AtomicU64::new(0), rng.random::<u64>());
        let (clock, meta, watch) = (process.clock.clone(), meta.clone(), watch.clone());
        let usurp = faults.usurp;
        let host = Arc::clone(&name);
        sim.host(&*name, move || {
            let incarnation = lives.fetch_add(1, Ordering::Relaxed);
            let life = Life {
                owner: Owner {
                    node: Arc::clone(&host),
                    incarnation,
                },
                clock: clock.clone(),
                meta: meta.clone(),
                watch: watch.clone(),
                seed: seed ^ incarnation << 40,
                usurp,
                zones,
            };
            async move {
                match p == writers {
                    true => life.read().await,
                    false => life.write().await,
                }
            }
        });
        processes.push(process);
    }
    processes
}
