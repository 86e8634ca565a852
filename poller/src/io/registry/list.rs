//! Reads a tag list whole or not at all, while it arrives: page after page as the registry links
//! them, asking only for what changed where an earlier scan allows it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::Response;
use url::Url;

use super::exchange::{Incoming, drop_politely};
use super::scan::{Listing, Page, PageSize, Scan};
use super::{Access, Registry, RegistryError};
use crate::decide::link::next_page;
use crate::decide::newest::Rule;
use crate::decide::page::Reading;
use crate::decide::warning::first_warning;

/// Longer ones are not worth the memory.
const ETAG_LIMIT: usize = 1024;

/// How a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Where, and as whom.
    pub access: &'a Access,
    /// For whom to choose.
    pub rules: &'a [Rule],
    /// The last complete scan; its page size worked.
    pub earlier: Option<&'a Scan>,
    /// That nothing changed since the earlier scan is answer enough.
    pub conditional: bool,
}

/// What became of asking whether anything changed.
enum Again {
    Same,
    /// It did; with the new first page if that is where it changed.
    Changed(Option<Response>),
    /// The size of page that worked before is refused now.
    Refused,
}

impl Registry {
    /// Reads the tag list. With an earlier complete scan of the same caller the registry may answer
    /// that nothing changed; unless it says so of every page, the whole list is read again.
    pub async fn list(&self, query: Query<'_>) -> Result<Listing, RegistryError> {
        self.within(self.scan(query)).await
    }

    async fn scan(&self, query: Query<'_>) -> Result<Listing, RegistryError> {
        let mut warning = None;
        let mut size = query
            .earlier
            .map_or_else(PageSize::default, |e| e.page_size);
        let mut changed = None;
        let earlier = query.earlier.filter(|scan| {
            query.conditional && scan.identity == query.access.identity() && scan.is_conditional()
        });
        if let Some(earlier) = earlier {
            match self.ask_again(query.access, earlier, &mut warning).await? {
                Again::Same => {
                    return Ok(Listing {
                        status: StatusCode::NOT_MODIFIED.as_u16(),
                        conditional: true,
                        scan: earlier.clone(),
                        contents: None,
                        warning,
                    });
                }
                Again::Changed(first) => {
                    changed = first.map(|page| ((*earlier.first).clone(), page));
                }
                Again::Refused => size = size.smaller().unwrap_or(PageSize::Unasked),
            }
        }
        let (first, page) = match changed {
            Some(changed) => changed,
            None => self.first_page(query.access, &mut size).await?,
        };
        let mut reading = Reading::new(query.rules, self.limits.tags);
        let pages = self
            .read_pages(&first, page, query.access, &mut reading, &mut warning)
            .await?;
        let contents = reading.finish();
        Ok(Listing {
            status: StatusCode::OK.as_u16(),
            conditional: earlier.is_some(),
            scan: Scan {
                first: Arc::new(first),
                pages: pages.into(),
                fingerprint: contents.fingerprint,
                tags: contents.tags,
                invalid: contents.invalid,
                page_size: size,
                identity: query.access.identity(),
            },
            contents: Some(contents),
            warning,
        })
    }

    /// Asks page by page; the first one that changed ends it, as the list must be read whole then.
    async fn ask_again(
        &self,
        access: &Access,
        earlier: &Scan,
        warning: &mut Option<String>,
    ) -> Result<Again, RegistryError> {
        let mut url = earlier.first.as_ref();
        for (index, page) in earlier.pages.iter().enumerate() {
            let response = self
                .send(access, Method::GET, url, page.etag.as_ref())
                .await?;
            match response.status() {
                StatusCode::NOT_MODIFIED => {}
                StatusCode::OK => return Ok(Again::Changed((index == 0).then_some(response))),
                status => {
                    drop_politely(response).await;
                    return if index == 0 && is_refused_size(status) {
                        Ok(Again::Refused)
                    } else if index > 0 && is_refused_cursor(status) {
                        Ok(Again::Changed(None))
                    } else {
                        Err(RegistryError::Status { status })
                    };
                }
            }
            note(warning, response.headers());
            // A page that is the same but goes on elsewhere, or who knows where, is not the same.
            match follow(url, response.headers(), []) {
                Ok(next) if next.is_none() || next == page.next => {}
                _ => return Ok(Again::Changed(None)),
            }
            url = page.next.as_ref().unwrap_or(url);
        }
        Ok(Again::Same)
    }

    /// The first page in the largest size that the registry gives.
    async fn first_page(
        &self,
        access: &Access,
        size: &mut PageSize,
    ) -> Result<(Url, Response), RegistryError> {
        loop {
            let mut url = access.url("tags/list")?;
            if let Some(number) = size.number() {
                url.set_query(Some(&format!("n={number}")));
            }
            let response = self.send(access, Method::GET, &url, None).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok((url, response));
            }
            drop_politely(response).await;
            match size.smaller().filter(|_| is_refused_size(status)) {
                Some(smaller) => *size = smaller,
                None => return Err(RegistryError::Status { status }),
            }
        }
    }

    async fn read_pages(
        &self,
        first: &Url,
        page: Response,
        access: &Access,
        reading: &mut Reading<'_>,
        warning: &mut Option<String>,
    ) -> Result<Vec<Page>, RegistryError> {
        let mut pages: Vec<Page> = Vec::new();
        let mut room = self.limits.scan_bytes;
        let mut response = page;
        loop {
            let last = pages.last().and_then(|page| page.next.as_ref());
            let url = last.unwrap_or(first);
            let read = pages.iter().filter_map(|page| page.next.as_ref());
            let next = follow(url, response.headers(), read.chain([first]))?;
            note(warning, response.headers());
            let etag = etag(response.headers());
            let path = &access.path;
            let entries = self.read_page(response, path, reading, &mut room).await?;
            pages.push(Page {
                etag,
                next,
                entries,
            });
            let Some(next) = pages.last().and_then(|page| page.next.as_ref()) else {
                return Ok(pages);
            };
            if pages.len() == self.limits.pages {
                let limit = self.limits.pages;
                return Err(RegistryError::TooManyPages { limit });
            }
            response = self.get_ok(access, next, None).await?;
        }
    }

    /// Reads a page as it arrives; nothing of it is kept but what is made of it.
    async fn read_page(
        &self,
        response: Response,
        path: &str,
        reading: &mut Reading<'_>,
        room: &mut usize,
    ) -> Result<usize, RegistryError> {
        let invalid = |source| RegistryError::Page { source };
        let too_large = |error| match error {
            RegistryError::TooLarge { limit } => RegistryError::PageTooLarge { limit },
            other => other,
        };
        let mut page = reading.page(path);
        let mut body = Incoming::of(response, self.limits.page_bytes).map_err(too_large)?;
        while let Some(chunk) = body.chunk().await.map_err(too_large)? {
            let limit = self.limits.scan_bytes;
            let left = room.checked_sub(chunk.len());
            *room = left.ok_or(RegistryError::ListTooLarge { limit })?;
            page.feed(&chunk).map_err(invalid)?;
        }
        page.finish().map_err(invalid)
    }
}

/// How registries refuse a page size: distribution 3.1 with 400, Quay with 413 (registries.md). With
/// 405 ECR Public refuses a cursor that was rebuilt; others may mean the number by it.
fn is_refused_size(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::PAYLOAD_TOO_LARGE
    )
}

/// A cursor need not be good for longer than the scan it was made for; a new scan has new ones.
fn is_refused_cursor(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
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

/// What the registry calls this version of a page, as it stands. What RFC 9110, §8.8.3, does not
/// allow is not worth sending back: something on the way may choke on it.
fn etag(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut etags = headers.get_all(header::ETAG).iter();
    let (etag, None) = (etags.next()?, etags.next()) else {
        return None;
    };
    let empty = matches!(etag.as_bytes(), b"" | b"\"\"" | b"W/\"\"");
    let allowed = etag.as_bytes().iter().all(u8::is_ascii_graphic);
    let usable = allowed && !empty && etag.len() <= ETAG_LIMIT;
    // A copy: a header of HTTP/1 is a piece of the connection's buffer, and would keep all of it.
    usable.then(|| HeaderValue::from_bytes(etag.as_bytes()).ok())?
}

/// Keeps the first warning of a poll.
fn note(warning: &mut Option<String>, headers: &HeaderMap) {
    if warning.is_none() {
        let values = headers.get_all(header::WARNING).iter();
        *warning = first_warning(values.map(HeaderValue::as_bytes));
    }
}
