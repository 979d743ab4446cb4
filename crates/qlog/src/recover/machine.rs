//! The recoverer's state, and what each event does to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_types::{Epoch, LogSegment, Lsn, Timestamp};

use super::{Opened, Progress, RecoverAction, RecoverEvent, RecoverOptions, Word, decide};
use crate::{
    copies::{Copies, CopyHolder, StorageId},
    heal::{Health, substitutes},
    messages::{
        Answer, Ask, Authority, Entries, Finish, Read, Reject, Repair, Reply, Request, SealOne,
        SealedAt, Visibility,
    },
    meta::{
        Ending, Gone, LogHead, LogView, MetaTxn, NewSegment, NodeRegistration, Phase,
        SegmentDescriptor, TxnOutcome, claim, segment_number, succeed,
    },
    place::place,
    record::SegmentOpen,
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

#[derive(Clone, Debug)]
struct Last {
    segment: LogSegment,
    descriptor: SegmentDescriptor,
    /// Those of the descriptor, by index.
    words: Vec<Option<SealedAt>>,
    end: Option<Lsn>,
    /// The holders that it is to have: those of the descriptor, or others in place of lost ones.
    copies: Copies,
    /// How far disks have come under our promise.
    lens: BTreeMap<StorageId, Lsn>,
    last_tick: Option<Timestamp>,
    /// Which copy is read: counts up when one does not answer.
    turn: usize,
    reading: Option<Duration>,
    repaired: BTreeMap<StorageId, Duration>,
    /// When each disk was last heard of.
    heard: BTreeMap<StorageId, Duration>,
    /// Nodes that take the place of lost ones and have not answered yet, and since when.
    trying: BTreeMap<StorageId, Duration>,
    /// Those that were tried in vain.
    vain: Vec<StorageId>,
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
                if newer || refused {
                    return self.overtaken(found, actions);
                }
                let (claimed, transaction) =
                    claim(self.options.log, &view, self.options.owner.clone());
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
            Some(Last {
                segment,
                words: vec![None; descriptor.copies.holders.len()],
                end: None,
                copies: descriptor.copies.clone(),
                lens: BTreeMap::new(),
                last_tick: None,
                turn: 0,
                reading: None,
                repaired: BTreeMap::new(),
                heard: BTreeMap::new(),
                trying: BTreeMap::new(),
                vain: Vec::new(),
                descriptor: descriptor.clone(),
            })
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

impl Last {
    fn sealed(&mut self, from: &Arc<str>, storage: StorageId, at: SealedAt) {
        let holders = &self.descriptor.copies.holders;
        let Some(index) = holders.iter().position(|h| h.node == *from) else {
            return;
        };
        let meant = holders[index].storage;
        let trusted = storage == meant && at.authority == Authority::Authoritative;
        if !trusted && kept(Rule::StorageIdGuard) {
            return;
        }
        if at.promise != at.epoch && kept(Rule::StorageIdGuard) {
            return;
        }
        if self.words[index].is_none() {
            self.words[index] = Some(at);
        }
        let len = at.len_certain.max(self.descriptor.before());
        let known = self.lens.entry(meant).or_insert(len);
        *known = (*known).max(len);
    }

    /// A holder lost what it vouched for, before it was copied. Nothing was exposed, so the end is sought anew; the holder
    /// may say something else when it is asked again.
    fn unsay(&mut self, from: &Arc<str>) {
        let holders = &self.descriptor.copies.holders;
        if let Some(index) = holders.iter().position(|h| h.node == *from) {
            self.unsay_at(index);
        }
    }

    /// Drops the word of holders that went away: the others may be able to decide without them.
    fn unsay_silent(&mut self, patience: Duration, now: Duration) {
        for index in 0..self.words.len() {
            let storage = self.descriptor.copies.holders[index].storage;
            if self.words[index].is_some() && !self.is_heard(storage, patience, now) {
                self.unsay_at(index);
            }
        }
    }

    fn is_heard(&self, storage: StorageId, patience: Duration, now: Duration) -> bool {
        let heard = self.heard.get(&storage);
        heard.is_some_and(|at| now.saturating_sub(*at) < patience)
    }

    fn unsay_at(&mut self, index: usize) {
        let holders = &self.descriptor.copies.holders;
        self.words[index] = None;
        self.lens.remove(&holders[index].storage);
        self.end = None;
        self.last_tick = None;
    }

    /// Finds the end, once; or the disks whose word is missing.
    fn decide(&mut self, gone: &[Gone]) -> Result<Lsn, Vec<StorageId>> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let before = self.descriptor.before();
        let holders = &self.descriptor.copies.holders;
        let words: Vec<Option<Word>> = self
            .words
            .iter()
            .zip(holders)
            .map(|(word, holder)| {
                let forfeited = gone
                    .iter()
                    .any(|g| g.forfeit && g.storage == holder.storage);
                // What it was given since it spoke counts as well.
                let len = self.lens.get(&holder.storage).copied();
                let len = len.unwrap_or(before).max(before);
                match word {
                    Some(at) => Some(Word {
                        certain: at.len_certain.max(len),
                        possible: at.len_possible.max(len),
                    }),
                    None if forfeited => Some(Word {
                        certain: before,
                        possible: before,
                    }),
                    None => None,
                }
            })
            .collect();
        match decide(&self.descriptor.copies, before, &words) {
            Ok(end) => {
                self.end = Some(end);
                // What lies beyond is not in the log.
                for len in self.lens.values_mut() {
                    *len = (*len).min(end);
                }
                Ok(end)
            }
            Err(undecided) => Err(undecided
                .missing
                .into_iter()
                .map(|i| holders[i].storage)
                .collect()),
        }
    }

    /// Whether the holders that remember all ticks they confirmed are too few to rule out one that is forgotten.
    fn ticks_may_be_forgotten(&self) -> bool {
        let copies = &self.descriptor.copies;
        let unsure = (0..copies.holders.len())
            .filter(|&i| self.words[i].is_none_or(|word| word.restarted))
            .collect::<Vec<_>>();
        copies.suffice(unsure)
    }

    fn tick_floor(&self) -> Timestamp {
        let confirmed = self.words.iter().flatten().map(|w| w.tick).max();
        let confirmed = confirmed
            .filter(|_| kept(Rule::SealReturnsTick))
            .unwrap_or(Timestamp::ZERO);
        self.descriptor
            .tick_floor
            .max(confirmed)
            .max(self.last_tick.unwrap_or(Timestamp::ZERO))
    }

    fn has(&self, index: usize, lsn: Lsn) -> bool {
        let holder = &self.copies.holders[index];
        self.lens
            .get(&holder.storage)
            .is_some_and(|len| *len >= lsn)
    }

    /// Whether enough holders answer.
    fn can_repair(&self, patience: Duration, now: Duration) -> bool {
        let answers = |i: &usize| {
            let storage = self.copies.holders[*i].storage;
            self.has(*i, Lsn(0))
                && (self.trying.contains_key(&storage) || self.is_heard(storage, patience, now))
        };
        self.copies
            .suffice((0..self.copies.holders.len()).filter(answers))
    }

    /// Whether enough copies have everything, and the stamp of the last entry is known.
    fn is_repaired(&self) -> bool {
        let Some(end) = self.end else {
            return false;
        };
        if end <= self.descriptor.before() {
            // Nothing was written that could be lost.
            return true;
        }
        let enough = self
            .copies
            .suffice((0..self.copies.holders.len()).filter(|&i| self.has(i, end)));
        self.last_tick.is_some() && (enough || !kept(Rule::RepairBeforeFinish))
    }

    /// Puts other nodes in the place of holders that do not answer. Whether there are any.
    fn replace_lost(
        &mut self,
        log: holdfast_types::ChannelId,
        nodes: &[NodeRegistration],
        gone: &[Gone],
        rule: crate::place::CopyRule,
        (patience, now): (Duration, Duration),
    ) -> bool {
        let answers =
            |storage| self.lens.contains_key(&storage) && self.is_heard(storage, patience, now);
        let alive: Vec<CopyHolder> = self
            .copies
            .holders
            .iter()
            .filter(|h| answers(h.storage))
            .cloned()
            .collect();
        let lost: Vec<StorageId> = self
            .descriptor
            .copies
            .holders
            .iter()
            .map(|h| h.storage)
            .filter(|s| !answers(*s))
            .collect();
        let health = Health {
            nodes: nodes
                .iter()
                .filter(|n| !lost.contains(&n.storage) && !self.vain.contains(&n.storage))
                .cloned()
                .collect(),
            gone: gone.to_vec(),
            ..Health::default()
        };
        let Some(copies) = substitutes(log, &self.descriptor, &alive, &health, rule, now) else {
            // Those that were tried may be back.
            self.vain.clear();
            return false;
        };
        self.copies = copies;
        let before = self.descriptor.before();
        for holder in &self.copies.holders {
            self.lens.entry(holder.storage).or_insert_with(|| {
                self.trying.insert(holder.storage, now);
                before
            });
        }
        true
    }

    fn give_up_trying(&mut self, patience: Duration, now: Duration) {
        let late: Vec<StorageId> = self
            .trying
            .iter()
            .filter(|(_, since)| now.saturating_sub(**since) >= patience)
            .map(|(storage, _)| *storage)
            .collect();
        for storage in late {
            self.trying.remove(&storage);
            self.lens.remove(&storage);
            self.vain.push(storage);
        }
    }

    /// The next entries to be read: those that the shortest copy lacks, or the last one for its stamp.
    fn next_read(
        &mut self,
        log: holdfast_types::ChannelId,
        bytes_max: usize,
        now: Duration,
    ) -> Option<(CopyHolder, Ask)> {
        let end = self.end?;
        if self.reading.is_some() || end <= self.descriptor.before() {
            return None;
        }
        let holders = &self.copies.holders;
        let lacking = holders
            .iter()
            .filter(|h| !self.repaired.contains_key(&h.storage))
            .filter_map(|h| self.lens.get(&h.storage))
            .filter(|len| **len < end)
            .min();
        let from = match lacking {
            Some(len) => len.next(),
            None if self.last_tick.is_none() => end,
            None => return None,
        };
        let sources: Vec<&CopyHolder> = self
            .descriptor
            .copies
            .holders
            .iter()
            .filter(|h| self.lens.get(&h.storage).is_some_and(|len| *len >= from))
            .collect();
        let source = sources.get(self.turn % sources.len().max(1))?;
        self.reading = Some(now);
        let read = Read {
            log,
            segment: self.segment,
            from,
            visibility: Visibility::Durable,
            bytes_max,
        };
        Some(((*source).clone(), Ask::Read(read)))
    }

    /// Hands entries that were read on to the copies that lack them.
    fn read(
        &mut self,
        log: holdfast_types::ChannelId,
        epoch: Epoch,
        entries: Entries,
        now: Duration,
    ) -> Vec<(CopyHolder, Ask)> {
        let Some(end) = self.end else {
            return Vec::new();
        };
        let mut good = Vec::new();
        for entry in entries.entries {
            if entry.lsn > end || !entry.is_intact(log) {
                break;
            }
            if entry.lsn == end {
                self.last_tick = Some(entry.tick);
            }
            good.push(entry);
        }
        let (Some(first), Some(last)) = (good.first(), good.last()) else {
            self.turn += 1;
            return Vec::new();
        };
        let (first, last) = (first.lsn, last.lsn);
        let mut repairs = Vec::new();
        for holder in &self.copies.holders {
            let Some(len) = self.lens.get(&holder.storage).copied() else {
                continue;
            };
            let fits = len.next() >= first && len < last && len < end;
            if !fits || self.repaired.contains_key(&holder.storage) {
                continue;
            }
            self.repaired.insert(holder.storage, now);
            let repair = Repair {
                log,
                segment: self.segment,
                epoch,
                end: None,
                open: SegmentOpen {
                    epoch: self.descriptor.epoch,
                    first: self.descriptor.first,
                    copies: self.copies.clone(),
                },
                entries: good.iter().filter(|e| e.lsn > len).cloned().collect(),
            };
            repairs.push((holder.clone(), Ask::Repair(repair)));
        }
        repairs
    }
}
