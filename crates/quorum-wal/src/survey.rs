//! What an operator asks about copies: what each log-node says it holds, and whether all copies of a segment are the same.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_proto::{
    internal::log_node::{StatusReply, StatusRequest, log_node_client::LogNodeClient},
    log_node::inspected_from_wire,
};
use holdfast_qlog::{
    CopyHolder, Entry,
    messages::{Answer, Ask, ClusterId, Inspected, Owner, Read, Request, Visibility},
    meta::{NodeRegistration, SegmentDescriptor},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};
use tokio::sync::{mpsc, watch};

use crate::{
    connect::Connect,
    peers::{FromPeer, Network, Peers},
    registry::Nodes,
};

/// How long a log-node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// About the most bytes of one answer.
const ANSWER_BYTES: usize = 1 << 20;

/// What a log-node says of itself.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// Its own words.
    pub status: StatusReply,
    /// What it holds, by log.
    pub logs: BTreeMap<ChannelId, Inspected>,
}

/// One copy of one segment, read from its first entry to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// All entries are there and intact. Copies with the same digest hold the same.
    Intact {
        /// CRC-32C over all entries' checksums, in order.
        digest: u32,
        /// How many.
        entries: u64,
    },
    /// It ends before the segment does.
    Short {
        /// The last entry it has.
        last: Lsn,
    },
    /// It cannot be read.
    Bad {
        /// Why.
        problem: String,
    },
}

/// Asks a log-node what it holds.
///
/// # Errors
/// A sentence: it does not answer, or answers something else.
pub async fn ask_node(
    connect: &dyn Connect,
    node: &NodeRegistration,
) -> Result<NodeReport, String> {
    let channel = connect.channel(&node.address).map_err(|e| e.to_string())?;
    let mut client = LogNodeClient::new(channel);
    let asked = client.status(StatusRequest {});
    let answered = tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let status = answered.map_err(|e| e.message().to_owned())?.into_inner();
    let logs = status.logs.iter().cloned().map(inspected_from_wire);
    Ok(NodeReport {
        logs: logs.map(|log| (log.log, log)).collect(),
        status,
    })
}

/// Reads copies of segments that ended.
#[derive(Debug)]
pub struct Reader {
    network: Network,
    cluster: ClusterId,
    owner: Owner,
    /// Keeps the list of nodes open.
    _nodes: watch::Sender<Nodes>,
}

impl Reader {
    /// Of a cluster whose log-nodes are these.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, nodes: Nodes, cluster: ClusterId, owner: Owner) -> Self {
        let (sender, nodes) = watch::channel(nodes);
        Self {
            network: Network { connect, nodes },
            cluster,
            owner,
            _nodes: sender,
        }
    }

    /// Some entries of a copy, from the one at `from` on, as they come.
    ///
    /// # Errors
    /// A sentence: the node does not answer, or refuses.
    pub async fn entries(
        &self,
        log: ChannelId,
        segment: LogSegment,
        from: Lsn,
        holder: &CopyHolder,
    ) -> Result<Vec<Entry>, String> {
        let (mut peers, mut incoming) = self.peers();
        self.ask(&mut peers, log, segment, from, holder);
        answer(&mut incoming).await
    }

    fn peers(&self) -> (Peers, mpsc::Receiver<FromPeer>) {
        let (events, incoming) = mpsc::channel(16);
        (Peers::new(self.network.clone(), events), incoming)
    }

    fn ask(
        &self,
        peers: &mut Peers,
        log: ChannelId,
        segment: LogSegment,
        from: Lsn,
        holder: &CopyHolder,
    ) {
        let read = Read {
            log,
            segment,
            from,
            visibility: Visibility::Durable,
            bytes_max: ANSWER_BYTES,
        };
        let request = Request {
            cluster: self.cluster,
            storage: Some(holder.storage),
            sender: self.owner.clone(),
            ask: Ask::Read(read),
        };
        peers.send(&holder.node, request);
    }

    /// Reads one copy, every entry against its checksum.
    pub async fn read(
        &self,
        log: ChannelId,
        segment: LogSegment,
        descriptor: &SegmentDescriptor,
        end: Lsn,
        holder: &CopyHolder,
    ) -> Copy {
        let (mut peers, mut incoming) = self.peers();
        let (mut digest, mut count, mut next) = (0, 0, descriptor.first);
        while next <= end {
            self.ask(&mut peers, log, segment, next, holder);
            let entries = match answer(&mut incoming).await {
                Ok(entries) => entries,
                Err(problem) => return Copy::Bad { problem },
            };
            let before = next;
            for entry in entries.iter().filter(|entry| entry.lsn <= end) {
                if entry.lsn != next || !entry.is_intact(log) {
                    let problem = format!("entry {next} is missing or damaged");
                    return Copy::Bad { problem };
                }
                digest = crc32c::crc32c_append(digest, &entry.checksum.to_le_bytes());
                count += 1;
                next = next.next();
            }
            if next == before {
                return Copy::Short {
                    last: Lsn(next.0 - 1),
                };
            }
        }
        Copy::Intact {
            digest,
            entries: count,
        }
    }
}

/// The entries of the next answer to a read.
async fn answer(incoming: &mut mpsc::Receiver<FromPeer>) -> Result<Vec<Entry>, String> {
    let answered = async {
        loop {
            match incoming.recv().await {
                Some(FromPeer::Reply { reply, .. }) => match reply.answer {
                    Answer::Entries(entries) => return Ok(entries.entries),
                    Answer::Rejected { why, .. } => return Err(why.to_string()),
                    _ => {}
                },
                Some(FromPeer::Broken { .. }) | None => {
                    return Err("the log-node does not answer".to_owned());
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}
