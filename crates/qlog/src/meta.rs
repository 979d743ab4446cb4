//! What the metadata store holds about the logs, and the transactions that change it, as values.
//!
//! | key                        | value                  | how many                                      |
//! |----------------------------|------------------------|-----------------------------------------------|
//! | `wal/<log>/head`           | [`LogHead`]            | one a log                                     |
//! | `wal/<log>/seg/<segment>`  | [`SegmentDescriptor`]  | one a segment that lives; at most about 64 of those in object storage, older ones are folded |
//! | `wal/<log>/folded`         | [`Folded`]             | one a log, at most                            |
//! | `wal/node/<name>`          | [`NodeRegistration`]   | one a log-node                                |
//! | `wal/retired/<storage>`    | [`NodeRegistration`]   | one a disk that another one took the place of |
//! | `wal/gone/<storage>`       | [`Gone`]               | one a disk that was lost for good             |
//!
//! Encodings are canonical, so a transaction compares whole values: none ever comes back, because epochs and segments
//! only rise. What decides is the store's compare-and-set on the head and on the open segment's descriptor.

mod bytes;
mod txn;

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use ::bytes::Bytes;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

pub use crate::codec::BadRecord;
use crate::{
    copies::{Copies, StorageId, Zone},
    messages::Owner,
};
pub use txn::{
    Ending, MetaTxn, NewSegment, SEGMENTS_MAX, TxnOutcome, claim, fold, replace_copies, succeed,
    tiered, trim,
};

/// Segments in object storage that keep a key of their own; older ones are folded into a manifest.
pub const UNFOLDED_SEGMENTS_MAX: usize = 64;

/// Who writes a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The highest epoch ever given out for this log.
    pub epoch: Epoch,
    /// Who has it.
    pub owner: Owner,
    /// Whether it may append already.
    pub phase: Phase,
    /// The log's last segment; 0 before the first. In [`Phase::Recovering`] it is the one whose end is sought.
    pub segment: LogSegment,
}

/// Whether a log's owner may append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It seeks the end of the last segment.
    Recovering,
    /// It appends to the last segment.
    Open,
}

/// One segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDescriptor {
    /// The epoch that writes it.
    pub epoch: Epoch,
    /// LSN of its first entry.
    pub first: Lsn,
    /// No tick at or below this one was left to be given out when the segment was made.
    pub tick_floor: Timestamp,
    /// Whether it goes on.
    pub state: SegmentState,
    /// Who holds it.
    pub copies: Copies,
}

/// How far a segment's life has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// It is being written.
    Open,
    /// It ended; the end never changes.
    Sealed {
        /// LSN of its last entry; the one before its first when it has none.
        end: Lsn,
    },
    /// It ended, and object storage has all of it: log-nodes may drop their copies.
    Tiered {
        /// LSN of its last entry.
        end: Lsn,
        /// The objects.
        manifest: ManifestRef,
    },
}

/// A manifest in object storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRef {
    /// Its object's name; it carries the uploader's incarnation, so that no two attempts share one.
    pub key: Arc<str>,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub checksum: u32,
}

/// The segments of a log that lost their own keys: a manifest lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The last segment in it.
    pub through: LogSegment,
    /// LSN of its last entry.
    pub end: Lsn,
    /// The list.
    pub manifest: ManifestRef,
}

/// A log-node as it registers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRegistration {
    /// Its name.
    pub node: Arc<str>,
    /// Where it listens.
    pub address: Arc<str>,
    /// Its failure domain.
    pub zone: Zone,
    /// Its disk.
    pub storage: StorageId,
    /// Counts its starts and is raised in between, on its disk first: a disk that comes back with a lower one is a copy
    /// of an earlier day.
    pub generation: u64,
    /// What it is good for.
    pub state: NodeState,
    /// Bytes free for new segments.
    pub free_bytes: u64,
    /// Bytes it can hold.
    pub total_bytes: u64,
}

/// What a log-node is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Everything.
    ReadWrite,
    /// No new segments: it is to be taken away.
    Drain,
    /// Reads: its disk failed.
    ReadOnly,
    /// Reads of what it still has: its disk lost something.
    DataLoss,
}

/// The verdict that a disk will not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The disk.
    pub storage: StorageId,
    /// An operator gives up what only this disk had: recoveries count it as one that has nothing. Without it they
    /// wait for another copy, for ever if there is none.
    pub forfeit: bool,
    /// Who says so, and why.
    pub reason: Arc<str>,
}

/// All that the metadata store says about one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogView {
    /// `None`: the log was never claimed.
    pub head: Option<LogHead>,
    /// Segments with keys of their own.
    pub segments: BTreeMap<LogSegment, SegmentDescriptor>,
    /// The older ones.
    pub folded: Option<Folded>,
}

impl SegmentDescriptor {
    /// Where it ended.
    #[must_use]
    pub fn end(&self) -> Option<Lsn> {
        match &self.state {
            SegmentState::Open => None,
            SegmentState::Sealed { end } | SegmentState::Tiered { end, .. } => Some(*end),
        }
    }

    /// Where it ended, if object storage has all of it: an empty one has nothing to store.
    #[must_use]
    pub fn stored_end(&self) -> Option<Lsn> {
        match self.state {
            SegmentState::Tiered { end, .. } => Some(end),
            SegmentState::Sealed { end } if end < self.first => Some(end),
            SegmentState::Sealed { .. } | SegmentState::Open => None,
        }
    }

    /// Whether no log-node's copy of it is needed: it ended, and object storage has it or it has no entry.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.stored_end().is_some()
    }

    /// The LSN before its first entry.
    #[must_use]
    pub fn before(&self) -> Lsn {
        Lsn(self.first.0.saturating_sub(1))
    }
}

impl LogView {
    /// Takes apart what a range read of [`log_prefix`] gave.
    ///
    /// # Errors
    /// [`BadRecord`] naming the key that is damaged or unknown.
    pub fn read<'a>(
        log: ChannelId,
        records: impl IntoIterator<Item = (&'a str, &'a Bytes)>,
    ) -> Result<Self, BadRecord> {
        let mut view = Self::default();
        let prefix = segment_prefix(log);
        for (key, value) in records {
            if key == head_key(log) {
                view.head = Some(LogHead::decode(key, value)?);
            } else if key == folded_key(log) {
                view.folded = Some(Folded::decode(key, value)?);
            } else if let Some(number) = key.strip_prefix(&prefix) {
                let segment = number.parse().map_err(|_| BadRecord {
                    key: key.to_owned(),
                    problem: "is not a segment's number".to_owned(),
                })?;
                let descriptor = SegmentDescriptor::decode(key, value)?;
                view.segments.insert(LogSegment(segment), descriptor);
            } else {
                return Err(BadRecord {
                    key: key.to_owned(),
                    problem: "is not a key of a log".to_owned(),
                });
            }
        }
        Ok(view)
    }

    /// The segment that the head names.
    #[must_use]
    pub fn last(&self) -> Option<(LogSegment, &SegmentDescriptor)> {
        let segment = self.head.as_ref()?.segment;
        Some((segment, self.segments.get(&segment)?))
    }

    /// The segment that holds, or will hold, the entry at `lsn`; `None` when it is folded away or trimmed.
    #[must_use]
    pub fn segment_of(&self, lsn: Lsn) -> Option<(LogSegment, &SegmentDescriptor)> {
        self.segments
            .iter()
            .rev()
            .find(|(_, d)| d.first <= lsn && d.end().is_none_or(|end| lsn <= end))
            .map(|(s, d)| (*s, d))
    }
}

/// The number of the `attempt`-th segment that `epoch` tries to open. Numbers rise along the chain with gaps: an
/// attempt that came to nothing leaves bytes behind on log-nodes, and no later segment may share its number.
///
/// # Panics
/// After 16 million attempts of one epoch, or at epoch 2^40.
#[must_use]
pub fn segment_number(epoch: Epoch, attempt: u32) -> LogSegment {
    assert!(attempt < 1 << 24 && epoch.0 < 1 << 40, "{epoch}, {attempt}");
    LogSegment(epoch.0 << 24 | u64::from(attempt))
}

/// Prefix of all keys of a log.
#[must_use]
pub fn log_prefix(log: ChannelId) -> String {
    format!("wal/{log}/")
}

/// Key of a [`LogHead`].
#[must_use]
pub fn head_key(log: ChannelId) -> String {
    format!("wal/{log}/head")
}

/// Key of a [`Folded`].
#[must_use]
pub fn folded_key(log: ChannelId) -> String {
    format!("wal/{log}/folded")
}

fn segment_prefix(log: ChannelId) -> String {
    format!("wal/{log}/seg/")
}

/// Key of a [`SegmentDescriptor`]; keys are in the order of the chain.
#[must_use]
pub fn segment_key(log: ChannelId, segment: LogSegment) -> String {
    let mut key = segment_prefix(log);
    write!(key, "{:020}", segment.0).expect("a String takes everything");
    key
}

/// Prefix of the keys of [`NodeRegistration`]s.
pub const NODE_PREFIX: &str = "wal/node/";

/// Key of a [`NodeRegistration`].
#[must_use]
pub fn node_key(node: &str) -> String {
    format!("{NODE_PREFIX}{node}")
}

/// Key of the last [`NodeRegistration`] of a disk that another one took the place of.
#[must_use]
pub fn retired_key(storage: StorageId) -> String {
    format!("wal/retired/{storage}")
}

/// Prefix of the keys of [`Gone`]s.
pub const GONE_PREFIX: &str = "wal/gone/";

/// Key of a [`Gone`].
#[must_use]
pub fn gone_key(storage: StorageId) -> String {
    format!("{GONE_PREFIX}{storage}")
}

#[cfg(test)]
mod tests;
