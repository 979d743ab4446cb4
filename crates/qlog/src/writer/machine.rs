//! The writer's state, and what each event does to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use holdfast_types::{Epoch, LogSegment, Lsn, Timestamp};

use super::{
    AppendOutcome, AppendRejected, AppendRequest, DedupWindow, WriterAction, WriterEvent,
    WriterOptions,
    roll::Roll,
    target::{Peer, Target},
};
use crate::{
    copies::StorageId,
    entry::{Entry, RequestId},
    messages::{Answer, Reject, Reply},
    meta::{LogHead, NodeRegistration, SegmentDescriptor},
    recover::Opened,
    rules::{Rule, kept},
};

/// What an entry costs beside its payload.
pub(super) const ENTRY_OVERHEAD: u64 = 64;
/// Ticks that may wait for their confirmation.
const ANNOUNCEMENTS_MAX: usize = 16;
/// Quiet time after which holders are told what is committed.
const TELL_AFTER: Duration = Duration::from_millis(1);

/// The writer of a log.
#[derive(Clone, Debug)]
pub struct Writer {
    pub(super) options: WriterOptions,
    pub(super) head: LogHead,
    pub(super) descriptor: SegmentDescriptor,
    pub(super) current: Target,
    pub(super) roll: Option<Roll>,
    /// Attempts to open a segment so far.
    pub(super) attempts: u32,
    pub(super) rolled: Duration,
    pub(super) transactions: u64,
    pub(super) nodes: Vec<NodeRegistration>,
    /// Disks that were left behind, and until when they are not chosen again.
    pub(super) avoid: BTreeMap<StorageId, Duration>,
    /// Entries that a holder may still lack. The first of them follows `dropped`.
    pub(super) buffer: VecDeque<Buffered>,
    dropped: Lsn,
    pub(super) last: Lsn,
    pub(super) last_tick: Timestamp,
    pub(super) committed: Lsn,
    told: Lsn,
    committed_at: Duration,
    tokens: BTreeMap<Lsn, Vec<Token>>,
    in_flight: BTreeMap<RequestId, Lsn>,
    window: DedupWindow,
    questions: VecDeque<Question>,
    announcements: VecDeque<Announcement>,
    /// The highest tick that any beat asked for.
    pub(super) asked_tick: Timestamp,
    pub(super) beats: u64,
    pub(super) beat_at: Duration,
    pub(super) down: Option<Epoch>,
}

#[derive(Clone, Debug)]
pub(super) struct Buffered {
    pub(super) entry: Entry,
    /// Bytes of all entries before this one, since the writer began.
    before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    token: u64,
    repeated: bool,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    token: u64,
    nonce: u64,
    committed: Lsn,
}

#[derive(Clone, Copy, Debug)]
struct Announcement {
    tick: Timestamp,
    nonce: u64,
    last: Lsn,
}

impl Writer {
    /// The writer of a log that was just opened for this process. `window` is that of all entries up to the end that was
    /// found.
    #[must_use]
    pub fn open(
        options: WriterOptions,
        opened: Opened,
        window: DedupWindow,
        now: Duration,
    ) -> (Self, Vec<WriterAction>) {
        let Opened {
            head,
            descriptor,
            tick_floor,
            ..
        } = opened;
        let before = descriptor.before();
        let mut writer = Self {
            current: Target::new(
                head.segment,
                descriptor.first,
                descriptor.copies.clone(),
                now,
            ),
            roll: None,
            attempts: 1,
            rolled: now,
            transactions: 0,
            nodes: Vec::new(),
            avoid: BTreeMap::new(),
            buffer: VecDeque::new(),
            dropped: before,
            last: before,
            last_tick: tick_floor,
            committed: before,
            told: before,
            committed_at: now,
            tokens: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            window: if kept(Rule::Dedup) {
                window
            } else {
                DedupWindow::new(options.dedup_requests_max)
            },
            questions: VecDeque::new(),
            announcements: VecDeque::new(),
            asked_tick: Timestamp::ZERO,
            beats: 0,
            beat_at: now,
            down: None,
            options,
            head,
            descriptor,
        };
        let mut actions = Vec::new();
        writer.pump(now, &mut actions);
        writer.beat(now, &mut actions);
        (writer, actions)
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: WriterEvent, now: Duration) -> Vec<WriterAction> {
        let mut actions = Vec::new();
        if let Some(newer) = self.down {
            if let WriterEvent::Append(AppendRequest { token, .. }) = event {
                let outcome = AppendOutcome::Rejected(AppendRejected::Fenced { newer });
                actions.push(WriterAction::Done { token, outcome });
            }
            return actions;
        }
        match event {
            WriterEvent::Append(append) => self.append(append, &mut actions),
            WriterEvent::Confirm { token } => {
                let nonce = self.beats + 1;
                self.questions.push_back(Question {
                    token,
                    nonce,
                    committed: self.committed,
                });
                self.beat(now, &mut actions);
            }
            WriterEvent::Announce { tick } => self.announce(tick, now, &mut actions),
            WriterEvent::Reply { from, reply } => self.reply(&from, reply, now, &mut actions),
            WriterEvent::Disconnected { node } => {
                for target in self.targets_mut() {
                    for (peer, holder) in target.peers.iter_mut().zip(&target.copies.holders) {
                        if holder.node == node {
                            peer.sent = peer.durable;
                            peer.paused = now;
                        }
                    }
                }
            }
            WriterEvent::Nodes(nodes) => self.nodes = nodes,
            WriterEvent::Txn { id, outcome } => self.txn(id, outcome, now, &mut actions),
            WriterEvent::View(view) => self.view(&view, now, &mut actions),
            WriterEvent::Overtaken { newer } => self.step_down(newer, &mut actions),
            WriterEvent::Tick => self.tick(now, &mut actions),
        }
        if self.down.is_none() {
            self.advance(now, &mut actions);
            self.pump(now, &mut actions);
        }
        actions
    }

    /// When to step with [`WriterEvent::Tick`] next.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let beat = self.beat_at + self.options.beat_every;
        if self.told < self.committed {
            beat.min(self.committed_at + TELL_AFTER)
        } else {
            beat
        }
    }

    /// Its epoch and segment.
    #[must_use]
    pub fn head(&self) -> &LogHead {
        &self.head
    }

    /// The last position given out, committed or not.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// The last stamp that was given out or announced: the next append's is above it.
    #[must_use]
    pub fn last_tick(&self) -> Timestamp {
        self.last_tick
    }

    /// Whether an append would be taken now, of whatever size: whoever waits for room does not know yet what comes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let waiting = (self.last.0 - self.committed.0) as usize;
        let bytes = self.position(self.last) - self.position(self.committed);
        waiting < self.options.window_entries && bytes < self.options.window_bytes as u64
    }

    /// All entries up to this one are committed.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.committed
    }

    /// Requests that are in the log up to [`Self::committed`].
    #[must_use]
    pub fn window(&self) -> &DedupWindow {
        &self.window
    }

    /// Whether it stepped down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// Bytes of entries that are kept: not committed, or lacking somewhere.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.position(self.last) - self.position(self.dropped)
    }

    fn append(&mut self, append: AppendRequest, actions: &mut Vec<WriterAction>) {
        let AppendRequest {
            token,
            request,
            tick,
            payload,
        } = append;
        let mut done = |outcome| actions.push(WriterAction::Done { token, outcome });
        if let Some(request) = request {
            if let Some((lsn, tick)) = self.window.find(request) {
                return done(AppendOutcome::Repeated { lsn, tick });
            }
            if let Some(lsn) = self.in_flight.get(&request) {
                let repeated = true;
                let waiting = self.tokens.entry(*lsn).or_default();
                return waiting.push(Token { token, repeated });
            }
        }
        let bytes = payload.len() as u64 + ENTRY_OVERHEAD;
        if !self.has_room() {
            return done(AppendOutcome::Rejected(AppendRejected::Busy));
        }
        if tick <= self.last_tick {
            let last = self.last_tick;
            return done(AppendOutcome::Rejected(AppendRejected::TickNotRising {
                last,
            }));
        }
        let before = self.position(self.last);
        for target in self.targets_mut() {
            target.bytes += bytes;
        }
        self.last = self.last.next();
        self.last_tick = tick;
        let entry = Entry::new(self.options.log, self.last, tick, request, payload);
        self.buffer.push_back(Buffered { entry, before });
        let repeated = false;
        self.tokens
            .insert(self.last, vec![Token { token, repeated }]);
        if let Some(request) = request {
            self.in_flight.insert(request, self.last);
        }
    }

    fn announce(&mut self, tick: Timestamp, now: Duration, actions: &mut Vec<WriterAction>) {
        if tick <= self.asked_tick {
            return;
        }
        self.asked_tick = tick;
        self.last_tick = self.last_tick.max(tick);
        if self.announcements.len() == ANNOUNCEMENTS_MAX {
            self.announcements.pop_front();
        }
        let (nonce, last) = (self.beats + 1, self.last);
        self.announcements
            .push_back(Announcement { tick, nonce, last });
        self.beat(now, actions);
    }

    fn reply(
        &mut self,
        from: &Arc<str>,
        reply: Reply,
        now: Duration,
        actions: &mut Vec<WriterAction>,
    ) {
        let Reply {
            storage,
            credits,
            answer,
        } = reply;
        let epoch = self.head.epoch;
        match answer {
            Answer::Durable {
                log,
                segment,
                epoch: served,
                lsn,
            } if log == self.options.log && served == epoch => {
                let last = self.last;
                let Some(peer) = self.peer(segment, from, storage) else {
                    return;
                };
                peer.heard = now;
                peer.credits = credits;
                peer.opened = true;
                if lsn > peer.durable && lsn <= last {
                    peer.durable = lsn;
                    peer.sent = peer.sent.max(lsn);
                    peer.progress = now;
                }
            }
            Answer::Beat { nonce, at } => {
                for one in at {
                    if one.log != self.options.log || one.epoch != epoch {
                        continue;
                    }
                    if one.promise > epoch {
                        return self.step_down(one.promise, actions);
                    }
                    if !one.confirmed {
                        continue;
                    }
                    for target in self.targets_mut() {
                        for (peer, holder) in target.peers.iter_mut().zip(&target.copies.holders) {
                            if holder.node == *from && holder.storage == storage {
                                peer.heard = now;
                                peer.confirmed = peer.confirmed.max(nonce);
                            }
                        }
                    }
                }
            }
            Answer::Rejected {
                log,
                segment,
                epoch: asked,
                why,
            } if log == self.options.log && asked == epoch => {
                self.rejected(from, storage, segment, why, now, actions);
            }
            _ => {}
        }
    }

    fn rejected(
        &mut self,
        from: &Arc<str>,
        storage: StorageId,
        segment: LogSegment,
        why: Reject,
        now: Duration,
        actions: &mut Vec<WriterAction>,
    ) {
        let epoch = self.head.epoch;
        let pause = self.options.resend_after / 4;
        if let Reject::Fenced { promise } = why {
            if promise > epoch {
                self.step_down(promise, actions);
            }
            return;
        }
        if let Reject::Storage { .. } = why {
            // Another disk answers for the node: the one that is meant is not there.
            for target in self.targets_mut() {
                for (peer, holder) in target.peers.iter_mut().zip(&target.copies.holders) {
                    peer.out |= holder.node == *from && holder.storage != storage;
                }
            }
            return;
        }
        let Some(peer) = self.peer(segment, from, storage) else {
            return;
        };
        match why {
            Reject::Behind { len } => peer.sent = peer.durable.max(len),
            Reject::Unknown => {
                peer.sent = peer.durable;
                peer.open_asked = None;
                peer.opened = false;
            }
            Reject::Forgotten { .. } => {
                if !peer.out {
                    actions.push(WriterAction::Suspect { node: from.clone() });
                }
                peer.out = true;
            }
            Reject::Busy => {
                peer.sent = peer.durable;
                peer.paused = now + pause;
            }
            Reject::Damaged => {
                peer.sent = peer.durable;
                peer.paused = now + pause;
            }
            Reject::Full | Reject::ReadOnly | Reject::Trimmed { .. } | Reject::Protocol { .. } => {
                peer.out = true;
            }
            // Only a recoverer of a higher epoch ends a segment that this writer has not ended.
            Reject::Ended { .. } => self.step_down(Epoch(epoch.0 + 1), actions),
            Reject::Fenced { .. }
            | Reject::Storage { .. }
            | Reject::Cluster
            | Reject::Rotten { .. } => {}
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        let (resend, last) = (self.options.resend_after, self.last);
        for target in self.targets_mut() {
            for peer in &mut target.peers {
                let idle = peer.opened && peer.durable == last;
                if idle {
                    peer.progress = now;
                } else if now.saturating_sub(peer.sent_at.max(peer.progress)) >= resend {
                    peer.sent = peer.durable;
                    peer.open_asked = None;
                }
            }
        }
        if now >= self.beat_at + self.options.beat_every {
            self.beat(now, actions);
        }
        self.avoid.retain(|_, until| *until > now);
        self.tick_roll(now, actions);
        if self.down.is_none()
            && self.told < self.committed
            && now >= self.committed_at + TELL_AFTER
        {
            self.tell(now, actions);
        }
    }

    /// Sends what is committed on its own.
    fn tell(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        self.told = self.committed;
        for target in self.targets() {
            for (holder, peer) in target.copies.holders.iter().zip(&target.peers) {
                if peer.opened && !peer.out {
                    actions.push(self.append_message(target, holder, peer, false, Vec::new()));
                }
            }
        }
        self.committed_at = now;
    }

    /// Acknowledges what has become committed, answers questions, announces ticks.
    pub(super) fn advance(&mut self, now: Duration, actions: &mut Vec<WriterAction>) {
        let mut committed = self.current.committed();
        let undecided = self.roll.as_ref().filter(|r| r.is_undecided());
        if let Some(roll) = undecided.filter(|_| kept(Rule::RollCommitsInBoth)) {
            committed = committed.min(roll.target.committed());
        }
        if let Some(committed) = committed.filter(|c| *c > self.committed) {
            let from = self.committed.next();
            self.committed = committed;
            self.committed_at = now;
            actions.push(WriterAction::Committed(committed));
            for lsn in from.0..=committed.0 {
                self.commit_one(Lsn(lsn), actions);
            }
        }
        self.try_send_roll(now, actions);
        while let Some(question) = self.questions.front().copied() {
            if !self.confirmed(question.nonce) {
                break;
            }
            self.questions.pop_front();
            actions.push(WriterAction::Confirmed {
                token: question.token,
                committed: question.committed,
            });
        }
        while let Some(announcement) = self.announcements.front().copied() {
            let confirmed = self.confirmed(announcement.nonce) || !kept(Rule::BeatBeforeBareTick);
            if !confirmed || self.committed < announcement.last {
                break;
            }
            self.announcements.pop_front();
            actions.push(WriterAction::Announced {
                tick: announcement.tick,
                committed: self.committed,
            });
        }
        self.shrink();
    }

    fn commit_one(&mut self, lsn: Lsn, actions: &mut Vec<WriterAction>) {
        let entry = self
            .entry(lsn)
            .expect("entries stay in the buffer until they are committed")
            .clone();
        self.window.apply(&entry);
        if let Some(request) = entry.request {
            self.in_flight.remove(&request);
        }
        let (lsn, tick) = (entry.lsn, entry.tick);
        for Token { token, repeated } in self.tokens.remove(&lsn).unwrap_or_default() {
            let outcome = if repeated {
                AppendOutcome::Repeated { lsn, tick }
            } else {
                AppendOutcome::Done { lsn, tick }
            };
            actions.push(WriterAction::Done { token, outcome });
        }
    }

    fn confirmed(&self, nonce: u64) -> bool {
        let undecided = self.roll.as_ref().filter(|r| r.is_undecided());
        self.current.confirmed(nonce) && undecided.is_none_or(|r| r.target.confirmed(nonce))
    }

    /// Drops entries that every usable holder has, and those that a holder has lagged behind for too long.
    fn shrink(&mut self) {
        let lag_max = self.options.lag_bytes_max;
        let usable = self
            .targets()
            .flat_map(|t| t.peers.iter())
            .filter(|p| !p.out)
            .map(|p| p.durable);
        let mut through = usable.min().unwrap_or(self.committed).min(self.committed);
        while self.position(self.committed) - self.position(through) > lag_max {
            through = through.next();
        }
        while self.dropped < through {
            self.buffer.pop_front();
            self.dropped = self.dropped.next();
        }
        let dropped = self.dropped;
        for target in self.targets_mut() {
            for peer in &mut target.peers {
                peer.out |= peer.durable < dropped;
            }
        }
    }

    /// Ends this writer. What was under way may or may not be in the log.
    pub(super) fn step_down(&mut self, newer: Epoch, actions: &mut Vec<WriterAction>) {
        if self.down.is_some() {
            return;
        }
        self.down = Some(newer);
        for (_, tokens) in std::mem::take(&mut self.tokens) {
            for Token { token, .. } in tokens {
                let outcome = AppendOutcome::Unknown;
                actions.push(WriterAction::Done { token, outcome });
            }
        }
        self.questions.clear();
        self.announcements.clear();
        self.roll = None;
        self.buffer.clear();
        self.dropped = self.last;
        actions.push(WriterAction::SteppedDown { newer });
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.current).chain(self.roll.as_ref().map(|r| &r.target))
    }

    fn targets_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        std::iter::once(&mut self.current).chain(self.roll.as_mut().map(|r| &mut r.target))
    }

    fn peer(
        &mut self,
        segment: LogSegment,
        node: &Arc<str>,
        storage: StorageId,
    ) -> Option<&mut Peer> {
        let target = self.targets_mut().find(|t| t.segment == segment)?;
        let at = target
            .copies
            .holders
            .iter()
            .position(|h| h.node == *node && h.storage == storage)?;
        target.peers.get_mut(at)
    }

    pub(super) fn index(&self, lsn: Lsn) -> Option<usize> {
        let index = usize::try_from(lsn.0.checked_sub(self.dropped.0 + 1)?).ok()?;
        (index < self.buffer.len()).then_some(index)
    }

    fn entry(&self, lsn: Lsn) -> Option<&Entry> {
        Some(&self.buffer[self.index(lsn)?].entry)
    }

    /// Bytes of all entries up to this one, since the writer began; of those that were dropped, no more is known than
    /// that they come before the buffer.
    pub(super) fn position(&self, lsn: Lsn) -> u64 {
        let after = |b: &Buffered| b.before + b.entry.payload.len() as u64 + ENTRY_OVERHEAD;
        match self.index(lsn) {
            Some(index) => after(&self.buffer[index]),
            None if lsn <= self.dropped => self.buffer.front().map_or(0, |b| b.before),
            None => self.buffer.back().map_or(0, after),
        }
    }
}
