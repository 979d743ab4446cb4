//! Sessions with log-nodes: one bidirectional stream a node, opened when it is first needed and again after it broke.
//!
//! Messages may get lost with a session; the state machines send again what is not answered, so nothing here retries.

use std::{
    collections::{BTreeMap, HashSet},
    mem::{Discriminant, discriminant},
    sync::Arc,
    time::Duration,
};

use holdfast_proto::{
    internal::log_node::{self as pb, log_node_client::LogNodeClient},
    log_node::{reply_from_wire, request_to_wire},
};
use holdfast_qlog::messages::{Answer, Ask, PROTOCOL, Reject, Reply, Request};
use holdfast_types::ChannelId;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{connect::Connect, registry::Nodes};

/// Requests that may wait for a session; more are dropped, as a lossy network would.
const QUEUE: usize = 8192;
/// Time between attempts to reach a node.
const AGAIN: Duration = Duration::from_millis(50);
/// Largest message taken: one record of the largest size, and what is around it.
const MESSAGE_BYTES_MAX: usize = holdfast_wal::wal::MAX_RECORD_BYTES + (16 << 20);

/// What comes from log-nodes.
#[derive(Debug)]
pub(crate) enum FromPeer {
    /// An answer.
    Reply {
        /// The node's name.
        from: Arc<str>,
        /// What it says.
        reply: Reply,
    },
    /// The session broke.
    Broken {
        /// The node's name.
        node: Arc<str>,
    },
}

/// How sessions are made.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) nodes: watch::Receiver<Nodes>,
}

/// The sessions of one state machine.
#[derive(Debug)]
pub(crate) struct Peers {
    network: Network,
    events: mpsc::Sender<FromPeer>,
    sessions: BTreeMap<Arc<str>, Session>,
}

#[derive(Debug)]
struct Session {
    requests: mpsc::Sender<Request>,
    task: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peers {
    /// No sessions yet. What comes arrives at `events`.
    pub(crate) fn new(network: Network, events: mpsc::Sender<FromPeer>) -> Self {
        Self {
            network,
            events,
            sessions: BTreeMap::new(),
        }
    }

    /// Sends, now or not at all. Never waits.
    pub(crate) fn send(&mut self, to: &Arc<str>, request: Request) {
        let session = self.sessions.entry(Arc::clone(to)).or_insert_with(|| {
            let (requests, queue) = mpsc::channel(QUEUE);
            let task = tokio::spawn(run(
                Arc::clone(to),
                self.network.clone(),
                queue,
                self.events.clone(),
            ));
            Session {
                requests,
                task: task.abort_handle(),
            }
        });
        if session.requests.try_send(request).is_err() {
            metrics::counter!("holdfast_quorum_wal_requests_dropped").increment(1);
        }
    }
}

/// One node's sessions, one after the other, until nobody sends any more.
async fn run(
    node: Arc<str>,
    network: Network,
    mut queue: mpsc::Receiver<Request>,
    events: mpsc::Sender<FromPeer>,
) {
    loop {
        // What was meant for a broken session is sent again by whoever waits for an answer.
        let Some(first) = queue.recv().await else {
            return;
        };
        let ended = session(&node, &network, first, &mut queue, &events).await;
        if let Err(error) = ended {
            tracing::debug!(%node, error, "a session with a log-node ended");
        }
        let broken = FromPeer::Broken {
            node: Arc::clone(&node),
        };
        if events.send(broken).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
        while queue.try_recv().is_ok() {}
    }
}

/// One session. Ends with what went wrong.
async fn session(
    node: &Arc<str>,
    network: &Network,
    first: Request,
    queue: &mut mpsc::Receiver<Request>,
    events: &mpsc::Sender<FromPeer>,
) -> Result<(), String> {
    let address = network.nodes.borrow().address(node).map(str::to_owned);
    let address = address.ok_or("the node is not registered")?;
    let channel = network
        .connect
        .channel(&address)
        .map_err(|e| format!("{address}: {e}"))?;
    let mut client = LogNodeClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (outgoing, stream) = mpsc::channel::<pb::Request>(64);
    let hello = Request {
        ask: Ask::Hello { protocol: PROTOCOL },
        ..first.clone()
    };
    for request in [hello, first] {
        // There is room: nothing was sent yet.
        drop(outgoing.try_send(request_to_wire(&request)));
    }
    let answered = client
        .session(ReceiverStream::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let mut replies = answered.into_inner();
    let sending = async {
        while let Some(request) = queue.recv().await {
            if outgoing.send(request_to_wire(&request)).await.is_err() {
                return Err("the node closed the session".to_owned());
            }
        }
        Ok(())
    };
    let receiving = async {
        let mut noted = HashSet::new();
        loop {
            let reply = match replies.message().await {
                Ok(Some(reply)) => reply,
                Ok(None) => return Err("the node ended the session".to_owned()),
                Err(error) => return Err(error.to_string()),
            };
            let reply = reply_from_wire(reply).map_err(|e| format!("a malformed reply: {e}"))?;
            note(node, &reply, &mut noted);
            let reply = FromPeer::Reply {
                from: Arc::clone(node),
                reply,
            };
            if events.send(reply).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        // Answers first: there are no more of them than requests, so that requests have their turn.
        biased;
        ended = receiving => ended,
        ended = sending => ended,
    }
}

/// Logs what only an operator can mend, once a session: each of many messages under way is refused alike.
fn note(node: &str, reply: &Reply, noted: &mut HashSet<(ChannelId, Discriminant<Reject>)>) {
    if let Answer::Rejected { log, why, .. } = &reply.answer {
        if !noted.insert((*log, discriminant(why))) {
            return;
        }
        match why {
            Reject::Cluster | Reject::Protocol { .. } => {
                tracing::error!(node, %log, %why, "a log-node refuses this process");
            }
            Reject::Forgotten { .. } => {
                tracing::error!(node, %log, %why, "a log-node lost what it acknowledged");
            }
            Reject::ReadOnly | Reject::Storage { .. } | Reject::Damaged | Reject::Rotten { .. } => {
                tracing::warn!(node, %log, %why, "a log-node refuses a request");
            }
            Reject::Fenced { .. }
            | Reject::Behind { .. }
            | Reject::Busy
            | Reject::Full
            | Reject::Unknown
            | Reject::Ended { .. }
            | Reject::Trimmed { .. } => {
                tracing::debug!(node, %log, %why, "a log-node refuses a request");
            }
        }
    }
}
