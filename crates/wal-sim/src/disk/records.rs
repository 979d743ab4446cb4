//! A disk that keeps records, each whole or not at all: fast, and exact about what is synced.

use std::collections::{BTreeMap, VecDeque};

use holdfast_qlog::{Entry, NodeImage, NodeRecord, StorageId, invariants::Ledger, node::Ticket};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::rng::Rng;

/// What is synced.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    storage: StorageId,
    pub(crate) generation: u64,
    pub(crate) image: NodeImage,
    content: BTreeMap<(ChannelId, LogSegment), Vec<Entry>>,
    /// Something was lost that cannot be told from what was never there.
    pub(crate) damaged: bool,
}

impl Records {
    pub(crate) fn empty(storage: StorageId) -> Self {
        Self {
            storage,
            generation: 0,
            image: NodeImage::default(),
            content: BTreeMap::new(),
            damaged: false,
        }
    }

    pub(crate) fn sync(
        &mut self,
        pending: &mut VecDeque<(Ticket, Vec<NodeRecord>)>,
        through: Ticket,
        ledger: &mut Ledger,
    ) {
        while pending.front().is_some_and(|(t, _)| *t <= through) {
            let Some((_, records)) = pending.pop_front() else {
                break;
            };
            for record in &records {
                self.apply(record, ledger);
            }
        }
    }

    fn apply(&mut self, record: &NodeRecord, ledger: &mut Ledger) {
        self.image
            .apply(record)
            .expect("a log-node writes records that follow from each other");
        match record {
            NodeRecord::Promise { .. } => {}
            NodeRecord::SegmentOpen { log, segment, .. } => {
                self.content.insert((*log, *segment), Vec::new());
            }
            NodeRecord::Append {
                log,
                segment,
                entry,
                ..
            } => {
                let first = self.image.logs[log].segments[segment].first;
                let held = self.content.entry((*log, *segment)).or_default();
                held.truncate((entry.lsn.0 - first.0) as usize);
                held.push(entry.clone());
                ledger.durable(*log, *segment, self.storage, entry);
            }
            NodeRecord::Finish { log, segment, end } => {
                let first = self.image.logs[log].segments[segment].first;
                let held = self.content.entry((*log, *segment)).or_default();
                held.truncate((end.0 + 1 - first.0) as usize);
            }
            NodeRecord::Trim { log, segment } => {
                self.content.retain(|(of, s), _| of != log || s > segment);
            }
        }
    }

    pub(crate) fn read(
        &self,
        log: ChannelId,
        segment: LogSegment,
        from: Lsn,
        through: Lsn,
        bytes_max: usize,
    ) -> Vec<Entry> {
        let Some(held) = self.content.get(&(log, segment)) else {
            return Vec::new();
        };
        let mut bytes = 0;
        held.iter()
            .skip_while(|e| e.lsn < from)
            .take_while(|e| e.lsn <= through)
            .take_while(|e| {
                let fits = bytes == 0 || bytes + e.payload.len() <= bytes_max;
                bytes += e.payload.len();
                fits
            })
            .cloned()
            .collect()
    }

    /// One record becomes unreadable: an entry, and all behind it in its segment cannot be vouched for; or something that
    /// the disk cannot do without. Returns the entry.
    pub(crate) fn rot(&mut self, rng: &mut Rng) -> Option<(ChannelId, LogSegment, Lsn)> {
        if rng.chance(200_000) || self.content.is_empty() {
            self.damaged = true;
            return None;
        }
        // Mostly one of a log's last segment: that is where it hurts.
        let last = rng.chance(700_000);
        let log = self
            .content
            .keys()
            .nth(rng.below(self.content.len() as u64) as usize);
        let log = log.map(|(log, _)| *log);
        let of_log = self
            .content
            .iter_mut()
            .filter(|((l, _), _)| Some(*l) == log);
        let mut of_log: Vec<_> = of_log.filter(|(_, held)| !held.is_empty()).collect();
        if of_log.is_empty() {
            return None;
        }
        let which = if last {
            of_log.len() - 1
        } else {
            rng.below(of_log.len() as u64) as usize
        };
        let ((log, segment), held) = of_log.swap_remove(which);
        let len = held.len() as u64;
        let at = (len - 1 - rng.below(if last { len.min(8) } else { len })) as usize;
        let lsn = held[at].lsn;
        held.truncate(at);
        let state = self.image.logs.get_mut(log);
        if let Some(state) = state.and_then(|l| l.segments.get_mut(segment)) {
            state.certain = Lsn(lsn.0 - 1);
        }
        Some((*log, *segment, lsn))
    }
}
