//! A registry that answers what a test says, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use werf_poller::io::registry::Reach;

/// What the registry was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Script = Box<dyn Fn(&Asked) -> Response + Send>;

#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    shared: Shared,
    _serving: JoinSet<()>,
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Response + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            script: Arc::new(Mutex::new(Box::new(script))),
            asked: Arc::default(),
        };
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            shared,
            _serving: serving,
        }
    }

    pub(crate) fn now_answers(&self, script: impl Fn(&Asked) -> Response + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// `127.0.0.1:port/org/app`.
    pub(crate) fn repository(&self) -> String {
        format!("{}/org/app", self.address)
    }

    /// Everything asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let asked = Asked {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
        body: to_bytes(request.into_body(), 1 << 20).await.unwrap(),
    };
    shared.asked.lock().unwrap().push(asked.clone());
    let script = shared.script.lock().unwrap();
    script(&asked)
}

/// The registries of these tests are on this machine.
pub(crate) fn reach() -> Reach {
    Reach {
        networks: "127.0.0.0/8,::1".parse().unwrap(),
        ..Reach::default()
    }
}

/// Where the list is.
pub(crate) const PATH: &str = "/v2/org/app/tags/list";
/// How it is asked for first.
pub(crate) const LIST: &str = "/v2/org/app/tags/list?n=1000";

pub(crate) fn status(status: u16) -> Response {
    with(status, &[], "")
}

pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

pub(crate) fn page(tags: &[&str], headers: &[(&str, &str)]) -> Response {
    with(
        200,
        headers,
        json!({ "name": "org/app", "tags": tags }).to_string(),
    )
}

/// Answers with the `ETag`, or with 304 to whoever knows it.
pub(crate) fn conditional(asked: &Asked, etag: &str, tags: &[&str]) -> Response {
    if asked
        .headers
        .get("if-none-match")
        .is_some_and(|e| e == etag)
    {
        with(304, &[("etag", etag)], "")
    } else {
        page(tags, &[("etag", etag)])
    }
}

/// A head, and then nothing.
pub(crate) fn hanging() -> Response {
    let never = futures::stream::pending::<Result<&str, std::io::Error>>();
    with(200, &[], Body::from_stream(never))
}

pub(crate) fn bundle() -> Value {
    json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.cncf.helm.config.v1+json" },
        "layers": [{ "mediaType": "application/tar+gzip" }],
    })
}

pub(crate) fn digest_of(manifest: &Value) -> String {
    format!("sha256:{:x}", Sha256::digest(manifest.to_string()))
}

/// Answers HEAD and GET of a manifest, whatever its tag.
pub(crate) fn manifest(asked: &Asked, manifest: &Value) -> Response {
    let digest = digest_of(manifest);
    let body = if asked.method == Method::HEAD {
        String::new()
    } else {
        manifest.to_string()
    };
    with(200, &[("docker-content-digest", &digest)], body)
}
