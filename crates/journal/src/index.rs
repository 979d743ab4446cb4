//! Where the entries of each segment lie: in memory, 24 bytes a batch and segment.

use std::collections::BTreeMap;

use holdfast_types::{ChannelId, LogSegment, Lsn};

/// A segment of a log.
pub(crate) type Key = (ChannelId, LogSegment);

/// Entries of one segment that follow each other in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Lsn,
    pub(crate) count: u32,
    /// The batch's offset in its file, in blocks.
    pub(crate) block: u32,
    pub(crate) file: u64,
}

impl Range {
    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.first.0 + u64::from(self.count) - 1)
    }

    fn clipped(&self, first: Lsn, last: Lsn) -> Option<Self> {
        let (from, to) = (self.first.max(first), self.last().min(last));
        let count = (to.0 + 1).checked_sub(from.0).filter(|&n| n > 0)?;
        Some(Self {
            first: from,
            count: u32::try_from(count).expect("no more than before"),
            ..*self
        })
    }
}

/// The index, and how many ranges lie in each file.
#[derive(Debug, Default)]
pub(crate) struct Index {
    segments: BTreeMap<Key, Vec<Range>>,
    live: BTreeMap<u64, u64>,
}

impl Index {
    /// Adds a range. Where it overlaps others, it is the one that counts: an entry written again is read from where
    /// it was written last.
    pub(crate) fn insert(&mut self, key: Key, range: Range) {
        if range.count == 0 {
            return;
        }
        *self.live.entry(range.file).or_default() += 1;
        let ranges = self.segments.entry(key).or_default();
        if ranges.last().is_none_or(|last| last.last() < range.first) {
            ranges.push(range);
            return;
        }
        let before = ranges.partition_point(|r| r.last() < range.first);
        let after = ranges.partition_point(|r| r.first <= range.last());
        let mut fitted = Vec::with_capacity(3);
        for old in &ranges[before..after] {
            if range.first > Lsn(0) {
                fitted.extend(old.clipped(Lsn(0), Lsn(range.first.0 - 1)));
            }
        }
        fitted.push(range);
        for old in &ranges[before..after] {
            fitted.extend(old.clipped(range.last().next(), Lsn(u64::MAX / 2)));
        }
        for old in &ranges[before..after] {
            less(&mut self.live, old.file);
        }
        for new in fitted.iter().filter(|new| **new != range) {
            *self.live.entry(new.file).or_default() += 1;
        }
        ranges.splice(before..after, fitted);
    }

    /// Forgets what lies beyond `last`.
    pub(crate) fn truncate(&mut self, key: Key, last: Lsn) {
        let Some(ranges) = self.segments.get_mut(&key) else {
            return;
        };
        while let Some(range) = ranges.last_mut()
            && range.last() > last
        {
            match range.clipped(Lsn(0), last) {
                Some(shorter) => *range = shorter,
                None => {
                    less(&mut self.live, range.file);
                    ranges.pop();
                }
            }
        }
    }

    /// Forgets the segments of a log up to `trimmed`.
    pub(crate) fn trim(&mut self, log: ChannelId, trimmed: LogSegment) {
        let keys = (log, LogSegment(0))..=(log, trimmed);
        let gone: Vec<Key> = self.segments.range(keys).map(|(key, _)| *key).collect();
        for range in gone
            .iter()
            .filter_map(|key| self.segments.remove(key))
            .flatten()
        {
            less(&mut self.live, range.file);
        }
    }

    /// The ranges of a segment from the one that holds `from`, or the first after it.
    pub(crate) fn from(&self, key: Key, from: Lsn) -> &[Range] {
        let ranges = self.segments.get(&key).map_or(&[][..], Vec::as_slice);
        &ranges[ranges.partition_point(|r| r.last() < from)..]
    }

    /// The first entry in `first..=last` that is nowhere.
    pub(crate) fn first_missing(&self, key: Key, first: Lsn, last: Lsn) -> Option<Lsn> {
        let mut next = first;
        for range in self.from(key, first) {
            if range.first > next {
                break;
            }
            next = range.last().next();
        }
        (next <= last).then_some(next)
    }

    /// Ranges that lie in a file.
    pub(crate) fn live(&self, file: u64) -> u64 {
        self.live.get(&file).copied().unwrap_or(0)
    }

    /// All ranges in a file.
    pub(crate) fn in_file(&self, file: u64) -> impl Iterator<Item = (Key, Range)> + '_ {
        self.segments.iter().flat_map(move |(key, ranges)| {
            let here = ranges.iter().filter(move |r| r.file == file);
            here.map(|range| (*key, *range))
        })
    }

    /// Bytes of memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let ranges: usize = self.segments.values().map(Vec::capacity).sum();
        (ranges * size_of::<Range>() + self.segments.len() * 64) as u64
    }
}

fn less(live: &mut BTreeMap<u64, u64>, file: u64) {
    if let Some(count) = live.get_mut(&file) {
        *count -= 1;
        if *count == 0 {
            live.remove(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (ChannelId(1), LogSegment(1));

    fn range(first: u64, last: u64, file: u64) -> Range {
        Range {
            first: Lsn(first),
            count: (last + 1 - first) as u32,
            block: 2,
            file,
        }
    }

    fn check(index: &Index, expected: &[(u64, u64, u64)]) {
        let ranges: Vec<_> = index
            .from(KEY, Lsn(0))
            .iter()
            .map(|r| (r.first.0, r.last().0, r.file))
            .collect();
        assert_eq!(ranges, expected);
        for file in 0..9 {
            let here = expected.iter().filter(|r| r.2 == file).count();
            assert_eq!(index.live(file), here as u64, "file {file}");
        }
    }

    #[test]
    fn what_was_written_last_counts() {
        let mut index = Index::default();
        index.insert(KEY, range(1, 10, 1));
        index.insert(KEY, range(11, 20, 2));
        check(&index, &[(1, 10, 1), (11, 20, 2)]);
        index.insert(KEY, range(4, 5, 3));
        check(&index, &[(1, 3, 1), (4, 5, 3), (6, 10, 1), (11, 20, 2)]);
        index.insert(KEY, range(8, 12, 4));
        check(
            &index,
            &[(1, 3, 1), (4, 5, 3), (6, 7, 1), (8, 12, 4), (13, 20, 2)],
        );
        index.insert(KEY, range(1, 30, 5));
        check(&index, &[(1, 30, 5)]);
        index.truncate(KEY, Lsn(7));
        check(&index, &[(1, 7, 5)]);
        index.insert(KEY, range(10, 11, 6));
        assert_eq!(
            index.first_missing(KEY, Lsn(1), Lsn(11)),
            Some(Lsn(8)),
            "the gap"
        );
        assert_eq!(index.first_missing(KEY, Lsn(1), Lsn(7)), None);
        index.trim(KEY.0, KEY.1);
        check(&index, &[]);
    }
}
