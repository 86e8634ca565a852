//! Reads a tag list page by page, whole or not at all.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::exchange::Incoming;
use super::{Listing, Page, Registry, RegistryError, Scan};
use crate::decide::link::next_page;
use crate::decide::page::TagList;
use crate::decide::watched::Subscription;

/// Longer ones are not worth the memory.
const ETAG_LIMIT: usize = 1024;

impl Registry {
    /// Asks page by page; the first one that changed ends it, as the list must be read whole then.
    pub(super) async fn is_unchanged(&self, earlier: &Scan) -> Result<bool, RegistryError> {
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

    pub(super) async fn read_all(
        &self,
        subscription: &Subscription,
    ) -> Result<Listing, RegistryError> {
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
            let limit = room.min(self.limits.page_bytes);
            let body = Incoming::of(response, limit)?.all().await?;
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
