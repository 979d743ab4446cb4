//! The task, one look after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use holdfast_log_node::{Device, LogNode};
use holdfast_log_store::{Folder, LogStore};
use holdfast_meta::MetaStore;
use holdfast_qlog::{
    StorageId,
    fold::SegmentList,
    heal::{Heal, StoredHere, Turns, plan},
    messages::{ClusterId, Owner},
    meta::ManifestRef,
};
use holdfast_quorum_wal::{Connect, Registry, registry::RegistryError};
use holdfast_runtime::Shutdown;
use holdfast_types::{ChannelId, LogSegment};
use tokio::time::{Instant, MissedTickBehavior};

use crate::{look::Look, metrics, options::Options};

/// Segments that are healed before everything is looked at again.
const HEALED_MAX: usize = 16;

/// What a keeper stands on.
pub struct Parts {
    /// Epochs, segments, log-nodes.
    pub meta: Arc<dyn MetaStore>,
    /// How log-nodes are reached.
    pub connect: Arc<dyn Connect>,
    /// The cluster.
    pub cluster: ClusterId,
    /// Name of the log-node that it is beside.
    pub node: Arc<str>,
    /// The log-node.
    pub log_node: LogNode,
    /// Its disk.
    pub device: Arc<dyn Device>,
    /// Where ended segments go.
    pub objects: Option<LogStore>,
}

/// A log-node's keeper.
pub struct Keeper {
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) cluster: ClusterId,
    pub(crate) storage: StorageId,
    /// Which start of the disk this is.
    pub(crate) generation: u64,
    pub(crate) owner: Owner,
    pub(crate) log_node: LogNode,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) objects: Option<LogStore>,
    pub(crate) began: Instant,
}

/// What it remembers from one look to the next.
#[derive(Default)]
pub(crate) struct Memory {
    silent: BTreeMap<StorageId, Duration>,
    turns: Turns,
    /// Segments of which no copy can be read, as far as was told.
    unreadable: BTreeSet<(ChannelId, LogSegment)>,
    /// When object storage failed last.
    store_failed: Option<Duration>,
    pub(crate) attempts: u64,
    pub(crate) stored: BTreeMap<(ChannelId, LogSegment), StoredHere>,
    pub(crate) garbage: BTreeMap<Folder, Duration>,
    pub(crate) garbage_lists: BTreeMap<String, Duration>,
    /// The list of each log whose oldest segments have no keys, and the object that says so.
    pub(crate) lists: BTreeMap<ChannelId, (ManifestRef, SegmentList)>,
    pub(crate) garbage_looked: Option<Duration>,
}

impl Keeper {
    /// Beside a log-node that runs.
    #[must_use]
    pub fn new(options: Options, parts: Parts) -> Self {
        let identity = parts.device.identity();
        Self {
            options,
            registry: Registry::new(parts.meta),
            connect: parts.connect,
            cluster: parts.cluster,
            storage: identity.storage,
            generation: identity.generation,
            owner: Owner {
                node: parts.node,
                incarnation: identity.generation,
            },
            log_node: parts.log_node,
            device: parts.device,
            objects: parts.objects,
            began: Instant::now(),
        }
    }

    /// Runs until the shutdown. What it was in the middle of is begun anew by whoever sees it next.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.triggered() => {}
            () = self.keep() => {}
            () = self.keep_scrubbing() => {}
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn keep(&self) {
        let mut memory = Memory::default();
        let mut looks = tokio::time::interval(self.options.look_every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.pass(&mut memory).await {
                tracing::warn!(%error, "the logs cannot be looked after");
            }
        }
    }

    /// One look, and what follows from it.
    async fn pass(&self, memory: &mut Memory) -> Result<(), RegistryError> {
        let listed = self.list_objects(memory).await;
        let mut look = Look::take(&self.registry, &self.connect).await?;
        self.fold(memory, &mut look).await;
        let retried = self.options.store_retry;
        let down_since = memory.store_failed;
        let failed = down_since.is_some_and(|at| self.now().saturating_sub(at) < retried);
        let down = self.objects.is_none() || failed;
        let grace = self.options.loss_grace;
        let health = look.health(&mut memory.silent, grace, down, self.now());
        let planned = plan(&look.logs, &health, self.options.rule(), self.now());
        self.report(memory, &look, &health, &planned);
        let patience = self.options.upload_patience;
        let mine = memory
            .turns
            .mine(planned, self.storage, patience, self.now());
        for heal in mine.into_iter().take(HEALED_MAX) {
            match heal {
                Heal::Upload {
                    log,
                    segment,
                    descriptor,
                    ..
                } => match self.upload(memory, &look, log, segment, &descriptor).await {
                    Ok(()) => memory.store_failed = None,
                    Err(error) => {
                        tracing::warn!(%log, %segment, %error, "a segment is not in object storage yet");
                        if error.is_the_stores() {
                            memory.store_failed = Some(self.now());
                            break;
                        }
                    }
                },
                Heal::Copy {
                    log,
                    segment,
                    descriptor,
                    copies,
                    ..
                } => self.copy(&look, log, segment, descriptor, copies).await,
                Heal::Lost { .. } => {}
            }
        }
        self.let_go(memory, &look).await;
        self.clear_up(memory, &look, listed).await;
        Ok(())
    }

    fn report(
        &self,
        memory: &mut Memory,
        look: &Look,
        health: &holdfast_qlog::heal::Health,
        planned: &[Heal],
    ) {
        let lost = planned
            .iter()
            .filter(|heal| matches!(heal, Heal::Lost { .. }));
        let unreadable: BTreeSet<_> = lost.map(Heal::segment).collect();
        for (log, segment) in unreadable.difference(&memory.unreadable) {
            tracing::error!(%log, %segment, "no copy of a segment can be read: bring back a log-node that has it");
        }
        let lacking = look.under_replicated(health, self.now());
        ::metrics::gauge!(metrics::UNDER_REPLICATED).set(lacking as f64);
        ::metrics::gauge!(metrics::UNREADABLE).set(unreadable.len() as f64);
        let down = self.objects.is_some() && health.store_down;
        ::metrics::gauge!(metrics::STORE_DOWN).set(f64::from(u8::from(down)));
        memory.unreadable = unreadable;
    }
}
