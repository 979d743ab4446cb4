//! One open writer: the state machine, and what it wants done.
//!
//! Appends step the machine on the caller's thread, so that the order of calls is the order of positions. Nothing under the
//! lock waits: messages are queued, transactions run in tasks of their own.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_qlog::{
    messages::{ClusterId, Owner},
    meta::MetaTxn,
    recover::Opened,
    writer::{
        AppendOutcome, AppendRejected, AppendRequest, DedupWindow, Writer, WriterAction,
        WriterEvent, WriterOptions,
    },
};
use holdfast_runtime::Clock;
use holdfast_types::{ChannelId, Epoch, Lsn, Timestamp};
use holdfast_wal::{AppendDone, AppendError, WalWriter, wal::MAX_RECORD_BYTES};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    options::Options,
    peers::{FromPeer, Network, Peers},
    registry::{Nodes, Registry},
};

/// Answers that may wait to be taken in.
const QUEUE: usize = 8192;
/// Transactions and reads of the metadata that may wait; the machine has one under way at a time.
const JOBS: usize = 8;
/// Requests that are remembered for recognising repeated ones.
const DEDUP_REQUESTS: usize = 100_000;
/// Longest time between two looks at the clock.
const TICK_MAX: Duration = Duration::from_millis(50);
const TICK_MIN: Duration = Duration::from_millis(1);

/// What a writer needs beside the machine.
pub(crate) struct Parts {
    pub(crate) log: ChannelId,
    pub(crate) cluster: ClusterId,
    pub(crate) owner: Owner,
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) network: Network,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) began: Instant,
}

/// An open writer; what lives as long as somebody holds it.
pub(crate) struct OpenWriter {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

/// The writer as others in this process see it.
pub(crate) struct Shared {
    log: ChannelId,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    began: Instant,
    jobs: mpsc::Sender<Job>,
    state: Mutex<State>,
    committed: watch::Sender<Lsn>,
    room: Notify,
    wake: Arc<Notify>,
}

/// What takes its time.
enum Job {
    Txn { id: u64, txn: MetaTxn },
    ReadView,
}

struct State {
    writer: Writer,
    peers: Peers,
    /// By token, which rises: should the writer go, callers learn it in the order in which they appended.
    waiting: BTreeMap<u64, Waiting>,
    tokens: u64,
    queued: usize,
    fenced: Option<Epoch>,
    /// When the task that keeps time looks again, if nobody wakes it before.
    looks_at: Duration,
}

struct Waiting {
    fate: oneshot::Sender<Result<Lsn, AppendError>>,
    bytes: usize,
}

impl Parts {
    /// Begins to write a log that was just opened.
    pub(crate) fn start(self, opened: Opened) -> OpenWriter {
        let (events, incoming) = mpsc::channel(QUEUE);
        let peers = Peers::new(self.network.clone(), events);
        let options = WriterOptions {
            cluster: self.cluster,
            log: self.log,
            owner: self.owner,
            window_bytes: self.options.window_bytes,
            window_entries: self.options.window_records,
            batch_bytes: self.options.batch_bytes,
            segment_bytes: self.options.segment_bytes,
            segment_age: self.options.segment_age,
            beat_every: self.options.beat_every,
            resend_after: self.options.resend_after,
            lag_bytes_max: self.options.lag_bytes_max,
            lag_time_max: self.options.lag_time_max,
            roll_pause: self.options.lag_time_max,
            dedup_requests_max: DEDUP_REQUESTS,
            copies: self.options.rule(),
        };
        let epoch = opened.head.epoch;
        let window = DedupWindow::new(DEDUP_REQUESTS);
        let (writer, actions) = Writer::open(options, opened, window, self.began.elapsed());
        let committed = writer.committed();
        let (jobs, work) = mpsc::channel(JOBS);
        let shared = Arc::new(Shared {
            log: self.log,
            epoch,
            clock: self.clock,
            began: self.began,
            jobs,
            state: Mutex::new(State {
                writer,
                peers,
                waiting: BTreeMap::new(),
                tokens: 0,
                queued: 0,
                fenced: None,
                looks_at: Duration::ZERO,
            }),
            committed: watch::Sender::new(committed),
            room: Notify::new(),
            wake: Arc::new(Notify::new()),
        });
        let mut nodes = self.network.nodes.clone();
        {
            let state = &mut *shared.state.lock();
            shared.perform(state, actions);
            let seen = nodes.borrow_and_update().nodes.clone();
            shared.step(state, WriterEvent::Nodes(seen));
        }
        let tasks = vec![
            tokio::spawn(take_in(Arc::downgrade(&shared), incoming)).abort_handle(),
            tokio::spawn(keep_time(Arc::clone(&shared.wake), Arc::downgrade(&shared)))
                .abort_handle(),
            tokio::spawn(work_off(Arc::downgrade(&shared), self.registry, work)).abort_handle(),
            tokio::spawn(follow_nodes(Arc::downgrade(&shared), nodes)).abort_handle(),
        ];
        OpenWriter { shared, tasks }
    }
}

impl OpenWriter {
    /// What others in this process may hold without keeping the writer alive.
    pub(crate) fn shared(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }
}

impl Drop for OpenWriter {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[async_trait]
impl WalWriter for OpenWriter {
    fn append(&self, payload: Bytes) -> (Lsn, AppendDone) {
        self.shared.append(payload)
    }

    async fn ready(&self) {
        loop {
            let room = self.shared.room.notified();
            if self.shared.has_room() {
                return;
            }
            room.await;
        }
    }
}

impl Shared {
    /// The last position acknowledged, and its changes.
    pub(crate) fn committed(&self) -> watch::Receiver<Lsn> {
        self.committed.subscribe()
    }

    /// Whether a higher epoch took over.
    pub(crate) fn is_down(&self) -> bool {
        self.state.lock().fenced.is_some()
    }

    /// This process opened the log anew: the log-nodes would say so at the next append.
    pub(crate) fn overtaken(&self, newer: Epoch) {
        let state = &mut *self.state.lock();
        self.step(state, WriterEvent::Overtaken { newer });
    }

    fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.fenced.is_some() || state.writer.has_room()
    }

    fn append(&self, payload: Bytes) -> (Lsn, AppendDone) {
        let state = &mut *self.state.lock();
        let lsn = state.writer.last().next();
        let bytes = payload.len();
        if bytes > MAX_RECORD_BYTES {
            return (lsn, AppendDone::refused(AppendError::TooLarge { bytes }));
        }
        if let Some(newer) = state.fenced {
            return (lsn, AppendDone::refused(AppendError::Fenced { newer }));
        }
        let (fate, done) = oneshot::channel();
        state.tokens += 1;
        let token = state.tokens;
        state.queued += bytes;
        state.waiting.insert(token, Waiting { fate, bytes });
        let tick =
            Timestamp::from_unix_ms(self.clock.unix_ms()).max(state.writer.last_tick().next());
        let append = AppendRequest {
            token,
            request: None,
            tick,
            payload,
        };
        self.step(state, WriterEvent::Append(append));
        (lsn, AppendDone::waiting(done))
    }

    fn step(&self, state: &mut State, event: WriterEvent) {
        let actions = state.writer.step(event, self.began.elapsed());
        self.perform(state, actions);
        // Most events leave the next moment where it is: waking a task for each would cost as much as the event.
        if state.fenced.is_some() || state.writer.wake_at() < state.looks_at {
            self.wake.notify_one();
        }
    }

    /// Does what the machine wants. Called under the lock: nothing here waits.
    fn perform(&self, state: &mut State, actions: Vec<WriterAction>) {
        for action in actions {
            match action {
                WriterAction::Send { to, request } => state.peers.send(&to, request),
                // A job that finds no room is asked for again.
                WriterAction::Txn { id, txn } => drop(self.jobs.try_send(Job::Txn { id, txn })),
                WriterAction::ReadView => drop(self.jobs.try_send(Job::ReadView)),
                WriterAction::Done { token, outcome } => self.resolve(state, token, outcome),
                WriterAction::Committed(lsn) => {
                    self.committed.send_replace(lsn);
                    self.room.notify_waiters();
                }
                // Nobody asks yet: strong reads come with the cluster's read path.
                WriterAction::Confirmed { .. } | WriterAction::Announced { .. } => {}
                WriterAction::Suspect { node } => {
                    tracing::error!(log = %self.log, node = &*node, "a log-node does not hold what it acknowledged");
                }
                WriterAction::Rolled { head, ended, .. } => {
                    tracing::info!(
                        log = %self.log, epoch = %head.epoch, segment = %head.segment,
                        ended = %ended.0, end = %ended.1, "the log goes on in a new segment"
                    );
                }
                WriterAction::SteppedDown { newer } => {
                    tracing::warn!(log = %self.log, epoch = %self.epoch, %newer, "another writer took the log over");
                    state.fenced = Some(newer);
                    self.room.notify_waiters();
                }
            }
        }
    }

    fn resolve(&self, state: &mut State, token: u64, outcome: AppendOutcome) {
        let Some(Waiting { fate, bytes }) = state.waiting.remove(&token) else {
            return;
        };
        state.queued -= bytes;
        let result = match outcome {
            AppendOutcome::Done { lsn, .. } | AppendOutcome::Repeated { lsn, .. } => Ok(lsn),
            AppendOutcome::Rejected(AppendRejected::Fenced { newer }) => {
                Err(AppendError::Fenced { newer })
            }
            AppendOutcome::Rejected(AppendRejected::Busy) => Err(AppendError::Busy {
                queued: state.queued,
            }),
            AppendOutcome::Rejected(refused @ AppendRejected::TickNotRising { .. }) => {
                Err(AppendError::Unknown(Arc::new(io::Error::other(refused))))
            }
            AppendOutcome::Unknown => Err(AppendError::Unknown(Arc::new(io::Error::other(
                "another writer took the log over before enough copies were confirmed",
            )))),
        };
        // A caller that went away learns the outcome from the log.
        drop(fate.send(result));
    }
}

/// Takes in what log-nodes answer.
async fn take_in(shared: Weak<Shared>, mut incoming: mpsc::Receiver<FromPeer>) {
    while let Some(arrived) = incoming.recv().await {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let state = &mut *shared.state.lock();
        let event = match arrived {
            FromPeer::Reply { from, reply } => WriterEvent::Reply { from, reply },
            FromPeer::Broken { node } => WriterEvent::Disconnected { node },
        };
        shared.step(state, event);
    }
}

/// Tells the machine that time passed, when it wants to know.
async fn keep_time(wake: Arc<Notify>, shared: Weak<Shared>) {
    loop {
        let wait = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let state = &mut *shared.state.lock();
            if state.fenced.is_some() {
                return;
            }
            let now = shared.began.elapsed();
            let actions = match state.writer.wake_at() <= now {
                true => state.writer.step(WriterEvent::Tick, now),
                false => Vec::new(),
            };
            shared.perform(state, actions);
            let wait = state.writer.wake_at().saturating_sub(now);
            let wait = wait.clamp(TICK_MIN, TICK_MAX);
            state.looks_at = now + wait;
            wait
        };
        // An event may bring the next moment nearer.
        tokio::select! {
            // Both lead to the same look at the clock.
            biased;
            () = tokio::time::sleep(wait) => {}
            () = wake.notified() => {}
        }
    }
}

/// Runs transactions and reads of the metadata, one after the other.
async fn work_off(shared: Weak<Shared>, registry: Registry, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let Some(log) = shared.upgrade().map(|shared| shared.log) else {
            return;
        };
        let event = match job {
            Job::Txn { id, txn } => WriterEvent::Txn {
                id,
                outcome: registry.txn(&txn).await,
            },
            Job::ReadView => match registry.view(log).await {
                Ok(view) => WriterEvent::View(view),
                Err(error) => {
                    tracing::warn!(%log, %error, "the metadata of a log cannot be read");
                    continue;
                }
            },
        };
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let state = &mut *shared.state.lock();
        shared.step(state, event);
    }
}

/// Tells the machine who the log-nodes are.
async fn follow_nodes(shared: Weak<Shared>, mut nodes: watch::Receiver<Nodes>) {
    while nodes.changed().await.is_ok() {
        let seen = nodes.borrow_and_update().nodes.clone();
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let state = &mut *shared.state.lock();
        shared.step(state, WriterEvent::Nodes(seen));
    }
}
