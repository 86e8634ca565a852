//! Who may start when: busy hosts, parked hosts, and tenants who want everything.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A poll of `host` for `tenant`: the name of the tenant is the first part of the path.
fn poll(host: &str, tenant: &str, n: usize) -> Subscription {
    let repository = format!("{host}/{tenant}/app{n}").parse().unwrap();
    Subscription::anonymous(repository, false)
}

const TENANTS: [&str; 11] = [
    "a", "bad", "good", "late", "many", "one", "t0", "t1", "t2", "two", "worse",
];

fn tenant_of(subscription: &Subscription) -> Option<&'static str> {
    let first = subscription.repository.path().split('/').next();
    TENANTS.into_iter().find(|tenant| Some(*tenant) == first)
}

/// The queue, and what of it runs.
struct Line {
    queue: Queue,
    running: Vec<Subscription>,
    now: Instant,
}

impl Line {
    fn new(per_host: usize) -> Self {
        Self {
            queue: Queue::new(per_host),
            running: Vec::new(),
            now: crate::testing::instant(),
        }
    }

    fn due(&mut self, polls: impl IntoIterator<Item = Subscription>) {
        for poll in polls {
            self.queue.plan(&poll, self.now);
        }
    }

    fn start(&mut self) -> Vec<Subscription> {
        let started = self.queue.start_due(self.now, tenant_of);
        let started: Vec<_> = started.into_iter().map(|(poll, _)| poll).collect();
        self.running.extend(started.iter().cloned());
        started
    }

    fn finish(&mut self, poll: &Subscription) {
        self.running.retain(|running| running != poll);
        self.queue.finished(poll, self.now);
    }

    fn park(&mut self, poll: &Subscription, wait: Duration) {
        self.queue.park(poll, self.now + wait);
    }

    fn count(&self, host: &str) -> usize {
        let of_host = |poll: &&Subscription| poll.repository.host() == host;
        self.running.iter().filter(of_host).count()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn hosts_that_hang_leave_room_for_everybody_else() {
    let mut line = Line::new(4);
    line.due((0..300).map(|n| poll(&format!("hangs{n}.example.com"), "bad", n)));
    assert_eq!(line.start().len(), 128, "half of the room");
    assert_eq!(line.queue.wake(), None, "nothing to wake up for");
    line.due((0..10).map(|n| poll(&format!("fast{n}.example.com"), "good", n)));
    assert_eq!(line.start().len(), 10, "at once");
    line.due((0..300).map(|n| poll(&format!("also{n}.example.com"), "worse", n)));
    line.start();
    line.due([poll("late.example.com", "late", 0)]);
    assert_eq!(line.start().len(), 1, "there is always room for one more");
    assert!(line.running.len() < AT_ONCE);
    let mut seen = line.running.len();
    while let Some(poll) = line.running.first().cloned() {
        line.finish(&poll);
        seen += line.start().len();
        assert!(line.running.len() <= AT_ONCE);
    }
    assert_eq!(seen, 611, "none is forgotten");
    assert!(line.queue.crowded.is_empty() && line.queue.tenants.is_empty());
}

#[test]
fn tenants_take_turns_at_a_busy_host() {
    let mut line = Line::new(1);
    line.due((0..100).map(|n| poll("ghcr.io", "many", n)));
    line.start();
    line.due([poll("ghcr.io", "one", 0), poll("ghcr.io", "two", 0)]);
    let mut order = Vec::new();
    for _ in 0..4 {
        let running = line.running[0].clone();
        line.finish(&running);
        order.push(tenant_of(&line.start()[0]).unwrap());
    }
    assert_eq!(order, ["one", "two", "many", "many"]);
}

#[test]
fn a_tenant_who_is_full_elsewhere_holds_up_nobody_at_a_shared_host() {
    let mut line = Line::new(4);
    line.due((0..200).map(|n| poll(&format!("hangs{n}.example.com"), "bad", n)));
    line.start();
    line.due((0..50).map(|n| poll("ghcr.io", "bad", n)));
    assert_eq!(line.start().len(), 0);
    line.due((0..9).map(|n| poll("ghcr.io", "good", n)));
    assert_eq!(line.start().len(), 4);
    assert_eq!(line.count("ghcr.io"), 4);
}

#[test]
fn a_shared_poll_is_on_account_of_who_has_room() {
    let mut line = Line::new(4);
    line.due((0..200).map(|n| poll(&format!("hangs{n}.example.com"), "bad", n)));
    line.start();
    let shared = poll("ghcr.io", "shared", 0);
    line.queue.plan(&shared, line.now);
    let started = line.queue.start_due(line.now, |_| ["bad", "good"]);
    assert_eq!(started.len(), 1);
}

#[test]
fn a_parked_host_is_left_alone_and_nobody_else() {
    let mut line = Line::new(4);
    line.due((0..9).map(|n| poll("ghcr.io", "a", n)));
    let started = line.start();
    assert_eq!(started.len(), 4);
    line.park(&started[0], seconds(60));
    for poll in &started {
        line.finish(poll);
    }
    line.due([poll("quay.io", "a", 0)]);
    let others = line.start();
    assert_eq!(others, [poll("quay.io", "a", 0)]);
    assert_eq!(line.queue.wake(), Some(line.now + seconds(60)));
    assert_eq!(line.queue.hosts_parked(line.now), 1);
    // A shorter wish does not shorten the park, a longer one does lengthen it.
    line.park(&started[1], seconds(30));
    line.park(&started[1], seconds(90));
    line.now += seconds(60);
    assert_eq!(line.start(), []);
    assert_eq!(line.queue.wake(), Some(line.now + seconds(30)));
}

#[test]
fn after_a_park_a_host_is_asked_slowly_at_first() {
    let mut line = Line::new(4);
    line.due((0..300).map(|n| poll("ghcr.io", "a", n)));
    let first = line.start();
    line.park(&first[0], seconds(60));
    for poll in &first {
        line.finish(poll);
    }
    line.start();
    let mut starts = Vec::new();
    while let Some(wake) = line.queue.wake() {
        line.now = wake;
        for poll in line.start() {
            starts.push(line.now);
            line.finish(&poll);
        }
    }
    assert_eq!(starts.len(), 31 + 4, "then there is no gap any more");
    let gaps: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[0], Duration::from_millis(250));
    assert!(gaps.is_sorted_by(|a, b| a >= b), "{gaps:?}");
    let mut rest = 0;
    loop {
        let started = line.start();
        assert!(started.len() <= 4);
        rest += started.len();
        if started.is_empty() {
            break;
        }
        for poll in started {
            line.finish(&poll);
        }
    }
    assert_eq!(rest, 300 - 4 - 35);
}

#[test]
fn a_host_that_complains_again_is_asked_more_slowly() {
    let mut line = Line::new(4);
    line.due((0..50).map(|n| poll("ghcr.io", "a", n)));
    let mut gaps = Vec::new();
    for _ in 0..7 {
        let started = line.start();
        line.park(&started[0], seconds(10));
        for poll in &started {
            line.finish(poll);
        }
        line.now += seconds(10);
        let started = line.start();
        assert_eq!(started.len(), 1);
        let wake = line.queue.wake().unwrap();
        gaps.push((wake - line.now).as_millis());
        line.finish(&started[0]);
        line.now = wake;
    }
    assert_eq!(gaps, [250, 450, 810, 1458, 2624, 4000, 4000]);
}

#[test]
fn who_made_a_host_complain_does_not_go_first_again() {
    let mut line = Line::new(1);
    let bad = poll("ghcr.io", "bad", 0);
    line.due([bad.clone()]);
    line.start();
    line.due((0..60).map(|n| poll("ghcr.io", "good", n)));
    line.park(&bad, seconds(60));
    line.finish(&bad);
    line.due([bad.clone()]);
    line.start();
    let mut order = Vec::new();
    while order.len() < 61 {
        line.now = line.queue.wake().unwrap_or(line.now);
        for poll in line.start() {
            line.finish(&poll);
            order.push(poll);
        }
    }
    assert_eq!(order.last(), Some(&bad));
    // But nobody is left behind for ever: who comes after the park takes turns with it.
    line.due([bad.clone()]);
    line.start();
    line.park(&bad, seconds(60));
    line.finish(&bad);
    line.due([bad.clone()]);
    line.start();
    line.now += seconds(61);
    line.due((0..9).map(|n| poll("ghcr.io", "good", n)));
    let mut waited = 0;
    loop {
        line.now = line.queue.wake().unwrap_or(line.now);
        let started = line.start();
        for poll in &started {
            line.finish(poll);
        }
        if started.contains(&bad) {
            break;
        }
        waited += started.len();
    }
    assert!(waited <= 1, "{waited}");
}

#[test]
fn hosts_without_polls_are_forgotten() {
    let mut line = Line::new(1);
    for n in 0..100 {
        let poll = poll(&format!("host{n}.example.com"), "a", 0);
        line.due([poll.clone()]);
        line.start();
        line.park(&poll, seconds(60));
        line.finish(&poll);
    }
    assert_eq!(line.queue.hosts.len(), 100);
    line.now += seconds(60);
    assert_eq!(line.start(), []);
    assert!(line.queue.hosts.is_empty());
    assert_eq!(line.queue.wake(), None);
}

proptest! {
    /// Whatever happens, the limits hold, nothing waits that might run, and nothing is lost.
    #[test]
    fn nobody_waits_without_a_reason(
        steps in proptest::collection::vec((0_u8..6, 0_usize..4, 0_usize..3, 0_usize..40), 1..60),
    ) {
        let mut line = Line::new(3);
        for (step, host, tenant, n) in steps {
            let host = format!("host{host}.example.com");
            match step {
                0 => line.due((0..n).map(|n| poll(&host, &format!("t{tenant}"), n))),
                1 => line.due((0..4 * n).map(|n| poll(&format!("h{n}.example.com"), &format!("t{tenant}"), n))),
                2 => line.queue.cancel(&poll(&host, &format!("t{tenant}"), n)),
                3 => if let Some(poll) = line.running.get(n).cloned() {
                    line.park(&poll, seconds(n as u64));
                    line.finish(&poll);
                },
                4 => line.now += seconds(n as u64),
                _ => for poll in line.running.iter().skip(tenant).take(n).cloned().collect::<Vec<_>>() {
                    line.finish(&poll);
                },
            }
            line.start();
            check(&line)?;
        }
        for _ in 0..100_000 {
            let Some(poll) = line.running.pop() else {
                let Some(wake) = line.queue.wake() else { break };
                line.now = wake;
                line.start();
                continue;
            };
            line.queue.finished(&poll, line.now);
            line.start();
        }
        prop_assert!(line.queue.places.is_empty(), "{:?}", line.queue);
        prop_assert!(line.queue.tenants.is_empty());
        prop_assert!(line.queue.crowded.is_empty());
        prop_assert_eq!(line.queue.running, 0);
    }
}

fn check(line: &Line) -> Result<(), TestCaseError> {
    let queue = &line.queue;
    let unique: HashSet<_> = line.running.iter().collect();
    prop_assert_eq!(unique.len(), line.running.len());
    prop_assert_eq!(queue.running, line.running.len());
    prop_assert!(queue.running <= AT_ONCE);
    let room = AT_ONCE - queue.running;
    let mut at_host: HashMap<&str, usize> = HashMap::new();
    for poll in &line.running {
        *at_host.entry(poll.repository.host()).or_default() += 1;
    }
    for (subscription, place) in &queue.places {
        let name = subscription.repository.host();
        let host = queue.hosts.get(name);
        let running = at_host.get(name).copied().unwrap_or_default();
        match place {
            Place::Planned(due) => prop_assert!(*due > line.now),
            Place::Running(_) => {
                prop_assert!(running <= 3);
                prop_assert_eq!(host.map(|host| host.running), Some(running));
            }
            Place::InLine(tenant) => {
                let held = host.is_some_and(|host| host.not_before(line.now).is_some())
                    || running == 3
                    || !has_room(&queue.tenants, tenant, room);
                prop_assert!(held, "{subscription:?} might run");
            }
        }
    }
    Ok(())
}
