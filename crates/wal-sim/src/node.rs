//! Log-nodes: the shipped state machine over a simulated disk.

use std::{sync::Arc, time::Duration};

use holdfast_qlog::{
    StorageId, Zone,
    invariants::{Violation, bounded},
    messages::{Answer, Entries, Reply, Request},
    node::{Caller, Node, NodeAction, NodeEvent, NodeOptions, Room, Ticket},
};
use holdfast_types::ChannelId;

use crate::{
    disk::{Disk, Pending},
    world::{CLUSTER, Event, NODES, Step, Tag, World, trace},
};

const PENDING_BYTES_MAX: u64 = 64 << 10;

pub(crate) struct SimNode {
    pub(crate) name: Arc<str>,
    pub(crate) zone: Zone,
    pub(crate) disk: Disk,
    /// `None`: the process is not running.
    pub(crate) machine: Option<Node>,
    pub(crate) life: u32,
    pub(crate) paused: Duration,
    pub(crate) seen: Duration,
    pending: Pending,
    syncing: bool,
    /// A copy of the disk of an earlier time.
    pub(crate) snapshot: Option<Disk>,
}

impl SimNode {
    pub(crate) fn new(n: usize, zone: Zone, bytes: Option<u64>) -> Self {
        let storage = StorageId([n as u8 + 1; 16]);
        Self {
            name: format!("n{n}").into(),
            zone,
            disk: match bytes {
                Some(seed) => Disk::of_bytes(storage, seed),
                None => Disk::of_records(storage),
            },
            machine: None,
            life: 0,
            paused: Duration::ZERO,
            seen: Duration::ZERO,
            pending: Pending::new(),
            syncing: false,
            snapshot: None,
        }
    }
}

impl World {
    pub(crate) fn node_start(&mut self, n: usize, life: u32) -> Step {
        if self.nodes[n].life != life || self.nodes[n].machine.is_some() {
            return Ok(());
        }
        if self.now < self.meta_away {
            // Its generation cannot be looked up.
            self.at(
                Duration::from_millis(100),
                Event::NodeStart { node: n, life },
            );
            return Ok(());
        }
        let node = &mut self.nodes[n];
        let found = match node.disk.open(&mut self.ledger) {
            Ok(found) => found,
            // A journal that cannot be opened is the end of a disk; only one that may lose something may end so.
            Err(problem) if n == self.victim => {
                trace!(self, "n{n} cannot start: {problem}");
                self.exchange_disk(n);
                let life = self.nodes[n].life;
                self.at(
                    Duration::from_millis(100),
                    Event::NodeStart { node: n, life },
                );
                return Ok(());
            }
            Err(problem) => {
                return Err(Violation {
                    number: 13,
                    log: ChannelId(0),
                    problem: format!("n{n} cannot start: {problem}"),
                });
            }
        };
        let known = self.generations.entry(node.disk.storage).or_default();
        let storage = node.disk.storage;
        // The verdict is kept: a journal counts its starts, so an old copy would catch up by being started often.
        let data_loss =
            found.generation < *known || found.damaged || self.condemned.contains(&storage);
        if data_loss {
            self.condemned.insert(storage);
        } else {
            *known = found.generation + 1;
            node.disk.started(*known);
        }
        let options = NodeOptions {
            cluster: CLUSTER,
            node: node.name.clone(),
            storage: node.disk.storage,
            generation: node.disk.generation(),
            data_loss,
            pending_bytes_max: PENDING_BYTES_MAX,
            read_entries_max: 64,
        };
        node.machine = Some(Node::open(options, found.image));
        node.seen = self.now;
        trace!(self, "n{n} starts, data_loss {data_loss}");
        Ok(())
    }

    /// The process ends. Of what was given to the disk and not synced, a part is there nevertheless.
    pub(crate) fn node_crash(&mut self, n: usize) {
        let Self {
            nodes,
            rng,
            ledger,
            now,
            ..
        } = self;
        let node = &mut nodes[n];
        if node.machine.take().is_none() {
            return;
        }
        node.life += 1;
        node.seen = *now;
        node.paused = Duration::ZERO;
        node.syncing = false;
        node.disk.crash(&mut node.pending, rng, ledger);
        self.counts.crashes += 1;
        trace!(self, "n{n} crashes");
    }

    pub(crate) fn node_request(&mut self, n: usize, caller: Caller, request: Request) -> Step {
        let Some(machine) = &mut self.nodes[n].machine else {
            return Ok(());
        };
        trace!(
            self,
            "n{n} <- {:?} {:?}",
            Tag::of(caller),
            crate::text::brief(&request.ask)
        );
        let event = NodeEvent::Request { caller, request };
        let actions = machine.step(event, self.now);
        self.node_act(n, actions)
    }

    pub(crate) fn node_synced(&mut self, n: usize, life: u32, through: Ticket) -> Step {
        if self.nodes[n].life != life {
            return Ok(());
        }
        let fail = self.rng.chance(self.faults.disk_error);
        let node = &mut self.nodes[n];
        let both = (&mut self.rng, &mut self.ledger);
        node.syncing = false;
        if !node.disk.sync(&mut node.pending, through, fail, both) {
            return self.node_disk_failed(n);
        }
        let Some(machine) = &mut node.machine else {
            return Ok(());
        };
        let actions = machine.step(NodeEvent::Persisted { through }, self.now);
        self.node_act(n, actions)?;
        self.node_sync(n);
        Ok(())
    }

    fn node_disk_failed(&mut self, n: usize) -> Step {
        let node = &mut self.nodes[n];
        // What was under way is lost, or not: the page cache will not say.
        node.pending.clear();
        trace!(self, "n{n}: the disk fails");
        let Some(machine) = &mut self.nodes[n].machine else {
            return Ok(());
        };
        let actions = machine.step(NodeEvent::PersistFailed, self.now);
        self.node_act(n, actions)
    }

    pub(crate) fn node_room(&mut self, n: usize, room: Room) -> Step {
        let Some(machine) = &mut self.nodes[n].machine else {
            return Ok(());
        };
        let actions = machine.step(NodeEvent::Room(room), self.now);
        self.node_act(n, actions)
    }

    fn node_sync(&mut self, n: usize) {
        let node = &self.nodes[n];
        let Some((through, _)) = node.pending.back().filter(|_| !node.syncing) else {
            return;
        };
        let (through, life) = (*through, node.life);
        self.nodes[n].syncing = true;
        let mut delay = self.delay(self.faults.disk_delay_max);
        if self.rng.chance(self.faults.disk_stall) {
            delay += Duration::from_millis(self.rng.range(100, 4_000));
        }
        self.at(
            delay,
            Event::Synced {
                node: n,
                life,
                through,
            },
        );
    }

    fn node_act(&mut self, n: usize, actions: Vec<NodeAction>) -> Step {
        for action in actions {
            match action {
                NodeAction::Persist { ticket, records } => {
                    self.nodes[n].pending.push_back((ticket, records));
                }
                NodeAction::Reply { to, reply } => self.node_reply(n, to, reply)?,
                NodeAction::Read {
                    to,
                    read,
                    through,
                    committed,
                    end,
                } => {
                    let node = &self.nodes[n];
                    let entries = node.disk.read(
                        (read.log, read.segment),
                        (read.from, through),
                        read.bytes_max,
                    );
                    let reply = Reply {
                        storage: node.disk.storage,
                        credits: PENDING_BYTES_MAX,
                        answer: Answer::Entries(Entries {
                            log: read.log,
                            segment: read.segment,
                            entries,
                            committed,
                            end,
                        }),
                    };
                    self.node_reply(n, to, reply)?;
                }
                NodeAction::Forget { .. } => {}
            }
        }
        self.node_sync(n);
        let pending = self.nodes[n]
            .machine
            .as_ref()
            .map_or(0, Node::pending_bytes);
        // One request may go over it.
        let most = PENDING_BYTES_MAX + (32 << 10);
        bounded(ChannelId(0), "bytes that wait for a disk", pending, most)
    }

    fn node_reply(&mut self, n: usize, to: Caller, reply: Reply) -> Step {
        trace!(
            self,
            "n{n} -> {:?} {:?}",
            Tag::of(to),
            crate::text::brief_answer(&reply.answer)
        );
        // A disk without a say may say anything.
        let counts = self.nodes[n]
            .machine
            .as_ref()
            .is_some_and(|m| !m.options().data_loss);
        if counts {
            self.ledger.answered(reply.storage, &reply.answer)?;
        }
        let process = Tag::of(to).process;
        let event = Event::Reply {
            node: n,
            caller: to,
            reply,
        };
        self.send(n, NODES + process, event);
        Ok(())
    }
}
