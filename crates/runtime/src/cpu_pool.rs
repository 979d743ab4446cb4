//! Where computing happens: a fixed number of threads that never wait for I/O, fed through a bounded
//! queue. Async threads wait, these compute, and they meet in [`CpuPool::run`].

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use holdfast_types::{Code, Coded};
use tokio::sync::{Semaphore, oneshot};

/// Works queued or running per thread. Beyond it [`CpuPool::run`] waits.
const QUEUED_PER_THREAD: usize = 64;

/// The work gave no answer: it panicked (the panic is logged), or the pool is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was cancelled")]
pub struct Cancelled;

impl Coded for Cancelled {
    fn code(&self) -> Code {
        Code::Internal
    }
}

/// The pool's threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the CPU pool")]
pub struct PoolError(#[source] rayon::ThreadPoolBuildError);

/// A rayon pool with an async front door.
#[derive(Debug)]
pub struct CpuPool {
    pool: rayon::ThreadPool,
    room: Arc<Semaphore>,
    handed_in: AtomicU64,
}

impl CpuPool {
    /// Starts `threads` threads (at least one).
    ///
    /// # Errors
    /// When the system refuses the threads.
    pub fn new(threads: usize) -> Result<Arc<Self>, PoolError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("cpu-{i}"))
            .panic_handler(|panic| {
                // Without a handler rayon aborts the process.
                tracing::error!(message = panic_message(&*panic), "CPU work panicked");
            })
            .build()
            .map_err(PoolError)?;
        Ok(Arc::new(Self {
            pool,
            room: Arc::new(Semaphore::new(threads * QUEUED_PER_THREAD)),
            handed_in: AtomicU64::new(0),
        }))
    }

    /// Runs `work` on the pool, inside the caller's tracing span.
    ///
    /// # Errors
    /// [`Cancelled`] when the work panicked.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work when it has not started; a started work runs on and its
    /// answer is dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cancelled> {
        let permit = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .map_err(|_| Cancelled)?;
        self.handed_in.fetch_add(1, Ordering::Relaxed);
        let span = tracing::Span::current();
        let (tx, rx) = oneshot::channel();
        self.pool.spawn(move || {
            let slot = permit;
            if tx.is_closed() {
                return;
            }
            let answer = span.in_scope(work);
            // Room is there again when the caller knows, not a moment later.
            drop(slot);
            // A caller that went away meanwhile does not want the answer.
            drop(tx.send(answer));
        });
        rx.await.map_err(|_| Cancelled)
    }

    /// Runs `work` on the pool and blocks this thread until it is done; rayon iterators inside use
    /// this pool. Not for async threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// How many works were handed to [`Self::run`]. Each costs a caller two turns of the scheduler, which are
    /// microseconds on an idle machine and tens of milliseconds on one with dozens of busy threads a core.
    #[must_use]
    pub fn handed_in(&self) -> u64 {
        self.handed_in.load(Ordering::Relaxed)
    }

    /// Number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_a_pool_thread_and_answers() {
        let pool = CpuPool::new(2).unwrap();
        let name = pool
            .run(|| std::thread::current().name().map(str::to_owned))
            .await
            .unwrap();
        assert!(name.unwrap().starts_with("cpu-"));
    }

    #[tokio::test]
    async fn a_panic_cancels_one_work_and_the_pool_lives_on() {
        let pool = CpuPool::new(1).unwrap();
        let panicked: Result<(), Cancelled> = pool.run(|| panic!("on purpose")).await;
        assert_eq!(panicked, Err(Cancelled));
        assert_eq!(pool.run(|| 7).await, Ok(7));
        assert_eq!(pool.room.available_permits(), QUEUED_PER_THREAD);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_next_caller_wait() {
        let pool = CpuPool::new(1).unwrap();
        let all = Arc::clone(&pool.room)
            .acquire_many_owned(u32::try_from(QUEUED_PER_THREAD).unwrap())
            .await
            .unwrap();
        let mut waiting = Box::pin(pool.run(|| 1));
        let first_poll = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::future::Future::poll(waiting.as_mut(), cx).is_pending())
        });
        assert!(first_poll.await, "there is no room");
        drop(all);
        assert_eq!(waiting.await, Ok(1));
    }
}
