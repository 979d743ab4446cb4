//! What the client of etcd tells about itself.

use std::time::Duration;

use metrics::{counter, histogram};

/// An operation ended; `result` is `ok` or the name of a [`Code`](holdfast_types::Code).
pub(crate) fn operation(operation: &'static str, result: &'static str, took: Duration) {
    histogram!("holdfast_meta_etcd_operation_seconds", "operation" => operation).record(took);
    counter!("holdfast_meta_etcd_operations", "operation" => operation, "result" => result)
        .increment(1);
}

/// A member did not do what it was asked, and the next one is.
pub(crate) fn member_failed(operation: &'static str) {
    counter!("holdfast_meta_etcd_member_failures", "operation" => operation).increment(1);
}

/// A watch opened a stream; the first, or one more after a break.
pub(crate) fn watch_opened() {
    counter!("holdfast_meta_etcd_watch_streams").increment(1);
}
