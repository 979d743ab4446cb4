//! How long things took, and how the times are spread.

use std::time::Duration;

use tokio::time::Instant;

/// Times with their beginnings.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<(Instant, Duration)>);

impl Latencies {
    /// More of them.
    pub fn extend(&mut self, more: impl IntoIterator<Item = (Instant, Duration)>) {
        self.0.extend(more);
        self.0.sort_unstable_by_key(|(_, took)| *took);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that this share of them did not exceed: 1 is the longest. Zero when there are none.
    #[must_use]
    pub fn at(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.0.get(at.min(last)).map_or(Duration::ZERO, |t| t.1)
    }

    /// How many were longer.
    #[must_use]
    pub fn slower_than(&self, bound: Duration) -> usize {
        self.0.iter().filter(|(_, took)| *took > bound).count()
    }

    /// How many were longer without anything of `other` that took at least half as long at the same time.
    #[must_use]
    pub fn slower_alone(&self, bound: Duration, other: &Self) -> usize {
        let slow = self.0.iter().filter(|(_, took)| *took > bound);
        let alone = slow.filter(|(began, took)| {
            let excused = |(start, lasted): &(Instant, Duration)| {
                *lasted * 2 >= *took && *start < *began + *took && *began < *start + *lasted
            };
            !other.0.iter().rev().any(excused)
        });
        alone.count()
    }

    /// Those that ended before a moment, and the others.
    #[must_use]
    pub fn split(self, moment: Instant) -> (Self, Self) {
        let ended = |(began, took): &(Instant, Duration)| *began + *took <= moment;
        let (before, after) = self.0.into_iter().partition(ended);
        (Self(before), Self(after))
    }
}

impl IntoIterator for Latencies {
    type Item = (Instant, Duration);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_hundred() {
        let now = Instant::now();
        let mut latencies = Latencies::default();
        latencies.extend((0..=100).rev().map(|i| (now, Duration::from_millis(i))));
        for (share, millis) in [(0.0, 0), (0.5, 50), (0.99, 99), (1.0, 100)] {
            assert_eq!(latencies.at(share), Duration::from_millis(millis));
        }
        assert_eq!(latencies.slower_than(Duration::from_millis(97)), 3);
        let mut other = Latencies::default();
        let beside = |begin, millis| {
            (
                now + Duration::from_millis(begin),
                Duration::from_millis(millis),
            )
        };
        other.extend([beside(50, 49), beside(99, 60)]);
        let alone = latencies.slower_alone(Duration::from_millis(97), &other);
        assert_eq!(alone, 1, "98 is excused by nobody, 99 neither");
        let (before, after) = latencies.split(now + Duration::from_millis(9));
        assert_eq!((before.len(), after.len()), (10, 91));
        assert_eq!(Latencies::default().at(0.5), Duration::ZERO);
    }
}
