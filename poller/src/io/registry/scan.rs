//! What a tag list may cost, and what is remembered of one that was read whole.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use url::Url;
use werf_shared::registry_credentials::Identity;

use crate::decide::page::{Contents, Fingerprint};

/// Page sizes that registries have by themselves (registries.md: GHCR, ECR, ACR and Quay 100, and
/// what we ask for). A last page of this size can grow a successor while its `ETag` stays.
const USUAL_SIZES: [usize; 2] = [100, 1000];

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

/// How many tags a page is asked to have. Fewer requests are better, but not every registry gives
/// that many, and some refuse instead of giving fewer (registries.md: Quay, distribution 3.1, ECR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSize {
    /// A thousand.
    #[default]
    Thousand,
    /// A hundred.
    Hundred,
    /// As many as the registry likes.
    Unasked,
}

impl PageSize {
    /// What to ask for when this was refused.
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Thousand => Some(Self::Hundred),
            Self::Hundred => Some(Self::Unasked),
            Self::Unasked => None,
        }
    }

    /// The number that is asked for.
    pub const fn number(self) -> Option<u16> {
        match self {
            Self::Thousand => Some(1000),
            Self::Hundred => Some(100),
            Self::Unasked => None,
        }
    }
}

/// A complete list, or the news that it is still the one of an earlier scan.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Status of the first page.
    pub status: u16,
    /// The registry was asked only for what changed.
    pub conditional: bool,
    /// What to remember for the next scan.
    pub scan: Scan,
    /// What was in it; nothing when the registry said that it is the same.
    pub contents: Option<Contents>,
    /// What the registry warns of.
    pub warning: Option<String>,
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
    /// How many entries were no tags.
    pub invalid: usize,
    /// The size of page that was asked for.
    pub page_size: PageSize,
    /// Who asked: what a registry shows to one caller need not be what it shows to another, so an
    /// `ETag` is only good for the one who got it.
    pub(super) identity: Identity,
}

/// A page of a complete scan; where it is, is what the one before it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub(super) etag: Option<HeaderValue>,
    pub(super) next: Option<Url>,
    /// How many entries it had.
    pub(super) entries: usize,
}

impl Scan {
    /// The `ETag` of the list, as far as it has one: that of its first page.
    pub fn etag(&self) -> String {
        let first = self.pages.first().and_then(|page| page.etag.as_ref());
        let text = first.and_then(|etag| etag.to_str().ok());
        text.unwrap_or_default().to_owned()
    }

    /// Every page can be asked whether it changed, and says with that whether the list did.
    pub fn is_conditional(&self) -> bool {
        let full = |page: &Page| USUAL_SIZES.contains(&page.entries);
        self.pages.iter().all(|page| page.etag.is_some()) && !self.pages.last().is_some_and(full)
    }
}
