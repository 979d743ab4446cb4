//! What the stream-node measures.

use metrics::{counter, gauge, histogram};

/// Rows written and deleted, and how long a write took from arrival to acknowledgement.
pub(crate) fn write_done(rows: usize, deletes: usize, seconds: f64) {
    counter!("holdfast_stream_rows_written_total").increment(rows as u64);
    counter!("holdfast_stream_keys_deleted_total").increment(deletes as u64);
    histogram!("holdfast_stream_write_seconds").record(seconds);
}

/// A write that was refused, by the name of its failure code.
pub(crate) fn write_refused(code: &'static str) {
    counter!("holdfast_stream_writes_refused_total", "code" => code).increment(1);
}

/// A flush of one shard.
pub(crate) fn flush_done(rows: u64, bytes: u64, seconds: f64) {
    counter!("holdfast_stream_flushes_total").increment(1);
    counter!("holdfast_stream_flushed_rows_total").increment(rows);
    counter!("holdfast_stream_flushed_bytes_total").increment(bytes);
    histogram!("holdfast_stream_flush_seconds").record(seconds);
}

/// A flush that failed and is tried again.
pub(crate) fn flush_failed() {
    counter!("holdfast_stream_flush_failures_total").increment(1);
}

/// Position and stamp of the last applied record.
pub(crate) fn applied(channel: u32, lsn: u64) {
    gauge!("holdfast_stream_applied_lsn", "channel" => channel.to_string()).set(lsn as f64);
}

/// Records of the log that a start read.
pub(crate) fn replayed(channel: u32, records: u64) {
    gauge!("holdfast_stream_replayed_records", "channel" => channel.to_string())
        .set(records as f64);
}
