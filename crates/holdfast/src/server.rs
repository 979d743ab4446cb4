//! Some roles of a cluster in one process, over etcd.

pub(crate) mod config;

use std::sync::Arc;

use anyhow::Context;
use holdfast_disk::{Disk, RealDisk};
use holdfast_journal::{Journal, JournalThread, Owner, error::Loss, stored_identity};
use holdfast_log_keeper::{Keeper, Parts};
use holdfast_log_node::{
    Device, LogNode, Registration, ThreadDevice,
    grpc::{self, Service},
    keep_raising, recognise, register,
};
use holdfast_log_store::LogStore;
use holdfast_meta::{MetaError, MetaStore};
use holdfast_meta_etcd::EtcdStore;
use holdfast_qlog::{Zone, node::NodeOptions};
use holdfast_quorum_wal::{TcpConnect, registry::cluster_id};
use holdfast_runtime::Shutdown;
use tonic::transport::server::TcpIncoming;

use crate::{
    data_dir::DataDir,
    http::Endpoints,
    standalone::{DRAIN_MAX, bind, stop_signal, upkeep},
};
use config::ServerConfig;

/// Runs until a signal to stop.
pub(crate) async fn run(config: ServerConfig) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let data = DataDir::open(&config.data_dir)?;
    let grpc = bind(config.log_node_address, "log_node_address").await?;
    let http = bind(config.http_address, "http_address").await?;
    let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
    let endpoints = Endpoints::install().context("metrics")?;
    let shutdown = Shutdown::new();
    let stop = stop_signal()?;
    let serving_http = shutdown.spawn(endpoints.clone().serve(http, shutdown.clone()));
    shutdown.spawn(upkeep(endpoints.clone(), shutdown.clone()));
    let advertised = match config.log_node_advertised.is_empty() {
        true => grpc_address.to_string(),
        false => config.log_node_advertised.clone(),
    };
    let opening = open_log_node(&config, &data, &advertised, &shutdown);
    let mut stop = std::pin::pin!(stop);
    let service = tokio::select! {
        opened = opening => opened?,
        signal = &mut stop => {
            tracing::info!(signal, "stopping before it was ready");
            return Ok(());
        }
    };
    let server = grpc::server().add_service(service.into_server());
    let stopping = shutdown.clone();
    let serving = shutdown.spawn(async move {
        let incoming = TcpIncoming::from(grpc).with_nodelay(Some(true));
        server
            .serve_with_incoming_shutdown(incoming, async move { stopping.triggered().await })
            .await
    });
    endpoints.set_ready(true);
    let line = format!(
        "holdfast ready roles=log-node node={} zone={} log_node={grpc_address} http={http_address} data={}\n",
        config.node,
        config.zone,
        config.data_dir.display()
    );
    // Whoever started this process may have closed its end; that is no reason to stop.
    drop(std::io::Write::write_all(
        &mut std::io::stdout(),
        line.as_bytes(),
    ));
    tracing::info!(node = config.node, log_node = %grpc_address, http = %http_address, took = ?started.elapsed(), "ready");
    let ended = tokio::select! {
        signal = stop => { tracing::info!(signal, "stopping"); None }
        ended = serving => Some(ended.context("grpc").and_then(|r| r.context("grpc"))),
        ended = serving_http => Some(ended.context("http").and_then(|r| r.context("http"))),
    };
    endpoints.set_ready(false);
    shutdown.trigger();
    let drained = shutdown.drained(DRAIN_MAX).await;
    tracing::info!(drained, "stopped");
    ended.unwrap_or(Ok(()))
}

/// Waits for etcd; what waiting does not mend is an error.
async fn connect(options: &holdfast_meta_etcd::Options) -> anyhow::Result<EtcdStore> {
    loop {
        match EtcdStore::connect(options.clone()).await {
            Ok(store) => return Ok(store),
            Err(error @ MetaError::OutOfReach { .. }) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "waiting for etcd"
                );
            }
            Err(error) => return Err(error).context("etcd"),
        }
    }
}

/// Opens the journal, tells the cluster which disk this is, and starts the node.
async fn open_log_node(
    config: &ServerConfig,
    data: &DataDir,
    advertised: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<Service> {
    let store: Arc<dyn MetaStore> = Arc::new(connect(&config.etcd).await?);
    let cluster = cluster_id(&*store).await.context("etcd")?;
    let objects = LogStore::open(&config.objects, cluster)
        .with_context(|| format!("objects.dir: {}", config.objects.dir.display()))?;
    let dir = data.journal();
    let stored = tokio::task::spawn_blocking({
        let dir = dir.clone();
        move || stored_identity(&RealDisk, &dir)
    });
    let stored = stored.await?;
    if let Some(stored) = stored.with_context(|| format!("journal {}", dir.display()))? {
        recognise(&*store, &config.node, &stored).await?;
    }
    let options = config.log_node.journal.clone();
    let opened = tokio::task::spawn_blocking({
        let dir = dir.clone();
        move || {
            let owner = Owner::new(holdfast_journal::ClusterId(cluster.0));
            let (journal, recovered) = Journal::open_real(&dir, &owner, &options)?;
            let thread = JournalThread::start(journal)?;
            Ok::<_, anyhow::Error>((thread, recovered))
        }
    });
    let (journal, recovered) = opened
        .await?
        .with_context(|| format!("journal {}", dir.display()))?;
    for damage in &recovered.damage {
        tracing::error!(?damage, "the journal is damaged");
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let device = ThreadDevice::new(journal, disk, &dir, config.log_node.reads_max);
    let device: Arc<dyn Device> = Arc::new(device);
    let space = device.space().context("the data directory's disk")?;
    let zone = Zone(config.zone.as_str().into());
    let registration = Registration {
        node: config.node.as_str().into(),
        address: advertised.into(),
        zone: zone.clone(),
        free_bytes: space.free,
        total_bytes: space.total,
    };
    let old_copy = register(&*store, &registration, &recovered.identity).await?;
    // Promises may be among what was lost: the node must not swear to anything then.
    let forgetful = recovered
        .damage
        .iter()
        .any(|damage| damage.loss == Loss::Control);
    if forgetful {
        tracing::error!(
            "the journal may have lost promises: this node's word does not count until its disk is replaced"
        );
    }
    let node = LogNode::start(
        &config.log_node,
        NodeOptions {
            cluster,
            node: registration.node,
            storage: recovered.identity.storage,
            generation: recovered.identity.generation,
            data_loss: old_copy || forgetful,
            pending_bytes_max: config.log_node.pending_bytes_max,
            read_entries_max: config.log_node.read_entries_max,
        },
        Arc::clone(&device),
        shutdown,
    );
    let keeper = Keeper::new(
        config.keeper.clone(),
        Parts {
            meta: Arc::clone(&store),
            connect: Arc::new(TcpConnect),
            cluster,
            node: config.node.as_str().into(),
            log_node: node.clone(),
            device: Arc::clone(&device),
            objects,
        },
    );
    drop(shutdown.spawn(keeper.run(shutdown.clone())));
    drop(shutdown.spawn(keep_raising(
        store,
        config.node.as_str().into(),
        Arc::clone(&device),
        config.log_node.raise_every,
        shutdown.clone(),
    )));
    Ok(Service::new(node, zone, device))
}
