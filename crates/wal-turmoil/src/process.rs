//! Hosts that take logs over, append, read and trim, as the shell of a stream-node would.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use holdfast_qlog::messages::Owner;
use holdfast_quorum_wal::{Components, Options, QuorumWal, Registry};
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::{AppendError, Wal, WalError, WalWriter};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::timeout};

use crate::{clock::HostClock, meta::Meta, net::SimConnect, node::CLUSTER, watch::Watch};

/// Logs of a run.
pub(crate) const LOGS: [ChannelId; 2] = [ChannelId(0), ChannelId(1)];
/// Records of a log that are under way at one time.
const WINDOW_RECORDS: usize = 64;
/// Longest time that anything is waited for before it is tried anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// One life of a process.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) owner: Owner,
    pub(crate) clock: HostClock,
    pub(crate) meta: Meta,
    pub(crate) watch: Watch,
    pub(crate) seed: u64,
    /// How likely it is, a second, that a log is taken over for no reason.
    pub(crate) usurp: f64,
    pub(crate) zones: usize,
}

/// One log, as one process sees it.
struct Log {
    log: ChannelId,
    wal: Arc<QuorumWal>,
    registry: Registry,
    life: Life,
    rng: StdRng,
}

impl Life {
    async fn wal(&self) -> (Arc<QuorumWal>, Registry) {
        let store = self.meta.of_host(&self.owner.node, self.seed);
        loop {
            let components = Components {
                meta: Arc::clone(&store),
                connect: Arc::new(SimConnect),
                clock: Arc::new(self.clock.clone()),
                cluster: CLUSTER,
                owner: self.owner.clone(),
                objects: None,
            };
            match QuorumWal::open(options(self.zones), components).await {
                Ok(wal) => return (Arc::new(wal), Registry::new(store)),
                Err(error) => {
                    let node = &self.owner.node;
                    self.watch
                        .note(format_args!("{node} cannot begin: {error}"));
                    tokio::time::sleep(PATIENCE / 10).await;
                }
            }
        }
    }

    fn log(&self, log: ChannelId, (wal, registry): &(Arc<QuorumWal>, Registry)) -> Log {
        Log {
            log,
            wal: Arc::clone(wal),
            registry: registry.clone(),
            life: self.clone(),
            rng: StdRng::seed_from_u64(self.seed ^ u64::from(log.0) << 32),
        }
    }

    /// A process that writes whatever log seems to have no writer.
    pub(crate) async fn write(self) -> turmoil::Result {
        let wal = self.wal().await;
        let mut tasks = JoinSet::new();
        for log in LOGS {
            tasks.spawn(self.log(log, &wal).write());
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// A process that reads every log, again and again, and trims what it has read.
    pub(crate) async fn read(self) -> turmoil::Result {
        let wal = self.wal().await;
        let mut tasks = JoinSet::new();
        for log in LOGS {
            tasks.spawn(self.log(log, &wal).read());
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

fn options(zones: usize) -> Options {
    Options {
        window_bytes: 32 << 10,
        window_records: WINDOW_RECORDS,
        batch_bytes: 4 << 10,
        segment_bytes: 1 << 16,
        segment_age: Duration::from_secs(4),
        resend_after: Duration::from_millis(200),
        lag_bytes_max: 64 << 10,
        lag_time_max: Duration::from_millis(700),
        replace_after: Duration::from_secs(2),
        poll_every: Duration::from_millis(20),
        zones,
        ..Options::default()
    }
}

impl Log {
    async fn write(mut self) {
        let mut highest = Epoch(0);
        let mut failures = 0;
        loop {
            self.wait_for_silence(failures).await;
            failures += 1;
            let head = match self.registry.view(self.log).await {
                Ok(view) => view.head.map_or(Epoch(0), |head| head.epoch),
                Err(error) => {
                    let log = self.log;
                    let node = &self.life.owner.node;
                    self.life
                        .watch
                        .note(format_args!("{node} cannot look at log {log}: {error}"));
                    continue;
                }
            };
            highest = Epoch(highest.max(head).0 + 1);
            let patience = Duration::from_millis(self.rng.random_range(3_000..20_000));
            let opening = self.wal.open_writer(self.log, highest);
            match timeout(patience, opening).await {
                Ok(Ok((writer, last))) => {
                    failures = 0;
                    self.life.watch.opened(self.log, highest, last);
                    self.append_to(Arc::from(writer), highest).await;
                }
                Ok(Err(WalError::Fenced { newer })) => highest = highest.max(newer),
                Ok(Err(WalError::Broken { problem })) => {
                    self.life.watch.violated(3, self.log, problem);
                }
                Ok(Err(error)) => {
                    let (log, node) = (self.log, &self.life.owner.node);
                    self.life
                        .watch
                        .note(format_args!("{node} cannot open log {log}: {error}"));
                }
                // It gives up, as a process does that is told to.
                Err(_) => {}
            }
        }
    }

    /// Returns when the log seems to have no writer, or for no reason.
    async fn wait_for_silence(&mut self, failures: u32) {
        // Longer after each failure: who takes a log over must not be overtaken for ever.
        let patience =
            Duration::from_millis(self.rng.random_range(500..3_000)) * 2_u32.pow(failures.min(3));
        let look = Duration::from_millis(50);
        loop {
            tokio::time::sleep(look).await;
            if self.life.watch.silence(self.log) > patience {
                return;
            }
            let usurp = self.life.usurp * look.as_secs_f64();
            if !self.life.watch.is_calm() && self.rng.random_bool(usurp) {
                return;
            }
        }
    }

    /// Appends until the log is taken over, or nothing is acknowledged any more.
    async fn append_to(&mut self, writer: Arc<dyn WalWriter>, epoch: Epoch) {
        let mut fates: JoinSet<bool> = JoinSet::new();
        let give_up = Duration::from_millis(self.rng.random_range(4_000..12_000));
        loop {
            if timeout(give_up, writer.ready()).await.is_err() {
                return;
            }
            let burst = match self.rng.random_bool(0.1) {
                true => self.rng.random_range(2..20),
                false => 1,
            };
            for _ in 0..burst {
                self.append(&*writer, epoch, &mut fates);
            }
            let undecided = fates.len();
            // A refused append is decided at once, but its task still has to say so.
            self.life
                .watch
                .undecided(self.log, undecided, WINDOW_RECORDS + 20);
            let most = if self.life.watch.is_calm() { 400 } else { 60 };
            let pause = Duration::from_millis(self.rng.random_range(1..most));
            tokio::time::sleep(pause).await;
            while let Some(decided) = fates.try_join_next() {
                if decided.unwrap_or(true) {
                    // What is under way is waited for, or not: its outcome is seen in either case.
                    self.drain(fates).await;
                    return;
                }
            }
            let tired = !self.life.watch.is_calm() && self.rng.random_bool(0.002);
            if tired || self.life.watch.silence(self.log) > give_up {
                self.drain(fates).await;
                return;
            }
        }
    }

    async fn drain(&self, mut fates: JoinSet<bool>) {
        let all = async { while fates.join_next().await.is_some() {} };
        let _waited = timeout(PATIENCE, all).await;
    }

    fn append(&mut self, writer: &dyn WalWriter, epoch: Epoch, fates: &mut JoinSet<bool>) {
        let serial = self.life.watch.serial();
        let mut payload = serial.to_le_bytes().to_vec();
        payload.resize(8 + self.rng.random_range(0..2_000), self.log.0 as u8);
        let (_, done) = writer.append(Bytes::from(payload));
        let (watch, owner, log) = (self.life.watch.clone(), self.life.owner.clone(), self.log);
        fates.spawn(async move {
            let fate = done.await;
            watch.decided(log, (epoch, &owner), serial, &fate);
            matches!(
                fate,
                Err(AppendError::Fenced { .. } | AppendError::Unknown(_) | AppendError::Closed)
            )
        });
    }

    async fn read(mut self) {
        loop {
            let pause = Duration::from_millis(self.rng.random_range(10..500));
            tokio::time::sleep(pause).await;
            // A reader may go away at any moment.
            let lasts = match self.life.watch.is_calm() {
                true => PATIENCE * 4,
                false => Duration::from_millis(self.rng.random_range(200..4_000)),
            };
            let _ended = timeout(lasts, self.read_some()).await;
        }
    }

    async fn read_some(&mut self) {
        let goal = self.life.watch.acknowledged(self.log);
        let calm = self.life.watch.is_calm();
        let mut from = Lsn(1);
        if !calm && self.rng.random_bool(0.5) {
            from = Lsn(self.rng.random_range(1..goal.0.max(1) + 1));
        }
        let mut tail = loop {
            match self.wal.tail(self.log, from).await {
                Ok(tail) => break tail,
                Err(WalError::Trimmed { first }) if first > from => from = first,
                Err(error) => return self.note(&error),
            }
        };
        let mut next = from;
        while let Some(given) = tail.next().await {
            match given {
                Ok(entry) => {
                    self.life.watch.delivered(self.log, next, &entry);
                    next = entry.lsn.next();
                    if calm && entry.lsn >= goal {
                        return self.life.watch.read_through(self.log, entry.lsn);
                    }
                    if !calm && self.rng.random_bool(0.002) {
                        self.trim(Lsn(entry.lsn.0.saturating_sub(20))).await;
                    }
                }
                Err(WalError::Broken { problem }) => {
                    return self.life.watch.violated(3, self.log, problem);
                }
                Err(error) => return self.note(&error),
            }
        }
    }

    async fn trim(&self, upto: Lsn) {
        self.life.watch.trimmable(self.log, upto);
        if let Err(error) = self.wal.trim(self.log, upto).await {
            self.note(&error);
        }
    }

    fn note(&self, error: &WalError) {
        let (log, node) = (self.log, &self.life.owner.node);
        self.life
            .watch
            .note(format_args!("{node} reads log {log}: {error}"));
    }
}
