//! How a Job ended, from what the apiserver has of it.

use serde_json::{Value, json};

use super::*;
use crate::decide::fixtures::{That, bundle};

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

fn message(job: &Job, pods: &[Pod]) -> String {
    match ended(job, pods) {
        Outcome::Failed(cause) => cause.message(),
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
    assert_eq!(ended(&complete, &[]), Outcome::Succeeded);
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
