//! What users of a log do: append at a steady pace, take the log over, follow it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use holdfast_quorum_wal::QuorumWal;
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::{AppendError, Wal, WalError, WalWriter};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep},
};

use crate::history::{Fate, History};

/// Appends of one writer that may be under way.
const IN_FLIGHT: usize = 64;
/// Smallest and largest record.
const SIZES: (f64, f64) = (256.0, 65_536.0);
/// Time between attempts of a reader or of a writer that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// Different answers that are kept.
const TROUBLES_MAX: usize = 200;

/// When appends were acknowledged.
#[derive(Debug)]
struct Pulse {
    last: Instant,
    longest: Duration,
    /// The latest beginning of an append that was acknowledged.
    began: Option<Instant>,
}

/// One log under load.
#[derive(Debug)]
pub struct Log {
    /// Its number.
    pub channel: ChannelId,
    /// All that is known of it.
    pub history: Mutex<History>,
    pulse: Mutex<Pulse>,
    epochs: AtomicU64,
    /// Writers that hold the log or want it.
    engaged: AtomicUsize,
    /// The writer that opened the log last.
    holder: AtomicUsize,
    /// A writer that is told to open the log.
    orders: [Notify; 2],
    /// Wakes writers that are to give up what they hold.
    abandon: Notify,
    stopping: AtomicBool,
    /// How far each reader has come.
    read: [AtomicU64; 2],
    /// What was answered to those who opened or read, other than that another was faster.
    troubles: Mutex<Vec<String>>,
    /// Times that the log was opened.
    pub opens: AtomicU64,
}

impl Log {
    /// A log that nobody has written yet.
    #[must_use]
    pub fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            history: Mutex::new(History::new(channel)),
            pulse: Mutex::new(Pulse {
                last: Instant::now(),
                longest: Duration::ZERO,
                began: None,
            }),
            epochs: AtomicU64::new(0),
            engaged: AtomicUsize::new(0),
            holder: AtomicUsize::new(0),
            orders: Default::default(),
            abandon: Notify::new(),
            stopping: AtomicBool::new(false),
            read: Default::default(),
            troubles: Mutex::default(),
            opens: AtomicU64::new(0),
        }
    }

    /// The next epoch: nobody else gets it.
    pub fn next_epoch(&self) -> Epoch {
        Epoch(self.epochs.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells one of the two writers to open the log.
    pub fn order(&self, writer: usize) {
        self.orders[writer].notify_one();
    }

    /// Tells the writer that does not have the log to take it over, while the other goes on.
    pub fn take_over(&self) {
        self.order(1 - self.holder.load(Ordering::Relaxed));
    }

    /// Tells whoever writes to drop everything.
    pub fn abandon(&self) {
        self.abandon.notify_waiters();
    }

    /// No more appends.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.abandon.notify_waiters();
        self.orders.iter().for_each(Notify::notify_one);
    }

    /// The time without an acknowledgement is measured anew from here.
    pub fn reset_gap(&self) {
        let mut pulse = self.pulse.lock();
        pulse.longest = Duration::ZERO;
        pulse.last = Instant::now();
    }

    /// Longest time between acknowledgements since the last reset.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let pulse = self.pulse.lock();
        pulse.longest.max(pulse.last.elapsed())
    }

    /// Whether an append that began after this moment was acknowledged.
    #[must_use]
    pub fn accepts_since(&self, moment: Instant) -> bool {
        self.pulse.lock().began.is_some_and(|began| began > moment)
    }

    /// Up to where all readers have read.
    #[must_use]
    pub fn read_by_all(&self) -> Lsn {
        let least = self.read.iter().map(|at| at.load(Ordering::Relaxed)).min();
        Lsn(least.unwrap_or(0))
    }

    /// What was answered, and not expected.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().clone()
    }

    fn trouble(&self, what: &str, error: &WalError) {
        let text = format!("log {}: {what}: {error}", self.channel);
        tracing::debug!(text, "trouble");
        let mut troubles = self.troubles.lock();
        if troubles.len() < TROUBLES_MAX && !troubles.contains(&text) {
            troubles.push(text);
        }
    }

    /// Begins an append. The future resolves to `false` when its writer is of no use any more.
    pub fn append(
        self: &Arc<Self>,
        writer: &dyn WalWriter,
        epoch: Epoch,
        bytes: usize,
    ) -> impl Future<Output = bool> + Send + use<> {
        let (serial, payload) = self.history.lock().begin(epoch, bytes);
        let began = Instant::now();
        let (lsn, done) = writer.append(payload);
        let log = Arc::clone(self);
        async move { log.decided(serial, lsn, began, &done.await) }
    }

    fn decided(
        &self,
        serial: u64,
        lsn: Lsn,
        began: Instant,
        result: &Result<Lsn, AppendError>,
    ) -> bool {
        let (fate, goes_on) = match result {
            Ok(at) => (Fate::Acked(*at), true),
            Err(AppendError::Unknown(_)) => (Fate::Unknown, false),
            Err(AppendError::Busy { .. } | AppendError::Full(_)) => (Fate::Rejected, true),
            Err(_) => (Fate::Rejected, false),
        };
        if let Fate::Acked(_) = fate {
            let mut pulse = self.pulse.lock();
            pulse.longest = pulse.longest.max(pulse.last.elapsed());
            pulse.last = Instant::now();
            pulse.began = pulse.began.max(Some(began));
        }
        self.history.lock().decide(serial, lsn, fate);
        goes_on
    }
}

/// One of the two writers of a log: takes it over when told to, and appends until another one does.
pub async fn write(log: Arc<Log>, which: usize, wal: Arc<QuorumWal>, every: Duration, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        log.orders[which].notified().await;
        if log.stopping.load(Ordering::Relaxed) {
            return;
        }
        log.engaged.fetch_add(1, Ordering::Relaxed);
        let epoch = log.next_epoch();
        match wal.open_writer(log.channel, epoch).await {
            Ok((writer, last)) => {
                log.opens.fetch_add(1, Ordering::Relaxed);
                log.holder.store(which, Ordering::Relaxed);
                log.history.lock().opened(epoch, last);
                append_on(&log, &*writer, epoch, every, &mut rng).await;
            }
            Err(WalError::Fenced { .. }) => {}
            Err(error) => log.trouble("opening", &error),
        }
        // Somebody has to write.
        if log.engaged.fetch_sub(1, Ordering::Relaxed) == 1 {
            sleep(AGAIN).await;
            log.order(which);
        }
    }
}

/// Appends at a pace until the writer is of no use any more, or is told to stop.
async fn append_on(
    log: &Arc<Log>,
    writer: &dyn WalWriter,
    epoch: Epoch,
    every: Duration,
    rng: &mut StdRng,
) {
    let over = Arc::new(Notify::new());
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let appending = async {
        while !log.stopping.load(Ordering::Relaxed) {
            // Arrivals at random: sometimes many at once, sometimes none for a while.
            sleep(every.mul_f64(-rng.random_range(1e-6..1.0_f64).ln())).await;
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            writer.ready().await;
            let bytes = SIZES.0 * (SIZES.1 / SIZES.0).powf(rng.random());
            let done = log.append(writer, epoch, bytes as usize);
            let over = Arc::clone(&over);
            drop(tokio::spawn(async move {
                if !done.await {
                    over.notify_one();
                }
                drop(permit);
            }));
        }
    };
    tokio::select! {
        () = over.notified() => {}
        () = log.abandon.notified() => {}
        () = appending => {}
    }
}

/// Follows a log for ever, from its beginning, whatever happens.
pub async fn follow(log: Arc<Log>, which: usize, name: &'static str, wal: Arc<QuorumWal>) {
    let mut next = Lsn(1);
    loop {
        match wal.tail(log.channel, next).await {
            Ok(mut tail) => {
                while let Some(entry) = tail.next().await {
                    match entry {
                        Ok(entry) => {
                            next = log.history.lock().delivered(name, next, &entry);
                            log.read[which].store(next.0 - 1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            log.trouble(name, &error);
                            break;
                        }
                    }
                }
            }
            Err(error) => log.trouble(name, &error),
        }
        sleep(AGAIN).await;
    }
}
