//! The recoverer's state, and what each event does to it.

use std::{sync::Arc, time::Duration};

use holdfast_types::{Epoch, LogSegment, Lsn, Timestamp};

use super::{Opened, Progress, RecoverAction, RecoverEvent, RecoverOptions, last::Last};
use crate::{
    copies::{Copies, CopyHolder, StorageId},
    messages::{Answer, Ask, Finish, Reject, Reply, Request, SealOne},
    meta::{
        Ending, Gone, LogHead, LogView, MetaTxn, NewSegment, NodeRegistration, Phase, TxnOutcome,
        claim, segment_number, succeed,
    },
    place::place,
    rules::{Rule, kept},
};

/// For how many repeated questions to log-nodes the metadata is looked at once.
const VIEW_FACTOR: u32 = 5;

/// Recovers one log.
#[derive(Clone, Debug)]
pub struct Recoverer {
    options: RecoverOptions,
    state: State,
    nodes: Vec<NodeRegistration>,
    gone: Vec<Gone>,
    transactions: u64,
    reported: Option<Progress>,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    /// The metadata is being read, or the claim decided.
    Claiming {
        asked: Duration,
        txn: Option<(u64, LogHead, LogView)>,
    },
    /// The epoch is ours. Promises are asked for and entries copied; both go on until the end can be recorded.
    Working(Box<Work>),
    /// The end is being recorded.
    Finishing(Box<Finishing>),
    Over,
}

#[derive(Clone, Debug)]
struct Work {
    head: LogHead,
    /// The segment whose end is sought; `None`: the log has none.
    last: Option<Last>,
    began: Duration,
    asked: Duration,
    viewed: Duration,
    clock_bound: ClockBound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClockBound {
    NotNeeded,
    Asked,
    Known(Timestamp),
}

#[derive(Clone, Debug)]
struct Finishing {
    /// As it stands until the transaction is applied.
    old: LogHead,
    id: u64,
    txn: MetaTxn,
    opened: Opened,
    holders: Vec<CopyHolder>,
    written_by: Epoch,
    asked: Duration,
}

impl Recoverer {
    /// One that has not begun.
    #[must_use]
    pub fn new(options: RecoverOptions) -> Self {
        Self {
            options,
            state: State::Idle,
            nodes: Vec::new(),
            gone: Vec::new(),
            transactions: 0,
            reported: None,
        }
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: RecoverEvent, now: Duration) -> Vec<RecoverAction> {
        let mut actions = Vec::new();
        match event {
            RecoverEvent::Start => {
                if matches!(self.state, State::Idle) {
                    self.read_again(now, &mut actions);
                }
            }
            RecoverEvent::View(view) => self.view(view, now, &mut actions),
            RecoverEvent::Txn { id, outcome } => self.txn(id, outcome, now, &mut actions),
            RecoverEvent::Reply { from, reply } => self.reply(&from, reply, now, &mut actions),
            RecoverEvent::Nodes(nodes, gone) => {
                (self.nodes, self.gone) = (nodes, gone);
                self.work(now, &mut actions);
            }
            RecoverEvent::ClockBound(stamp) => {
                if let State::Working(work) = &mut self.state
                    && work.clock_bound == ClockBound::Asked
                {
                    work.clock_bound = ClockBound::Known(stamp);
                }
                self.work(now, &mut actions);
            }
            RecoverEvent::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    /// The epoch that was claimed, once it was.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.state {
            State::Working(work) => Some(work.head.epoch),
            State::Finishing(finishing) => Some(finishing.old.epoch),
            State::Idle | State::Claiming { .. } | State::Over => None,
        }
    }

    /// Whether it opened the log, was overtaken, or found the metadata broken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// How often to step with [`RecoverEvent::Tick`].
    #[must_use]
    pub fn tick_every(&self) -> Duration {
        self.options.resend_after
    }

    fn read_again(&mut self, now: Duration, actions: &mut Vec<RecoverAction>) {
        self.state = State::Claiming {
            asked: now,
            txn: None,
        };
        self.report(Progress::Claiming, actions);
        actions.push(RecoverAction::ReadView);
    }

    fn report(&mut self, progress: Progress, actions: &mut Vec<RecoverAction>) {
        if self.reported.as_ref() != Some(&progress) {
            self.reported = Some(progress.clone());
            actions.push(RecoverAction::Progress(progress));
        }
    }

    fn overtaken(&mut self, newer: Epoch, actions: &mut Vec<RecoverAction>) {
        self.state = State::Over;
        actions.push(RecoverAction::Overtaken { newer });
    }

    fn view(&mut self, view: LogView, now: Duration, actions: &mut Vec<RecoverAction>) {
        let head = view.head.clone();
        let found = head.as_ref().map_or(Epoch(0), |h| h.epoch);
        match &mut self.state {
            State::Claiming { asked, txn } => {
                if let (Some((_, claimed, _)), Some(head)) = (&*txn, &head)
                    && claimed == head
                {
                    // It was applied, although nobody said so.
                    return self.claimed(now, actions);
                }
                if txn.is_some() && found == Epoch(0) {
                    // A view from before the log's first claim, or our claim was not applied: ask again.
                    *txn = None;
                }
                let ours = head.as_ref().is_some_and(|h| h.owner == self.options.owner);
                let newer = self.options.overtake.is_some_and(|known| found > known) && !ours;
                let refused = txn.as_ref().is_some_and(|(_, c, _)| found >= c.epoch) && !ours;
                let taken = self.options.epoch.is_some_and(|wanted| found >= wanted);
                if newer || refused || taken {
                    return self.overtaken(found, actions);
                }
                let (log, owner) = (self.options.log, self.options.owner.clone());
                let (claimed, transaction) = claim(log, &view, owner, self.options.epoch);
                self.transactions += 1;
                let id = self.transactions;
                *asked = now;
                *txn = Some((id, claimed, view));
                actions.push(RecoverAction::Txn {
                    id,
                    txn: transaction,
                });
            }
            State::Working(work) => {
                if found > work.head.epoch {
                    self.overtaken(found, actions);
                }
            }
            State::Finishing(finishing) => {
                if found > finishing.old.epoch {
                    return self.overtaken(found, actions);
                }
                if head.as_ref() == Some(&finishing.opened.head) {
                    return self.opened(actions);
                }
                finishing.asked = now;
                let (id, txn) = (finishing.id, finishing.txn.clone());
                actions.push(RecoverAction::Txn { id, txn });
            }
            State::Idle | State::Over => {}
        }
    }

    fn txn(
        &mut self,
        id: u64,
        outcome: TxnOutcome,
        now: Duration,
        actions: &mut Vec<RecoverAction>,
    ) {
        match &mut self.state {
            State::Claiming {
                asked,
                txn: Some((sent, ..)),
            } if *sent == id => match outcome {
                TxnOutcome::Applied => self.claimed(now, actions),
                TxnOutcome::Refused | TxnOutcome::Unknown => {
                    *asked = now;
                    actions.push(RecoverAction::ReadView);
                }
            },
            State::Finishing(finishing) if finishing.id == id => match outcome {
                TxnOutcome::Applied => self.opened(actions),
                TxnOutcome::Refused | TxnOutcome::Unknown => {
                    finishing.asked = now;
                    actions.push(RecoverAction::ReadView);
                }
            },
            _ => {}
        }
    }

    /// The epoch is ours: ask all holders of the last segment for their promise.
    fn claimed(&mut self, now: Duration, actions: &mut Vec<RecoverAction>) {
        let State::Claiming {
            txn: Some((_, head, view)),
            ..
        } = std::mem::replace(&mut self.state, State::Over)
        else {
            return;
        };
        let last = if head.segment == LogSegment(0) {
            None
        } else {
            // The head was compared with what was read, and the last segment only changes together with it.
            let Some((segment, descriptor)) = view.last() else {
                let problem = format!("segment {} of the head has no descriptor", head.segment);
                actions.push(RecoverAction::Broken(problem));
                return;
            };
            if descriptor.end().is_some() {
                let problem = format!("segment {segment} of the head has ended");
                actions.push(RecoverAction::Broken(problem));
                return;
            }
            Some(Last::new(segment, descriptor.clone()))
        };
        self.state = State::Working(Box::new(Work {
            head,
            last,
            began: now,
            asked: now,
            viewed: now,
            clock_bound: ClockBound::NotNeeded,
        }));
        self.ask_promises(actions);
        self.work(now, actions);
    }

    fn ask_promises(&self, actions: &mut Vec<RecoverAction>) {
        let State::Working(work) = &self.state else {
            return;
        };
        let Some(last) = &work.last else {
            return;
        };
        // Those that answered are asked again too: it tells them that the recoverer lives.
        for holder in &last.descriptor.copies.holders {
            let one = SealOne {
                log: self.options.log,
                segment: last.segment,
                epoch: work.head.epoch,
            };
            actions.push(self.send(holder, Ask::Seal(vec![one])));
        }
    }

    fn send(&self, holder: &CopyHolder, ask: Ask) -> RecoverAction {
        RecoverAction::Send {
            to: holder.node.clone(),
            request: Request {
                cluster: self.options.cluster,
                storage: Some(holder.storage),
                sender: self.options.owner.clone(),
                ask,
            },
        }
    }

    fn reply(
        &mut self,
        from: &Arc<str>,
        reply: Reply,
        now: Duration,
        actions: &mut Vec<RecoverAction>,
    ) {
        let log = self.options.log;
        let State::Working(work) = &mut self.state else {
            return;
        };
        let (epoch, Some(last)) = (work.head.epoch, &mut work.last) else {
            return;
        };
        last.heard.insert(reply.storage, now);
        match reply.answer {
            Answer::Sealed(logs) => {
                for at in logs {
                    if at.log != log || at.segment != last.segment || at.epoch != epoch {
                        continue;
                    }
                    if at.promise > epoch {
                        return self.overtaken(at.promise, actions);
                    }
                    last.sealed(from, reply.storage, at);
                }
            }
            Answer::Durable {
                log: of,
                segment,
                epoch: served,
                lsn,
            } if of == log && segment == last.segment && served == epoch => {
                let len = last.lens.entry(reply.storage).or_insert(lsn);
                *len = (*len).max(lsn);
                last.repaired.remove(&reply.storage);
                last.trying.remove(&reply.storage);
                last.refuses.retain(|storage| *storage != reply.storage);
            }
            Answer::Entries(entries) if entries.log == log && entries.segment == last.segment => {
                last.reading = None;
                let repairs = last.read(log, epoch, entries, now);
                let repairs: Vec<RecoverAction> = repairs
                    .into_iter()
                    .map(|(holder, ask)| self.send(&holder, ask))
                    .collect();
                actions.extend(repairs);
            }
            Answer::Rejected {
                log: of,
                segment,
                why,
                ..
            } if of == log => match why {
                Reject::Fenced { promise } if promise > epoch => {
                    return self.overtaken(promise, actions);
                }
                Reject::ReadOnly | Reject::Full if segment == last.segment => {
                    last.refuses.push(reply.storage);
                    last.trying.remove(&reply.storage);
                }
                Reject::Behind { len } if segment == last.segment => {
                    last.lens.insert(reply.storage, len);
                    last.repaired.remove(&reply.storage);
                    last.trying.remove(&reply.storage);
                }
                Reject::Rotten { .. } | Reject::Unknown | Reject::Storage { .. } => {
                    last.turn += 1;
                    last.reading = None;
                    last.unsay(from);
                }
                _ => {}
            },
            _ => {}
        }
        self.work(now, actions);
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<RecoverAction>) {
        let resend = self.options.resend_after;
        match &mut self.state {
            State::Claiming { asked, .. } => {
                if now.saturating_sub(*asked) >= resend {
                    *asked = now;
                    actions.push(RecoverAction::ReadView);
                }
            }
            State::Working(work) => {
                let again = now.saturating_sub(work.asked) >= resend;
                if again {
                    work.asked = now;
                    if let Some(last) = &mut work.last {
                        if last
                            .reading
                            .is_some_and(|at| now.saturating_sub(at) >= resend)
                        {
                            last.reading = None;
                            last.turn += 1;
                        }
                        last.repaired
                            .retain(|_, at| now.saturating_sub(*at) < resend);
                        last.unsay_silent(self.options.replace_after, now);
                    }
                    if work.clock_bound == ClockBound::Asked {
                        actions.push(RecoverAction::AskClockBound);
                    }
                    if now.saturating_sub(work.viewed) >= resend * VIEW_FACTOR {
                        // Somebody may have overtaken without any holder of ours knowing it.
                        work.viewed = now;
                        actions.push(RecoverAction::ReadView);
                    }
                    self.ask_promises(actions);
                }
                self.work(now, actions);
            }
            State::Finishing(finishing) => {
                if now.saturating_sub(finishing.asked) >= resend {
                    finishing.asked = now;
                    actions.push(RecoverAction::ReadView);
                }
            }
            State::Idle | State::Over => {}
        }
    }

    /// Goes on as far as what is known allows.
    fn work(&mut self, now: Duration, actions: &mut Vec<RecoverAction>) {
        let State::Working(work) = &mut self.state else {
            return;
        };
        let log = self.options.log;
        let epoch = work.head.epoch;
        if let Some(last) = &mut work.last {
            if let Err(missing) = last.decide(&self.gone) {
                let segment = last.segment;
                return self.report(
                    Progress::Sealing {
                        epoch,
                        segment,
                        missing,
                    },
                    actions,
                );
            }
            if work.clock_bound == ClockBound::NotNeeded && last.ticks_may_be_forgotten() {
                work.clock_bound = ClockBound::Asked;
                actions.push(RecoverAction::AskClockBound);
            }
            let patience = self.options.replace_after;
            last.give_up_trying(patience, now);
            last.prefer_own();
            let late = now.saturating_sub(work.began) >= patience;
            let lacking = late
                && !last.can_repair(patience, now)
                && !last.replace_lost(
                    log,
                    &self.nodes,
                    &self.gone,
                    self.options.copies,
                    (patience, now),
                );
            let reads = last.next_read(log, self.options.batch_bytes, now);
            let finished = last.is_repaired();
            let progress = Progress::Repairing {
                end: last.end.unwrap_or(Lsn(0)),
                copies: last.lens.iter().map(|(s, l)| (*s, *l)).collect(),
            };
            if let Some((holder, ask)) = reads {
                actions.push(self.send(&holder, ask));
            }
            if !finished {
                let progress = if lacking {
                    Progress::LackingNodes
                } else {
                    progress
                };
                return self.report(progress, actions);
            }
        }
        self.finish(now, actions);
    }

    fn finish(&mut self, now: Duration, actions: &mut Vec<RecoverAction>) {
        let State::Working(work) = &self.state else {
            return;
        };
        let bound = match work.clock_bound {
            ClockBound::NotNeeded => Timestamp::ZERO,
            ClockBound::Asked => return,
            ClockBound::Known(stamp) => stamp,
        };
        let Some(copies) = self.new_copies(work) else {
            return self.report(Progress::LackingNodes, actions);
        };
        let (end, floor) = work
            .last
            .as_ref()
            .map_or((Lsn(0), Timestamp::ZERO), |last| {
                (last.end.unwrap_or(Lsn(0)), last.tick_floor())
            });
        let new = NewSegment {
            segment: segment_number(work.head.epoch, 0),
            first: end.next(),
            tick_floor: floor.max(bound),
            copies,
        };
        let ending = work.last.as_ref().map(|last| Ending {
            open: last.descriptor.clone(),
            end,
            copies: last.copies.clone(),
        });
        let (head, mut txn) = succeed(self.options.log, &work.head, ending.as_ref(), &new);
        debug_assert_eq!(head.phase, Phase::Open);
        if !kept(Rule::FinishByCas) {
            txn.compares.clear();
        }
        let old = work.head.clone();
        let (holders, written_by) = work.last.as_ref().map_or((Vec::new(), Epoch(0)), |last| {
            (last.copies.holders.clone(), last.descriptor.epoch)
        });
        let opened = Opened {
            descriptor: new.descriptor(head.epoch),
            ended: work.last.as_ref().map(|last| (last.segment, end)),
            tick_floor: new.tick_floor,
            head,
        };
        self.transactions += 1;
        let id = self.transactions;
        actions.push(RecoverAction::Txn {
            id,
            txn: txn.clone(),
        });
        let finishing = Finishing {
            old,
            id,
            txn,
            opened,
            holders,
            written_by,
            asked: now,
        };
        if !kept(Rule::FinishAfterCas) {
            self.send_finish(&finishing, actions);
        }
        self.state = State::Finishing(Box::new(finishing));
        self.report(Progress::Finishing { end }, actions);
    }

    /// Holders for the new segment: not those that do not answer, if others will do.
    fn new_copies(&self, work: &Work) -> Option<Copies> {
        let log = self.options.log;
        let avoid: Vec<StorageId> = self.gone.iter().map(|g| g.storage).collect();
        let fallback = work.last.as_ref().map(|last| &last.copies);
        let silent: Vec<StorageId> = work
            .last
            .iter()
            .flat_map(|last| last.copies.holders.iter().map(move |h| (h, last)))
            .filter(|(holder, last)| !last.lens.contains_key(&holder.storage))
            .map(|(holder, _)| holder.storage)
            .collect();
        let without_silent: Vec<StorageId> = avoid.iter().chain(&silent).copied().collect();
        let rule = self.options.copies;
        let placed = place(log, &self.nodes, &without_silent, rule)
            .or_else(|_| place(log, &self.nodes, &avoid, rule));
        // While registrations cannot be read, the holders that just answered go on.
        placed.ok().or_else(|| fallback.cloned())
    }

    fn send_finish(&self, finishing: &Finishing, actions: &mut Vec<RecoverAction>) {
        let Some((segment, end)) = finishing.opened.ended else {
            return;
        };
        for holder in &finishing.holders {
            let finish = Finish {
                log: self.options.log,
                segment,
                epoch: finishing.written_by,
                end,
            };
            actions.push(self.send(holder, Ask::Finish(finish)));
        }
    }

    fn opened(&mut self, actions: &mut Vec<RecoverAction>) {
        let State::Finishing(finishing) = std::mem::replace(&mut self.state, State::Over) else {
            return;
        };
        if kept(Rule::FinishAfterCas) {
            self.send_finish(&finishing, actions);
        }
        actions.push(RecoverAction::Opened(Box::new(finishing.opened)));
    }
}
