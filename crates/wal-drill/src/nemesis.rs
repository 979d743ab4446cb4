//! Faults, one after the other, in an order that a seed decides; and whether the logs get over each of them.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::ValueEnum;
use holdfast_quorum_wal::QuorumWal;
use holdfast_types::Lsn;
use holdfast_wal::Wal;
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use tokio::time::{Instant, sleep};

use crate::{
    cluster::Cluster,
    history::{Violation, Violations},
    load::Log,
    network::Cut,
    node::Node,
    redundancy::{lacking, on_lost_disks},
};

/// Within this time a log must accept appends whenever two of three nodes and etcd are up.
pub const BOUND: Duration = Duration::from_secs(45);
/// How long redundancy is waited for before a fault that destroys a copy is left out.
const REDUNDANCY_PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes that are damaged in one journal.
const FLIPS: usize = 64;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// `kill -9` of a node, then a restart.
    Kill,
    /// `kill -9` of all nodes at once.
    KillAll,
    /// SIGSTOP of a node for up to ten seconds.
    Pause,
    /// A node is cut off.
    CutBoth,
    /// A node hears nothing.
    CutIn,
    /// A node is not heard.
    CutOut,
    /// A node's disk is full.
    Full,
    /// A node is stopped, bits of its journal are turned over, it starts again, and later gets a new disk.
    Flip,
    /// A node comes back with an empty disk.
    Wipe,
    /// A log is taken over while its writer goes on.
    TakeOver,
    /// A writer vanishes, and two others open the log at once.
    Race,
    /// etcd is paused.
    EtcdPause,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill -9",
            Self::KillAll => "kill -9 of all",
            Self::Pause => "SIGSTOP",
            Self::CutBoth => "partition",
            Self::CutIn => "partition, deaf",
            Self::CutOut => "partition, mute",
            Self::Full => "full disk",
            Self::Flip => "flipped bits",
            Self::Wipe => "wiped disk",
            Self::TakeOver => "take-over",
            Self::Race => "racing take-overs",
            Self::EtcdPause => "etcd stopped",
        })
    }
}

/// What one kind of fault did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effect {
    /// How often it happened.
    pub count: u64,
    /// Longest time without an acknowledgement in any log, while it lasted and until all logs went on.
    pub gap_max: Duration,
    /// The same, summed over all times.
    pub gap_sum: Duration,
    /// Longest time from its end until all logs accepted appends.
    pub recovery_max: Duration,
}

/// The one who makes faults.
pub struct Nemesis {
    /// What is attacked.
    pub cluster: Cluster,
    /// The logs on it.
    pub logs: Vec<Arc<Log>>,
    /// What happened so far.
    pub effects: BTreeMap<Kind, Effect>,
    /// Faults that were left out because too few copies were there.
    pub left_out: u64,
    /// What must not be.
    pub violations: Violations,
    wal: Arc<QuorumWal>,
    rng: StdRng,
    only: Vec<Kind>,
    deck: Vec<Kind>,
}

impl Nemesis {
    /// Of a cluster that is well. Trims through `wal`. Does everything that is possible here, or only some of it.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        logs: Vec<Arc<Log>>,
        wal: Arc<QuorumWal>,
        rng: StdRng,
        only: Vec<Kind>,
    ) -> Self {
        Self {
            cluster,
            logs,
            effects: BTreeMap::new(),
            left_out: 0,
            violations: Violations::default(),
            wal,
            rng,
            only,
            deck: Vec::new(),
        }
    }

    /// One fault from its beginning until the logs are over it.
    ///
    /// # Errors
    /// The drill itself fails: a process cannot be started, the metadata cannot be read.
    pub async fn strike(&mut self) -> anyhow::Result<()> {
        let kind = self.draw();
        let nodes = &self.cluster.nodes;
        let node = match kind {
            Kind::Full => nodes.iter().position(Node::has_small_disk),
            _ => Some(self.rng.random_range(0..nodes.len())),
        };
        let Some(node) = node else { return Ok(()) };
        if matches!(kind, Kind::Wipe | Kind::Flip) && !self.redundant_without(node).await? {
            self.left_out += 1;
            return Ok(());
        }
        tracing::info!(%kind, node, "fault");
        self.logs.iter().for_each(|log| log.reset_gap());
        let healed = self.suffer(kind, node).await?;
        let recovery = self.accepted_since(healed, kind, "after").await;
        let gap = self.logs.iter().map(|log| log.longest_gap()).max();
        let gap = gap.unwrap_or_default();
        tracing::info!(%kind, node, ?gap, ?recovery, "over");
        let effect = self.effects.entry(kind).or_default();
        effect.count += 1;
        effect.gap_max = effect.gap_max.max(gap);
        effect.gap_sum += gap;
        effect.recovery_max = effect.recovery_max.max(recovery);
        for node in &mut self.cluster.nodes {
            if let Some(ended) = node.ended()? {
                let text = format!("after {kind}: {ended}");
                self.violations.add(Violation::Crashed, &text);
                node.start().await?;
            }
        }
        if matches!(kind, Kind::Wipe | Kind::Flip) {
            self.left_the_lost_disk(kind).await?;
        }
        self.hold(0.2..1.5).await;
        Ok(())
    }

    /// One copy at a time: the next fault waits until no writer counts on the disk that was destroyed.
    async fn left_the_lost_disk(&mut self, kind: Kind) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let logs = on_lost_disks(&self.cluster).await?;
            if logs.is_empty() {
                return Ok(());
            }
            if began.elapsed() > BOUND {
                let text = format!("after {kind}: logs {logs:?} stay on a lost disk");
                self.violations.add(Violation::Stalled, &text);
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// The next card: each kind comes before any comes again.
    fn draw(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck = vec![
                Kind::Kill,
                Kind::Kill,
                Kind::KillAll,
                Kind::Pause,
                Kind::Pause,
                Kind::Flip,
                Kind::Wipe,
                Kind::TakeOver,
                Kind::Race,
                Kind::EtcdPause,
            ];
            if self.cluster.nodes.iter().any(Node::has_small_disk) {
                self.deck.push(Kind::Full);
            }
            if self.cluster.nodes.iter().any(|n| n.namespace().is_some()) {
                let cuts = [Kind::CutBoth, Kind::CutIn, Kind::CutOut];
                self.deck.extend(cuts);
            }
            if !self.only.is_empty() {
                self.deck.clone_from(&self.only);
            }
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().expect("it was just filled")
    }

    /// Does it and undoes it. Returns when it was undone.
    async fn suffer(&mut self, kind: Kind, node: usize) -> anyhow::Result<Instant> {
        match kind {
            Kind::Kill => {
                self.cluster.nodes[node].kill().await?;
                self.endure(kind, 0.0..6.0).await;
                self.cluster.nodes[node].start().await?;
            }
            Kind::KillAll => {
                for node in &mut self.cluster.nodes {
                    node.kill().await?;
                }
                self.maybe_take_over();
                self.hold(0.0..2.0).await;
                for node in &mut self.cluster.nodes {
                    node.start().await?;
                }
            }
            Kind::Pause => {
                self.cluster.nodes[node].pause()?;
                self.endure(kind, 0.1..10.0).await;
                self.cluster.nodes[node].resume()?;
            }
            Kind::CutBoth => self.cut(kind, node, Cut::Both).await?,
            Kind::CutIn => self.cut(kind, node, Cut::In).await?,
            Kind::CutOut => self.cut(kind, node, Cut::Out).await?,
            Kind::Full => {
                let but_for = self.rng.random_range(0..4 << 20);
                self.cluster.nodes[node].fill(but_for)?;
                self.endure(kind, 2.0..10.0).await;
                self.cluster.nodes[node].empty()?;
            }
            Kind::Flip => {
                self.cluster.nodes[node].kill().await?;
                let flipped = self.cluster.nodes[node].flip(&mut self.rng, FLIPS)?;
                tracing::debug!(?flipped, "flipped");
                if let Err(error) = self.cluster.nodes[node].start().await {
                    // It may refuse, as long as it says so.
                    let error = format!("{error:#}");
                    tracing::info!(error, "a damaged node does not start");
                }
                self.endure(kind, 2.0..8.0).await;
                self.new_disk(node).await?;
            }
            Kind::Wipe => self.new_disk(node).await?,
            Kind::TakeOver => {
                let opens = self.opens();
                self.take_over();
                self.opened_since(opens, kind).await;
            }
            Kind::Race => {
                let opens = self.opens();
                let log = &self.logs[self.rng.random_range(0..self.logs.len())];
                log.abandon();
                log.order(0);
                log.order(1);
                self.opened_since(opens, kind).await;
            }
            Kind::EtcdPause => {
                self.cluster.etcd.pause(0);
                self.maybe_take_over();
                self.hold(0.5..8.0).await;
                self.cluster.etcd.resume(0);
            }
        }
        Ok(Instant::now())
    }

    async fn cut(&mut self, kind: Kind, node: usize, cut: Cut) -> anyhow::Result<()> {
        if let Some(network) = self.cluster.nodes[node].namespace() {
            network.cut(cut)?;
        }
        self.endure(kind, 0.5..10.0).await;
        if let Some(network) = self.cluster.nodes[node].namespace() {
            network.mend()?;
        }
        Ok(())
    }

    async fn new_disk(&mut self, node: usize) -> anyhow::Result<()> {
        let node = &mut self.cluster.nodes[node];
        node.kill().await?;
        node.wipe()?;
        node.start().await
    }

    /// A fault of one node lasts a while, and the logs must go on all the same.
    async fn endure(&mut self, kind: Kind, seconds: Range<f64>) {
        let began = Instant::now();
        self.maybe_take_over();
        self.hold(seconds).await;
        self.accepted_since(began, kind, "during").await;
    }

    async fn hold(&mut self, seconds: Range<f64>) {
        let seconds = self.rng.random_range(seconds);
        sleep(Duration::from_secs_f64(seconds)).await;
    }

    fn maybe_take_over(&mut self) {
        if self.rng.random_bool(0.5) {
            self.take_over();
        }
    }

    fn take_over(&mut self) {
        let log = self.rng.random_range(0..self.logs.len());
        self.logs[log].take_over();
    }

    fn opens(&self) -> u64 {
        let opens = self
            .logs
            .iter()
            .map(|log| log.opens.load(Ordering::Relaxed));
        opens.sum()
    }

    /// Waits until a log was opened once more.
    async fn opened_since(&mut self, opens: u64, kind: Kind) {
        let began = Instant::now();
        while self.opens() == opens {
            if began.elapsed() > BOUND {
                let text = format!("{kind}: no log is opened");
                return self.violations.add(Violation::Stalled, &text);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until all logs have acknowledged something that was appended after `moment`. Returns how long that took.
    async fn accepted_since(&mut self, moment: Instant, kind: Kind, when: &str) -> Duration {
        let began = Instant::now();
        loop {
            let waiting = self.logs.iter().filter(|l| !l.accepts_since(moment));
            let waiting: Vec<String> = waiting.map(|l| l.channel.to_string()).collect();
            if waiting.is_empty() {
                return began.elapsed();
            }
            if began.elapsed() > BOUND {
                let waiting = waiting.join(", ");
                let text = format!("{when} {kind}: logs {waiting} accept nothing");
                tracing::error!(text, "stalled");
                self.violations.add(Violation::Stalled, &text);
                return began.elapsed();
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until nothing is lost with this node's disk: the log-nodes see to that themselves, and in time.
    async fn redundant_without(&mut self, node: usize) -> anyhow::Result<bool> {
        let began = Instant::now();
        let name = self.cluster.nodes[node].name.clone();
        loop {
            let lacking = lacking(&self.cluster, Some(&name)).await?;
            if lacking.is_empty() {
                return Ok(true);
            }
            if began.elapsed() > REDUNDANCY_PATIENCE {
                let text = format!("redundancy does not come back: {lacking:?}");
                self.violations.add(Violation::Stalled, &text);
                return Ok(false);
            }
            sleep(LOOK * 10).await;
        }
    }

    /// Lets go of records that all readers have seen, but for the newest `keep`.
    pub async fn trim(&self, log: &Log, keep: u64) {
        let upto = Lsn(log.read_by_all().0.saturating_sub(keep));
        if let Err(error) = self.wal.trim(log.channel, upto).await {
            tracing::info!(log = %log.channel, %error, "not trimmed");
        }
    }
}
