//! Health, readiness, metrics, version.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use holdfast_runtime::Shutdown;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// Upper bounds of latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// Tells what can't be served, a line each.
type Damage = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What a process is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It opens what it needs.
    #[default]
    Starting,
    /// Another process of the cluster serves.
    StandingBy,
    /// It was elected, and opens the logs.
    TakingOver,
    /// It takes requests.
    Ready,
    /// It ends.
    Stopping,
}

impl Readiness {
    fn answer(self) -> &'static str {
        match self {
            Self::Starting => "not ready: starting\n",
            Self::StandingBy => "not ready: standing by\n",
            Self::TakingOver => "not ready: taking over\n",
            Self::Ready => "ready\n",
            Self::Stopping => "not ready: stopping\n",
        }
    }
}

/// What the endpoints answer from.
#[derive(Clone)]
pub(crate) struct Endpoints {
    metrics: PrometheusHandle,
    readiness: Arc<Mutex<Readiness>>,
    damage: Arc<OnceLock<Damage>>,
}

impl Endpoints {
    /// Collects metrics from now on.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
            .install_recorder()?;
        Ok(Self {
            metrics,
            readiness: Arc::default(),
            damage: Arc::default(),
        })
    }

    /// Says what the process is about now.
    pub(crate) fn set(&self, readiness: Readiness) {
        *self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// Who tells what can't be served although the server takes requests; told once.
    pub(crate) fn set_damage(&self, damage: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.damage.get_or_init(|| Box::new(damage));
    }

    fn damaged(&self) -> Vec<String> {
        self.damage.get().map_or_else(Vec::new, |damage| damage())
    }

    /// Summarizes what was recorded; to be called now and then.
    pub(crate) fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// Serves until shutdown.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> std::io::Result<()> {
        let app = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/version", get(version))
            .with_state(self);
        axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.triggered().await })
            .await
    }
}

/// Ready is who serves all that can be served: taking a server away for one damaged collection would take all
/// others with it.
async fn ready(State(endpoints): State<Endpoints>) -> (StatusCode, String) {
    let readiness = *endpoints
        .readiness
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let answer = readiness.answer().to_owned();
    if readiness != Readiness::Ready {
        return (StatusCode::SERVICE_UNAVAILABLE, answer);
    }
    let damaged = endpoints.damaged().into_iter();
    let lines = damaged.map(|line| format!("damaged: {line}\n"));
    (StatusCode::OK, answer + &lines.collect::<String>())
}

async fn metrics(State(endpoints): State<Endpoints>) -> String {
    gauge!("holdfast_damaged_shards").set(endpoints.damaged().len() as f64);
    endpoints.metrics.render()
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "milvus_wire": holdfast_proxy::SERVER_VERSION,
    }))
}
