//! Which bundles are there, and which poll is each of them waiting for? Keeps every bundle's next
//! poll, and lets bundles with the same subscription share one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;

use super::queue::{Queue, Started};
use super::schedule;
use super::watched::{Subscription, Watched};
use change::compare;

mod change;

pub use change::Change;

/// Every bundle and its next poll.
#[derive(Debug)]
pub struct Book {
    bundles: BTreeMap<BundleKey, Entry>,
    members: HashMap<Subscription, BTreeSet<BundleKey>>,
    /// How many subscriptions there are of each host.
    hosts: HashMap<String, usize>,
    /// When a subscription was last polled only because somebody asked.
    asked: HashMap<Subscription, Instant>,
    asked_every: Duration,
    queue: Queue,
}

/// A bundle in the book.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The bundle.
    pub watched: Watched,
    /// The oldest generation known to have the present repository and constraint.
    pub rules_since: i64,
    /// Failed polls in a row.
    pub failures: u32,
    /// When it is polled next.
    due: Instant,
    /// When it would be polled next if nobody asked.
    scheduled: Instant,
    /// Something made it due since its last poll started.
    asked: bool,
    /// The poll that runs was not due, but asked for.
    early: bool,
    /// When it was, or will be, polled at once because of an edit.
    hurried: Option<Instant>,
}

/// When a change comes in.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For schedules.
    pub instant: Instant,
    /// For what is stored.
    pub wall: Timestamp,
    /// What was found about the bundle is still on its way to the status, so what the status says
    /// may be older than that.
    pub telling: bool,
}

impl Book {
    /// An empty book that allows so many polls of one host at once, and polls that were only asked
    /// for as far apart as this.
    pub fn new(per_host: usize, asked_every: Duration) -> Self {
        Self {
            asked: HashMap::new(),
            asked_every,
            bundles: BTreeMap::new(),
            members: HashMap::new(),
            hosts: HashMap::new(),
            queue: Queue::new(per_host),
        }
    }

    /// Takes a bundle as it is now.
    pub fn apply(
        &mut self,
        key: &BundleKey,
        watched: Watched,
        now: Moment,
        jitter: Jitter,
    ) -> Change {
        let before = match self.bundles.remove(key) {
            Some(entry) if entry.watched.uid == watched.uid => Some(entry),
            Some(entry) => {
                self.leave(key, &entry);
                None
            }
            None => None,
        };
        let change = compare(before.as_ref(), &watched, now.telling);
        let entry = match (before, &change) {
            (Some(entry), Change::Echo | Change::Asked) => Entry {
                // While it rests, its rules can change unnoticed. And the executor may know that
                // rules which were edited are still the same.
                rules_since: entry.rules_since(&watched).min(first_rules_since(&watched)),
                watched,
                ..entry
            },
            (Some(entry), _) => {
                self.leave(key, &entry);
                let at_once = entry.at_once(now.instant, self.asked_every);
                let hurries = matches!(change, Change::Edited | Change::Reset);
                Entry {
                    rules_since: entry.rules_since(&watched),
                    // The old failures say nothing about the new spec.
                    failures: 0,
                    due: at_once,
                    scheduled: at_once,
                    asked: true,
                    early: false,
                    hurried: if hurries {
                        Some(at_once)
                    } else {
                        entry.hurried
                    },
                    watched,
                }
            }
            (None, _) => {
                let first = schedule::first(&watched, now.instant, now.wall, jitter);
                Entry {
                    rules_since: first_rules_since(&watched),
                    failures: if watched.edited_unseen() {
                        0
                    } else {
                        watched.status.failures
                    },
                    due: first,
                    scheduled: first,
                    asked: false,
                    early: false,
                    hurried: None,
                    watched,
                }
            }
        };
        self.bundles.insert(key.clone(), entry);
        self.join(key);
        if change == Change::Asked {
            self.ask(key, now.instant);
        }
        change
    }

    /// Forgets a bundle; says whether it was known.
    pub fn remove(&mut self, key: &BundleKey) -> bool {
        let Some(entry) = self.bundles.remove(key) else {
            return false;
        };
        self.leave(key, &entry);
        true
    }

    /// The bundles that are not among these.
    pub fn missing_from(&self, present: &HashSet<BundleKey>) -> Vec<BundleKey> {
        let missing = self.bundles.keys().filter(|key| !present.contains(key));
        missing.cloned().collect()
    }

    /// A bundle.
    pub fn get(&self, key: &BundleKey) -> Option<&Entry> {
        self.bundles.get(key)
    }

    /// How many bundles there are.
    pub fn len(&self) -> usize {
        self.bundles.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }

    /// Makes a bundle due, whatever its interval: now, or as soon as its subscription may be asked
    /// for again. Says whether that is possible.
    pub fn ask(&mut self, key: &BundleKey, now: Instant) -> bool {
        let Some(entry) = self.bundles.get_mut(key) else {
            return false;
        };
        let Some(subscription) = entry.watched.active().cloned() else {
            return false;
        };
        let last = self.asked.get(&subscription);
        let allowed = last.map_or(now, |last| now.max(*last + self.asked_every));
        // One that is due before answers the wish as well; one that runs does not.
        if entry.due <= now || entry.due > allowed {
            entry.due = allowed;
        }
        entry.asked = true;
        self.plan(&subscription);
        true
    }

    /// The polls to start now, each with the moment it was due. Every one of them must be
    /// [`finished`](Self::finished) some time.
    pub fn start_due(&mut self, now: Instant) -> Vec<Started> {
        let members = &self.members;
        let started = self.queue.start_due(now, |subscription| {
            let keys = members.get(subscription).into_iter().flatten();
            keys.map(|key| key.namespace.as_str())
        });
        for (subscription, _) in &started {
            let keys = self.members.get(subscription).into_iter().flatten();
            let scheduled = keys.filter_map(|key| Some(self.bundles.get(key)?.scheduled));
            let early = scheduled.min().is_some_and(|scheduled| scheduled > now);
            if early {
                self.asked.insert(subscription.clone(), now);
            }
            for key in self.members.get(subscription).into_iter().flatten() {
                if let Some(entry) = self.bundles.get_mut(key) {
                    entry.asked = false;
                    entry.early = early;
                }
            }
        }
        started
    }

    /// When something is due next, if nothing happens before.
    pub fn wake(&self) -> Option<Instant> {
        self.queue.wake()
    }

    /// The bundles a poll is for.
    pub fn members(&self, subscription: &Subscription) -> Vec<(BundleKey, Entry)> {
        let keys = self.members.get(subscription).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), self.bundles.get(key)?.clone())))
            .collect()
    }

    /// Some bundle is polled for there.
    pub fn polls(&self, subscription: &Subscription) -> bool {
        self.members.contains_key(subscription)
    }

    /// Some bundle is polled for at that host.
    pub fn polls_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Records how a poll ended for a bundle as it was then, plans its next one, and gives the
    /// count of failures before and after. Nothing when the bundle has changed since.
    pub fn settle(
        &mut self,
        key: &BundleKey,
        then: &Watched,
        succeeded: bool,
        now: Instant,
        jitter: Jitter,
    ) -> Option<(u32, u32)> {
        let entry = self.bundles.get_mut(key).filter(|entry| {
            entry.watched.uid == then.uid && entry.watched.generation == then.generation
        })?;
        let before = entry.failures;
        // Whoever asks often must not make a bundle fail sooner than its schedule would.
        let ahead = entry.early && before > 0 && now < entry.scheduled;
        (entry.failures, entry.scheduled) = if succeeded {
            (0, schedule::after_success(&entry.watched, now, jitter))
        } else if ahead {
            (before, entry.scheduled)
        } else {
            let failures = (before + 1).min(schedule::SLOW_FROM);
            let next = schedule::after_failure(&entry.watched, failures, now, jitter);
            (failures, next)
        };
        if !entry.asked {
            entry.due = entry.scheduled;
        }
        Some((before, entry.failures))
    }

    /// Frees the host of a poll and plans the next one of that subscription.
    pub fn finished(&mut self, subscription: &Subscription, now: Instant) {
        self.queue.finished(subscription, now);
        self.plan(subscription);
    }

    /// Leaves the host of a subscription alone until then, as its poll was told to. The polls of
    /// that host wait; they have not failed.
    pub fn park(&mut self, subscription: &Subscription, until: Instant) {
        self.queue.park(subscription, until);
    }

    /// The host of a bundle and until when it is left alone, if it is.
    pub fn parked(&self, key: &BundleKey, now: Instant) -> Option<(&str, Instant)> {
        let host = self.get(key)?.watched.active()?.repository.host();
        Some((host, self.queue.parked(host, now)?))
    }

    /// How many hosts are left alone.
    pub fn hosts_parked(&self, now: Instant) -> usize {
        self.queue.hosts_parked(now)
    }

    fn join(&mut self, key: &BundleKey) {
        let Some(entry) = self.bundles.get(key) else {
            return;
        };
        if let Some(subscription) = entry.watched.active().cloned() {
            let members = self.members.entry(subscription.clone()).or_default();
            if members.is_empty() {
                let host = subscription.repository.host().to_owned();
                *self.hosts.entry(host).or_default() += 1;
            }
            members.insert(key.clone());
            self.plan(&subscription);
        }
    }

    fn leave(&mut self, key: &BundleKey, entry: &Entry) {
        let Some(subscription) = entry.watched.active() else {
            return;
        };
        if let Some(members) = self.members.get_mut(subscription) {
            members.remove(key);
            if members.is_empty() {
                self.members.remove(subscription);
                let host = subscription.repository.host();
                match self.hosts.get_mut(host) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => {
                        self.hosts.remove(host);
                    }
                }
                self.asked.remove(subscription);
                self.queue.cancel(subscription);
            }
            self.plan(subscription);
        }
    }

    /// Plans a subscription for the earliest time any of its bundles is due.
    fn plan(&mut self, subscription: &Subscription) {
        let keys = self.members.get(subscription).into_iter().flatten();
        let due = keys.filter_map(|key| Some(self.bundles.get(key)?.due));
        if let Some(due) = due.min() {
            self.queue.plan(subscription, due);
        }
    }
}

/// The rules of a bundle that was just seen. A tag that was chosen under an older generation may come
/// from another repository, or have been chosen under another constraint: that is not known, so it
/// holds nothing back, except where it did so already under the present generation. The price: when
/// the spec is edited and the list loses the deployed tag, both before a poller reports on it, the
/// next lower tag is chosen. The other way round, a bundle that was moved to another repository
/// would wait there for ever for a version as high as the old one's.
fn first_rules_since(watched: &Watched) -> i64 {
    match &watched.status.announced {
        Some(announced) if watched.holds_back() => announced.generation.min(watched.generation),
        _ => watched.generation,
    }
}

impl Entry {
    /// When an edit is polled: at once, but two who undo each other's edits in a loop must not make
    /// every turn of it a poll.
    fn at_once(&self, now: Instant, apart: Duration) -> Instant {
        match self.hurried {
            Some(planned) if self.asked => now.max(planned),
            Some(last) => now.max(last + apart),
            None => now,
        }
    }

    fn rules_since(&self, watched: &Watched) -> i64 {
        let same =
            self.watched.subscription == watched.subscription && self.watched.rule == watched.rule;
        if same {
            self.rules_since
        } else {
            watched.generation
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
