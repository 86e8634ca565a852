//! What a single poll costs: how long it may take, and for how long an answer of "not modified" is
//! believed.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use tokio::time::{Instant, advance, pause, resume};
use werf_poller::decide::book::{Book, Moment};
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::newest::Rule;
use werf_poller::decide::tell::Outcome;
use werf_poller::decide::watched::{Known, Subscription, Watched};
use werf_poller::io::registry::{Limits, Registry};
use werf_poller::metrics::Answer;
use werf_poller::poll::round::{Member, Round, poll};
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;
use werf_shared::poll_failure::Class;

use crate::scripted::{Asked, LIST, Scripted, bundle, conditional, manifest, reach};

fn client(scan: Duration) -> Registry {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let limits = Limits {
        scan,
        ..Limits::default()
    };
    Registry::new(limits, reach()).unwrap()
}

fn subscription(registry: &Scripted) -> Subscription {
    Subscription::anonymous(registry.repository().parse().unwrap(), false)
}

/// Bundles of one repository, one for each constraint.
fn members(subscription: &Subscription, constraints: &[&str]) -> Vec<Member> {
    let mut book = Book::new(1, Duration::ZERO);
    let moment = Moment {
        instant: Instant::now(),
        wall: Timestamp::UNIX_EPOCH,
        telling: false,
    };
    for constraint in constraints {
        let watched = Watched {
            uid: (*constraint).to_owned(),
            generation: 1,
            resting: false,
            subscription: Ok(subscription.clone()),
            interval: Duration::from_mins(15),
            rule: Rule::Matching(constraint.parse().unwrap()),
            status: Known::default(),
        };
        let key = BundleKey::new("team", *constraint);
        book.apply(&key, watched, moment, Jitter::NONE);
    }
    let members = book.members(subscription).into_iter();
    members.map(|(key, entry)| Member { key, entry }).collect()
}

#[tokio::test]
async fn a_registry_that_hangs_holds_a_poll_up_once_and_not_for_every_tag() {
    let registry = Scripted::start(|asked| match asked.target.as_str() {
        LIST => crate::scripted::page(&["v1.0.0", "v2.0.0", "v3.0.0", "v4.0.0"], &[]),
        _ if asked.method == Method::HEAD => manifest(asked, &bundle()),
        _ => crate::scripted::hanging(),
    })
    .await;
    let subscription = subscription(&registry);
    let scan = Duration::from_millis(400);
    let members = members(&subscription, &["^1", "^2", "^3", "^4"]);
    let started = Instant::now();
    let round = poll(&client(scan), &subscription, members, None).await;
    assert!(started.elapsed() < 3 * scan, "{:?}", started.elapsed());
    for ended in round.members {
        let Outcome::Failed(PollFailure { reason, what, .. }) = ended.outcome else {
            panic!("{:?}", ended.outcome);
        };
        assert_eq!(reason.class(), Class::Timeout);
        assert!(what.starts_with("context deadline exceeded (manifest of v"));
    }
}

#[tokio::test]
async fn not_modified_is_believed_twelve_times_and_for_an_hour() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0"]),
        _ => manifest(asked, &bundle()),
    })
    .await;
    let subscription = subscription(&registry);
    let client = client(Duration::from_mins(1));
    let mut members = members(&subscription, &["^1"]);
    let mut cache = None;
    let mut answers = Vec::new();
    for number in 0..17 {
        if number == 16 {
            pause();
            advance(Duration::from_mins(61)).await;
            resume();
        }
        let round: Round = poll(&client, &subscription, members, cache).await;
        answers.push(round.listed.unwrap().answer);
        cache = round.cache;
        members = round
            .members
            .into_iter()
            .map(|ended| ended.member)
            .collect();
    }
    let mut expected = vec![Answer::NotModified; 17];
    expected[0] = Answer::List;
    (expected[13], expected[16]) = (Answer::Unchanged, Answer::Unchanged);
    assert_eq!(answers, expected);
}
