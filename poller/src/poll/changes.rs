//! What the loop does when a bundle comes, changes or goes.

use tracing::{debug, info, warn};
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::poll_failure::Reason;

use super::{Poller, jitter};
use crate::decide::book::{Change, Moment};
use crate::decide::watched::{Subscription, Watched};
use crate::io::announce::{Call, Message, failure};
use crate::io::server::{Refusal, poll_span};
use crate::io::watch::WatchEvent;

impl Poller {
    pub(super) fn watched(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Applied(key, watched) => self.applied(&key, &watched),
            WatchEvent::Deleted(key) => self.forget(&key),
            WatchEvent::Complete(present) => {
                for key in self.book.missing_from(&present) {
                    self.forget(&key);
                }
                if let Some(synced) = self.synced.take() {
                    synced.ready();
                }
            }
        }
        self.metrics.watched(self.book.len());
    }

    fn applied(&mut self, key: &BundleKey, watched: &Watched) {
        let before = self.bundles.get(key);
        if before.is_some_and(|remembered| remembered.uid != watched.uid) {
            self.forget(key);
        }
        let polled_before = self.polled_for(key);
        let remembered = self.bundles.entry(key.clone()).or_default();
        remembered.uid.clone_from(&watched.uid);
        remembered.told.watched(&watched.status);
        let moment = Moment {
            instant: clock::instant(),
            wall: clock::now(),
            telling: self.courier.tells(key),
        };
        let change = self.book.apply(key, watched.clone(), moment, jitter());
        let (namespace, name) = (&key.namespace, &key.name);
        match change {
            Change::Echo => {}
            Change::Added => debug!(bundle.namespace = namespace, bundle.name = name, "Watching"),
            Change::Edited => info!(
                bundle.namespace = namespace,
                bundle.name = name,
                "Polling at once, the spec changed"
            ),
            Change::Reset => info!(
                bundle.namespace = namespace,
                bundle.name = name,
                "Polling at once, the count of failures was reset"
            ),
            // As often as an annotation can be changed, so not told each time.
            Change::Asked => debug!(
                bundle.namespace = namespace,
                bundle.name = name,
                "Polling as soon as it may be, an annotation asks for it"
            ),
            Change::Rested => {
                self.courier.forget(key);
                remembered.told.lost();
                self.verdicts.remove(key);
                self.turn_away(key, &Refusal::Resting(key.clone()));
                info!(
                    bundle.namespace = namespace,
                    bundle.name = name,
                    "Not polling, the bundle is suspended or being deleted"
                );
            }
            Change::Unpollable(reason) => self.refuse(key, watched, &reason),
        }
        self.drop_unused_cache(polled_before);
    }

    /// Tells that a bundle cannot be polled as it stands.
    fn refuse(&mut self, key: &BundleKey, watched: &Watched, reason: &str) {
        self.turn_away(key, &Refusal::Unpollable(key.clone(), reason.to_owned()));
        let message = format!("error polling registry: {reason}");
        let span = poll_span(key);
        span.in_scope(|| warn!(reason, "{message}"));
        let reason = Reason::InvalidSpec;
        let request = failure(key, watched, reason, message, 1, clock::now());
        let call = Call::Report(request);
        if let Some(remembered) = self.bundles.get_mut(key) {
            remembered.told.failed();
        }
        self.courier.put(key, Message { call, span });
    }

    fn forget(&mut self, key: &BundleKey) {
        let polled_before = self.polled_for(key);
        if self.book.remove(key) {
            debug!(
                bundle.namespace = key.namespace,
                bundle.name = key.name,
                "Forgot a bundle"
            );
        }
        self.bundles.remove(key);
        self.courier.forget(key);
        self.verdicts.remove(key);
        self.turn_away(key, &Refusal::Unknown(key.clone()));
        self.drop_unused_cache(polled_before);
    }

    pub(super) fn turn_away(&mut self, key: &BundleKey, refusal: &Refusal) {
        for ask in self.asks.remove(key).unwrap_or_default() {
            let _gone = ask.reply.send(Err(refusal.clone()));
        }
    }

    fn polled_for(&self, key: &BundleKey) -> Option<Subscription> {
        self.book.get(key)?.watched.active().cloned()
    }

    /// Only the one a bundle had: with ten thousand bundles, looking at all of them for each change
    /// would take a start seconds.
    fn drop_unused_cache(&mut self, polled_before: Option<Subscription>) {
        if let Some(subscription) = polled_before
            && !self.book.polls(&subscription)
        {
            self.caches.remove(&subscription);
            let book = &self.book;
            self.metrics.forget_hosts(|host| book.polls_host(host));
        }
    }
}
