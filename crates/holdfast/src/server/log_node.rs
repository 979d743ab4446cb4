//! The log-node of a process.

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
use holdfast_meta::MetaStore;
use holdfast_qlog::{Zone, messages::ClusterId, node::NodeOptions};
use holdfast_quorum_wal::TcpConnect;
use holdfast_runtime::Shutdown;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::server::TcpIncoming;

use super::{config::ServerConfig, log_store};
use crate::data_dir::DataDir;

/// Serves the log-node until shutdown.
pub(super) fn serve(
    service: Service,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> JoinHandle<Result<(), tonic::transport::Error>> {
    let server = grpc::server().add_service(service.into_server());
    let stopping = shutdown.clone();
    shutdown.spawn(async move {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server
            .serve_with_incoming_shutdown(incoming, async move { stopping.triggered().await })
            .await
    })
}

/// Opens the journal, tells the cluster which disk this is, and starts the node.
pub(super) async fn open(
    store: Arc<dyn MetaStore>,
    cluster: ClusterId,
    config: &ServerConfig,
    data: &DataDir,
    advertised: &str,
    shutdown: &Shutdown,
) -> anyhow::Result<Service> {
    let objects = log_store(config, cluster)?;
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
            let owner = Owner::new(cluster);
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
