//! Who is polled when: edits, resets, echoes, sharing, and busy hosts.

use proptest::prelude::*;
use werf_shared::bundle::status::Announced;

use super::*;
use crate::decide::newest::Rule;
use crate::decide::watched::Known;

const MINUTE: Duration = Duration::from_mins(1);

pub(crate) fn bundle(uid: &str, generation: i64) -> Watched {
    Watched {
        uid: uid.to_owned(),
        generation,
        resting: false,
        asked: None,
        subscription: Ok(Subscription::anonymous(
            "ghcr.io/org/app".parse().unwrap(),
            false,
        )),
        interval: 15 * MINUTE,
        rule: Rule::Newest,
        status: Known::default(),
    }
}

pub(crate) fn announced(mut watched: Watched, tag: &str) -> Watched {
    watched.status.announced = Some(Announced {
        tag: tag.to_owned(),
        digest: format!("sha256:{}", "0".repeat(64)),
        generation: watched.generation,
    });
    watched
}

fn of(repository: &str, uid: &str) -> Watched {
    let mut watched = bundle(uid, 1);
    watched.subscription = Ok(Subscription::anonymous(repository.parse().unwrap(), false));
    watched
}

fn failing(mut watched: Watched, failures: u32) -> Watched {
    watched.status.failures = failures;
    watched
}

fn key(name: &str) -> BundleKey {
    BundleKey::new("team", name)
}

fn book(per_host: usize) -> Book {
    Book::new(per_host, Duration::from_secs(5))
}

struct Clock(Instant);

impl Clock {
    fn new() -> Self {
        Self(crate::testing::instant())
    }

    fn moment(&self) -> Moment {
        Moment {
            instant: self.0,
            wall: "2026-01-01T00:00:00Z".parse().unwrap(),
            telling: false,
        }
    }
}

/// Runs what is due, with one result for everybody; gives the number of polls.
fn run(book: &mut Book, now: Instant, succeeded: bool) -> usize {
    let started = book.start_due(now);
    for (subscription, _) in &started {
        for (key, entry) in book.members(subscription) {
            book.settle(&key, &entry.watched, succeeded, now, Jitter::NONE);
        }
        book.finished(subscription, now);
    }
    started.len()
}

#[test]
fn an_edit_is_polled_at_once_and_an_echo_is_not() {
    let clock = Clock::new();
    let mut book = book(4);
    let apply =
        |book: &mut Book, watched| book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    assert_eq!(apply(&mut book, bundle("u", 1)), Change::Added);
    assert_eq!(run(&mut book, clock.0, true), 1);
    assert_eq!(
        apply(&mut book, announced(bundle("u", 1), "v1")),
        Change::Echo
    );
    assert_eq!(run(&mut book, clock.0, true), 0);
    assert_eq!(apply(&mut book, bundle("u", 2)), Change::Edited);
    assert_eq!(run(&mut book, clock.0, true), 1);
    assert_eq!(book.wake(), Some(clock.0 + 15 * MINUTE));
}

#[test]
fn a_count_set_to_zero_by_a_person_is_polled_at_once() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut apply = |watched| book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    apply(failing(bundle("u", 1), 6));
    assert_eq!(apply(failing(bundle("u", 1), 5)), Change::Echo);
    assert_eq!(apply(failing(bundle("u", 1), 0)), Change::Reset);
    assert_eq!(book.get(&key("a")).unwrap().failures, 0);
    assert_eq!(run(&mut book, clock.0, true), 1);
}

#[test]
fn a_late_zero_of_our_own_is_no_reset() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(
        &key("a"),
        failing(bundle("u", 1), 1),
        clock.moment(),
        Jitter::NONE,
    );
    let later = clock.0 + MINUTE;
    assert_eq!(run(&mut book, later, true), 1);
    assert_eq!(run(&mut book, later + 15 * MINUTE, false), 1);
    // The zero of the recovery comes back while the new failure is on its way.
    let telling = Moment {
        telling: true,
        ..clock.moment()
    };
    let change = book.apply(&key("a"), bundle("u", 1), telling, Jitter::NONE);
    assert_eq!(change, Change::Echo);
    assert_eq!(book.get(&key("a")).unwrap().failures, 1);
}

#[test]
fn an_edit_starts_the_count_of_failures_over() {
    let clock = Clock::new();
    let mut book = book(4);
    let apply =
        |book: &mut Book, watched| book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    apply(&mut book, failing(bundle("u", 1), 6));
    let edited = failing(bundle("u", 2), 6);
    assert_eq!(apply(&mut book, edited.clone()), Change::Edited);
    assert_eq!(book.start_due(clock.0).len(), 1);
    // The status still has the old count.
    assert_eq!(apply(&mut book, edited.clone()), Change::Echo);
    let settled = book.settle(&key("a"), &edited, false, clock.0, Jitter::NONE);
    assert_eq!(settled, Some((0, 1)));
    book.finished(edited.active().unwrap(), clock.0);
    assert_eq!(apply(&mut book, edited), Change::Echo);
    assert_eq!(book.get(&key("a")).unwrap().failures, 1);
    assert_eq!(book.wake(), Some(clock.0 + MINUTE / 2));
}

#[test]
fn an_edit_nobody_watched_starts_the_count_over_too() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut edited = failing(bundle("u", 2), 6);
    edited.status.reported = Some(1);
    book.apply(&key("a"), edited, clock.moment(), Jitter::NONE);
    assert_eq!(book.get(&key("a")).unwrap().failures, 0);
    assert_eq!(run(&mut book, clock.0, true), 1);
}

#[test]
fn the_zero_after_a_recovery_is_an_echo() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(
        &key("a"),
        failing(bundle("u", 1), 1),
        clock.moment(),
        Jitter::NONE,
    );
    let later = clock.0 + MINUTE;
    assert_eq!(run(&mut book, later, true), 1);
    let change = book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    assert_eq!(change, Change::Echo);
    assert_eq!(run(&mut book, later, true), 0);
}

#[test]
fn failures_are_counted_to_six_and_slow_down() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    let mut now = clock.0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(run(&mut book, now, false), 1);
        let wake = book.wake().unwrap();
        waits.push((wake - now).as_secs());
        now = wake;
    }
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(book.get(&key("a")).unwrap().failures, 6);
}

#[test]
fn a_suspended_bundle_rests_until_it_is_edited() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut apply = |watched| book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    apply(bundle("u", 1));
    let suspended = |generation| Watched {
        resting: true,
        ..bundle("u", generation)
    };
    assert_eq!(apply(suspended(2)), Change::Rested);
    assert_eq!(apply(suspended(3)), Change::Echo);
    assert_eq!(apply(bundle("u", 4)), Change::Edited);
    assert_eq!(run(&mut book, clock.0, true), 1);
}

#[test]
fn bundles_of_one_repository_share_the_poll_at_the_shortest_interval() {
    let clock = Clock::new();
    let mut book = book(4);
    let quick = Watched {
        interval: 5 * MINUTE,
        ..bundle("quick", 1)
    };
    book.apply(&key("quick"), quick, clock.moment(), Jitter::NONE);
    book.apply(
        &key("slow"),
        bundle("slow", 1),
        clock.moment(),
        Jitter::NONE,
    );
    let mut polls = 0;
    for minute in 0..60 {
        polls += run(&mut book, clock.0 + minute * MINUTE, true);
    }
    assert_eq!(polls, 12);
    book.remove(&key("quick"));
    assert_eq!(run(&mut book, clock.0 + 69 * MINUTE, true), 0);
    assert_eq!(run(&mut book, clock.0 + 70 * MINUTE, true), 1);
}

#[test]
fn a_busy_host_delays_nobody_else() {
    let clock = Clock::new();
    let mut book = book(2);
    for n in 0..5 {
        let watched = of(&format!("slow.example.com/app{n}"), &format!("u{n}"));
        book.apply(
            &key(&format!("slow{n}")),
            watched,
            clock.moment(),
            Jitter::NONE,
        );
    }
    let other = of("fast.example.com/app", "f");
    book.apply(&key("zfast"), other, clock.moment(), Jitter::NONE);
    let started = book.start_due(clock.0);
    let hosts: Vec<&str> = started.iter().map(|(s, _)| s.repository.host()).collect();
    assert_eq!(
        hosts
            .iter()
            .filter(|host| **host == "slow.example.com")
            .count(),
        2
    );
    assert!(hosts.contains(&"fast.example.com"));
    assert_eq!(book.wake(), None, "a full host is no reason to wake");
    let first = started
        .iter()
        .find(|(s, _)| s.repository.host() == "slow.example.com");
    book.finished(&first.unwrap().0, clock.0);
    assert_eq!(book.start_due(clock.0).len(), 1);
}

#[test]
fn a_bundle_that_left_a_busy_host_holds_up_nobody_in_line() {
    let clock = Clock::new();
    let mut book = book(1);
    for n in 0..3 {
        let watched = of(&format!("slow.example.com/app{n}"), &format!("u{n}"));
        book.apply(
            &key(&format!("app{n}")),
            watched,
            clock.moment(),
            Jitter::NONE,
        );
    }
    let running = book.start_due(clock.0);
    book.remove(&key("app1"));
    for (key, entry) in book.members(&running[0].0) {
        book.settle(&key, &entry.watched, true, clock.0, Jitter::NONE);
    }
    book.finished(&running[0].0, clock.0);
    let next = book.start_due(clock.0);
    assert_eq!(next[0].0.repository.path(), "app2");
}

#[test]
fn an_edit_during_a_poll_is_polled_after_it() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    let started = book.start_due(clock.0);
    book.apply(&key("a"), bundle("u", 2), clock.moment(), Jitter::NONE);
    assert_eq!(book.start_due(clock.0), [], "it runs already");
    let settled = book.settle(&key("a"), &bundle("u", 1), true, clock.0, Jitter::NONE);
    assert_eq!(
        settled, None,
        "the result is about rules that no longer hold"
    );
    book.finished(&started[0].0, clock.0);
    assert_eq!(book.start_due(clock.0).len(), 1);
}

#[test]
fn asking_during_a_poll_is_answered_by_the_next_one() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    let started = book.start_due(clock.0);
    assert!(book.ask(&key("a"), clock.0));
    book.settle(&key("a"), &bundle("u", 1), true, clock.0, Jitter::NONE);
    book.finished(&started[0].0, clock.0);
    assert_eq!(book.start_due(clock.0).len(), 1);
    assert!(!book.ask(&key("b"), clock.0));
}

#[test]
fn a_repository_is_not_polled_as_often_as_people_ask() {
    let clock = Clock::new();
    let mut book = book(4);
    for name in ["a", "b"] {
        book.apply(&key(name), bundle(name, 1), clock.moment(), Jitter::NONE);
    }
    let second = |n: u64| clock.0 + Duration::from_secs(n);
    assert_eq!(run(&mut book, second(0), true), 1);
    let mut polls = 0;
    for n in 1..=12 {
        assert!(book.ask(&key(if n % 2 == 0 { "a" } else { "b" }), second(n)));
        polls += run(&mut book, second(n), true);
    }
    assert_eq!(polls, 3, "at 1, 6 and 11 s");
    assert_eq!(book.wake(), Some(second(16)), "the last wish is not lost");
    assert_eq!(run(&mut book, second(16), true), 1);
    assert_eq!(book.wake(), Some(second(16) + 15 * MINUTE));
}

fn asking(value: &str, watched: Watched) -> Watched {
    Watched {
        asked: Some(value.to_owned()),
        ..watched
    }
}

#[test]
fn an_annotation_is_polled_at_once_when_it_changes() {
    let clock = Clock::new();
    let mut book = book(4);
    let second = |n: u64| clock.0 + Duration::from_secs(n);
    let apply = |book: &mut Book, n, watched| {
        let moment = Moment {
            instant: second(n),
            ..clock.moment()
        };
        book.apply(&key("a"), watched, moment, Jitter::NONE)
    };
    apply(&mut book, 0, bundle("u", 1));
    assert_eq!(run(&mut book, second(0), true), 1);
    for n in [100, 200] {
        let asked = asking(&n.to_string(), bundle("u", 1));
        assert_eq!(apply(&mut book, n, asked.clone()), Change::Asked);
        assert_eq!(run(&mut book, second(n), true), 1);
        assert_eq!(apply(&mut book, n + 1, asked), Change::Echo);
    }
    // Taken away, it asks for nothing.
    assert_eq!(apply(&mut book, 300, bundle("u", 1)), Change::Echo);
    let resting = Watched {
        resting: true,
        ..bundle("u", 2)
    };
    apply(&mut book, 400, resting.clone());
    assert_eq!(apply(&mut book, 401, asking("3", resting)), Change::Echo);
    assert_eq!(run(&mut book, second(401), true), 0, "suspended");
    assert_eq!(book.wake(), None);
}

#[rstest::rstest]
#[case::not_taken_up(None, 0)]
#[case::another_was(Some("1"), 0)]
#[case::taken_up(Some("2"), 1)]
fn at_first_sight_an_annotation_asks_unless_it_was_taken_up(
    #[case] handled: Option<&str>,
    #[case] waits: u64,
) {
    let clock = Clock::new();
    let mut book = book(4);
    let mut watched = asking("2", announced(bundle("u", 1), "v1"));
    watched.status.handled = handled.map(ToOwned::to_owned);
    book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    let wait = book.wake().unwrap() - clock.0;
    assert_eq!(wait.as_secs().min(1), waits);
}

#[test]
fn an_annotation_that_changes_all_the_time_is_polled_now_and_then() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    assert_eq!(run(&mut book, clock.0, true), 1);
    let mut polls = 0;
    for n in 1..=1_200 {
        let instant = clock.0 + Duration::from_millis(10) * n;
        let moment = Moment {
            instant,
            ..clock.moment()
        };
        let asked = asking(&n.to_string(), bundle("u", 1));
        book.apply(&key("a"), asked, moment, Jitter::NONE);
        polls += run(&mut book, instant, true);
    }
    assert_eq!(polls, 3, "in 12 s");
    let last = book.wake().unwrap();
    assert_eq!(run(&mut book, last, true), 1, "the last value is not lost");
    assert_eq!(book.wake(), Some(last + 15 * MINUTE));
}

#[test]
fn an_edit_does_not_wait_for_what_people_asked() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    assert_eq!(run(&mut book, clock.0, true), 1);
    book.ask(&key("a"), clock.0);
    assert_eq!(run(&mut book, clock.0, true), 1);
    book.apply(&key("a"), bundle("u", 2), clock.moment(), Jitter::NONE);
    assert_eq!(run(&mut book, clock.0, true), 1);
}

#[test]
fn asking_often_does_not_make_a_bundle_fail_sooner() {
    let clock = Clock::new();
    let mut book = book(4);
    book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    let second = |n: u64| clock.0 + Duration::from_secs(n);
    assert_eq!(run(&mut book, second(0), false), 1);
    for n in [1, 10, 20] {
        book.ask(&key("a"), second(n));
        assert_eq!(run(&mut book, second(n), false), 1);
        assert_eq!(book.get(&key("a")).unwrap().failures, 1);
        assert_eq!(book.wake(), Some(second(30)), "the schedule stands");
    }
    assert_eq!(run(&mut book, second(30), false), 1);
    assert_eq!(book.get(&key("a")).unwrap().failures, 2);
    // Asked for while it is well, a failure is the first.
    assert_eq!(run(&mut book, second(90), true), 1);
    book.ask(&key("a"), second(100));
    assert_eq!(run(&mut book, second(100), false), 1);
    assert_eq!(book.get(&key("a")).unwrap().failures, 1);
    assert_eq!(book.wake(), Some(second(130)));
}

#[test]
fn asking_of_a_bundle_that_failed_for_good_counts_no_further() {
    let clock = Clock::new();
    let mut book = book(4);
    let failed = failing(bundle("u", 1), 6);
    book.apply(&key("a"), failed, clock.moment(), Jitter::NONE);
    let second = |n: u64| clock.0 + Duration::from_secs(n);
    for n in [10, 20] {
        book.ask(&key("a"), second(n));
        assert_eq!(run(&mut book, second(n), false), 1);
        assert_eq!(book.get(&key("a")).unwrap().failures, 6);
        assert_eq!(book.wake(), Some(second(15 * 60)), "the probe stays");
    }
    book.ask(&key("a"), second(30));
    assert_eq!(run(&mut book, second(30), true), 1);
    assert_eq!(book.get(&key("a")).unwrap().failures, 0, "a recovery");
}

#[test]
fn two_pollers_count_no_failure_twice() {
    let clock = Clock::new();
    let mut books = [book(4), book(4)];
    for book in &mut books {
        book.apply(&key("a"), bundle("u", 1), clock.moment(), Jitter::NONE);
    }
    let mut now = clock.0;
    for failures in 1..=3 {
        for one in 0..2 {
            assert_eq!(run(&mut books[one], now, false), 1);
            assert_eq!(books[one].get(&key("a")).unwrap().failures, failures);
            // What the executor has stored comes back to both.
            for book in &mut books {
                let stored = failing(bundle("u", 1), failures);
                let change = book.apply(&key("a"), stored, clock.moment(), Jitter::NONE);
                assert_eq!(change, Change::Echo);
            }
        }
        now = books[0].wake().unwrap();
        assert_eq!(books[1].wake(), Some(now), "the same schedule");
    }
}

#[test]
fn a_poll_that_waits_for_a_parked_host_has_not_failed() {
    let clock = Clock::new();
    let mut book = book(4);
    for name in ["a", "b"] {
        let watched = of(&format!("ghcr.io/org/{name}"), name);
        book.apply(&key(name), watched, clock.moment(), Jitter::NONE);
    }
    let other = of("quay.io/org/c", "c");
    book.apply(&key("c"), other, clock.moment(), Jitter::NONE);
    let started = book.start_due(clock.0);
    assert_eq!(started.len(), 3);
    let until = clock.0 + 20 * MINUTE;
    for (subscription, _) in &started {
        let throttled = subscription.repository.path() == "org/a";
        if throttled {
            book.park(subscription, until);
        }
        for (key, entry) in book.members(subscription) {
            book.settle(&key, &entry.watched, !throttled, clock.0, Jitter::NONE);
        }
        book.finished(subscription, clock.0);
    }
    let failures = |book: &Book| ["a", "b", "c"].map(|name| book.get(&key(name)).unwrap().failures);
    assert_eq!(failures(&book), [1, 0, 0]);
    assert_eq!(
        book.parked(&key("b"), clock.0),
        Some(("ghcr.io", until)),
        "its neighbour is"
    );
    assert_eq!(book.parked(&key("c"), clock.0), None);
    assert_eq!(book.hosts_parked(clock.0), 1);
    let mut polled = Vec::new();
    let mut now = clock.0;
    while now < until {
        for (subscription, _) in book.start_due(now) {
            polled.push(subscription.repository.to_string());
            for (key, entry) in book.members(&subscription) {
                book.settle(&key, &entry.watched, true, now, Jitter::NONE);
            }
            book.finished(&subscription, now);
        }
        now = book.wake().unwrap();
    }
    assert_eq!(polled, ["quay.io/org/c"]);
    assert_eq!(failures(&book), [1, 0, 0]);
    assert_eq!(now, until);
    assert_eq!(book.parked(&key("b"), now), None);
    let started = book.start_due(now);
    assert_eq!(started.len(), 1, "one after the other");
    assert_eq!(started[0].1, until, "being held back is not being late");
    assert_eq!(book.wake(), Some(until + Duration::from_millis(250)));
}

#[test]
fn rules_hold_since_the_generation_that_brought_them() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut since = |watched| {
        book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
        book.get(&key("a")).unwrap().rules_since
    };
    assert_eq!(since(bundle("u", 1)), 1);
    let quicker = Watched {
        interval: MINUTE,
        ..bundle("u", 2)
    };
    assert_eq!(since(quicker), 1);
    let constrained = Watched {
        rule: Rule::Matching("^1".parse().unwrap()),
        ..bundle("u", 3)
    };
    assert_eq!(since(constrained), 3);
    // What is edited while it rests counts as well.
    let resting = |generation| Watched {
        resting: true,
        ..bundle("u", generation)
    };
    assert_eq!(since(resting(4)), 4);
    let elsewhere = |watched: Watched| Watched {
        subscription: of("ghcr.io/org/other", "u").subscription,
        ..watched
    };
    assert_eq!(since(elsewhere(resting(5))), 5);
    assert_eq!(since(elsewhere(bundle("u", 6))), 5);
}

#[rstest::rstest]
#[case::not_edited(1, None, false, true)]
#[case::edited(5, Some(1), false, false)]
#[case::edited_and_failing_since(5, Some(5), false, false)]
#[case::edited_and_lost_since(5, Some(5), true, true)]
#[case::lost_and_edited_since(5, Some(4), true, false)]
fn after_a_restart_only_a_tag_of_the_present_spec_holds_back(
    #[case] generation: i64,
    #[case] reported: Option<i64>,
    #[case] vanished: bool,
    #[case] holds: bool,
) {
    let clock = Clock::new();
    let mut book = book(4);
    let mut watched = announced(bundle("u", 1), "v2");
    watched.generation = generation;
    watched.status.reported = reported;
    watched.status.vanished = vanished;
    book.apply(&key("a"), watched.clone(), clock.moment(), Jitter::NONE);
    let since = book.get(&key("a")).unwrap().rules_since;
    let held = watched.announced_since(since);
    assert_eq!(held, holds.then(|| "v2".parse().unwrap()));
}

#[test]
fn the_executor_may_know_that_edited_rules_are_the_same() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut held = |watched: Watched| {
        book.apply(&key("a"), watched.clone(), clock.moment(), Jitter::NONE);
        let since = book.get(&key("a")).unwrap().rules_since;
        watched.announced_since(since).is_some()
    };
    let mut watched = announced(bundle("u", 1), "v2");
    assert!(held(watched.clone()));
    watched.generation = 2;
    watched.subscription = of("ghcr.io/org/other", "u").subscription;
    assert!(!held(watched.clone()));
    watched.status.reported = Some(2);
    assert!(!held(watched.clone()));
    watched.status.vanished = true;
    assert!(held(watched));
}

#[test]
fn edits_in_a_loop_are_polled_at_once_and_then_now_and_then() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut polls = 0;
    let mut last = 0;
    for tick in 0..200_u32 {
        let now = clock.0 + Duration::from_millis(100) * tick;
        let moment = Moment {
            instant: now,
            ..clock.moment()
        };
        let edited = bundle("u", i64::from(tick) + 1);
        book.apply(&key("a"), edited, moment, Jitter::NONE);
        let started = run(&mut book, now, true);
        polls += started;
        if started > 0 {
            last = tick;
        }
    }
    // The first sight, the first edit, and then one in five seconds.
    assert_eq!((polls, last), (2 + 3, 151));
}

#[test]
fn a_bundle_created_again_starts_over() {
    let clock = Clock::new();
    let mut book = book(4);
    let mut apply = |watched| book.apply(&key("a"), watched, clock.moment(), Jitter::NONE);
    apply(failing(bundle("first", 1), 6));
    assert_eq!(apply(bundle("second", 1)), Change::Added);
    assert_eq!(book.get(&key("a")).unwrap().failures, 0);
    assert_eq!(run(&mut book, clock.0, true), 1);
}

proptest! {
    /// Whatever happens in whatever order, no poll is lost and none runs twice at once.
    #[test]
    fn every_active_bundle_keeps_being_polled(steps in proptest::collection::vec((0_u8..7, 0_usize..4, 0_usize..3), 1..80)) {
        let mut now = Clock::new().0;
        let mut book = book(1);
        let mut running: Vec<Subscription> = Vec::new();
        let mut generation = 1;
        let repositories = ["a.example.com/x", "a.example.com/y", "b.example.com/x"];
        for (step, name, repository) in steps {
            let key = key(&name.to_string());
            generation += 1;
            let moment = Moment { instant: now, wall: "2026-01-01T00:00:00Z".parse().unwrap(), telling: false };
            match step {
                0 | 1 => {
                    let mut watched = of(repositories[repository], "u");
                    watched.generation = generation;
                    watched.resting = step == 1 && repository == 0;
                    book.apply(&key, watched, moment, Jitter::NONE);
                }
                2 => { book.remove(&key); }
                3 => { book.ask(&key, now); }
                4 => now += MINUTE * 7,
                5 => if let Some(entry) = book.get(&key) {
                    let watched = asking(&generation.to_string(), entry.watched.clone());
                    book.apply(&key, watched, moment, Jitter::NONE);
                }
                _ => if let Some(subscription) = running.pop() {
                    for (key, entry) in book.members(&subscription) {
                        book.settle(&key, &entry.watched, name > 0, now, Jitter::NONE);
                    }
                    book.finished(&subscription, now);
                }
            }
            for (subscription, _) in book.start_due(now) {
                prop_assert!(!running.contains(&subscription));
                running.push(subscription);
            }
        }
        for subscription in running.drain(..) {
            book.finished(&subscription, now);
        }
        let later = now + Duration::from_hours(1);
        let mut polled = HashSet::new();
        loop {
            let started = book.start_due(later);
            if started.is_empty() { break; }
            for (subscription, _) in started {
                for (key, entry) in book.members(&subscription) {
                    book.settle(&key, &entry.watched, true, later, Jitter::NONE);
                }
                book.finished(&subscription, later);
                polled.insert(subscription);
            }
        }
        for entry in book.bundles.values() {
            if let Some(subscription) = entry.watched.active() {
                prop_assert!(polled.contains(subscription));
            }
        }
        for key in book.missing_from(&HashSet::new()) {
            prop_assert!(book.remove(&key));
        }
        prop_assert!(book.start_due(later + Duration::from_hours(2)).is_empty());
        prop_assert_eq!(book.wake(), None, "nothing is left of what is gone: {:?}", book);
        prop_assert!(book.members.is_empty() && book.hosts.is_empty() && book.asked.is_empty());
    }
}
