//! The wire: sessions of peers, and questions of operators.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use holdfast_proto::{
    internal::log_node::{self as pb, log_node_server},
    log_node::{inspected_to_wire, reply_to_wire, request_from_wire},
};
use holdfast_qlog::{
    Zone,
    messages::{Ask, Inspected, SegmentLen},
    node::Room,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Response, Status, Streaming, transport::Server};

use crate::core::{LogNode, NodeStatus, Session, Stopped};

/// Largest message taken: the largest record, and what is around it.
const MESSAGE_BYTES_MAX: usize = 272 << 20;

/// Bytes of one HTTP/2 stream and of one connection that may be under way without being read.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes of one frame that a peer may send. The protocol's least, 16 KiB, would cut a message of a writer into sixty.
const FRAME: u32 = 1 << 20;
/// A connection that is silent for this long is asked for a sign of life, and ended after as long again.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The settings of every server of a log-node.
#[must_use]
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}

/// The service of a log-node.
#[derive(Clone, Debug)]
pub struct Service {
    node: LogNode,
    zone: Zone,
    device: Arc<dyn crate::device::Device>,
}

impl Service {
    /// Of this node.
    #[must_use]
    pub fn new(node: LogNode, zone: Zone, device: Arc<dyn crate::device::Device>) -> Self {
        Self { node, zone, device }
    }

    /// As something that a tonic server serves.
    #[must_use]
    pub fn into_server(self) -> log_node_server::LogNodeServer<Self> {
        log_node_server::LogNodeServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        Self::unavailable(stopped.to_string())
    }
}

#[tonic::async_trait]
impl log_node_server::LogNode for Service {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::Reply, Status>> + Send>>;

    async fn session(
        &self,
        request: tonic::Request<Streaming<pb::Request>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (session, answers) = self.node.join().await?;
        let (failed, failure) = mpsc::channel::<Status>(1);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            if let Err(status) = read_requests(request.into_inner(), session).await {
                drop(failed.send(status).await);
            }
        });
        let answers = ReceiverStream::new(answers).map(|reply| Ok(reply_to_wire(&reply)));
        let failures = ReceiverStream::new(failure).map(Err);
        let replies = answers.merge(failures).map(move |reply| {
            // Whoever no longer takes answers is no longer listened to: the task ends with this stream.
            let _owned = &reading;
            reply
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn status(
        &self,
        _request: tonic::Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusReply>, Status> {
        let status = self.node.status().await?;
        let space = self.device.space();
        let space =
            space.map_err(|e| Status::internal(format!("the disk cannot be asked: {e}")))?;
        let logs = inspected(&status);
        let NodeStatus {
            options,
            room,
            read_only,
            ..
        } = status;
        let state = match (read_only, room) {
            (true, _) => pb::NodeState::ReadOnly,
            (false, Room::Full) => pb::NodeState::Full,
            (false, Room::Enough | Room::Little) => pb::NodeState::ReadWrite,
        };
        Ok(Response::new(pb::StatusReply {
            node: options.node.to_string(),
            zone: self.zone.0.to_string(),
            cluster: options.cluster.0.to_vec().into(),
            storage: options.storage.0.to_vec().into(),
            generation: options.generation,
            state: state.into(),
            disk_bytes: space.total,
            disk_free_bytes: space.free,
            logs: logs.iter().map(inspected_to_wire).collect(),
        }))
    }
}

/// Gives a session's requests to the node until the peer is done, or gone: a connection that is silent is ended by the
/// server's signs of life.
async fn read_requests(
    mut requests: Streaming<pb::Request>,
    session: Session,
) -> Result<(), Status> {
    let mut greeted = false;
    while let Ok(Some(request)) = requests.message().await {
        let request = request_from_wire(request)
            .map_err(|e| Status::invalid_argument(format!("malformed request: {e}")))?;
        greeted |= matches!(request.ask, Ask::Hello { .. });
        if !greeted {
            return Err(Status::failed_precondition("a session begins with a hello"));
        }
        session.request(request).await?;
    }
    Ok(())
}

fn inspected(status: &NodeStatus) -> Vec<Inspected> {
    status
        .image
        .logs
        .iter()
        .map(|(log, image)| Inspected {
            log: *log,
            promise: image.promise,
            heard: None,
            segments: image
                .segments
                .iter()
                .map(|(segment, held)| SegmentLen {
                    segment: *segment,
                    first: held.first,
                    len_certain: held.certain,
                    len_possible: held.possible,
                    end: held.end,
                })
                .collect(),
        })
        .collect()
}
