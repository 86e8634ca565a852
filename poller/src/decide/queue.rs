//! Which polls may start now? Those that are due, but never more of one host at once than allowed:
//! the polls of a busy host wait in a line of their own, so that they delay nobody else.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use super::watched::Subscription;

/// Polls at once over all hosts: each may hold some megabytes of a list for a while.
const AT_ONCE: usize = 256;

/// When each subscription is polled next.
#[derive(Debug)]
pub struct Queue {
    per_host: usize,
    running: usize,
    places: HashMap<Subscription, Place>,
    planned: BTreeSet<(Instant, Subscription)>,
    hosts: HashMap<String, Host>,
}

/// A poll that starts, and when it was due.
pub type Started = (Subscription, Instant);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Planned(Instant),
    InLine,
    Running,
}

#[derive(Debug, Default)]
struct Host {
    running: usize,
    line: VecDeque<Started>,
}

impl Queue {
    /// An empty queue that starts so many polls of one host at once.
    pub fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            running: 0,
            places: HashMap::new(),
            planned: BTreeSet::new(),
            hosts: HashMap::new(),
        }
    }

    /// Plans a poll, or moves it. One that runs or waits for its host already is left alone.
    pub fn plan(&mut self, subscription: &Subscription, due: Instant) {
        match self.places.get(subscription) {
            Some(Place::InLine | Place::Running) => return,
            Some(Place::Planned(before)) => {
                self.planned.remove(&(*before, subscription.clone()));
            }
            None => {}
        }
        self.planned.insert((due, subscription.clone()));
        let place = Place::Planned(due);
        self.places.insert(subscription.clone(), place);
    }

    /// Polls it no more, once it has stopped running.
    pub fn cancel(&mut self, subscription: &Subscription) {
        match self.places.get(subscription) {
            None | Some(Place::Running) => return,
            Some(Place::Planned(due)) => {
                self.planned.remove(&(*due, subscription.clone()));
            }
            Some(Place::InLine) => {
                if let Some(host) = self.hosts.get_mut(subscription.repository.host()) {
                    host.line.retain(|(waiting, _)| waiting != subscription);
                }
            }
        }
        self.places.remove(subscription);
    }

    /// Starts what is due. Every start must be followed by [`finished`](Self::finished).
    pub fn start_due(&mut self, now: Instant) -> Vec<Started> {
        let mut started = Vec::new();
        while self.wake().is_some_and(|due| due <= now) {
            let Some((due, subscription)) = self.planned.pop_first() else {
                break;
            };
            let host = subscription.repository.host().to_owned();
            let host = self.hosts.entry(host).or_default();
            let place = if host.running < self.per_host {
                host.running += 1;
                self.running += 1;
                started.push((subscription.clone(), due));
                Place::Running
            } else {
                host.line.push_back((subscription.clone(), due));
                Place::InLine
            };
            self.places.insert(subscription, place);
        }
        started
    }

    /// A poll ended: its host is free for the next in line. It is polled again only when planned
    /// again.
    pub fn finished(&mut self, subscription: &Subscription) {
        self.places.remove(subscription);
        let name = subscription.repository.host();
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        host.running -= 1;
        self.running -= 1;
        let next = host.line.pop_front();
        if host.running == 0 && host.line.is_empty() {
            self.hosts.remove(name);
        }
        if let Some((next, due)) = next {
            self.places.remove(&next);
            self.plan(&next, due);
        }
    }

    /// When to start the next poll, if none ends before. Nothing while there is no room for one.
    pub fn wake(&self) -> Option<Instant> {
        let first = self.planned.first().filter(|_| self.running < AT_ONCE);
        first.map(|(due, _)| *due)
    }
}
