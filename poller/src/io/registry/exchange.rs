//! One request and its answer. Every request goes out here, and every body comes in here.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::{Registry, RegistryError};
use crate::decide::manifest::ACCEPTED;

impl Registry {
    pub(super) async fn get_ok(
        &self,
        url: &Url,
        condition: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let response = self.send(Method::GET, url, condition).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(RegistryError::Status { status }),
        }
    }

    /// Every request goes out here.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Url,
        condition: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let mut request = self.client.request(method, url.clone());
        request = if url.path().ends_with("/tags/list") {
            request.header(header::ACCEPT, "application/json")
        } else {
            request.header(header::ACCEPT, ACCEPTED)
        };
        if let Some(etag) = condition {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let sent = request.send().await;
        sent.map_err(|source| RegistryError::Transport { source })
    }

    pub(super) async fn body(
        &self,
        mut response: Response,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        loop {
            let chunk = response.chunk().await;
            let Some(chunk) = chunk.map_err(|source| RegistryError::Transport { source })? else {
                return Ok(body.freeze());
            };
            if body.len() + chunk.len() > limit {
                return Err(RegistryError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
    }
}
