//! The log-node's state, and what each request does to it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::{
    Caller, NodeAction, NodeEvent, NodeOptions, Room, Ticket,
    owed::{Due, ENTRY_OVERHEAD},
};
use crate::{
    image::{NodeImage, SegmentImage},
    messages::{
        Answer, Append, Ask, Beat, BeatAnswer, Finish, PROTOCOL, Reject, Repair, Reply, Request,
        SealOne,
    },
    record::{NodeRecord, SegmentOpen},
    rules::{Rule, kept},
};

/// A log-node.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) options: NodeOptions,
    /// What will be on disk when all that was given to it is.
    pub(super) accepted: NodeImage,
    /// What is on disk.
    pub(super) durable: NodeImage,
    /// What was given to the disk and is not there yet.
    pub(super) unsynced: VecDeque<(Ticket, Vec<NodeRecord>)>,
    pub(super) unsynced_bytes: u64,
    pub(super) given: Ticket,
    pub(super) synced: Ticket,
    /// Answers that wait for the disk, in the order of their tickets.
    pub(super) waiting: VecDeque<(Ticket, Caller, Due)>,
    pub(super) volatile: BTreeMap<ChannelId, Volatile>,
    room: Room,
    pub(super) failed: bool,
}

/// What is known of a log only while the process lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Volatile {
    /// The promise that this life began with: epochs up to it may have had ticks confirmed that are forgotten.
    pub(super) began_with: Epoch,
    /// The highest tick confirmed, and the last epoch that had one confirmed.
    pub(super) tick: Timestamp,
    pub(super) ticked: Epoch,
    pub(super) heard: Option<(Epoch, Duration)>,
}

impl Node {
    /// A node that begins with what its journal held.
    #[must_use]
    pub fn open(options: NodeOptions, image: NodeImage) -> Self {
        let volatile = image
            .logs
            .iter()
            .map(|(log, state)| {
                let volatile = Volatile {
                    began_with: state.promise,
                    ..Volatile::default()
                };
                (*log, volatile)
            })
            .collect();
        Self {
            options,
            accepted: image.clone(),
            durable: image,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            given: Ticket(0),
            synced: Ticket(0),
            waiting: VecDeque::new(),
            volatile,
            room: Room::Enough,
            failed: false,
        }
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: NodeEvent, now: Duration) -> Vec<NodeAction> {
        match event {
            NodeEvent::Request { caller, request } => self.request(caller, request, now),
            NodeEvent::Persisted { through } => self.persisted(through),
            NodeEvent::PersistFailed => self.persist_failed(),
            NodeEvent::Room(room) => {
                self.room = room;
                Vec::new()
            }
        }
    }

    /// What is on disk.
    #[must_use]
    pub fn durable(&self) -> &NodeImage {
        &self.durable
    }

    /// Its names and bounds.
    #[must_use]
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Whether the disk failed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.failed
    }

    /// Bytes of entries that wait for the disk; never above [`NodeOptions::pending_bytes_max`] by more than one request.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.unsynced_bytes
    }

    fn request(&mut self, caller: Caller, request: Request, now: Duration) -> Vec<NodeAction> {
        let about = match &request.ask {
            Ask::Append(a) => (a.log, a.segment, a.epoch),
            Ask::Repair(r) => (r.log, r.segment, r.epoch),
            Ask::Finish(f) => (f.log, f.segment, f.epoch),
            Ask::Read(r) => (r.log, r.segment, Epoch(0)),
            Ask::Trim { log, through } => (*log, *through, Epoch(0)),
            Ask::Hello { .. } | Ask::Beat(_) | Ask::Seal(_) | Ask::Inspect(_) => {
                (ChannelId(0), LogSegment(0), Epoch(0))
            }
        };
        let misdirected = self.misdirected(&request);
        let done = if let Some(why) = misdirected {
            Err(why)
        } else {
            match request.ask {
                Ask::Hello { protocol } => self.hello(caller, protocol),
                Ask::Append(append) => self.append(caller, append, now),
                Ask::Beat(beat) => Ok(self.beat(caller, &beat, now)),
                Ask::Seal(ones) => self.seal(caller, ones, now),
                Ask::Repair(repair) => self.repair(caller, repair),
                Ask::Finish(finish) => self.finish(caller, finish),
                Ask::Inspect(logs) => Ok(self.inspect(caller, &logs, now)),
                Ask::Read(read) => self.read(caller, read),
                Ask::Trim { log, through } => self.trim(caller, log, through),
            }
        };
        done.unwrap_or_else(|why| vec![self.reject(caller, about, why)])
    }

    fn misdirected(&self, request: &Request) -> Option<Reject> {
        if request.cluster != self.options.cluster {
            return Some(Reject::Cluster);
        }
        let ours = self.options.storage;
        match request.storage {
            Some(meant) if meant == ours => None,
            // A seal is answered all the same: the answer says that this disk has no authority.
            Some(_) if matches!(request.ask, Ask::Seal(_)) => None,
            Some(_) if !kept(Rule::StorageIdGuard) => None,
            Some(_) => Some(Reject::Storage { storage: ours }),
            None => match request.ask {
                Ask::Hello { .. } | Ask::Inspect(_) => None,
                _ => Some(Reject::Storage { storage: ours }),
            },
        }
    }

    fn hello(&self, caller: Caller, protocol: u32) -> Result<Vec<NodeAction>, Reject> {
        if protocol != PROTOCOL {
            return Err(Reject::Protocol { ours: PROTOCOL });
        }
        let generation = self.options.generation;
        Ok(vec![self.reply(
            caller,
            Answer::Welcome {
                protocol: PROTOCOL,
                generation,
            },
        )])
    }

    fn append(
        &mut self,
        caller: Caller,
        append: Append,
        now: Duration,
    ) -> Result<Vec<NodeAction>, Reject> {
        let Append {
            log,
            segment,
            epoch,
            open,
            acknowledged,
            committed,
            entries,
        } = append;
        self.check_writable()?;
        let promise = self.promise(log);
        if epoch < promise {
            return Err(Reject::Fenced { promise });
        }
        let records = self.open_records(log, segment, epoch, open)?;
        let len = self.held(log, segment).map(|h| h.certain);
        if len.is_none_or(|len| len < acknowledged) && acknowledged > Lsn(0) {
            let len = len.unwrap_or(Lsn(0));
            return Err(Reject::Forgotten { len });
        }
        if records.is_empty() {
            let held = self.held(log, segment).ok_or(Reject::Unknown)?;
            if held.epoch != epoch {
                return Err(Reject::Damaged);
            }
            if let Some(end) = held.end {
                return Err(Reject::Ended { end });
            }
        }
        let actions = self.take(caller, (log, segment, epoch), committed, entries, records)?;
        self.hear(log, epoch, now);
        self.mark(log, segment, epoch, committed);
        Ok(actions)
    }

    fn repair(&mut self, caller: Caller, repair: Repair) -> Result<Vec<NodeAction>, Reject> {
        let Repair {
            log,
            segment,
            epoch,
            end,
            open,
            mut entries,
        } = repair;
        self.check_writable()?;
        let promise = self.promise(log);
        let written_by = open.epoch;
        let mut records = Vec::new();
        match end {
            // The bytes are fixed: any epoch may bring them.
            Some(end) => entries.retain(|e| e.lsn <= end),
            None if epoch < promise => return Err(Reject::Fenced { promise }),
            None if epoch > promise => records.push(NodeRecord::Promise { log, epoch }),
            None => {}
        }
        if segment <= self.trimmed(log) {
            let through = self.trimmed(log);
            return Err(Reject::Trimmed { through });
        }
        match self.held(log, segment) {
            Some(held) if held.epoch != written_by || held.first != open.first => {
                return Err(Reject::Damaged);
            }
            Some(held) => {
                if let Some(end) = held.end {
                    entries.retain(|e| e.lsn <= end);
                }
            }
            None => {
                self.check_open(segment, &open)?;
                records.push(NodeRecord::SegmentOpen { log, segment, open });
            }
        }
        self.take(caller, (log, segment, epoch), Lsn(0), entries, records)
    }

    /// Records that make `segment` known, if it is not.
    fn open_records(
        &self,
        log: ChannelId,
        segment: LogSegment,
        epoch: Epoch,
        open: Option<SegmentOpen>,
    ) -> Result<Vec<NodeRecord>, Reject> {
        let through = self.trimmed(log);
        if segment <= through {
            return Err(Reject::Trimmed { through });
        }
        if self.held(log, segment).is_some() {
            return Ok(Vec::new());
        }
        let open = open.ok_or(Reject::Unknown)?;
        if open.epoch != epoch {
            return Err(Reject::Damaged);
        }
        self.check_open(segment, &open)?;
        let mut records = Vec::new();
        if epoch > self.promise(log) {
            records.push(NodeRecord::Promise { log, epoch });
        }
        records.push(NodeRecord::SegmentOpen { log, segment, open });
        Ok(records)
    }

    fn check_open(&self, segment: LogSegment, open: &SegmentOpen) -> Result<(), Reject> {
        let storage = self.options.storage;
        let named = open.copies.holders.iter().any(|h| h.storage == storage);
        if !named && kept(Rule::StorageIdGuard) {
            return Err(Reject::Storage { storage });
        }
        if segment == LogSegment(0) || open.first == Lsn(0) || open.first.0 > u64::MAX / 2 {
            return Err(Reject::Damaged);
        }
        Ok(())
    }

    /// Gives the entries that are new to the disk, behind `records`, and owes an answer.
    fn take(
        &mut self,
        caller: Caller,
        (log, segment, epoch): (ChannelId, LogSegment, Epoch),
        committed: Lsn,
        entries: Vec<crate::Entry>,
        mut records: Vec<NodeRecord>,
    ) -> Result<Vec<NodeAction>, Reject> {
        let mut len = match (self.held(log, segment), records.last()) {
            (Some(held), _) => held.certain,
            (None, Some(NodeRecord::SegmentOpen { open, .. })) => Lsn(open.first.0 - 1),
            (None, _) => return Err(Reject::Unknown),
        };
        let mut bytes = 0;
        for entry in entries {
            if !entry.is_intact(log) {
                return Err(Reject::Damaged);
            }
            if entry.lsn <= len {
                continue;
            }
            if entry.lsn != len.next() {
                if bytes == 0 {
                    return Err(Reject::Behind { len });
                }
                return Err(Reject::Damaged);
            }
            len = entry.lsn;
            bytes += entry.payload.len() as u64 + ENTRY_OVERHEAD;
            records.push(NodeRecord::Append {
                log,
                segment,
                epoch,
                committed,
                entry,
            });
        }
        if !records.is_empty() {
            if self.room == Room::Full {
                return Err(Reject::Full);
            }
            let room = self.options.pending_bytes_max;
            if self.unsynced_bytes > 0 && self.unsynced_bytes + bytes > room {
                return Err(Reject::Busy);
            }
        }
        let mut actions = self.persist(records, bytes);
        actions.extend(self.owe(caller, Due::Durable(log, segment, epoch)));
        Ok(actions)
    }

    fn beat(&mut self, caller: Caller, beat: &Beat, now: Duration) -> Vec<NodeAction> {
        let mut at = Vec::with_capacity(beat.at.len());
        for one in &beat.at {
            let promise = self.promise(one.log);
            let on_disk = self.durable.logs.get(&one.log).map(|l| l.promise);
            let confirmed =
                promise == one.epoch && on_disk == Some(one.epoch) && self.counts() && !self.failed;
            if confirmed {
                let volatile = self.volatile.entry(one.log).or_default();
                volatile.ticked = one.epoch;
                volatile.tick = volatile.tick.max(one.tick.unwrap_or(Timestamp::ZERO));
            }
            if promise == one.epoch {
                self.hear(one.log, one.epoch, now);
            }
            self.mark(one.log, one.segment, one.epoch, one.committed);
            at.push(BeatAnswer {
                log: one.log,
                epoch: one.epoch,
                confirmed,
                promise,
            });
        }
        vec![self.reply(
            caller,
            Answer::Beat {
                nonce: beat.nonce,
                at,
            },
        )]
    }

    fn seal(
        &mut self,
        caller: Caller,
        ones: Vec<SealOne>,
        now: Duration,
    ) -> Result<Vec<NodeAction>, Reject> {
        if !self.counts() {
            // Nothing is promised by a disk whose word does not count; the answer says just that.
            let answer = Answer::Sealed(ones.iter().map(|one| self.sealed_at(one)).collect());
            return Ok(vec![self.reply(caller, answer)]);
        }
        if self.failed {
            return Err(Reject::ReadOnly);
        }
        let mut records = Vec::new();
        for one in &ones {
            if one.epoch >= self.promise(one.log) {
                self.hear(one.log, one.epoch, now);
            }
            if one.epoch <= self.promise(one.log) {
                continue;
            }
            let (log, epoch) = (one.log, one.epoch);
            let promise = NodeRecord::Promise { log, epoch };
            if kept(Rule::PromiseIsDurable) {
                records.push(promise);
            } else {
                self.accepted.apply(&promise).expect("it rises");
                self.durable.apply(&promise).expect("it rises");
            }
        }
        let mut actions = self.persist(records, 0);
        actions.extend(self.owe(caller, Due::Sealed(ones)));
        Ok(actions)
    }

    fn finish(&mut self, caller: Caller, finish: Finish) -> Result<Vec<NodeAction>, Reject> {
        let Finish {
            log,
            segment,
            epoch,
            end,
        } = finish;
        let records = match self.held(log, segment) {
            Some(held) if held.epoch == epoch && held.end.is_none() => {
                if end.next() < held.first {
                    return Err(Reject::Damaged);
                }
                if self.failed {
                    return Err(Reject::ReadOnly);
                }
                vec![NodeRecord::Finish { log, segment, end }]
            }
            Some(held) if held.epoch == epoch && held.end != Some(end) => {
                return Err(Reject::Damaged);
            }
            _ => Vec::new(),
        };
        let mut actions = self.persist(records, 0);
        actions.extend(self.owe(caller, Due::Finished(log, segment)));
        Ok(actions)
    }

    fn trim(
        &mut self,
        caller: Caller,
        log: ChannelId,
        through: LogSegment,
    ) -> Result<Vec<NodeAction>, Reject> {
        let held = self
            .accepted
            .logs
            .get(&log)
            .is_some_and(|l| l.segments.range(..=through).next().is_some());
        let mut actions = Vec::new();
        if held {
            if self.failed {
                return Err(Reject::ReadOnly);
            }
            let segment = through;
            actions = self.persist(vec![NodeRecord::Trim { log, segment }], 0);
        }
        actions.extend(self.owe(caller, Due::Trimmed(log, through)));
        Ok(actions)
    }

    pub(super) fn counts(&self) -> bool {
        !self.options.data_loss || !kept(Rule::StorageIdGuard)
    }

    /// A disk that lost something may have lost a promise: it takes no entries, from whomever.
    fn check_writable(&self) -> Result<(), Reject> {
        if self.failed || !self.counts() {
            return Err(Reject::ReadOnly);
        }
        Ok(())
    }

    pub(super) fn promise(&self, log: ChannelId) -> Epoch {
        self.accepted.logs.get(&log).map_or(Epoch(0), |l| l.promise)
    }

    pub(super) fn trimmed(&self, log: ChannelId) -> LogSegment {
        self.accepted
            .logs
            .get(&log)
            .map_or(LogSegment(0), |l| l.trimmed)
    }

    fn held(&self, log: ChannelId, segment: LogSegment) -> Option<&SegmentImage> {
        self.accepted.logs.get(&log)?.segments.get(&segment)
    }

    fn hear(&mut self, log: ChannelId, epoch: Epoch, now: Duration) {
        self.volatile.entry(log).or_default().heard = Some((epoch, now));
    }

    /// Takes over what a writer says about its own segment.
    fn mark(&mut self, log: ChannelId, segment: LogSegment, epoch: Epoch, committed: Lsn) {
        for image in [&mut self.accepted, &mut self.durable] {
            let held = image
                .logs
                .get_mut(&log)
                .and_then(|l| l.segments.get_mut(&segment));
            if let Some(held) = held.filter(|h| h.epoch == epoch) {
                held.committed = held.committed.max(committed);
            }
        }
    }

    pub(super) fn reject(
        &self,
        to: Caller,
        (log, segment, epoch): (ChannelId, LogSegment, Epoch),
        why: Reject,
    ) -> NodeAction {
        let answer = Answer::Rejected {
            log,
            segment,
            epoch,
            why,
        };
        self.reply(to, answer)
    }

    pub(super) fn reply(&self, to: Caller, answer: Answer) -> NodeAction {
        let free = self
            .options
            .pending_bytes_max
            .saturating_sub(self.unsynced_bytes);
        let credits = match self.room {
            Room::Enough => free,
            Room::Little => free / 8,
            Room::Full => 0,
        };
        NodeAction::Reply {
            to,
            reply: Reply {
                storage: self.options.storage,
                credits,
                answer,
            },
        }
    }
}
