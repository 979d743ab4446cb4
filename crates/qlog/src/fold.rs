//! Segments of a log without keys of their own: a list in object storage names them, and one key names the list. The
//! number of keys of a log is bounded so, however long its past is.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    codec::{BadRecord, Reader, Writer},
    meta::{
        Folded, LogView, ManifestRef, MetaTxn, SEGMENTS_MAX, SegmentDescriptor,
        UNFOLDED_SEGMENTS_MAX, folded_key, segment_key,
    },
};

const VERSION: u8 = 1;
/// Longest record of one segment.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Segments that are in object storage, oldest first, without gaps between their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentList {
    /// Each with its descriptor.
    pub segments: BTreeMap<LogSegment, SegmentDescriptor>,
}

impl SegmentList {
    /// Its bytes, those of the object at `key`.
    #[must_use]
    pub fn encode(&self, log: ChannelId, key: &str) -> Bytes {
        let mut w = Writer::new(VERSION);
        w.u32(log.0);
        w.u32(u32::try_from(self.segments.len()).expect("a log has fewer segments than LSNs"));
        for (segment, descriptor) in &self.segments {
            w.u64(segment.0);
            w.record(&descriptor.encode(&segment_key(log, *segment)));
        }
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`], also when a segment is not in object storage, or does not follow the one before.
    pub fn decode(log: ChannelId, key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let of = r.u32()?;
        if of != log.0 {
            return Err(r.bad(format!("of log {of}, not {log}")));
        }
        let mut segments = BTreeMap::new();
        let mut before: Option<(LogSegment, Lsn)> = None;
        for _ in 0..r.u32()? {
            let segment = LogSegment(r.u64()?);
            let record = r.record(RECORD_BYTES_MAX)?;
            let descriptor = SegmentDescriptor::decode(&segment_key(log, segment), record)?;
            let Some(end) = descriptor.stored_end() else {
                return Err(r.bad(format!("segment {segment} is not in object storage")));
            };
            let follows =
                before.is_none_or(|(s, end)| s < segment && end.next() == descriptor.first);
            if !follows {
                return Err(r.bad(format!("segment {segment} does not follow the one before")));
            }
            before = Some((segment, end));
            segments.insert(segment, descriptor);
        }
        r.end()?;
        Ok(Self { segments })
    }

    /// The segment that holds the entry at `lsn`.
    #[must_use]
    pub fn segment_of(&self, lsn: Lsn) -> Option<(LogSegment, &SegmentDescriptor)> {
        let holds = |d: &SegmentDescriptor| d.first <= lsn && d.end().is_some_and(|end| lsn <= end);
        self.segments
            .iter()
            .rev()
            .find(|(_, descriptor)| holds(descriptor))
            .map(|(segment, descriptor)| (*segment, descriptor))
    }

    /// What the metadata says of this list, once it is the object that `manifest` names. `None` when it is empty.
    #[must_use]
    pub fn folded(&self, manifest: ManifestRef) -> Option<Folded> {
        let (through, last) = self.segments.last_key_value()?;
        Some(Folded {
            through: *through,
            end: last.end()?,
            manifest,
        })
    }
}

/// Whether it is time to fold: more segments of object storage have keys than may. A quarter goes at a time, so that the
/// list is not written anew for each.
#[must_use]
pub fn is_due(view: &LogView) -> bool {
    stored(view).count() > UNFOLDED_SEGMENTS_MAX
}

/// The oldest segments, as far as they are in object storage.
fn stored(view: &LogView) -> impl Iterator<Item = (&LogSegment, &SegmentDescriptor)> {
    let segments = view.segments.iter();
    segments.take_while(|(_, descriptor)| descriptor.is_settled())
}

/// The list with the next segments added, which [`crate::meta::fold`] then makes the log's. `None` when it is not time, or
/// `list` is not the one that the view names: an empty one where it names none.
#[must_use]
pub fn extend(view: &LogView, list: &SegmentList) -> Option<SegmentList> {
    let last = list.segments.last_key_value().map(|(segment, _)| *segment);
    if !is_due(view) || last != view.folded.as_ref().map(|folded| folded.through) {
        return None;
    }
    let mut longer = list.clone();
    let more = (stored(view).count() - UNFOLDED_SEGMENTS_MAX * 3 / 4).min(SEGMENTS_MAX);
    longer
        .segments
        .extend(stored(view).take(more).map(|(s, d)| (*s, d.clone())));
    Some(longer)
}

/// The list without segments through `through`; `None` when none of them is in it, or nothing would be left: then
/// [`crate::meta::trim`] lets go of all of it.
#[must_use]
pub fn shorten(list: &SegmentList, through: LogSegment) -> Option<SegmentList> {
    let mut shorter = list.clone();
    shorter.segments = shorter.segments.split_off(&LogSegment(through.0 + 1));
    let fewer = shorter.segments.len() < list.segments.len();
    (fewer && !shorter.segments.is_empty()).then_some(shorter)
}

/// Records a list that [`shorten`] made. `None` when it does not end where the old one does.
#[must_use]
pub fn replace(log: ChannelId, old: &Folded, new: &Folded) -> Option<MetaTxn> {
    if (old.through, old.end) != (new.through, new.end) {
        return None;
    }
    let key = folded_key(log);
    let (before, after) = (old.encode(&key), new.encode(&key));
    Some(MetaTxn {
        compares: vec![(key.clone(), Some(before))],
        puts: vec![(key, after)],
        ..MetaTxn::default()
    })
}

#[cfg(test)]
mod tests;
