//! What failed, and when to try again.

use std::{collections::HashMap, hash::Hash, time::Duration};

use holdfast_types::{Code, Failure};

/// Failures by what failed. Times are monotonic.
#[derive(Debug)]
pub(crate) struct Faults<K> {
    found: HashMap<K, Fault>,
    pause_min: Duration,
    pause_max: Duration,
}

#[derive(Debug)]
struct Fault {
    tries: u32,
    /// `None`: never again.
    retry_at: Option<Duration>,
    message: String,
}

impl<K: Copy + Eq + Hash> Faults<K> {
    pub(crate) fn new(pause_min: Duration, pause_max: Duration) -> Self {
        Self {
            found: HashMap::new(),
            pause_min,
            pause_max,
        }
    }

    /// Takes note of a failure; the pause before the next try doubles each time. Whether it is final:
    /// the same input would fail again.
    pub(crate) fn failed(&mut self, key: K, failure: &Failure, now: Duration) -> bool {
        let is_final = matches!(
            failure.code,
            Code::InvalidArgument | Code::Corrupt | Code::Unsupported
        );
        let tries = self.found.get(&key).map_or(0, |f| f.tries);
        let pause = self
            .pause_min
            .saturating_mul(1 << tries.min(20))
            .min(self.pause_max);
        let fault = Fault {
            tries: tries.saturating_add(1),
            retry_at: (!is_final).then(|| now.saturating_add(pause)),
            message: failure.message.clone(),
        };
        self.found.insert(key, fault);
        is_final
    }

    pub(crate) fn succeeded(&mut self, key: K) {
        self.found.remove(&key);
    }

    /// Whether it may not be tried now.
    pub(crate) fn waits(&self, key: K, now: Duration) -> bool {
        self.found
            .get(&key)
            .is_some_and(|f| f.retry_at.is_none_or(|at| at > now))
    }

    /// Why it will not be tried again, if so.
    pub(crate) fn final_failure(&self, key: K) -> Option<&str> {
        let fault = self.found.get(&key)?;
        fault.retry_at.is_none().then_some(&*fault.message)
    }

    /// How long until something may be tried again.
    pub(crate) fn next_retry(&self, now: Duration) -> Option<Duration> {
        let times = self.found.values().filter_map(|f| f.retry_at);
        times.min().map(|at| at.saturating_sub(now))
    }

    /// Forgets what is no longer of interest.
    pub(crate) fn retain(&mut self, keep: impl Fn(K) -> bool) {
        self.found.retain(|key, _| keep(*key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_success() {
        let mut faults = Faults::new(SECOND, SECOND * 3);
        let failure = Failure::new(Code::Unavailable, "store out of reach");
        let mut now = Duration::ZERO;
        for pause in [1, 2, 3, 3] {
            assert!(!faults.failed(7, &failure, now));
            assert_eq!(faults.next_retry(now), Some(SECOND * pause));
            now += SECOND * pause - Duration::from_millis(1);
            assert!(faults.waits(7, now));
            now += Duration::from_millis(1);
            assert!(!faults.waits(7, now));
        }
        assert_eq!(faults.final_failure(7), None);
        faults.succeeded(7);
        assert_eq!(faults.next_retry(now), None);
    }

    #[test]
    fn what_the_same_input_would_meet_again_is_final() {
        for code in [Code::InvalidArgument, Code::Corrupt] {
            let mut faults = Faults::new(SECOND, SECOND);
            assert!(faults.failed(1, &Failure::new(code, "bad row"), Duration::ZERO));
            assert!(faults.waits(1, Duration::MAX));
            assert_eq!(faults.final_failure(1), Some("bad row"));
            faults.retain(|key| key != 1);
            assert!(!faults.waits(1, Duration::ZERO));
        }
    }
}
