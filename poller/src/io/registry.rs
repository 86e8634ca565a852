//! The one place that talks HTTP to registries: reads a tag list whole or not at all, and the
//! manifest of a tag. Every answer is bounded in size and time while it arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use werf_shared::tag::Digest;

use crate::decide::manifest::{Content, NotAManifest, content};
use crate::decide::realm::TokenServers;
use crate::decide::watched::Subscription;
use crate::io::secrets::Secrets;
use crate::metrics::PollerMetrics;

mod access;
mod authorize;
mod client;
mod denied;
mod error;
mod exchange;
mod kept;
mod list;
mod meter;
mod proxy;
mod resolve;
mod scan;
mod tokens;

pub use access::Access;
use client::Clients;
pub use client::Reach;
pub use denied::{Denied, Refusal};
pub use error::RegistryError;
pub use list::Query;
pub use meter::Meter;
pub use proxy::{InvalidProxy, Proxies, ProxySettings};
pub use scan::{Limits, Listing, Page, PageSize, Scan};

use exchange::Incoming;
use tokens::Memory;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A client for all registries.
#[derive(Clone, Debug)]
pub struct Registry {
    clients: Arc<Clients>,
    limits: Limits,
    allow_insecure: bool,
    meter: Meter,
    secrets: Option<Secrets>,
    token_servers: Arc<TokenServers>,
    memory: Memory,
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
            secrets: None,
            token_servers: Arc::default(),
            memory: Memory::default(),
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

    /// Looks here for what bundles name in `secretRef` and `certSecretRef`.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self {
            secrets: Some(secrets),
            ..self
        }
    }

    /// Lets these token servers see the credentials of their registries.
    #[must_use]
    pub fn with_token_servers(self, servers: TokenServers) -> Self {
        Self {
            token_servers: Arc::new(servers),
            ..self
        }
    }

    /// What a poll may take altogether: a list, and a look at everything that was chosen from it.
    pub fn patience(&self) -> Duration {
        self.limits.scan.saturating_mul(2)
    }

    /// The digest of a tag's manifest now.
    pub async fn digest(&self, access: &Access, tag: &str) -> Result<Digest, RegistryError> {
        let look = async {
            let url = access.url(&format!("manifests/{tag}"))?;
            let head = self.send(access, Method::HEAD, &url, None).await?;
            let named = digest_header(head.headers());
            match (head.status(), named) {
                (StatusCode::OK, Some(digest)) => Ok(digest),
                (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED, _) => {
                    let response = self.get_ok(access, &url, None).await?;
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
        access: &Access,
        digest: &Digest,
    ) -> Result<Manifest, RegistryError> {
        let read = async {
            let url = access.url(&format!("manifests/{digest}"))?;
            let response = self.get_ok(access, &url, None).await?;
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

    /// Plain HTTP is for registries on this machine, and where both the bundle and the operator
    /// say so.
    fn scheme(&self, subscription: &Subscription) -> Result<&'static str, RegistryError> {
        // Whoever names certificates wants to see one.
        let local = subscription.repository.is_loopback() && subscription.certificates.is_none();
        if local {
            Ok("http")
        } else if !subscription.insecure {
            Ok("https")
        } else if self.allow_insecure {
            Ok("http")
        } else {
            Err(RegistryError::InsecureRefused)
        }
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
