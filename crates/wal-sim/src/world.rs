//! The scheduler: one queue of events, in the order of simulated time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holdfast_qlog::{
    Zone,
    invariants::{Ledger, Violation},
    messages::{ClusterId, Reply, Request},
    meta::{LogView, MetaTxn, NodeRegistration, NodeState, TxnOutcome},
    node::{Caller, Ticket},
    place::CopyRule,
};
use holdfast_types::{ChannelId, Epoch};

use crate::{
    client::Client,
    faults::Faults,
    healing::{HEALING_MAX, Healing},
    meta::Meta,
    node::SimNode,
    process::SimProcess,
    rng::Rng,
};

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(crate) const NODES: usize = 5;
pub(crate) const PROCESSES: usize = 3;
pub(crate) const LOGS: u32 = 2;
/// The metadata store, as a host of the network; nodes and processes come before it.
pub(crate) const META: usize = NODES + PROCESSES;
/// Most by which the clocks of two processes differ.
pub(crate) const CLOCK_BOUND: Duration = Duration::from_secs(3);
/// One in so many seeds has disks of bytes, under the journal that ships.
pub(crate) const BYTES_EVERY: u64 = 8;
/// Longest time in which a healed cluster must serve again.
const LIVENESS_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Request {
        node: usize,
        caller: Caller,
        request: Request,
    },
    Reply {
        node: usize,
        caller: Caller,
        reply: Reply,
    },
    Synced {
        node: usize,
        life: u32,
        through: Ticket,
    },
    NodeStart {
        node: usize,
        life: u32,
    },
    ProcessStart {
        process: usize,
        life: u32,
    },
    ProcessTick {
        process: usize,
        life: u32,
    },
    MetaTxn {
        caller: Caller,
        id: u64,
        txn: MetaTxn,
    },
    MetaView {
        caller: Caller,
    },
    TxnDone {
        caller: Caller,
        id: u64,
        outcome: TxnOutcome,
    },
    ViewDone {
        caller: Caller,
        view: LogView,
    },
    PeerBeat {
        process: usize,
        log: ChannelId,
        epoch: Epoch,
    },
    Client {
        log: ChannelId,
    },
    Nemesis,
}

impl Event {
    fn host(&self) -> Option<usize> {
        match self {
            Self::Request { node, .. } | Self::Synced { node, .. } => Some(*node),
            Self::Reply { caller, .. }
            | Self::TxnDone { caller, .. }
            | Self::ViewDone { caller, .. } => Some(NODES + Tag::of(*caller).process),
            Self::ProcessTick { process, .. } | Self::PeerBeat { process, .. } => {
                Some(NODES + *process)
            }
            _ => None,
        }
    }
}

/// Which state machine asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Writer,
    Recoverer,
    Reader,
    Detector,
    Watch,
    Healer,
}

/// What a [`Caller`] stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) log: ChannelId,
    pub(crate) role: Role,
}

impl Tag {
    pub(crate) fn caller(self) -> Caller {
        let role = match self.role {
            Role::Writer => 0,
            Role::Recoverer => 1,
            Role::Reader => 2,
            Role::Detector => 3,
            Role::Watch => 4,
            Role::Healer => 5,
        };
        Caller(
            u64::from(self.life) << 32
                | (self.process as u64) << 16
                | u64::from(self.log.0) << 8
                | role,
        )
    }

    pub(crate) fn of(caller: Caller) -> Self {
        let bits = caller.0;
        Self {
            life: (bits >> 32) as u32,
            process: (bits >> 16 & 0xffff) as usize,
            log: ChannelId((bits >> 8 & 0xff) as u32),
            role: match bits & 0xff {
                0 => Role::Writer,
                1 => Role::Recoverer,
                2 => Role::Reader,
                3 => Role::Detector,
                4 => Role::Watch,
                _ => Role::Healer,
            },
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken from the queue.
    pub events: u64,
    /// Requests acknowledged.
    pub acknowledged: u64,
    /// Requests whose outcome was unknown at first.
    pub unknown: u64,
    /// Repeated requests that were recognised.
    pub repeated: u64,
    /// Logs opened.
    pub opened: u64,
    /// Segments rolled.
    pub rolled: u64,
    /// Crashes of nodes and processes.
    pub crashes: u64,
    /// Disks that lost something.
    pub losses: u64,
    /// Bare ticks announced.
    pub announced: u64,
    /// Strong reads confirmed.
    pub confirmed: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
}

/// One simulated cluster.
pub(crate) struct World {
    pub(crate) now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    counter: u64,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) processes: Vec<SimProcess>,
    pub(crate) clients: BTreeMap<ChannelId, Client>,
    pub(crate) meta: Meta,
    pub(crate) meta_away: Duration,
    /// What the store says about each disk's generation.
    pub(crate) generations: BTreeMap<holdfast_qlog::StorageId, u64>,
    /// Disks that were found to have lost something; the store remembers.
    pub(crate) condemned: BTreeSet<holdfast_qlog::StorageId>,
    pub(crate) blocked: BTreeSet<(usize, usize)>,
    /// The one node whose disk may lose something.
    pub(crate) victim: usize,
    pub(crate) storages: u8,
    pub(crate) ledger: Ledger,
    pub(crate) counts: Counts,
    pub(crate) rule: CopyRule,
    pub(crate) calm: bool,
    pub(crate) kept_down: Option<usize>,
    /// A promotion that nothing called for.
    pub(crate) spurious: Option<(usize, ChannelId)>,
    /// When the victim will crash with an entry unreadable, see `ambush`.
    pub(crate) ambush: Option<Duration>,
    pub(crate) healing: Healing,
    hash: u64,
    pub(crate) trace: Option<Vec<String>>,
}

pub(crate) type Step = Result<(), Violation>;

macro_rules! trace {
    ($world:expr, $($format:tt)*) => {
        if let Some(lines) = &mut $world.trace {
            let line = format!($($format)*);
            lines.push(format!("{:>12?} {line}", $world.now));
        }
    };
}
pub(crate) use trace;

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let faults = Faults::draw(&mut rng);
        let zones: &[&str] = if rng.chance(700_000) {
            &["a", "b", "c", "a", "b"]
        } else {
            &["a", "b", "a", "b", "a"]
        };
        let of_bytes = seed % BYTES_EVERY == BYTES_EVERY - 1;
        let nodes = zones
            .iter()
            .enumerate()
            .map(|(n, zone)| {
                let disk = of_bytes.then(|| rng.next());
                SimNode::new(n, Zone((*zone).into()), disk)
            })
            .collect();
        let victim = rng.below(NODES as u64) as usize;
        let mut world = Self {
            now: Duration::from_secs(1_000),
            queue: BTreeMap::new(),
            counter: 0,
            faults,
            nodes,
            processes: (0..PROCESSES).map(SimProcess::new).collect(),
            clients: (0..LOGS)
                .map(|l| (ChannelId(l), Client::default()))
                .collect(),
            meta: Meta::default(),
            meta_away: Duration::ZERO,
            generations: BTreeMap::new(),
            condemned: BTreeSet::new(),
            blocked: BTreeSet::new(),
            victim,
            storages: 100,
            ledger: Ledger::default(),
            counts: Counts::default(),
            rule: CopyRule::default(),
            calm: false,
            kept_down: None,
            spurious: None,
            ambush: None,
            healing: Healing::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            trace: traced.then(Vec::new),
            rng,
        };
        for node in 0..NODES {
            world.at(Duration::ZERO, Event::NodeStart { node, life: 0 });
        }
        for process in 0..PROCESSES {
            let delay = Duration::from_millis(10 + 7 * process as u64);
            world.at(delay, Event::ProcessStart { process, life: 0 });
        }
        for log in 0..LOGS {
            let log = ChannelId(log);
            world.at(Duration::from_millis(50), Event::Client { log });
        }
        world.at(Duration::from_millis(500), Event::Nemesis);
        world
    }

    /// Runs the seed: a time with faults, then a time without, in which everything must work again.
    pub(crate) fn run(&mut self) -> Step {
        let began = self.now;
        let safety = Duration::from_millis(self.rng.range(4_000, 12_000));
        while self.now < began + safety {
            self.next()?;
        }
        self.start_calm();
        let deadline = self.now + LIVENESS_MAX;
        loop {
            for _ in 0..200 {
                self.next()?;
            }
            if self.is_live() {
                break;
            }
            if self.now > deadline {
                return Err(self.stuck());
            }
        }
        self.heal()?;
        self.counts.simulated_ms = (self.now - began).as_millis() as u64;
        self.check_rejected()
    }

    /// Every segment that has ended gets all its copies again.
    fn heal(&mut self) -> Step {
        let marks = self.ended();
        let deadline = self.now + HEALING_MAX;
        loop {
            self.heal_tick()?;
            for _ in 0..50 {
                self.next()?;
            }
            let whole = self.is_whole(&marks);
            if whole.is_ok() || self.now > deadline {
                return whole;
            }
        }
    }

    /// What was run, in one number.
    pub(crate) fn trace_hash(&self) -> u64 {
        self.hash
    }

    fn next(&mut self) -> Step {
        let Some(((at, order), event)) = self.queue.pop_first() else {
            return Ok(());
        };
        self.now = at;
        self.counts.events += 1;
        self.fold(at.as_nanos() as u64);
        self.fold(order);
        if let Some(until) = event.host().and_then(|host| self.paused(host)) {
            let delay = until.saturating_sub(self.now);
            self.at(delay, event);
            return Ok(());
        }
        match event {
            Event::Request {
                node,
                caller,
                request,
            } => self.node_request(node, caller, request),
            Event::Reply {
                node,
                caller,
                reply,
            } => self.process_reply(node, caller, reply),
            Event::Synced {
                node,
                life,
                through,
            } => self.node_synced(node, life, through),
            Event::NodeStart { node, life } => self.node_start(node, life),
            Event::ProcessStart { process, life } => {
                self.process_start(process, life);
                Ok(())
            }
            Event::ProcessTick { process, life } => self.process_tick(process, life),
            Event::MetaTxn { caller, id, txn } => self.meta_txn(caller, id, &txn),
            Event::MetaView { caller } => {
                self.meta_view(caller);
                Ok(())
            }
            Event::TxnDone {
                caller,
                id,
                outcome,
            } => self.process_txn(caller, id, outcome),
            Event::ViewDone { caller, view } => self.process_view(caller, view),
            Event::PeerBeat {
                process,
                log,
                epoch,
            } => self.process_beat(process, log, epoch),
            Event::Client { log } => self.client_step(log),
            Event::Nemesis => {
                self.nemesis();
                match self.spurious.take() {
                    Some((process, log)) => self.start_recovery(process, log, None),
                    None => Ok(()),
                }
            }
        }
    }

    pub(crate) fn fold(&mut self, value: u64) {
        self.hash = (self.hash ^ value)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(17);
    }

    pub(crate) fn at(&mut self, delay: Duration, event: Event) {
        self.counter += 1;
        self.queue.insert((self.now + delay, self.counter), event);
    }

    fn paused(&self, host: usize) -> Option<Duration> {
        let until = if host < NODES {
            self.nodes[host].paused
        } else {
            self.processes[host - NODES].paused
        };
        (until > self.now).then_some(until)
    }

    pub(crate) fn delay(&mut self, most: Duration) -> Duration {
        let most = most.as_micros() as u64;
        // Mostly short: the square of a uniform number.
        let x = self.rng.below(1_000);
        let y = self.rng.below(1_000);
        Duration::from_micros(50 + most * x * y / 1_000_000)
    }

    /// Sends over the network: it may be lost, come late, or come twice.
    pub(crate) fn send(&mut self, from: usize, to: usize, event: Event) {
        if self.blocked.contains(&(from, to)) || self.rng.chance(self.faults.drop) {
            return;
        }
        if self.rng.chance(self.faults.duplicate) {
            let delay = self.delay(self.faults.delay_max) + self.delay(self.faults.slow_max);
            self.at(delay, event.clone());
        }
        let mut delay = self.delay(self.faults.delay_max);
        if self.rng.chance(self.faults.slow) {
            delay += self.delay(self.faults.slow_max);
        }
        self.at(delay, event);
    }

    pub(crate) fn node_named(&self, name: &Arc<str>) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == *name)
    }

    /// The log-nodes, as the store has them: those that live, and those whose lease has not run out.
    pub(crate) fn registered(&self) -> Vec<NodeRegistration> {
        self.nodes
            .iter()
            .filter(|n| {
                n.machine.is_some() || self.now.saturating_sub(n.seen) < Duration::from_secs(2)
            })
            .map(|n| NodeRegistration {
                node: n.name.clone(),
                address: n.name.clone(),
                zone: n.zone.clone(),
                storage: n.disk.storage,
                generation: n.disk.generation(),
                state: n.state(),
                free_bytes: 50,
                total_bytes: 100,
            })
            .collect()
    }

    fn meta_txn(&mut self, caller: Caller, id: u64, txn: &MetaTxn) -> Step {
        let tag = Tag::of(caller);
        if self.now < self.meta_away {
            return Ok(());
        }
        let applied = self.meta.run(txn);
        trace!(
            self,
            "meta: {tag:?} txn {id}: applied {applied}: {}",
            crate::text::describe(txn)
        );
        if applied {
            self.fold(1);
            let view = self.meta.view(tag.log);
            self.ledger.metadata(tag.log, &view)?;
        }
        let mut outcome = if applied {
            TxnOutcome::Applied
        } else {
            TxnOutcome::Refused
        };
        if self.rng.chance(self.faults.meta_lost) {
            outcome = TxnOutcome::Unknown;
        }
        let delay = self.delay(self.faults.meta_delay_max);
        self.at(
            delay,
            Event::TxnDone {
                caller,
                id,
                outcome,
            },
        );
        Ok(())
    }

    fn meta_view(&mut self, caller: Caller) {
        if self.now < self.meta_away {
            return;
        }
        let view = self.meta.view(Tag::of(caller).log);
        let delay = self.delay(self.faults.meta_delay_max);
        self.at(delay, Event::ViewDone { caller, view });
    }
}

impl SimNode {
    fn state(&self) -> NodeState {
        match &self.machine {
            Some(node) if node.options().data_loss => NodeState::DataLoss,
            Some(node) if node.is_read_only() => NodeState::ReadOnly,
            _ => NodeState::ReadWrite,
        }
    }
}
