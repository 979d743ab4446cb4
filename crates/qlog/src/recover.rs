//! The recoverer: takes the next epoch, stops the old one, finds where the log ends, and opens it again.
//!
//! ```text
//! claim ──► seal ──► decide ──► repair ──► finish
//! ```
//!
//! Safe to run by anybody, any number of times, at once: nothing is exposed before the finish, which is one
//! compare-and-set, and a higher epoch overtakes a lower one at every step. It never gives up by the clock; it reports
//! what it waits for.

mod decide;
mod last;
mod machine;

use std::{sync::Arc, time::Duration};

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::{
    copies::StorageId,
    messages::{ClusterId, Owner, Reply, Request},
    meta::{Gone, LogHead, LogView, MetaTxn, NodeRegistration, SegmentDescriptor, TxnOutcome},
};

pub use decide::{Undecided, Word, decide};
pub use machine::Recoverer;

/// A recoverer's names and bounds.
#[derive(Clone, Debug)]
pub struct RecoverOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// The log.
    pub log: ChannelId,
    /// This process.
    pub owner: Owner,
    /// The epoch to take, where somebody else gives epochs out: if it, or a higher one, was taken already, nothing is
    /// done. `None`: the next.
    pub epoch: Option<Epoch>,
    /// The epoch that is to be overtaken: if there is a higher one already, nothing is done. `None`: whatever there is.
    pub overtake: Option<Epoch>,
    /// About the most bytes of one repair message.
    pub batch_bytes: usize,
    /// Time after which a question without an answer is asked again.
    pub resend_after: Duration,
    /// How long holders are waited for before a lost one is replaced by another node.
    pub replace_after: Duration,
    /// Copies of the new segment.
    pub copies: crate::place::CopyRule,
}

/// What happens to a recoverer.
#[derive(Clone, Debug)]
pub enum RecoverEvent {
    /// Begin.
    Start,
    /// What the metadata says, as asked for.
    View(LogView),
    /// What became of a transaction.
    Txn {
        /// Its number.
        id: u64,
        /// Its outcome.
        outcome: TxnOutcome,
    },
    /// A log-node answers.
    Reply {
        /// Its name.
        from: Arc<str>,
        /// What.
        reply: Reply,
    },
    /// The log-nodes, as they registered, and the disks that are lost for good.
    Nodes(Vec<NodeRegistration>, Vec<Gone>),
    /// The answer to [`RecoverAction::AskClockBound`].
    ClockBound(Timestamp),
    /// Time passed.
    Tick,
}

/// What a recoverer wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoverAction {
    /// Send to a log-node. Seals of many recoverers for one node may be joined: [`crate::messages::join_seals`].
    Send {
        /// Its name.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// Run a transaction.
    Txn {
        /// Its number.
        id: u64,
        /// What.
        txn: MetaTxn,
    },
    /// Read the log's metadata.
    ReadView,
    /// A log-node may have forgotten a tick that it confirmed: a stamp is needed that no clock of the cluster has reached
    /// yet. It is this node's clock plus the most by which two clocks may differ; waiting until the own clock is there
    /// keeps stamps from running ahead.
    AskClockBound,
    /// It moved on, or waits for something else.
    Progress(Progress),
    /// The log is open, and this process is its writer.
    Opened(Box<Opened>),
    /// A higher epoch exists: somebody else recovers, or writes already.
    Overtaken {
        /// That epoch.
        newer: Epoch,
    },
    /// The metadata contradicts itself; an operator must look. Nothing was changed.
    Broken(String),
}

/// How far a recovery has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The epoch is asked for.
    Claiming,
    /// Promises are asked for.
    Sealing {
        /// The epoch.
        epoch: Epoch,
        /// The segment.
        segment: LogSegment,
        /// Disks whose word would decide.
        missing: Vec<StorageId>,
    },
    /// Too few log-nodes are registered for a new segment, or for a lost copy.
    LackingNodes,
    /// Entries are copied.
    Repairing {
        /// The end that was found.
        end: Lsn,
        /// How far each holder has come.
        copies: Vec<(StorageId, Lsn)>,
    },
    /// The decision is being recorded.
    Finishing {
        /// The end.
        end: Lsn,
    },
}

/// A log that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its head: epoch, owner, segment.
    pub head: LogHead,
    /// The new segment.
    pub descriptor: SegmentDescriptor,
    /// The segment that was ended, and its last entry; `None` when the log had none.
    pub ended: Option<(LogSegment, Lsn)>,
    /// The new writer's first tick must be above this.
    pub tick_floor: Timestamp,
}
