//! The metadata store as far away as the faults say: slow, out of reach, or with an outcome that nobody hears of. What was
//! sent may still take effect after its sender has given up, or has died.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use holdfast_meta::{
    MemoryStore, MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned, WatchStream,
};
use holdfast_qlog::meta::{LogView, NodeRegistration, log_prefix, node_key};
use holdfast_types::ChannelId;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{clock::now, watch::Watch};

/// How long a client of the store waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest time after which a transaction that nobody waits for takes effect.
const LATE_MAX: Duration = Duration::from_secs(3);

/// The way between one host and the store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// No request arrives.
    pub(crate) deaf: bool,
    /// No answer arrives.
    pub(crate) mute: bool,
}

/// The store, and the ways to it. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Meta(Arc<Mutex<World>>);

struct World {
    store: Arc<MemoryStore>,
    links: BTreeMap<Arc<str>, Link>,
    away_until: Duration,
    delay_max: Duration,
    /// How likely it is that a transaction is lost, or its answer, or that it takes effect late.
    lost: f64,
    /// How likely it is that a watch ends at a change.
    watch_lost: f64,
    late: Vec<(Duration, Txn)>,
    watch: Watch,
}

impl Meta {
    pub(crate) fn new(watch: Watch, (delay_max, lost): (Duration, f64)) -> Self {
        Self(Arc::new(Mutex::new(World {
            store: Arc::new(MemoryStore::new()),
            links: BTreeMap::new(),
            away_until: Duration::ZERO,
            delay_max,
            lost,
            watch_lost: lost / 4.0,
            late: Vec::new(),
            watch,
        })))
    }

    /// The store as a host sees it.
    pub(crate) fn of_host(&self, host: &Arc<str>, seed: u64) -> Arc<dyn MetaStore> {
        Arc::new(HostMeta {
            meta: self.clone(),
            host: Arc::clone(host),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        })
    }

    pub(crate) fn set_link(&self, host: &Arc<str>, link: Link) {
        self.0.lock().links.insert(Arc::clone(host), link);
    }

    pub(crate) fn away_until(&self, until: Duration) {
        self.0.lock().away_until = until;
    }

    /// The generation that it remembers of a node's disk.
    pub(crate) fn generation(&self, node: &str) -> u64 {
        let store = Arc::clone(&self.0.lock().store);
        let key = node_key(node);
        let read = at_once(store.get(&key)).ok().flatten();
        let read = read.and_then(|read| NodeRegistration::decode(&key, &read.value).ok());
        read.map_or(0, |registered| registered.generation)
    }

    /// Everybody reaches it, and hears its answers.
    pub(crate) fn calm(&self) {
        let world = &mut *self.0.lock();
        world.links.clear();
        world.away_until = Duration::ZERO;
        world.lost = 0.0;
        world.watch_lost = 0.0;
    }

    /// Transactions that nobody waits for any more take effect.
    pub(crate) fn run_late(&self, now: Duration) {
        let due: Vec<Txn> = {
            let world = &mut *self.0.lock();
            let late = std::mem::take(&mut world.late);
            let (due, rest) = late.into_iter().partition(|(at, _)| *at <= now);
            world.late = rest;
            Vec::from_iter(due)
                .into_iter()
                .map(|(_, txn)| txn)
                .collect()
        };
        for txn in due {
            let world = &mut *self.0.lock();
            world.watch.note(format_args!("a late transaction arrives"));
            // Nobody hears of its outcome.
            drop(world.apply(txn));
        }
    }
}

/// What the store in memory does, it does at once.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never()
        .expect("a store in memory waits for nothing")
}

impl World {
    fn apply(&mut self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        let logs: Vec<ChannelId> = txn
            .puts
            .iter()
            .map(|(key, _)| key)
            .chain(&txn.deletes)
            .filter_map(|key| key.strip_prefix("wal/")?.split('/').next()?.parse().ok())
            .map(ChannelId)
            .collect();
        let outcome = at_once(self.store.txn(txn));
        if let (Ok(TxnOutcome::Done { .. }), Some(log)) = (&outcome, logs.first()) {
            let range = at_once(self.store.range(&log_prefix(*log)))?;
            let records = range.items.iter().map(|item| (&*item.key, &item.value));
            match LogView::read(*log, records) {
                Ok(view) => self.watch.metadata(*log, view),
                Err(bad) => self.watch.violated(3, *log, bad.to_string()),
            }
        }
        outcome
    }
}

/// The store as one host sees it.
struct HostMeta {
    meta: Meta,
    host: Arc<str>,
    rng: Mutex<StdRng>,
}

/// What becomes of a transaction.
enum Fate {
    Heard,
    Lost,
    Unheard,
    Late,
}

impl HostMeta {
    fn link(&self) -> Link {
        let world = self.meta.0.lock();
        let away = now() < world.away_until;
        let link = world.links.get(&self.host).copied().unwrap_or_default();
        Link {
            deaf: link.deaf || away,
            mute: link.mute || away,
        }
    }

    async fn travel(&self) {
        let most = self.meta.0.lock().delay_max.as_micros();
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(2);
        let delay = self.rng.lock().random_range(1..most);
        tokio::time::sleep(Duration::from_micros(delay)).await;
    }

    fn out_of_reach(&self) -> MetaError {
        MetaError::OutOfReach {
            what: "the metadata store".to_owned(),
            problem: format!("no answer to {}", self.host),
        }
    }

    async fn read<T>(
        &self,
        read: impl FnOnce(&MemoryStore) -> Result<T, MetaError>,
    ) -> Result<T, MetaError> {
        self.travel().await;
        let store = Arc::clone(&self.meta.0.lock().store);
        if !self.link().deaf {
            let result = read(&store);
            self.travel().await;
            if !self.link().mute {
                return result;
            }
        }
        tokio::time::sleep(PATIENCE).await;
        Err(self.out_of_reach())
    }

    fn fate(&self) -> Fate {
        let lost = self.meta.0.lock().lost;
        let rng = &mut *self.rng.lock();
        match self.link() {
            Link { deaf: true, .. } if rng.random_bool(0.8) => Fate::Lost,
            Link { deaf: true, .. } => Fate::Late,
            _ if rng.random_bool(lost) => match rng.random_range(0..3) {
                0 => Fate::Lost,
                1 => Fate::Unheard,
                _ => Fate::Late,
            },
            _ => Fate::Heard,
        }
    }
}

#[async_trait]
impl MetaStore for HostMeta {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        self.read(|store| at_once(store.get(key))).await
    }

    async fn range(&self, prefix: &str) -> Result<Range, MetaError> {
        self.read(|store| at_once(store.range(prefix))).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError> {
        self.travel().await;
        let fate = self.fate();
        match fate {
            Fate::Heard | Fate::Unheard => {
                let result = self.meta.0.lock().apply(txn);
                self.travel().await;
                if matches!(fate, Fate::Heard) && !self.link().mute {
                    return result;
                }
            }
            Fate::Late => {
                let most = u64::try_from(LATE_MAX.as_millis()).unwrap_or(u64::MAX);
                let after = Duration::from_millis(self.rng.lock().random_range(0..most));
                self.meta.0.lock().late.push((now() + after, txn));
            }
            Fate::Lost => {}
        }
        tokio::time::sleep(PATIENCE).await;
        Err(MetaError::OutcomeUnknown {
            what: "the metadata store".to_owned(),
            problem: format!("no answer to {}", self.host),
        })
    }

    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError> {
        let changes = self
            .read(|store| at_once(store.watch(prefix, after_revision)))
            .await?;
        let seed = self.rng.lock().random();
        let own = Arc::new(Self {
            meta: self.meta.clone(),
            host: Arc::clone(&self.host),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        });
        Ok(stream::unfold(Some((changes, own)), |state| async move {
            let (mut changes, own) = state?;
            let change = changes.next().await?;
            own.travel().await;
            while own.link().mute {
                tokio::time::sleep(PATIENCE / 10).await;
            }
            let lost = own.meta.0.lock().watch_lost;
            if own.rng.lock().random_bool(lost) {
                let forgotten = MetaError::Compacted {
                    after: 0,
                    oldest: 1,
                };
                return Some((Err(forgotten), None));
            }
            Some((change, Some((changes, own))))
        })
        .boxed())
    }
}
