//! Some roles of a cluster in one process, over etcd.
//!
//! | module       | what it knows                                                          |
//! |--------------|------------------------------------------------------------------------|
//! | [`config`]   | settings                                                               |
//! | `log_node`   | opening and serving the log-node                                       |
//! | `standby`    | one process of a cluster serves, the others wait to take over           |
//! | `switch`     | the public API of a process that may have to refuse it                 |

pub(crate) mod config;
mod log_node;
mod standby;
mod switch;

use std::{future::pending, sync::Arc};

use anyhow::Context;
use holdfast_log_store::LogStore;
use holdfast_meta::{MetaError, MetaStore};
use holdfast_meta_etcd::EtcdStore;
use holdfast_qlog::messages::ClusterId;
use holdfast_quorum_wal::registry::cluster_id;
use holdfast_runtime::Shutdown;
use tokio::task::JoinHandle;

use crate::{
    cli::Role,
    data_dir::DataDir,
    http::{Endpoints, Readiness},
    standalone::{DRAIN_MAX, bind, print_line, stop_signal, upkeep},
    store::StoreKind,
};
use config::ServerConfig;
use standby::{Node, Serving};

type Server = JoinHandle<Result<(), tonic::transport::Error>>;

/// Runs until a signal to stop, or until another process may have taken over.
pub(crate) async fn run(config: ServerConfig) -> anyhow::Result<()> {
    let data = DataDir::open(&config.data_dir)?;
    let http = bind(config.http_address, "http_address").await?;
    let http_address = http.local_addr()?;
    let log_node = match config.has(Role::LogNode) {
        true => Some(bind(config.log_node_address, "log_node_address").await?),
        false => None,
    };
    let grpc = match config.serves() {
        true => Some(bind(config.grpc_address, "grpc_address").await?),
        false => None,
    };
    let endpoints = Endpoints::install().context("metrics")?;
    let shutdown = Shutdown::new();
    let mut stop = std::pin::pin!(stop_signal()?);
    let serving_http = shutdown.spawn(endpoints.clone().serve(http, shutdown.clone()));
    drop(shutdown.spawn(upkeep(endpoints.clone(), shutdown.clone())));

    let mut names = format!(
        "roles={} node={} zone={}",
        config.role_names(),
        config.node,
        config.zone
    );
    let places = format!("http={http_address} data={}", config.data_dir.display());
    let (mut public, mut logs): (Option<Server>, Option<Server>) = (None, None);
    let mut serving = None;
    // Everything up to where requests are answered; a signal ends it at any point.
    let opening = async {
        let store = Arc::new(connect(&config.etcd).await?);
        let meta: Arc<dyn MetaStore> = Arc::clone(&store) as Arc<dyn MetaStore>;
        let cluster = cluster_id(&*meta).await.context("etcd")?;
        if let Some(listener) = log_node {
            let address = listener.local_addr()?;
            let advertised = match config.log_node_advertised.is_empty() {
                true => address.to_string(),
                false => config.log_node_advertised.clone(),
            };
            let opening = log_node::open(meta, cluster, &config, &data, &advertised, &shutdown);
            logs = Some(log_node::serve(opening.await?, listener, &shutdown));
            names += &format!(" log_node={address}");
        }
        if let Some(listener) = grpc {
            names += &format!(" grpc={}", listener.local_addr()?);
            let node = Node {
                config: &config,
                data: &data,
                store,
                cluster,
                shutdown: &shutdown,
                endpoints: &endpoints,
            };
            let (switch, health, server) = node.refuse(listener)?;
            public = Some(server);
            let member = node.stand_by(&mut serving, || {
                print_line(&format!("holdfast standby {names} {places}\n"));
            });
            node.take_over(member.await?, &switch, &health, &mut serving)
                .await?;
        }
        Ok(())
    };
    let opened: anyhow::Result<Option<&str>> = tokio::select! {
        opened = opening => opened.map(|()| None),
        signal = &mut stop => Ok(Some(signal)),
    };
    let ended = match opened {
        Err(error) => Err(error),
        Ok(Some(signal)) => {
            tracing::info!(signal, "stopping before it was ready");
            Ok(())
        }
        Ok(None) => {
            endpoints.set(Readiness::Ready);
            print_line(&format!("holdfast ready {names} {places}\n"));
            tracing::info!(names, places, "ready");
            tokio::select! {
                signal = stop => { tracing::info!(signal, "stopping"); Ok(()) }
                ended = until_end(&mut public) => ended.context("grpc"),
                ended = until_end(&mut logs) => ended.context("log-node"),
                ended = serving_http => ended.context("http").and_then(|r| r.context("http")),
                () = replaced(serving.as_ref()) => Err(anyhow::anyhow!(
                    "the session with etcd has ended, so another process may serve by now: this one stops; started \
                     again, it stands by"
                )),
            }
        }
    };
    endpoints.set(Readiness::Stopping);
    shutdown.trigger();
    let decided = match &serving {
        Some(serving) => serving.close().await,
        None => true,
    };
    let drained = shutdown.drained(DRAIN_MAX).await;
    // Not before nothing is written any more: whoever stands by takes over at once.
    if let Some(serving) = serving {
        serving.resign().await;
    }
    tracing::info!(decided, drained, "stopped");
    ended
}

async fn until_end(server: &mut Option<Server>) -> anyhow::Result<()> {
    match server {
        Some(server) => Ok(server.await??),
        None => pending().await,
    }
}

async fn replaced(serving: Option<&Serving>) {
    match serving {
        Some(serving) => serving.replaced().await,
        None => pending().await,
    }
}

/// Where ended segments of the log go: a directory of their own, or the bucket that has all other objects.
fn log_store(config: &ServerConfig, cluster: ClusterId) -> anyhow::Result<Option<LogStore>> {
    let opened = LogStore::open(&config.objects, cluster)
        .with_context(|| format!("objects.dir: {}", config.objects.dir.display()))?;
    if opened.is_some() || config.store.kind != StoreKind::S3 {
        return Ok(opened);
    }
    let bucket = config.store.bucket()?;
    Ok(Some(LogStore::new(bucket, cluster, config.objects.clone())))
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
