//! Moving from one segment to the next without a pause.

use std::time::Duration;

use holdfast_types::Lsn;

use super::{
    WriterAction,
    machine::Writer,
    target::{Peer, Target},
};
use crate::{
    copies::StorageId,
    heal::could_be_wider,
    messages::{Ask, Finish},
    meta::{
        Ending, LogHead, LogView, MetaTxn, NewSegment, SegmentDescriptor, TxnOutcome,
        segment_number, succeed,
    },
    place::place,
    rules::{Rule, kept},
};

/// A roll under way.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    pub(super) target: Target,
    /// Last entry of the old segment.
    end: Lsn,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// The new holders are being asked. Nothing is decided, and it can be given up.
    Opening,
    /// The transaction was sent: it may have been applied.
    Undecided(Box<Undecided>),
}

#[derive(Clone, Debug)]
struct Undecided {
    id: u64,
    txn: MetaTxn,
    head: LogHead,
    descriptor: SegmentDescriptor,
    asked: Duration,
}

/// For how many times the patience with a slow node it is not chosen again.
const AVOID_FACTOR: u32 = 10;

impl Roll {
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.phase, Phase::Undecided(_))
    }
}

impl Writer {
    /// Whether a holder cannot keep up, or is not there.
    fn is_slow(&self, peer: &Peer, now: Duration) -> bool {
        let patience = self.options.lag_time_max;
        let lag = self.position(self.last) - self.position(peer.durable);
        let silent = now.saturating_sub(peer.heard) > patience;
        let stuck = (!peer.opened || peer.durable < self.last)
            && now.saturating_sub(peer.progress) > patience;
        peer.out || silent || stuck || lag > self.options.lag_bytes_max
    }

    pub(super) fn tick_roll(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        match &mut self.roll {
            None => self.consider_roll(now),
            Some(roll) => match &mut roll.phase {
                Phase::Opening => {
                    let late = now.saturating_sub(roll.target.since) > self.options.lag_time_max;
                    if late {
                        self.give_up_roll(now);
                    }
                }
                Phase::Undecided(undecided) => {
                    if now.saturating_sub(undecided.asked) >= self.options.resend_after {
                        undecided.asked = now;
                        actions.push(WriterAction::ReadView);
                    }
                }
            },
        }
    }

    fn consider_roll(&mut self, now: Duration) {
        let paused = now.saturating_sub(self.rolled) < self.options.roll_pause;
        if paused || self.nodes.is_empty() {
            return;
        }
        let rule = self.options.copies;
        let slow: Vec<StorageId> = self
            .current
            .peers
            .iter()
            .zip(&self.current.copies.holders)
            .filter(|(peer, _)| self.is_slow(peer, now))
            .map(|(_, holder)| holder.storage)
            .collect();
        let mut avoid: Vec<StorageId> = self.avoid.keys().copied().collect();
        avoid.extend(&slow);
        let written = self.last.next() > self.current.first;
        let old = written && now.saturating_sub(self.current.since) >= self.options.segment_age;
        let large = self.current.bytes >= self.options.segment_bytes;
        let wider = could_be_wider(
            self.options.log,
            &self.current.copies,
            &self.nodes,
            &avoid,
            rule,
        );
        if slow.is_empty() && !old && !large && !wider {
            return;
        }
        self.rolled = now;
        let stuck = !self.current.can_commit(|peer| self.is_slow(peer, now));
        let mut placed = place(self.options.log, &self.nodes, &avoid, rule);
        if placed.is_err() && stuck {
            // Those that were slow or refused may have come back, and nothing can be committed as it is.
            placed = place(self.options.log, &self.nodes, &[], rule);
        }
        let Ok(copies) = placed else {
            return;
        };
        let fewer = copies.holders.len() < self.current.copies.holders.len();
        if fewer && !stuck && !large && !old {
            // A third copy that may come back is better than none. But a segment ends some time, or it would never be put
            // into object storage.
            return;
        }
        for storage in slow {
            let until = now + self.options.lag_time_max * AVOID_FACTOR;
            self.avoid.insert(storage, until);
        }
        let segment = segment_number(self.head.epoch, self.attempts);
        self.attempts += 1;
        let end = self.committed;
        self.roll = Some(Roll {
            target: Target::new(segment, end.next(), copies, now),
            end,
            phase: Phase::Opening,
        });
    }

    fn give_up_roll(&mut self, now: Duration) {
        let Some(roll) = self.roll.take() else {
            return;
        };
        let until = now + self.options.lag_time_max * AVOID_FACTOR;
        for (peer, holder) in roll.target.peers.iter().zip(&roll.target.copies.holders) {
            if !peer.opened || self.is_slow(peer, now) {
                self.avoid.insert(holder.storage, until);
            }
        }
        self.rolled = now;
    }

    /// Sends the transaction as soon as the new segment has all that is committed.
    pub(super) fn try_send_roll(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        let Some(roll) = &mut self.roll else {
            return;
        };
        let ready = matches!(roll.phase, Phase::Opening)
            && roll.target.committed().is_some_and(|c| c >= self.committed);
        if !ready {
            return;
        }
        let new = NewSegment {
            segment: roll.target.segment,
            first: roll.target.first,
            tick_floor: if kept(Rule::SegmentCarriesTick) {
                self.last_tick.max(self.asked_tick)
            } else {
                self.descriptor.tick_floor
            },
            copies: roll.target.copies.clone(),
        };
        let ending = Ending {
            open: self.descriptor.clone(),
            end: roll.end,
            copies: self.descriptor.copies.clone(),
        };
        let (head, txn) = succeed(self.options.log, &self.head, Some(&ending), &new);
        self.transactions += 1;
        let id = self.transactions;
        actions.push(WriterAction::Txn {
            id,
            txn: txn.clone(),
        });
        roll.phase = Phase::Undecided(Box::new(Undecided {
            id,
            txn,
            descriptor: new.descriptor(head.epoch),
            head,
            asked: now,
        }));
        if !kept(Rule::FinishAfterCas) {
            self.send_finish(actions);
        }
    }

    pub(super) fn txn(
        &mut self,
        id: u64,
        outcome: TxnOutcome,
        now: Duration,
        actions: &mut Vec<WriterAction>,
    ) {
        let Some(Roll {
            phase: Phase::Undecided(undecided),
            ..
        }) = &mut self.roll
        else {
            return;
        };
        if undecided.id != id {
            return;
        }
        match outcome {
            TxnOutcome::Applied => self.complete_roll(now, actions),
            // Refused may mean: applied when it was sent the first time.
            TxnOutcome::Refused | TxnOutcome::Unknown => {
                undecided.asked = now;
                actions.push(WriterAction::ReadView);
            }
        }
    }

    pub(super) fn view(&mut self, view: &LogView, now: Duration, actions: &mut Vec<WriterAction>) {
        let Some(head) = &view.head else {
            return;
        };
        if head.epoch < self.head.epoch {
            // It was read before this writer's claim.
            return;
        }
        if head.epoch > self.head.epoch || head.owner != self.options.owner {
            return self.step_down(head.epoch, actions);
        }
        let Some(Roll {
            target,
            phase: Phase::Undecided(undecided),
            ..
        }) = &mut self.roll
        else {
            return;
        };
        if head.segment == target.segment {
            return self.complete_roll(now, actions);
        }
        undecided.asked = now;
        let (id, txn) = (undecided.id, undecided.txn.clone());
        actions.push(WriterAction::Txn { id, txn });
    }

    fn complete_roll(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        if kept(Rule::FinishAfterCas) {
            self.send_finish(actions);
        }
        let Some(Roll {
            target,
            end,
            phase: Phase::Undecided(undecided),
        }) = self.roll.take()
        else {
            return;
        };
        let Undecided {
            head, descriptor, ..
        } = *undecided;
        let ended = (self.current.segment, end);
        self.current = target;
        self.head = head.clone();
        self.descriptor = descriptor.clone();
        self.rolled = now;
        actions.push(WriterAction::Rolled {
            head,
            ended,
            descriptor,
        });
    }

    /// Tells the holders of the old segment where it ends.
    fn send_finish(&self, actions: &mut Vec<WriterAction>) {
        let Some(roll) = &self.roll else {
            return;
        };
        let finish = Finish {
            log: self.options.log,
            segment: self.current.segment,
            epoch: self.head.epoch,
            end: roll.end,
        };
        for holder in &self.current.copies.holders {
            actions.push(self.send(holder, Ask::Finish(finish)));
        }
    }
}
