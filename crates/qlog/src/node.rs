//! The log-node: promises, strict prefixes, and no answer before the disk has it.
//!
//! [`Node::step`] takes an event and says what to do. Its shell owns the journal: it writes what [`NodeAction::Persist`]
//! says, in that order, many tickets in one sync if it likes, and reports the last durable ticket. Whatever was not
//! reported when the process ends may or may not be in the image that the next life begins with.

mod answer;
mod machine;
mod owed;

use std::sync::Arc;

use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    copies::StorageId,
    messages::{ClusterId, Read, Reply, Request},
    record::NodeRecord,
};

pub use machine::Node;

/// A log-node's bounds and names.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub node: Arc<str>,
    /// Its disk.
    pub storage: StorageId,
    /// Counts its starts.
    pub generation: u64,
    /// Whether the disk is known to have lost something: it then answers nothing with authority.
    pub data_loss: bool,
    /// Most bytes of entries that wait for the disk; over it, appends are refused as busy.
    pub pending_bytes_max: u64,
    /// Most entries in one answer to a read.
    pub read_entries_max: usize,
}

/// Who asked: the shell's handle of a connection or call, given back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u64);

/// Counts what was given to the disk; durable in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happens to a log-node.
#[derive(Clone, Debug)]
pub enum NodeEvent {
    /// Somebody asks.
    Request {
        /// Who.
        caller: Caller,
        /// What.
        request: Request,
    },
    /// Everything up to this ticket is on disk.
    Persisted {
        /// The ticket.
        through: Ticket,
    },
    /// The journal cannot be written any more. Final: nothing that waits will ever be acknowledged.
    PersistFailed,
    /// How much room the disk has.
    Room(Room),
}

/// How much room a disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    #[default]
    Enough,
    /// Little: credits shrink, so that writers slow down or go elsewhere.
    Little,
    /// None for entries. What is left is for promises, ends and trims.
    Full,
}

/// What a log-node wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAction {
    /// Write these records behind all earlier ones, then say [`NodeEvent::Persisted`].
    Persist {
        /// The ticket of this batch: one higher than the last.
        ticket: Ticket,
        /// In order. Their bytes are in the journal, or none of them counts.
        records: Vec<NodeRecord>,
    },
    /// Answer.
    Reply {
        /// Whom.
        to: Caller,
        /// What.
        reply: Reply,
    },
    /// Read entries of the journal and answer with [`crate::messages::Answer::Entries`].
    Read {
        /// Whom to answer.
        to: Caller,
        /// What was asked for.
        read: Read,
        /// The last entry that may be given.
        through: Lsn,
        /// For the answer: the highest committed LSN of the segment that is known here.
        committed: Lsn,
        /// For the answer: where the segment ended.
        end: Option<Lsn>,
    },
    /// The journal need not keep these segments: a trim of this log is durable.
    Forget {
        /// The log.
        log: ChannelId,
        /// The last segment to forget.
        through: LogSegment,
    },
}
