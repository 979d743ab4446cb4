//! Health, readiness, metrics, version.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use holdfast_runtime::Shutdown;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

/// Upper bounds of latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// What the endpoints answer from.
#[derive(Clone)]
pub(crate) struct Endpoints {
    metrics: PrometheusHandle,
    ready: Arc<AtomicBool>,
}

impl Endpoints {
    /// Collects metrics from now on.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let metrics = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
            .install_recorder()?;
        Ok(Self {
            metrics,
            ready: Arc::default(),
        })
    }

    /// Whether the server takes requests.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
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

async fn ready(State(endpoints): State<Endpoints>) -> (StatusCode, &'static str) {
    if endpoints.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(endpoints): State<Endpoints>) -> String {
    endpoints.metrics.render()
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "milvus_wire": holdfast_proxy::SERVER_VERSION,
    }))
}
