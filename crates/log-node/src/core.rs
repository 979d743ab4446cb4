//! The one task that owns the state machine: everything that happens to the node passes through its queue.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use holdfast_journal::{AppendError, ReadError};
use holdfast_qlog::{
    Entry, NodeImage,
    messages::{Answer, Entries, Read, Reject, Reply, Request},
    node::{Caller, Node, NodeAction, NodeEvent, NodeOptions, Room, Ticket},
};
use holdfast_runtime::Shutdown;
use holdfast_types::{Epoch, Lsn};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use crate::{device::Device, options::Options};

/// Inputs that may wait for the task; sessions wait for room, and their peers with them.
const QUEUE: usize = 1024;
/// Answers that may wait for a session's peer to read them; one that reads slower loses its session.
pub(crate) const REPLIES: usize = 4096;

/// What the task takes in.
enum Input {
    Joined(Caller, mpsc::Sender<Reply>),
    Left(Caller),
    Request(Caller, Request),
    Status(oneshot::Sender<NodeStatus>),
}

/// A read that came back from the disk.
struct Done {
    caller: Caller,
    read: Read,
    through: Lsn,
    committed: Lsn,
    end: Option<Lsn>,
    result: Result<Vec<Entry>, ReadError>,
}

/// What the node is and holds.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its names.
    pub options: NodeOptions,
    /// What its disk has.
    pub image: NodeImage,
    /// How much room the disk has.
    pub room: Room,
    /// Its disk failed: it is only read.
    pub read_only: bool,
}

/// A running log-node. Clones are the same one.
#[derive(Clone, Debug)]
pub struct LogNode {
    inputs: mpsc::Sender<Input>,
    callers: Arc<AtomicU64>,
}

/// One peer's way in.
#[derive(Debug)]
pub struct Session {
    caller: Caller,
    inputs: mpsc::Sender<Input>,
}

/// The node's task has ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the log-node is stopping")]
pub struct Stopped;

impl LogNode {
    /// Starts the task. It ends at the shutdown, when what was given to the disk is there.
    #[must_use]
    pub fn start(
        options: &Options,
        node: NodeOptions,
        device: Arc<dyn Device>,
        shutdown: &Shutdown,
    ) -> Self {
        let (inputs, queue) = mpsc::channel(QUEUE);
        let task = Task {
            node: Node::open(node, device.image()),
            device,
            callers: BTreeMap::new(),
            writing: FuturesOrdered::new(),
            refused: false,
            room: Room::Enough,
            reading: JoinSet::new(),
            began: Instant::now(),
            options: options.clone(),
        };
        drop(shutdown.spawn(task.run(queue, shutdown.clone())));
        Self {
            inputs,
            callers: Arc::default(),
        }
    }

    /// Begins a session; its answers arrive at the receiver, which ends when the peer reads too slowly.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn join(&self) -> Result<(Session, mpsc::Receiver<Reply>), Stopped> {
        let caller = Caller(self.callers.fetch_add(1, Ordering::Relaxed));
        let (replies, answers) = mpsc::channel(REPLIES);
        let session = Session {
            caller,
            inputs: self.inputs.clone(),
        };
        let joined = Input::Joined(caller, replies);
        self.inputs.send(joined).await.map_err(|_| Stopped)?;
        Ok((session, answers))
    }

    /// What the node is and holds.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn status(&self) -> Result<NodeStatus, Stopped> {
        let (answer, status) = oneshot::channel();
        let asked = Input::Status(answer);
        self.inputs.send(asked).await.map_err(|_| Stopped)?;
        status.await.map_err(|_| Stopped)
    }
}

impl Session {
    /// Gives a request to the node. Waits while the node is behind.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn request(&self, request: Request) -> Result<(), Stopped> {
        let input = Input::Request(self.caller, request);
        self.inputs.send(input).await.map_err(|_| Stopped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (inputs, caller) = (self.inputs.clone(), self.caller);
        // Dropping cannot wait; the entry costs little until then.
        if inputs.try_send(Input::Left(caller)).is_err()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(async move { drop(inputs.send(Input::Left(caller)).await) }));
        }
    }
}

struct Task {
    node: Node,
    device: Arc<dyn Device>,
    callers: BTreeMap<Caller, mpsc::Sender<Reply>>,
    /// What the disk has been given, in order.
    writing: FuturesOrdered<BoxFuture<'static, (Ticket, Result<(), AppendError>)>>,
    /// The disk had no room for something that the state machine counts on. Nothing more is given to the disk until all that
    /// is under way is decided; then the state machine begins anew from what is durable.
    refused: bool,
    room: Room,
    /// Reads of the disk; they end with the task.
    reading: JoinSet<Done>,
    began: Instant,
    options: Options,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<Input>, shutdown: Shutdown) {
        let mut look = tokio::time::interval(self.options.room_every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.triggered() => break,
                Some((ticket, written)) = self.writing.next(), if !self.writing.is_empty() => {
                    self.written(ticket, written);
                }
                _ = look.tick() => self.look(),
                Some(read) = self.reading.join_next(), if !self.reading.is_empty() => match read {
                    Ok(done) => self.answer(done.caller, answer_of(done)),
                    // Whoever asked asks again.
                    Err(error) => tracing::error!(%error, "a read of the disk failed"),
                },
                input = queue.recv() => match input {
                    Some(input) => self.take(input),
                    None => break,
                },
            }
        }
        // What peers were not told of is decided all the same.
        while self.writing.next().await.is_some() {}
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Joined(caller, replies) => {
                self.callers.insert(caller, replies);
            }
            Input::Left(caller) => {
                self.callers.remove(&caller);
            }
            Input::Request(caller, request) => {
                if self.refused {
                    // Whoever asked asks again.
                    return;
                }
                self.step(NodeEvent::Request { caller, request });
            }
            Input::Status(answer) => {
                let status = NodeStatus {
                    options: self.node.options().clone(),
                    image: self.node.durable().clone(),
                    room: self.room,
                    read_only: self.node.is_read_only(),
                };
                drop(answer.send(status));
            }
        }
    }

    fn step(&mut self, event: NodeEvent) {
        for action in self.node.step(event, self.began.elapsed()) {
            match action {
                NodeAction::Persist { ticket, records } => {
                    let durable = self.device.submit(records);
                    self.writing
                        .push_back(Box::pin(async move { (ticket, durable.await) }));
                }
                NodeAction::Reply { to, reply } => self.reply(to, reply),
                NodeAction::Read {
                    to,
                    read,
                    through,
                    committed,
                    end,
                } => {
                    let reading = self.device.read(read);
                    self.reading.spawn(async move {
                        Done {
                            caller: to,
                            read,
                            through,
                            committed,
                            end,
                            result: reading.await,
                        }
                    });
                }
                // The journal lets go of what a trim names by itself.
                NodeAction::Forget { .. } => {}
            }
        }
    }

    fn written(&mut self, ticket: Ticket, written: Result<(), AppendError>) {
        match written {
            Ok(()) if !self.refused => self.step(NodeEvent::Persisted { through: ticket }),
            Ok(()) => {}
            Err(AppendError::Full(error)) => {
                tracing::warn!(%error, "the disk has no room for entries");
                self.refused = true;
            }
            // Refused because of what was refused before it.
            Err(AppendError::OutOfOrder(_)) if self.refused => {}
            Err(AppendError::Busy { queued }) => {
                tracing::warn!(queued, "the journal's queue is full");
                self.refused = true;
            }
            Err(error) => {
                tracing::error!(%error, "the journal failed: the node only answers reads from now on");
                self.step(NodeEvent::PersistFailed);
            }
        }
        if self.refused && self.writing.is_empty() {
            let options = self.node.options().clone();
            self.node = Node::open(options, self.device.image());
            self.refused = false;
            self.look();
        }
    }

    /// Looks how much room the disk has.
    fn look(&mut self) {
        let space = match self.device.space() {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, "the room on the disk cannot be told");
                return;
            }
        };
        metrics::gauge!("holdfast_log_node_disk_free_bytes").set(space.free as f64);
        metrics::gauge!("holdfast_log_node_pending_bytes").set(self.node.pending_bytes() as f64);
        let below = |percent: u8| space.free < space.total / 100 * u64::from(percent);
        let room = if below(self.options.full_percent) {
            Room::Full
        } else if below(self.options.little_percent) {
            Room::Little
        } else {
            Room::Enough
        };
        if room != self.room {
            tracing::info!(
                ?room,
                free = space.free,
                total = space.total,
                "room on the disk"
            );
            self.room = room;
        }
        self.step(NodeEvent::Room(room));
    }

    fn answer(&mut self, to: Caller, answer: Answer) {
        let reply = Reply {
            storage: self.node.options().storage,
            credits: self
                .options
                .pending_bytes_max
                .saturating_sub(self.node.pending_bytes()),
            answer,
        };
        self.reply(to, reply);
    }

    fn reply(&mut self, to: Caller, reply: Reply) {
        self.device.answered(&reply);
        let Some(replies) = self.callers.get(&to) else {
            return;
        };
        if replies.try_send(reply).is_err() {
            // It is gone, or reads too slowly: its session ends, and what it was not told it asks again.
            self.callers.remove(&to);
        }
    }
}

fn answer_of(done: Done) -> Answer {
    let Done {
        caller: _,
        read,
        through,
        committed,
        end,
        result,
    } = done;
    let rejected = |why| Answer::Rejected {
        log: read.log,
        segment: read.segment,
        epoch: Epoch(0),
        why,
    };
    match result {
        Ok(mut entries) => {
            entries.retain(|entry| entry.lsn <= through);
            Answer::Entries(Entries {
                log: read.log,
                segment: read.segment,
                entries,
                committed,
                end,
            })
        }
        Err(ReadError::UnknownSegment { .. } | ReadError::BeforeFirst { .. }) => {
            rejected(Reject::Unknown)
        }
        Err(error @ ReadError::Damaged { lsn, .. }) => {
            tracing::error!(%error, "an entry is damaged on this disk");
            rejected(Reject::Rotten { lsn })
        }
        Err(error @ ReadError::Io { .. }) => {
            tracing::error!(%error, "the disk cannot be read");
            rejected(Reject::Rotten { lsn: read.from })
        }
    }
}
