//! What a bundle that goes takes with it, and what people read while it does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{Phase, Stage};

use super::*;
use crate::decide::fixtures::{That, at, bundle};
use crate::decide::outcome::Cause;

fn release(name: &str) -> TriedRelease {
    TriedRelease {
        namespace: "production".to_owned(),
        name: name.to_owned(),
        service_account_name: "deployer".to_owned(),
    }
}

fn deployed(policy: DeletionPolicy) -> WerfBundle {
    let mut bundle = bundle().wanting("v1", '1').deploying("h").confirmed();
    bundle.spec.converge.deletion_policy = policy;
    bundle
        .with(|status| status.release = Some(release("shop")))
        .deployed()
}

fn failed(bundle: &WerfBundle, attempt: i32, now: Timestamp) -> WerfBundle {
    let outcome = Outcome::Failed(Cause::ExitCode(1).into());
    let mut after = bundle.clone();
    after.status = Some(record(
        bundle,
        attempt,
        "job",
        &release("shop"),
        &outcome,
        now,
    ));
    after
}

fn ready(bundle: &WerfBundle) -> (String, String) {
    let status = bundle.state();
    let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
    (ready.reason.clone(), ready.message.clone())
}

#[test]
fn what_was_run_last_is_uninstalled_whatever_the_spec_names_now() {
    let mut bundle = deployed(DeletionPolicy::Uninstall);
    bundle.spec.converge.release_name = Some("renamed".to_owned());
    bundle.spec.converge.target_namespace = Some("elsewhere".to_owned());
    assert_eq!(due(&bundle), Some(release("shop")));
}

#[test]
fn what_stays_or_never_was_or_is_gone_is_not_uninstalled() {
    assert_eq!(due(&deployed(DeletionPolicy::Retain)), None);
    let mut never = bundle().wanting("v1", '1');
    never.spec.converge.deletion_policy = DeletionPolicy::Uninstall;
    assert_eq!(due(&never), None, "it never ran");
    assert_eq!(due(&never.deploying("h")), None, "nor did its claim");
    let bundle = deployed(DeletionPolicy::Uninstall);
    let mut done = bundle.clone();
    let outcome = Outcome::Succeeded;
    done.status = Some(record(
        &bundle,
        1,
        "job",
        &release("shop"),
        &outcome,
        at(20),
    ));
    assert_eq!(due(&done), None);
}

#[test]
fn a_failed_deployment_is_uninstalled_too() {
    let mut bundle = bundle()
        .wanting("v1", '1')
        .deploying("h")
        .confirmed()
        .with(|status| status.release = Some(release("shop")))
        .failed(Cause::ExitCode(1), at(5));
    bundle.spec.converge.deletion_policy = DeletionPolicy::Uninstall;
    assert_eq!(due(&bundle), Some(release("shop")));
}

#[test]
fn runs_of_operators_before_this_one_are_guessed_from_the_spec() {
    let bundle = deployed(DeletionPolicy::Uninstall).with(|status| status.release = None);
    let guess = due(&bundle).unwrap();
    assert_eq!(
        (
            &*guess.namespace,
            &*guess.name,
            &*guess.service_account_name
        ),
        ("apps", "my-app", "default")
    );
}

#[test]
fn it_is_tried_without_end_ever_more_slowly() {
    let mut bundle = deployed(DeletionPolicy::Uninstall);
    assert_eq!(attempt(&bundle.state(), at(0)), Attempt::Make(1));
    let mut now = 0;
    for (failures, delay) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 480)] {
        bundle.status = Some(confirm(&bundle, failures, "job", &release("shop"), at(now)));
        assert_eq!(attempt(&bundle.state(), at(now)), Attempt::Follow(failures));
        bundle = failed(&bundle, failures, at(now));
        let due = at(now + delay);
        assert_eq!(attempt(&bundle.state(), at(now)), Attempt::At(due));
        assert_eq!(attempt(&bundle.state(), due), Attempt::Make(failures + 1));
        now += delay;
    }
}

#[test]
fn a_failure_says_why_and_where_the_log_is() {
    let bundle = failed(&deployed(DeletionPolicy::Uninstall), 1, at(0));
    let (reason, message) = ready(&bundle);
    assert_eq!(reason, "UninstallFailed");
    let begins = "Uninstalling release shop from namespace production: pod failed with exit code 1, see the log of Job job; next attempt at ";
    assert!(message.starts_with(begins), "{message}");
    let status = bundle.state();
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(status.last_job_logs, None);
    assert_eq!(status.last_error_message.as_deref(), Some(&*message));
    assert_eq!(status.last_error_stage, Some(Stage::Uninstalling));
    assert_eq!(status.active_job_name, None);
    // The next attempt goes well so far.
    let retried = confirm(&bundle, 2, "job", &release("shop"), at(40));
    assert_eq!(retried.last_error_message, None);
    assert_eq!(retried.phase, Some(Phase::Syncing));
}

#[test]
fn an_obstacle_is_told_once() {
    let mut bundle = deployed(DeletionPolicy::Uninstall);
    bundle.status = Some(blocked(&bundle, &release("shop"), "no account", at(0)));
    let (reason, message) = ready(&bundle);
    assert_eq!(reason, "UninstallFailed");
    assert!(message.ends_with("production: no account"), "{message}");
    let again = blocked(&bundle, &release("shop"), "no account", at(30));
    assert_eq!(Some(again), bundle.status);
}

#[test]
fn a_job_that_does_not_go_is_told_after_a_minute() {
    let job = |name: &str, removed: Option<Timestamp>| Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("production".to_owned()),
            deletion_timestamp: removed.map(Time),
            ..ObjectMeta::default()
        },
        ..Job::default()
    };
    let (fresh, held) = (job("fresh", None), job("held", Some(at(0))));
    let left = [&fresh, &held];
    assert_eq!(held_up(&left, at(60)), None);
    assert_eq!(held_up(&left[..1], at(600)), None);
    let Some(Standing::Leaving(message)) = held_up(&left, at(61)) else {
        panic!("nothing is told");
    };
    let begins = "Waiting for Job held in namespace production to be gone with its Pods";
    assert!(message.starts_with(begins), "{message}");
}

#[rstest::rstest]
#[case("status.release.namespace", |release: &mut TriedRelease, name: String| release.namespace = name)]
#[case("status.release.name", |release: &mut TriedRelease, name: String| release.name = name)]
#[case("status.release.serviceAccountName", |release: &mut TriedRelease, name: String| release.service_account_name = name)]
fn a_release_that_can_have_no_such_name_is_not_asked_for(
    #[case] field: &str,
    #[case] set: fn(&mut TriedRelease, String),
) {
    let bundle = deployed(DeletionPolicy::Uninstall);
    assert_eq!(check(&bundle, &release("shop")), Ok(()));
    for hostile in ["a/../b", "x?watch=1", "my release", ""] {
        let mut named = release("shop");
        set(&mut named, hostile.to_owned());
        let told = check(&bundle, &named).unwrap_err().to_string();
        assert!(told.starts_with(&format!("{field} must be ")), "{told}");
    }
}

#[test]
fn what_an_older_operator_did_not_record_is_told_by_the_field_of_the_spec() {
    let mut bundle = deployed(DeletionPolicy::Uninstall).with(|status| status.release = None);
    bundle.spec.converge.service_account_name = Some("a/../b".to_owned());
    let told = check(&bundle, &due(&bundle).unwrap()).unwrap_err();
    let told = told.to_string();
    assert!(
        told.starts_with("spec.converge.serviceAccountName must be "),
        "{told}"
    );
}
