//! The quorum log as a [`Wal`].

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use holdfast_log_store::{LogStore, LogStoreError};
use holdfast_meta::MetaStore;
use holdfast_qlog::{
    fold::{replace, shorten},
    messages::{Answer, Ask, ClusterId, Owner, Read, Request, Visibility},
    meta::{LogView, MetaTxn, SegmentDescriptor, SegmentState, TxnOutcome, trim},
};
use holdfast_runtime::Clock;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};
use holdfast_wal::{TailStream, Wal, WalError, WalWriter};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    connect::Connect,
    options::Options,
    peers::{FromPeer, Network, Peers},
    recovery::Recovery,
    registry::{Registry, RegistryError},
    tail::{self, Following},
    writer::{Parts, Shared},
};

/// How long log-nodes are asked how far a log goes before the best answer so far counts.
const ASK_MAX: Duration = Duration::from_secs(2);

/// A list of older segments is written anew when so many of them were trimmed, or a quarter of them.
const LIST_STEP_MAX: usize = 64;

/// What the quorum log stands on.
pub struct Components {
    /// Epochs, segments, log-nodes.
    pub meta: Arc<dyn MetaStore>,
    /// How log-nodes are reached.
    pub connect: Arc<dyn Connect>,
    /// For stamps.
    pub clock: Arc<dyn Clock>,
    /// The cluster.
    pub cluster: ClusterId,
    /// This process.
    pub owner: Owner,
    /// Where segments go that ended. Without it their entries cannot be read once log-nodes dropped them.
    pub objects: Option<LogStore>,
}

/// The quorum log, seen from one process.
pub struct QuorumWal {
    options: Options,
    cluster: ClusterId,
    owner: Owner,
    registry: Registry,
    network: Network,
    clock: Arc<dyn Clock>,
    objects: Option<LogStore>,
    /// Lists of segments that this process has written: no two share a name.
    lists: AtomicU64,
    began: Instant,
    writers: Mutex<BTreeMap<ChannelId, Weak<Shared>>>,
    follower: AbortHandle,
}

impl std::fmt::Debug for QuorumWal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuorumWal")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Drop for QuorumWal {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl QuorumWal {
    /// Begins to follow the metadata. Nothing is written.
    ///
    /// # Errors
    /// [`WalError::Options`]; [`WalError::Broken`] when the metadata is damaged or does not answer.
    pub async fn open(options: Options, components: Components) -> Result<Self, WalError> {
        options.validate().map_err(|problem| WalError::Options {
            field: "quorum",
            problem,
        })?;
        let registry = Registry::new(components.meta);
        let (nodes, _) = registry.nodes().await.map_err(broken)?;
        let (seen, nodes) = watch::channel(nodes);
        let follower = tokio::spawn(registry.clone().follow_nodes(seen)).abort_handle();
        Ok(Self {
            options,
            cluster: components.cluster,
            owner: components.owner,
            registry,
            network: Network {
                connect: components.connect,
                nodes,
            },
            clock: components.clock,
            objects: components.objects,
            lists: AtomicU64::new(0),
            began: Instant::now(),
            writers: Mutex::default(),
            follower,
        })
    }

    fn local(&self, channel: ChannelId) -> Option<Arc<Shared>> {
        let found = self.writers.lock().get(&channel)?.upgrade()?;
        (!found.is_down()).then_some(found)
    }

    async fn view(&self, channel: ChannelId) -> Result<LogView, WalError> {
        self.registry.view(channel).await.map_err(broken)
    }

    /// How far the last segment is committed. Exact when all holders answer: what enough of them hold is committed, whether
    /// or not the writer said so. Of fewer answers, what they are sure of: everything acknowledged is found only by the
    /// next recovery then.
    async fn ask_committed(
        &self,
        channel: ChannelId,
        segment: LogSegment,
        descriptor: &SegmentDescriptor,
    ) -> Lsn {
        let holders = &descriptor.copies.holders;
        let (events, mut incoming) = mpsc::channel(16);
        let mut peers = Peers::new(self.network.clone(), events);
        let read = Read {
            log: channel,
            segment,
            from: descriptor.first,
            visibility: Visibility::Committed,
            bytes_max: 0,
        };
        for holder in holders {
            for ask in [Ask::Read(read), Ask::Inspect(vec![channel])] {
                let request = Request {
                    cluster: self.cluster,
                    storage: Some(holder.storage),
                    sender: self.owner.clone(),
                    ask,
                };
                peers.send(&holder.node, request);
            }
        }
        let mut committed = descriptor.before();
        let mut lens: BTreeMap<usize, Lsn> = BTreeMap::new();
        let answered = async {
            while lens.len() < holders.len() {
                let Some(event) = incoming.recv().await else {
                    return;
                };
                let FromPeer::Reply { reply, .. } = event else {
                    continue;
                };
                let Some(which) = holders.iter().position(|h| h.storage == reply.storage) else {
                    continue;
                };
                match reply.answer {
                    Answer::Entries(entries) => committed = committed.max(entries.committed),
                    Answer::Inspected(logs) => {
                        let held = logs.iter().flat_map(|log| &log.segments);
                        let held = held.filter(|held| held.segment == segment);
                        let len = held.map(|held| held.len_certain).max();
                        lens.insert(which, len.unwrap_or(descriptor.before()));
                    }
                    _ => {}
                }
            }
        };
        // Whoever is silent is not waited for.
        let _waited = tokio::time::timeout(ASK_MAX, answered).await;
        let enough = |upto: Lsn| {
            let holds = lens.iter().filter(|(_, len)| **len >= upto);
            descriptor.copies.suffice(holds.map(|(which, _)| *which))
        };
        let held = lens.values().copied().filter(|len| enough(*len)).max();
        committed.max(held.unwrap_or(committed))
    }

    /// Lets go of the beginning of the list of older segments, when that is a good part of it. `None` when it is not.
    async fn shorten(
        &self,
        channel: ChannelId,
        view: &LogView,
        upto: Lsn,
    ) -> Result<Option<MetaTxn>, WalError> {
        let (Some(folded), Some(objects)) = (&view.folded, &self.objects) else {
            return Ok(None);
        };
        if folded.end <= upto {
            // All of it goes with what follows it.
            return Ok(None);
        }
        let unavailable = |error: LogStoreError| WalError::Unavailable {
            problem: error.to_string(),
        };
        let read = objects.read_list(channel, &folded.manifest).await;
        let list = read.map_err(unavailable)?;
        let ended = list.segments.iter();
        let ended: Vec<_> = ended
            .take_while(|(_, d)| d.end().is_some_and(|end| end <= upto))
            .collect();
        let few = ended.len() < LIST_STEP_MAX;
        if few && ended.len() * 4 < list.segments.len() {
            return Ok(None);
        }
        let Some(shorter) = ended.last().and_then(|(last, _)| shorten(&list, **last)) else {
            return Ok(None);
        };
        let attempt = self.lists.fetch_add(1, Ordering::Relaxed);
        let by = (&self.owner, attempt);
        let put = objects.put_list(channel, &shorter, Some(&folded.manifest), by);
        let new = put.await.map_err(unavailable)?;
        Ok(new.and_then(|new| replace(channel, folded, &new)))
    }

    /// Tells the holders of segments that they are needed no more. Nobody waits: what is lost is told again by the next trim.
    fn tell_trimmed(&self, channel: ChannelId, segments: &[(LogSegment, SegmentDescriptor)]) {
        let Some(through) = segments.iter().map(|(segment, _)| *segment).max() else {
            return;
        };
        let (events, mut incoming) = mpsc::channel(16);
        let mut peers = Peers::new(self.network.clone(), events);
        let mut told = BTreeMap::new();
        for (_, descriptor) in segments {
            for holder in &descriptor.copies.holders {
                told.insert(holder.node.clone(), holder.storage);
            }
        }
        let mut waiting = told.len();
        for (node, storage) in told {
            let request = Request {
                cluster: self.cluster,
                storage: Some(storage),
                sender: self.owner.clone(),
                ask: Ask::Trim {
                    log: channel,
                    through,
                },
            };
            peers.send(&node, request);
        }
        tokio::spawn(async move {
            let answered = async {
                while waiting > 0 {
                    match incoming.recv().await {
                        Some(FromPeer::Reply { reply, .. }) => match reply.answer {
                            Answer::Trimmed { .. } | Answer::Rejected { .. } => waiting -= 1,
                            _ => {}
                        },
                        Some(FromPeer::Broken { .. }) => waiting -= 1,
                        None => return,
                    }
                }
            };
            let _told = tokio::time::timeout(ASK_MAX, answered).await;
            drop(peers);
        });
    }
}

fn unanswered() -> WalError {
    WalError::Unavailable {
        problem: "the metadata store does not answer".to_owned(),
    }
}

fn broken(error: RegistryError) -> WalError {
    match error {
        RegistryError::Bad(bad) => WalError::Broken {
            problem: bad.to_string(),
        },
        RegistryError::Store(error) => WalError::Unavailable {
            problem: format!("the metadata store: {error}"),
        },
    }
}

#[async_trait]
impl Wal for QuorumWal {
    async fn open_writer(
        &self,
        channel: ChannelId,
        epoch: Epoch,
    ) -> Result<(Box<dyn WalWriter>, Lsn), WalError> {
        let recovery = Recovery {
            log: channel,
            epoch,
            owner: self.owner.clone(),
            cluster: self.cluster,
            options: &self.options,
            registry: &self.registry,
            network: &self.network,
            clock: &self.clock,
            began: self.began,
        };
        let opened = recovery.run().await?;
        if let Some(older) = self.local(channel) {
            older.overtaken(opened.head.epoch);
        }
        let last = opened.descriptor.before();
        let parts = Parts {
            log: channel,
            cluster: self.cluster,
            owner: self.owner.clone(),
            options: self.options.clone(),
            registry: self.registry.clone(),
            network: self.network.clone(),
            clock: Arc::clone(&self.clock),
            began: self.began,
        };
        let writer = parts.start(opened);
        self.writers.lock().insert(channel, writer.shared());
        Ok((Box::new(writer), last))
    }

    async fn tail(&self, channel: ChannelId, from: Lsn) -> Result<TailStream, WalError> {
        let from = from.max(Lsn(1));
        let view = self.view(channel).await?;
        let first = match view.folded {
            // The list says it, and the reader reads that.
            Some(_) => Lsn(1),
            None => view.segments.values().next().map_or(Lsn(1), |d| d.first),
        };
        if from < first {
            return Err(WalError::Trimmed { first });
        }
        let last = self.committed(channel).await?;
        if from > last.next() {
            return Err(WalError::BeyondEnd { from, last });
        }
        Ok(tail::follow(Following {
            log: channel,
            from,
            cluster: self.cluster,
            owner: self.owner.clone(),
            options: self.options.clone(),
            registry: self.registry.clone(),
            network: self.network.clone(),
            objects: self.objects.clone(),
            began: self.began,
            committed: self.local(channel).map(|writer| writer.committed()),
        }))
    }

    async fn committed(&self, channel: ChannelId) -> Result<Lsn, WalError> {
        if let Some(writer) = self.local(channel) {
            return Ok(*writer.committed().borrow());
        }
        let view = self.view(channel).await?;
        let Some((segment, descriptor)) = view.last() else {
            return Ok(Lsn(0));
        };
        Ok(match &descriptor.state {
            SegmentState::Open => self.ask_committed(channel, segment, descriptor).await,
            SegmentState::Sealed { end } | SegmentState::Tiered { end, .. } => *end,
        })
    }

    async fn trim(&self, channel: ChannelId, upto: Lsn) -> Result<(), WalError> {
        loop {
            let view = self.view(channel).await?;
            if let Some(txn) = self.shorten(channel, &view, upto).await? {
                match self.registry.txn(&txn).await {
                    // Done, or somebody else changed it: look again.
                    TxnOutcome::Applied | TxnOutcome::Refused => continue,
                    TxnOutcome::Unknown => return Err(unanswered()),
                }
            }
            let ended: Vec<(LogSegment, SegmentDescriptor)> = view
                .segments
                .iter()
                .take_while(|(_, descriptor)| descriptor.end().is_some_and(|end| end <= upto))
                .map(|(segment, descriptor)| (*segment, descriptor.clone()))
                .collect();
            // The newest segment that ended stays: it says where the log goes on, should the open one be lost.
            let Some((through, _)) = ended.last() else {
                return Ok(());
            };
            let Some(txn) = trim(channel, &view, *through) else {
                return Ok(());
            };
            match self.registry.txn(&txn).await {
                TxnOutcome::Applied => self.tell_trimmed(channel, &ended),
                // Somebody else changed the log: look again.
                TxnOutcome::Refused => {}
                TxnOutcome::Unknown => return Err(unanswered()),
            }
        }
    }
}
