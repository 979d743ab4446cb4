//! All roles in one process over embedded parts: catalog in redb, log and objects in local directories.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use holdfast_coordinator::CoordinatorService;
use holdfast_meta::{Catalog, MetaStore, RedbStore};
use holdfast_node_api::{Coordinator, QueryNode, StreamNode, Worker};
use holdfast_proxy::Proxy;
use holdfast_query_node::QueryNodeService;
use holdfast_runtime::{
    Clock, CpuPool, MemoryBudget, MemoryKind, Reservation, Shutdown, SystemClock,
};
use holdfast_storage::{Manifests, Store};
use holdfast_stream_node::StreamNodeService;
use holdfast_types::{ChannelId, Failure, ShardId, Timestamp};
use holdfast_wal::{LocalWal, Wal};
use holdfast_worker::WorkerService;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tonic::transport::{Server, server::TcpIncoming};

use crate::{
    config::{Config, Size},
    data_dir::DataDir,
    http::Endpoints,
    machine,
};

/// How long writes under way may take to be decided at shutdown.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long requests and background jobs may take to end at shutdown.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How often metrics are summarized.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Key of the number that rises with every start and names this process's objects.
const WORKER_EPOCH: &str = "worker/epoch";
/// Of the memory budget: the part that the newest records of all logs may take.
const RING_SHARE: u64 = 16;
/// Of the memory budget: the part that the write buffers of all logs may take.
const BATCH_SHARE: u64 = 32;

/// Everything that must be stopped in order.
struct Roles {
    streams: Arc<StreamNodeService>,
    queries: Arc<QueryNodeService>,
    proxy: Proxy,
    _log_memory: Reservation,
}

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
    let roles = open(&config, &data, &shutdown)
        .await
        .with_context(|| format!("data directory {}", config.data_dir.display()))?;
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(holdfast_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let service = roles.proxy.clone().into_server();
    health
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
    let server = Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(service)
        .add_service(health_service)
        .add_service(reflection().build_v1().context("reflection")?)
        .add_service(reflection().build_v1alpha().context("reflection")?);
    let stopping = shutdown.clone();
    let serving = shutdown.spawn(async move {
        server
            .serve_with_incoming_shutdown(
                TcpIncoming::from(grpc).with_nodelay(Some(true)),
                async move {
                    stopping.triggered().await;
                },
            )
            .await
    });
    shutdown.spawn(upkeep(endpoints.clone(), shutdown.clone()));
    endpoints.set_damage({
        let (streams, queries) = (Arc::clone(&roles.streams), Arc::clone(&roles.queries));
        move || damaged(&streams, &queries)
    });
    endpoints.set_ready(true);
    // Whoever started this process may have closed its end; that is no reason to stop.
    let line = format!(
        "holdfast ready grpc={grpc_address} http={http_address} data={}\n",
        config.data_dir.display()
    );
    drop(std::io::Write::write_all(
        &mut std::io::stdout(),
        line.as_bytes(),
    ));
    tracing::info!(grpc = %grpc_address, http = %http_address, data = %config.data_dir.display(), took = ?started.elapsed(), "ready");

    let ended = tokio::select! {
        signal = stop => { tracing::info!(signal, "stopping"); None }
        ended = serving => Some(ended.context("grpc").and_then(|r| r.context("grpc"))),
        ended = serving_http => Some(ended.context("http").and_then(|r| r.context("http"))),
    };
    endpoints.set_ready(false);
    shutdown.trigger();
    let decided = roles.streams.close(CLOSE_MAX).await;
    let drained = shutdown.drained(DRAIN_MAX).await;
    tracing::info!(decided, drained, "stopped");
    ended.unwrap_or(Ok(()))
}

/// The shards that can't be served because a file is damaged or missing, each once.
fn damaged(streams: &StreamNodeService, queries: &QueryNodeService) -> Vec<String> {
    let mut shards: BTreeMap<ShardId, Failure> = queries.damaged().into_iter().collect();
    // Who knows that a manifest is damaged knows what to do.
    shards.extend(streams.damaged());
    shards.into_values().map(|why| why.to_string()).collect()
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
async fn open(config: &Config, data: &DataDir, shutdown: &Shutdown) -> anyhow::Result<Roles> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let threads = if config.cpu_threads == 0 {
        machine::cores()
    } else {
        config.cpu_threads
    };
    let pool = CpuPool::new(threads)?;
    let budget = MemoryBudget::new(match config.memory_budget {
        Size(0) => machine::memory() / 2,
        Size(bytes) => bytes,
    });
    let meta: Arc<dyn MetaStore> = Arc::new(RedbStore::open(data.meta()).await?);
    let catalog =
        Catalog::open(Arc::clone(&meta), Timestamp::from_unix_ms(clock.unix_ms())).await?;
    let (wal_options, log_memory) = log_within(&config.wal, config.channels, &budget);
    let wal_dir = data.wal();
    let wal: Arc<dyn Wal> =
        Arc::new(tokio::task::spawn_blocking(move || LocalWal::open(wal_dir, wal_options)).await??);
    let objects = data.objects();
    let store = Arc::new(tokio::task::spawn_blocking(move || Store::open_local(&objects)).await??);
    let manifests = Arc::new(Manifests::new(Arc::clone(&meta), Arc::clone(&store)));
    let channels: Vec<ChannelId> = (0..config.channels).map(ChannelId).collect();
    let epoch = holdfast_meta::claim_epoch(&*meta, WORKER_EPOCH, "standalone").await?;
    let streams = StreamNodeService::open(
        &channels,
        "standalone",
        &config.stream_node,
        &holdfast_stream_node::Components {
            meta: Arc::clone(&meta),
            catalog: Arc::clone(&catalog),
            wal: Arc::clone(&wal),
            store: Arc::clone(&store),
            manifests: Arc::clone(&manifests),
            clock: Arc::clone(&clock),
            pool: Arc::clone(&pool),
            budget: Arc::clone(&budget),
        },
        shutdown,
    )
    .await?;
    let streams = Arc::new(streams);
    let queries = Arc::new(QueryNodeService::new(
        config.query_node.clone(),
        holdfast_query_node::Components {
            catalog: Arc::clone(&catalog),
            wal,
            store: Arc::clone(&store),
            manifests: Arc::clone(&manifests),
            clock: Arc::clone(&clock),
            pool: Arc::clone(&pool),
            budget: Arc::clone(&budget),
        },
        shutdown.clone(),
    ));
    let worker: Arc<dyn Worker> = Arc::new(WorkerService::new(holdfast_worker::Components {
        catalog: Arc::clone(&catalog),
        store: Arc::clone(&store),
        manifests: Arc::clone(&manifests),
        clock: Arc::clone(&clock),
        pool: Arc::clone(&pool),
        budget: Arc::clone(&budget),
        epoch,
    }));
    let coordinator = CoordinatorService::open(
        config.coordinator.clone(),
        holdfast_coordinator::Components {
            catalog: Arc::clone(&catalog),
            manifests,
            store,
            streams: Arc::clone(&streams) as Arc<dyn StreamNode>,
            queries: Arc::clone(&queries) as Arc<dyn QueryNode>,
            worker,
            clock: Arc::clone(&clock),
            channels,
        },
    )
    .await?;
    shutdown.spawn(Arc::clone(&coordinator).run(shutdown.clone()));
    let proxy = Proxy::new(
        config.proxy.clone(),
        holdfast_proxy::Components {
            catalog,
            coordinator: coordinator as Arc<dyn Coordinator>,
            streams: Arc::clone(&streams) as Arc<dyn StreamNode>,
            queries: Arc::clone(&queries) as Arc<dyn QueryNode>,
            clock,
            pool,
            budget,
        },
    );
    Ok(Roles {
        streams,
        queries,
        proxy,
        _log_memory: log_memory,
    })
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
