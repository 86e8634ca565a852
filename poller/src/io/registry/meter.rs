//! What one poll costs a registry, and what its answers ask for. Counts and remembers only; what
//! follows is decided elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use werf_shared::clock;

use crate::decide::rate_limit::patience;
use crate::metrics::{PollerMetrics, RequestKind};

/// The meter of one poll; clones are the same meter.
#[derive(Clone, Debug)]
pub struct Meter {
    metrics: Option<PollerMetrics>,
    since: Instant,
    /// Milliseconds since then; zero for none.
    left_alone_until: Arc<AtomicU64>,
}

impl Meter {
    /// A meter whose counts are among these metrics.
    pub fn new(metrics: Option<PollerMetrics>) -> Self {
        Self {
            metrics,
            since: clock::instant(),
            left_alone_until: Arc::default(),
        }
    }

    /// A request goes out.
    pub fn sent(&self, kind: RequestKind) {
        if let Some(metrics) = &self.metrics {
            metrics.requested(kind);
        }
    }

    /// An answer came in, from the registry or from the token server it sent us to.
    pub fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(wait) = patience(status, headers, clock::now()) {
            let until = (clock::instant() + wait).duration_since(self.since);
            let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
            self.left_alone_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    /// Until when the registry wants to be left alone, if it said so.
    pub fn left_alone_until(&self) -> Option<Instant> {
        let until = self.left_alone_until.load(Ordering::Relaxed);
        (until > 0).then(|| self.since + Duration::from_millis(until))
    }
}
