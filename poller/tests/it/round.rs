//! What a single poll costs: how long it may take, and for how long an answer of "not modified" is
//! believed.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use tokio::time::{Instant, advance, pause, resume};
use werf_poller::decide::book::{Book, Moment};
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::newest::{Nothing, Rule};
use werf_poller::decide::tell::Outcome;
use werf_poller::decide::watched::{Known, Subscription, Watched};
use werf_poller::io::registry::{Limits, Registry};
use werf_poller::metrics::{Answer, PollEnd};
use werf_poller::poll::round::{Member, Round, poll};
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;
use werf_shared::poll_failure::{Class, Reason};

use crate::scripted::{
    Asked, LIST, Scripted, bundle, conditional, digest_of, manifest, page, reach, status, with,
};

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
pub(crate) fn members(subscription: &Subscription, constraints: &[&str]) -> Vec<Member> {
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
            asked: None,
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
    let scan = Duration::from_secs(2);
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
async fn who_has_many_bundles_leaves_the_others_time() {
    let registry = Scripted::start(|asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0", "v2.0.0", "v3.0.0"], &[]),
        target if target.ends_with("v2.0.0") => crate::scripted::hanging(),
        _ => manifest(asked, &bundle()),
    })
    .await;
    let subscription = subscription(&registry);
    let mut members = members(&subscription, &["^1", "^2", "^3"]);
    members[2].key = BundleKey::new("zebra", "^3");
    let scan = Duration::from_secs(2);
    let round = poll(&client(scan), &subscription, members, None).await;
    assert!(
        matches!(round.end(), PollEnd::Failure(_)),
        "{:?}",
        round.end()
    );
    let turns: Vec<_> = round
        .members
        .iter()
        .map(|ended| ended.member.key.name.as_str())
        .collect();
    assert_eq!(turns, ["^1", "^3", "^2"]);
    assert!(matches!(round.members[1].outcome, Outcome::Chosen(..)));
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

/// Polls as often as there are scripts, remembering what a poll leaves behind.
async fn polls(registry: &Scripted, constraints: &[&[&str]]) -> Vec<Round> {
    let subscription = subscription(registry);
    let client = client(Duration::from_mins(1));
    let mut cache = None;
    let mut rounds = Vec::new();
    for constraints in constraints {
        let members = members(&subscription, constraints);
        let mut round = poll(&client, &subscription, members, cache).await;
        cache = round.cache.take();
        rounds.push(round);
    }
    rounds
}

fn failure(round: &Round) -> &PollFailure {
    match &round.members[0].outcome {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn after_a_tag_that_was_listed_but_is_gone_the_list_is_read_again() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0"]),
        _ => status(404),
    })
    .await;
    let rounds = polls(&registry, &[&["^1"], &["^1"]]).await;
    assert_eq!(
        failure(&rounds[0]).what,
        "404 not found (manifest of v1.0.0)"
    );
    assert_eq!(rounds[1].listed.as_ref().unwrap().answer, Answer::Unchanged);
}

#[tokio::test]
async fn a_rule_that_was_not_asked_before_is_asked_about_the_whole_list() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => conditional(asked, "\"e\"", &["v1.0.0", "v2.0.0"]),
        _ => manifest(asked, &bundle()),
    })
    .await;
    let rounds = polls(&registry, &[&["^1"], &["^1", "^2"], &["^2"], &["^2", "^1"]]).await;
    let answer = |round: &Round| round.listed.as_ref().unwrap().answer;
    let answers: Vec<Answer> = rounds.iter().map(answer).collect();
    let unchanged = [Answer::List, Answer::Unchanged, Answer::NotModified];
    assert_eq!(answers[..3], unchanged);
    // The rule nobody had any more was forgotten.
    assert_eq!(answers[3], Answer::Unchanged);
    for round in rounds {
        for ended in round.members {
            let Outcome::Chosen(tag, _) = ended.outcome else {
                panic!("{:?}", ended.outcome);
            };
            assert_eq!(tag.as_str()[1..2], ended.member.key.name[1..2]);
        }
    }
}

#[tokio::test]
async fn a_digest_that_is_not_that_of_the_manifest_fails_the_poll() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0"], &[]),
        _ if asked.method == Method::HEAD => {
            let other = digest_of(&serde_json::json!({}));
            with(200, &[("docker-content-digest", &other)], "")
        }
        _ => manifest(asked, &bundle()),
    })
    .await;
    let rounds = polls(&registry, &[&["^1"]]).await;
    let failure = failure(&rounds[0]);
    assert_eq!(failure.reason, Reason::ManifestInvalid);
    assert_eq!(
        failure.what,
        "the manifest does not match its digest (manifest of v1.0.0)"
    );
}

#[rstest::rstest]
#[case::nonsense("nonsense")]
#[case::another_hash("sha512:00")]
#[tokio::test]
async fn a_digest_header_that_is_none_is_not_needed(#[case] header: &'static str) {
    let registry = Scripted::start(move |asked: &Asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0"], &[]),
        _ => with(
            200,
            &[("docker-content-digest", header)],
            bundle().to_string(),
        ),
    })
    .await;
    let rounds = polls(&registry, &[&["^1"]]).await;
    let chosen = Outcome::Chosen(
        "v1.0.0".parse().unwrap(),
        digest_of(&bundle()).parse().unwrap(),
    );
    assert_eq!(rounds[0].members[0].outcome, chosen);
}

#[tokio::test]
async fn a_header_that_denies_the_bundle_is_believed_and_the_next_best_is_not_taken() {
    let registry = Scripted::start(|asked: &Asked| {
        if asked.target == LIST {
            return page(&["v1.0.0", "v1.1.0"], &[]);
        }
        let mut answer = manifest(asked, &bundle());
        let index = "application/vnd.oci.image.index.v1+json".parse().unwrap();
        answer.headers_mut().insert("content-type", index);
        answer
    })
    .await;
    let rounds = polls(&registry, &[&["^1"]]).await;
    let Outcome::Nothing(Nothing::NotABundle, why) = &rounds[0].members[0].outcome else {
        panic!("{:?}", rounds[0].members[0].outcome);
    };
    assert!(why.starts_with("v1.1.0 is"), "{why}");
    assert!(
        why.ends_with("but it is an image index and not a bundle"),
        "{why}"
    );
    let asked = registry.asked();
    assert!(asked.iter().all(|asked| !asked.target.contains("v1.0.0")));
}

#[tokio::test]
async fn a_warning_is_news_once() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0"], &[("warning", "299 - \"moving\"")]),
        _ => manifest(asked, &bundle()),
    })
    .await;
    let rounds = polls(&registry, &[&["^1"], &["^1"]]).await;
    let news = |round: &Round| round.listed.as_ref().unwrap().warns_anew;
    assert_eq!(rounds.iter().map(news).collect::<Vec<_>>(), [true, false]);
    let listed = rounds[1].listed.as_ref().unwrap();
    assert_eq!(listed.warning.as_deref(), Some("moving"));
    assert_eq!((listed.page_size, listed.conditional), (Some(1000), false));
}
