//! Which polls are due, and for whom? Keeps every bundle's next poll, lets bundles with the same
//! subscription share one, and never runs more polls of a host at once than allowed: those of a
//! busy host wait in their own line, so that they delay nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use tokio::time::Instant;
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;

use super::schedule;
use super::watched::{Subscription, Watched};

/// Every bundle and its next poll.
#[derive(Debug)]
pub struct Book {
    per_host: usize,
    bundles: BTreeMap<BundleKey, Entry>,
    shared: HashMap<Subscription, Shared>,
    queue: BTreeSet<(Instant, Subscription)>,
    busy: HashMap<String, usize>,
    lines: HashMap<String, VecDeque<Subscription>>,
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
    due: Instant,
    asked: bool,
}

#[derive(Debug)]
struct Shared {
    members: BTreeSet<BundleKey>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued(Instant),
    InLine,
    Running,
}

/// What a change of a bundle means for polling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A bundle that was not known; it has its first poll planned.
    Added,
    /// The spec changed, so it is polled at once.
    Edited,
    /// A person set the count of failures to zero, so it is polled at once.
    Reset,
    /// It is not polled any more.
    Rested,
    /// It cannot be polled, for this reason.
    Unpollable(String),
    /// Only our own status came back.
    Echo,
}

/// The time in both its forms.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For schedules.
    pub instant: Instant,
    /// For what is stored.
    pub wall: Timestamp,
}

impl Book {
    /// An empty book that allows so many polls of one host at once.
    pub fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            bundles: BTreeMap::new(),
            shared: HashMap::new(),
            queue: BTreeSet::new(),
            busy: HashMap::new(),
            lines: HashMap::new(),
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
        let change = compare(before.as_ref(), &watched);
        let entry = match (before, &change) {
            (Some(entry), Change::Echo) => Entry { watched, ..entry },
            (Some(entry), _) => {
                self.leave(key, &entry);
                let same_rules = entry.watched.subscription == watched.subscription
                    && entry.watched.rule == watched.rule;
                Entry {
                    rules_since: if same_rules {
                        entry.rules_since
                    } else {
                        watched.generation
                    },
                    failures: if change == Change::Reset {
                        0
                    } else {
                        entry.failures
                    },
                    due: now.instant,
                    asked: true,
                    watched,
                }
            }
            (None, _) => Entry {
                rules_since: watched.generation,
                failures: watched.status.failures,
                due: schedule::first(&watched, now.instant, now.wall, jitter),
                asked: false,
                watched,
            },
        };
        self.join(key, &entry);
        self.bundles.insert(key.clone(), entry);
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

    /// Makes a bundle due now, whatever its interval; says whether that is possible.
    pub fn ask(&mut self, key: &BundleKey, now: Instant) -> bool {
        let Some(entry) = self.bundles.get_mut(key) else {
            return false;
        };
        let Some(subscription) = entry.watched.active().cloned() else {
            return false;
        };
        entry.due = now;
        entry.asked = true;
        self.requeue(&subscription);
        true
    }

    /// The polls to start now, each with the moment it was due. Every one of them must be
    /// [`finished`](Self::finished) some time.
    pub fn start_due(&mut self, now: Instant) -> Vec<(Subscription, Instant)> {
        let mut started = Vec::new();
        while let Some((due, subscription)) = self.queue.pop_first() {
            if due > now {
                self.queue.insert((due, subscription));
                break;
            }
            let host = subscription.repository.host().to_owned();
            let busy = self.busy.entry(host.clone()).or_default();
            let free = *busy < self.per_host;
            let place = if free { Place::Running } else { Place::InLine };
            if let Some(shared) = self.shared.get_mut(&subscription) {
                shared.place = place;
            }
            if free {
                *busy += 1;
                self.clear_asked(&subscription);
                started.push((subscription, due));
            } else {
                self.lines.entry(host).or_default().push_back(subscription);
            }
        }
        started
    }

    /// When something is due next, if nothing happens before.
    pub fn wake(&self) -> Option<Instant> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The bundles a poll is for.
    pub fn members(&self, subscription: &Subscription) -> Vec<(BundleKey, Entry)> {
        let Some(shared) = self.shared.get(subscription) else {
            return Vec::new();
        };
        let entry = |key: &BundleKey| Some((key.clone(), self.bundles.get(key)?.clone()));
        shared.members.iter().filter_map(entry).collect()
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
        entry.failures = if succeeded {
            0
        } else {
            (before + 1).min(schedule::SLOW_FROM)
        };
        if !entry.asked {
            entry.due = if succeeded {
                schedule::after_success(&entry.watched, now, jitter)
            } else {
                schedule::after_failure(&entry.watched, entry.failures, now, jitter)
            };
        }
        Some((before, entry.failures))
    }

    /// Frees the host of a poll and plans the next one of that subscription.
    pub fn finished(&mut self, subscription: &Subscription) {
        let host = subscription.repository.host();
        if let Some(busy) = self.busy.get_mut(host) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(host);
            }
        }
        if let Some(shared) = self.shared.get_mut(subscription) {
            shared.place = Place::InLine;
        }
        self.place(subscription);
        let next = self.lines.get_mut(host).and_then(VecDeque::pop_front);
        if self.lines.get(host).is_some_and(VecDeque::is_empty) {
            self.lines.remove(host);
        }
        if let Some(next) = next {
            self.place(&next);
        }
    }

    fn join(&mut self, key: &BundleKey, entry: &Entry) {
        let Some(subscription) = entry.watched.active() else {
            return;
        };
        let shared = self.shared.entry(subscription.clone()).or_insert_with(|| {
            self.queue.insert((entry.due, subscription.clone()));
            Shared {
                members: BTreeSet::new(),
                place: Place::Queued(entry.due),
            }
        });
        shared.members.insert(key.clone());
        if let Place::Queued(due) = shared.place
            && entry.due < due
        {
            shared.place = Place::Queued(entry.due);
            self.queue.remove(&(due, subscription.clone()));
            self.queue.insert((entry.due, subscription.clone()));
        }
    }

    fn leave(&mut self, key: &BundleKey, entry: &Entry) {
        let Some(subscription) = entry.watched.active() else {
            return;
        };
        if let Some(shared) = self.shared.get_mut(subscription) {
            shared.members.remove(key);
            let queued = matches!(shared.place, Place::Queued(_));
            if queued {
                self.place(subscription);
            }
        }
    }

    fn requeue(&mut self, subscription: &Subscription) {
        let shared = self.shared.get(subscription);
        if shared.is_some_and(|shared| matches!(shared.place, Place::Queued(_))) {
            self.place(subscription);
        }
    }

    /// Queues a subscription at the earliest time any member is due, or drops it with its last
    /// member.
    fn place(&mut self, subscription: &Subscription) {
        let Some(shared) = self.shared.get_mut(subscription) else {
            return;
        };
        if let Place::Queued(due) = shared.place {
            self.queue.remove(&(due, subscription.clone()));
        }
        let members = shared.members.iter();
        match members
            .filter_map(|key| Some(self.bundles.get(key)?.due))
            .min()
        {
            Some(due) => {
                shared.place = Place::Queued(due);
                self.queue.insert((due, subscription.clone()));
            }
            None => {
                self.shared.remove(subscription);
            }
        }
    }

    fn clear_asked(&mut self, subscription: &Subscription) {
        let Some(shared) = self.shared.get(subscription) else {
            return;
        };
        for key in &shared.members {
            if let Some(entry) = self.bundles.get_mut(key) {
                entry.asked = false;
            }
        }
    }
}

fn compare(before: Option<&Entry>, watched: &Watched) -> Change {
    let unchanged = before.is_some_and(|entry| entry.watched.generation == watched.generation);
    let was_active = before.is_some_and(|entry| entry.watched.active().is_some());
    match (&watched.subscription, before) {
        (Err(reason), _) if !unchanged => Change::Unpollable(reason.clone()),
        (Err(_), _) => Change::Echo,
        (Ok(_), _) if watched.resting && (was_active || before.is_none()) => Change::Rested,
        (Ok(_), _) if watched.resting => Change::Echo,
        (Ok(_), None) => Change::Added,
        (Ok(_), Some(_)) if !unchanged => Change::Edited,
        (Ok(_), Some(entry)) => {
            let reset = entry.watched.status.failures > 0 && watched.status.failures == 0;
            if reset && entry.failures > 0 {
                Change::Reset
            } else {
                Change::Echo
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
