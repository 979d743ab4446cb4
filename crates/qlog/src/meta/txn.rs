//! The transactions: which values must still stand, and what takes their place.

use bytes::Bytes;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::{
    Folded, LogHead, LogView, ManifestRef, Phase, SegmentDescriptor, SegmentState, folded_key,
    head_key, segment_key,
};
use crate::{copies::Copies, messages::Owner};

/// Most segments that one transaction removes; stores bound the size of a transaction.
pub const SEGMENTS_MAX: usize = 48;

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Its changes stand.
    Applied,
    /// A comparison failed: certainly nothing changed.
    Refused,
    /// It may have been applied, or may yet be: read before deciding anything.
    Unknown,
}

/// Changes that happen all together, and only if every key still has the value compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaTxn {
    /// Keys and the bytes they must hold; `None`: they must be absent.
    pub compares: Vec<(String, Option<Bytes>)>,
    /// Keys and their new bytes.
    pub puts: Vec<(String, Bytes)>,
    /// Keys to remove.
    pub deletes: Vec<String>,
}

impl MetaTxn {
    fn head(mut self, log: ChannelId, old: Option<&LogHead>, new: &LogHead) -> Self {
        let key = head_key(log);
        self.compares
            .push((key.clone(), old.map(|old| old.encode(&key))));
        let bytes = new.encode(&key);
        self.puts.push((key, bytes));
        self
    }

    fn segment(
        mut self,
        log: ChannelId,
        segment: LogSegment,
        old: Option<&SegmentDescriptor>,
        new: &SegmentDescriptor,
    ) -> Self {
        let key = segment_key(log, segment);
        self.compares
            .push((key.clone(), old.map(|old| old.encode(&key))));
        let bytes = new.encode(&key);
        self.puts.push((key, bytes));
        self
    }
}

/// Takes the next epoch of a log, or `wanted` if that is above it. Whoever wins it alone may look for the end of its last
/// segment.
#[must_use]
pub fn claim(
    log: ChannelId,
    view: &LogView,
    owner: Owner,
    wanted: Option<Epoch>,
) -> (LogHead, MetaTxn) {
    let old = view.head.as_ref();
    let next = Epoch(old.map_or(0, |h| h.epoch.0) + 1);
    let head = LogHead {
        epoch: wanted.unwrap_or(next).max(next),
        owner,
        phase: Phase::Recovering,
        segment: old.map_or(LogSegment(0), |h| h.segment),
    };
    let txn = MetaTxn::default().head(log, old, &head);
    (head, txn)
}

/// A segment to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// Its number.
    pub segment: LogSegment,
    /// LSN of its first entry.
    pub first: Lsn,
    /// See [`SegmentDescriptor::tick_floor`].
    pub tick_floor: Timestamp,
    /// Its holders.
    pub copies: Copies,
}

impl NewSegment {
    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self, epoch: Epoch) -> SegmentDescriptor {
        SegmentDescriptor {
            epoch,
            first: self.first,
            tick_floor: self.tick_floor,
            state: SegmentState::Open,
            copies: self.copies.clone(),
        }
    }
}

/// A segment to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its descriptor, as it was read.
    pub open: SegmentDescriptor,
    /// LSN of its last entry.
    pub end: Lsn,
    /// Its holders from now on: others than before when a recovery had to replace one that is lost.
    pub copies: Copies,
}

/// Ends a log's last segment, if it has one, and begins the next: the one decision of a recovery (`head` is still
/// recovering, and `ending` is repaired) and of a roll (`head` is open, and every entry beyond the end that may have
/// been acknowledged is in the new segment too).
#[must_use]
pub fn succeed(
    log: ChannelId,
    head: &LogHead,
    ending: Option<&Ending>,
    new: &NewSegment,
) -> (LogHead, MetaTxn) {
    let next = LogHead {
        phase: Phase::Open,
        segment: new.segment,
        ..head.clone()
    };
    let mut txn = MetaTxn::default().head(log, Some(head), &next);
    if let Some(Ending { open, end, copies }) = ending {
        let sealed = SegmentDescriptor {
            state: SegmentState::Sealed { end: *end },
            copies: copies.clone(),
            ..open.clone()
        };
        txn = txn.segment(log, head.segment, Some(open), &sealed);
    }
    txn = txn.segment(log, new.segment, None, &new.descriptor(head.epoch));
    (next, txn)
}

/// Records that object storage has all of a sealed segment. `None` when it is not sealed.
#[must_use]
pub fn tiered(
    log: ChannelId,
    segment: LogSegment,
    sealed: &SegmentDescriptor,
    manifest: ManifestRef,
) -> Option<(SegmentDescriptor, MetaTxn)> {
    let SegmentState::Sealed { end } = sealed.state else {
        return None;
    };
    let new = SegmentDescriptor {
        state: SegmentState::Tiered { end, manifest },
        ..sealed.clone()
    };
    let txn = MetaTxn::default().segment(log, segment, Some(sealed), &new);
    Some((new, txn))
}

/// Names other holders for a segment that ended: those that were lost are replaced by those that have all of it now.
/// `None` when it goes on, or would be left with fewer copies than acknowledgements ask for.
#[must_use]
pub fn replace_copies(
    log: ChannelId,
    segment: LogSegment,
    sealed: &SegmentDescriptor,
    copies: Copies,
) -> Option<(SegmentDescriptor, MetaTxn)> {
    if sealed.state == SegmentState::Open || !copies.suffice(0..copies.holders.len()) {
        return None;
    }
    let new = SegmentDescriptor {
        copies,
        ..sealed.clone()
    };
    let txn = MetaTxn::default().segment(log, segment, Some(sealed), &new);
    Some((new, txn))
}

/// Moves the oldest segments of object storage, through `folded.through`, into the manifest of `folded`. `None` when
/// one of them has not ended in object storage, the list would shrink, or they are more than [`SEGMENTS_MAX`].
#[must_use]
pub fn fold(log: ChannelId, view: &LogView, folded: &Folded) -> Option<MetaTxn> {
    let key = folded_key(log);
    let old = view.folded.as_ref();
    if old.is_some_and(|old| old.through >= folded.through) {
        return None;
    }
    let mut txn = MetaTxn {
        compares: vec![(key.clone(), old.map(|old| old.encode(&key)))],
        ..MetaTxn::default()
    };
    if view.segments.range(..=folded.through).count() > SEGMENTS_MAX {
        return None;
    }
    for (segment, descriptor) in view.segments.range(..=folded.through) {
        descriptor.stored_end()?;
        let at = segment_key(log, *segment);
        txn.compares
            .push((at.clone(), Some(descriptor.encode(&at))));
        txn.deletes.push(at);
    }
    let bytes = folded.encode(&key);
    txn.puts.push((key, bytes));
    Some(txn)
}

/// Forgets ended segments through `through`, the oldest [`SEGMENTS_MAX`] of them: again, for more. `None` when one of
/// them goes on, or there is nothing to forget.
#[must_use]
pub fn trim(log: ChannelId, view: &LogView, through: LogSegment) -> Option<MetaTxn> {
    let mut txn = MetaTxn::default();
    for (segment, descriptor) in view.segments.range(..=through).take(SEGMENTS_MAX) {
        descriptor.end()?;
        let key = segment_key(log, *segment);
        txn.compares
            .push((key.clone(), Some(descriptor.encode(&key))));
        txn.deletes.push(key);
    }
    if let Some(folded) = view.folded.as_ref().filter(|f| f.through <= through) {
        let key = folded_key(log);
        txn.compares.push((key.clone(), Some(folded.encode(&key))));
        txn.deletes.push(key);
    }
    (!txn.deletes.is_empty()).then_some(txn)
}
