//! What goes wrong, and the time after it when all must work again.

use std::time::Duration;

use holdfast_qlog::{StorageId, invariants::Violation, meta::Phase, node::Room};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::world::{CLOCK_BOUND, Event, LOGS, META, NODES, PROCESSES, World, trace};

const STEP: Duration = Duration::from_millis(20);
/// Time between two raises of a running node's generation; a copy of the disk that is older is noticed.
const RATCHET_CHANCE: u64 = 40_000;
/// Acknowledgements that each log must give after the faults.
const LIVE_ACKNOWLEDGEMENTS: u64 = 5;

impl World {
    pub(crate) fn nemesis(&mut self) {
        self.at(STEP, Event::Nemesis);
        if self.calm {
            return;
        }
        let faults = self.faults.clone();
        let node = self.rng.below(NODES as u64) as usize;
        let process = self.rng.below(PROCESSES as u64) as usize;
        if self.rng.chance(faults.node_crash) {
            self.crash_node(node);
        }
        if self.rng.chance(faults.zone_crash) {
            let zone = self.nodes[node].zone.clone();
            for n in (0..NODES)
                .filter(|n| self.nodes[*n].zone == zone)
                .collect::<Vec<_>>()
            {
                self.crash_node(n);
            }
            self.crash_process(process);
        }
        if self.rng.chance(faults.process_crash) {
            self.crash_process(process);
        }
        let pause = Duration::from_millis(self.rng.range(50, 3_000));
        if self.rng.chance(faults.node_pause) {
            self.nodes[node].paused = self.now + pause;
        }
        if self.rng.chance(faults.process_pause) {
            self.processes[process].paused = self.now + pause;
        }
        if self.rng.chance(faults.partition) {
            self.partition();
        }
        if self.rng.chance(faults.heal) {
            self.blocked.clear();
        }
        if self.rng.chance(faults.meta_outage) {
            self.meta_away = self.now + pause;
        }
        if self.rng.chance(faults.clock_jump) {
            let skew = self.rng.below(CLOCK_BOUND.as_micros() as u64);
            self.processes[process].skew = skew;
        }
        if self.rng.chance(faults.disk_full) {
            let room = *self.rng.pick(&[Room::Enough, Room::Little, Room::Full]);
            trace!(self, "n{node}: room {room:?}");
            // Refusing costs nothing that could fail.
            let _: crate::world::Step = self.node_room(node, room);
        }
        if self.rng.chance(faults.spurious_promotion) {
            let log = ChannelId(self.rng.below(u64::from(LOGS)) as u32);
            self.spurious = Some((process, log));
        }
        self.ambush();
        if self.rng.chance(RATCHET_CHANCE) {
            self.ratchet();
        }
        if self.rng.chance(RATCHET_CHANCE) {
            let victim = self.victim;
            self.nodes[victim].snapshot = Some(self.nodes[victim].disk.copy(&mut self.rng));
        }
    }

    fn crash_node(&mut self, n: usize) {
        if self.nodes[n].machine.is_none() {
            return;
        }
        self.node_crash(n);
        if n == self.victim || self.nodes[n].disk.is_damaged() {
            self.harm(n);
        }
        let most = self.faults.restart_max.as_micros() as u64;
        let delay = Duration::from_micros(self.rng.range(1_000, most.max(1_001)));
        let life = self.nodes[n].life;
        self.at(delay, Event::NodeStart { node: n, life });
    }

    /// The one disk that may lose something does, sometimes.
    fn harm(&mut self, n: usize) {
        let faults = self.faults.clone();
        let disk = &self.nodes[n].disk;
        let lost =
            disk.is_damaged() || self.generations.get(&disk.storage) > Some(&disk.generation());
        if lost || self.rng.chance(faults.wipe) {
            // Exchanged by the operator, or wiped.
            self.exchange_disk(n);
        } else if self.rng.chance(faults.restore) {
            let known = self.generations.get(&disk.storage).copied();
            let old = self.nodes[n].snapshot.take();
            if let Some(old) = old.filter(|old| {
                Some(old.generation()) < known && old.storage == self.nodes[n].disk.storage
            }) {
                self.nodes[n].disk = old;
                self.counts.losses += 1;
                trace!(self, "n{n}: an old copy of its disk");
            }
        } else if self.rng.chance(faults.rot) {
            self.rot(n);
        }
    }

    fn rot(&mut self, n: usize) {
        let entry = self.nodes[n].disk.rot(&mut self.rng);
        self.counts.losses += 1;
        trace!(self, "n{n}: rot");
        // Damage is only ever missed when the log is recovered while the other copies are away.
        if self.rng.chance(700_000) {
            for p in 0..PROCESSES {
                self.crash_process(p);
            }
            let other = (n + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
            let away = match entry {
                Some((log, segment, lsn)) => self.only_other_holder(n, log, segment, lsn),
                None => None,
            };
            self.nodes[away.unwrap_or(other)].paused = self.now + Duration::from_millis(3_000);
        }
    }

    /// A node is away for a moment, so that what is acknowledged has two copies. Then the victim, which has one, crashes
    /// and finds it unreadable.
    fn ambush(&mut self) {
        let n = self.victim;
        match self.ambush {
            Some(at) if at <= self.now => {
                self.ambush = None;
                if self.nodes[n].machine.is_some() && !self.nodes[n].disk.is_damaged() {
                    self.node_crash(n);
                    self.rot(n);
                    let life = self.nodes[n].life;
                    self.at(STEP, Event::NodeStart { node: n, life });
                }
            }
            Some(_) => {}
            None => {
                if self.rng.chance(self.faults.rot / 50) {
                    let third = (n + 1 + self.rng.below(NODES as u64 - 1) as usize) % NODES;
                    let until = self.now + 5 * STEP;
                    self.nodes[third].paused = self.nodes[third].paused.max(until);
                    self.ambush = Some(until);
                }
            }
        }
    }

    /// The one node besides `n` that has this entry, where there is just one.
    fn only_other_holder(
        &self,
        n: usize,
        log: ChannelId,
        segment: LogSegment,
        lsn: Lsn,
    ) -> Option<usize> {
        let has = |other: &usize| {
            let disk = &self.nodes[*other].disk;
            !disk.read((log, segment), (lsn, lsn), 1).is_empty()
        };
        let mut holders = (0..NODES).filter(|other| *other != n).filter(has);
        let first = holders.next();
        first.filter(|_| holders.next().is_none())
    }

    pub(crate) fn exchange_disk(&mut self, n: usize) {
        self.storages += 1;
        let storage = StorageId([self.storages; 16]);
        self.nodes[n].disk = self.nodes[n].disk.another(storage, &mut self.rng);
        self.nodes[n].snapshot = None;
        self.counts.losses += 1;
        trace!(self, "n{n}: another disk");
    }

    fn crash_process(&mut self, p: usize) {
        if !self.processes[p].alive {
            return;
        }
        self.process_crash(p);
        let most = self.faults.restart_max.as_micros() as u64;
        let delay = Duration::from_micros(self.rng.range(1_000, most.max(1_001)));
        let life = self.processes[p].life;
        self.at(delay, Event::ProcessStart { process: p, life });
    }

    fn partition(&mut self) {
        let hosts = META + 1;
        match self.rng.below(4) {
            0 => {
                // One way between two.
                let pair = (
                    self.rng.below(hosts as u64) as usize,
                    self.rng.below(hosts as u64) as usize,
                );
                self.blocked.insert(pair);
            }
            1 => {
                // One host, one way.
                let host = self.rng.below(hosts as u64) as usize;
                let out = self.rng.chance(500_000);
                for other in 0..hosts {
                    self.blocked
                        .insert(if out { (host, other) } else { (other, host) });
                }
            }
            2 => {
                // One host, both ways.
                let host = self.rng.below(hosts as u64) as usize;
                for other in 0..hosts {
                    self.blocked.insert((host, other));
                    self.blocked.insert((other, host));
                }
            }
            _ => {
                // Two halves.
                let side = self.rng.next();
                for a in 0..hosts {
                    for b in 0..hosts {
                        if (side >> a & 1) != (side >> b & 1) {
                            self.blocked.insert((a, b));
                        }
                    }
                }
            }
        }
        trace!(self, "blocked: {:?}", self.blocked);
    }

    fn ratchet(&mut self) {
        if self.now < self.meta_away {
            return;
        }
        for node in &mut self.nodes {
            let sound = node
                .machine
                .as_ref()
                .is_some_and(|m| !m.options().data_loss);
            if sound && node.disk.ratchets() {
                let known = self.generations.entry(node.disk.storage).or_default();
                *known += 1;
                node.disk.started(*known);
            }
        }
    }

    /// No more faults. All is there again, but for one log-node, if what is left suffices.
    pub(crate) fn start_calm(&mut self) {
        trace!(self, "calm");
        self.calm = true;
        self.faults.calm();
        self.blocked.clear();
        self.meta_away = Duration::ZERO;
        let lost = self.counts.losses > 0;
        let down = self.rng.below(NODES as u64) as usize;
        if !lost && self.rng.chance(400_000) {
            self.kept_down = Some(down);
            self.node_crash(down);
        }
        for n in 0..NODES {
            self.nodes[n].paused = Duration::ZERO;
            if self.kept_down == Some(n) {
                continue;
            }
            // Failed and full disks are looked after.
            let ill = self.nodes[n]
                .machine
                .as_ref()
                .is_some_and(|m| m.is_read_only() || m.options().data_loss);
            if ill {
                self.node_crash(n);
            }
            let _: crate::world::Step = self.node_room(n, Room::Enough);
            let life = self.nodes[n].life;
            self.at(Duration::ZERO, Event::NodeStart { node: n, life });
        }
        for p in 0..PROCESSES {
            self.processes[p].paused = Duration::ZERO;
            let life = self.processes[p].life;
            self.at(Duration::ZERO, Event::ProcessStart { process: p, life });
        }
        for client in self.clients.values_mut() {
            client.done = 0;
        }
    }

    /// Every log is open, acknowledges, and can be read to its end.
    pub(crate) fn is_live(&mut self) -> bool {
        (0..LOGS).map(ChannelId).all(|log| {
            let open = self
                .meta
                .view(log)
                .head
                .is_some_and(|h| h.phase == Phase::Open);
            let acknowledged = self.client(log).done >= LIVE_ACKNOWLEDGEMENTS;
            let read = self.processes.iter().any(|p| {
                p.logs
                    .get(&log)
                    .is_some_and(|s| s.reader.next().0 + 20 > self.ledger.committed_through(log).0)
            });
            open && acknowledged && read
        })
    }

    pub(crate) fn stuck(&mut self) -> Violation {
        let log = (0..LOGS)
            .map(ChannelId)
            .find(|log| self.client(*log).done < LIVE_ACKNOWLEDGEMENTS)
            .unwrap_or(ChannelId(0));
        let view = self.meta.view(log);
        Violation {
            number: 11,
            log,
            problem: format!(
                "the log does not come back: head {:?}, last {:?}, kept down {:?}",
                view.head,
                view.last(),
                self.kept_down
            ),
        }
    }
}
