//! What was given to the disk, and the answers that wait until it is there.

use holdfast_types::{ChannelId, Epoch, LogSegment};

use super::{Caller, NodeAction, Ticket, machine::Node};
use crate::{
    messages::{Reject, SealOne},
    record::NodeRecord,
    rules::{Rule, kept},
};

/// What an entry costs beside its payload.
pub(super) const ENTRY_OVERHEAD: u64 = 64;

/// An answer that is made when the disk has what it speaks of.
#[derive(Clone, Debug)]
pub(super) enum Due {
    Durable(ChannelId, LogSegment, Epoch),
    Sealed(Vec<SealOne>),
    Finished(ChannelId, LogSegment),
    Trimmed(ChannelId, LogSegment),
}

impl Due {
    fn about(&self) -> (ChannelId, LogSegment, Epoch) {
        match self {
            Self::Durable(log, segment, epoch) => (*log, *segment, *epoch),
            Self::Sealed(ones) => ones
                .first()
                .map_or((ChannelId(0), LogSegment(0), Epoch(0)), |s| {
                    (s.log, s.segment, s.epoch)
                }),
            Self::Finished(log, segment) | Self::Trimmed(log, segment) => {
                (*log, *segment, Epoch(0))
            }
        }
    }
}

impl Node {
    pub(super) fn persist(&mut self, records: Vec<NodeRecord>, bytes: u64) -> Vec<NodeAction> {
        if records.is_empty() {
            return Vec::new();
        }
        for record in &records {
            self.accepted
                .apply(record)
                .expect("every record was checked against the image");
        }
        self.given = Ticket(self.given.0 + 1);
        self.unsynced_bytes += bytes;
        self.unsynced.push_back((self.given, records.clone()));
        vec![NodeAction::Persist {
            ticket: self.given,
            records,
        }]
    }

    /// Answers when all that was given to the disk so far is there; at once, if it is.
    pub(super) fn owe(&mut self, caller: Caller, due: Due) -> Option<NodeAction> {
        let early = match due {
            Due::Durable(..) => !kept(Rule::AckAfterSync),
            _ => false,
        };
        if self.synced == self.given || early {
            let answer = self.answer(&due);
            return Some(self.reply(caller, answer));
        }
        self.waiting.push_back((self.given, caller, due));
        None
    }

    pub(super) fn persisted(&mut self, through: Ticket) -> Vec<NodeAction> {
        if self.failed {
            return Vec::new();
        }
        let mut actions = Vec::new();
        while self.unsynced.front().is_some_and(|(t, _)| *t <= through) {
            let Some((ticket, records)) = self.unsynced.pop_front() else {
                break;
            };
            for record in &records {
                match record {
                    NodeRecord::Append { entry, .. } => {
                        self.unsynced_bytes -= entry.payload.len() as u64 + ENTRY_OVERHEAD;
                    }
                    NodeRecord::Trim { log, segment } => actions.push(NodeAction::Forget {
                        log: *log,
                        through: *segment,
                    }),
                    _ => {}
                }
                self.durable
                    .apply(record)
                    .expect("every record was checked against the image");
            }
            self.synced = ticket;
            // An answer says what was on disk when its own ticket was, not what came in the same sync: so no answer to
            // an old epoch can follow the word of a later promise.
            while self.waiting.front().is_some_and(|(t, ..)| *t <= ticket) {
                let Some((_, caller, due)) = self.waiting.pop_front() else {
                    break;
                };
                let answer = self.answer(&due);
                actions.push(self.reply(caller, answer));
            }
        }
        actions
    }

    pub(super) fn persist_failed(&mut self) -> Vec<NodeAction> {
        self.failed = true;
        // What was given to the disk may or may not be there. Nothing that speaks of it is ever answered.
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        self.accepted = self.durable.clone();
        let waiting = std::mem::take(&mut self.waiting);
        let waiting = waiting.into_iter();
        waiting
            .map(|(_, caller, due)| self.reject(caller, due.about(), Reject::ReadOnly))
            .collect()
    }
}
