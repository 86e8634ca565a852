//! What probes and Prometheus ask of a process, over plain HTTP: is it alive, is it ready, what
//! did it count. Read-only; nothing here changes the process.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A client that holds its connection open must not hold up the end of the process.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the admin server stopped.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The listener failed for good.
    #[error("the admin server failed")]
    Serve {
        /// What the operating system said.
        source: std::io::Error,
    },
}

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    metrics: Arc<Registry>,
}

/// Serves `/healthz`, `/livez`, `/readyz` and `/metrics` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Arc<Registry>,
    shutdown: CancellationToken,
) -> Result<(), AdminError> {
    let app = router(Shared { readiness, metrics });
    let server = axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served.map_err(|source| AdminError::Serve { source }),
        () = overdue => Ok(()),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", routing::get(alive))
        .route("/livez", routing::get(alive))
        .route("/readyz", routing::get(ready))
        .route("/metrics", routing::get(metrics))
        .with_state(shared)
}

async fn alive() -> &'static str {
    "ok"
}

async fn ready(State(shared): State<Shared>) -> Response {
    let missing = shared.readiness.missing();
    if missing.is_empty() {
        return "ok".into_response();
    }
    let body = format!("not ready: {}\n", missing.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let mut body = String::new();
    match prometheus_client::encoding::text::encode(&mut body, &shared.metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "Cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
