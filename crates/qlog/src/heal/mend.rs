//! Brings all copies of one ended segment up to its end, and names its holders anew if some were replaced.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    copies::{Copies, CopyHolder, StorageId},
    messages::{
        Answer, Ask, ClusterId, Finish, Owner, Read, Reject, Repair, Reply, Request, SETTLED,
        Visibility,
    },
    meta::{MetaTxn, SegmentDescriptor, TxnOutcome, replace_copies},
    record::SegmentOpen,
};

/// What is to be mended, and by whom.
#[derive(Clone, Debug)]
pub struct MendOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// This process.
    pub owner: Owner,
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// Its descriptor: it has ended.
    pub descriptor: SegmentDescriptor,
    /// The holders that it is to have.
    pub copies: Copies,
    /// About the most bytes of one message.
    pub batch_bytes: usize,
    /// Time after which a question without an answer is asked again.
    pub resend_after: Duration,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub enum MendEvent {
    /// A log-node answers.
    Reply {
        /// Its name.
        from: Arc<str>,
        /// What.
        reply: Reply,
    },
    /// What became of the transaction.
    Txn(TxnOutcome),
    /// Time passed.
    Tick,
}

/// What it wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MendAction {
    /// Send to a log-node.
    Send {
        /// Its name.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// Run a transaction.
    Txn(MetaTxn),
    /// All copies have everything, and the metadata names them.
    Done,
    /// The metadata says something else by now, or a holder does not answer: look again.
    Stale,
}

/// Mends one segment.
#[derive(Clone, Debug)]
pub struct Mend {
    options: MendOptions,
    end: Lsn,
    /// How far each disk has come.
    lens: BTreeMap<StorageId, Lsn>,
    asked: Duration,
    /// When a copy last became longer.
    progress: Duration,
    turn: usize,
    recording: bool,
}

/// After so many repeated questions without progress, the holders have to be chosen anew.
const PATIENCE: u32 = 10;

impl Mend {
    /// Begins. `None` when the segment has not ended.
    #[must_use]
    pub fn start(options: MendOptions, now: Duration) -> Option<(Self, Vec<MendAction>)> {
        let mend = Self {
            end: options.descriptor.end()?,
            options,
            lens: BTreeMap::new(),
            asked: now,
            progress: now,
            turn: 0,
            recording: false,
        };
        let actions = mend.ask();
        Some((mend, actions))
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: MendEvent, now: Duration) -> Vec<MendAction> {
        match event {
            MendEvent::Reply { from, reply } => self.reply(&from, reply, now),
            MendEvent::Txn(_) if !self.recording => Vec::new(),
            MendEvent::Txn(TxnOutcome::Applied) => vec![MendAction::Done],
            // Applied or not: whoever looks at the metadata sees it.
            MendEvent::Txn(TxnOutcome::Refused | TxnOutcome::Unknown) => vec![MendAction::Stale],
            MendEvent::Tick => {
                if now.saturating_sub(self.asked) < self.options.resend_after {
                    return Vec::new();
                }
                let late =
                    now.saturating_sub(self.progress) >= self.options.resend_after * PATIENCE;
                if self.recording || late {
                    return vec![MendAction::Stale];
                }
                self.asked = now;
                self.turn += 1;
                let mut actions = self.ask();
                actions.extend(self.read());
                actions
            }
        }
    }

    /// Asks those whose length is not known, by giving them nothing.
    fn ask(&self) -> Vec<MendAction> {
        self.everybody()
            .filter(|holder| !self.lens.contains_key(&holder.storage))
            .map(|holder| self.repair(holder, Vec::new()))
            .collect()
    }

    /// Old and new holders: any of them may be the one that has all.
    fn everybody(&self) -> impl Iterator<Item = &CopyHolder> {
        let old = &self.options.descriptor.copies.holders;
        let new = self.options.copies.holders.iter();
        new.filter(|h| !old.contains(h)).chain(old)
    }

    fn send(&self, holder: &CopyHolder, ask: Ask) -> MendAction {
        MendAction::Send {
            to: holder.node.clone(),
            request: Request {
                cluster: self.options.cluster,
                storage: Some(holder.storage),
                sender: self.options.owner.clone(),
                ask,
            },
        }
    }

    fn repair(&self, holder: &CopyHolder, entries: Vec<crate::Entry>) -> MendAction {
        let MendOptions {
            log,
            segment,
            descriptor,
            copies,
            ..
        } = &self.options;
        // A holder that is to go is named as well, so that it answers.
        let named = copies.holders.contains(holder);
        let copies = if named { copies } else { &descriptor.copies };
        let repair = Repair {
            log: *log,
            segment: *segment,
            epoch: SETTLED,
            end: Some(self.end),
            open: SegmentOpen {
                epoch: descriptor.epoch,
                first: descriptor.first,
                copies: copies.clone(),
            },
            entries,
        };
        self.send(holder, Ask::Repair(repair))
    }

    fn reply(&mut self, from: &Arc<str>, reply: Reply, now: Duration) -> Vec<MendAction> {
        let (log, segment) = (self.options.log, self.options.segment);
        let Some(holder) = self
            .everybody()
            .find(|h| h.node == *from && h.storage == reply.storage)
            .cloned()
        else {
            return Vec::new();
        };
        match reply.answer {
            Answer::Durable {
                log: of,
                segment: s,
                lsn,
                ..
            } if of == log && s == segment => {
                if self.lens.insert(holder.storage, lsn) < Some(lsn) {
                    self.progress = now;
                }
            }
            Answer::Entries(entries) if entries.log == log && entries.segment == segment => {
                let good: Vec<_> = entries
                    .entries
                    .into_iter()
                    .take_while(|e| e.lsn <= self.end && e.is_intact(log))
                    .collect();
                let (Some(first), Some(last)) = (good.first(), good.last()) else {
                    self.turn += 1;
                    return Vec::new();
                };
                let (first, last) = (first.lsn, last.lsn);
                self.asked = now;
                return self
                    .options
                    .copies
                    .holders
                    .iter()
                    .filter(|h| {
                        let len = self.lens.get(&h.storage);
                        len.is_some_and(|len| len.next() >= first && *len < last)
                    })
                    .map(|h| self.repair(h, good.clone()))
                    .collect();
            }
            Answer::Rejected {
                log: of,
                segment: s,
                why: Reject::Behind { len },
                ..
            } if of == log && s == segment => {
                self.lens.insert(holder.storage, len);
            }
            _ => return Vec::new(),
        }
        self.read()
    }

    /// The next entries for the copy that lacks most; or the end of it all.
    fn read(&mut self) -> Vec<MendAction> {
        if self.recording {
            return Vec::new();
        }
        let wanted = &self.options.copies.holders;
        let lens: Vec<Option<Lsn>> = wanted
            .iter()
            .map(|h| self.lens.get(&h.storage).copied())
            .collect();
        let Some(shortest) = lens.iter().flatten().min().copied() else {
            return Vec::new();
        };
        if shortest < self.end {
            let from = shortest.next();
            let sources: Vec<&CopyHolder> = self
                .everybody()
                .filter(|h| self.lens.get(&h.storage).is_some_and(|len| *len >= from))
                .collect();
            let Some(source) = sources.get(self.turn % sources.len().max(1)) else {
                return Vec::new();
            };
            let read = Read {
                log: self.options.log,
                segment: self.options.segment,
                from,
                visibility: Visibility::Durable,
                bytes_max: self.options.batch_bytes,
            };
            return vec![self.send(source, Ask::Read(read))];
        }
        if lens.iter().any(Option::is_none) {
            return Vec::new();
        }
        let finish = Finish {
            log: self.options.log,
            segment: self.options.segment,
            epoch: self.options.descriptor.epoch,
            end: self.end,
        };
        let mut actions: Vec<MendAction> = wanted
            .iter()
            .map(|holder| self.send(holder, Ask::Finish(finish)))
            .collect();
        let MendOptions {
            log,
            segment,
            descriptor,
            copies,
            ..
        } = &self.options;
        self.recording = true;
        if descriptor.copies == *copies {
            actions.push(MendAction::Done);
        } else {
            match replace_copies(*log, *segment, descriptor, copies.clone()) {
                Some((_, txn)) => actions.push(MendAction::Txn(txn)),
                None => actions.push(MendAction::Stale),
            }
        }
        actions
    }
}
