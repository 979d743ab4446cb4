//! What the log tells about itself.

use std::time::Duration;

use holdfast_types::{ChannelId, Lsn};
use metrics::{counter, gauge, histogram};

/// Metrics of one channel. Channels are a fixed small number, so their ids may be labels.
#[derive(Debug)]
pub(crate) struct ChannelMetrics {
    channel: String,
}

impl ChannelMetrics {
    pub(crate) fn new(channel: ChannelId) -> Self {
        Self {
            channel: channel.to_string(),
        }
    }

    /// A batch became durable.
    pub(crate) fn batch(&self, records: usize, bytes: usize, took: Duration, last: Lsn) {
        let channel = || self.channel.clone();
        counter!("holdfast_wal_append_records", "channel" => channel()).increment(records as u64);
        counter!("holdfast_wal_append_bytes", "channel" => channel()).increment(bytes as u64);
        histogram!("holdfast_wal_batch_records", "channel" => channel()).record(records as f64);
        histogram!("holdfast_wal_batch_seconds", "channel" => channel()).record(took);
        gauge!("holdfast_wal_committed_lsn", "channel" => channel()).set(last.0 as f64);
    }

    /// Appends came to nothing; `reason` is one of a fixed few.
    pub(crate) fn rejected(&self, records: usize, reason: &'static str) {
        counter!("holdfast_wal_reject_records", "channel" => self.channel.clone(), "reason" => reason)
            .increment(records as u64);
    }

    /// Bytes waiting to be written.
    pub(crate) fn queued(&self, bytes: usize) {
        gauge!("holdfast_wal_queue_bytes", "channel" => self.channel.clone()).set(bytes as f64);
    }

    /// A reader read from files because it was too far behind for the ring.
    pub(crate) fn read_from_files(&self, bytes: usize) {
        counter!("holdfast_wal_file_read_bytes", "channel" => self.channel.clone())
            .increment(bytes as u64);
    }
}
