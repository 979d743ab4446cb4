//! A queue and a thread around a journal. While one sync runs, submissions gather; then they are written and synced
//! together. There is no timer: an idle journal does not wait for company.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::Instant,
};

use holdfast_qlog::{Entry, NodeRecord};
use holdfast_types::{ChannelId, LogSegment};
use tokio::sync::oneshot;

use crate::{
    codec, error::AppendError, identity::Identity, journal::Journal, metrics, reader::JournalReader,
};

/// How many groups are written between two looks at files that little is left of.
const GROUPS_BETWEEN_MOVES: u64 = 256;

/// A journal that writes on a thread of its own. Dropping it writes what is queued and blocks until that is done.
#[derive(Debug)]
pub struct JournalThread {
    queue: Arc<Waiting>,
    reader: JournalReader,
    identity: Identity,
    queue_bytes_max: usize,
    threads: Vec<JoinHandle<()>>,
}

/// The outcome of a submission. Dropping it changes nothing about the submission.
#[derive(Debug)]
pub struct Completion(oneshot::Receiver<Result<(), AppendError>>);

impl Future for Completion {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(unanswered)
    }
}

impl Completion {
    /// Blocks until the outcome is known; for threads that may.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn wait(self) -> Result<(), AppendError> {
        unanswered(self.0.blocking_recv())
    }
}

fn unanswered(
    answer: Result<Result<(), AppendError>, oneshot::error::RecvError>,
) -> Result<(), AppendError> {
    answer.unwrap_or_else(|_| {
        let error = io::Error::other("the journal's thread has panicked");
        Err(AppendError::Unknown(Arc::new(error)))
    })
}

#[derive(Debug)]
struct Waiting {
    queue: Mutex<Queue>,
    changed: Condvar,
    spares_wanted: Condvar,
    generation: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    submissions: VecDeque<Submission>,
    /// Bytes of `submissions` and of what is being written.
    bytes: usize,
    closed: bool,
    spares: SpareWork,
}

#[derive(Debug, PartialEq, Eq)]
enum SpareWork {
    Idle,
    Wanted,
    Ended,
}

#[derive(Debug)]
enum Work {
    Append(Vec<NodeRecord>),
    Mend(ChannelId, LogSegment, Vec<Entry>),
    Raise,
}

#[derive(Debug)]
struct Submission {
    work: Work,
    bytes: usize,
    outcome: oneshot::Sender<Result<(), AppendError>>,
}

impl JournalThread {
    /// Starts the thread of a journal, and one that prepares its next files.
    ///
    /// # Errors
    /// When the machine has no thread for it.
    pub fn start(journal: Journal) -> io::Result<Self> {
        let queue = Arc::new(Waiting {
            queue: Mutex::new(Queue {
                submissions: VecDeque::new(),
                bytes: 0,
                closed: false,
                spares: SpareWork::Wanted,
            }),
            changed: Condvar::new(),
            spares_wanted: Condvar::new(),
            generation: AtomicU64::new(journal.identity().generation),
        });
        let reader = journal.reader();
        let identity = journal.identity();
        let options = journal.options().clone();
        let (spares, wanted) = (journal.spares(), options.spares_max.min(2));
        let mut this = Self {
            queue: Arc::clone(&queue),
            reader,
            identity,
            queue_bytes_max: options.queue_bytes_max,
            threads: Vec::new(),
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let waiting = Arc::clone(&queue);
        let prepare = named("journal-spare").spawn(move || {
            while waiting.spare_is_wanted() {
                if let Err(e) = spares.prepare(wanted) {
                    // Nothing is lost yet: the writer tries again when it needs the file.
                    tracing::warn!(error = %e, "cannot prepare the next file of the journal");
                }
            }
        });
        this.threads.push(prepare?);
        let write = named("journal-write")
            .spawn(move || queue.write_until_closed(journal, wanted, options.batch_bytes_max));
        this.threads.push(write?);
        Ok(this)
    }

    /// Queues records to be written as one group. The order of submissions is the order in the journal.
    #[must_use = "the outcome is only known from the completion"]
    pub fn submit(&self, records: Vec<NodeRecord>) -> Completion {
        let bytes = records.iter().map(codec::len).sum();
        self.queue(Work::Append(records), bytes)
    }

    /// Queues entries to be written again; see [`Journal::mend`].
    #[must_use = "the outcome is only known from the completion"]
    pub fn mend(&self, log: ChannelId, segment: LogSegment, entries: Vec<Entry>) -> Completion {
        let bytes = entries.iter().map(|e| e.payload.len()).sum();
        self.queue(Work::Mend(log, segment, entries), bytes)
    }

    /// Queues [`Journal::raise_generation`]; when it is done, [`Self::identity`] has the new one.
    #[must_use = "the outcome is only known from the completion"]
    pub fn raise_generation(&self) -> Completion {
        self.queue(Work::Raise, 0)
    }

    fn queue(&self, work: Work, bytes: usize) -> Completion {
        let (outcome, learn) = oneshot::channel();
        let mut queue = self.queue.queue();
        let refusal = if queue.closed {
            Some((AppendError::Closed, "closed"))
        } else if queue.bytes >= self.queue_bytes_max {
            let queued = queue.bytes;
            Some((AppendError::Busy { queued }, "busy"))
        } else {
            None
        };
        if let Some((refusal, reason)) = refusal {
            metrics::rejected(1, reason);
            // The receiver is in our hands.
            drop(outcome.send(Err(refusal)));
            return Completion(learn);
        }
        queue.bytes += bytes;
        queue.submissions.push_back(Submission {
            work,
            bytes,
            outcome,
        });
        drop(queue);
        self.queue.changed.notify_one();
        Completion(learn)
    }

    /// Bytes that are waiting to be written: credits are given against this.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queue().bytes
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        self.reader.clone()
    }

    /// The journal's identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            generation: self.queue.generation.load(Ordering::Acquire),
            ..self.identity
        }
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        {
            let mut queue = self.queue.queue();
            queue.closed = true;
            queue.spares = SpareWork::Ended;
        }
        self.queue.changed.notify_all();
        self.queue.spares_wanted.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; its waiters learn that their outcome is unknown.
            drop(thread.join());
        }
    }
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // What it guards is changed in single steps, so a panic elsewhere leaves it whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until there is something to prepare; `false` at the end.
    fn spare_is_wanted(&self) -> bool {
        let mut queue = self.queue();
        while queue.spares == SpareWork::Idle {
            let woken = self.spares_wanted.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let wanted = queue.spares == SpareWork::Wanted;
        if wanted {
            queue.spares = SpareWork::Idle;
        }
        wanted
    }

    fn write_until_closed(&self, mut journal: Journal, spares: usize, group_bytes_max: usize) {
        let mut groups = 0_u64;
        while let Some(group) = self.next_group(group_bytes_max) {
            let bytes = group.iter().map(|s| s.bytes).sum::<usize>();
            self.write(&mut journal, group);
            groups += 1;
            let idle = {
                let mut queue = self.queue();
                queue.bytes -= bytes;
                metrics::queued(queue.bytes);
                if journal.spares().count() < spares && queue.spares == SpareWork::Idle {
                    queue.spares = SpareWork::Wanted;
                    self.spares_wanted.notify_one();
                }
                queue.submissions.is_empty()
            };
            // When nobody waits, and now and then when somebody always does.
            if idle || groups.is_multiple_of(GROUPS_BETWEEN_MOVES) {
                self.compact(&mut journal);
            }
        }
        match journal.close() {
            // It was said when it became so.
            Ok(()) | Err(AppendError::ReadOnly) => {}
            Err(e) => {
                tracing::warn!(error = %e, "cannot mark the end of the journal; nothing is lost");
            }
        }
    }

    /// Moves entries that hold files back, a step at a time for as long as nobody waits.
    fn compact(&self, journal: &mut Journal) {
        loop {
            match journal.compact() {
                Ok(true) if self.queue().submissions.is_empty() => {}
                Ok(_) | Err(AppendError::ReadOnly) => return,
                Err(e) => {
                    tracing::warn!(error = %e, "cannot move entries out of an old file of the journal");
                    return;
                }
            }
        }
    }

    /// What has gathered, up to about `bytes_max` and at least one submission; `None` at the end.
    fn next_group(&self, bytes_max: usize) -> Option<Vec<Submission>> {
        let mut queue = self.queue();
        while queue.submissions.is_empty() {
            if queue.closed {
                return None;
            }
            let woken = self.changed.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.submissions.front() {
            bytes += next.bytes;
            if !group.is_empty() && bytes > bytes_max {
                break;
            }
            group.extend(queue.submissions.pop_front());
        }
        Some(group)
    }

    /// Writes what has gathered and tells everyone concerned. All but appends is rare, and done on its own.
    fn write(&self, journal: &mut Journal, group: Vec<Submission>) {
        let mut appends: Vec<(Vec<NodeRecord>, Submitter)> = Vec::new();
        for Submission {
            work,
            bytes,
            outcome,
        } in group
        {
            let submitter = Submitter { bytes, outcome };
            match work {
                Work::Append(records) => appends.push((records, submitter)),
                Work::Mend(log, segment, entries) => {
                    append(journal, std::mem::take(&mut appends));
                    submitter.tell(journal.mend(log, segment, &entries));
                }
                Work::Raise => {
                    append(journal, std::mem::take(&mut appends));
                    let raised = journal.raise_generation();
                    if let Ok(generation) = raised {
                        self.generation.store(generation, Ordering::Release);
                    }
                    submitter.tell(raised.map(drop));
                }
            }
        }
        append(journal, appends);
    }
}

fn append(journal: &mut Journal, group: Vec<(Vec<NodeRecord>, Submitter)>) {
    if group.is_empty() {
        return;
    }
    let started = Instant::now();
    let records: Vec<&[NodeRecord]> = group.iter().map(|(records, _)| &**records).collect();
    let outcomes = journal.append_groups(&records);
    let took = started.elapsed();
    let done = outcomes.iter().filter(|o| o.is_ok()).count();
    if done > 0 {
        let records = records.iter().map(|r| r.len()).sum();
        let bytes = group.iter().map(|(_, s)| s.bytes).sum();
        metrics::group(done, records, bytes, took);
    }
    for ((_, submitter), outcome) in group.into_iter().zip(outcomes) {
        submitter.tell(outcome);
    }
}

#[derive(Debug)]
struct Submitter {
    bytes: usize,
    outcome: oneshot::Sender<Result<(), AppendError>>,
}

impl Submitter {
    fn tell(self, outcome: Result<(), AppendError>) {
        if let Err(e) = &outcome {
            metrics::rejected(1, reason(e));
        }
        // Who dropped the receiver learns the outcome by reading.
        drop(self.outcome.send(outcome));
    }
}

fn reason(error: &AppendError) -> &'static str {
    match error {
        AppendError::OutOfOrder(_) => "out_of_order",
        AppendError::NotIntact { .. } => "not_intact",
        AppendError::TooLarge { .. } => "too_large",
        AppendError::Full(_) => "full",
        AppendError::Busy { .. } => "busy",
        AppendError::ReadOnly => "read_only",
        AppendError::Closed => "closed",
        AppendError::Unknown(_) => "unknown",
    }
}
