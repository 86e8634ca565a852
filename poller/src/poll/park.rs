//! What the loop does when a registry asks for patience.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;
use werf_shared::bundle::BundleKey;
use werf_shared::clock;

use super::Poller;
use crate::decide::watched::Subscription;
use crate::io::server::Refusal;

impl Poller {
    /// Leaves the host of a poll alone until then, and tells who waits for it.
    pub(super) fn park(&mut self, subscription: &Subscription, until: Instant) {
        let now = clock::instant();
        let host = subscription.repository.host();
        if until <= now {
            return;
        }
        info!(
            registry.host = host,
            seconds = (until - now).as_secs(),
            "The registry asked for patience, its bundles wait"
        );
        self.metrics.parked();
        self.any_parked = true;
        self.book.park(subscription, until);
        let waiting: Vec<BundleKey> = self.asks.keys().cloned().collect();
        for key in waiting {
            if let Some(parked) = self.parked(&key, now) {
                self.turn_away(&key, &parked);
            }
        }
    }

    /// Why a bundle is not polled now, if its registry asked for patience.
    pub(super) fn parked(&self, key: &BundleKey, now: Instant) -> Option<Refusal> {
        let (host, until) = self.book.parked(key, now)?;
        // Told in whole seconds, and rather too late than too early.
        let wait = until - now + Duration::from_secs(1);
        let until = clock::now().saturating_add(wait).ok()?;
        Some(Refusal::Parked(key.clone(), host.to_owned(), until))
    }
}
