//! The fault proxy: everything one process says to the apiserver passes through here, and one
//! request of it goes wrong.
//!
//! ```text
//! process ──HTTP, loopback──► proxy ──TLS, the process's own token──► apiserver
//! ```
//!
//! The process sees one namespace as the whole cluster, so that plans run side by side. Watches
//! stream through.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::call::{self, Call};
use super::history::Kind;
use super::plan::{Action, Fault, Reply, Side};
use super::process::Process;
use super::progress::Progress;

type Body = UnsyncBoxBody<Bytes, reqwest::Error>;

/// The apiserver as the proxy reaches it: without an identity of its own.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    client: reqwest::Client,
    base: String,
}

impl Upstream {
    pub(super) fn new(kubeconfig: &kube::Config) -> anyhow::Result<Self> {
        let roots = kubeconfig.root_cert.as_deref().unwrap_or_default();
        let roots: Result<Vec<_>, _> = roots
            .iter()
            .map(|der| reqwest::Certificate::from_der(der))
            .collect();
        let client = reqwest::Client::builder()
            .tls_certs_only(roots?)
            .no_proxy()
            .no_gzip()
            .build()?;
        let base = kubeconfig.cluster_url.to_string();
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    async fn send(&self, request: Forward) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}{}", self.base, request.path);
        self.client
            .request(request.method, url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await
    }
}

/// A request on its way.
struct Forward {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

/// One proxy in front of one process.
pub(super) struct Proxy {
    upstream: Upstream,
    namespace: String,
    process: Arc<Process>,
    /// Somebody else, who makes objects too.
    stranger: kube::Client,
    fault: Option<Fault>,
    progress: Arc<Progress>,
    matched: AtomicUsize,
    fired: AtomicUsize,
    /// Requests without an answer so far, watches apart.
    open: AtomicUsize,
    last: Mutex<Instant>,
    seen: Mutex<Vec<Call>>,
}

impl Proxy {
    pub(super) fn new(
        upstream: Upstream,
        namespace: &str,
        process: Arc<Process>,
        stranger: kube::Client,
        fault: Option<Fault>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            upstream,
            namespace: namespace.to_owned(),
            process,
            stranger,
            fault,
            progress,
            matched: AtomicUsize::new(0),
            fired: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            seen: Mutex::default(),
        }
    }

    /// A place to listen.
    pub(super) async fn listen() -> anyhow::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Whether the planned fault has happened.
    pub(super) fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Relaxed) > 0
    }

    /// Every request so far.
    pub(super) fn seen(&self) -> Vec<Call> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    /// Serves until dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.context("cannot accept")?,
                Some(_) = connections.join_next() => continue,
            };
            let proxy = Arc::clone(&self);
            let service = hyper::service::service_fn(move |request| {
                let proxy = Arc::clone(&proxy);
                async move { proxy.pass(request).await }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                // A connection that was cut, or whose process was killed, ends with an error.
                let _ = served.await;
            });
        }
    }

    /// How long nothing has been asked for or answered.
    pub(super) fn quiet_for(&self) -> Duration {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match self.open.load(Ordering::Relaxed) {
            0 => last.elapsed(),
            _ => Duration::ZERO,
        }
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let uri = self.within(request.uri()).ok_or(Cut)?;
        let call = Call::of(request.method(), &uri);
        self.note(&call);
        let _open = (call.verb != "WATCH").then(|| Open::new(self));
        self.answer(&call, uri, request).await
    }

    async fn answer(
        &self,
        call: &Call,
        uri: Uri,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        let fault = self.fault_of(call);
        let mut request = self.read(uri, request).await?;
        if call.verb == "POST" && call.resource == "batch/jobs" {
            hand_over(&mut request).map_err(|_| Cut)?;
        }
        let Some(fault) = fault else {
            return self.forward(call, request).await;
        };
        if let Some(until) = &fault.until {
            self.progress.hold(until).await;
        }
        match fault.side {
            Side::Before => self.before(fault.action, call, request).await,
            Side::Committed => {
                let answer = whole(self.forward(call, request).await?).await?;
                match fault.action {
                    Action::Delay(millis) => {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                        Ok(answer.map(full))
                    }
                    action => self.instead(&action),
                }
            }
            Side::After => {
                let answer = whole(self.forward(call, request).await?).await?;
                self.process.kill_soon();
                Ok(answer.map(full))
            }
        }
    }

    /// The address without the plan's prefix; a process of another plan, which had this port before,
    /// does not know it.
    fn within(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.to_string();
        let rest = rest.strip_prefix('/')?.strip_prefix(&self.namespace)?;
        rest.parse().ok()
    }

    fn note(&self, call: &Call) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(call.clone());
    }

    fn fault_of(&self, call: &Call) -> Option<Fault> {
        let fault = self
            .fault
            .as_ref()
            .filter(|fault| fault.trigger.is_of_kind(call))?;
        let number = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        let trigger = &fault.trigger;
        if !(trigger.nth..trigger.nth + trigger.times).contains(&number) {
            return None;
        }
        self.fired.fetch_add(1, Ordering::Relaxed);
        Some(fault.clone())
    }

    async fn read(&self, uri: Uri, request: Request<Incoming>) -> Result<Forward, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let path = call::within_namespace(&uri, &self.namespace);
        let path = path.unwrap_or_else(|| uri.to_string());
        let mut headers = parts.headers;
        for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
            headers.remove(name);
        }
        Ok(Forward {
            method: parts.method,
            path,
            headers,
            body,
        })
    }

    async fn forward(&self, call: &Call, request: Forward) -> Result<Response<Body>, Cut> {
        let answer = self.upstream.send(request).await.map_err(|_| Cut)?;
        self.progress.answered(call);
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != header::CONNECTION && name != header::TRANSFER_ENCODING {
                response = response.header(name, value);
            }
        }
        let stream = StreamBody::new(answer.bytes_stream().map_ok(Frame::data));
        response.body(stream.boxed_unsync()).map_err(|_| Cut)
    }

    async fn before(
        &self,
        action: Action,
        call: &Call,
        request: Forward,
    ) -> Result<Response<Body>, Cut> {
        match action {
            Action::Hold => {}
            Action::Delay(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Action::Squat => self.squat(&request.body).await.map_err(|_| Cut)?,
            Action::Kill9 | Action::Drop | Action::Reply(_) => return self.instead(&action),
        }
        self.forward(call, request).await
    }

    /// What the process gets instead of the apiserver's answer.
    fn instead(&self, action: &Action) -> Result<Response<Body>, Cut> {
        match action {
            Action::Reply(reply) => refusal(reply),
            Action::Kill9 => {
                self.process.kill();
                Err(Cut)
            }
            _ => Err(Cut),
        }
    }

    /// Makes a Job of the same name as the one that is being made, whose end looks like success.
    async fn squat(&self, body: &Bytes) -> anyhow::Result<()> {
        let wanted: Value = serde_json::from_slice(body)?;
        let name = wanted
            .pointer("/metadata/name")
            .cloned()
            .unwrap_or_default();
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": {"stranger": "true"}},
            "spec": {
                "managedBy": super::job_controller::NAME,
                "suspend": false,
                "template": wanted.pointer("/spec/template").cloned().unwrap_or_default(),
            },
        });
        let api = Kind::Job.api(&self.stranger, &self.namespace);
        api.create(
            &kube::api::PostParams::default(),
            &serde_json::from_value(job)?,
        )
        .await?;
        Ok(())
    }
}

/// A request without an answer so far. The process it came from may be killed meanwhile, and the
/// request dropped.
struct Open<'a>(&'a Proxy);

impl<'a> Open<'a> {
    fn new(proxy: &'a Proxy) -> Self {
        proxy.open.fetch_add(1, Ordering::Relaxed);
        proxy.touch();
        Self(proxy)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

/// The whole answer, so that what was asked for has been done.
async fn whole(answer: Response<Body>) -> Result<Response<Bytes>, Cut> {
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, body))
}

/// An error in the apiserver's form.
fn refusal(reply: &Reply) -> Result<Response<Body>, Cut> {
    let reason = match reply.code {
        403 => "Forbidden",
        409 => "Conflict",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
        "reason": reason, "code": reply.code, "message": "the fault proxy says so",
    });
    let mut response = Response::builder()
        .status(StatusCode::from_u16(reply.code).map_err(|_| Cut)?)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = reply.retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response
        .body(full(Bytes::from(status.to_string())))
        .map_err(|_| Cut)
}

fn full(body: Bytes) -> Body {
    let never = |never: Infallible| match never {};
    Full::new(body).map_err(never).boxed_unsync()
}

/// Gives a Job that is being made into the hands of our own Job controller, as a mutating webhook
/// would.
fn hand_over(request: &mut Forward) -> anyhow::Result<()> {
    let mut job: Value = serde_json::from_slice(&request.body)?;
    job["spec"]["managedBy"] = json!(super::job_controller::NAME);
    request.body = Bytes::from(job.to_string());
    Ok(())
}
