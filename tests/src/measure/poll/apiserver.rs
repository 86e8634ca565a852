//! As much of an apiserver as the poller talks to: a fixed set of bundles to list, a watch in which
//! nothing happens, and a Secret. It counts what it is asked, above all what would change something.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::bundles::NAMESPACE;

/// What the apiserver was asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Anything that may change something.
    pub(super) writes: AtomicU64,
    /// Gets, lists and watches.
    pub(super) reads: AtomicU64,
}

struct Content {
    bundles: Vec<Value>,
    secrets: HashMap<String, Value>,
    asked: Arc<Asked>,
}

/// Serves these bundles and Secrets on a port of its own; returns the port.
pub(super) async fn serve(
    serving: &mut tokio::task::JoinSet<()>,
    bundles: Vec<Value>,
    secrets: HashMap<String, Value>,
) -> anyhow::Result<(u16, Arc<Asked>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let asked = Arc::<Asked>::default();
    let content = Arc::new(Content {
        bundles,
        secrets,
        asked: Arc::clone(&asked),
    });
    let app = Router::new().fallback(answer).with_state(content);
    serving.spawn(async move {
        // It ends with the measurement only.
        let _ended = axum::serve(listener, app).await;
    });
    Ok((port, asked))
}

/// How to reach it.
pub(super) fn kubeconfig(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{ "name": "bench", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [{ "name": "bench", "user": {} }],
        "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
    })
}

async fn answer(State(content): State<Arc<Content>>, request: Request) -> Response {
    if request.method() != Method::GET {
        content.asked.writes.fetch_add(1, Ordering::Relaxed);
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    content.asked.reads.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets/");
    if path == "/apis/werf.io/v1alpha1/werfbundles" {
        if parameter(query, "watch") == Some("true") {
            return silence();
        }
        return json_body(&page(&content.bundles, query));
    }
    match path
        .strip_prefix(&secrets)
        .and_then(|name| content.secrets.get(name))
    {
        Some(secret) => json_body(secret),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A list of at most `limit` objects, which starts where `continue` says.
fn page(bundles: &[Value], query: &str) -> Value {
    let number = |name: &str| parameter(query, name)?.parse::<usize>().ok();
    let start = number("continue").unwrap_or(0).min(bundles.len());
    let end = number("limit").map_or(bundles.len(), |limit| bundles.len().min(start + limit));
    let more = (end < bundles.len()).then(|| end.to_string());
    json!({
        "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundleList",
        "metadata": { "resourceVersion": "1", "continue": more.unwrap_or_default() },
        "items": bundles.get(start..end).unwrap_or_default(),
    })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// A watch in which nothing happens.
fn silence() -> Response {
    let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    Response::new(Body::from_stream(never))
}

fn json_body(value: &Value) -> Response {
    let body = value.to_string();
    ([("content-type", "application/json")], body).into_response()
}
