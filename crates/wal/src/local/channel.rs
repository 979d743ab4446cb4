//! One channel's log at work: a queue, a thread that writes it away in batches, a thread that prepares
//! files, and what readers need.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_disk::{Disk, FileSizes};
use holdfast_types::{ChannelId, Epoch, Lsn};
use tokio::sync::{Notify, oneshot, watch};

use super::{
    Options,
    epoch::EpochFile,
    files::{Files, WriteError, channel_dir},
    journal::Journal,
    log_file::failed,
    ring::Ring,
};
use crate::{
    metrics::ChannelMetrics,
    wal::{AppendDone, AppendError, MAX_RECORD_BYTES, WalEntry, WalError, WalWriter},
};

/// A channel that was recovered and runs.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) files: Arc<Files>,
    pub(super) ring: Mutex<Ring>,
    pub(super) metrics: ChannelMetrics,
    view: watch::Sender<View>,
    options: Options,
    queue: Mutex<Queue>,
    /// Work for the writer, or the end of some.
    changed: Condvar,
    /// The queue has room again.
    room: Notify,
    journal: Mutex<Journal>,
    /// Held during a takeover, so that there is one at a time.
    epoch_file: Mutex<EpochFile>,
    spares: Mutex<SpareWork>,
    spares_wanted: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Closes the channel when dropped: its threads hold it too, so its own end would never come.
#[derive(Debug)]
pub(super) struct OpenChannel(Arc<Channel>);

impl OpenChannel {
    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.0
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What readers wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// The last durable LSN.
    pub(super) committed: Lsn,
    /// Nothing will be added.
    pub(super) closed: bool,
}

#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Pending>,
    /// Bytes of `waiting` and of what is being written.
    bytes: usize,
    /// The LSN of the next append.
    next: Lsn,
    /// Appends of a lower epoch are refused.
    epoch: Epoch,
    state: State,
    writing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Poisoned,
    Closed,
}

#[derive(Debug)]
struct Pending {
    payload: Bytes,
    fate: oneshot::Sender<Result<Lsn, AppendError>>,
}

#[derive(Debug, PartialEq, Eq)]
enum SpareWork {
    Idle,
    Wanted,
    Ended,
}

impl Channel {
    /// Recovers the channel and starts its threads.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        root: &Path,
        id: ChannelId,
        options: &Options,
    ) -> Result<OpenChannel, WalError> {
        let dir = channel_dir(root, id);
        disk.create_dir(&dir).map_err(failed("create", &dir))?;
        let epoch_file = EpochFile::open(&**disk, &dir)?;
        let sizes = FileSizes {
            segment: options.segment_bytes,
            reserve: options.reserve_bytes,
        };
        let (files, recovered) = Files::open(Arc::clone(disk), dir.clone(), id, sizes)?;
        let files = Arc::new(files);
        let (last, epoch) = (recovered.last, recovered.epoch.max(epoch_file.epoch()));
        tracing::info!(channel = %id, %last, %epoch, "log recovered");
        let channel = OpenChannel(Arc::new(Self {
            journal: Mutex::new(Journal::new(Arc::clone(&files), recovered)),
            files,
            ring: Mutex::new(Ring::new(options.ring_bytes_max)),
            metrics: ChannelMetrics::new(id),
            view: watch::Sender::new(View {
                committed: last,
                closed: false,
            }),
            options: options.clone(),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                bytes: 0,
                next: last.next(),
                epoch,
                state: State::Open,
                writing: false,
            }),
            changed: Condvar::new(),
            room: Notify::new(),
            epoch_file: Mutex::new(epoch_file),
            spares: Mutex::new(SpareWork::Idle),
            spares_wanted: Condvar::new(),
            threads: Mutex::new(Vec::new()),
        }));
        for (name, work) in [
            ("write", Self::write_until_closed as fn(&Self)),
            ("spare", Self::prepare_until_closed),
        ] {
            let this = Arc::clone(channel.channel());
            let started = thread::Builder::new()
                .name(format!("wal-{id}-{name}"))
                .spawn(move || work(&this));
            let thread = started.map_err(failed("start a thread for", &dir))?;
            lock(&channel.0.threads).push(thread);
        }
        Ok(channel)
    }

    /// Ends the channel: what is queued is written, later appends are refused, readers end.
    fn close(&self) {
        {
            let mut queue = self.queue();
            if queue.state == State::Open {
                queue.state = State::Closed;
            }
        }
        self.changed.notify_all();
        *lock(&self.spares) = SpareWork::Ended;
        self.spares_wanted.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread that panicked has said so; its waiters learn that their outcome is unknown.
            drop(thread.join());
        }
        // A takeover that began before is let finish; later ones see that the channel is closed.
        drop(lock(&self.epoch_file));
        self.view.send_modify(|view| view.closed = true);
        self.room.notify_waiters();
    }

    /// What readers may see, now and as it changes.
    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Takes the channel over. Blocks until the last append of the old writer is decided.
    pub(super) fn take_over(
        self: &Arc<Self>,
        epoch: Epoch,
    ) -> Result<(LocalWriter, Lsn), WalError> {
        let mut epoch_file = lock(&self.epoch_file);
        {
            let mut queue = self.queue();
            queue.check()?;
            if epoch <= queue.epoch {
                return Err(WalError::Fenced { newer: queue.epoch });
            }
            queue.epoch = epoch;
            self.reject_waiting(&mut queue, "fenced", || AppendError::Fenced {
                newer: epoch,
            });
            while queue.writing {
                queue = wait(&self.changed, queue);
            }
            queue.check()?;
        }
        let stored = epoch_file.raise(epoch);
        stored.map_err(|source| WalError::Io {
            doing: "store the epoch of",
            path: self.files.dir().to_owned(),
            source,
        })?;
        // Nobody else writes: the old writer is fenced, and the new one does not exist yet.
        let mut journal = lock(&self.journal);
        match journal.mark(epoch) {
            // The mark is a safeguard; a log without it is as good as any other.
            Ok(()) | Err(WriteError::Full(_)) => {}
            Err(WriteError::Fatal(e)) => {
                self.queue().state = State::Poisoned;
                tracing::error!(error = %e, "the log cannot be written any more");
                return Err(WalError::Poisoned);
            }
        }
        self.request_spare();
        let writer = LocalWriter {
            channel: Arc::clone(self),
            epoch,
        };
        Ok((writer, journal.last()))
    }

    fn append(&self, epoch: Epoch, payload: Bytes) -> (Lsn, AppendDone) {
        let mut queue = self.queue();
        let lsn = queue.next;
        let refusal = if queue.epoch > epoch {
            Some(AppendError::Fenced { newer: queue.epoch })
        } else if payload.len() > MAX_RECORD_BYTES {
            Some(AppendError::TooLarge {
                bytes: payload.len(),
            })
        } else if queue.bytes >= self.options.queue_bytes_max {
            Some(AppendError::Busy {
                queued: queue.bytes,
            })
        } else {
            match queue.state {
                State::Open => None,
                State::Poisoned => Some(AppendError::Poisoned),
                State::Closed => Some(AppendError::Closed),
            }
        };
        if let Some(refusal) = refusal {
            return (lsn, AppendDone::refused(refusal));
        }
        let (fate, learn) = oneshot::channel();
        queue.bytes += payload.len();
        queue.next = lsn.next();
        queue.waiting.push_back(Pending { payload, fate });
        drop(queue);
        self.changed.notify_all();
        (lsn, AppendDone::waiting(learn))
    }

    async fn ready(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let queue = self.queue();
                let refused_anyway = queue.state != State::Open;
                if refused_anyway || queue.bytes < self.options.queue_bytes_max {
                    return;
                }
            }
            room.await;
        }
    }

    fn write_until_closed(&self) {
        loop {
            let mut queue = self.queue();
            while queue.waiting.is_empty() && queue.state == State::Open {
                queue = wait(&self.changed, queue);
            }
            if queue.waiting.is_empty() {
                let (state, epoch) = (queue.state, queue.epoch);
                drop(queue);
                if state == State::Closed && self.view.borrow().committed > Lsn(0) {
                    self.mark_the_end(epoch);
                }
                return;
            }
            // Whatever came while the last sync ran is one batch: groups form by themselves, and an
            // idle log does not wait for company.
            let batch = queue.take(self.options.batch_bytes_max);
            let epoch = queue.epoch;
            queue.writing = true;
            drop(queue);
            self.write(epoch, batch);
            self.queue().writing = false;
            self.changed.notify_all();
            self.room.notify_waiters();
        }
    }

    /// Writes a batch away, and tells everyone concerned.
    fn write(&self, epoch: Epoch, batch: Vec<Pending>) {
        let mut journal = lock(&self.journal);
        let (payloads, mut fates): (Vec<Bytes>, VecDeque<_>) =
            batch.into_iter().map(|p| (p.payload, p.fate)).unzip();
        let mut rest = &payloads[..];
        while !rest.is_empty() {
            let started = Instant::now();
            let first = journal.last().next();
            match journal.write(epoch, rest) {
                Ok(count) => {
                    let (written, left) = rest.split_at(count);
                    rest = left;
                    let bytes = written.iter().map(Bytes::len).sum();
                    let took = started.elapsed();
                    self.metrics.batch(count, bytes, took, journal.last());
                    self.publish(epoch, first, written);
                    self.release(bytes);
                    for (lsn, fate) in (first.0..).zip(fates.drain(..count)) {
                        // Who dropped the receiver reads the outcome from the log.
                        drop(fate.send(Ok(Lsn(lsn))));
                    }
                    if self.files.wants_spare() {
                        self.request_spare();
                    }
                }
                Err(WriteError::Full(e)) => {
                    let e = Arc::new(e);
                    tracing::warn!(error = %e, rejected = rest.len(), "no room for the log");
                    self.metrics.rejected(fates.len(), "full");
                    // All in one step: an append after this takes the first rejected LSN.
                    let mut queue = self.queue();
                    queue.bytes -= rest.iter().map(Bytes::len).sum::<usize>();
                    self.reject_waiting(&mut queue, "full", || AppendError::Full(Arc::clone(&e)));
                    queue.next = journal.last().next();
                    drop(queue);
                    for fate in fates {
                        drop(fate.send(Err(AppendError::Full(Arc::clone(&e)))));
                    }
                    return;
                }
                Err(WriteError::Fatal(e)) => {
                    let e = Arc::new(e);
                    tracing::error!(error = %e, "the log cannot be written any more");
                    self.metrics.rejected(fates.len(), "unknown");
                    let mut queue = self.queue();
                    queue.state = State::Poisoned;
                    queue.bytes -= rest.iter().map(Bytes::len).sum::<usize>();
                    self.reject_waiting(&mut queue, "poisoned", || AppendError::Poisoned);
                    drop(queue);
                    for fate in fates {
                        drop(fate.send(Err(AppendError::Unknown(Arc::clone(&e)))));
                    }
                    return;
                }
            }
        }
    }

    /// Shows records that became durable to readers.
    fn publish(&self, epoch: Epoch, first: Lsn, written: &[Bytes]) {
        let mut ring = lock(&self.ring);
        let mut lsn = first;
        for payload in written {
            ring.push(WalEntry {
                lsn,
                epoch,
                payload: payload.clone(),
            });
            lsn = lsn.next();
        }
        drop(ring);
        let committed = Lsn(lsn.0 - 1);
        self.view.send_modify(|view| view.committed = committed);
    }

    fn release(&self, bytes: usize) {
        let mut queue = self.queue();
        queue.bytes -= bytes;
        self.metrics.queued(queue.bytes);
        drop(queue);
        self.room.notify_waiters();
    }

    fn reject_waiting(
        &self,
        queue: &mut Queue,
        reason: &'static str,
        error: impl Fn() -> AppendError,
    ) {
        self.metrics.rejected(queue.waiting.len(), reason);
        let count = queue.waiting.len() as u64;
        for pending in queue.waiting.drain(..) {
            queue.bytes -= pending.payload.len();
            drop(pending.fate.send(Err(error())));
        }
        queue.next = Lsn(queue.next.0 - count);
        self.metrics.queued(queue.bytes);
    }

    fn mark_the_end(&self, epoch: Epoch) {
        match lock(&self.journal).mark(epoch) {
            Ok(()) => {}
            Err(WriteError::Full(e) | WriteError::Fatal(e)) => {
                tracing::warn!(error = %e, "cannot mark the end of the log; nothing is lost");
            }
        }
    }

    fn request_spare(&self) {
        let mut work = lock(&self.spares);
        if *work == SpareWork::Idle {
            *work = SpareWork::Wanted;
            self.spares_wanted.notify_all();
        }
    }

    fn prepare_until_closed(&self) {
        let mut work = lock(&self.spares);
        loop {
            match *work {
                SpareWork::Ended => return,
                SpareWork::Idle => work = wait(&self.spares_wanted, work),
                SpareWork::Wanted => {
                    drop(work);
                    if let Err(e) = self.files.prepare_spare() {
                        // Nothing is lost yet: the writer tries again when it needs the file.
                        tracing::warn!(error = %e, "cannot prepare the next file of the log");
                    }
                    work = lock(&self.spares);
                    if *work == SpareWork::Wanted {
                        *work = SpareWork::Idle;
                    }
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Queue {
    fn check(&self) -> Result<(), WalError> {
        match self.state {
            State::Open => Ok(()),
            State::Poisoned => Err(WalError::Poisoned),
            State::Closed => Err(WalError::Closed),
        }
    }

    /// The oldest records, about `bytes_max` bytes of them, at least one.
    fn take(&mut self, bytes_max: usize) -> Vec<Pending> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(next) = self.waiting.front() {
            bytes += next.payload.len();
            if !batch.is_empty() && bytes > bytes_max {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        batch
    }
}

/// The writer of one epoch.
#[derive(Debug)]
pub(super) struct LocalWriter {
    channel: Arc<Channel>,
    epoch: Epoch,
}

#[async_trait]
impl WalWriter for LocalWriter {
    fn append(&self, payload: Bytes) -> (Lsn, AppendDone) {
        self.channel.append(self.epoch, payload)
    }

    async fn ready(&self) {
        self.channel.ready().await;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held one of these took its own work down; its waiters hear of
    // it through their dropped senders. The guarded data stay usable for closing and reading.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// The error of work that never answered.
pub(super) fn never_answered(dir: &Path) -> WalError {
    failed("finish work on", dir)(io::Error::other("the task was cancelled or panicked"))
}

#[cfg(test)]
mod tests;
