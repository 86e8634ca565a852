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
        ended = server => ended.map_err(|source| AdminError::Serve { source }),
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

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use super::*;

    struct Running {
        address: std::net::SocketAddr,
        readiness: Readiness,
        shutdown: CancellationToken,
        server: JoinSet<Result<(), AdminError>>,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::new();
        let shutdown = CancellationToken::new();
        let mut registry = Registry::default();
        registry.register("polls", "Polls done", Counter::<u64>::default());
        let mut server = JoinSet::new();
        let registry = Arc::new(registry);
        server.spawn(serve(
            listener,
            readiness.clone(),
            registry,
            shutdown.clone(),
        ));
        Running {
            address,
            readiness,
            shutdown,
            server,
        }
    }

    impl Running {
        async fn ask(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{request} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[rstest::rstest]
    #[case("GET /healthz", "HTTP/1.1 200")]
    #[case("GET /livez", "HTTP/1.1 200")]
    #[case("GET /readyz", "HTTP/1.1 200")]
    #[case("GET /metrics", "HTTP/1.1 200")]
    #[case("GET /", "HTTP/1.1 404")]
    #[case("GET /debug", "HTTP/1.1 404")]
    #[case("POST /healthz", "HTTP/1.1 405")]
    #[tokio::test]
    async fn each_path_answers_with_its_status(#[case] request: &str, #[case] status: &str) {
        let answer = start().await.ask(request).await;
        assert!(answer.starts_with(status), "{answer}");
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_says_what_is_missing_and_is_alive() {
        let admin = start().await;
        let watch = admin.readiness.expect("watch");
        let server = admin.readiness.expect("server");

        let answer = admin.ask("GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("not ready: watch, server\n"), "{answer}");
        assert!(admin.ask("GET /healthz").await.ends_with("\r\n\r\nok"));

        watch.ready();
        server.ready();
        assert!(admin.ask("GET /readyz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_text() {
        let answer = start().await.ask("GET /metrics").await.to_lowercase();
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{answer}"
        );
        assert!(answer.contains("polls_total 0"), "{answer}");
        assert!(answer.ends_with("# eof\n"), "{answer}");
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_the_end() {
        let mut admin = start().await;
        let mut idle = TcpStream::connect(admin.address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        assert!(admin.ask("GET /healthz").await.starts_with("HTTP/1.1 200"));

        tokio::time::pause();
        admin.shutdown.cancel();
        let ended = admin.server.join_next().await.unwrap();
        assert!(ended.unwrap().is_ok());
    }
}
