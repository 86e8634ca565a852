//! One request and its answer. Every request goes out here, and every body comes in here: nothing
//! is read that nobody asked for, and nothing beyond its limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, Version, header};
use reqwest::Response;
use url::Url;

use super::{Access, Registry, RegistryError};
use crate::decide::failure::host_in_words;
use crate::decide::manifest::ACCEPTED;
use crate::metrics::RequestKind;

/// Of a body that nobody wants, so much is read for the connection to be used again; with more, a
/// new connection is cheaper.
const NOT_WORTH_A_CONNECTION: usize = 16 << 10;
const NOT_WORTH_THE_TIME: Duration = Duration::from_millis(250);

impl Registry {
    pub(super) async fn get_ok(
        &self,
        access: &Access,
        url: &Url,
        condition: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let response = self.send(access, Method::GET, url, condition).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => {
                drop_politely(response).await;
                Err(RegistryError::Status { status })
            }
        }
    }

    /// Every request goes out here: as whom the poll is, and once more for each proof that is worth
    /// a try.
    pub(super) async fn send(
        &self,
        access: &Access,
        method: Method,
        url: &Url,
        condition: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut proof = self.prove(access, url).await?;
        loop {
            let mut request = access.request(method.clone(), url)?;
            request = if url.path().ends_with("/tags/list") {
                self.meter.sent(RequestKind::List);
                request.header(header::ACCEPT, "application/json")
            } else {
                self.meter.sent(RequestKind::Manifest);
                request.header(header::ACCEPT, ACCEPTED)
            };
            if let Some(etag) = condition {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(header) = &proof.header {
                request = request.header(header::AUTHORIZATION, header);
            }
            let sent = request.send().await;
            let response = sent.map_err(|source| RegistryError::Transport { source })?;
            self.meter.answered(response.status(), response.headers());
            if response.status() != StatusCode::UNAUTHORIZED {
                return no_redirect(response);
            }
            let headers = response.headers().clone();
            drop_politely(response).await;
            proof = self.prove_again(access, proof, &headers).await?;
        }
    }
}

/// Nobody is followed: where a redirect leads, nobody has checked who may be asked for what.
pub(super) fn no_redirect(response: Response) -> Result<Response, RegistryError> {
    let status = response.status();
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let location = response.headers().get(header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| response.url().join(location).ok());
    let host = target.as_ref().and_then(Url::host_str);
    Err(RegistryError::Redirect {
        status,
        host: host.and_then(host_in_words),
    })
}

/// Lets an answer go whose body nobody wants, and keeps its connection where that is cheap. Over
/// HTTP/2 it always is.
pub(super) async fn drop_politely(response: Response) {
    if response.version() >= Version::HTTP_2 {
        return;
    }
    if let Ok(mut rest) = Incoming::of(response, NOT_WORTH_A_CONNECTION) {
        let drained = async { while let Ok(Some(_)) = rest.chunk().await {} };
        let _cut = tokio::time::timeout(NOT_WORTH_THE_TIME, drained).await;
    }
}

/// A body as it comes in, bounded in size after decompression.
#[derive(Debug)]
pub(super) struct Incoming {
    response: Response,
    limit: usize,
    room: usize,
}

impl Incoming {
    /// The body of this answer, as far as it is no larger than `limit`.
    pub(super) fn of(response: Response, limit: usize) -> Result<Self, RegistryError> {
        // The client takes the header away from what it decompresses.
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(RegistryError::Encoded);
        }
        let told = response.content_length();
        if told.is_some_and(|told| usize::try_from(told).is_ok_and(|told| told > limit)) {
            return Err(RegistryError::TooLarge { limit });
        }
        Ok(Self {
            response,
            limit,
            room: limit,
        })
    }

    /// The next piece of it.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let chunk = self.response.chunk().await;
        let Some(chunk) = chunk.map_err(|source| RegistryError::Transport { source })? else {
            return Ok(None);
        };
        let room = self.room.checked_sub(chunk.len());
        self.room = room.ok_or(RegistryError::TooLarge { limit: self.limit })?;
        Ok(Some(chunk))
    }

    /// All of it at once.
    pub(super) async fn all(mut self) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}
