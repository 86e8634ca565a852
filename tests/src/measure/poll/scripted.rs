//! The scripted registry: answers as fast as it can what the name of a repository asks for, and
//! counts what it was asked. A process of its own, so that its work is nobody else's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::shape::{MANIFEST, Shape};
use super::wire::{self, Wire};

/// What was asked under one label, and how it was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Tag lists, answered 200.
    pub(super) lists: u64,
    /// Tag lists, answered 304.
    pub(super) not_modified: u64,
    /// HEAD of manifests.
    pub(super) heads: u64,
    /// GET of manifests.
    pub(super) manifests: u64,
    /// Anything else.
    pub(super) other: u64,
}

/// The counts of every label.
pub(super) type AllCounts = HashMap<String, Counts>;

type Shared = Arc<Mutex<AllCounts>>;

impl Counts {
    /// Tag lists, whatever the answer.
    pub(super) fn listings(self) -> u64 {
        self.lists + self.not_modified
    }

    /// Requests of every kind.
    pub(super) fn requests(self) -> u64 {
        self.listings() + self.heads + self.manifests + self.other
    }

    /// What was added since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            lists: self.lists - before.lists,
            not_modified: self.not_modified - before.not_modified,
            heads: self.heads - before.heads,
            manifests: self.manifests - before.manifests,
            other: self.other - before.other,
        }
    }
}

/// Serves on every wire until it is killed.
pub async fn serve(pki: &Path) -> anyhow::Result<()> {
    let counts = Shared::default();
    let mut wires = JoinSet::new();
    for wire in Wire::ALL {
        let tls = match wire.protocols() {
            None => None,
            Some(protocols) => Some(acceptor(pki, protocols)?),
        };
        let listener = TcpListener::bind(("0.0.0.0", wire.port())).await?;
        wires.spawn(accept(listener, tls, Arc::clone(&counts)));
    }
    let ended = wires.join_next().await.context("nothing to serve")?;
    ended?
}

fn acceptor(pki: &Path, protocols: &[&str]) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(pki.join(wire::CERTIFICATE))?;
    let chain = chain.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(pki.join(wire::KEY))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    counts: Shared,
) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, tls.clone(), Arc::clone(&counts)));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, counts: Shared) {
    // A client that breaks off is its own matter; what it misses is counted nowhere.
    let _nagle = stream.set_nodelay(true);
    match tls {
        None => talk(stream, counts).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                talk(stream, counts).await;
            }
        }
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, counts: Shared) {
    let service = service_fn(move |request| {
        let response = answer(&request, &counts);
        async { Ok::<_, Infallible>(response) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().pipeline_flush(true);
    let _broken = server.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &Request<Incoming>, counts: &Shared) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path == "/counts" {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let body = serde_json::to_vec(&*counts).unwrap_or_default();
        return with(StatusCode::OK, body);
    }
    let asked = path.strip_prefix("/v2/");
    let Some((label, response, kind)) = asked.and_then(|asked| look(request, asked)) else {
        return with(StatusCode::NOT_FOUND, "");
    };
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = match counts.get_mut(label) {
        Some(counts) => counts,
        None => counts.entry(label.to_owned()).or_default(),
    };
    *kind(counts) += 1;
    response
}

type Kind = fn(&mut Counts) -> &mut u64;

/// The label, the answer, and what it counts as.
fn look<'a>(
    request: &Request<Incoming>,
    asked: &'a str,
) -> Option<(&'a str, Response<Full<Bytes>>, Kind)> {
    if let Some(repository) = asked.strip_suffix("/tags/list") {
        let (label, shape) = Shape::parse(repository)?;
        let (response, kind) = list(request, repository, shape);
        return Some((label, response, kind));
    }
    let (repository, _) = asked.split_once("/manifests/")?;
    let (label, _) = Shape::parse(repository)?;
    let (manifest, digest) = &*MANIFEST;
    let kind: Kind = match *request.method() {
        Method::HEAD => |counts| &mut counts.heads,
        Method::GET => |counts| &mut counts.manifests,
        _ => {
            return Some((label, with(StatusCode::METHOD_NOT_ALLOWED, ""), |counts| {
                &mut counts.other
            }));
        }
    };
    let mut response = with(StatusCode::OK, manifest.as_str());
    let headers = response.headers_mut();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert("docker-content-digest", HeaderValue::from_static(digest));
    Some((label, response, kind))
}

fn list(
    request: &Request<Incoming>,
    repository: &str,
    shape: Shape,
) -> (Response<Full<Bytes>>, Kind) {
    let query = |name: &str| {
        let pairs = request.uri().query().unwrap_or_default().split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    };
    let start = Shape::start(query("last"));
    let etag = shape.etag(start);
    let known = request.headers().get(header::IF_NONE_MATCH);
    if let (Some(etag), Some(known)) = (&etag, known)
        && known == etag
    {
        let mut response = with(StatusCode::NOT_MODIFIED, "");
        put(&mut response, header::ETAG, etag);
        return (response, |counts| &mut counts.not_modified);
    }
    let size = query("n").and_then(|size| size.parse().ok());
    let page = shape.page(repository, start, size);
    let mut response = with(StatusCode::OK, page.body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(etag) = page.etag {
        put(&mut response, header::ETAG, &etag);
    }
    if let Some(next) = page.next {
        put(
            &mut response,
            header::LINK,
            &format!("<{next}>; rel=\"next\""),
        );
    }
    (response, |counts| &mut counts.lists)
}

fn put(response: &mut Response<Full<Bytes>>, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

fn with(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
