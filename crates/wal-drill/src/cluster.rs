//! A real etcd and real log-node processes, each with a directory, a zone and perhaps a network namespace and a small disk
//! of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use holdfast_log_store::LogStore;
use holdfast_meta::MetaStore;
use holdfast_meta_etcd::{EtcdStore, testing::EtcdCluster};
use holdfast_qlog::messages::{ClusterId, Owner};
use holdfast_quorum_wal::{Components, Options, QuorumWal, TcpConnect, registry::cluster_id};
use holdfast_runtime::SystemClock;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    network::{self, Namespace},
    node::{Node, Place},
};

/// Longest time that a process may take to be ready; only a failing run waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many log-nodes. They stand in three zones.
    pub nodes: usize,
    /// Each in a network namespace of its own.
    pub namespaces: bool,
    /// The last one on a small disk of its own, to be filled. Needs root.
    pub small_disk: bool,
    /// Where the disks are; the system's temporary directory otherwise.
    pub dir: Option<PathBuf>,
    /// Bytes of one file of a journal.
    pub journal_file_bytes: u64,
}

/// etcd and log-nodes. All of it ends and is removed when this is dropped.
pub struct Cluster {
    /// The metadata store.
    pub etcd: EtcdCluster,
    /// The log-nodes.
    pub nodes: Vec<Node>,
    store: Arc<dyn MetaStore>,
    id: ClusterId,
    objects: Option<LogStore>,
    writers: AtomicU64,
    // Dropped after the processes are gone.
    dir: TempDir,
}

/// The `holdfast` program: what `HOLDFAST_BIN` names, or the one that was built beside this one.
///
/// # Errors
/// There is none.
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("HOLDFAST_BIN") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    let mut beside = own.ancestors().skip(1).take(2).map(|d| d.join("holdfast"));
    let found = beside.find(|path| path.is_file());
    found.context("there is no holdfast beside this program: build it, or name it in HOLDFAST_BIN")
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// What does not start, and why.
    pub async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("holdfast-drill-");
        let dir = match &setup.dir {
            Some(dir) => builder.tempdir_in(dir)?,
            None => builder.tempdir()?,
        };
        let etcd = EtcdCluster::start(1).await;
        let endpoint = etcd.endpoint(0);
        let port = match setup.namespaces {
            true => network::forward(endpoint.trim_start_matches("http://").to_owned()).await?,
            false => 0,
        };
        let options = holdfast_meta_etcd::Options {
            endpoints: vec![endpoint.clone()],
            ..holdfast_meta_etcd::Options::default()
        };
        let store: Arc<dyn MetaStore> = Arc::new(EtcdStore::connect(options).await?);
        let id = cluster_id(&*store).await?;
        let objects = holdfast_log_store::Options {
            dir: dir.path().join("objects"),
            ..holdfast_log_store::Options::default()
        };
        fs::create_dir(&objects.dir)?;
        let mut nodes = Vec::new();
        for index in 0..setup.nodes {
            let namespace = setup
                .namespaces
                .then(|| Namespace::make(index))
                .transpose()?;
            let etcd = match &namespace {
                Some(namespace) => format!("http://{}:{port}", namespace.outside),
                None => endpoint.clone(),
            };
            let mut node = Node::prepare(Place {
                index,
                dir: dir.path().to_owned(),
                etcd,
                small_disk: setup.small_disk && index + 1 == setup.nodes,
                journal_file_bytes: setup.journal_file_bytes,
                objects: objects.dir.clone(),
                namespace,
            })?;
            node.start().await?;
            nodes.push(node);
        }
        Ok(Self {
            etcd,
            nodes,
            store,
            id,
            objects: LogStore::open(&objects, id)?,
            writers: AtomicU64::new(1),
            dir,
        })
    }

    /// The metadata.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn MetaStore> {
        &self.store
    }

    /// Where everything is kept.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps the directory when this is dropped, for somebody to look at.
    pub fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// The logs, as another process would see them.
    ///
    /// # Errors
    /// The log's.
    pub async fn wal(&self, options: Options) -> anyhow::Result<QuorumWal> {
        let incarnation = self.writers.fetch_add(1, Ordering::Relaxed);
        let components = Components {
            meta: Arc::clone(&self.store),
            connect: Arc::new(TcpConnect),
            clock: Arc::new(SystemClock::new()),
            cluster: self.id,
            owner: Owner {
                node: "drill".into(),
                incarnation,
            },
            objects: self.objects.clone(),
        };
        Ok(QuorumWal::open(options, components).await?)
    }

    /// What `holdfast ctl wal` answers.
    ///
    /// # Errors
    /// It fails, or what it says is not JSON.
    pub async fn ctl(&self, words: &[&str]) -> anyhow::Result<serde_json::Value> {
        let endpoint = self.etcd.endpoint(0);
        let asked = Command::new(program()?)
            .args(["ctl", "--etcd", &endpoint, "--json", "wal"])
            .args(words)
            .env_remove("HOLDFAST_BIN")
            .env_remove("HOLDFAST_ETCD")
            .kill_on_drop(true)
            .output();
        let done = timeout(PATIENCE, asked).await.context("ctl")??;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        serde_json::from_slice(&done.stdout).with_context(|| said)
    }

    /// Lines of the nodes' logs that tell of a panic.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let log = fs::read_to_string(&node.log).unwrap_or_default();
            let panicked = log.lines().filter(|line| line.contains("panicked at"));
            found.extend(panicked.map(|line| format!("{}: {line}", node.name)));
        }
        found
    }
}
