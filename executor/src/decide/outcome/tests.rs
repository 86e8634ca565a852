//! How a Job ended, from what the apiserver has of it.

use std::sync::LazyLock;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::decide::fixtures::{That, bundle};
use crate::decide::mask::Masks;

fn job(status: &Value) -> Job {
    serde_json::from_value(json!({"metadata": {"name": "j"}, "status": status})).unwrap()
}

fn failed(reason: &str, message: &str) -> Job {
    job(&json!({"conditions": [
        {"type": "FailureTarget", "status": "True", "reason": reason},
        {"type": "Failed", "status": "True", "reason": reason, "message": message},
    ]}))
}

fn pod(terminated: &Value) -> Pod {
    serde_json::from_value(json!({"status": {"containerStatuses": [
        {"name": "sidecar", "image": "", "imageID": "", "ready": false, "restartCount": 0,
         "state": {"terminated": {"exitCode": 99}}},
        {"name": "werf", "image": "", "imageID": "", "ready": false, "restartCount": 0,
         "state": {"terminated": terminated}},
    ]}}))
    .unwrap()
}

static OPEN: LazyLock<Masker> = LazyLock::new(Masker::default);

fn told_of(pods: &[Pod]) -> Remains<'_> {
    Remains {
        pods: Some(pods),
        waiting: None,
        masker: Some(&OPEN),
    }
}

fn message(job: &Job, pods: &[Pod]) -> String {
    match ended(job, told_of(pods)) {
        Outcome::Failed(failure) => failure.message(),
        Outcome::Succeeded => panic!("succeeded"),
    }
}

#[test]
fn a_job_runs_until_a_condition_says_otherwise() {
    assert_eq!(progress(&job(&json!({"active": 1}))), Progress::Running);
    let uncertain = job(&json!({"conditions": [
        {"type": "SuccessCriteriaMet", "status": "True"},
        {"type": "Complete", "status": "False"},
    ]}));
    assert_eq!(progress(&uncertain), Progress::Running);
    assert_eq!(
        progress(&failed("BackoffLimitExceeded", "")),
        Progress::Ended
    );
}

#[test]
fn a_job_that_was_never_let_run_is_told_from_one_that_somebody_suspended() {
    let job = |annotations: Value| -> Job {
        let metadata = json!({"annotations": annotations});
        let job = json!({"metadata": metadata, "spec": {"suspend": true, "template": {}}});
        serde_json::from_value(job).unwrap()
    };
    assert_eq!(progress(&job(json!({}))), Progress::New);
    let released = job(json!({"operator.werf.io/released": "true"}));
    assert_eq!(progress(&released), Progress::Held);
}

#[test]
fn a_job_is_taken_on_only_for_the_very_run_it_was_made_for() {
    let bundle = bundle().wanting("v1", '1').deploying("h1");
    let made_for = |hash: &str, run: &str, attempt: &str, uid: &str| -> Job {
        serde_json::from_value(json!({"metadata": {"annotations": {
            "operator.werf.io/inputs-hash": hash,
            "operator.werf.io/run": run,
            "operator.werf.io/attempt": attempt,
            "operator.werf.io/bundle-uid": uid,
        }}}))
        .unwrap()
    };
    assert!(is_of_run(&made_for("h1", "1", "1", "uid-1"), &bundle));
    assert!(!is_of_run(&made_for("h2", "1", "1", "uid-1"), &bundle));
    assert!(!is_of_run(&made_for("h1", "2", "1", "uid-1"), &bundle));
    assert!(!is_of_run(&made_for("h1", "1", "2", "uid-1"), &bundle));
    assert!(!is_of_run(&made_for("h1", "1", "1", "uid-2"), &bundle));
    assert!(!is_of_run(&Job::default(), &bundle));
}

#[test]
fn only_jobs_of_runs_that_are_over_are_left_over() {
    let status = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .deployed()
        .state();
    let made_for = |run: &str, attempt: &str| -> Job {
        let annotations = json!({
            "operator.werf.io/run": run,
            "operator.werf.io/attempt": attempt,
        });
        let metadata = json!({"name": "j", "annotations": annotations});
        let job = json!({"metadata": metadata, "spec": {"suspend": true, "template": {}}});
        serde_json::from_value(job).unwrap()
    };
    assert!(is_left_over(&made_for("1", "1"), &status));
    assert!(!is_left_over(&made_for("1", "2"), &status));
    assert!(!is_left_over(&made_for("2", "1"), &status));
    let mut ran = made_for("1", "1");
    ran.spec.as_mut().unwrap().suspend = Some(false);
    assert!(!is_left_over(&ran, &status));
}

#[test]
fn a_complete_job_succeeded() {
    let complete = job(&json!({"conditions": [{"type": "Complete", "status": "True"}]}));
    assert_eq!(ended(&complete, Remains::default()), Outcome::Succeeded);
}

#[test]
fn the_exit_code_of_werf_is_told_and_no_other() {
    let job = failed(
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    );
    assert_eq!(
        message(&job, &[pod(&json!({"exitCode": 3}))]),
        "pod failed with exit code 3"
    );
}

#[test]
fn running_out_of_memory_is_told_as_such() {
    let job = failed("BackoffLimitExceeded", "");
    let killed = pod(&json!({"exitCode": 137, "reason": "OOMKilled"}));
    assert_eq!(message(&job, &[killed]), "pod failed with OOMKilled");
}

#[test]
fn a_job_that_ran_too_long_is_told_as_such() {
    let job = failed(
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    );
    let killed = pod(&json!({"exitCode": 143}));
    assert_eq!(message(&job, &[killed]), "job exceeded its deadline");
}

#[test]
fn without_a_pod_the_job_controller_has_the_word() {
    let job = failed("BackoffLimitExceeded", "limit reached");
    assert_eq!(
        message(&job, &[]),
        "job failed: BackoffLimitExceeded: limit reached"
    );
}

#[test]
fn a_registry_that_wants_what_werf_cannot_show_is_thought_of() {
    let mut job = failed("BackoffLimitExceeded", "");
    let annotation = (
        annotation::CLIENT_CERTIFICATE.to_owned(),
        "unused".to_owned(),
    );
    job.metadata.annotations = Some([annotation].into());
    let told = message(&job, &[pod(&json!({"exitCode": 1}))]);
    assert!(told.starts_with("pod failed with exit code 1; "), "{told}");
    assert!(told.contains("client certificate"), "{told}");
    let killed = pod(&json!({"exitCode": 137, "reason": "OOMKilled"}));
    assert_eq!(message(&job, &[killed]), "pod failed with OOMKilled");
}

fn pod_that(metadata: &Value, status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
}

fn ended_with(code: i32, reason: &str, message: &str) -> Value {
    json!([{"name": "werf", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}])
}

fn failure(job: &Job, remains: Remains<'_>) -> (String, String) {
    match ended(job, remains) {
        Outcome::Failed(failure) => (failure.reason().to_owned(), failure.message()),
        Outcome::Succeeded => panic!("succeeded"),
    }
}

const REPORT: &str = r#"{"version":3,"failedOperations":["track readiness: Deployment/app"]}"#;

fn waiting(reason: &str, object: &str) -> Waiting {
    Waiting {
        reason: reason.to_owned(),
        object: object.to_owned(),
        message: format!("image pull failure: {object}: container web cannot pull web:1"),
    }
}

#[test]
fn the_operation_that_failed_and_what_it_waited_for_are_told() {
    let job = failed("BackoffLimitExceeded", "");
    let pods = [pod(&json!({"exitCode": 1, "message": REPORT}))];
    let app = waiting("ImagePullFailed", "Deployment/app");
    let told = |waiting| {
        failure(
            &job,
            Remains {
                waiting,
                ..told_of(&pods)
            },
        )
    };
    let plain = "pod failed with exit code 1: Deployment/app: track readiness failed";
    assert_eq!(told(None), ("ExitCode".to_owned(), plain.to_owned()));
    let more = "; image pull failure: Deployment/app: container web cannot pull web:1";
    assert_eq!(told(Some(&app)).1, format!("{plain}{more}"));
    // The Job's own Pod had started, or there were no exit code.
    assert_eq!(told(Some(&waiting("ImagePullFailed", "Job/j"))).1, plain);
}

#[test]
fn what_others_wrote_is_masked_or_not_told() {
    let job = failed("BackoffLimitExceeded", "");
    let report = r#""failedOperations":["create: Secret/hunter22"]"#;
    let pods = [pod(&json!({"exitCode": 1, "message": report}))];
    let mut masks = Masks::default();
    masks.add("hunter22");
    let told = |masker| {
        let remains = Remains {
            pods: Some(&pods),
            waiting: None,
            masker,
        };
        failure(&job, remains).1
    };
    let hidden = "pod failed with exit code 1: Secret/***: create failed";
    let masker = masks.masker();
    assert_eq!(told(Some(&masker)), hidden);
    assert_eq!(told(None), "pod failed with exit code 1");
}

#[test]
fn a_job_that_ran_out_of_time_waiting_failed_for_what_it_waited_for() {
    let job = failed("DeadlineExceeded", "");
    let own = waiting("ImagePullFailed", "Job/j");
    let remains = Remains {
        waiting: Some(&own),
        ..told_of(&[])
    };
    let (reason, message) = failure(&job, remains);
    assert_eq!(reason, "ImagePullFailed");
    assert_eq!(
        message,
        "job exceeded its deadline: image pull failure: Job/j: container web cannot pull web:1"
    );
    assert_eq!(failure(&job, told_of(&[])).0, "DeadlineExceeded");
}

#[rstest]
#[case::evicted_by_kubelet(
    json!({}),
    json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
    "PodEvicted",
    "pod was evicted: The node was low on resource: memory."
)]
#[case::evicted_by_api(
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    json!({"containerStatuses": ended_with(143, "Error", ""), "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}]}),
    "PodEvicted",
    "pod was evicted: Eviction API: evicting"
)]
#[case::deleted(
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    json!({"containerStatuses": ended_with(143, "Error", "")}),
    "PodDeleted",
    "pod was deleted"
)]
#[case::deleted_before_it_started(
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    json!({"phase": "Pending"}),
    "PodDeleted",
    "pod was deleted"
)]
#[case::failed_then_deleted(
    json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    json!({"containerStatuses": ended_with(1, "Error", "")}),
    "ExitCode",
    "pod failed with exit code 1"
)]
#[case::no_such_command(
    json!({}),
    json!({"containerStatuses": ended_with(128, "StartError", "exec: \"werf\": executable file not found")}),
    "ContainerNotStarted",
    "pod failed with exit code 128: container could not be started: exec: \"werf\": executable file not found"
)]
fn the_pod_tells_why(
    #[case] metadata: Value,
    #[case] status: Value,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let job = failed("BackoffLimitExceeded", "limit reached");
    let told = failure(&job, told_of(&[pod_that(&metadata, &status)]));
    assert_eq!(told, (reason.to_owned(), message.to_owned()));
}

#[test]
fn a_pod_of_which_nothing_is_left_was_deleted() {
    let mut job = failed("BackoffLimitExceeded", "limit reached");
    job.status.as_mut().unwrap().failed = Some(1);
    assert_eq!(failure(&job, told_of(&[])).0, "PodDeleted");
    let unseen = Remains {
        pods: None,
        ..told_of(&[])
    };
    assert_eq!(failure(&job, unseen).0, "JobFailed");
}

#[test]
fn a_job_whose_pod_is_taken_away_is_ending() {
    let of_job = |metadata: Value| -> Pod {
        let mut metadata = metadata;
        metadata["ownerReferences"] =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u"}]);
        pod_that(&metadata, &json!({}))
    };
    let mut running = job(&json!({"active": 1}));
    running.metadata.uid = Some("u".to_owned());
    assert!(!is_ending(&running, &[of_job(json!({}))]));
    let leaving = of_job(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
    assert!(is_ending(&running, &[leaving]));
    let target = json!({"conditions": [{"type": "FailureTarget", "status": "True"}]});
    assert!(is_ending(&job(&target), &[]));
}

#[test]
fn of_two_pods_the_one_that_failed_last_tells() {
    let at = |second: u32, code: i32| {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let metadata = json!({"name": format!("j-{second}"), "creationTimestamp": created});
        pod_that(
            &metadata,
            &json!({"containerStatuses": ended_with(code, "", "")}),
        )
    };
    let pods = [at(1, 5), at(3, 0), at(2, 7)];
    let job = failed("BackoffLimitExceeded", "");
    assert_eq!(message(&job, &pods), "pod failed with exit code 7");
    assert_eq!(telling(&pods).unwrap().name_any(), "j-2");
    assert_eq!(telling(&pods[1..2]).unwrap().name_any(), "j-3");
}

#[test]
fn pods_cannot_make_a_failure_a_success_or_the_other_way_round() {
    let well = pod_that(
        &json!({}),
        &json!({"phase": "Succeeded", "containerStatuses": ended_with(0, "Completed", "")}),
    );
    let job_failed = failed("BackoffLimitExceeded", "limit reached");
    let told = message(&job_failed, &[well]);
    assert_eq!(told, "job failed: BackoffLimitExceeded: limit reached");
    let complete = job(&json!({"conditions": [{"type": "Complete", "status": "True"}]}));
    let ill = pod(&json!({"exitCode": 1}));
    assert_eq!(ended(&complete, told_of(&[ill])), Outcome::Succeeded);
}

proptest! {
    /// Whoever may write the status of a Pod or of a Job can write anything into it.
    #[test]
    fn forged_words_do_no_harm(reason in ".{0,100}", words in r"(?s).{0,3000}", code in any::<i32>(), evicted: bool) {
        let status = json!({
            "reason": if evicted { "Evicted" } else { &reason },
            "message": words,
            "containerStatuses": ended_with(code, &reason, &words),
        });
        let job = failed(&reason, &words);
        let told = message(&job, &[pod_that(&json!({}), &status)]);
        prop_assert!(told.chars().count() <= 1000 && !told.contains(char::is_control), "{told}");
    }
}

#[test]
fn for_a_minute_after_its_end_what_may_pass_is_waited_for() {
    let job = job(&json!({"conditions": [
        {"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}));
    let lately = |at: &str| ended_lately(&job, at.parse().unwrap());
    assert!(lately("2026-01-01T00:00:59Z"));
    assert!(!lately("2026-01-01T00:01:00Z"));
    // Another machine's clock.
    assert!(lately("2025-12-31T23:59:58Z") && !lately("2025-12-31T22:00:00Z"));
}
