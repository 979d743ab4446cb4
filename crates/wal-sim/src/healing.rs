//! After the faults: every segment that ended gets all its copies back, as the coordinator's shell would see to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_qlog::{
    CopyHolder,
    heal::{Health, Mend, MendAction, MendEvent, MendOptions, substitutes},
    messages::{Owner, Reply},
    meta::{LogView, SegmentState, TxnOutcome},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::world::{CLUSTER, Event, LOGS, META, NODES, Role, Step, Tag, World, trace};

/// Longest time in which redundancy must be whole again.
pub(crate) const HEALING_MAX: Duration = Duration::from_secs(120);

/// What is being mended, and what was.
#[derive(Default)]
pub(crate) struct Healing {
    mending: BTreeMap<ChannelId, (LogSegment, Mend)>,
    done: BTreeMap<(ChannelId, LogSegment), ()>,
    /// Transactions so far: an answer to an earlier one is not for the segment that is being mended now.
    transactions: u64,
    sent: BTreeMap<ChannelId, u64>,
}

const HEALER: usize = 0;

impl World {
    fn healer_tag(&self, log: ChannelId) -> Tag {
        Tag {
            process: HEALER,
            life: self.processes[HEALER].life,
            log,
            role: Role::Healer,
        }
    }

    pub(crate) fn heal_tick(&mut self) -> Step {
        for log in (0..LOGS).map(ChannelId) {
            if let Some((_, mend)) = self.healing.mending.get_mut(&log) {
                let actions = mend.step(MendEvent::Tick, self.now);
                self.heal_act(log, actions)?;
                continue;
            }
            let view = self.meta.view(log);
            let next = view.segments.iter().find(|(segment, d)| {
                matches!(d.state, SegmentState::Sealed { .. })
                    && !self.healing.done.contains_key(&(log, **segment))
            });
            if let Some((segment, _)) = next {
                self.start_mend(log, *segment, &view)?;
            }
        }
        Ok(())
    }

    fn start_mend(&mut self, log: ChannelId, segment: LogSegment, view: &LogView) -> Step {
        let descriptor = view.segments[&segment].clone();
        let health = Health {
            nodes: self.registered(),
            ..Health::default()
        };
        let present = |h: &&CopyHolder| health.is_alive(h, self.now);
        let alive: Vec<CopyHolder> = descriptor
            .copies
            .holders
            .iter()
            .filter(present)
            .cloned()
            .collect();
        let copies = substitutes(log, &descriptor, &alive, &health, self.rule, self.now)
            .unwrap_or_else(|| descriptor.copies.clone());
        let options = MendOptions {
            cluster: CLUSTER,
            owner: Owner {
                node: "healer".into(),
                incarnation: 1,
            },
            log,
            segment,
            descriptor,
            copies,
            batch_bytes: 4 << 10,
            resend_after: Duration::from_millis(80),
        };
        if let Some((mend, actions)) = Mend::start(options, self.now) {
            self.healing.mending.insert(log, (segment, mend));
            self.heal_act(log, actions)?;
        }
        Ok(())
    }

    pub(crate) fn heal_reply(&mut self, log: ChannelId, from: Arc<str>, reply: Reply) -> Step {
        let Some((_, mend)) = self.healing.mending.get_mut(&log) else {
            return Ok(());
        };
        let actions = mend.step(MendEvent::Reply { from, reply }, self.now);
        self.heal_act(log, actions)
    }

    pub(crate) fn heal_txn(&mut self, log: ChannelId, id: u64, outcome: TxnOutcome) -> Step {
        if self.healing.sent.get(&log) != Some(&id) {
            return Ok(());
        }
        let Some((_, mend)) = self.healing.mending.get_mut(&log) else {
            return Ok(());
        };
        let actions = mend.step(MendEvent::Txn(outcome), self.now);
        self.heal_act(log, actions)
    }

    fn heal_act(&mut self, log: ChannelId, actions: Vec<MendAction>) -> Step {
        let caller = self.healer_tag(log).caller();
        for action in actions {
            match action {
                MendAction::Send { to, request } => {
                    if let Some(node) = self.node_named(&to) {
                        let event = Event::Request {
                            node,
                            caller,
                            request,
                        };
                        self.send(NODES + HEALER, node, event);
                    }
                }
                MendAction::Txn(txn) => {
                    self.healing.transactions += 1;
                    let id = self.healing.transactions;
                    self.healing.sent.insert(log, id);
                    let event = Event::MetaTxn { caller, id, txn };
                    self.send(NODES + HEALER, META, event);
                }
                MendAction::Done => {
                    if let Some((segment, _)) = self.healing.mending.remove(&log) {
                        trace!(self, "log {log}: segment {segment} is mended");
                        self.healing.done.insert((log, segment), ());
                    }
                }
                MendAction::Stale => {
                    self.healing.sent.remove(&log);
                    self.healing.mending.remove(&log);
                }
            }
        }
        Ok(())
    }

    /// Whether every segment that ended when the healing began has all its copies, on disks that have everything.
    pub(crate) fn is_whole(&self, marks: &BTreeMap<ChannelId, LogSegment>) -> Step {
        for log in (0..LOGS).map(ChannelId) {
            let mut view = self.meta.view(log);
            let through = marks.get(&log).copied().unwrap_or_default();
            view.segments.retain(|segment, _| *segment <= through);
            self.ledger.redundancy(log, &view, |segment, storage| {
                let holder = self.nodes.iter().find(|n| n.disk.storage == storage);
                holder
                    .and_then(|n| n.machine.as_ref())
                    .and_then(|m| m.durable().logs.get(&log)?.segments.get(&segment))
                    .map_or(Lsn(0), |held| held.certain)
            })?;
        }
        Ok(())
    }

    /// The last segment of each log that has ended.
    pub(crate) fn ended(&self) -> BTreeMap<ChannelId, LogSegment> {
        (0..LOGS)
            .map(ChannelId)
            .filter_map(|log| {
                let view = self.meta.view(log);
                let ended = view.segments.iter().rev();
                let last = ended.into_iter().find(|(_, d)| d.end().is_some());
                last.map(|(segment, _)| (log, *segment))
            })
            .collect()
    }
}
