//! What becomes of annotations.

use werf_shared::bundle::WerfBundle;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::names::wish;

use super::*;
use crate::decide::fixtures::{That, at, bundle};
use crate::decide::outcome::Cause;
use crate::decide::plan::{self, Step, Wanted};
use crate::decide::status;

fn taken_up(bundle: &WerfBundle) -> TakenUp {
    take_up(bundle, Some("00-t-s-01"), at(100)).expect("something is asked for")
}

/// The bundle after everything it asks for was taken up.
fn after(mut bundle: WerfBundle) -> WerfBundle {
    bundle.status = Some(*taken_up(&bundle).status);
    assert_eq!(take_up(&bundle, None, at(101)), None, "taken up once");
    bundle
}

fn next(bundle: &WerfBundle, inputs_hash: &str) -> Step {
    let Wanted::Tag {
        requested, force, ..
    } = plan::wanted(bundle)
    else {
        panic!("{:?}", plan::wanted(bundle));
    };
    let limit = bundle.spec.converge.retry.limit;
    plan::step(
        &bundle.state(),
        requested,
        force,
        inputs_hash,
        limit,
        at(102),
    )
}

fn stalled() -> WerfBundle {
    let stalled = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .with(|status| status.attempt = 4)
        .failed(Cause::ExitCode(1), at(5));
    let conditions = stalled.state().conditions;
    assert!(condition::find(&conditions, ConditionType::Stalled).is_some());
    stalled
}

#[test]
fn a_new_value_starts_a_stalled_bundle_over_and_is_echoed() {
    assert_eq!(next(&stalled(), "h1"), Step::GiveUp);
    let asked = after(stalled().annotated(wish::RECONCILE, "1"));
    assert_eq!(asked.state().last_handled_reconcile.as_deref(), Some("1"));
    let cause = "Requested";
    assert_eq!(next(&asked, "h1"), Step::Start { cause });
    let mut claimed = asked.clone();
    claimed.status = Some(status::claim(
        &asked,
        status::NewRun {
            tag: "v1".to_owned(),
            digest: None,
            inputs_hash: "h1".to_owned(),
            cause,
            traceparent: None,
            target_namespace: "apps".to_owned(),
        },
        |run, attempt| format!("job-{run}-{attempt}"),
        at(103),
    ));
    assert_eq!((claimed.state().run, claimed.state().attempt), (2, 1));
}

#[test]
fn the_same_value_asks_once_and_stays_asked_when_it_is_taken_away() {
    let asked = after(stalled().annotated(wish::RECONCILE, "1"));
    let mut without = asked.clone();
    without.metadata.annotations = None;
    assert_eq!(take_up(&without, None, at(102)), None);
    assert_eq!(take_up(&asked, None, at(102)), None);
    assert!(ask(&without.annotated(wish::RECONCILE, "2")));
}

#[test]
fn a_request_in_the_middle_of_its_run_waits_for_the_end() {
    let running = bundle().wanting("v1", '1').deploying("h1").confirmed();
    let asked = after(running.annotated(wish::RECONCILE, "1"));
    let failed = asked.clone().failed(Cause::ExitCode(1), at(110));
    let over = Step::Start { cause: "Requested" };
    assert_eq!(next(&failed, "h1"), over);
    assert_eq!(next(&asked.deployed(), "h1"), Step::UpToDate);
}

#[test]
fn a_suspended_bundle_echoes_tells_why_and_starts_nothing() {
    let mut suspended = stalled().annotated(wish::RECONCILE, "1");
    suspended.spec.suspend = true;
    let taken_up = taken_up(&suspended);
    assert_eq!(taken_up.status.last_handled_reconcile.as_deref(), Some("1"));
    assert_eq!(taken_up.status.requested, None);
    assert!(matches!(
        taken_up.news[..],
        [News::RequestIgnored(why)] if why.contains("suspended")
    ));
    let forced = after(suspended.annotated(wish::FORCE, "1"));
    assert_eq!(next(&forced, "h1"), Step::Start { cause: "Forced" });
}

#[test]
fn force_deploys_what_is_deployed_already() {
    let done = bundle().wanting("v1", '1').deploying("h1").deployed();
    let asked = after(done.clone().annotated(wish::RECONCILE, "1"));
    assert_eq!(next(&asked, "h1"), Step::UpToDate);
    let forced = done
        .annotated(wish::RECONCILE, "2")
        .annotated(wish::FORCE, "2");
    assert_eq!(next(&after(forced), "h1"), Step::Start { cause: "Forced" });
}

#[test]
fn before_the_first_poll_a_request_is_only_echoed() {
    let asked = after(bundle().annotated(wish::RECONCILE, "1"));
    assert_eq!(asked.state().requested, None);
    assert_eq!(asked.state().last_handled_reconcile.as_deref(), Some("1"));
}

#[test]
fn a_huge_value_leaves_little_behind() {
    let huge = "\u{1b}[31m".repeat(50_000);
    let asked = after(stalled().annotated(wish::RECONCILE, &huge));
    let echo = asked.state().last_handled_reconcile.unwrap_or_default();
    assert!(
        echo.starts_with("sha256:") && echo.len() == 71,
        "{}",
        echo.len()
    );
}
