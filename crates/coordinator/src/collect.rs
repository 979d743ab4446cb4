//! The loop that deletes objects nobody can reach.

use std::sync::Arc;

use holdfast_runtime::Shutdown;
use holdfast_storage::gc::{Collector, Now, Pins, Policy};
use holdfast_types::Coded;

use crate::CoordinatorService;

impl CoordinatorService {
    /// Looks for unreachable objects from time to time until `shutdown`.
    pub(crate) async fn collect_objects(&self, shutdown: &Shutdown) {
        let policy = Policy {
            grace: self.options.gc_grace,
            version_age_max: self.options.gc_grace,
            ..Policy::default()
        };
        let manifests = Arc::clone(&self.parts.manifests);
        let mut collector = Collector::new(manifests, Pins::default(), policy);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(self.options.gc_period) => {}
            }
            let now = Now {
                unix_ms: self.parts.clock.unix_ms(),
                monotonic: self.parts.clock.monotonic(),
            };
            tokio::select! {
                () = shutdown.triggered() => return,
                report = collector.run_once(now) => match report {
                    Ok(report) => tracing::debug!(?report, "looked for unreachable objects"),
                    Err(e) => tracing::warn!(error = %e.to_failure(), "unreachable objects could not be looked for"),
                }
            }
        }
    }
}
