//! When is the next poll of a bundle? Takes the time and the jitter; the count of failures that it
//! works with survives restarts because it is read back from the status.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use werf_shared::backoff::{Backoff, Jitter};
use werf_shared::bundle::status::FAILURE_LIMIT;

use super::watched::Watched;

/// From this many failures in a row on, polling is slow.
pub const SLOW_FROM: u32 = FAILURE_LIMIT.unsigned_abs();

/// Even a slow poll is not faster than this.
const SLOWEST_BACKOFF: Duration = Duration::from_mins(8);

/// A person looks again after some seconds; a script that asks in a loop must not hammer a registry.
/// A call takes 9 s at most: enough to wait for this, and for a poll.
pub const ASKED_EVERY: Duration = Duration::from_secs(5);

/// After a start everything known is polled within this time: long enough to spread the load, short
/// against the life of a process. With a longer one, a poller that is replaced every day would never
/// get round to a bundle that is polled once a day.
const START: Duration = Duration::from_mins(5);

/// The first poll of a bundle that was just seen: after the rest of its backoff when it is failing,
/// at once when nothing was chosen for it under its present spec or somebody asks, otherwise soon, at a place that
/// depends on its uid only, so that a restart does not poll everything at once.
pub fn first(watched: &Watched, now: Instant, wall: Timestamp, jitter: Jitter) -> Instant {
    let status = &watched.status;
    if watched.asks() {
        return now;
    }
    let chosen = status.announced.as_ref().map(|chosen| chosen.generation);
    if status.failures > 0 && !watched.edited_unseen() {
        let delay = delay_after(status.failures, watched.interval, jitter);
        let waited = status
            .last_error
            .and_then(|time| Duration::try_from(wall.duration_since(time)).ok())
            .unwrap_or_default();
        now + delay.saturating_sub(waited)
    } else if chosen < Some(watched.generation) {
        now
    } else {
        now + watched.interval.min(START).mul_f64(place(&watched.uid))
    }
}

/// The poll after a successful one.
pub fn after_success(watched: &Watched, now: Instant, jitter: Jitter) -> Instant {
    now + jitter.spread(watched.interval, Backoff::SPREAD)
}

/// The poll after so many failed ones.
pub fn after_failure(watched: &Watched, failures: u32, now: Instant, jitter: Jitter) -> Instant {
    now + delay_after(failures, watched.interval, jitter)
}

fn delay_after(failures: u32, interval: Duration, jitter: Jitter) -> Duration {
    if failures >= SLOW_FROM {
        jitter.spread(interval.max(SLOWEST_BACKOFF), Backoff::SPREAD)
    } else {
        Backoff::default().delay(failures, jitter)
    }
}

/// A place in `0.0..1.0` for a uid.
fn place(uid: &str) -> f64 {
    let hash = Sha256::digest(uid.as_bytes());
    f64::from(u16::from_be_bytes([hash[0], hash[1]])) / 65536.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::book::tests::{announced, bundle};

    const MINUTE: Duration = Duration::from_mins(1);

    fn wait(watched: &Watched, seconds_ago: i64) -> Duration {
        let now = crate::testing::instant();
        let wall: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut watched = watched.clone();
        watched.status.last_error = Some(wall - jiff::SignedDuration::from_secs(seconds_ago));
        first(&watched, now, wall, Jitter::NONE) - now
    }

    #[test]
    fn a_new_bundle_is_polled_at_once() {
        assert_eq!(wait(&bundle("u", 1), 0), Duration::ZERO);
    }

    #[rstest::rstest]
    #[case(Duration::from_mins(1), 60)]
    #[case(Duration::from_mins(15), 300)]
    #[case(Duration::from_hours(24), 300)]
    fn known_bundles_are_spread_over_the_minutes_after_a_start(
        #[case] interval: Duration,
        #[case] seconds: u32,
    ) {
        let known = |n: usize| {
            let watched = announced(bundle(&format!("uid-{n}"), 1), "v1");
            wait(
                &Watched {
                    interval,
                    ..watched
                },
                0,
            )
        };
        let waits: Vec<Duration> = (0..100).map(known).collect();
        let third = Duration::from_secs(1) * seconds / 3;
        assert!(waits.iter().all(|wait| *wait < 3 * third));
        assert!(waits.iter().filter(|wait| **wait < third).count() > 20);
        assert!(waits.iter().filter(|wait| **wait > 2 * third).count() > 20);
        assert_eq!(waits[0], known(0));
    }

    #[test]
    fn what_was_edited_while_nobody_watched_is_polled_at_once() {
        let mut edited = announced(bundle("u", 1), "v1");
        edited.generation = 2;
        assert_eq!(wait(&edited, 0), Duration::ZERO);
        edited.status.failures = 6;
        edited.status.reported = Some(2);
        assert_eq!(wait(&edited, 0), 15 * MINUTE, "it failed under this spec");
        edited.status.reported = Some(1);
        assert_eq!(wait(&edited, 0), Duration::ZERO);
    }

    #[rstest::rstest]
    #[case::the_rest_is_waited(3, 30, 90)]
    #[case::it_is_over(3, 1000, 0)]
    #[case::the_clock_went_back(3, -1000, 120)]
    #[case::slow(6, 0, 900)]
    fn a_restart_does_not_shorten_the_backoff(
        #[case] failures: u32,
        #[case] seconds_ago: i64,
        #[case] waits: u64,
    ) {
        let mut failing = bundle("u", 1);
        failing.status.failures = failures;
        assert_eq!(wait(&failing, seconds_ago), Duration::from_secs(waits));
    }

    #[rstest::rstest]
    #[case(1, 30)]
    #[case(2, 60)]
    #[case(3, 120)]
    #[case(4, 240)]
    #[case(5, 480)]
    #[case(6, 900)]
    #[case(600, 900)]
    fn failures_slow_down(#[case] failures: u32, #[case] seconds: u64) {
        let delay = delay_after(failures, 15 * MINUTE, Jitter::NONE);
        assert_eq!(delay, Duration::from_secs(seconds));
        let short = delay_after(failures, MINUTE, Jitter::NONE);
        assert_eq!(short, Duration::from_secs(seconds.min(480)));
    }

    #[test]
    fn polls_drift_apart_by_a_tenth() {
        let now = crate::testing::instant();
        let watched = bundle("u", 1);
        let early = after_success(&watched, now, Jitter::from_unit(0.0)) - now;
        let late = after_success(&watched, now, Jitter::from_unit(1.0)) - now;
        assert_eq!((early.as_secs(), late.as_secs()), (810, 990));
    }
}
