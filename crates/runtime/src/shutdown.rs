//! One signal to stop, and the tasks that must end before the process does.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Shared by everything that runs until it is told to stop. Clones are the same signal.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// A signal not yet given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it twice is giving it once.
    pub fn trigger(&self) {
        self.token.cancel();
        self.tasks.close();
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the signal. Cancel safe.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// The signal as a token, for APIs that want one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// A signal that is given with this one, or earlier by itself; it has tasks of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// Spawns a task that [`Self::drained`] waits for. The task watches the signal itself.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Waits until every spawned task has ended; false when `deadline` came first.
    pub async fn drained(&self, deadline: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(deadline, self.tasks.wait())
            .await
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_see_the_signal_and_are_waited_for() {
        let shutdown = Shutdown::new();
        let seen = shutdown.clone();
        drop(shutdown.spawn(async move { seen.triggered().await }));
        assert!(!shutdown.drained(Duration::from_secs(1)).await);
        shutdown.trigger();
        assert!(shutdown.drained(Duration::from_secs(1)).await);
    }

    #[test]
    fn a_child_stops_with_its_parent_but_not_the_other_way_round() {
        let parent = Shutdown::new();
        let (a, b) = (parent.child(), parent.child());
        a.trigger();
        assert!(a.is_triggered() && !b.is_triggered() && !parent.is_triggered());
        parent.trigger();
        assert!(b.is_triggered());
    }
}
