//! The one writer of a log: numbers entries, sends them to all holders, acknowledges what enough of them hold.
//!
//! It writes one segment, or two while it moves from one to the next (a *roll*: the segment is large or old, or one of
//! its nodes is slow or dead). During a roll every entry beyond the old segment's end goes to both, and from the moment
//! the transaction is sent until its outcome is known an entry counts as committed only when it is committed in both:
//! whichever way the transaction went, a recoverer finds it. So a roll stops neither appends nor reads, not even
//! when the metadata store stops answering in the middle of it.

mod dedup;
mod machine;
mod roll;
mod send;
mod target;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::{
    entry::RequestId,
    messages::{ClusterId, Owner, Reply, Request},
    meta::{LogHead, LogView, MetaTxn, NodeRegistration, SegmentDescriptor, TxnOutcome},
};

pub use dedup::DedupWindow;
pub use machine::Writer;

/// A writer's names and bounds.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// The log.
    pub log: ChannelId,
    /// This process.
    pub owner: Owner,
    /// No entry is taken while those that are not committed have so many bytes: one goes beyond at most.
    pub window_bytes: usize,
    /// Most entries that are not committed.
    pub window_entries: usize,
    /// About the most bytes of one append message.
    pub batch_bytes: usize,
    /// A segment of this size is followed by another.
    pub segment_bytes: u64,
    /// A segment that is not empty and of this age is followed by another.
    pub segment_age: Duration,
    /// Time between signs of life.
    pub beat_every: Duration,
    /// Time after which entries without an answer are sent again.
    pub resend_after: Duration,
    /// A node that lags by more bytes than this is left behind by a roll.
    pub lag_bytes_max: u64,
    /// A node that lags, or does not answer, for longer than this is left behind by a roll.
    pub lag_time_max: Duration,
    /// Shortest time between two rolls away from nodes.
    pub roll_pause: Duration,
    /// Requests that are remembered for recognising repeated ones.
    pub dedup_requests_max: usize,
    /// Copies of a new segment.
    pub copies: crate::place::CopyRule,
}

/// What happens to a writer.
#[derive(Clone, Debug)]
pub enum WriterEvent {
    /// A client's entry.
    Append(AppendRequest),
    /// Is this still the writer? Answered by [`WriterAction::Confirmed`].
    Confirm {
        /// Given back.
        token: u64,
    },
    /// A tick for an idle log, to be announced once a quorum has confirmed it. Never above what this node's clock shows.
    Announce {
        /// The tick.
        tick: Timestamp,
    },
    /// A log-node answers.
    Reply {
        /// Its name.
        from: Arc<str>,
        /// What.
        reply: Reply,
    },
    /// A connection to a log-node broke: whatever was under way there is sent again.
    Disconnected {
        /// Its name.
        node: Arc<str>,
    },
    /// The log-nodes, as they registered.
    Nodes(Vec<NodeRegistration>),
    /// What became of a transaction.
    Txn {
        /// Its number.
        id: u64,
        /// Its outcome.
        outcome: TxnOutcome,
    },
    /// What the metadata says, as asked for.
    View(LogView),
    /// This process itself has taken the log over at a higher epoch.
    Overtaken {
        /// That epoch.
        newer: Epoch,
    },
    /// Time passed.
    Tick,
}

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct AppendRequest {
    /// Given back with the outcome.
    pub token: u64,
    /// Whose request it is, so that a repeated one is recognised.
    pub request: Option<RequestId>,
    /// Its stamp, above [`Writer::last_tick`]: the payload may carry it.
    pub tick: Timestamp,
    /// Its bytes.
    pub payload: Bytes,
}

/// What a writer wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterAction {
    /// Send to a log-node.
    Send {
        /// Its name.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// Run a transaction; the same number may come again, with the same transaction.
    Txn {
        /// Its number.
        id: u64,
        /// What.
        txn: MetaTxn,
    },
    /// Read the log's metadata.
    ReadView,
    /// An append's fate.
    Done {
        /// The append's.
        token: u64,
        /// How it went.
        outcome: AppendOutcome,
    },
    /// Entries up to this one are committed.
    Committed(Lsn),
    /// When the question was asked, this was the writer.
    Confirmed {
        /// The question's.
        token: u64,
        /// All that was acknowledged when the question was asked.
        committed: Lsn,
    },
    /// No entry with a tick at or below this one will ever follow those committed up to this position.
    Announced {
        /// The tick.
        tick: Timestamp,
        /// The position.
        committed: Lsn,
    },
    /// A node does not hold what it acknowledged: its disk was exchanged or is a copy of an earlier day.
    Suspect {
        /// The node.
        node: Arc<str>,
    },
    /// The segment that is written changed. The old one ended; it may be uploaded.
    Rolled {
        /// The new head.
        head: LogHead,
        /// The segment that ended, and where.
        ended: (LogSegment, Lsn),
        /// The new one.
        descriptor: SegmentDescriptor,
    },
    /// It is over: a higher epoch exists. Every append that was under way has been answered.
    SteppedDown {
        /// The higher epoch, as far as it is known.
        newer: Epoch,
    },
}

/// How an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is committed.
    Done {
        /// Where.
        lsn: Lsn,
        /// Its stamp.
        tick: Timestamp,
    },
    /// The same request was committed before.
    Repeated {
        /// Where.
        lsn: Lsn,
        /// Its stamp.
        tick: Timestamp,
    },
    /// It is certainly not in the log, and never will be.
    Rejected(AppendRejected),
    /// It may be in the log, now or later: look, or ask again with the same request.
    Unknown,
}

/// Why an append is certainly not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRejected {
    /// Another writer took over.
    #[error("fenced by epoch {newer}")]
    Fenced {
        /// Its epoch.
        newer: Epoch,
    },
    /// Too much is under way.
    #[error("too many bytes are under way")]
    Busy,
    /// Its tick does not rise.
    #[error("the stamp is not above {last}")]
    TickNotRising {
        /// The last stamp given out.
        last: Timestamp,
    },
}
