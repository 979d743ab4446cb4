//! One watch that outlives its streams.
//!
//! A stream ends when its connection breaks, when its member finds no leader for three election timeouts (the
//! client asks for that), or when the member says nothing for a while although it is asked for its progress.
//! Then the next member continues where the last one ended.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use etcd_client::{WatchOptions, WatchStream as EtcdStream, proto::PbWatchResponse};
use futures::{StreamExt, stream};
use holdfast_meta::{Changes, MetaError, WatchStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    batches::Batches,
    fault::Fault,
    keyspace::{Keyspace, end_of, revision},
    members::{Chosen, Members, Pauses},
    metrics,
};

/// Largest response taken. etcd cuts responses at its request limit, 1.5 MiB unless it was raised.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// How often a silent member is asked within the silence it is allowed.
const QUESTIONS: u32 = 3;

/// What a watch shares with its store.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) members: Arc<Members>,
    pub(crate) keys: Keyspace,
    /// Raised when the store is dropped.
    pub(crate) closed: CancellationToken,
    /// Revision of the last change this store made.
    pub(crate) changed: Arc<AtomicU64>,
}

/// One watch.
pub(crate) struct Watcher {
    shared: Shared,
    prefix: Vec<u8>,
    batches: Batches,
    ready: VecDeque<Changes>,
    stream: Option<Open>,
    pauses: Pauses,
    /// Whether the rights were refused once; a login that ran out is told the same way.
    denied: bool,
    /// The store is closed: when this watch ends at the latest.
    ends: Option<Instant>,
}

struct Open {
    member: Chosen,
    stream: EtcdStream,
    questions: u32,
}

impl Watcher {
    /// Everything under `prefix` after a revision.
    pub(crate) fn stream(shared: Shared, prefix: &str, after: u64) -> WatchStream {
        let watcher = Self {
            prefix: shared.keys.full(prefix),
            pauses: shared.members.pauses(),
            shared,
            batches: Batches::new(after),
            ready: VecDeque::new(),
            stream: None,
            denied: false,
            ends: None,
        };
        stream::unfold(Some(watcher), |watcher| async {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(Some(changes)) => Some((Ok(changes), Some(watcher))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Changes>, MetaError> {
        let closed = self.shared.closed.clone();
        loop {
            if let Some(changes) = self.ready.pop_front() {
                return Ok(Some(changes));
            }
            if closed.is_cancelled() {
                // What the store itself did is still told. Whether some of it lies under this prefix is not
                // known, hence the bound.
                let patience = self.shared.members.options().read_timeout;
                self.ends.get_or_insert(Instant::now() + patience);
                if self.batches.after() >= self.shared.changed.load(Ordering::SeqCst) {
                    return Ok(None);
                }
            }
            let ends = self.ends;
            tokio::select! {
                step = self.step() => step?,
                () = closed.cancelled(), if ends.is_none() => {}
                () = sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {
                    return Ok(None);
                }
            }
        }
    }

    /// Opens a stream, or takes one message of it. Cancel safe.
    async fn step(&mut self) -> Result<(), MetaError> {
        let patience = self.shared.members.options().watch_silence_max / (QUESTIONS + 1);
        let Some(open) = &mut self.stream else {
            return self.open().await;
        };
        let problem = match timeout(patience, open.stream.message()).await {
            Ok(Ok(Some(response))) => {
                open.questions = 0;
                return self.take(response.0).await;
            }
            Ok(Ok(None)) => Fault::Unknown("the watch ended".to_owned()),
            Ok(Err(error)) => Fault::from(&error),
            Err(_) if open.questions < QUESTIONS => {
                open.questions += 1;
                // Any answer is a sign of life. The revision in it is not used: members before 3.4.25 and
                // 3.5.8 may answer ahead of events that came earlier.
                match open.stream.request_progress().await {
                    Ok(()) => return Ok(()),
                    Err(error) => Fault::from(&error),
                }
            }
            Err(_) => Fault::Unknown("the watch is silent".to_owned()),
        };
        self.broken(&problem).await;
        Ok(())
    }

    async fn open(&mut self) -> Result<(), MetaError> {
        let members = Arc::clone(&self.shared.members);
        let member = match members.choose().await {
            Ok(member) => member,
            Err(fault) if fault.is_passing() => {
                sleep(self.pauses.after_failure()).await;
                return Ok(());
            }
            Err(fault) => return Err(fault.into_meta(members.name())),
        };
        let options = WatchOptions::new()
            .with_range(end_of(&self.prefix))
            .with_start_revision(self.batches.begin())
            .with_progress_notify()
            .with_fragment();
        let mut client = member
            .client
            .watch_client()
            .max_decoding_message_size(RESPONSE_BYTES_MAX);
        let opened = timeout(
            members.options().read_timeout,
            client.watch(self.prefix.clone(), Some(options)),
        );
        let fault = match opened.await {
            Ok(Ok(stream)) => {
                metrics::watch_opened();
                self.stream = Some(Open {
                    member,
                    stream,
                    questions: 0,
                });
                return Ok(());
            }
            Ok(Err(error)) => Fault::from(&error),
            Err(_) => Fault::Unknown("opening a watch took too long".to_owned()),
        };
        if !fault.is_passing() {
            return Err(fault.into_meta(members.name()));
        }
        members.failed(member, &fault).await;
        sleep(self.pauses.after_failure()).await;
        Ok(())
    }

    async fn take(&mut self, response: PbWatchResponse) -> Result<(), MetaError> {
        if response.canceled {
            return self.cancelled(&response).await;
        }
        if response.created {
            self.denied = false;
            self.pauses = self.shared.members.pauses();
            if let Some(open) = &self.stream {
                self.shared.members.succeeded(&open.member);
            }
        } else if !response.events.is_empty() {
            let done = self
                .batches
                .take(&self.shared.keys, response.events, response.fragment)?;
            self.ready.extend(done);
        } else if response.watch_id >= 0 {
            // Sent by the watch itself, in order with its events; answers to questions have no watch.
            if let Some(header) = &response.header {
                self.batches.progress(revision(header.revision));
            }
        }
        Ok(())
    }

    async fn cancelled(&mut self, response: &PbWatchResponse) -> Result<(), MetaError> {
        if response.compact_revision > 0 {
            return Err(MetaError::Compacted {
                after: self.batches.after(),
                oldest: revision(response.compact_revision) + 1,
            });
        }
        let reason = &response.cancel_reason;
        if reason.contains("permission denied") {
            // Members before 3.5 say so, too, when the login ran out: log in again, once.
            if self.denied {
                return Err(MetaError::Denied {
                    what: self.shared.members.name().to_owned(),
                    problem: reason.clone(),
                });
            }
            self.denied = true;
        }
        self.broken(&Fault::Unknown(format!(
            "the watch was cancelled: {reason}"
        )))
        .await;
        Ok(())
    }

    async fn broken(&mut self, fault: &Fault) {
        if let Some(Open { member, .. }) = self.stream.take() {
            tracing::debug!(
                problem = fault.problem(),
                after = self.batches.after(),
                "a watch goes on at the next member"
            );
            self.shared.members.failed(member, fault).await;
        }
        sleep(self.pauses.after_failure()).await;
    }
}
