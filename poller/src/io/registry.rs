//! The one place that talks HTTP to registries: reads a tag list whole or not at all, and the
//! manifest of a tag. Every answer is bounded in size and time while it arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use sha2::{Digest as _, Sha256};
use url::Url;
use werf_shared::tag::Digest;

use crate::decide::link::next_page;
use crate::decide::manifest::ACCEPTED;
use crate::decide::page::TagList;
use crate::decide::watched::Subscription;

mod error;
mod scan;

pub use error::RegistryError;
pub use scan::{Limits, Listing, Page, Scan};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const USER_AGENT: &str = concat!("werf-operator/", env!("CARGO_PKG_VERSION"));

/// Longer ones are not worth the memory.
const ETAG_LIMIT: usize = 1024;

/// A client for all registries.
#[derive(Clone, Debug)]
pub struct Registry {
    client: Client,
    limits: Limits,
    allow_insecure: bool,
}

impl Registry {
    /// A client within these limits. `allow_insecure` lets bundles ask for plain HTTP.
    pub fn new(limits: Limits, allow_insecure: bool) -> Result<Self, RegistryError> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(limits.connect)
            .read_timeout(limits.read)
            .build()
            .map_err(|source| RegistryError::Client { source })?;
        Ok(Self {
            client,
            limits,
            allow_insecure,
        })
    }

    /// What a poll may take altogether: a list, and a look at everything that was chosen from it.
    pub fn patience(&self) -> Duration {
        self.limits.scan.saturating_mul(2)
    }

    /// Reads the tag list. With an `earlier` complete scan the registry may answer that nothing
    /// changed; unless it says so of every page, the whole list is read again.
    pub async fn list(
        &self,
        subscription: &Subscription,
        earlier: Option<&Scan>,
    ) -> Result<Listing, RegistryError> {
        let scan = async {
            if let Some(earlier) = earlier.filter(|scan| scan.is_conditional())
                && self.is_unchanged(earlier).await?
            {
                return Ok(Listing {
                    status: StatusCode::NOT_MODIFIED.as_u16(),
                    scan: earlier.clone(),
                    tags: None,
                });
            }
            self.read_all(subscription).await
        };
        self.within(scan).await
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
                    let body = self.body(response, self.limits.page_bytes).await?;
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
    ) -> Result<Bytes, RegistryError> {
        let read = async {
            let url = self.url(subscription, &format!("manifests/{digest}"))?;
            let response = self.get_ok(&url, None).await?;
            let body = self.body(response, self.limits.page_bytes).await?;
            if digest_of(&body) == *digest {
                Ok(body)
            } else {
                Err(RegistryError::OtherDigest)
            }
        };
        self.within(read).await
    }

    /// Asks page by page; the first one that changed ends it, as the list must be read whole then.
    async fn is_unchanged(&self, earlier: &Scan) -> Result<bool, RegistryError> {
        let mut url = earlier.first.as_ref();
        for page in earlier.pages.iter() {
            let response = self.send(Method::GET, url, page.etag.as_ref()).await?;
            match response.status() {
                StatusCode::NOT_MODIFIED => {}
                StatusCode::OK => return Ok(false),
                status => return Err(RegistryError::Status { status }),
            }
            // A page that is the same but goes on elsewhere is not the same.
            let next = follow(url, response.headers(), [])?;
            if next.is_some() && next != page.next {
                return Ok(false);
            }
            url = page.next.as_ref().unwrap_or(url);
        }
        Ok(true)
    }

    async fn read_all(&self, subscription: &Subscription) -> Result<Listing, RegistryError> {
        let mut list = TagList::default();
        let mut pages: Vec<Page> = Vec::new();
        let mut room = self.limits.scan_bytes;
        let first = self.url(subscription, "tags/list")?;
        let mut url = &first;
        loop {
            if pages.len() == self.limits.pages {
                return Err(RegistryError::TooManyPages {
                    limit: self.limits.pages,
                });
            }
            let response = self.get_ok(url, None).await?;
            let read = pages.iter().filter_map(|page| page.next.as_ref());
            let next = follow(url, response.headers(), read.chain([&first]))?;
            let etag = etag(response.headers());
            let body = self
                .body(response, room.min(self.limits.page_bytes))
                .await?;
            room -= body.len();
            list.add(&body, subscription.repository.path(), self.limits.tags)
                .map_err(|source| RegistryError::Page { source })?;
            pages.push(Page { etag, next });
            match pages.last().and_then(|page| page.next.as_ref()) {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(Listing {
            status: StatusCode::OK.as_u16(),
            scan: Scan {
                first: Arc::new(first),
                pages: pages.into(),
                fingerprint: list.fingerprint(),
                tags: list.len(),
            },
            tags: Some(list),
        })
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

    async fn get_ok(
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
    async fn send(
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

    async fn body(&self, mut response: Response, limit: usize) -> Result<Bytes, RegistryError> {
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

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let done = tokio::time::timeout(self.limits.scan, work).await;
        done.unwrap_or(Err(RegistryError::Deadline))
    }
}

fn follow<'a>(
    url: &Url,
    headers: &'a HeaderMap,
    read: impl IntoIterator<Item = &'a Url>,
) -> Result<Option<Url>, RegistryError> {
    let links: Result<Vec<&str>, _> = headers
        .get_all(header::LINK)
        .iter()
        .map(HeaderValue::to_str)
        .collect();
    let links = links.map_err(|_| RegistryError::UnreadableLink)?;
    next_page(url, links, read).map_err(|source| RegistryError::Link { source })
}

fn etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let etag = headers.get(header::ETAG)?;
    ((1..=ETAG_LIMIT).contains(&etag.len()) && etag.to_str().is_ok()).then(|| etag.clone())
}

fn digest_header(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn digest_of(body: &[u8]) -> Digest {
    format!("sha256:{:x}", Sha256::digest(body))
        .parse()
        .expect("64 hexadecimal digits are a digest")
}
