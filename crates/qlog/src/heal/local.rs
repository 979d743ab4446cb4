//! What a node may drop of what it holds, and which objects nobody can reach any more.

use std::{collections::BTreeMap, time::Duration};

use holdfast_types::{ChannelId, LogSegment};

use crate::meta::{LogView, SegmentState};

/// How much of what object storage has is kept on a node's disk as well, for readers that are near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRule {
    /// Above so many bytes, the oldest go.
    pub bytes: u64,
    /// Those that are in object storage for longer go.
    pub age: Duration,
}

/// A segment on this disk that object storage has as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredHere {
    /// Since when this node knows that.
    pub since: Duration,
    /// About how many bytes it takes here.
    pub bytes: u64,
}

/// For each log, the last segment that a node may drop, with all before it. A node forgets whole beginnings of a log only,
/// so nothing goes while an earlier segment still counts on log-nodes: it may have to be copied here.
///
/// `held` are the segments on this disk; what of them object storage has as well is in `stored`. Those that were trimmed
/// go at once, the others by the rule.
#[must_use]
pub fn droppable(
    logs: &BTreeMap<ChannelId, LogView>,
    held: &BTreeMap<ChannelId, Vec<LogSegment>>,
    stored: &BTreeMap<(ChannelId, LogSegment), StoredHere>,
    rule: LocalRule,
    now: Duration,
) -> BTreeMap<ChannelId, LogSegment> {
    let mut through = BTreeMap::new();
    let mut kept: BTreeMap<ChannelId, Vec<(LogSegment, StoredHere)>> = BTreeMap::new();
    for (log, segments) in held {
        let Some(view) = logs.get(log) else { continue };
        let Some(head) = &view.head else { continue };
        let unsettled = view.segments.iter().find(|(_, d)| !d.is_settled());
        // Numbers from the head's on may yet become segments.
        let bound = unsettled.map_or(head.segment, |(s, _)| (*s).min(head.segment));
        for segment in segments.iter().filter(|s| **s < bound) {
            let stored = stored.get(&(*log, *segment));
            let goes = match (view.segments.get(segment), stored) {
                (None, _) => view.folded.as_ref().is_none_or(|f| *segment > f.through),
                (Some(d), None) => matches!(d.state, SegmentState::Sealed { .. }),
                (Some(_), Some(stored)) => now.saturating_sub(stored.since) >= rule.age,
            };
            let rest = kept.entry(*log).or_default();
            match stored {
                _ if goes && rest.is_empty() => {
                    through.insert(*log, *segment);
                }
                Some(stored) => rest.push((*segment, *stored)),
                // Not known yet how big it is, or it goes with those before it.
                None if goes => {}
                None => break,
            }
        }
    }
    let all = kept.values().flatten().map(|(_, s)| s.bytes);
    let mut bytes: u64 = all.fold(0, u64::saturating_add);
    for rest in kept.values_mut() {
        rest.reverse();
    }
    while bytes > rule.bytes {
        let oldest = kept
            .iter_mut()
            .filter_map(|(log, rest)| Some((rest.last()?.1.since, *log, rest)))
            .min_by_key(|(since, log, _)| (*since, *log));
        let Some((_, log, rest)) = oldest else { break };
        let Some((segment, gone)) = rest.pop() else {
            break;
        };
        bytes -= gone.bytes.min(bytes);
        through.insert(log, segment);
    }
    through
}

/// Whether the objects of one upload of a segment are of no use, now and for ever. They are when the metadata names another
/// upload of it, or has let go of it: neither is taken back, so that an upload still under way cannot be recorded any more.
/// Object storage has to be listed before the metadata is read.
///
/// `folder` is the beginning of the upload's names, up to and with the slash.
#[must_use]
pub fn is_unreachable(view: &LogView, segment: LogSegment, folder: &str) -> bool {
    let Some(head) = &view.head else { return false };
    match view.segments.get(&segment).map(|d| &d.state) {
        Some(SegmentState::Open | SegmentState::Sealed { .. }) => false,
        Some(SegmentState::Tiered { manifest, .. }) => !manifest.key.starts_with(folder),
        None => segment < head.segment && view.folded.as_ref().is_none_or(|f| segment > f.through),
    }
}

#[cfg(test)]
mod tests;
