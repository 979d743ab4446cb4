//! The disk of a log-node: a journal on simulated bytes. Writing takes simulated time; while one group is being written the
//! next one gathers, as behind the thread that ships.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use holdfast_disk::{Disk, Faults, SimDisk, Space};
use holdfast_journal::{AppendError, Identity, Journal, JournalReader, ReadError};
use holdfast_log_node::{Device, device::read_now};
use holdfast_qlog::{
    Entry, NodeImage, NodeRecord, StorageId,
    messages::{Read, Reply},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::{Notify, oneshot};

use crate::watch::Watch;

pub(crate) const DIR: &str = "journal";
/// About the most bytes written as one group.
const GROUP_BYTES_MAX: usize = 64 << 10;
/// Prepared files of the journal.
const SPARES: usize = 2;

/// How long a disk takes, set by the nemesis. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    sync_max_us: Arc<AtomicU64>,
    stalled_until_us: Arc<AtomicU64>,
}

impl Pace {
    pub(crate) fn new(sync_max: Duration) -> Self {
        Self {
            sync_max_us: Arc::new(AtomicU64::new(micros(sync_max))),
            stalled_until_us: Arc::default(),
        }
    }

    pub(crate) fn stall_until(&self, until: Duration) {
        self.stalled_until_us
            .store(micros(until), Ordering::Relaxed);
    }

    fn next(&self, rng: &mut StdRng) -> Duration {
        let most = self.sync_max_us.load(Ordering::Relaxed).max(101);
        let stalled = Duration::from_micros(self.stalled_until_us.load(Ordering::Relaxed));
        let stalled = stalled.saturating_sub(crate::clock::now());
        Duration::from_micros(rng.random_range(100..most)) + stalled
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// An open journal, as far as a crash must know it. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Opened(Arc<Mutex<Writing>>);

#[derive(Debug)]
struct Writing {
    journal: Option<Journal>,
    waiting: VecDeque<Submission>,
    /// What is on its way to the disk.
    writing: Vec<Submission>,
    bytes: u64,
    failed: bool,
    generation: u64,
}

#[derive(Debug)]
struct Submission {
    /// None: the generation is raised.
    records: Option<Vec<NodeRecord>>,
    bytes: u64,
    fate: oneshot::Sender<Result<(), AppendError>>,
}

/// A journal that takes simulated time.
#[derive(Debug)]
pub(crate) struct SimDevice {
    node: Arc<str>,
    opened: Opened,
    reader: JournalReader,
    identity: Identity,
    disk: SimDisk,
    pace: Pace,
    rng: Mutex<StdRng>,
    wake: Arc<Notify>,
    watch: Watch,
    pending_bytes_max: u64,
    writer: tokio::task::AbortHandle,
}

impl Drop for SimDevice {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

fn bytes_of(record: &NodeRecord) -> u64 {
    match record {
        NodeRecord::Append { entry, .. } => entry.payload.len() as u64,
        _ => 0,
    }
}

impl SimDevice {
    /// Begins to write. Inside a host.
    pub(crate) fn start(
        node: &Arc<str>,
        journal: Journal,
        (disk, pace): (SimDisk, Pace),
        watch: &Watch,
        (seed, pending_bytes_max): (u64, u64),
    ) -> (Self, Opened) {
        let (reader, identity) = (journal.reader(), journal.identity());
        let opened = Opened(Arc::new(Mutex::new(Writing {
            journal: Some(journal),
            waiting: VecDeque::new(),
            writing: Vec::new(),
            bytes: 0,
            failed: false,
            generation: identity.generation,
        })));
        let wake = Arc::new(Notify::new());
        let mut rng = StdRng::seed_from_u64(seed);
        let own = StdRng::seed_from_u64(rng.random());
        let writer = tokio::spawn(write_on(
            opened.clone(),
            Arc::clone(&wake),
            (pace.clone(), rng),
            (watch.clone(), identity.storage),
        ));
        let device = Self {
            node: Arc::clone(node),
            opened: opened.clone(),
            reader,
            identity,
            disk,
            pace,
            rng: Mutex::new(own),
            wake,
            watch: watch.clone(),
            pending_bytes_max,
            writer: writer.abort_handle(),
        };
        (device, opened)
    }
}

impl SimDevice {
    fn queue(
        &self,
        records: Option<Vec<NodeRecord>>,
    ) -> BoxFuture<'static, Result<(), AppendError>> {
        let (fate, learn) = oneshot::channel();
        let bytes = records.iter().flatten().map(bytes_of).sum();
        {
            let state = &mut *self.opened.0.lock();
            state.bytes += bytes;
            // One request may go over it.
            let most = self.pending_bytes_max + (64 << 10);
            self.watch.waiting(state.bytes, most);
            state.waiting.push_back(Submission {
                records,
                bytes,
                fate,
            });
        }
        self.wake.notify_one();
        Box::pin(async move { learn.await.unwrap_or(Err(AppendError::Closed)) })
    }
}

/// Writes groups, one after the other.
async fn write_on(
    opened: Opened,
    wake: Arc<Notify>,
    (pace, mut rng): (Pace, StdRng),
    (watch, disk): (Watch, StorageId),
) {
    loop {
        let woken = wake.notified();
        if !opened.take_group() {
            woken.await;
            continue;
        }
        tokio::time::sleep(pace.next(&mut rng)).await;
        opened.write_group(&watch, disk);
    }
}

impl Opened {
    /// Whether there is something to write.
    fn take_group(&self) -> bool {
        let state = &mut *self.0.lock();
        let mut bytes = 0;
        while let Some(next) = state.waiting.front() {
            bytes += usize::try_from(next.bytes).unwrap_or(usize::MAX);
            if !state.writing.is_empty() && bytes > GROUP_BYTES_MAX {
                break;
            }
            state.writing.extend(state.waiting.pop_front());
        }
        !state.writing.is_empty()
    }

    fn write_group(&self, watch: &Watch, disk: StorageId) {
        let state = &mut *self.0.lock();
        let Some(journal) = &mut state.journal else {
            return;
        };
        let group = std::mem::take(&mut state.writing);
        let outcomes = write(journal, &group);
        state.generation = journal.identity().generation;
        for (submission, outcome) in group.into_iter().zip(outcomes) {
            state.bytes -= submission.bytes;
            let records = submission.records.iter().flatten();
            match &outcome {
                Ok(()) => watch.durable(disk, entries_of(records)),
                Err(AppendError::Unknown(_) | AppendError::ReadOnly) => state.failed = true,
                Err(_) => {}
            }
            // Who went away learns the outcome by reading.
            drop(submission.fate.send(outcome));
        }
        if state.waiting.is_empty() && !state.failed {
            let spares = journal.spares();
            // A file that cannot be prepared is made when it is needed, or not.
            if spares.count() < SPARES && spares.prepare(SPARES).is_err() {
                watch.note(format_args!("no room to prepare a file"));
            }
            if let Err(error) = journal.compact() {
                watch.note(format_args!("nothing is moved: {error}"));
            }
        }
    }

    /// What the disk vouches for, while the process runs.
    pub(crate) fn image(&self) -> Option<NodeImage> {
        Some(self.0.lock().journal.as_ref()?.image())
    }

    /// Whether the journal only answers reads: an operator starts such a node anew.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().failed
    }

    /// The process ends, or with `power` the machine. Of what was on its way to the disk some part may be there.
    pub(crate) fn crash(&self, disk: &SimDisk, power: bool, rng: &mut StdRng) {
        let state = &mut *self.0.lock();
        state.waiting.clear();
        let group = std::mem::take(&mut state.writing);
        if let Some(mut journal) = state.journal.take() {
            if power {
                // In the middle of it, or soon after: nobody hears of it.
                disk.fail_power_after(rng.random_range(0..8));
                drop(write(&mut journal, &group));
            } else if rng.random_bool(0.5) {
                drop(write(&mut journal, &group));
            }
        }
        if power {
            disk.cut_power();
        } else {
            disk.restart_process();
        }
    }
}

/// A disk without faults of its own choice: it takes writes in parts.
pub(crate) fn sound() -> Faults {
    Faults {
        short_write: 0.05,
        ..Faults::default()
    }
}

/// Writes records as one group, and in between what else there is.
fn write(journal: &mut Journal, group: &[Submission]) -> Vec<Result<(), AppendError>> {
    let mut outcomes = Vec::new();
    for part in group.chunk_by(|a, b| a.records.is_some() && b.records.is_some()) {
        let records: Vec<&[NodeRecord]> =
            part.iter().filter_map(|s| s.records.as_deref()).collect();
        match records.is_empty() {
            true => outcomes.push(journal.raise_generation().map(drop)),
            false => outcomes.extend(journal.append_groups(&records)),
        }
    }
    outcomes
}

fn entries_of<'a>(
    records: impl Iterator<Item = &'a NodeRecord>,
) -> impl Iterator<Item = (ChannelId, LogSegment, &'a Entry)> {
    records.filter_map(|record| match record {
        NodeRecord::Append {
            log,
            segment,
            entry,
            ..
        } => Some((*log, *segment, entry)),
        _ => None,
    })
}

/// Everything that a journal which was just opened vouches for is read, and seen.
///
/// # Errors
/// Something that it vouches for cannot be read.
pub(crate) fn see_all(journal: &Journal, watch: &Watch) -> Result<(), String> {
    let (reader, disk) = (journal.reader(), journal.identity().storage);
    for (log, image) in &journal.image().logs {
        for (segment, held) in &image.segments {
            let mut next = held.first;
            while next <= held.certain {
                let read = reader.read(*log, *segment, next, GROUP_BYTES_MAX);
                let mut entries = read.map_err(|e| format!("{log}/{segment}: {next}: {e}"))?;
                entries.retain(|entry| entry.lsn <= held.certain);
                let last = entries.last().map(|entry| entry.lsn);
                let last = last.ok_or_else(|| format!("{log}/{segment}: {next} is not there"))?;
                watch.durable(disk, entries.iter().map(|entry| (*log, *segment, entry)));
                next = last.next();
            }
        }
    }
    Ok(())
}

/// What a disk vouches for of a segment, by its journal.
pub(crate) fn certain(image: &NodeImage, log: ChannelId, segment: LogSegment) -> Lsn {
    let held = image.logs.get(&log).and_then(|l| l.segments.get(&segment));
    held.map_or(Lsn(0), |held| held.certain)
}

impl Device for SimDevice {
    fn submit(&self, records: Vec<NodeRecord>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.watch.given(&self.node, &records);
        self.queue(Some(records))
    }

    fn raise_generation(&self) -> BoxFuture<'static, Result<(), AppendError>> {
        self.queue(None)
    }

    fn read(&self, read: Read) -> BoxFuture<'static, Result<Vec<Entry>, ReadError>> {
        let takes = self.pace.next(&mut self.rng.lock());
        let reader = self.reader.clone();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            read_now(&reader, &read)
        })
    }

    fn mend(
        &self,
        log: ChannelId,
        segment: LogSegment,
        entries: Vec<Entry>,
    ) -> BoxFuture<'static, Result<(), AppendError>> {
        let takes = self.pace.next(&mut self.rng.lock());
        let opened = self.opened.clone();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            match &mut opened.0.lock().journal {
                Some(journal) => journal.mend(log, segment, &entries),
                None => Err(AppendError::Closed),
            }
        })
    }

    fn image(&self) -> NodeImage {
        self.reader.image()
    }

    fn identity(&self) -> Identity {
        Identity {
            generation: self.opened.0.lock().generation,
            ..self.identity
        }
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space(Path::new(DIR))
    }

    fn answered(&self, reply: &Reply) {
        self.watch.answered(&self.node, reply);
    }
}
