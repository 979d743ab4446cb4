//! What time it is on a host: the simulation's, and how far the host's clock is off.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use holdfast_runtime::Clock;

/// When every run begins: some day in 2026.
const BEGIN_UNIX_MS: u64 = 1_780_000_000_000;

/// A host's clock. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostClock {
    ahead_ms: Arc<AtomicU64>,
}

impl HostClock {
    /// From now on the clock is this much ahead of the simulation's.
    pub(crate) fn set_ahead(&self, ahead: Duration) {
        let ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn unix_ms(&self) -> u64 {
        let now = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
        BEGIN_UNIX_MS + now + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        now()
    }
}

/// Simulated time since the run began; zero outside of a host.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
