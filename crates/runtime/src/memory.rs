//! One budget for all memory that grows with data, so that a full node slows writers down instead of
//! being killed.
//!
//! ```text
//!  0 %                                                      75 %  85 %   100 %
//!  | growing, at most 60 | incoming, at most 25 | sealed | wal | build | query |
//! ```
//! Some kinds have a most, so that no one of them crowds out the others; some have a part kept for them
//! that nobody else takes, so that reads and the work that frees memory go on when writes have filled
//! theirs. Beyond their part, kinds share what is free.
//!
//! Memory is reserved before it is taken ([`MemoryBudget::reserve`]). What exists whatever the budget says
//! (acknowledged rows that are replayed, deletes that are applied, a flush, which is what frees memory) is
//! charged ([`MemoryBudget::charge`]): it may pass the total, and whoever reserves has to wait the longer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_types::{Code, Coded};
use metrics::gauge;
use tokio::sync::Notify;

/// Who uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Rows and deletes not yet flushed, and flushed ones that linger.
    Growing,
    /// Write requests, from their first byte to their answer.
    Incoming,
    /// What served segments hold beside their mapped files: which rows are deleted since when.
    Sealed,
    /// The log: its queue, its newest records, and when keys were last written.
    Wal,
    /// Index builds, merges, and the files of a flush.
    Build,
    /// Reads and all other requests, from their first byte to the last of their answer.
    Query,
}

/// What a kind may take, in percent of the total.
struct Share {
    /// At most this.
    most: u64,
    /// Nobody else takes this.
    kept: u64,
}

impl MemoryKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Growing,
        Self::Incoming,
        Self::Sealed,
        Self::Wal,
        Self::Build,
        Self::Query,
    ];

    fn share(self) -> Share {
        let (most, kept) = match self {
            Self::Growing => (60, 0),
            Self::Incoming => (25, 0),
            Self::Sealed | Self::Wal => (100, 0),
            Self::Build => (100, 10),
            Self::Query => (100, 15),
        };
        Share { most, kept }
    }

    fn index(self) -> usize {
        self as usize
    }

    /// The kind's name, as it labels the gauge.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Growing => "growing",
            Self::Incoming => "incoming",
            Self::Sealed => "sealed",
            Self::Wal => "wal",
            Self::Build => "build",
            Self::Query => "query",
        }
    }
}

/// The reservation does not fit now (or, when `bytes` exceeds `limit`, ever).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory budget is used up: {bytes} bytes for {} do not fit, which has {used} and may have {room} now, {limit} at most", kind.name()
)]
pub struct OverBudget {
    /// Who asked.
    pub kind: MemoryKind,
    /// For how much.
    pub bytes: u64,
    /// What the kind had.
    pub used: u64,
    /// What it could have had beside what others have.
    pub room: u64,
    /// What it can have when others have nothing.
    pub limit: u64,
}

impl Coded for OverBudget {
    fn code(&self) -> Code {
        Code::QuotaExceeded
    }
}

type Used = [u64; MemoryKind::ALL.len()];

/// The budget of one process.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    used: Mutex<Used>,
    released: Notify,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub fn new(total: u64) -> Arc<Self> {
        gauge!("holdfast_runtime_memory_budget_bytes").set(total as f64);
        for kind in MemoryKind::ALL {
            publish(kind, 0);
        }
        Arc::new(Self {
            total,
            used: Mutex::default(),
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

    /// Accounts for `bytes` that are in use whether they fit or not.
    pub fn charge(self: &Arc<Self>, kind: MemoryKind, bytes: u64) -> Reservation {
        let mut reservation = Reservation {
            budget: Arc::clone(self),
            kind,
            bytes: 0,
        };
        reservation.resize(bytes);
        reservation
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

    /// The most that this kind may hold, when others hold nothing.
    #[must_use]
    pub fn limit(&self, kind: MemoryKind) -> u64 {
        self.room_beside(kind, &Used::default())
    }

    /// The most that this kind may hold now, beside what others hold; what it has itself included.
    #[must_use]
    pub fn room(&self, kind: MemoryKind) -> u64 {
        self.room_beside(kind, &self.lock())
    }

    fn room_beside(&self, kind: MemoryKind, used: &Used) -> u64 {
        let others: u64 = MemoryKind::ALL
            .into_iter()
            .filter(|other| *other != kind)
            .map(|other| used[other.index()].max(self.percent(other.share().kept)))
            .fold(0, u64::saturating_add);
        let Share { most, kept } = kind.share();
        (self.total.saturating_sub(others))
            .max(self.percent(kept))
            .min(self.percent(most))
    }

    /// Divided first, so that a budget of `u64::MAX` does not overflow; then the rest, so that a small one
    /// is not rounded to nothing.
    fn percent(&self, percent: u64) -> u64 {
        self.total / 100 * percent + self.total % 100 * percent / 100
    }

    fn take(&self, kind: MemoryKind, bytes: u64) -> Result<(), OverBudget> {
        let mut used = self.lock();
        let (own, room) = (used[kind.index()], self.room_beside(kind, &used));
        if own.checked_add(bytes).is_none_or(|sum| sum > room) {
            return Err(OverBudget {
                kind,
                bytes,
                used: own,
                room,
                limit: self.limit(kind),
            });
        }
        used[kind.index()] = own + bytes;
        publish(kind, own + bytes);
        Ok(())
    }

    fn add(&self, kind: MemoryKind, bytes: u64) {
        let mut used = self.lock();
        used[kind.index()] += bytes;
        publish(kind, used[kind.index()]);
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

    fn lock(&self) -> MutexGuard<'_, Used> {
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

    /// Says what is really in use: `bytes` from now on, whether they fit or not.
    pub fn resize(&mut self, bytes: u64) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.add(self.kind, more),
            None => self.budget.give_back(self.kind, self.bytes - bytes),
        }
        self.bytes = bytes;
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
        assert_eq!((over.used, over.room, over.limit), (600, 600, 600));
        let query = budget.try_reserve(MemoryKind::Query, 300).unwrap();
        assert!(
            budget.try_reserve(MemoryKind::Query, 1).is_err(),
            "100 are kept for builds"
        );
        let build = budget.try_reserve(MemoryKind::Build, 100).unwrap();
        drop((growing, query, build));
        assert_eq!(budget.used_total(), 0);
    }

    #[test]
    fn what_is_kept_for_reads_and_builds_is_there_when_all_else_is_full() {
        let budget = MemoryBudget::new(1_000);
        let _growing = budget.try_reserve(MemoryKind::Growing, 600).unwrap();
        let _sealed = budget.charge(MemoryKind::Sealed, 900);
        assert!(budget.used_total() > budget.total());
        for kind in [MemoryKind::Incoming, MemoryKind::Wal, MemoryKind::Growing] {
            assert!(budget.try_reserve(kind, 1).is_err(), "{}", kind.name());
        }
        for (kind, kept) in [(MemoryKind::Query, 150), (MemoryKind::Build, 100)] {
            let held = budget.try_reserve(kind, kept).unwrap();
            assert!(budget.try_reserve(kind, 1).is_err(), "{}", kind.name());
            drop(held);
        }
    }

    #[test]
    fn shares_of_every_total_fit_together() {
        for total in [0, 1, 99, 100, 1_001, u64::MAX] {
            let budget = MemoryBudget::new(total);
            let kept: u64 = [MemoryKind::Build, MemoryKind::Query]
                .map(|kind| budget.percent(kind.share().kept))
                .iter()
                .sum();
            assert!(budget.limit(MemoryKind::Growing) <= total - kept, "{total}");
            assert!(budget.limit(MemoryKind::Query) <= total, "{total}");
        }
    }

    #[test]
    fn a_reservation_is_resized_split_and_merged_without_losing_bytes() {
        let budget = MemoryBudget::new(100);
        let mut r = budget.try_reserve(MemoryKind::Sealed, 10).unwrap();
        r.resize(30);
        r.resize(25);
        let part = r.split(15);
        assert_eq!((r.bytes(), part.bytes()), (10, 15));
        assert_eq!(budget.used(MemoryKind::Sealed), 25);
        r.merge(part);
        r.resize(0);
        assert_eq!(budget.used(MemoryKind::Sealed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_room_is_given_back() {
        let budget = MemoryBudget::new(100);
        let held = budget.try_reserve(MemoryKind::Wal, 70).unwrap();
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
        let _held = budget.try_reserve(MemoryKind::Wal, 70).unwrap();
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
