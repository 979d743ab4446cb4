//! What the journal tells about itself.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// A group became durable: it took `took` to write and sync.
pub(crate) fn group(submissions: usize, records: usize, bytes: usize, took: Duration) {
    counter!("holdfast_journal_syncs").increment(1);
    counter!("holdfast_journal_append_bytes").increment(bytes as u64);
    histogram!("holdfast_journal_group_submissions").record(submissions as f64);
    histogram!("holdfast_journal_group_records").record(records as f64);
    histogram!("holdfast_journal_group_bytes").record(bytes as f64);
    histogram!("holdfast_journal_sync_seconds").record(took);
}

/// Submissions came to nothing; `reason` is one of a fixed few.
pub(crate) fn rejected(submissions: usize, reason: &'static str) {
    counter!("holdfast_journal_reject_submissions", "reason" => reason)
        .increment(submissions as u64);
}

/// Bytes waiting to be written.
pub(crate) fn queued(bytes: usize) {
    gauge!("holdfast_journal_queue_bytes").set(bytes as f64);
}
