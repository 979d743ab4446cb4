//! The roles that serve, composed over their parts: the same for embedded parts and for those of a cluster.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context;
use holdfast_coordinator::CoordinatorService;
use holdfast_meta::{Catalog, Compare, MetaStore};
use holdfast_node_api::{Coordinator, QueryNode, StreamNode, Worker};
use holdfast_proxy::Proxy;
use holdfast_query_node::QueryNodeService;
use holdfast_runtime::{Clock, CpuPool, MemoryBudget, Shutdown, SystemClock};
use holdfast_storage::{Manifests, Store};
use holdfast_stream_node::StreamNodeService;
use holdfast_types::{ChannelId, Failure, ShardId, Timestamp};
use holdfast_wal::Wal;
use holdfast_worker::WorkerService;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::HealthReporter;

use crate::{config::Size, machine};

/// How long writes under way may take to be decided at shutdown.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// Key of the number that rises with every start and names this process's objects.
const WORKER_EPOCH: &str = "worker/epoch";

/// What a process has of its machine.
pub(crate) struct Resources {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<CpuPool>,
    pub(crate) budget: Arc<MemoryBudget>,
}

impl Resources {
    /// `cpu_threads` and `memory_budget` are 0 for what the machine has.
    pub(crate) fn open(cpu_threads: usize, memory_budget: Size) -> anyhow::Result<Self> {
        let threads = match cpu_threads {
            0 => machine::cores(),
            threads => threads,
        };
        let budget = match memory_budget {
            Size(0) => machine::memory() / 2,
            Size(bytes) => bytes,
        };
        Ok(Self {
            clock: Arc::new(SystemClock::new()),
            pool: CpuPool::new(threads)?,
            budget: MemoryBudget::new(budget),
        })
    }
}

/// The three seams.
pub(crate) struct Parts {
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) wal: Arc<dyn Wal>,
    pub(crate) store: Arc<Store>,
    /// What must hold in `meta` for this process to move manifests. Nothing, where it is alone.
    pub(crate) condition: Option<Compare>,
}

/// Settings of the roles.
pub(crate) struct Settings<'a> {
    /// Names this process in the epochs it takes.
    pub(crate) owner: &'a str,
    pub(crate) channels: u32,
    pub(crate) proxy: &'a holdfast_proxy::Options,
    pub(crate) coordinator: &'a holdfast_coordinator::Options,
    pub(crate) stream_node: &'a holdfast_stream_node::Options,
    pub(crate) query_node: &'a holdfast_query_node::Options,
}

/// The roles; they run until shutdown.
pub(crate) struct Roles {
    streams: Arc<StreamNodeService>,
    queries: Arc<QueryNodeService>,
    pub(crate) proxy: Proxy,
}

impl Roles {
    /// Takes the channels over, replays their logs, and starts every role.
    pub(crate) async fn open(
        settings: &Settings<'_>,
        parts: Parts,
        resources: Resources,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let Parts {
            meta,
            wal,
            store,
            condition,
        } = parts;
        let Resources {
            clock,
            pool,
            budget,
        } = resources;
        let now = Timestamp::from_unix_ms(clock.unix_ms());
        let catalog = Catalog::open(Arc::clone(&meta), now).await?;
        let manifests = Manifests::new(Arc::clone(&meta), Arc::clone(&store));
        let manifests = Arc::new(match condition {
            Some(condition) => manifests.only_while(condition),
            None => manifests,
        });
        let channels: Vec<ChannelId> = (0..settings.channels).map(ChannelId).collect();
        let epoch = holdfast_meta::claim_epoch(&*meta, WORKER_EPOCH, settings.owner).await?;
        let streams = StreamNodeService::open(
            &channels,
            settings.owner,
            settings.stream_node,
            &holdfast_stream_node::Components {
                meta,
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
            settings.query_node.clone(),
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
            settings.coordinator.clone(),
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
            settings.proxy.clone(),
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
        Ok(Self {
            streams,
            queries,
            proxy,
        })
    }

    /// Tells the shards that can't be served because a file is damaged or missing, each once.
    pub(crate) fn damaged(&self) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
        let (streams, queries) = (Arc::clone(&self.streams), Arc::clone(&self.queries));
        move || {
            let mut shards: BTreeMap<ShardId, Failure> = queries.damaged().into_iter().collect();
            // Who knows that a manifest is damaged knows what to do.
            shards.extend(streams.damaged());
            shards.into_values().map(|why| why.to_string()).collect()
        }
    }

    /// Takes no more writes and waits until those under way are decided; whether they were in time.
    pub(crate) async fn close(&self) -> bool {
        self.streams.close(CLOSE_MAX).await
    }
}

/// Serves the public API, health and reflection until shutdown.
pub(crate) fn serve<S>(
    service: S,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> anyhow::Result<(
    HealthReporter,
    JoinHandle<Result<(), tonic::transport::Error>>,
)>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(holdfast_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
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
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server
            .serve_with_incoming_shutdown(incoming, async move { stopping.triggered().await })
            .await
    });
    Ok((health, serving))
}
