//! Members that die, pause, forget or lose their leader, under a store that goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use holdfast_meta::{
    MetaError, MetaStore, Sessions, Txn,
    contract::{done, put, soon},
};
use holdfast_meta_etcd::{
    EtcdStore, Options,
    testing::{EtcdCluster, wait_for},
};
use holdfast_types::{Code, Coded};
use tokio::task::JoinHandle;

/// Puts one numbered key after the other, for as long as it is let; and a watch that listens from the start.
struct Load {
    stop: Arc<AtomicBool>,
    /// Puts acknowledged so far.
    done: Arc<AtomicU64>,
    puts: JoinHandle<Written>,
    watch: JoinHandle<Vec<(u64, String)>>,
}

#[derive(Default)]
struct Written {
    /// Revision and key of each acknowledged put.
    acknowledged: Vec<(u64, String)>,
    unknown: Vec<String>,
    /// Longest time between two acknowledgements.
    gap: Duration,
}

impl Load {
    async fn start(store: &Arc<EtcdStore>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let start = store.range("").await.unwrap().revision;
        let load = Self {
            puts: tokio::spawn(puts(
                Arc::clone(store),
                Arc::clone(&stop),
                Arc::clone(&done),
            )),
            watch: tokio::spawn(listen(Arc::clone(store), start)),
            stop,
            done,
        };
        load.goes_on().await;
        load
    }

    /// Waits for acknowledgements of puts that began after now.
    async fn goes_on(&self) {
        let enough = self.done.load(Ordering::SeqCst) + 20;
        wait_for("puts to go on", || async {
            (self.done.load(Ordering::SeqCst) >= enough).then_some(())
        })
        .await;
    }

    /// Everything acknowledged was stored and told, once, in order; and nothing that was not put.
    async fn check(self, store: &EtcdStore, story: &str) {
        self.stop.store(true, Ordering::SeqCst);
        let written = self.puts.await.unwrap();
        // The last put may have been of an unknown outcome and still be on its way, so the end is put until
        // it is known.
        wait_for("the last put", || async {
            put(store, "end", "").await.ok()
        })
        .await;
        let told = self.watch.await.unwrap();
        assert!(told.windows(2).all(|w| w[0].0 < w[1].0), "out of order");
        let mut acknowledged = written.acknowledged.iter();
        let mut next = acknowledged.next();
        for change in &told {
            if Some(change) == next {
                next = acknowledged.next();
            } else {
                assert!(
                    written.unknown.contains(&change.1),
                    "{change:?} was never put, or is told twice"
                );
            }
        }
        assert_eq!(next, None, "acknowledged and not told");
        let stored = store.range("n/").await.unwrap().items;
        let mut stored: Vec<(u64, String)> = stored
            .into_iter()
            .map(|v| (v.mod_revision, v.key))
            .collect();
        // A put without an answer may have happened much later than those that came after it.
        stored.sort_unstable();
        let differ: Vec<_> = stored.iter().zip(&told).filter(|(s, t)| s != t).collect();
        assert!(
            differ.is_empty() && stored.len() == told.len(),
            "stored {}, told {}, first differences {:?}",
            stored.len(),
            told.len(),
            differ.first()
        );
        println!(
            "{story}: {} puts acknowledged, {} unknown, longest gap {:?}",
            written.acknowledged.len(),
            written.unknown.len(),
            written.gap
        );
    }
}

async fn puts(store: Arc<EtcdStore>, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Written {
    let mut written = Written::default();
    let mut last = Instant::now();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("n/{number:08}");
        match put(&*store, &key, "v").await {
            Ok(revision) => {
                written.gap = written.gap.max(last.elapsed());
                last = Instant::now();
                written.acknowledged.push((revision, key));
                done.fetch_add(1, Ordering::SeqCst);
            }
            Err(MetaError::OutcomeUnknown { .. }) => written.unknown.push(key),
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
        }
    }
    written
}

async fn listen(store: Arc<EtcdStore>, start: u64) -> Vec<(u64, String)> {
    let mut told = Vec::new();
    let mut watch = store.watch("", start).await.unwrap();
    while let Some(changes) = watch.next().await {
        let changes = changes.unwrap();
        assert_eq!(changes.events.len(), 1);
        let key = changes.events[0].key.clone();
        if key == "end" {
            return told;
        }
        told.push((changes.revision, key));
    }
    panic!("the watch ended");
}

async fn store(cluster: &EtcdCluster) -> Arc<EtcdStore> {
    Arc::new(EtcdStore::connect(cluster.options("a")).await.unwrap())
}

/// Settings that ask this member first.
fn beginning_with(cluster: &EtcdCluster, at: usize) -> Options {
    let mut options = cluster.options("a");
    options.endpoints.rotate_left(at);
    options
}

pub(crate) async fn the_leader_is_killed() {
    let mut cluster = EtcdCluster::start(3).await;
    let leader = cluster.leader().await;
    let options = beginning_with(&cluster, leader);
    let store = Arc::new(EtcdStore::connect(options).await.unwrap());
    let load = Load::start(&store).await;
    cluster.kill(leader);
    load.goes_on().await;
    cluster.restart(leader).await;
    load.goes_on().await;
    load.check(&store, "leader killed").await;
}

pub(crate) async fn the_leader_is_paused() {
    let cluster = EtcdCluster::start(3).await;
    let leader = cluster.leader().await;
    let options = beginning_with(&cluster, leader);
    let store = Arc::new(EtcdStore::connect(options).await.unwrap());
    let load = Load::start(&store).await;
    cluster.pause(leader);
    let paused = Instant::now();
    load.goes_on().await;
    let long_enough = || async { (paused.elapsed() > Duration::from_secs(3)).then_some(()) };
    wait_for("3 s of pause", long_enough).await;
    // What was sent to the paused member and given up is now done, late: that is what unknown means.
    cluster.resume(leader);
    load.goes_on().await;
    load.check(&store, "leader paused").await;
}

pub(crate) async fn all_members_start_again() {
    let mut cluster = EtcdCluster::start(3).await;
    let store = store(&cluster).await;
    let load = Load::start(&store).await;
    cluster.restart_all().await;
    load.goes_on().await;
    load.check(&store, "all members restarted").await;
}

pub(crate) async fn history_is_compacted() {
    let cluster = EtcdCluster::start(1).await;
    let store = store(&cluster).await;
    let first = put(&*store, "k", "0").await.unwrap();
    let mut live = store.watch("", first).await.unwrap();
    let second = put(&*store, "k", "1").await.unwrap();
    assert_eq!(soon(live.next()).await.unwrap().unwrap().revision, second);
    let mut late = store.watch("", first).await.unwrap();
    // The last change is a delete at the very revision that is compacted, which old members forget.
    let delete = Txn::new().delete("k");
    let deleted = done(store.txn(delete).await.unwrap());
    assert_eq!(cluster.compact().await, deleted);

    // Who has heard everything goes on.
    let told = soon(live.next()).await.unwrap().unwrap();
    assert_eq!((told.revision, &told.events[0].value), (deleted, &None));
    // Who has not is told so, and that is the end.
    for after in [first, second] {
        let mut watch = store.watch("", after).await.unwrap();
        let error = soon(watch.next()).await.unwrap().unwrap_err();
        let MetaError::Compacted { oldest, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(oldest, deleted + 1);
        assert!(soon(watch.next()).await.is_none());
    }
    let error = soon(late.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Conflict, "{error}");
    // A listing and a watch from there hear the rest.
    let mut again = store.watch("", deleted).await.unwrap();
    let last = put(&*store, "k", "2").await.unwrap();
    for watch in [&mut live, &mut again] {
        assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, last);
    }
}

/// A member that is alone answers, but not for the cluster.
pub(crate) async fn a_member_without_a_leader_is_left() {
    let mut cluster = EtcdCluster::start(3).await;
    let lone = (cluster.leader().await + 1) % 3;
    let options = Options {
        operation_timeout: Duration::from_secs(4),
        ..beginning_with(&cluster, lone)
    };
    let store = Arc::new(EtcdStore::connect(options).await.unwrap());
    let first = put(&*store, "k", "0").await.unwrap();
    let mut watch = store.watch("", first).await.unwrap();
    let second = put(&*store, "k", "1").await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().unwrap().revision, second);
    let others = [(lone + 1) % 3, (lone + 2) % 3];
    for other in others {
        cluster.kill(other);
    }
    // Neither reads nor writes hang, and reads are not answered from what the lone member remembers.
    let error = soon(store.get("k")).await.unwrap_err();
    assert!(matches!(error, MetaError::OutOfReach { .. }), "{error}");
    wait_for("a write that is certainly refused", || async {
        matches!(
            put(&*store, "k", "refused").await,
            Err(MetaError::OutOfReach { .. })
        )
        .then_some(())
    })
    .await;
    // The two others are a cluster again, without the lone member: it is left for them.
    cluster.pause(lone);
    for other in others {
        cluster.start_again(other);
    }
    let third = wait_for("a write through the others", || async {
        put(&*store, "end", "2").await.ok()
    })
    .await;
    loop {
        let changes = soon(watch.next()).await.unwrap().unwrap();
        if changes.revision == third {
            break;
        }
        assert!(changes.revision < third);
    }
    assert_ne!(store.get("k").await.unwrap().unwrap().value, "refused");
    cluster.resume(lone);
}

pub(crate) async fn a_session_outlives_the_leader() {
    let mut cluster = EtcdCluster::start(3).await;
    let leader = cluster.leader().await;
    let options = beginning_with(&cluster, leader);
    let store = Arc::new(EtcdStore::connect(options).await.unwrap());
    let ttl = Duration::from_secs(20);
    let session = Arc::clone(&store).open_session(ttl).await.unwrap();
    let mine = Txn::new().put("node/1", Bytes::from_static(b"here"));
    let taken = done(session.txn(mine.clone()).await.unwrap());
    cluster.kill(leader);
    // The next leader knows the session.
    wait_for("a put with the session", || async {
        session.txn(mine.clone()).await.ok().map(done)
    })
    .await;
    cluster.restart(leader).await;
    let mut watch = store.watch("node/", taken).await.unwrap();
    session.close().await.unwrap();
    loop {
        let changes = soon(watch.next()).await.unwrap().unwrap();
        if changes.events[0].value.is_none() {
            break;
        }
    }
}

pub(crate) async fn a_session_without_a_cluster_ends() {
    let mut cluster = EtcdCluster::start(1).await;
    let store = store(&cluster).await;
    let ttl = Duration::from_secs(2);
    let session = Arc::clone(&store).open_session(ttl).await.unwrap();
    let mine = Txn::new().put("node/1", Bytes::from_static(b"here"));
    let taken = done(session.txn(mine.clone()).await.unwrap());
    cluster.kill(0);
    // The owner knows by itself.
    soon(session.ended()).await;
    let late = session.txn(mine).await;
    assert!(matches!(late, Err(MetaError::Closed(_))), "{late:?}");
    // And so does etcd when it is back.
    cluster.restart(0).await;
    let mut watch = store.watch("node/", taken).await.unwrap();
    let gone = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!(gone.events[0].value, None);
}

pub(crate) async fn nobody_is_there() {
    let options = Options {
        // Nothing listens on it: it is reserved.
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        operation_timeout: Duration::from_secs(3),
        ..Options::default()
    };
    let began = Instant::now();
    let error = soon(EtcdStore::connect(options)).await.unwrap_err();
    assert!(matches!(error, MetaError::OutOfReach { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}
