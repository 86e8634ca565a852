//! What a pass does next.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use werf_shared::bundle::status::Requested;

use super::*;
use crate::decide::fixtures::{That, at, bundle};
use crate::decide::outcome::Cause;

fn next(bundle: &WerfBundle, hash: &str, seconds: i64) -> Step {
    step(&bundle.state(), false, false, hash, 3, at(seconds))
}

#[test]
fn a_new_bundle_gets_its_finalizer_before_anything_else() {
    let mut new = bundle();
    new.metadata.finalizers = None;
    assert_eq!(situation(&new), Situation::Arriving);
    assert_eq!(situation(&bundle()), Situation::Idle);
}

#[test]
fn a_bundle_that_is_going_is_only_cleaned_up() {
    let mut going = bundle().wanting("v1", '1').deploying("h1");
    going.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(situation(&going), Situation::Leaving);
    going.metadata.finalizers = Some(vec!["other.io/one".to_owned()]);
    assert_eq!(situation(&going), Situation::Left);
}

#[test]
fn a_claimed_run_is_followed_whether_or_not_its_job_was_seen() {
    let claimed = bundle().wanting("v1", '1').deploying("h1");
    let Situation::Deploying(seen) = situation(&claimed) else {
        panic!("not deploying");
    };
    assert!(!seen.confirmed);
    let Situation::Deploying(seen) = situation(&claimed.confirmed()) else {
        panic!("not deploying");
    };
    assert!(seen.confirmed);
}

fn pointed_elsewhere(mut bundle: WerfBundle) -> WerfBundle {
    bundle.metadata.generation = Some(2);
    bundle.spec.registry.url = "registry.example.com/another/app".to_owned();
    bundle
}

fn polled_and_failed(bundle: WerfBundle) -> WerfBundle {
    let generation = bundle.metadata.generation;
    bundle.with(|status| {
        let statement = condition::Statement {
            kind: ConditionType::RegistryAvailable,
            holds: condition::Holds::False,
            reason: "RegistryTimeout",
            message: String::new(),
        };
        condition::set(&mut status.conditions, statement, generation, at(9));
    })
}

#[test]
fn nothing_is_wanted_before_the_registry_was_read() {
    assert_eq!(wanted(&bundle()), Wanted::Nothing(WhyNothing::NotPolled));
    assert_eq!(
        wanted(&bundle().polled()),
        Wanted::Nothing(WhyNothing::NoTag)
    );
}

#[test]
fn other_rules_want_nothing_before_the_registry_was_read_under_them() {
    let moved = pointed_elsewhere(bundle().wanting("v1", '1'));
    assert_eq!(wanted(&moved), Wanted::Nothing(WhyNothing::NotPolled));
    let failed = polled_and_failed(moved.clone());
    assert_eq!(wanted(&failed), Wanted::Nothing(WhyNothing::NotPolled));
    // Read, but it offers nothing: the old tag is not deployed from the new repository.
    assert_eq!(wanted(&moved.polled()), Wanted::Nothing(WhyNothing::NoTag));
}

#[test]
fn an_edit_of_anything_else_needs_no_poll() {
    let mut edited = bundle().wanting("v1", '1');
    edited.metadata.generation = Some(2);
    assert!(matches!(wanted(&edited), Wanted::Tag { .. }));
    assert!(matches!(
        wanted(&polled_and_failed(edited)),
        Wanted::Tag { .. }
    ));
}

#[test]
fn a_claim_stands_while_its_run_is_wanted() {
    let claimed = bundle().wanting("v1", '1').deploying("h1");
    assert!(claim_stands(&claimed));
    assert!(!claim_stands(&claimed.clone().wanting("v2", '2')));
    assert!(!claim_stands(&pointed_elsewhere(claimed.clone())));
    let mut suspended = claimed;
    suspended.spec.suspend = true;
    assert!(!claim_stands(&suspended));
    let forced = suspended.with(|status| {
        let run = status.current_run.as_mut().unwrap();
        run.request = Some(Requested {
            force: true,
            traceparent: None,
        });
    });
    assert!(claim_stands(&forced));
}

#[test]
fn a_suspended_bundle_wants_nothing_unless_forced() {
    let mut suspended = bundle().wanting("v1", '1');
    suspended.spec.suspend = true;
    assert_eq!(wanted(&suspended), Wanted::Nothing(WhyNothing::Suspended));
    let forced = suspended.with(|status| {
        status.requested = Some(Requested {
            force: true,
            traceparent: None,
        });
    });
    assert!(matches!(wanted(&forced), Wanted::Tag { force: true, .. }));
}

#[test]
fn inputs_that_were_never_tried_start_a_run() {
    let new = bundle().wanting("v1", '1');
    assert_eq!(next(&new, "h1", 1), Step::Start { cause: "NewTag" });
}

#[test]
fn deployed_inputs_are_not_deployed_again() {
    let done = bundle().wanting("v1", '1').deploying("h1").deployed();
    assert_eq!(next(&done, "h1", 20), Step::UpToDate);
}

#[test]
fn changed_inputs_of_the_same_tag_start_a_run() {
    let done = bundle().wanting("v1", '1').deploying("h1").deployed();
    assert_eq!(
        next(&done, "h2", 20),
        Step::Start {
            cause: "InputsChanged"
        }
    );
}

#[test]
fn going_back_to_earlier_inputs_is_a_run_of_its_own() {
    let a = bundle().wanting("v1", '1').deploying("a").deployed();
    let b = a.deploying("b").deployed();
    assert_eq!(
        next(&b, "a", 20),
        Step::Start {
            cause: "InputsChanged"
        }
    );
}

#[test]
fn a_failed_run_is_tried_again_after_30s_1m_2m_and_then_given_up() {
    let mut bundle = bundle().wanting("v1", '1').deploying("h1");
    for (attempt, delay) in [(1, 30), (2, 60), (3, 120)] {
        bundle = bundle
            .with(|status| status.attempt = attempt)
            .failed(Cause::ExitCode(1), at(0));
        assert_eq!(next(&bundle, "h1", delay - 1), Step::RetryAt(at(delay)));
        assert_eq!(next(&bundle, "h1", delay), Step::Retry);
    }
    bundle = bundle.with(|status| status.attempt = 4);
    assert_eq!(next(&bundle, "h1", 100_000), Step::GiveUp);
}

#[test]
fn without_retries_the_first_failure_is_the_last() {
    let failed = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .failed(Cause::OomKilled, at(0));
    assert_eq!(
        step(&failed.state(), false, false, "h1", 0, at(1)),
        Step::GiveUp
    );
}

#[test]
fn a_person_can_start_a_given_up_run_over() {
    let failed = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .failed(Cause::OomKilled, at(0))
        .with(|status| status.attempt = 4);
    assert_eq!(
        step(&failed.state(), true, false, "h1", 3, at(1)),
        Step::Start { cause: "Requested" }
    );
}

#[test]
fn a_request_without_force_does_not_repeat_what_is_deployed() {
    let done = bundle().wanting("v1", '1').deploying("h1").deployed();
    assert_eq!(
        step(&done.state(), true, false, "h1", 3, at(20)),
        Step::UpToDate
    );
    assert_eq!(
        step(&done.state(), true, true, "h1", 3, at(20)),
        Step::Start { cause: "Forced" }
    );
}

#[test]
fn a_claim_that_names_what_can_be_no_job_is_seen_through() {
    let claimed = |job: &str, namespace: &str| Claimed {
        job: job.to_owned(),
        namespace: namespace.to_owned(),
        confirmed: true,
    };
    assert!(claimed("my-app-1", "apps").can_be());
    for hostile in ["a/../b", "x?watch=1", "my job", "..", ""] {
        assert!(!claimed(hostile, "apps").can_be(), "{hostile}");
        assert!(!claimed("my-app-1", hostile).can_be(), "{hostile}");
    }
}
