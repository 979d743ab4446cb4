//! All roles in one process over embedded parts: catalog in redb, log and objects in local directories, or objects in a
//! bucket.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use holdfast_meta::{MetaStore, RedbStore};
use holdfast_quorum_wal::registry::cluster_id;
use holdfast_runtime::{MemoryBudget, MemoryKind, Reservation, Shutdown};
use holdfast_wal::{LocalWal, Wal};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::Config,
    data_dir::DataDir,
    http::{Endpoints, Readiness},
    serving::{self, Parts, Resources, Roles, Settings},
};

/// How long requests and background jobs may take to end at shutdown.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often metrics are summarized.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Of the memory budget: the part that the newest records of all logs may take.
const RING_SHARE: u64 = 16;
/// Of the memory budget: the part that the write buffers of all logs may take.
const BATCH_SHARE: u64 = 32;

/// Runs until a signal to stop.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let data = DataDir::open(&config.data_dir)?;
    let grpc = bind(config.grpc_address, "grpc_address").await?;
    let http = bind(config.http_address, "http_address").await?;
    let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
    let endpoints = Endpoints::install().context("metrics")?;
    let shutdown = Shutdown::new();
    let stop = stop_signal()?;
    let serving_http = shutdown.spawn(endpoints.clone().serve(http, shutdown.clone()));
    let (roles, _log_memory) = open(&config, &data, &shutdown)
        .await
        .with_context(|| format!("data directory {}", config.data_dir.display()))?;
    let service = roles.proxy.clone().into_server();
    let (health, serving) = serving::serve(service, grpc, &shutdown)?;
    health
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    shutdown.spawn(upkeep(endpoints.clone(), shutdown.clone()));
    endpoints.set_damage(roles.damaged());
    endpoints.set(Readiness::Ready);
    print_line(&format!(
        "holdfast ready grpc={grpc_address} http={http_address} data={}\n",
        config.data_dir.display()
    ));
    tracing::info!(grpc = %grpc_address, http = %http_address, data = %config.data_dir.display(), took = ?started.elapsed(), "ready");

    let ended = tokio::select! {
        signal = stop => { tracing::info!(signal, "stopping"); None }
        ended = serving => Some(ended.context("grpc").and_then(|r| r.context("grpc"))),
        ended = serving_http => Some(ended.context("http").and_then(|r| r.context("http"))),
    };
    endpoints.set(Readiness::Stopping);
    shutdown.trigger();
    let decided = roles.close().await;
    let drained = shutdown.drained(DRAIN_MAX).await;
    tracing::info!(decided, drained, "stopped");
    ended.unwrap_or(Ok(()))
}

/// Tells whoever started this process; they may have closed their end, which is no reason to stop.
pub(crate) fn print_line(line: &str) {
    drop(std::io::Write::write_all(
        &mut std::io::stdout(),
        line.as_bytes(),
    ));
}

pub(crate) async fn bind(address: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{key}: cannot listen on {address}: is another server using the port?")
    })
}

/// Resolves with the name of the first signal that asks this process to stop.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

pub(crate) async fn upkeep(endpoints: Endpoints, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tokio::select! {
            () = shutdown.triggered() => return,
            _ = tick.tick() => endpoints.upkeep(),
        }
    }
}

/// Opens the embedded parts and every role over them.
async fn open(
    config: &Config,
    data: &DataDir,
    shutdown: &Shutdown,
) -> anyhow::Result<(Roles, Reservation)> {
    let resources = Resources::open(config.cpu_threads, config.memory_budget)?;
    let meta: Arc<dyn MetaStore> = Arc::new(RedbStore::open(data.meta()).await?);
    let (wal_options, log_memory) = log_within(&config.wal, config.channels, &resources.budget);
    let wal_dir = data.wal();
    let wal: Arc<dyn Wal> =
        Arc::new(tokio::task::spawn_blocking(move || LocalWal::open(wal_dir, wal_options)).await??);
    let cluster = cluster_id(&*meta).await?;
    let objects = data.objects();
    let store = config.store.open(&objects, data.cache(), cluster);
    let store = Arc::new(store.await.context("store")?);
    let settings = Settings {
        owner: "standalone",
        channels: config.channels,
        proxy: &config.proxy,
        coordinator: &config.coordinator,
        stream_node: &config.stream_node,
        query_node: &config.query_node,
    };
    let parts = Parts {
        meta,
        wal,
        store,
        condition: None,
    };
    let roles = Roles::open(&settings, parts, resources, shutdown).await?;
    Ok((roles, log_memory))
}

/// The log's settings with its newest records and its write buffers within their part of the budget, and
/// that part set aside for good: they fill up and stay full.
fn log_within(
    options: &holdfast_wal::local::Options,
    channels: u32,
    budget: &Arc<MemoryBudget>,
) -> (holdfast_wal::local::Options, Reservation) {
    let part = |share: u64| {
        usize::try_from(budget.total() / share / u64::from(channels)).unwrap_or(usize::MAX)
    };
    let options = holdfast_wal::local::Options {
        ring_bytes_max: options.ring_bytes_max.min(part(RING_SHARE)),
        batch_bytes_max: options.batch_bytes_max.min(part(BATCH_SHARE)).max(1),
        ..options.clone()
    };
    let bytes = (options.ring_bytes_max + options.batch_bytes_max) as u64 * u64::from(channels);
    (options, budget.charge(MemoryKind::Wal, bytes))
}
