//! How much of the log lies after a position: the bound on replay.

use std::collections::VecDeque;

use holdfast_types::Lsn;

/// Bytes appended to the log, sampled: enough to know how much of it lies after a position.
#[derive(Debug, Default)]
pub(crate) struct LogBytes {
    total: u64,
    /// A position, and the bytes that were appended before it.
    samples: VecDeque<(Lsn, u64)>,
}

impl LogBytes {
    /// A sample every so many bytes.
    const STEP: u64 = 1 << 20;

    pub(crate) fn add(&mut self, lsn: Lsn, bytes: u64) {
        if self
            .samples
            .back()
            .is_none_or(|&(_, at)| self.total - at >= Self::STEP)
        {
            self.samples.push_back((lsn, self.total));
        }
        self.total += bytes;
    }

    /// Bytes from `lsn` to the end, to within [`Self::STEP`].
    pub(crate) fn since(&self, lsn: Lsn) -> u64 {
        let i = self.samples.partition_point(|&(at, _)| at <= lsn);
        let before = i.checked_sub(1).map_or(0, |i| self.samples[i].1);
        self.total - before
    }

    /// Forgets samples before `lsn`.
    pub(crate) fn forget_before(&mut self, lsn: Lsn) {
        while self.samples.len() > 1 && self.samples[1].0 <= lsn {
            self.samples.pop_front();
        }
    }
}
