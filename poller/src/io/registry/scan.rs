//! What a tag list may cost, and what is remembered of one that was read whole.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use url::Url;

use crate::decide::page::{Fingerprint, TagList};

/// What an answer may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From one piece of an answer to the next.
    pub read: Duration,
    /// For a whole tag list, and for a whole manifest.
    pub scan: Duration,
    /// Bytes of one page or manifest, decompressed.
    pub page_bytes: usize,
    /// Bytes of all pages.
    pub scan_bytes: usize,
    /// Pages of a list.
    pub pages: usize,
    /// Tags of a list.
    pub tags: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            scan: Duration::from_mins(1),
            page_bytes: 4 << 20,
            scan_bytes: 32 << 20,
            pages: 100,
            tags: 100_000,
        }
    }
}

/// A complete list, or the news that it is still the one of an earlier scan.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Status of the first page.
    pub status: u16,
    /// What to remember for the next scan.
    pub scan: Scan,
    /// The tags; nothing when the registry said that they are the same.
    pub tags: Option<TagList>,
}

/// What is remembered of a complete scan. A poll starts with a copy of it, which must cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Where it starts.
    pub(super) first: Arc<Url>,
    /// Its pages, in order.
    pub pages: Arc<[Page]>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// How many tags it found.
    pub tags: usize,
}

/// A page of a complete scan; where it is, is what the one before it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub(super) etag: Option<HeaderValue>,
    pub(super) next: Option<Url>,
}

impl Scan {
    /// The `ETag` of the list, as far as it has one: that of its first page.
    pub fn etag(&self) -> String {
        let first = self.pages.first().and_then(|page| page.etag.as_ref());
        let text = first.and_then(|etag| etag.to_str().ok());
        text.unwrap_or_default().to_owned()
    }

    /// Every page can be asked whether it changed.
    pub fn is_conditional(&self) -> bool {
        self.pages.iter().all(|page| page.etag.is_some())
    }
}
