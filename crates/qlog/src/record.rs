//! What a log-node writes to its journal before it answers.

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};

use crate::{copies::Copies, entry::Entry};

/// The first record of a segment on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOpen {
    /// The epoch that writes the segment.
    pub epoch: Epoch,
    /// LSN of its first entry.
    pub first: Lsn,
    /// Its holders, this node among them.
    pub copies: Copies,
}

/// One record of a log-node's journal. Applied in order to a [`crate::NodeImage`] they give the node's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRecord {
    /// No append of a lower epoch will be taken for this log any more.
    Promise {
        /// The log.
        log: ChannelId,
        /// The epoch promised to.
        epoch: Epoch,
    },
    /// A segment begins here.
    SegmentOpen {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// The rest.
        open: SegmentOpen,
    },
    /// The next entry of a segment, from its writer or, under a promise, from a recoverer.
    Append {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// The epoch under which it was accepted: the writer's, or the recoverer's.
        epoch: Epoch,
        /// What the sender knew to be committed.
        committed: Lsn,
        /// The entry; its LSN is the one after the segment's last.
        entry: Entry,
    },
    /// The metadata says where the segment ends; entries beyond are dead.
    Finish {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// LSN of its last entry; the one before the first when it has none.
        end: Lsn,
    },
    /// The segment's bytes are needed no more.
    Trim {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
    },
}

impl NodeRecord {
    /// The log it concerns.
    #[must_use]
    pub fn log(&self) -> ChannelId {
        match self {
            Self::Promise { log, .. }
            | Self::SegmentOpen { log, .. }
            | Self::Append { log, .. }
            | Self::Finish { log, .. }
            | Self::Trim { log, .. } => *log,
        }
    }
}
