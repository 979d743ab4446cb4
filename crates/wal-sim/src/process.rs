//! Processes that may write, recover, watch and read every log, as a stream-node's shell would.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_qlog::{
    Copies, Entry,
    detect::{DetectAction, DetectEvent, DetectOptions, Detector},
    invariants::bounded,
    messages::{Ask, Owner, Reply, Request},
    meta::{LogView, MetaTxn, Phase, TxnOutcome},
    node::Caller,
    reader::{Reader, ReaderAction, ReaderEvent, ReaderOptions},
    recover::{Opened, RecoverAction, RecoverEvent, RecoverOptions, Recoverer},
    writer::{AppendOutcome, DedupWindow, Writer, WriterAction, WriterEvent, WriterOptions},
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::world::{
    CLOCK_BOUND, CLUSTER, Event, LOGS, META, NODES, PROCESSES, Role, Step, Tag, World, trace,
};

pub(crate) const WINDOW_BYTES: usize = 16 << 10;
const LAG_BYTES_MAX: u64 = 24 << 10;
const DEDUP_MAX: usize = 100_000;
const TICK_EVERY: Duration = Duration::from_millis(10);
const BEAT_EVERY: Duration = Duration::from_millis(50);
const WATCH_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct SimProcess {
    pub(crate) name: Arc<str>,
    pub(crate) life: u32,
    pub(crate) alive: bool,
    pub(crate) paused: Duration,
    /// How far its clock is ahead, in microseconds, plus the bound.
    pub(crate) skew: u64,
    pub(crate) logs: BTreeMap<ChannelId, ProcessLog>,
    watched: Duration,
    beaten: BTreeMap<ChannelId, Duration>,
}

pub(crate) struct ProcessLog {
    pub(crate) writer: Option<Writer>,
    /// Entries that the writer gave out and that are not committed.
    given: BTreeMap<Lsn, Entry>,
    /// Holders of the segments it writes.
    segments: BTreeMap<LogSegment, Copies>,
    pub(crate) recoverer: Option<Recoverer>,
    detector: Detector,
    pub(crate) reader: Reader,
    /// The log has no segment yet, since then.
    empty_since: Option<Duration>,
}

impl SimProcess {
    pub(crate) fn new(p: usize) -> Self {
        Self {
            name: format!("p{p}").into(),
            life: 0,
            alive: false,
            paused: Duration::ZERO,
            skew: 0,
            logs: BTreeMap::new(),
            watched: Duration::ZERO,
            beaten: BTreeMap::new(),
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner {
            node: self.name.clone(),
            incarnation: u64::from(self.life),
        }
    }
}

impl World {
    pub(crate) fn wall(&self, p: usize) -> Timestamp {
        Timestamp(self.now.as_micros() as u64 + self.processes[p].skew)
    }

    pub(crate) fn process_start(&mut self, p: usize, life: u32) {
        let now = self.now;
        let process = &mut self.processes[p];
        if process.life != life || process.alive {
            return;
        }
        process.alive = true;
        let owner = process.owner();
        process.logs = (0..LOGS)
            .map(|log| {
                let log = ChannelId(log);
                let detector = DetectOptions {
                    cluster: CLUSTER,
                    log,
                    owner: owner.clone(),
                    beat_every: Duration::from_millis(50),
                    misses: 6,
                    silence_max: Duration::from_millis(1_000),
                    unheard: Duration::from_millis(200),
                    inspect_again: Duration::from_millis(150),
                    pause: Duration::from_millis(300),
                    pause_max: Duration::from_secs(3),
                };
                let reader = ReaderOptions {
                    cluster: CLUSTER,
                    log,
                    owner: owner.clone(),
                    zone: None,
                    bytes_max: 4 << 10,
                    resend_after: Duration::from_millis(150),
                    poll_every: Duration::from_millis(60),
                };
                let state = ProcessLog {
                    writer: None,
                    given: BTreeMap::new(),
                    segments: BTreeMap::new(),
                    recoverer: None,
                    detector: Detector::new(detector, now),
                    reader: Reader::new(reader, Lsn(1)),
                    empty_since: None,
                };
                (log, state)
            })
            .collect();
        trace!(self, "p{p} starts");
        self.at(TICK_EVERY, Event::ProcessTick { process: p, life });
    }

    pub(crate) fn process_crash(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if !process.alive {
            return;
        }
        process.alive = false;
        process.life += 1;
        process.paused = Duration::ZERO;
        process.logs.clear();
        self.counts.crashes += 1;
        for client in self.clients.values_mut() {
            client.forget(p);
        }
        trace!(self, "p{p} crashes");
    }

    fn log_of(&mut self, tag: Tag) -> Option<&mut ProcessLog> {
        let process = &mut self.processes[tag.process];
        if !process.alive || process.life != tag.life {
            return None;
        }
        process.logs.get_mut(&tag.log)
    }

    fn tag(&self, p: usize, log: ChannelId, role: Role) -> Tag {
        Tag {
            process: p,
            life: self.processes[p].life,
            log,
            role,
        }
    }

    pub(crate) fn process_tick(&mut self, p: usize, life: u32) -> Step {
        if !self.processes[p].alive || self.processes[p].life != life {
            return Ok(());
        }
        self.at(TICK_EVERY, Event::ProcessTick { process: p, life });
        let watch = self.now.saturating_sub(self.processes[p].watched) >= WATCH_EVERY;
        if watch {
            self.processes[p].watched = self.now;
        }
        let nodes = watch.then(|| self.registered());
        let meta_there = self.now >= self.meta_away && !self.blocked.contains(&(NODES + p, META));
        for log in (0..LOGS).map(ChannelId) {
            if let Some(nodes) = nodes.as_ref().filter(|_| meta_there) {
                self.drive_writer(p, log, WriterEvent::Nodes(nodes.clone()))?;
                self.drive_recoverer(p, log, RecoverEvent::Nodes(nodes.clone(), Vec::new()))?;
            }
            self.drive_writer(p, log, WriterEvent::Tick)?;
            self.drive_recoverer(p, log, RecoverEvent::Tick)?;
            self.drive_reader(p, log, ReaderEvent::Tick)?;
            let state = &self.processes[p].logs[&log];
            if state.writer.is_none() && state.recoverer.is_none() {
                self.drive_detector(p, log, DetectEvent::Tick)?;
            }
            self.peer_beats(p, log);
            if watch {
                let tag = self.tag(p, log, Role::Watch);
                let caller = tag.caller();
                self.send(NODES + p, META, Event::MetaView { caller });
            }
            if self.rng.chance(100_000) {
                let tick = self.wall(p);
                self.drive_writer(p, log, WriterEvent::Announce { tick })?;
            }
        }
        Ok(())
    }

    fn peer_beats(&mut self, p: usize, log: ChannelId) {
        let state = &self.processes[p].logs[&log];
        let writes = state.writer.as_ref().map(|w| w.head().epoch);
        let recovers = state.recoverer.as_ref().and_then(Recoverer::epoch);
        let Some(epoch) = writes.or(recovers) else {
            return;
        };
        let last = self.processes[p].beaten.insert(log, self.now);
        if let Some(last) = last.filter(|at| self.now.saturating_sub(*at) < BEAT_EVERY) {
            self.processes[p].beaten.insert(log, last);
            return;
        }
        for other in (0..PROCESSES).filter(|o| *o != p) {
            let beat = Event::PeerBeat {
                process: other,
                log,
                epoch,
            };
            self.send(NODES + p, NODES + other, beat);
        }
    }

    pub(crate) fn process_beat(&mut self, p: usize, log: ChannelId, epoch: Epoch) -> Step {
        if !self.processes[p].alive {
            return Ok(());
        }
        self.drive_detector(p, log, DetectEvent::Beat { epoch })
    }

    pub(crate) fn process_reply(&mut self, n: usize, caller: Caller, reply: Reply) -> Step {
        let tag = Tag::of(caller);
        if self.log_of(tag).is_none() {
            return Ok(());
        }
        let (p, log, from) = (tag.process, tag.log, self.nodes[n].name.clone());
        match tag.role {
            Role::Writer => self.drive_writer(p, log, WriterEvent::Reply { from, reply }),
            Role::Recoverer => self.drive_recoverer(p, log, RecoverEvent::Reply { from, reply }),
            Role::Reader => self.drive_reader(p, log, ReaderEvent::Reply { from, reply }),
            Role::Detector => self.drive_detector(p, log, DetectEvent::Reply { from, reply }),
            Role::Healer => self.heal_reply(log, from, reply),
            Role::Watch => Ok(()),
        }
    }

    pub(crate) fn process_txn(&mut self, caller: Caller, id: u64, outcome: TxnOutcome) -> Step {
        let tag = Tag::of(caller);
        if self.log_of(tag).is_none() {
            return Ok(());
        }
        let (p, log) = (tag.process, tag.log);
        match tag.role {
            Role::Writer => self.drive_writer(p, log, WriterEvent::Txn { id, outcome }),
            Role::Recoverer => self.drive_recoverer(p, log, RecoverEvent::Txn { id, outcome }),
            Role::Healer => self.heal_txn(log, id, outcome),
            Role::Reader | Role::Detector | Role::Watch => Ok(()),
        }
    }

    pub(crate) fn process_view(&mut self, caller: Caller, view: LogView) -> Step {
        let tag = Tag::of(caller);
        if self.log_of(tag).is_none() {
            return Ok(());
        }
        let (p, log) = (tag.process, tag.log);
        match tag.role {
            Role::Writer => self.drive_writer(p, log, WriterEvent::View(view)),
            Role::Recoverer => self.drive_recoverer(p, log, RecoverEvent::View(view)),
            Role::Reader => self.drive_reader(p, log, ReaderEvent::View(view)),
            Role::Watch => self.watched(p, log, &view),
            Role::Detector | Role::Healer => Ok(()),
        }
    }

    fn watched(&mut self, p: usize, log: ChannelId, view: &LogView) -> Step {
        let now = self.now;
        let patience = Duration::from_millis(self.rng.range(20, 2_000));
        let Some(state) = self.processes[p].logs.get_mut(&log) else {
            return Ok(());
        };
        if let (Some(head), Some((_, last))) = (&view.head, view.last()) {
            let writer = DetectEvent::Writer {
                epoch: head.epoch,
                copies: last.copies.clone(),
            };
            state.empty_since = None;
            let deposed = state.writer.is_some() && head.phase == Phase::Recovering;
            if deposed {
                self.drive_writer(p, log, WriterEvent::View(view.clone()))?;
            }
            return self.drive_detector(p, log, writer);
        }
        let since = *state.empty_since.get_or_insert(now);
        if state.recoverer.is_none() && state.writer.is_none() && now - since >= patience {
            self.start_recovery(p, log, view.head.as_ref().map(|h| h.epoch))?;
        }
        Ok(())
    }

    pub(crate) fn start_recovery(
        &mut self,
        p: usize,
        log: ChannelId,
        overtake: Option<Epoch>,
    ) -> Step {
        let process = &mut self.processes[p];
        let owner = process.owner();
        let Some(state) = process.logs.get_mut(&log) else {
            return Ok(());
        };
        if state.recoverer.is_some() {
            return Ok(());
        }
        state.recoverer = Some(Recoverer::new(RecoverOptions {
            cluster: CLUSTER,
            log,
            owner,
            epoch: None,
            overtake,
            batch_bytes: 2 << 10,
            resend_after: Duration::from_millis(80),
            replace_after: Duration::from_millis(700),
            copies: self.rule,
        }));
        let nodes = self.registered();
        self.drive_recoverer(p, log, RecoverEvent::Nodes(nodes, Vec::new()))?;
        self.drive_recoverer(p, log, RecoverEvent::Start)
    }

    fn send_node(&mut self, p: usize, log: ChannelId, role: Role, to: &Arc<str>, request: Request) {
        let caller = self.tag(p, log, role).caller();
        if let Some(node) = self.node_named(to) {
            let event = Event::Request {
                node,
                caller,
                request,
            };
            self.send(NODES + p, node, event);
        }
    }

    fn send_meta(&mut self, p: usize, log: ChannelId, role: Role, txn: Option<(u64, MetaTxn)>) {
        let caller = self.tag(p, log, role).caller();
        let event = match txn {
            Some((id, txn)) => Event::MetaTxn { caller, id, txn },
            None => Event::MetaView { caller },
        };
        self.send(NODES + p, META, event);
    }

    pub(crate) fn drive_writer(&mut self, p: usize, log: ChannelId, event: WriterEvent) -> Step {
        let now = self.now;
        let Some(state) = self.processes[p].logs.get_mut(&log) else {
            return Ok(());
        };
        let Some(writer) = &mut state.writer else {
            return Ok(());
        };
        let actions = writer.step(event, now);
        let buffered = writer.buffered_bytes();
        bounded(
            log,
            "bytes that a writer keeps",
            buffered,
            LAG_BYTES_MAX + WINDOW_BYTES as u64 + 1_024,
        )?;
        self.writer_act(p, log, actions)
    }

    fn writer_act(&mut self, p: usize, log: ChannelId, actions: Vec<WriterAction>) -> Step {
        // An entry is given out before anything is said about it.
        for action in &actions {
            let WriterAction::Send { request, .. } = action else {
                continue;
            };
            let Ask::Append(append) = &request.ask else {
                continue;
            };
            let Some(state) = self.processes[p].logs.get_mut(&log) else {
                continue;
            };
            let committed = state.writer.as_ref().map_or(Lsn(0), Writer::committed);
            for entry in append.entries.iter().filter(|e| e.lsn > committed) {
                state.given.insert(entry.lsn, entry.clone());
            }
            if let Some(open) = &append.open {
                state.segments.insert(append.segment, open.copies.clone());
            }
        }
        for action in actions {
            match action {
                WriterAction::Send { to, request } => {
                    self.send_node(p, log, Role::Writer, &to, request);
                }
                WriterAction::Txn { id, txn } => {
                    self.send_meta(p, log, Role::Writer, Some((id, txn)));
                }
                WriterAction::ReadView => self.send_meta(p, log, Role::Writer, None),
                WriterAction::Committed(upto) => self.writer_committed(p, log, upto)?,
                WriterAction::Done { token, outcome } => self.client_done(log, token, outcome)?,
                WriterAction::Confirmed { token, committed } => {
                    self.counts.confirmed += 1;
                    if let Some(asked) = self.client(log).questions.remove(&token) {
                        self.ledger.confirmed(log, asked, committed)?;
                    }
                }
                WriterAction::Announced { tick, committed } => {
                    trace!(self, "p{p} log {log}: announces {tick} at {committed}");
                    self.counts.announced += 1;
                    self.ledger.announced(log, tick);
                }
                WriterAction::Suspect { node } => trace!(self, "p{p} suspects {node}"),
                WriterAction::Rolled {
                    ended, descriptor, ..
                } => {
                    self.counts.rolled += 1;
                    trace!(
                        self,
                        "p{p} log {log}: rolled, {ended:?} ended, {descriptor:?}"
                    );
                    if let Some(state) = self.processes[p].logs.get_mut(&log) {
                        state.segments.retain(|s, _| *s > ended.0);
                    }
                }
                WriterAction::SteppedDown { newer } => {
                    trace!(self, "p{p} log {log}: steps down for {newer}");
                    if let Some(state) = self.processes[p].logs.get_mut(&log) {
                        state.writer = None;
                        state.given.clear();
                        state.segments.clear();
                    }
                }
            }
        }
        Ok(())
    }

    fn writer_committed(&mut self, p: usize, log: ChannelId, upto: Lsn) -> Step {
        let process = &self.processes[p];
        let owner = process.owner();
        let state = &process.logs[&log];
        let Some(writer) = &state.writer else {
            return Ok(());
        };
        let epoch = writer.head().epoch;
        trace!(self, "p{p} log {log} epoch {epoch}: committed {upto}");
        let segments: Vec<(LogSegment, Copies)> = state
            .segments
            .iter()
            .map(|(s, c)| (*s, c.clone()))
            .collect();
        self.ledger
            .committed(log, (epoch, &owner), upto, &state.given, &segments)?;
        if let Some(state) = self.processes[p].logs.get_mut(&log) {
            state.given = state.given.split_off(&upto.next());
        }
        Ok(())
    }

    fn drive_recoverer(&mut self, p: usize, log: ChannelId, event: RecoverEvent) -> Step {
        let now = self.now;
        let Some(state) = self.processes[p].logs.get_mut(&log) else {
            return Ok(());
        };
        let Some(recoverer) = &mut state.recoverer else {
            return Ok(());
        };
        for action in recoverer.step(event, now) {
            match action {
                RecoverAction::Send { to, request } => {
                    self.send_node(p, log, Role::Recoverer, &to, request);
                }
                RecoverAction::Txn { id, txn } => {
                    self.send_meta(p, log, Role::Recoverer, Some((id, txn)));
                }
                RecoverAction::ReadView => self.send_meta(p, log, Role::Recoverer, None),
                RecoverAction::AskClockBound => {
                    let stamp = Timestamp(self.wall(p).0 + CLOCK_BOUND.as_micros() as u64);
                    self.drive_recoverer(p, log, RecoverEvent::ClockBound(stamp))?;
                }
                RecoverAction::Progress(progress) => {
                    trace!(self, "p{p} log {log}: {progress:?}");
                }
                RecoverAction::Opened(opened) => self.opened(p, log, *opened)?,
                RecoverAction::Overtaken { newer } => {
                    trace!(self, "p{p} log {log}: overtaken by {newer}");
                    self.recovery_over(p, log);
                }
                RecoverAction::Broken(problem) => {
                    return Err(holdfast_qlog::invariants::Violation {
                        number: 3,
                        log,
                        problem,
                    });
                }
            }
        }
        Ok(())
    }

    fn recovery_over(&mut self, p: usize, log: ChannelId) {
        if let Some(state) = self.processes[p].logs.get_mut(&log) {
            state.recoverer = None;
        }
    }

    fn opened(&mut self, p: usize, log: ChannelId, opened: Opened) -> Step {
        trace!(self, "p{p} log {log}: opened {opened:?}");
        self.counts.opened += 1;
        let options = WriterOptions {
            cluster: CLUSTER,
            log,
            owner: self.processes[p].owner(),
            window_bytes: WINDOW_BYTES,
            window_entries: 64,
            batch_bytes: 2 << 10,
            segment_bytes: self.rng.range(4 << 10, 64 << 10),
            segment_age: Duration::from_millis(self.rng.range(1_000, 20_000)),
            beat_every: Duration::from_millis(50),
            resend_after: Duration::from_millis(80),
            lag_bytes_max: LAG_BYTES_MAX,
            lag_time_max: Duration::from_millis(500),
            roll_pause: Duration::from_millis(150),
            dedup_requests_max: DEDUP_MAX,
            copies: self.rule,
        };
        // What a standby has when it has applied the log up to the end that was found.
        let mut window = DedupWindow::new(DEDUP_MAX);
        let end = Lsn(opened.descriptor.first.0 - 1);
        for entry in self.ledger.requests_through(log, end) {
            window.remember(entry.0, entry.1, entry.2);
        }
        let (writer, actions) = Writer::open(options, opened, window, self.now);
        if let Some(state) = self.processes[p].logs.get_mut(&log) {
            state.recoverer = None;
            state.given.clear();
            state.segments.clear();
            state.writer = Some(writer);
        }
        let nodes = self.registered();
        self.writer_act(p, log, actions)?;
        self.drive_writer(p, log, WriterEvent::Nodes(nodes))
    }

    fn drive_detector(&mut self, p: usize, log: ChannelId, event: DetectEvent) -> Step {
        let now = self.now;
        let Some(state) = self.processes[p].logs.get_mut(&log) else {
            return Ok(());
        };
        for action in state.detector.step(event, now) {
            match action {
                DetectAction::Send { to, request } => {
                    self.send_node(p, log, Role::Detector, &to, request);
                }
                DetectAction::Promote { epoch } => {
                    let state = &self.processes[p].logs[&log];
                    if state.writer.is_none() {
                        trace!(self, "p{p} log {log}: the writer of {epoch} is gone");
                        self.start_recovery(p, log, Some(epoch))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn drive_reader(&mut self, p: usize, log: ChannelId, event: ReaderEvent) -> Step {
        let now = self.now;
        let Some(state) = self.processes[p].logs.get_mut(&log) else {
            return Ok(());
        };
        for action in state.reader.step(event, now) {
            match action {
                ReaderAction::Send { to, request } => {
                    self.send_node(p, log, Role::Reader, &to, request);
                }
                ReaderAction::ReadView => self.send_meta(p, log, Role::Reader, None),
                ReaderAction::Deliver { entries, .. } => self.ledger.delivered(log, &entries)?,
                ReaderAction::ReadStored { .. }
                | ReaderAction::ReadList(_)
                | ReaderAction::Trimmed { .. } => {}
            }
        }
        Ok(())
    }

    pub(crate) fn fate(outcome: &AppendOutcome) -> &'static str {
        match outcome {
            AppendOutcome::Done { .. } => "done",
            AppendOutcome::Repeated { .. } => "repeated",
            AppendOutcome::Rejected(_) => "rejected",
            AppendOutcome::Unknown => "unknown",
        }
    }
}
