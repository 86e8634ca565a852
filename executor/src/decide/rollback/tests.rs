//! When a rollback is held, what is wanted meanwhile, and what ends it.

use proptest::prelude::*;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{HistoryEntry, Phase};

use super::*;
use crate::decide::admit::{self, Admission, Announcement};
use crate::decide::annotations::{self, News};
use crate::decide::fixtures::{That, at, bundle, digest};
use crate::decide::outcome::{Cause, Outcome};
use crate::decide::plan::{self, Situation, Step, Wanted};
use crate::decide::request::{self, Decision, Request};
use crate::decide::status::{NewRun, Standing};

/// `v1.0.0` was deployed, then `v2.0.0`.
fn upgraded() -> WerfBundle {
    let first = bundle().wanting("v1.0.0", '1').deploying("h1").deployed();
    first.wanting("v2.0.0", '2').deploying("h2").deployed()
}

fn rolled_back() -> WerfBundle {
    asking(upgraded(), "v1.0.0")
}

fn annotated(mut bundle: WerfBundle, value: Option<&str>) -> WerfBundle {
    bundle.metadata.annotations = None;
    match value {
        Some(value) => bundle.annotated(wish::ROLLBACK_TO, value),
        None => bundle,
    }
}

#[test]
fn a_tag_that_ends_the_hold_does_not_answer_an_annotation_that_was_edited_meanwhile() {
    let mistyped = announced(annotated(rolled_back(), Some("v0.55.0")), "v3.0.0", '3');
    assert_eq!(mistyped.state().rollback, None);
    let stored = mistyped.state();
    assert!(unknown(&mistyped, &stored).is_some(), "{stored:?}");

    let again = announced(annotated(rolled_back(), Some("v2.0.0")), "v3.0.0", '3');
    let held = taken_up(again).state().rollback.unwrap();
    assert_eq!(
        (held.tag.as_str(), held.from.as_str()),
        ("v2.0.0", "v3.0.0")
    );
}

/// The bundle after it was annotated and that was taken up.
fn asking(bundle: WerfBundle, value: &str) -> WerfBundle {
    taken_up(annotated(bundle, Some(value)))
}

fn taken_up(mut bundle: WerfBundle) -> WerfBundle {
    if let Some(taken_up) = annotations::take_up(&bundle, None, at(100)) {
        bundle.status = Some(*taken_up.status);
    }
    assert_eq!(annotations::take_up(&bundle, None, at(101)), None);
    bundle
}

fn announced(mut bundle: WerfBundle, tag: &str, digit: char) -> WerfBundle {
    let announcement = Announcement {
        uid: "uid-1".to_owned(),
        generation: bundle.metadata.generation.unwrap(),
        tag: tag.parse().unwrap(),
        digest: digest(digit).parse().unwrap(),
        etag: None,
        traceparent: None,
    };
    match admit::admit(Some(&bundle), &announcement, at(200)) {
        Admission::Accept(status) | Admission::Refresh(status) | Admission::HeldBack(status) => {
            bundle.status = Some(*status);
        }
        Admission::AlreadyKnown | Admission::NotNewer => {}
        other => panic!("{other:?}"),
    }
    bundle
}

fn wanted(bundle: &WerfBundle) -> (String, Option<String>) {
    match plan::wanted(bundle) {
        Wanted::Tag { tag, digest, .. } => (tag, digest),
        other => panic!("{other:?}"),
    }
}

fn next(bundle: &WerfBundle, hash: &str) -> Step {
    let Wanted::Tag {
        requested, force, ..
    } = plan::wanted(bundle)
    else {
        panic!("{:?}", plan::wanted(bundle));
    };
    plan::step(&bundle.state(), requested, force, hash, 3, at(300))
}

fn ready(status: &WerfBundleStatus) -> (&str, &str, &str) {
    let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
    (&ready.status, &ready.reason, &ready.message)
}

fn start(cause: &'static str) -> Step {
    Step::Start { cause }
}

#[test]
fn the_tag_of_the_history_is_wanted_by_its_digest() {
    let bundle = rolled_back();
    assert_eq!(wanted(&bundle), ("v1.0.0".to_owned(), Some(digest('1'))));
    assert_eq!(next(&bundle, "h1"), start("Rollback"));
    let held = bundle.state().rollback.unwrap();
    assert_eq!(
        (held.from.as_str(), held.tag.as_str()),
        ("v2.0.0", "v1.0.0")
    );
    assert_eq!(
        bundle.state().last_handled_rollback.as_deref(),
        Some("v1.0.0")
    );
}

#[test]
fn beginning_and_ending_is_news() {
    let news = |bundle: &WerfBundle| annotations::take_up(bundle, None, at(100)).unwrap().news;
    let begun = news(&annotated(upgraded(), Some("v1.0.0")));
    let (from, to) = ("v2.0.0".to_owned(), "v1.0.0".to_owned());
    assert_eq!(begun, [News::RollbackStarted { from, to }]);
    let ended = news(&annotated(rolled_back(), None));
    let words = "The rollback from v2.0.0 to v1.0.0 has ended: v2.0.0 is wanted";
    assert_eq!(ended, [News::RollbackEnded(words.to_owned())]);
    let newer = announced(rolled_back(), "v3.0.0", '3').state();
    let words = "The rollback from v2.0.0 to v1.0.0 has ended: v3.0.0 is wanted";
    assert_eq!(
        super::ended(&rolled_back().state(), &newer).as_deref(),
        Some(words)
    );
}

#[rstest::rstest]
#[case::the_same("v2.0.0", '2', false)]
#[case::the_same_with_another_digest("v2.0.0", '9', false)]
#[case::lower("v1.9.0", '9', false)]
#[case::the_held_one("v1.0.0", '9', false)]
#[case::no_version("latest", '9', false)]
#[case::a_prerelease_of_it("v2.0.0-rc.9", '9', false)]
#[case::newer("v2.0.1", '3', true)]
#[case::a_prerelease_of_a_newer("v2.1.0-rc.1", '3', true)]
#[case::ten_after_two("v10.0.0", '3', true)]
fn only_a_newer_tag_than_the_one_rolled_back_from_ends_it(
    #[case] tag: &str,
    #[case] digit: char,
    #[case] ends: bool,
) {
    let bundle = announced(rolled_back().deploying("h1").deployed(), tag, digit);
    assert_eq!(bundle.state().rollback.is_none(), ends);
    let expected = if ends { (tag, digit) } else { ("v1.0.0", '1') };
    assert_eq!(
        wanted(&bundle),
        (expected.0.to_owned(), Some(digest(expected.1)))
    );
    // The annotation is still there and does nothing again.
    let later = taken_up(bundle);
    assert_eq!(later.state().rollback.is_none(), ends);
    assert_eq!(wanted(&later).0, expected.0);
}

#[test]
fn what_was_announced_meanwhile_is_deployed_when_the_annotation_is_removed() {
    let moved = announced(rolled_back().deploying("h1").deployed(), "v2.0.0", '9');
    assert_eq!(wanted(&moved).0, "v1.0.0");
    let resumed = taken_up(annotated(moved, None));
    assert_eq!(wanted(&resumed), ("v2.0.0".to_owned(), Some(digest('9'))));
    assert_eq!(next(&resumed, "h9"), start("NewTag"));
    assert_eq!(resumed.state().last_handled_rollback, None);
    // The same value means the same again.
    assert_eq!(wanted(&asking(resumed, "v1.0.0")).0, "v1.0.0");
}

#[test]
fn after_it_ended_the_same_value_works_again_once_it_was_removed() {
    let ended = announced(rolled_back().deploying("h1").deployed(), "v3.0.0", '3');
    let ended = taken_up(ended.deploying("h3").deployed());
    assert_eq!(wanted(&ended).0, "v3.0.0");
    let removed = taken_up(annotated(ended, None));
    assert_eq!(wanted(&removed).0, "v3.0.0");
    let again = asking(removed, "v1.0.0");
    assert_eq!(wanted(&again).0, "v1.0.0");
    assert_eq!(again.state().rollback.unwrap().from, "v3.0.0");
}

#[test]
fn going_from_one_rollback_to_another_keeps_what_it_was_rolled_back_from() {
    let third = upgraded().wanting("v3.0.0", '3').deploying("h3").deployed();
    let second = asking(asking(third, "v2.0.0"), "v1.0.0");
    let held = second.state().rollback.unwrap();
    assert_eq!(
        (held.from.as_str(), held.tag.as_str()),
        ("v3.0.0", "v1.0.0")
    );
    assert_eq!(
        wanted(&announced(second, "v2.5.0", '9')).0,
        "v1.0.0",
        "lower than what it was rolled back from"
    );
}

#[test]
fn a_tag_that_failed_while_an_older_one_is_deployed_is_what_it_is_rolled_back_from() {
    let failing = upgraded()
        .wanting("v2.1.0", '3')
        .deploying("h3")
        .failed(Cause::ExitCode(1), at(50));
    let back = asking(failing, "v2.0.0");
    assert_eq!(back.state().rollback.unwrap().from, "v2.1.0");
    assert_eq!(next(&back, "h2"), start("Rollback"));
    assert_eq!(wanted(&announced(back, "v2.1.0", '3')).0, "v2.0.0");
}

#[test]
fn what_is_deployed_already_is_held_without_another_deployment() {
    let held = asking(upgraded(), "v2.0.0");
    assert_eq!(next(&held, "h2"), Step::UpToDate);
    let settled = status::settle(&held, &Standing::UpToDate, at(101));
    assert_eq!(settled.requested, None);
    let (holds, reason, message) = ready(&settled);
    assert_eq!((holds, reason), ("True", "RolledBack"));
    assert!(message.starts_with("Held at v2.0.0, until"), "{message}");
}

#[test]
fn ready_says_that_it_is_rolled_back_and_how_that_ends() {
    let deploying = rolled_back().deploying("h1").confirmed();
    let confirmed = status::confirm(
        &deploying,
        &k8s_openapi::api::batch::v1::Job::default(),
        at(110),
    );
    assert_eq!(
        ready(&confirmed).2,
        "Deploying v1.0.0 (rollback from v2.0.0)"
    );
    let deployed = deploying.deployed();
    let status = deployed.state();
    assert_eq!(status.phase, Some(Phase::Synced));
    assert_eq!(
        ready(&status),
        (
            "True",
            "RolledBack",
            "Rolled back from v2.0.0 to v1.0.0, until a tag newer than v2.0.0 is announced or the annotation operator.werf.io/rollback-to is removed"
        )
    );
}

#[test]
fn a_changed_value_redeploys_the_held_tag() {
    let held = rolled_back().deploying("h1").deployed();
    assert_eq!(next(&held, "h1"), Step::UpToDate);
    assert_eq!(next(&held, "h1-other-values"), start("InputsChanged"));
    assert_eq!(wanted(&held).0, "v1.0.0");
}

#[test]
fn a_rollback_that_fails_is_retried_and_stalls_as_any_run() {
    let mut failing = rolled_back().deploying("h1");
    for (attempt, then) in [(1, Step::RetryAt(at(320))), (4, Step::GiveUp)] {
        failing = failing
            .with(|status| status.attempt = attempt)
            .failed(Cause::ExitCode(1), at(290));
        assert_eq!(next(&failing, "h1"), then);
    }
    let status = failing.state();
    assert_eq!(ready(&status).1, "RetriesExhausted");
    assert!(ready(&status).2.contains("rollback from v2.0.0"));
    assert!(status.rollback.is_some());
}

#[test]
fn a_tag_that_stalled_starts_over_when_it_is_rolled_back_to() {
    let stalled = bundle()
        .wanting("v1.0.0", '1')
        .deploying("h1")
        .deployed()
        .deploying("h1-other-values")
        .with(|status| status.attempt = 4)
        .failed(Cause::ExitCode(1), at(50));
    assert_eq!(next(&stalled, "h1-other-values"), Step::GiveUp);
    let asked = asking(stalled, "v1.0.0");
    assert_eq!(next(&asked, "h1-other-values"), start("Rollback"));
}

#[test]
fn a_run_that_goes_on_is_left_to_end_and_a_claim_alone_is_given_up() {
    let third = upgraded().wanting("v3.0.0", '3').deploying("h3");
    let claimed = asking(third.clone(), "v1.0.0");
    assert!(!plan::claim_stands(&claimed));
    let mut running = asking(third, "v1.0.0");
    running.status = Some(status::confirm(
        &running,
        &k8s_openapi::api::batch::v1::Job::default(),
        at(110),
    ));
    assert!(matches!(plan::situation(&running), Situation::Deploying(_)));
    let ended = status::record(
        &running,
        &Outcome::Succeeded,
        status::Logs::default(),
        None,
        at(120),
    );
    assert_ne!(ended.phase, Some(Phase::Synced), "the rollback waits");
    let mut after = running;
    after.status = Some(ended);
    assert_eq!(next(&after, "h1"), start("Rollback"));
}

#[test]
fn a_suspended_bundle_is_rolled_back_when_it_is_resumed() {
    let mut suspended = upgraded();
    suspended.spec.suspend = true;
    let mut suspended = asking(suspended, "v1.0.0");
    assert_eq!(
        plan::wanted(&suspended),
        Wanted::Nothing(plan::WhyNothing::Suspended)
    );
    suspended.spec.suspend = false;
    assert_eq!(next(&suspended, "h1"), start("Rollback"));
}

#[rstest::rstest]
#[case::never_deployed(
    "v9.0.0",
    "v9.0.0 is not in the history as deployed successfully; these can be rolled back to: v2.0.0, v1.0.0"
)]
#[case::failed("v3.0.0", "v3.0.0 is not in the history")]
#[case::no_tag("$(id)", "its value is no tag")]
#[case::huge(&"x".repeat(256 * 1024), "its value is no tag")]
fn with_a_tag_that_cannot_be_rolled_back_to_nothing_starts(
    #[case] value: &str,
    #[case] says: &str,
) {
    let failing = upgraded()
        .wanting("v3.0.0", '3')
        .deploying("h3")
        .failed(Cause::ExitCode(1), at(50));
    let asked = asking(failing, value);
    let Wanted::UnknownRollback(message) = plan::wanted(&asked) else {
        panic!("{:?}", plan::wanted(&asked));
    };
    assert!(message.contains(says), "{message}");
    assert!(message.len() < 400, "{message}");
    let standing = Standing::CannotPrepare {
        reason: status::ROLLBACK_UNKNOWN,
        message,
    };
    let status = status::settle(&asked, &standing, at(110));
    assert_eq!(ready(&status).0, "False");
    assert_eq!(ready(&status).1, "RollbackTagUnknown");
    assert!(condition::find(&status.conditions, ConditionType::Stalled).is_some());
    // Nor does a newer tag start, before the annotation is corrected or removed.
    let newer = announced(asked.clone(), "v4.0.0", '4');
    assert!(matches!(plan::wanted(&newer), Wanted::UnknownRollback(_)));
    assert!(!plan::claim_stands(&newer.deploying("h4")));
    let removed = taken_up(annotated(asked, None));
    assert_eq!(wanted(&removed).0, "v3.0.0");
}

#[test]
fn a_tag_that_is_deployed_for_the_first_time_just_now_is_known_at_its_end() {
    let running = bundle().wanting("v1.0.0", '1').deploying("h1").confirmed();
    let asked = asking(running, "v1.0.0").deployed();
    assert_ne!(asked.state().phase, Some(Phase::Synced));
    let held = taken_up(asked);
    assert_eq!(held.state().rollback.unwrap().tag, "v1.0.0");
}

#[test]
fn failures_do_not_drive_a_held_tag_out_of_the_history() {
    let mut held = rolled_back().deploying("h1").deployed();
    for n in 0..12 {
        held = held
            .deploying(&format!("h1-{n}"))
            .failed(Cause::OomKilled, at(n));
    }
    let known = |entry: &HistoryEntry| is_deployment_of(entry, "v1.0.0");
    assert!(held.state().history.iter().any(known));
    assert_eq!(
        wanted(&taken_up(held)),
        ("v1.0.0".to_owned(), Some(digest('1')))
    );
}

#[test]
fn a_person_who_names_a_tag_ends_it_and_one_who_does_not_deploys_what_is_held() {
    let request = |tag: Option<&str>| Request {
        tag: tag.map(|tag| tag.parse().unwrap()),
        force: false,
        traceparent: None,
    };
    let stored = |bundle: &WerfBundle, tag| match request::decide(bundle, &request(tag), at(150)) {
        Decision::Store(status) => *status,
        other => panic!("{other:?}"),
    };
    let held = rolled_back().deploying("h1").deployed();
    let status = stored(&held, None);
    assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
    assert!(status.rollback.is_some());
    let mut named = held.clone();
    named.status = Some(stored(&held, Some("v2.0.0")));
    assert_eq!(named.state().rollback, None);
    assert_eq!(
        wanted(&taken_up(named)),
        ("v2.0.0".to_owned(), Some(digest('2')))
    );
    // Also the one that is running, and also when the annotation names a tag that is unknown.
    let running = upgraded()
        .wanting("v3.0.0", '3')
        .deploying("h3")
        .confirmed();
    for value in ["v1.0.0", "v9.0.0"] {
        let mut asked = asking(running.clone(), value);
        asked.status = Some(stored(&asked, Some("v3.0.0")));
        assert_eq!(wanted(&taken_up(asked)).0, "v3.0.0", "{value}");
    }
}

#[test]
fn other_rules_do_not_end_it_but_are_waited_for() {
    let mut held = rolled_back().deploying("h1").deployed();
    held.metadata.generation = Some(2);
    held.spec.registry.version_constraint = Some("<2".to_owned());
    assert_eq!(
        plan::wanted(&held),
        Wanted::Nothing(plan::WhyNothing::NotPolled)
    );
    assert_eq!(wanted(&held.clone().polled()).0, "v1.0.0", "nothing chosen");
    let lower = announced(held, "v1.9.0", '9');
    assert_eq!(wanted(&lower).0, "v1.0.0");
    let resumed = taken_up(annotated(lower, None));
    assert_eq!(wanted(&resumed).0, "v1.9.0");
}

#[derive(Clone, Debug)]
enum Event {
    Announced(u8),
    Annotated(u8),
    Removed,
    Pass,
    Ended(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (1..7_u8).prop_map(Event::Announced),
        1 => (1..7_u8).prop_map(Event::Annotated),
        1 => Just(Event::Removed),
        3 => Just(Event::Pass),
        3 => proptest::bool::weighted(0.7).prop_map(Event::Ended),
    ];
    proptest::collection::vec(event, 1..80)
}

fn tag_of(n: u8) -> String {
    format!("v{n}.0.0")
}

/// One pass over a bundle, as far as it goes without its Job. Returns what was started.
fn pass(bundle: &mut WerfBundle, now: jiff::Timestamp) -> Option<(String, &'static str)> {
    if let Some(taken_up) = annotations::take_up(bundle, None, now) {
        bundle.status = Some(*taken_up.status);
        assert_eq!(
            annotations::take_up(bundle, None, now),
            None,
            "taken up twice"
        );
    }
    if plan::situation(bundle) != Situation::Idle {
        return None;
    }
    let (tag, digest, requested) = match plan::wanted(bundle) {
        Wanted::Tag {
            tag,
            digest,
            requested,
            ..
        } => (tag, digest, requested),
        Wanted::UnknownRollback(message) => {
            let reason = status::ROLLBACK_UNKNOWN;
            let standing = Standing::CannotPrepare { reason, message };
            bundle.status = Some(status::settle(bundle, &standing, now));
            return None;
        }
        Wanted::Nothing(_) => return None,
    };
    let hash = format!("{tag}@{digest:?}");
    let step = plan::step(&bundle.state(), requested, false, &hash, 3, now);
    let name = |run, attempt| format!("job-{run}-{attempt}");
    let (claimed, cause) = match step {
        Step::Start { cause } => {
            let run = NewRun {
                tag: tag.clone(),
                digest,
                inputs_hash: hash,
                cause,
                traceparent: None,
                target_namespace: "apps".to_owned(),
            };
            (status::claim(bundle, run, name, now), cause)
        }
        Step::Retry => (status::claim_retry(bundle, name, now), "Retry"),
        Step::UpToDate => {
            bundle.status = Some(status::settle(bundle, &Standing::UpToDate, now));
            return None;
        }
        Step::RetryAt(_) | Step::GiveUp => return None,
    };
    bundle.status = Some(claimed);
    bundle.status = Some(status::confirm(
        bundle,
        &k8s_openapi::api::batch::v1::Job::default(),
        now,
    ));
    Some((tag, cause))
}

proptest! {
    /// Whatever is announced, annotated and deployed in whatever order: while a rollback is held its
    /// tag is wanted and nothing else is started, it is held until it may end, and what is announced
    /// meanwhile is not lost.
    #[test]
    fn the_wanted_tag_obeys_the_hold(events in events()) {
        let mut bundle = announced(bundle(), "v1.0.0", '1');
        let mut highest = 1;
        let mut before: Option<Rollback> = None;
        for (second, event) in (0_i64..).zip(events) {
            let now = at(second * 1000);
            let value = asked::rollback_to(&bundle).map(ToOwned::to_owned);
            match event {
                Event::Announced(n) => {
                    highest = highest.max(n);
                    let handled = bundle.state().last_handled_rollback;
                    bundle = announced(bundle, &tag_of(n), char::from(b'0' + n));
                    prop_assert_eq!(bundle.state().last_handled_rollback, handled);
                }
                Event::Annotated(n) => bundle = annotated(bundle, Some(&tag_of(n))),
                Event::Removed => bundle = annotated(bundle, None),
                Event::Ended(_) if plan::situation(&bundle) == Situation::Idle => {}
                Event::Ended(true) => bundle = bundle.deployed(),
                Event::Ended(false) => bundle = bundle.failed(Cause::ExitCode(1), now),
                Event::Pass => {
                    let handled = bundle.state().last_handled_rollback;
                    let blocked = unknown(&bundle, &bundle.state()).is_some();
                    let started = pass(&mut bundle, now);
                    let state = bundle.state();
                    prop_assert!(!(blocked && started.is_some()), "{started:?}");
                    if let (Some((tag, cause)), Some(held)) = (&started, &state.rollback) {
                        prop_assert_eq!(tag, &held.tag);
                        prop_assert_ne!(*cause, "NewTag");
                    }
                    match &value {
                        None => {
                            prop_assert_eq!(&state.rollback, &None);
                            prop_assert_eq!(state.desired_tag, Some(tag_of(highest)));
                        }
                        Some(value) if !blocked => {
                            let held = state.rollback.as_ref().map(|held| &held.tag);
                            let ended = held.is_none() && handled.as_ref() == Some(value);
                            prop_assert!(ended || held == Some(value), "{held:?} for {value}");
                        }
                        Some(_) => {}
                    }
                }
            }
            let state = bundle.state();
            prop_assert_eq!(&state.announced.as_ref().unwrap().tag, &tag_of(highest));
            if let Some(held) = &state.rollback {
                prop_assert_eq!(state.desired_tag.as_ref(), Some(&held.tag));
                prop_assert_eq!(&state.desired_digest, &held.digest);
                let newest: Tag = tag_of(highest).parse().unwrap();
                prop_assert!(newest <= held.from.parse().unwrap(), "{held:?} and {newest}");
            }
            if let (Some(ended), None) = (&before, &state.rollback) {
                let newer = tag_of(highest).parse::<Tag>().unwrap() > ended.from.parse().unwrap();
                prop_assert!(newer || value.is_none(), "{ended:?} ended by {state:?}");
                prop_assert_eq!(state.desired_tag, Some(tag_of(highest)));
            }
            before = bundle.state().rollback;
        }
    }
}
