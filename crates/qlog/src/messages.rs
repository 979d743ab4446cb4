//! What writers, recoverers, readers and log-nodes say to each other.
//!
//! Every request names the cluster and the disk that it is meant for ([`Request`]): a node that is another cluster's,
//! or whose disk was exchanged, refuses it. Nothing here relies on order or on single delivery: a request that comes
//! twice or late is answered from what is durable, and does no harm.

use std::{fmt, sync::Arc, time::Duration};

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::{copies::StorageId, entry::Entry, record::SegmentOpen};

/// Version of these messages; raised by every change that an older reader would misunderstand.
pub const PROTOCOL: u32 = 1;

/// One installation. Made once with it, so that a process of another one is noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who writes or recovers: a process, not a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The node's name.
    pub node: Arc<str>,
    /// Which of its lives; drawn anew by every start of the process.
    pub incarnation: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{:x}", self.node, self.incarnation)
    }
}

/// A request to a log-node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The cluster of the sender.
    pub cluster: ClusterId,
    /// The disk that the sender means. Messages that are about a node and not about its bytes ([`Ask::Hello`],
    /// [`Ask::Inspect`]) may leave it out.
    pub storage: Option<StorageId>,
    /// Who asks.
    pub sender: Owner,
    /// What for.
    pub ask: Ask,
}

/// What is asked of a log-node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// First on every connection.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u32,
    },
    /// Entries from a segment's writer.
    Append(Append),
    /// "I am alive; am I still the writer?"
    Beat(Beat),
    /// Promises to a higher epoch, for many logs at once.
    Seal(Vec<SealOne>),
    /// Entries from a recoverer, or from whoever restores lost copies of a segment that has ended.
    Repair(Repair),
    /// What the metadata says about a segment's end.
    Finish(Finish),
    /// What the node holds and whom it has heard.
    Inspect(Vec<ChannelId>),
    /// Entries, for a reader, a standby, a recoverer or an uploader.
    Read(Read),
    /// A segment and all before it are needed no more.
    Trim {
        /// The log.
        log: ChannelId,
        /// The last segment to forget.
        through: LogSegment,
    },
}

/// Entries of one segment, from its writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// How the segment begins: with the first entries, and whenever the node answered [`Reject::Unknown`].
    pub open: Option<SegmentOpen>,
    /// The last entry that this disk acknowledged to the writer: it notices that it lost something.
    pub acknowledged: Lsn,
    /// The highest LSN that the writer knows to be committed.
    pub committed: Lsn,
    /// In order, without gaps. None: the segment is only opened.
    pub entries: Vec<Entry>,
}

/// A writer's sign of life to one node, for all logs that it writes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Comes back with the answer; rises.
    pub nonce: u64,
    /// By log.
    pub at: Vec<BeatAt>,
}

/// One log of a [`Beat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatAt {
    /// The log.
    pub log: ChannelId,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The segment it writes.
    pub segment: LogSegment,
    /// The highest LSN that the writer knows to be committed.
    pub committed: Lsn,
    /// A bare tick that the writer wants to announce: the node remembers the highest, and tells the next recoverer.
    pub tick: Option<Timestamp>,
}

/// A promise that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealOne {
    /// The log.
    pub log: ChannelId,
    /// The segment whose end is to be found.
    pub segment: LogSegment,
    /// The epoch to promise to.
    pub epoch: Epoch,
}

/// In place of an epoch, where the bytes are fixed and no promise is concerned.
pub const SETTLED: Epoch = Epoch(u64::MAX);

/// Entries that a copy lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The recoverer's epoch, never below the node's promise; [`SETTLED`] when the end is fixed.
    pub epoch: Epoch,
    /// Where the metadata ended the segment: then its bytes are fixed, and no promise is asked for. `None` from a
    /// recoverer, which has yet to decide that.
    pub end: Option<Lsn>,
    /// How the segment begins, for a node that never saw it.
    pub open: SegmentOpen,
    /// In order, without gaps.
    pub entries: Vec<Entry>,
}

/// The end of a segment, as the metadata has it. It never changes, so anybody may say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// LSN of its last entry; the one before its first when it has none.
    pub end: Lsn,
}

/// Which entries may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Those that the node knows to be committed: what a reader may see.
    Committed,
    /// All that the node can vouch for: what a standby may hold back, and a recoverer needs.
    Durable,
}

/// Entries that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The first.
    pub from: Lsn,
    /// Which.
    pub visibility: Visibility,
    /// About how many bytes; one entry is always given.
    pub bytes_max: usize,
}

/// A log-node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The disk that answers.
    pub storage: StorageId,
    /// Bytes that the sender may have under way to this node.
    pub credits: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a log-node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Hello`].
    Welcome {
        /// [`PROTOCOL`] of the node.
        protocol: u32,
        /// Counts the node's starts.
        generation: u64,
    },
    /// To [`Ask::Append`] and [`Ask::Repair`]: all entries up to `lsn` are on disk.
    Durable {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
        /// The epoch that was served.
        epoch: Epoch,
        /// The last durable entry.
        lsn: Lsn,
    },
    /// To [`Ask::Beat`].
    Beat {
        /// The beat's.
        nonce: u64,
        /// By log.
        at: Vec<BeatAnswer>,
    },
    /// To [`Ask::Seal`].
    Sealed(Vec<SealedAt>),
    /// To [`Ask::Finish`]: the end is on disk.
    Finished {
        /// The log.
        log: ChannelId,
        /// The segment.
        segment: LogSegment,
    },
    /// To [`Ask::Inspect`].
    Inspected(Vec<Inspected>),
    /// To [`Ask::Read`].
    Entries(Entries),
    /// To [`Ask::Trim`]: forgotten, durably.
    Trimmed {
        /// The log.
        log: ChannelId,
        /// Through this segment, or a later one.
        through: LogSegment,
    },
    /// Nothing was done.
    Rejected {
        /// The log, where the request was about one.
        log: ChannelId,
        /// The segment, where the request was about one.
        segment: LogSegment,
        /// The epoch of the request.
        epoch: Epoch,
        /// Why.
        why: Reject,
    },
}

/// One log of a beat's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatAnswer {
    /// The log.
    pub log: ChannelId,
    /// The epoch that asked.
    pub epoch: Epoch,
    /// Whether that epoch is the highest promised here, durably. The tick is remembered then.
    pub confirmed: bool,
    /// The highest epoch promised here.
    pub promise: Epoch,
}

/// Whether a node's word about a segment counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// It is the disk that the segment's descriptor names, and it has all that it ever acknowledged.
    Authoritative,
    /// It is another disk, or one that is known to have lost something: its emptiness says nothing.
    DataLoss,
}

/// A node's answer about one log to a [`SealOne`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedAt {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// The epoch that asked.
    pub epoch: Epoch,
    /// The highest epoch promised, durably: above `epoch` means that the request came too late and changed nothing.
    pub promise: Epoch,
    /// The last entry that the node vouches for; [`Lsn`] 0 when it never saw the segment.
    pub len_certain: Lsn,
    /// The last entry that it may have held; never below `len_certain`.
    pub len_possible: Lsn,
    /// The highest committed LSN that it heard of.
    pub committed: Lsn,
    /// Whether its word counts.
    pub authority: Authority,
    /// The highest bare tick that it confirmed for this log.
    pub tick: Timestamp,
    /// It was restarted since an epoch that may have had ticks confirmed: there may have been higher ones.
    pub restarted: bool,
}

/// What a node knows about one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The log.
    pub log: ChannelId,
    /// The highest epoch promised.
    pub promise: Epoch,
    /// The last sign of life from the writer of the highest epoch, and how long ago; `None`: nothing since the
    /// node's start.
    pub heard: Option<(Epoch, Duration)>,
    /// Segments held, in order.
    pub segments: Vec<SegmentLen>,
}

/// A segment that a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLen {
    /// The segment.
    pub segment: LogSegment,
    /// LSN of its first entry.
    pub first: Lsn,
    /// The last entry that the node vouches for.
    pub len_certain: Lsn,
    /// The last entry that it may have held.
    pub len_possible: Lsn,
    /// Where it ended, if the node was told.
    pub end: Option<Lsn>,
}

/// Entries that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// In order, without gaps, the first is the one that was asked for. None: there is none yet.
    pub entries: Vec<Entry>,
    /// The highest LSN of this segment that the node knows to be committed.
    pub committed: Lsn,
    /// Where the segment ended, if the node was told.
    pub end: Option<Lsn>,
}

/// Why a log-node did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// A higher epoch was promised: the sender is not the writer any more.
    #[error("fenced by epoch {promise}")]
    Fenced {
        /// That epoch.
        promise: Epoch,
    },
    /// Entries are missing in between: send again from the one after `len`.
    #[error("entries are missing after {len}")]
    Behind {
        /// The last entry that the node has taken.
        len: Lsn,
    },
    /// The disk has less than it acknowledged: it is damaged, or a copy of an earlier day.
    #[error("{len} is the last entry here, and more was acknowledged")]
    Forgotten {
        /// The last entry that the node has.
        len: Lsn,
    },
    /// Too much is under way: later.
    #[error("too many bytes are under way")]
    Busy,
    /// The disk is full. The node answers other requests.
    #[error("the disk is full")]
    Full,
    /// The disk failed; nothing will be written until an operator has looked.
    #[error("the disk failed, the node only answers reads")]
    ReadOnly,
    /// The segment was never opened here: say how it begins.
    #[error("the segment is not known here")]
    Unknown,
    /// The segment ended; what was sent is beyond its end, or of another epoch.
    #[error("the segment ended at {end}")]
    Ended {
        /// LSN of its last entry.
        end: Lsn,
    },
    /// The segment was trimmed.
    #[error("segments through {through} were trimmed")]
    Trimmed {
        /// The last trimmed segment.
        through: LogSegment,
    },
    /// Another disk was meant.
    #[error("another disk was meant than {storage}")]
    Storage {
        /// The disk that answers.
        storage: StorageId,
    },
    /// Another cluster was meant.
    #[error("another cluster was meant")]
    Cluster,
    /// The sender speaks another version.
    #[error("protocol version {ours} is spoken here")]
    Protocol {
        /// [`PROTOCOL`] of the node.
        ours: u32,
    },
    /// An entry does not have its checksum, or the request contradicts what the segment is known to be: the
    /// message was damaged or forged on its way.
    #[error("the request is damaged")]
    Damaged,
    /// The entry that was asked for is damaged here; another copy has it.
    #[error("entry {lsn} is damaged here")]
    Rotten {
        /// The entry.
        lsn: Lsn,
    },
}

/// Joins seals for one node into one request, so that the loss of a machine costs one round trip and not one a log.
/// Other requests are kept; only seals of one sender for one disk are joined.
#[must_use]
pub fn join_seals(requests: Vec<(Arc<str>, Request)>) -> Vec<(Arc<str>, Request)> {
    let mut joined: Vec<(Arc<str>, Request)> = Vec::with_capacity(requests.len());
    for (to, request) in requests {
        let Ask::Seal(ones) = &request.ask else {
            joined.push((to, request));
            continue;
        };
        let same = joined.iter_mut().find_map(|(other, earlier)| {
            let fits = *other == to
                && earlier.cluster == request.cluster
                && earlier.storage == request.storage
                && earlier.sender == request.sender;
            match &mut earlier.ask {
                Ask::Seal(all) if fits => Some(all),
                _ => None,
            }
        });
        match same {
            Some(all) => all.extend_from_slice(ones),
            None => joined.push((to, request)),
        }
    }
    joined
}
