//! Log-nodes in this process, each with a directory, a port and a zone of its own.

use std::{net::SocketAddr, os::unix::fs::FileExt, path::PathBuf, sync::Arc, time::Duration};

use holdfast_disk::RealDisk;
use holdfast_journal::{Journal, JournalThread, Owner as JournalOwner, stored_identity};
use holdfast_log_keeper::{Keeper, Parts};
use holdfast_log_node::{
    Device, LogNode, Options as NodeSettings, Registration, ThreadDevice,
    grpc::{self, Service},
    recognise, register,
};
use holdfast_log_store::LogStore;
use holdfast_meta::{MemoryStore, MetaStore};
use holdfast_qlog::{
    Zone,
    messages::{ClusterId, Owner},
    node::NodeOptions,
};
use holdfast_quorum_wal::{Components, Options, QuorumWal, TcpConnect, registry::cluster_id};
use holdfast_runtime::{Shutdown, SystemClock};
use holdfast_types::{ChannelId, LogSegment};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

/// Longest time that anything may take; only a failing run waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened")
}

/// A metadata store and some log-nodes.
pub(crate) struct Cluster {
    pub(crate) store: Arc<dyn MetaStore>,
    pub(crate) id: ClusterId,
    /// Object storage, once there is some.
    pub(crate) objects: Option<LogStore>,
    nodes: Vec<Node>,
    writers: std::sync::atomic::AtomicU64,
}

struct Node {
    dir: tempfile::TempDir,
    address: Option<SocketAddr>,
    running: Option<Running>,
}

struct Running {
    shutdown: Shutdown,
    served: tokio::task::JoinHandle<()>,
    log_node: LogNode,
    device: Arc<dyn Device>,
}

impl Node {
    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }
}

impl Cluster {
    pub(crate) async fn start(nodes: usize) -> Self {
        let store: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
        let id = cluster_id(&*store).await.expect("an identity");
        let mut cluster = Self {
            store,
            id,
            objects: None,
            nodes: Vec::new(),
            writers: std::sync::atomic::AtomicU64::new(0),
        };
        for i in 0..nodes {
            cluster.nodes.push(Node {
                dir: tempfile::tempdir().expect("a directory"),
                address: None,
                running: None,
            });
            cluster.restart(i).await;
        }
        cluster
    }

    /// Ends a node's process, as far as one process can.
    pub(crate) async fn stop(&mut self, i: usize) {
        if let Some(running) = self.nodes[i].running.take() {
            let Running {
                shutdown, served, ..
            } = running;
            shutdown.trigger();
            served.abort();
            patiently(shutdown.drained(PATIENCE)).await;
            drop(served.await);
        }
    }

    /// Takes everything from a stopped node's disk.
    pub(crate) fn wipe(&self, i: usize) {
        std::fs::remove_dir_all(self.nodes[i].journal()).expect("wiped");
    }

    pub(crate) async fn restart(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let shutdown = Shutdown::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = patiently(bind(node.address.unwrap_or(any))).await;
        let address = listener.local_addr().expect("an address");
        node.address = Some(address);
        let options = NodeSettings {
            // The machine's disk may be nearly full; that is not what is tested here.
            little_percent: 0,
            full_percent: 0,
            journal: holdfast_journal::Options {
                file_bytes: 1 << 20,
                reserve_percent: 0,
                ..holdfast_journal::Options::default()
            },
            ..NodeSettings::default()
        };
        let owner = JournalOwner::new(self.id);
        let dir = node.journal();
        if let Some(stored) = stored_identity(&RealDisk, &dir).expect("an identity") {
            let recognised = recognise(&*self.store, &format!("log-{i}"), &stored).await;
            recognised.expect("recognised");
        }
        let (journal, recovered) = patiently(async {
            loop {
                // The last life's threads may still be on their way out.
                match Journal::open_real(&dir, &owner, &options.journal) {
                    Err(holdfast_journal::JournalError::Locked { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    opened => return opened.expect("a journal"),
                }
            }
        })
        .await;
        let identity = recovered.identity;
        let thread = JournalThread::start(journal).expect("a thread");
        let device: Arc<dyn Device> =
            Arc::new(ThreadDevice::new(thread, Arc::new(RealDisk), &dir, 4));
        let name: Arc<str> = format!("log-{i}").into();
        let zone = Zone(format!("zone-{i}").into());
        let registration = Registration {
            node: Arc::clone(&name),
            address: address.to_string().into(),
            zone: zone.clone(),
            free_bytes: 1 << 40,
            total_bytes: 1 << 40,
        };
        let data_loss = register(&*self.store, &registration, &identity)
            .await
            .expect("registered");
        let started = LogNode::start(
            &options,
            NodeOptions {
                cluster: self.id,
                node: name,
                storage: identity.storage,
                generation: identity.generation,
                data_loss,
                pending_bytes_max: options.pending_bytes_max,
                read_entries_max: options.read_entries_max,
            },
            Arc::clone(&device),
            &shutdown,
        );
        let service = Service::new(started.clone(), zone, Arc::clone(&device)).into_server();
        let served = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = grpc::server().add_service(service);
            drop(server.serve_with_incoming(incoming).await);
        });
        node.running = Some(Running {
            shutdown,
            served,
            log_node: started,
            device,
        });
    }

    /// Begins to look after copies on a running node, until it stops.
    pub(crate) fn keep(&self, i: usize, options: &holdfast_log_keeper::Options) {
        let running = self.nodes[i].running.as_ref().expect("it runs");
        let parts = Parts {
            meta: Arc::clone(&self.store),
            connect: Arc::new(TcpConnect),
            cluster: self.id,
            node: format!("log-{i}").into(),
            log_node: running.log_node.clone(),
            device: Arc::clone(&running.device),
            objects: self.objects.clone(),
        };
        let keeper = Keeper::new(options.clone(), parts);
        let shutdown = running.shutdown.clone();
        drop(running.shutdown.spawn(keeper.run(shutdown)));
    }

    /// What a running node holds.
    pub(crate) async fn holds(&self, i: usize, log: ChannelId) -> Vec<LogSegment> {
        let running = self.nodes[i].running.as_ref().expect("it runs");
        let status = running.log_node.status().await.expect("a status");
        let image = status.image.logs.get(&log);
        image.map_or(Vec::new(), |image| image.segments.keys().copied().collect())
    }

    /// Turns a bit over in the first byte of each place where a node's journal has these bytes.
    pub(crate) fn flip(&self, i: usize, bytes: &[u8]) -> usize {
        let mut flipped = 0;
        for entry in std::fs::read_dir(self.nodes[i].journal()).expect("a journal") {
            let path = entry.expect("an entry").path();
            if !path.is_file() {
                continue;
            }
            let content = std::fs::read(&path).expect("read");
            let places = content.windows(bytes.len()).enumerate();
            let file = std::fs::File::options().write(true).open(&path);
            let file = file.expect("opened");
            for (at, _) in places.filter(|(_, window)| *window == bytes) {
                let changed = [content[at] ^ 1];
                file.write_all_at(&changed, at as u64).expect("written");
                flipped += 1;
            }
        }
        flipped
    }

    /// The log as another process sees it.
    pub(crate) async fn wal(&self) -> QuorumWal {
        self.wal_with(Options::default().window_bytes).await
    }

    /// The log as another process sees it that lets so many bytes be under way.
    pub(crate) async fn wal_with(&self, window_bytes: usize) -> QuorumWal {
        let options = Options {
            window_bytes,
            segment_bytes: 1 << 16,
            resend_after: Duration::from_millis(200),
            lag_time_max: Duration::from_millis(500),
            ..Options::default()
        };
        let incarnation = self
            .writers
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let components = Components {
            meta: Arc::clone(&self.store),
            connect: Arc::new(TcpConnect),
            clock: Arc::new(SystemClock::new()),
            cluster: self.id,
            owner: Owner {
                node: "test".into(),
                incarnation,
            },
            objects: self.objects.clone(),
        };
        QuorumWal::open(options, components).await.expect("a log")
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        // The last life's connections may still hold the port.
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
