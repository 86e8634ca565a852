//! The scripted registry: the newest tag of a repository is the one that was pushed last, and the
//! registry notes when it first told somebody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::cluster::ControlPlane;
use crate::measure::poll::shape::MANIFEST;

/// Tags that the list shows: as many as a repository has that is tidied up.
const SHOWN: usize = 50;

/// What it holds and what it told.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// The tags of each repository.
    tags: HashMap<String, Vec<String>>,
    /// When somebody was told about a repository's tag.
    first: HashMap<(String, String), Instant>,
}

/// Serves; returns the registry and its `host:port`.
pub(super) async fn serve(serving: &mut JoinSet<()>) -> anyhow::Result<(Arc<Registry>, String)> {
    let registry = Arc::<Registry>::default();
    let listener = TcpListener::bind((ControlPlane::ADDRESS, 0)).await?;
    let address = listener.local_addr()?.to_string();
    let router = axum::Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&registry));
    serving.spawn(async move {
        // It ends with the measurement only.
        let _ended = axum::serve(listener, router).await;
    });
    Ok((registry, address))
}

impl Registry {
    /// Has a new tag from now on.
    pub(super) fn push(&self, repository: &str, tag: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tags = told.tags.entry(repository.to_owned()).or_default();
        tags.push(tag.to_owned());
    }

    /// When somebody was first told about a tag.
    pub(super) fn told(&self, repository: &str, tag: &str) -> anyhow::Result<Instant> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = told.first.get(&(repository.to_owned(), tag.to_owned()));
        first
            .copied()
            .with_context(|| format!("nobody was told about {tag}"))
    }

    fn list(&self, repository: &str, known: Option<&str>) -> Option<(StatusCode, String, String)> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tags = told.tags.get(repository)?;
        let etag = format!("\"{}\"", tags.len());
        if known == Some(&etag) {
            return Some((StatusCode::NOT_MODIFIED, etag, String::new()));
        }
        let (_, shown) = tags.split_at(tags.len().saturating_sub(SHOWN));
        let list = serde_json::json!({ "name": repository, "tags": shown });
        let newest = tags.last().cloned()?;
        let newest = (repository.to_owned(), newest);
        told.first.entry(newest).or_insert_with(Instant::now);
        Some((StatusCode::OK, etag, list.to_string()))
    }
}

async fn answer(
    State(registry): State<Arc<Registry>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|known| known.to_str().ok());
    let response = Response::builder();
    let path = uri.path().strip_prefix("/v2/").unwrap_or_default();
    let list = path
        .strip_suffix("/tags/list")
        .and_then(|repository| registry.list(repository, known));
    let made = if let Some((code, etag, body)) = list {
        response
            .status(code)
            .header(header::ETAG, etag)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
    } else if path.contains("/manifests/") {
        let (manifest, digest) = &*MANIFEST;
        let body = match method {
            Method::HEAD => Body::empty(),
            _ => Body::from(manifest.as_str()),
        };
        response
            .header("docker-content-digest", digest)
            .header(
                header::CONTENT_TYPE,
                "application/vnd.oci.image.manifest.v1+json",
            )
            .body(body)
    } else {
        response.status(StatusCode::NOT_FOUND).body(Body::empty())
    };
    made.unwrap_or_default()
}
