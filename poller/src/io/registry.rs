//! The one place that talks HTTP to registries: reads a tag list whole or not at all, and the
//! manifest of a tag. Every answer is bounded in size and time while it arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use url::Url;
use werf_shared::tag::Digest;

use crate::decide::manifest::{Content, NotAManifest, content};
use crate::decide::watched::Subscription;
use crate::metrics::PollerMetrics;

mod client;
mod error;
mod exchange;
mod kept;
mod list;
mod meter;
mod proxy;
mod resolve;
mod scan;

use client::Clients;
pub use client::Reach;
pub use error::RegistryError;
pub use list::Query;
pub use meter::Meter;
pub use proxy::{InvalidProxy, Proxies, ProxySettings};
pub use scan::{Identity, Limits, Listing, Page, PageSize, Scan};

use exchange::Incoming;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A client for all registries.
#[derive(Clone, Debug)]
pub struct Registry {
    clients: Arc<Clients>,
    limits: Limits,
    allow_insecure: bool,
    meter: Meter,
}

/// A manifest as it came.
#[derive(Clone, Debug)]
pub struct Manifest {
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Manifest {
    /// What it holds.
    pub fn content(&self) -> Result<Content, NotAManifest> {
        let content_type = self.content_type.as_ref();
        content(content_type.and_then(|t| t.to_str().ok()), &self.body)
    }
}

impl Registry {
    /// A client within these limits, for registries within this reach.
    pub fn new(limits: Limits, reach: Reach) -> Result<Self, RegistryError> {
        let Reach {
            allow_insecure,
            networks,
            proxies,
        } = reach;
        Ok(Self {
            clients: Arc::new(Clients::new(&limits, networks, proxies)?),
            limits,
            allow_insecure,
            meter: Meter::new(None),
        })
    }

    /// The same client for one poll: it counts its requests among these metrics, and its meter knows
    /// what the answers asked for.
    pub fn for_poll(&self, metrics: &PollerMetrics) -> (Self, Meter) {
        let meter = Meter::new(Some(metrics.clone()));
        let registry = Self {
            meter: meter.clone(),
            ..self.clone()
        };
        (registry, meter)
    }

    /// What a poll may take altogether: a list, and a look at everything that was chosen from it.
    pub fn patience(&self) -> Duration {
        self.limits.scan.saturating_mul(2)
    }

    /// The digest of a tag's manifest now.
    pub async fn digest(
        &self,
        subscription: &Subscription,
        tag: &str,
    ) -> Result<Digest, RegistryError> {
        let look = async {
            let url = self.url(subscription, &format!("manifests/{tag}"))?;
            let head = self.send(Method::HEAD, &url, None).await?;
            let named = digest_header(head.headers());
            match (head.status(), named) {
                (StatusCode::OK, Some(digest)) => Ok(digest),
                (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED, _) => {
                    let response = self.get_ok(&url, None).await?;
                    let body = Incoming::of(response, self.limits.page_bytes)?
                        .all()
                        .await?;
                    Ok(digest_of(&body))
                }
                (status, _) => Err(RegistryError::Status { status }),
            }
        };
        self.within(look).await
    }

    /// The manifest that a digest stands for.
    pub async fn manifest(
        &self,
        subscription: &Subscription,
        digest: &Digest,
    ) -> Result<Manifest, RegistryError> {
        let read = async {
            let url = self.url(subscription, &format!("manifests/{digest}"))?;
            let response = self.get_ok(&url, None).await?;
            let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
            let body = Incoming::of(response, self.limits.page_bytes)?
                .all()
                .await?;
            if digest_of(&body) == *digest {
                Ok(Manifest { content_type, body })
            } else {
                Err(RegistryError::OtherDigest)
            }
        };
        self.within(read).await
    }

    fn url(&self, subscription: &Subscription, tail: &str) -> Result<Url, RegistryError> {
        let repository = &subscription.repository;
        let scheme = if repository.is_loopback() {
            "http"
        } else if !subscription.insecure {
            "https"
        } else if self.allow_insecure {
            "http"
        } else {
            return Err(RegistryError::InsecureRefused);
        };
        let (host, path) = (repository.host(), repository.path());
        let url = format!("{scheme}://{host}/v2/{path}/{tail}");
        url.parse().map_err(|source| RegistryError::Url { source })
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let done = tokio::time::timeout(self.limits.scan, work).await;
        done.unwrap_or(Err(RegistryError::Deadline))
    }
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn digest_of(body: &[u8]) -> Digest {
    format!("sha256:{:x}", Sha256::digest(body))
        .parse()
        .expect("64 hexadecimal digits are a digest")
}
