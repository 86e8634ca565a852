//! Which polls may start now? Those that are due, as far as three limits allow. Of one host only so
//! many run at once, and none while the host is parked; the others wait in lines of their own, so that
//! they delay nobody else. And over all hosts, who has many polls running leaves room for who has few.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use tokio::time::Instant;

use super::watched::Subscription;
use host::{Host, Stage};

mod host;

/// Polls at once over all hosts: each may hold some megabytes of a list for a while.
pub(super) const AT_ONCE: usize = 256;

/// When each subscription is polled next.
#[derive(Debug)]
pub struct Queue {
    per_host: usize,
    running: usize,
    places: HashMap<Subscription, Place>,
    planned: BTreeSet<(Instant, Subscription)>,
    hosts: HashMap<String, Host>,
    tenants: HashMap<String, Load>,
    /// Hosts that may have something to start.
    ready: VecDeque<String>,
    /// Hosts to look at again at a time.
    later: BTreeSet<(Instant, String)>,
    /// By tenant the hosts where nobody is waiting but who has too many polls running.
    crowded: BTreeMap<String, BTreeSet<String>>,
}

/// A poll that starts, and when it was due.
pub type Started = (Subscription, Instant);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Planned(Instant),
    /// On account of this tenant.
    InLine(String),
    Running(String),
}

/// The polls of a tenant.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    running: usize,
    waiting: usize,
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
            tenants: HashMap::new(),
            ready: VecDeque::new(),
            later: BTreeSet::new(),
            crowded: BTreeMap::new(),
        }
    }

    /// Plans a poll, or moves it. One that runs or waits for its host already is left alone.
    pub fn plan(&mut self, subscription: &Subscription, due: Instant) {
        match self.places.get(subscription) {
            Some(Place::InLine(_) | Place::Running(_)) => return,
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
            None | Some(Place::Running(_)) => return,
            Some(Place::Planned(due)) => {
                self.planned.remove(&(*due, subscription.clone()));
            }
            Some(Place::InLine(tenant)) => {
                let tenant = tenant.clone();
                let name = subscription.repository.host();
                if let Some(host) = self.hosts.get_mut(name) {
                    host.leave(&tenant, subscription);
                    if !host.waits_for(&tenant) {
                        forget(&mut self.crowded, &tenant, name);
                    }
                    if host.stage == Stage::Crowded && !host.has_line() {
                        host.stage = Stage::Ready;
                        self.ready.push_back(name.to_owned());
                    }
                }
                self.load(&tenant, |load| load.waiting -= 1);
            }
        }
        self.places.remove(subscription);
    }

    /// Leaves a host alone until then, as the poll of this subscription was told to.
    pub fn park(&mut self, subscription: &Subscription, until: Instant) {
        let name = subscription.repository.host();
        let tenant = match self.places.get(subscription) {
            Some(Place::Running(tenant)) => Some(tenant.clone()),
            _ => None,
        };
        let host = self.hosts.entry(name.to_owned()).or_default();
        host.park(until, tenant);
        if host.stage == Stage::Idle {
            host.stage = Stage::Later;
            self.later.insert((until, name.to_owned()));
        }
    }

    /// Until when a host is left alone, if it is.
    pub fn parked(&self, host: &str, now: Instant) -> Option<Instant> {
        self.hosts.get(host)?.parked(now)
    }

    /// How many hosts are left alone.
    pub fn hosts_parked(&self, now: Instant) -> usize {
        let hosts = self.hosts.values();
        hosts.filter(|host| host.parked(now).is_some()).count()
    }

    /// Starts what is due, each on account of the least busy of its tenants. Every start must be
    /// followed by [`finished`](Self::finished).
    pub fn start_due<'a, T>(
        &mut self,
        now: Instant,
        tenants: impl Fn(&Subscription) -> T,
    ) -> Vec<Started>
    where
        T: IntoIterator<Item = &'a str>,
    {
        while self.planned.first().is_some_and(|(due, _)| *due <= now)
            && let Some((due, subscription)) = self.planned.pop_first()
        {
            let tenant = self.least_busy(tenants(&subscription));
            self.line_up(subscription, due, tenant);
        }
        while self.later.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.later.pop_first()
        {
            self.ready.push_back(name);
        }
        let mut started = Vec::new();
        while self.running < AT_ONCE
            && let Some(name) = self.ready.pop_front().or_else(|| self.no_more_crowded())
        {
            started.extend(self.start_one(name, now));
        }
        started
    }

    /// A poll ended: its host is free for the next in line. It is polled again only when planned
    /// again.
    pub fn finished(&mut self, subscription: &Subscription, now: Instant) {
        let Some(Place::Running(tenant)) = self.places.remove(subscription) else {
            return;
        };
        self.running -= 1;
        self.load(&tenant, |load| load.running -= 1);
        let name = subscription.repository.host();
        if let Some(host) = self.hosts.get_mut(name) {
            host.finished(now);
            if host.stage == Stage::Idle {
                host.stage = Stage::Ready;
                self.ready.push_back(name.to_owned());
            }
        }
    }

    /// When to start the next poll, if none ends before. Nothing while all that is due has to wait
    /// for one that runs.
    pub fn wake(&self) -> Option<Instant> {
        let planned = self.planned.first().map(|(due, _)| *due);
        let later = self.later.first().map(|(at, _)| *at);
        planned.into_iter().chain(later).min()
    }

    fn least_busy<'a>(&self, tenants: impl IntoIterator<Item = &'a str>) -> String {
        let busy = |tenant: &&str| {
            let load = self.tenants.get(*tenant).copied().unwrap_or_default();
            load.running + load.waiting
        };
        let tenant = tenants.into_iter().min_by_key(busy);
        tenant.unwrap_or_default().to_owned()
    }

    fn line_up(&mut self, subscription: Subscription, due: Instant, tenant: String) {
        let name = subscription.repository.host().to_owned();
        self.load(&tenant, |load| load.waiting += 1);
        let host = self.hosts.entry(name.clone()).or_default();
        host.line_up(&tenant, (subscription.clone(), due));
        match host.stage {
            Stage::Ready | Stage::Later => {}
            Stage::Idle => {
                host.stage = Stage::Ready;
                self.ready.push_back(name);
            }
            Stage::Crowded => {
                host.stage = Stage::Ready;
                for tenant in host.tenants() {
                    forget(&mut self.crowded, tenant, &name);
                }
                self.ready.push_back(name);
            }
        }
        self.places.insert(subscription, Place::InLine(tenant));
    }

    /// Starts the next poll of a host, if it has one that may.
    fn start_one(&mut self, name: String, now: Instant) -> Option<Started> {
        let host = self.hosts.get_mut(&name)?;
        host.stage = Stage::Idle;
        if let Some(at) = host.not_before(now) {
            host.stage = Stage::Later;
            self.later.insert((at, name));
            return None;
        }
        if host.is_over() {
            self.hosts.remove(&name);
            return None;
        }
        if host.running >= self.per_host || !host.has_line() {
            return None;
        }
        let room = AT_ONCE - self.running;
        let tenants = &self.tenants;
        let Some((tenant, (subscription, due))) = host.start(now, |t| has_room(tenants, t, room))
        else {
            host.stage = Stage::Crowded;
            for tenant in host.tenants() {
                let crowded = self.crowded.entry(tenant.to_owned()).or_default();
                crowded.insert(name.clone());
            }
            return None;
        };
        host.stage = Stage::Ready;
        self.ready.push_back(name);
        self.running += 1;
        self.load(&tenant, |load| {
            load.waiting -= 1;
            load.running += 1;
        });
        let place = Place::Running(tenant);
        self.places.insert(subscription.clone(), place);
        Some((subscription, due))
    }

    /// A host where somebody waits who has room again.
    fn no_more_crowded(&mut self) -> Option<String> {
        let room = AT_ONCE - self.running;
        let tenants = &self.tenants;
        let mut crowded = self.crowded.iter();
        let (_, hosts) = crowded.find(|(tenant, _)| has_room(tenants, tenant, room))?;
        let name = hosts.first()?.clone();
        for tenant in self.hosts.get(&name).into_iter().flat_map(Host::tenants) {
            forget(&mut self.crowded, tenant, &name);
        }
        Some(name)
    }

    fn load(&mut self, tenant: &str, change: impl FnOnce(&mut Load)) {
        let load = self.tenants.entry(tenant.to_owned()).or_default();
        change(load);
        if load.running == 0 && load.waiting == 0 {
            self.tenants.remove(tenant);
        }
    }
}

/// Nobody gets more than what stays free: one tenant alone takes half of all polls, two take a third
/// each, and there is always room for one more.
fn has_room(tenants: &HashMap<String, Load>, tenant: &str, room: usize) -> bool {
    tenants.get(tenant).is_none_or(|load| load.running < room)
}

fn forget(crowded: &mut BTreeMap<String, BTreeSet<String>>, tenant: &str, name: &str) {
    if let Some(hosts) = crowded.get_mut(tenant) {
        hosts.remove(name);
        if hosts.is_empty() {
            crowded.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests;
