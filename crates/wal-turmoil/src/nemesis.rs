//! What goes wrong, and the time after it when all must work again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use holdfast_disk::{Faults as DiskFaults, SimDisk};
use holdfast_journal::stored_identity;
use holdfast_qlog::StorageId;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use turmoil::Sim;

use crate::{
    clock::HostClock,
    device::{DIR, sound},
    faults::Faults,
    meta::{Link, Meta},
    node::SimNode,
    watch::Watch,
};

/// Time between two looks.
const STEP: Duration = Duration::from_millis(20);
/// How likely a copy is made of the disk that may lose something, at each look.
const SNAPSHOT: f64 = 0.04;
/// Most by which clocks differ.
const CLOCKS_DIFFER_MAX: u64 = 500;

/// A process that writes or reads.
pub(crate) struct Process {
    pub(crate) name: Arc<str>,
    pub(crate) clock: HostClock,
}

/// What a disk suffers from, for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Illness {
    Errors,
    Full,
    Lies,
}

/// The one who breaks things, and mends them.
pub(crate) struct Nemesis {
    rng: StdRng,
    faults: Faults,
    nodes: Vec<SimNode>,
    processes: Vec<Process>,
    meta: Meta,
    watch: Watch,
    next: Duration,
    calm: bool,
    /// Ways on which nothing arrives: from, to. The metadata store is the last host.
    blocked: BTreeSet<(usize, usize)>,
    /// Ways on which everything waits, until then.
    held: BTreeMap<(usize, usize), Duration>,
    slow: BTreeMap<(usize, usize), Duration>,
    ill: BTreeMap<usize, (Illness, Duration)>,
    /// Hosts that are down, until then.
    down: BTreeMap<usize, Duration>,
    storages: u8,
    /// Down for good.
    kept_down: Option<usize>,
}

impl Nemesis {
    pub(crate) fn new(
        rng: StdRng,
        faults: Faults,
        nodes: Vec<SimNode>,
        processes: Vec<Process>,
        (meta, watch): (Meta, Watch),
    ) -> Self {
        Self {
            rng,
            faults,
            nodes,
            processes,
            meta,
            watch,
            next: Duration::ZERO,
            calm: false,
            blocked: BTreeSet::new(),
            held: BTreeMap::new(),
            slow: BTreeMap::new(),
            ill: BTreeMap::new(),
            down: BTreeMap::new(),
            storages: 100,
            kept_down: None,
        }
    }

    /// Nodes, then processes, then the metadata store.
    fn hosts(&self) -> usize {
        self.nodes.len() + self.processes.len()
    }

    fn name(&self, host: usize) -> &Arc<str> {
        match self.nodes.get(host) {
            Some(node) => &node.name,
            None => &self.processes[host - self.nodes.len()].name,
        }
    }

    fn hit(&mut self, probability: f64) -> bool {
        let hit = probability > 0.0 && self.rng.random_bool(probability);
        if hit {
            self.watch.count(|counts| counts.faults += 1);
        }
        hit
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low..high))
    }

    /// After every step of the simulation.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        if now < self.next {
            return;
        }
        self.next = now + STEP;
        self.mend(sim, now);
        if self.calm {
            return;
        }
        let faults = self.faults.clone();
        let node = self.rng.random_range(0..self.nodes.len());
        let process = self.nodes.len() + self.rng.random_range(0..self.processes.len());
        if self.hit(faults.node_crash) {
            self.crash(sim, node, now);
        }
        if self.hit(faults.process_crash) {
            self.crash(sim, process, now);
        }
        if self.hit(faults.zone_crash) {
            let zone = self.nodes[node].zone.clone();
            for n in 0..self.nodes.len() {
                if self.nodes[n].zone == zone {
                    self.crash(sim, n, now);
                }
            }
            self.crash(sim, process, now);
        }
        if self.hit(faults.partition) {
            self.partition(sim);
        }
        if self.rng.random_bool(faults.repair) && !self.blocked.is_empty() {
            self.repair(sim);
        }
        if self.hit(faults.hold) {
            let until = now + self.millis(50, 3_000);
            self.hold(sim, until);
        }
        if self.hit(faults.slow_link) {
            let (latency, until) = (self.millis(5, 1_500), now + self.millis(100, 4_000));
            self.slow(sim, latency, until);
        }
        if self.hit(faults.disk_stall) {
            let until = now + self.millis(50, 4_000);
            self.watch
                .note(format_args!("{} has a slow disk", self.name(node)));
            self.nodes[node].pace.stall_until(until);
        }
        self.sicken(node, now);
        if self.hit(faults.meta_outage) {
            let until = now + self.millis(100, 3_000);
            self.watch.note(format_args!("the metadata store is away"));
            self.meta.away_until(until);
        }
        if self.hit(faults.clock_jump) {
            let ahead = self.millis(0, CLOCKS_DIFFER_MAX);
            self.processes[process - self.nodes.len()]
                .clock
                .set_ahead(ahead);
        }
        if self.rng.random_bool(SNAPSHOT) {
            self.snapshot();
        }
    }

    /// What lasts for a while ends.
    fn mend(&mut self, sim: &mut Sim<'_>, now: Duration) {
        let up: Vec<usize> = due(&mut self.down, now);
        for host in up {
            self.watch.note(format_args!("{} starts", self.name(host)));
            sim.bounce(&**self.name(host));
        }
        for way in due(&mut self.held, now) {
            sim.release(&**self.name(way.0), &**self.name(way.1));
            self.renew(sim, way);
        }
        for (a, b) in due(&mut self.slow, now) {
            let usual = self.faults.latency_max;
            sim.set_link_max_message_latency(&**self.name(a), &**self.name(b), usual);
        }
        let well: Vec<usize> = self
            .ill
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(n, _)| *n)
            .collect();
        for n in well {
            self.ill.remove(&n);
            let state = &mut *self.nodes[n].state.lock();
            state.ill = false;
            state.disk.set_faults(sound());
            state.disk.set_free(None);
        }
        for n in 0..self.nodes.len() {
            let (failed, broken, harmed) = {
                let state = self.nodes[n].state.lock();
                let failed = state.opened.as_ref().is_some_and(|o| o.has_failed());
                (failed, state.broken && !state.ill, state.harmed)
            };
            let up = !self.down.contains_key(&n) && self.kept_down != Some(n);
            if up && broken {
                if harmed {
                    self.exchange(n);
                }
                self.nodes[n].state.lock().broken = false;
                sim.bounce(&*self.nodes[n].name);
            } else if up && failed && (self.calm || self.rng.random_bool(0.02)) {
                // An operator looks after it.
                self.crash(sim, n, now);
            }
        }
    }

    fn crash(&mut self, sim: &mut Sim<'_>, host: usize, now: Duration) {
        if self.down.contains_key(&host) || self.kept_down == Some(host) {
            return;
        }
        let power = self.rng.random_bool(self.faults.power);
        self.watch.count(|counts| counts.crashes += 1);
        self.watch.note(format_args!(
            "{} crashes{}",
            self.name(host),
            if power { ", with its machine" } else { "" }
        ));
        if power {
            // Nobody hears of it.
            for other in (0..self.hosts()).filter(|other| *other != host) {
                sim.partition_oneway(&**self.name(host), &**self.name(other));
            }
        }
        sim.crash(&**self.name(host));
        if power {
            for other in (0..self.hosts()).filter(|other| *other != host) {
                sim.repair_oneway(&**self.name(host), &**self.name(other));
                self.renew(sim, (host, other));
            }
        }
        if host < self.nodes.len() {
            self.crashed(host, power);
        }
        let most = u64::try_from(self.faults.restart_max.as_millis()).unwrap_or(u64::MAX);
        let until = now + self.millis(1, most.max(2));
        self.down.insert(host, until);
    }

    /// What a crash does to the disk of a node.
    fn crashed(&mut self, n: usize, power: bool) {
        self.ill.remove(&n);
        let victim = {
            let state = &mut *self.nodes[n].state.lock();
            if let Some(opened) = state.opened.take() {
                state.image = opened.image().unwrap_or_default();
                opened.crash(&state.disk, power, &mut self.rng);
            } else if power {
                state.disk.cut_power();
            }
            state.disk.set_faults(sound());
            state.disk.set_free(None);
            state.ill = false;
            state.broken = false;
            state.victim
        };
        if victim {
            self.harm(n);
        }
    }

    /// The one disk that may lose something does, sometimes.
    fn harm(&mut self, n: usize) {
        if self.calm && !self.nodes[n].state.lock().harmed {
            return;
        }
        let faults = self.faults.clone();
        if self.nodes[n].state.lock().harmed || self.hit(faults.wipe) {
            self.exchange(n);
        } else if self.hit(faults.restore) {
            self.restore(n);
        } else if self.hit(faults.rot) {
            let state = &mut *self.nodes[n].state.lock();
            if rot(&state.disk, &mut self.rng) {
                state.harmed = true;
                self.watch.note(format_args!("{}: rot", self.nodes[n].name));
                self.watch.count(|counts| counts.losses += 1);
            }
        }
    }

    /// An old copy takes the place of the disk: one that is older than what the metadata remembers.
    fn restore(&mut self, n: usize) {
        let node = &self.nodes[n];
        let known = self.meta.generation(&node.name);
        let state = &mut *node.state.lock();
        let old = state.snapshot.take();
        let Some((old, _)) = old.filter(|(_, generation)| *generation < known) else {
            return;
        };
        old.set_faults(sound());
        state.disk = old;
        state.harmed = true;
        self.watch
            .note(format_args!("{}: an old copy of its disk", node.name));
        self.watch.count(|counts| counts.losses += 1);
    }

    fn exchange(&mut self, n: usize) {
        self.storages += 1;
        let storage = StorageId([self.storages; 16]);
        self.nodes[n].exchange(storage, self.rng.random());
        self.watch
            .note(format_args!("{}: another disk", self.nodes[n].name));
        self.watch.count(|counts| counts.losses += 1);
    }

    fn snapshot(&mut self) {
        for node in &self.nodes {
            let state = &mut *node.state.lock();
            let stored = stored_identity(&state.disk, Path::new(DIR));
            if let Ok(Some(stored)) = stored
                && state.victim
                && !state.harmed
            {
                let image = state.disk.image(self.rng.random());
                state.snapshot = Some((image, stored.generation));
            }
        }
    }

    /// A disk fails, or is full, or lies, for a while.
    fn sicken(&mut self, n: usize, now: Duration) {
        let faults = self.faults.clone();
        let until = now + self.millis(20, 2_000);
        let running = !self.down.contains_key(&n) && !self.ill.contains_key(&n);
        if !running {
            return;
        }
        let victim = self.nodes[n].state.lock().victim;
        let illness = if self.hit(faults.disk_error) {
            Illness::Errors
        } else if self.hit(faults.disk_full) {
            Illness::Full
        } else if victim && self.hit(faults.lie) {
            Illness::Lies
        } else {
            return;
        };
        let room = self.rng.random_range(0..600 << 10);
        let state = &mut *self.nodes[n].state.lock();
        state.ill = true;
        match illness {
            Illness::Errors => state.disk.set_faults(DiskFaults {
                failed_write: 0.1,
                failed_sync: 0.1,
                failed_read: 0.1,
                ..sound()
            }),
            Illness::Full => state.disk.set_free(Some(room)),
            Illness::Lies => {
                state.harmed = true;
                self.watch.count(|counts| counts.losses += 1);
                state.disk.set_faults(DiskFaults {
                    misdirected_write: 0.1,
                    lost_write: 0.1,
                    ..sound()
                });
            }
        }
        let what = match illness {
            Illness::Errors => "fails",
            Illness::Full => "is full",
            Illness::Lies => "lies",
        };
        self.watch
            .note(format_args!("the disk of {} {what}", self.nodes[n].name));
        self.ill.insert(n, (illness, until));
    }

    fn partition(&mut self, sim: &mut Sim<'_>) {
        let hosts = self.hosts() + 1;
        let host = self.rng.random_range(0..hosts);
        let others = (0..hosts).filter(|other| *other != host);
        let ways: Vec<(usize, usize)> = match self.rng.random_range(0..4) {
            // One way between two.
            0 => vec![(host, self.rng.random_range(0..hosts))],
            // One host, one way.
            1 => {
                let out = self.rng.random_bool(0.5);
                others
                    .map(|o| if out { (host, o) } else { (o, host) })
                    .collect()
            }
            // One host, both ways.
            2 => others.flat_map(|o| [(host, o), (o, host)]).collect(),
            // Two halves.
            _ => {
                let side: u64 = self.rng.random();
                let apart = |a: usize, b: usize| (side >> a & 1) != (side >> b & 1);
                (0..hosts)
                    .flat_map(|a| (0..hosts).map(move |b| (a, b)))
                    .filter(|(a, b)| apart(*a, *b))
                    .collect()
            }
        };
        for way in ways.into_iter().filter(|(a, b)| a != b) {
            if self.blocked.insert(way) {
                let held = [way, (way.1, way.0)].into_iter();
                for held in held
                    .filter(|way| self.held.remove(way).is_some())
                    .collect::<Vec<_>>()
                {
                    sim.release(&**self.name(held.0), &**self.name(held.1));
                }
                self.renew(sim, way);
            }
        }
        self.link_meta();
        self.watch
            .note(format_args!("nothing arrives on {:?}", self.blocked));
    }

    /// Makes a way what it should be.
    fn renew(&self, sim: &Sim<'_>, way: (usize, usize)) {
        let meta = self.hosts();
        if way.0 == meta || way.1 == meta {
            return;
        }
        for (a, b) in [way, (way.1, way.0)] {
            if self.blocked.contains(&(a, b)) {
                sim.partition_oneway(&**self.name(a), &**self.name(b));
            }
        }
    }

    fn repair(&mut self, sim: &Sim<'_>) {
        let meta = self.hosts();
        for (a, b) in std::mem::take(&mut self.blocked) {
            if a != meta && b != meta {
                sim.repair_oneway(&**self.name(a), &**self.name(b));
            }
        }
        self.link_meta();
        self.watch.note(format_args!("everything arrives"));
    }

    fn link_meta(&self) {
        let meta = self.hosts();
        for host in 0..meta {
            let link = Link {
                deaf: self.blocked.contains(&(host, meta)),
                mute: self.blocked.contains(&(meta, host)),
            };
            self.meta.set_link(self.name(host), link);
        }
    }

    fn pair(&mut self) -> Option<(usize, usize)> {
        let hosts: Vec<usize> = (0..self.hosts()).collect();
        let pair: Vec<&usize> = hosts.choose_multiple(&mut self.rng, 2).collect();
        let way = (*pair[0], *pair[1]);
        let taken =
            |way: &(usize, usize)| self.blocked.contains(way) || self.held.contains_key(way);
        (![way, (way.1, way.0)].iter().any(taken)).then_some(way)
    }

    /// Everything between two hosts waits.
    fn hold(&mut self, sim: &Sim<'_>, until: Duration) {
        let Some(way) = self.pair() else { return };
        self.watch.note(format_args!("everything waits on {way:?}"));
        sim.hold(&**self.name(way.0), &**self.name(way.1));
        self.held.insert(way, until);
    }

    fn slow(&mut self, sim: &Sim<'_>, latency: Duration, until: Duration) {
        let Some(way) = self.pair() else { return };
        self.watch
            .note(format_args!("{latency:?} on the way {way:?}"));
        sim.set_link_max_message_latency(&**self.name(way.0), &**self.name(way.1), latency);
        self.slow.insert(way, until);
    }

    /// No more faults. All is there again, but for one log-node, if what is left suffices.
    pub(crate) fn calm(&mut self, sim: &mut Sim<'_>) {
        self.watch.note(format_args!("calm"));
        self.calm = true;
        self.watch.start_calm();
        self.meta.calm();
        self.repair(sim);
        let end = Duration::MAX;
        for way in due(&mut self.held, end) {
            sim.release(&**self.name(way.0), &**self.name(way.1));
        }
        for (a, b) in due(&mut self.slow, end) {
            let usual = self.faults.latency_max;
            sim.set_link_max_message_latency(&**self.name(a), &**self.name(b), usual);
        }
        let now = sim.elapsed();
        for n in 0..self.nodes.len() {
            self.nodes[n].pace.stall_until(Duration::ZERO);
            let harmed = self.nodes[n].state.lock().harmed;
            if harmed {
                self.crash(sim, n, now);
            }
        }
        for (_, until) in self.ill.values_mut() {
            *until = now;
        }
        for until in self.down.values_mut() {
            *until = now;
        }
        let lost = self.watch.counts().losses > 0;
        let spare = self.nodes.len() > 4 && !lost;
        if spare && self.rng.random_bool(0.5) {
            let n = self.rng.random_range(0..self.nodes.len());
            self.crash(sim, n, now);
            self.down.remove(&n);
            self.kept_down = Some(n);
        }
    }
}

/// Takes out what ends by now.
fn due<K: Copy + Ord>(until: &mut BTreeMap<K, Duration>, now: Duration) -> Vec<K> {
    let ended = until.iter().filter(|(_, end)| **end <= now);
    let ended: Vec<K> = ended.map(|(key, _)| *key).collect();
    for key in &ended {
        until.remove(key);
    }
    ended
}

/// A byte of some file flips, or a sector of it is lost. Whether there was one.
fn rot(disk: &SimDisk, rng: &mut StdRng) -> bool {
    let written = |bytes: &[u8]| bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let files: Vec<(PathBuf, usize)> = disk
        .durable_files()
        .into_iter()
        .map(|(path, bytes)| (path, written(&bytes)))
        .filter(|(_, len)| *len > 0)
        .collect();
    let Some((path, len)) = files.choose(rng) else {
        return false;
    };
    // Mostly near the end of what was written.
    let near = if rng.random_bool(0.7) {
        (*len).min(8 << 10)
    } else {
        *len
    };
    let at = len - 1 - rng.random_range(0..near);
    let sector = rng.random_bool(0.2);
    let bit = 1_u8 << rng.random_range(0..8);
    disk.damage(path, |bytes| {
        if sector {
            let begin = at / 512 * 512;
            let end = (begin + 512).min(bytes.len());
            bytes[begin..end].fill(0);
        } else {
            bytes[at] ^= bit;
        }
    });
    true
}
