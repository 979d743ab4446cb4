//! What a writer sends: entries that a holder lacks, and signs of life.

use std::time::Duration;

use holdfast_types::{Lsn, Timestamp};

use super::{
    WriterAction,
    machine::{ENTRY_OVERHEAD, Writer},
    target::{Peer, Target},
};
use crate::{
    copies::CopyHolder,
    entry::Entry,
    messages::{Append, Ask, Beat, BeatAt, Request},
    record::SegmentOpen,
};

impl Writer {
    /// Sends each holder what it lacks.
    pub(super) fn pump(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        let mut current = std::mem::take(&mut self.current.peers);
        for (i, peer) in current.iter_mut().enumerate() {
            self.pump_peer(&self.current, i, peer, now, actions);
        }
        self.current.peers = current;
        if let Some(mut roll) = self.roll.take() {
            let mut peers = std::mem::take(&mut roll.target.peers);
            for (i, peer) in peers.iter_mut().enumerate() {
                self.pump_peer(&roll.target, i, peer, now, actions);
            }
            roll.target.peers = peers;
            self.roll = Some(roll);
        }
    }

    fn pump_peer(
        &self,
        target: &Target,
        index: usize,
        peer: &mut Peer,
        now: Duration,
        actions: &mut Vec<WriterAction>,
    ) {
        if peer.out || now < peer.paused {
            return;
        }
        let holder = &target.copies.holders[index];
        let opening = !peer.opened;
        if opening && peer.sent == self.last {
            let asked = peer.open_asked;
            if asked.is_none_or(|at| now.saturating_sub(at) >= self.options.resend_after) {
                peer.open_asked = Some(now);
                actions.push(self.append_message(target, holder, peer, true, Vec::new()));
            }
            return;
        }
        while peer.sent < self.last {
            let from = peer.sent.next();
            let Some(start) = self.index(from) else {
                return;
            };
            let mut entries = Vec::new();
            let mut bytes = 0;
            for buffered in self.buffer.iter().skip(start) {
                let size = buffered.entry.payload.len() as u64 + ENTRY_OVERHEAD;
                if !entries.is_empty() && bytes + size > self.options.batch_bytes as u64 {
                    break;
                }
                bytes += size;
                entries.push(buffered.entry.clone());
            }
            let under_way = self.position(peer.sent) - self.position(peer.durable);
            if under_way > 0 && under_way + bytes > peer.credits {
                return;
            }
            let first = peer.sent.next() == target.first || opening;
            peer.sent = Lsn(peer.sent.0 + entries.len() as u64);
            peer.sent_at = now;
            actions.push(self.append_message(target, holder, peer, first, entries));
        }
    }

    pub(super) fn append_message(
        &self,
        target: &Target,
        holder: &CopyHolder,
        peer: &Peer,
        opening: bool,
        entries: Vec<Entry>,
    ) -> WriterAction {
        let open = opening.then(|| SegmentOpen {
            epoch: self.head.epoch,
            first: target.first,
            copies: target.copies.clone(),
        });
        self.send(
            holder,
            Ask::Append(Append {
                log: self.options.log,
                segment: target.segment,
                epoch: self.head.epoch,
                open,
                // The entry before the first was never acknowledged by anybody.
                acknowledged: if peer.durable >= target.first {
                    peer.durable
                } else {
                    Lsn(0)
                },
                committed: self.committed,
                entries,
            }),
        )
    }

    pub(super) fn send(&self, holder: &CopyHolder, ask: Ask) -> WriterAction {
        WriterAction::Send {
            to: holder.node.clone(),
            request: Request {
                cluster: self.options.cluster,
                storage: Some(holder.storage),
                sender: self.options.owner.clone(),
                ask,
            },
        }
    }

    pub(super) fn beat(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        self.beats += 1;
        self.beat_at = now;
        let tick = (self.asked_tick > Timestamp::ZERO).then_some(self.asked_tick);
        for target in self.targets() {
            for (holder, peer) in target.copies.holders.iter().zip(&target.peers) {
                if peer.out {
                    continue;
                }
                let at = vec![BeatAt {
                    log: self.options.log,
                    epoch: self.head.epoch,
                    segment: target.segment,
                    committed: self.committed,
                    tick,
                }];
                let nonce = self.beats;
                actions.push(self.send(holder, Ask::Beat(Beat { nonce, at })));
            }
        }
    }
}
