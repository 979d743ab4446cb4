//! What a log-node knows after reading its journal: promises, and how far each segment goes.

use std::collections::BTreeMap;

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};

use crate::{copies::Copies, record::NodeRecord};

/// A node's durable state but for the entries themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeImage {
    /// By log.
    pub logs: BTreeMap<ChannelId, LogImage>,
}

/// One log on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogImage {
    /// The highest epoch promised to.
    pub promise: Epoch,
    /// Segments with bytes on this node.
    pub segments: BTreeMap<LogSegment, SegmentImage>,
    /// The highest segment that was trimmed: an append to it or below is refused, not begun anew.
    pub trimmed: LogSegment,
}

/// One segment on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentImage {
    /// The epoch that writes it.
    pub epoch: Epoch,
    /// LSN of its first entry.
    pub first: Lsn,
    /// The last entry this node holds and can vouch for; `first - 1` when it has none.
    pub certain: Lsn,
    /// The last entry this node may have held: above `certain` when damage was found. Never below it.
    pub possible: Lsn,
    /// The highest commit mark seen.
    pub committed: Lsn,
    /// Where the metadata ended it.
    pub end: Option<Lsn>,
    /// Who else holds it.
    pub copies: Copies,
}

/// A record that does not follow from the records before it: the journal is not what it says it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log {log}: {problem}")]
pub struct OutOfOrder {
    /// The log.
    pub log: ChannelId,
    /// What does not fit.
    pub problem: String,
}

impl NodeImage {
    /// Takes the next record in.
    ///
    /// # Errors
    /// [`OutOfOrder`]; the image is then as it was.
    pub fn apply(&mut self, record: &NodeRecord) -> Result<(), OutOfOrder> {
        let log = record.log();
        let wrong = |problem: String| Err(OutOfOrder { log, problem });
        let image = self.logs.entry(log).or_default();
        match record {
            NodeRecord::Promise { epoch, .. } => {
                if *epoch < image.promise {
                    return wrong(format!("promise {epoch} after {}", image.promise));
                }
                image.promise = *epoch;
            }
            NodeRecord::SegmentOpen { segment, open, .. } => {
                if *segment <= image.trimmed || image.segments.contains_key(segment) {
                    return wrong(format!("segment {segment} is opened again"));
                }
                if open.first == Lsn(0) {
                    return wrong(format!("segment {segment} begins at 0"));
                }
                let before = Lsn(open.first.0 - 1);
                image.segments.insert(
                    *segment,
                    SegmentImage {
                        epoch: open.epoch,
                        first: open.first,
                        certain: before,
                        possible: before,
                        committed: Lsn(0),
                        end: None,
                        copies: open.copies.clone(),
                    },
                );
            }
            NodeRecord::Append {
                segment,
                committed,
                entry,
                ..
            } => {
                let Some(held) = image.segments.get_mut(segment) else {
                    return wrong(format!("segment {segment} was never opened"));
                };
                if entry.lsn != held.certain.next() {
                    return wrong(format!(
                        "entry {} of segment {segment} after {}",
                        entry.lsn, held.certain
                    ));
                }
                held.certain = entry.lsn;
                held.possible = held.possible.max(entry.lsn);
                held.committed = held.committed.max(*committed);
            }
            NodeRecord::Finish { segment, end, .. } => {
                let Some(held) = image.segments.get_mut(segment) else {
                    return wrong(format!("segment {segment} was never opened"));
                };
                if held.end.is_some_and(|known| known != *end) || end.next() < held.first {
                    return wrong(format!("segment {segment} ends at {end} as well"));
                }
                held.end = Some(*end);
                held.certain = held.certain.min(*end);
                held.possible = held.possible.min(*end).max(held.certain);
            }
            NodeRecord::Trim { segment, .. } => {
                image.trimmed = image.trimmed.max(*segment);
                image.segments = image.segments.split_off(&image.trimmed.next());
            }
        }
        Ok(())
    }
}
