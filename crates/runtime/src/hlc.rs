//! The hybrid logical clock: stamps that follow the wall clock when it can be followed and count on
//! when it cannot (Kulkarni et al., *Logical Physical Clocks*, 2014).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use holdfast_types::Timestamp;

use crate::Clock;

/// Hands out strictly rising stamps. Shared by reference between threads.
#[derive(Debug)]
pub struct Hlc {
    clock: Arc<dyn Clock>,
    last: AtomicU64,
}

impl Hlc {
    /// A clock that has stamped nothing yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            last: AtomicU64::new(0),
        }
    }

    /// The next stamp: the larger of the wall clock and the one after [`Self::last`].
    pub fn next(&self) -> Timestamp {
        let now = Timestamp::from_unix_ms(self.clock.unix_ms()).0;
        let rise = |last: u64| now.max(last.saturating_add(1));
        let before = self
            .last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(rise(last)))
            .unwrap_or_else(|last| last);
        Timestamp(rise(before))
    }

    /// Takes note of a stamp made elsewhere: every later [`Self::next`] is above it.
    ///
    /// The caller judges whether `seen` is credible; a stamp far in the future drags this clock along.
    pub fn observe(&self, seen: Timestamp) {
        self.last.fetch_max(seen.0, Ordering::SeqCst);
    }

    /// The largest stamp made or observed.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::SeqCst))
    }

    /// What [`Self::next`] would at least return, without taking it: the wall clock or [`Self::last`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.last()
            .max(Timestamp::from_unix_ms(self.clock.unix_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn stamps_rise_while_the_wall_clock_stands_still_or_goes_back() {
        let clock = ManualClock::new(1_000);
        let hlc = Hlc::new(Arc::new(clock.clone()));
        let first = hlc.next();
        assert_eq!(first, Timestamp::from_unix_ms(1_000));
        assert_eq!(hlc.next(), first.next());
        clock.set(1);
        assert_eq!(hlc.next(), first.next().next());
        clock.set(2_000);
        assert_eq!(hlc.next(), Timestamp::from_unix_ms(2_000));
    }

    #[test]
    fn a_stamp_follows_every_observed_one() {
        let hlc = Hlc::new(Arc::new(ManualClock::new(5)));
        hlc.observe(Timestamp::from_unix_ms(9));
        hlc.observe(Timestamp::from_unix_ms(7));
        assert_eq!(hlc.last(), Timestamp::from_unix_ms(9));
        assert_eq!(hlc.next(), Timestamp::from_unix_ms(9).next());
    }

    #[test]
    fn threads_never_share_a_stamp() {
        let hlc = Hlc::new(Arc::new(ManualClock::new(1)));
        let mut stamps: Vec<Timestamp> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).map(|_| hlc.next()).collect::<Vec<_>>()))
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        stamps.sort_unstable();
        stamps.dedup();
        assert_eq!(stamps.len(), 4_000);
    }
}
