//! Whether records follow from what the journal holds, asked before anything is written.

use std::collections::{BTreeMap, btree_map::Entry};

use holdfast_qlog::{LogImage, NodeImage, NodeRecord, image::OutOfOrder};
use holdfast_types::{ChannelId, Lsn};

use crate::{codec, error::AppendError, index::Key};

/// The image as it will be, as far as it differs.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    image: &'a NodeImage,
    /// Logs with control records, as they will be.
    logs: NodeImage,
    /// The last entries of segments of other logs.
    tails: BTreeMap<Key, Lsn>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(image: &'a NodeImage) -> Self {
        Self {
            image,
            logs: NodeImage::default(),
            tails: BTreeMap::new(),
        }
    }

    /// Takes all of `records` in, or none.
    pub(super) fn admit(&mut self, records: &[NodeRecord]) -> Result<(), AppendError> {
        let mut logs = NodeImage::default();
        let mut tails = BTreeMap::new();
        for record in records {
            codec::check(record)?;
            let log = record.log();
            if let NodeRecord::Append { entry, .. } = record
                && !entry.is_intact(log)
            {
                let lsn = entry.lsn;
                return Err(AppendError::NotIntact { log, lsn });
            }
            let whole = !matches!(record, NodeRecord::Append { .. })
                || self.logs.logs.contains_key(&log)
                || logs.logs.contains_key(&log);
            if whole {
                if let Entry::Vacant(new) = logs.logs.entry(log) {
                    new.insert(self.log(log, &tails));
                    tails.retain(|(of, _), _| *of != log);
                }
                logs.apply(record)?;
                continue;
            }
            let NodeRecord::Append { segment, entry, .. } = record else {
                unreachable!("the others are applied to the whole log");
            };
            let key = (log, *segment);
            let last = tails.get(&key).or_else(|| self.tails.get(&key)).copied();
            let last = last.or_else(|| {
                let held = self.image.logs.get(&log)?.segments.get(segment)?;
                Some(held.certain)
            });
            let problem = match last {
                Some(last) if entry.lsn == last.next() => {
                    tails.insert(key, entry.lsn);
                    continue;
                }
                Some(last) => format!("entry {} of segment {segment} after {last}", entry.lsn),
                None => format!("segment {segment} was never opened"),
            };
            return Err(OutOfOrder { log, problem }.into());
        }
        for log in logs.logs.keys() {
            self.tails.retain(|(of, _), _| of != log);
        }
        self.logs.logs.extend(logs.logs);
        self.tails.extend(tails);
        Ok(())
    }

    /// A log as it will be.
    fn log(&self, log: ChannelId, tails: &BTreeMap<Key, Lsn>) -> LogImage {
        if let Some(staged) = self.logs.logs.get(&log) {
            return staged.clone();
        }
        let mut image = self.image.logs.get(&log).cloned().unwrap_or_default();
        for ((of, segment), last) in self.tails.iter().chain(tails) {
            if *of == log
                && let Some(held) = image.segments.get_mut(segment)
            {
                held.certain = held.certain.max(*last);
                held.possible = held.possible.max(*last);
            }
        }
        image
    }
}
