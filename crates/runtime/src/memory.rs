//! One budget for all memory that grows with data, so that a full node slows writers down instead of
//! being killed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_types::{Code, Coded};
use metrics::gauge;
use tokio::sync::Notify;

/// Most of the budget that growing segments may hold, in percent: searches, caches and index builds
/// always keep the rest.
const GROWING_PERCENT: u64 = 60;

/// Who uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Rows not yet flushed. Capped at 60 % of the total.
    Growing,
    /// Loaded segments and cached objects.
    Cache,
    /// Index builds and merges.
    IndexBuild,
    /// Requests being answered.
    Query,
    /// Records queued for the log or kept for its readers.
    Wal,
}

const KINDS: usize = 5;

impl MemoryKind {
    fn index(self) -> usize {
        match self {
            Self::Growing => 0,
            Self::Cache => 1,
            Self::IndexBuild => 2,
            Self::Query => 3,
            Self::Wal => 4,
        }
    }

    /// The kind's name, as it labels the gauge.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Growing => "growing",
            Self::Cache => "cache",
            Self::IndexBuild => "index_build",
            Self::Query => "query",
            Self::Wal => "wal",
        }
    }
}

/// The reservation does not fit now (or, when `bytes` exceeds `limit`, ever).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory budget is used up: {bytes} bytes for {} do not fit beside the {used} of {limit} in use", kind.name()
)]
pub struct OverBudget {
    /// Who asked.
    pub kind: MemoryKind,
    /// For how much.
    pub bytes: u64,
    /// What was in use of the limit that was hit.
    pub used: u64,
    /// That limit: the total, or the kind's share.
    pub limit: u64,
}

impl Coded for OverBudget {
    fn code(&self) -> Code {
        Code::QuotaExceeded
    }
}

/// The budget of one process.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    used: Mutex<[u64; KINDS]>,
    released: Notify,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Arc<Self> {
        gauge!("holdfast_runtime_memory_budget_bytes").set(total as f64);
        Arc::new(Self {
            total,
            used: Mutex::new([0; KINDS]),
            released: Notify::new(),
        })
    }

    /// Reserves `bytes`, now or not at all.
    ///
    /// # Errors
    /// [`OverBudget`] when they do not fit.
    pub fn try_reserve(
        self: &Arc<Self>,
        kind: MemoryKind,
        bytes: u64,
    ) -> Result<Reservation, OverBudget> {
        self.take(kind, bytes)?;
        Ok(Reservation {
            budget: Arc::clone(self),
            kind,
            bytes,
        })
    }

    /// Reserves `bytes`, waiting at most `deadline` for others to release theirs. Waiters are not
    /// served in order: a small reservation may overtake a large one.
    ///
    /// # Errors
    /// [`OverBudget`] at once when they can never fit, after the deadline when they did not.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is reserved until it returns.
    pub async fn reserve(
        self: &Arc<Self>,
        kind: MemoryKind,
        bytes: u64,
        deadline: Duration,
    ) -> Result<Reservation, OverBudget> {
        let give_up = tokio::time::sleep(deadline);
        tokio::pin!(give_up);
        loop {
            // Listening starts before looking, or a release in between would go unheard.
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            let over = match self.try_reserve(kind, bytes) {
                Ok(reservation) => return Ok(reservation),
                Err(over) if bytes > over.limit => return Err(over),
                Err(over) => over,
            };
            tokio::select! {
                biased;
                () = &mut released => {}
                () = &mut give_up => return Err(over),
            }
        }
    }

    /// Bytes that this kind holds.
    #[must_use]
    pub fn used(&self, kind: MemoryKind) -> u64 {
        self.lock()[kind.index()]
    }

    /// Bytes that all kinds hold.
    #[must_use]
    pub fn used_total(&self) -> u64 {
        self.lock().iter().sum()
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The most that this kind may hold.
    #[must_use]
    pub fn limit(&self, kind: MemoryKind) -> u64 {
        match kind {
            // Divided first, so that a budget of u64::MAX does not overflow.
            MemoryKind::Growing => self.total / 100 * GROWING_PERCENT,
            MemoryKind::Cache | MemoryKind::IndexBuild | MemoryKind::Query | MemoryKind::Wal => {
                self.total
            }
        }
    }

    fn take(&self, kind: MemoryKind, bytes: u64) -> Result<(), OverBudget> {
        let mut used = self.lock();
        let (own, all) = (used[kind.index()], used.iter().sum::<u64>());
        for (used, limit) in [(all, self.total), (own, self.limit(kind))] {
            if used.checked_add(bytes).is_none_or(|sum| sum > limit) {
                return Err(OverBudget {
                    kind,
                    bytes,
                    used,
                    limit: limit.min(self.limit(kind)),
                });
            }
        }
        used[kind.index()] = own + bytes;
        publish(kind, own + bytes);
        Ok(())
    }

    fn give_back(&self, kind: MemoryKind, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut used = self.lock();
        used[kind.index()] -= bytes;
        publish(kind, used[kind.index()]);
        drop(used);
        self.released.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, [u64; KINDS]> {
        // The array is written in one step, so a panic elsewhere cannot leave it half changed.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publish(kind: MemoryKind, bytes: u64) {
    gauge!("holdfast_runtime_memory_bytes", "kind" => kind.name()).set(bytes as f64);
}

/// Bytes set aside; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    kind: MemoryKind,
    bytes: u64,
}

impl Reservation {
    /// How many bytes are reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves `more` on top.
    ///
    /// # Errors
    /// [`OverBudget`] when they do not fit; the reservation stays as it was.
    pub fn grow(&mut self, more: u64) -> Result<(), OverBudget> {
        self.budget.take(self.kind, more)?;
        self.bytes += more;
        Ok(())
    }

    /// Gives back `less` bytes, at most all.
    pub fn shrink(&mut self, less: u64) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.budget.give_back(self.kind, less);
    }

    /// Takes over another reservation of the same kind and budget.
    ///
    /// # Panics
    /// When kind or budget differ.
    pub fn merge(&mut self, mut other: Self) {
        assert!(
            Arc::ptr_eq(&self.budget, &other.budget) && self.kind == other.kind,
            "reservations of one kind and budget"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Splits `bytes` off into a reservation of their own, at most all.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: Arc::clone(&self.budget),
            kind: self.kind,
            bytes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.kind, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_memory_stops_at_its_share() {
        let budget = MemoryBudget::new(1_000);
        let growing = budget.try_reserve(MemoryKind::Growing, 600).unwrap();
        let over = budget.try_reserve(MemoryKind::Growing, 1).unwrap_err();
        assert_eq!((over.used, over.limit), (600, 600));
        let query = budget.try_reserve(MemoryKind::Query, 400).unwrap();
        assert!(budget.try_reserve(MemoryKind::Query, 1).is_err());
        drop((growing, query));
        assert_eq!(budget.used_total(), 0);
    }

    #[test]
    fn a_reservation_grows_shrinks_splits_and_merges_without_losing_bytes() {
        let budget = MemoryBudget::new(100);
        let mut r = budget.try_reserve(MemoryKind::Cache, 10).unwrap();
        r.grow(20).unwrap();
        assert!(r.grow(u64::MAX).is_err());
        r.shrink(5);
        let part = r.split(15);
        assert_eq!((r.bytes(), part.bytes()), (10, 15));
        assert_eq!(budget.used(MemoryKind::Cache), 25);
        r.merge(part);
        r.shrink(1_000);
        assert_eq!(budget.used(MemoryKind::Cache), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_room_is_given_back() {
        let budget = MemoryBudget::new(100);
        let held = budget.try_reserve(MemoryKind::Wal, 80).unwrap();
        let waiter = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move {
                budget
                    .reserve(MemoryKind::Wal, 50, Duration::from_secs(60))
                    .await
                    .map(|r| r.bytes())
            }
        });
        tokio::task::yield_now().await;
        drop(held);
        assert_eq!(waiter.await.unwrap(), Ok(50));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_and_hopeless_requests_do_not_wait() {
        let budget = MemoryBudget::new(100);
        let _held = budget.try_reserve(MemoryKind::Wal, 80).unwrap();
        let start = tokio::time::Instant::now();
        let hopeless = budget
            .reserve(MemoryKind::Wal, 101, Duration::from_secs(60))
            .await;
        assert!(hopeless.is_err());
        assert_eq!(start.elapsed(), Duration::ZERO);
        let late = budget
            .reserve(MemoryKind::Wal, 50, Duration::from_secs(60))
            .await;
        assert!(late.is_err());
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
