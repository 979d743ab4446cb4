//! Following a log: the reader's state machine behind a stream.

use futures::stream;
use holdfast_log_store::{LogStore, LogStoreError, StoredSegment};
use holdfast_qlog::{
    Entry,
    fold::SegmentList,
    messages::{ClusterId, Owner},
    meta::ManifestRef,
    reader::{Reader, ReaderAction, ReaderEvent, ReaderOptions},
};
use holdfast_types::{ChannelId, Lsn};
use holdfast_wal::{TailStream, WalEntry, WalError};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    options::Options,
    peers::{FromPeer, Network, Peers},
    registry::{Registry, RegistryError},
};

/// Entries that wait to be taken by the caller.
const AHEAD: usize = 256;
/// Answers that may wait to be taken in.
const QUEUE: usize = 64;
/// About the most bytes of one answer.
const ANSWER_BYTES: usize = 1 << 20;

/// What a reader needs.
pub(crate) struct Following {
    pub(crate) log: ChannelId,
    pub(crate) from: Lsn,
    pub(crate) cluster: ClusterId,
    pub(crate) owner: Owner,
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) network: Network,
    pub(crate) objects: Option<LogStore>,
    pub(crate) began: Instant,
    /// What a writer in this process has committed: a reader at the end is woken by it and need not ask in vain.
    pub(crate) committed: Option<watch::Receiver<Lsn>>,
}

/// Entries from `from` on.
pub(crate) fn follow(following: Following) -> TailStream {
    let (out, entries) = mpsc::channel(AHEAD);
    let task = tokio::spawn(run(following, out));
    let guard = Abort(task.abort_handle());
    Box::pin(stream::unfold(
        (entries, guard),
        |(mut entries, guard)| async move {
            let next = entries.recv().await?;
            Some((next, (entries, guard)))
        },
    ))
}

struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(following: Following, out: mpsc::Sender<Result<WalEntry, WalError>>) {
    if let Err(error) = deliver(following, &out).await {
        drop(out.send(Err(error)).await);
    }
}

/// Runs until the caller goes away.
async fn deliver(
    mut following: Following,
    out: &mpsc::Sender<Result<WalEntry, WalError>>,
) -> Result<(), WalError> {
    let (events, mut incoming) = mpsc::channel(QUEUE);
    let mut peers = Peers::new(following.network.clone(), events);
    let mut reader = Reader::new(
        ReaderOptions {
            cluster: following.cluster,
            log: following.log,
            owner: following.owner.clone(),
            zone: None,
            bytes_max: ANSWER_BYTES,
            resend_after: following.options.resend_after,
            poll_every: following.options.poll_every,
        },
        following.from,
    );
    let mut stored = None;
    let mut failed_at = None;
    let mut event = ReaderEvent::Tick;
    loop {
        let mut next = None;
        for action in reader.step(event, following.began.elapsed()) {
            match action {
                ReaderAction::Send { to, request } => peers.send(&to, request),
                ReaderAction::ReadView => next = following.view().await?,
                ReaderAction::ReadStored {
                    manifest,
                    from,
                    through,
                } => {
                    let read = following.stored(&mut stored, &manifest, from, through);
                    let read = read.await.map(ReaderEvent::Stored);
                    next = following.read_or_look(read, &mut failed_at, from).await?;
                }
                ReaderAction::ReadList(manifest) => {
                    let read = following.list(&manifest).await;
                    let read = read.map(|list| ReaderEvent::Listed(manifest, list));
                    let from = reader.next();
                    next = following.read_or_look(read, &mut failed_at, from).await?;
                }
                ReaderAction::Deliver {
                    descriptor,
                    entries,
                    ..
                } => {
                    for entry in entries {
                        let entry = WalEntry {
                            lsn: entry.lsn,
                            epoch: descriptor.epoch,
                            payload: entry.payload,
                        };
                        if out.send(Ok(entry)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                ReaderAction::Trimmed { first } => {
                    let first = first.unwrap_or(reader.next());
                    return Err(WalError::Trimmed { first });
                }
            }
        }
        event = match next {
            Some(view) => view,
            None => {
                let wait = reader.wake_at().saturating_sub(following.began.elapsed());
                tokio::select! {
                    biased;
                    arrived = incoming.recv() => match arrived {
                        Some(FromPeer::Reply { from, reply }) => ReaderEvent::Reply { from, reply },
                        Some(FromPeer::Broken { .. }) | None => ReaderEvent::Tick,
                    },
                    () = out.closed() => return Ok(()),
                    () = following.more() => ReaderEvent::More,
                    () = tokio::time::sleep(wait.max(std::time::Duration::from_millis(1))) => ReaderEvent::Tick,
                }
            }
        };
    }
}

impl Following {
    /// Resolves when the writer in this process has committed more; never where there is none.
    async fn more(&mut self) {
        if let Some(committed) = &mut self.committed {
            if committed.changed().await.is_ok() {
                return;
            }
            // The writer is gone; the reader goes on by itself.
            self.committed = None;
        }
        std::future::pending::<()>().await;
    }

    /// Entries from object storage, through the segment that was read last if it is still the same.
    async fn stored(
        &self,
        open: &mut Option<StoredSegment>,
        manifest: &ManifestRef,
        from: Lsn,
        through: Lsn,
    ) -> Result<Vec<Entry>, LogStoreError> {
        let objects = self.objects(manifest)?;
        let segment = match open.take().filter(|segment| segment.is(manifest)) {
            Some(segment) => open.insert(segment),
            None => open.insert(objects.open_segment(self.log, manifest).await?),
        };
        let entries = segment.read(from).await?;
        if segment.last() != through || entries.is_empty() {
            return Err(LogStoreError::Damaged {
                key: manifest.key.to_string(),
                problem: "it does not hold what the metadata says".to_owned(),
            });
        }
        Ok(entries)
    }

    /// The list of segments without keys.
    async fn list(&self, manifest: &ManifestRef) -> Result<SegmentList, LogStoreError> {
        self.objects(manifest)?.read_list(self.log, manifest).await
    }

    fn objects(&self, manifest: &ManifestRef) -> Result<&LogStore, LogStoreError> {
        self.objects.as_ref().ok_or_else(|| LogStoreError::Damaged {
            key: manifest.key.to_string(),
            problem: "this process was given no object storage to read it from".to_owned(),
        })
    }

    /// What was read; or, when objects are not what they should be, another look at the metadata: they may have been trimmed.
    /// The second time at the same entry it is an error.
    async fn read_or_look(
        &mut self,
        read: Result<ReaderEvent, LogStoreError>,
        failed_at: &mut Option<Lsn>,
        from: Lsn,
    ) -> Result<Option<ReaderEvent>, WalError> {
        match read {
            Ok(event) => Ok(Some(event)),
            // It may be back when the reader asks again.
            Err(error @ LogStoreError::Unavailable { .. }) => {
                tracing::warn!(log = %self.log, %error, "entries of a log cannot be read");
                Ok(None)
            }
            Err(error) if failed_at.replace(from) == Some(from) => Err(WalError::Broken {
                problem: format!("log {}, entry {from}: {error}", self.log),
            }),
            Err(_) => self.view().await,
        }
    }

    /// The view, or nothing when the store does not answer: the reader asks again.
    async fn view(&mut self) -> Result<Option<ReaderEvent>, WalError> {
        match self.registry.view(self.log).await {
            Ok(view) => Ok(Some(ReaderEvent::View(view))),
            Err(RegistryError::Bad(bad)) => Err(WalError::Broken {
                problem: bad.to_string(),
            }),
            Err(RegistryError::Store(error)) => {
                tracing::warn!(log = %self.log, %error, "the metadata of a log cannot be read");
                Ok(None)
            }
        }
    }
}
