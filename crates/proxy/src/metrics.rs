//! What the proxy measures.

use std::time::Duration;

use holdfast_runtime::Clock;
use holdfast_types::Failure;
use metrics::{counter, histogram};

/// One call under way.
pub(crate) struct Call {
    rpc: &'static str,
    started: Duration,
}

impl Call {
    pub(crate) fn start(rpc: &'static str, clock: &dyn Clock) -> Self {
        Self {
            rpc,
            started: clock.monotonic(),
        }
    }

    /// Counts the call by its outcome and records how long it took.
    pub(crate) fn done(self, clock: &dyn Clock, failure: Option<&Failure>) {
        let outcome = failure.map_or("ok", |f| f.code.name());
        counter!("holdfast_proxy_requests_total", "rpc" => self.rpc, "outcome" => outcome)
            .increment(1);
        let took = clock.monotonic().saturating_sub(self.started);
        histogram!("holdfast_proxy_request_seconds", "rpc" => self.rpc).record(took.as_secs_f64());
        if let Some(failure) = failure {
            tracing::debug!(rpc = self.rpc, code = failure.code.name(), %failure, "refused");
        }
    }
}
