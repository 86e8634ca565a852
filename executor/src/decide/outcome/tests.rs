//! How a Job ended, from what the apiserver has of it.

use serde_json::json;

use super::*;

fn job(status: &serde_json::Value) -> Job {
    serde_json::from_value(json!({"metadata": {"name": "j"}, "status": status})).unwrap()
}

fn failed(reason: &str, message: &str) -> Job {
    job(&json!({"conditions": [
        {"type": "FailureTarget", "status": "True", "reason": reason},
        {"type": "Failed", "status": "True", "reason": reason, "message": message},
    ]}))
}

fn pod(terminated: &serde_json::Value) -> Pod {
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
fn a_job_without_values_yet_is_suspended() {
    let suspended: Job =
        serde_json::from_value(json!({"spec": {"suspend": true, "template": {}}})).unwrap();
    assert_eq!(progress(&suspended), Progress::Suspended);
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
