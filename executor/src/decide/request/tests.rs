//! What a person is told who asks for a deployment.

use super::*;
use crate::decide::fixtures::{That, at, bundle, digest};
use crate::decide::status::{Standing, settle};

fn asking(tag: Option<&str>, force: bool) -> Request {
    Request {
        tag: tag.map(|tag| tag.parse().unwrap()),
        force,
        traceparent: Some("00-t-s-01".to_owned()),
    }
}

fn stored(bundle: &WerfBundle, request: &Request) -> WerfBundleStatus {
    match decide(bundle, request, at(1)) {
        Decision::Store(status) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn namespace_and_name_are_enough_once_a_tag_is_known() {
    let known = bundle().wanting("v1", '1');
    let status = stored(&known, &asking(None, false));
    assert_eq!(status.desired_tag.as_deref(), Some("v1"));
    assert_eq!(status.desired_digest, Some(digest('1')));
    assert!(status.requested.is_some());
    assert!(matches!(
        decide(&bundle(), &asking(None, false), at(1)),
        Decision::Refused(_)
    ));
}

#[test]
fn another_tag_is_deployed_without_the_digest_of_the_first() {
    let status = stored(&bundle().wanting("v2", '2'), &asking(Some("v1"), false));
    assert_eq!(status.desired_tag.as_deref(), Some("v1"));
    assert_eq!(status.desired_digest, None);
    assert_eq!(status.announced.unwrap().tag, "v2");
}

#[test]
fn coming_back_to_the_announced_tag_comes_back_to_its_digest() {
    let held = bundle().wanting("v2", '2').with(|status| {
        status.desired_tag = Some("v1".to_owned());
        status.desired_digest = None;
    });
    let status = stored(&held, &asking(Some("v2"), false));
    assert_eq!(status.desired_digest, Some(digest('2')));
}

#[test]
fn a_deployment_whose_job_cannot_be_made_is_not_said_to_run() {
    let claimed = bundle().wanting("v1", '1').deploying("h1");
    let message = "exceeded quota".to_owned();
    let standing = Standing::CannotPrepare {
        reason: "QuotaExceeded",
        message: message.clone(),
    };
    let mut refused = claimed.clone();
    refused.status = Some(settle(&claimed, &standing, at(1)));
    let decided = decide(&refused, &asking(None, false), at(2));
    assert_eq!(decided, Decision::Blocked(message));
    let decided = decide(&claimed, &asking(None, false), at(2));
    assert_eq!(decided, Decision::AlreadyRunning);
}

#[test]
fn a_running_deployment_is_not_asked_for_twice_unless_forced() {
    let running = bundle().wanting("v1", '1').deploying("h1").confirmed();
    assert_eq!(
        decide(&running, &asking(None, false), at(1)),
        Decision::AlreadyRunning
    );
    assert!(matches!(
        decide(&running, &asking(None, true), at(1)),
        Decision::Store(_)
    ));
}

#[test]
fn a_suspended_bundle_is_deployed_only_with_force() {
    let mut suspended = bundle().wanting("v1", '1');
    suspended.spec.suspend = true;
    assert!(matches!(
        decide(&suspended, &asking(None, false), at(1)),
        Decision::Refused(_)
    ));
    assert!(matches!(
        decide(&suspended, &asking(None, true), at(1)),
        Decision::Store(_)
    ));
}

#[test]
fn a_bundle_that_is_going_is_not_deployed() {
    let mut going = bundle().wanting("v1", '1');
    going.metadata.deletion_timestamp = Some(Time(at(0)));
    assert!(matches!(
        decide(&going, &asking(None, true), at(1)),
        Decision::Refused(_)
    ));
}

fn requested(bundle: WerfBundle) -> WerfBundle {
    bundle.with(|status| status.requested = Some(Requested::default()))
}

#[test]
fn a_request_has_become_something_once_its_job_exists() {
    let stored = requested(bundle().wanting("v1", '1'));
    assert_eq!(became(&stored, &stored), None);
    let claimed = stored.clone().deploying("h1").with(|s| s.requested = None);
    assert_eq!(became(&stored, &claimed), None);
    assert_eq!(became(&stored, &claimed.confirmed()), Some(Became::Started));
}

#[test]
fn a_request_that_changes_nothing_is_told_as_such() {
    let stored = requested(bundle().wanting("v1", '1').deploying("h1").deployed());
    let settled = stored.clone().with(|status| status.requested = None);
    assert_eq!(became(&stored, &settled), Some(Became::AlreadyApplied));
}

#[test]
fn a_request_during_a_run_comes_next() {
    let running = bundle().wanting("v1", '1').deploying("h1").confirmed();
    let stored = requested(running);
    assert_eq!(became(&stored, &stored), Some(Became::Queued));
}

#[test]
fn what_keeps_a_job_from_being_made_is_told() {
    let stored = requested(bundle().wanting("v1", '1'));
    let stuck = stored.clone().with(|status| {
        status.last_error_stage = Some(Stage::Preparing);
        status.last_error_message = Some("no account".to_owned());
    });
    let told = Became::CannotPrepare("no account".to_owned());
    assert_eq!(became(&stored, &stuck), Some(told));
}
