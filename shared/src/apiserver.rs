//! How much of what the apiserver answers is read. Whoever may create objects decides how long the lists
//! are that they are in, and every service has little memory for all of them: no answer is read beyond a
//! limit, long ones are read one after the other, and a page that is too long is asked for again in
//! smaller ones, which costs requests instead of memory. Watches and logs are streams: who reads them
//! keeps no more than he needs.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::clock;

const MIB: usize = 1024 * 1024;

/// The longest page of several objects. A hundred honest ones have room in it.
pub const PAGE_LIMIT: usize = 4 * MIB;

/// The longest answer with one object. etcd takes requests of 1.5 MiB (`DefaultMaxRequestBytes` in etcd's
/// `server/embed/config.go`), of which JSON may make six times as much: `<` becomes `\u003c` (`HTMLEscape`
/// in Go's `encoding/json`). So each object that there can be has room, and nobody can make a list that
/// cannot be read to its end.
pub const LIMIT: usize = 10 * MIB;

/// Answers longer than this are read one at a time; few honest ones are.
const LONG: usize = 256 * 1024;

/// Whose turn it is has to come to an end within this time, lest others wait for a server that is gone.
const TURN: Duration = Duration::from_secs(30);

/// More than the limit was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is longer than {} MiB", LIMIT / MIB)]
pub struct TooLong;

/// Whether a request failed because its answer was too long.
pub fn is_too_long(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<TooLong>())
}

/// The same client, reading no more than the limits allow. A page may have fewer objects than were asked
/// for, as the API allows; it says how to go on.
pub fn bounded(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let until = *client.valid_until();
    let reader = Arc::new(Reader {
        client,
        turn: Semaphore::new(1),
    });
    let service = tower::service_fn(move |request: Request<Body>| {
        let reader = Arc::clone(&reader);
        async move { reader.answer(request).await }
    });
    Client::new(service, namespace).with_valid_until(until)
}

struct Reader {
    client: Client,
    /// To read a long answer.
    turn: Semaphore,
}

impl Reader {
    async fn answer(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        if is_stream(&request) {
            return self.client.send(request).await;
        }
        let Some(mut size) = page_size(&request).filter(|size| *size > 1) else {
            return self.read(request, LIMIT).await;
        };
        // A list is asked for without a body.
        let (mut parts, _) = request.into_parts();
        loop {
            let limit = if size > 1 { PAGE_LIMIT } else { LIMIT };
            let request = Request::from_parts(parts.clone(), Body::empty());
            match self.read(request, limit).await {
                Err(error) if size > 1 && is_too_long(&error) => {
                    size /= 2;
                    resize(&mut parts, size)?;
                }
                answer => return answer,
            }
        }
    }

    async fn read(&self, request: Request<Body>, limit: usize) -> kube::Result<Response<Body>> {
        let (parts, mut body) = self.client.send(request).await?.into_parts();
        let mut text = Vec::new();
        let mut turn = None;
        loop {
            let frame = match &turn {
                None => body.frame().await,
                Some((_, end)) => timeout_at(*end, body.frame())
                    .await
                    .map_err(|late| kube::Error::Service(Box::new(late)))?,
            };
            let Some(frame) = frame else {
                break;
            };
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let length = text.len() + data.len();
            if length > limit {
                return Err(kube::Error::Service(Box::new(TooLong)));
            }
            if length > LONG && turn.is_none() {
                let permit = self.turn.acquire().await;
                turn = Some((permit, clock::instant() + TURN));
            }
            text.extend_from_slice(&data);
        }
        Ok(Response::from_parts(parts, Body::from(text)))
    }
}

fn is_stream(request: &Request<Body>) -> bool {
    let uri = request.uri();
    // `…/pods/<name>/log`; an object may be named so.
    let mut segments = uri.path().rsplit('/');
    let is_log = segments.next() == Some("log") && segments.nth(1) == Some("pods");
    is_log || pairs(uri).any(|pair| pair == "watch=true")
}

/// How many objects a list is asked for at a time.
fn page_size(request: &Request<Body>) -> Option<u32> {
    let size = pairs(request.uri()).find_map(|pair| pair.strip_prefix("limit="))?;
    (request.method() == Method::GET)
        .then(|| size.parse().ok())
        .flatten()
}

fn resize(parts: &mut Parts, size: u32) -> kube::Result<()> {
    let others = pairs(&parts.uri).filter(|pair| !pair.starts_with("limit="));
    let query: String = others.flat_map(|pair| [pair, "&"]).collect();
    let target = format!("{}?{query}limit={size}", parts.uri.path());
    // Which server that is at is filled in by the client within.
    parts.uri = Uri::try_from(target).map_err(|error| kube::Error::HttpError(error.into()))?;
    Ok(())
}

fn pairs(uri: &Uri) -> impl Iterator<Item = &str> {
    let query = uri.query().unwrap_or_default();
    query.split('&').filter(|pair| !pair.is_empty())
}

#[cfg(test)]
mod tests;
