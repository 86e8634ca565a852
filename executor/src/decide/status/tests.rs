//! What people read in a bundle's status at each point of its life.

use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{
    FAILURE_LIMIT, HISTORY_LIMIT, JobStatus, Phase, Requested, Stage,
};

use super::*;
use crate::decide::fixtures::{That, at, bundle, digest, newest};
use crate::decide::outcome::Cause;

fn told(status: &WerfBundleStatus, kind: ConditionType) -> Option<(String, String, String)> {
    condition::find(&status.conditions, kind)
        .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
}

fn ready(status: &WerfBundleStatus) -> (String, String, String) {
    told(status, ConditionType::Ready).unwrap()
}

fn new_run() -> NewRun {
    NewRun {
        tag: "v1".to_owned(),
        digest: Some(digest('1')),
        inputs_hash: "h1".to_owned(),
        cause: "NewTag",
        traceparent: None,
        target_namespace: "production".to_owned(),
    }
}

#[test]
fn a_claim_names_its_job_before_the_job_exists() {
    let bundle = bundle().wanting("v1", '1').with(|status| {
        status.requested = Some(Requested::default());
        status.last_job_status = Some(JobStatus::Succeeded);
    });
    let status = claim(
        &bundle,
        new_run(),
        |run, attempt| format!("job-{run}-{attempt}"),
        at(1),
    );
    assert_eq!((status.run, status.attempt), (1, 1));
    assert_eq!(status.active_job_name.as_deref(), Some("job-1-1"));
    assert_eq!(
        status.resolved_target_namespace.as_deref(),
        Some("production")
    );
    assert_eq!(status.last_job_status, None);
    assert_eq!(status.requested, None);
    assert_eq!(status.last_applied_tag, None);
    assert_eq!(status.phase, Some(Phase::Syncing));
    assert!(told(&status, ConditionType::Reconciling).is_some());
}

#[test]
fn a_retry_is_another_attempt_of_the_same_run() {
    let failed = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .failed(Cause::ExitCode(1), at(5));
    let status = claim_retry(
        &failed,
        |run, attempt| format!("job-{run}-{attempt}"),
        at(40),
    );
    assert_eq!((status.run, status.attempt), (1, 2));
    assert_eq!(status.active_job_name.as_deref(), Some("job-1-2"));
    // The failure is told until the attempt succeeds.
    assert_eq!(
        status.last_error_message.as_deref(),
        Some("pod failed with exit code 1")
    );
}

#[test]
fn success_is_recorded_with_what_ran_not_with_what_is_wanted_by_now() {
    let bundle = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .confirmed()
        .wanting("v2", '2');
    let status = record(&bundle, &Outcome::Succeeded, Logs::default(), None, at(10));
    assert_eq!(status.last_applied_tag.as_deref(), Some("v1"));
    assert_eq!(status.last_applied_digest, Some(digest('1')));
    assert_eq!(status.active_job_name, None);
    assert_eq!(newest(&status).job, "job-1-1");
    // Another tag waits: not Synced for a moment in between.
    assert_ne!(status.phase, Some(Phase::Synced));
}

#[test]
fn one_write_says_that_a_bundle_is_synced() {
    let bundle = bundle().wanting("v1", '1').deploying("h1").confirmed();
    let status = record(
        &bundle,
        &Outcome::Succeeded,
        Logs {
            tail: Some("log".to_owned()),
            config_map: Some("job-1-1-logs".to_owned()),
        },
        None,
        at(10),
    );
    assert_eq!(newest(&status).logs.as_deref(), Some("job-1-1-logs"));
    assert_eq!(status.phase, Some(Phase::Synced));
    assert_eq!(ready(&status).0, "True");
    assert_eq!(told(&status, ConditionType::Reconciling), None);
    assert_eq!(status.last_job_logs.as_deref(), Some("log"));
    assert_eq!(status.observed_generation, Some(1));
}

#[test]
fn a_spec_that_was_edited_during_a_run_is_not_called_ready() {
    let mut bundle = bundle().wanting("v1", '1').deploying("h1").confirmed();
    bundle.metadata.generation = Some(2);
    let status = record(&bundle, &Outcome::Succeeded, Logs::default(), None, at(10));
    assert_eq!(status.last_applied_tag.as_deref(), Some("v1"));
    assert_ne!(status.phase, Some(Phase::Synced));
    assert_ne!(status.observed_generation, Some(2));
}

#[test]
fn giving_up_a_claim_keeps_the_request_it_answered() {
    let asked = bundle().wanting("v1", '1').with(|status| {
        status.requested = Some(Requested {
            force: true,
            traceparent: None,
        });
    });
    let mut claimed = asked.clone();
    claimed.status = Some(claim(
        &asked,
        new_run(),
        |run, _| format!("job-{run}"),
        at(1),
    ));
    assert_eq!(claimed.state().requested, None);
    let given_up = abandon(&claimed);
    assert_eq!(given_up.requested, asked.state().requested);
    assert_eq!(given_up.active_job_name, None);
}

#[test]
fn a_failure_never_touches_what_was_applied() {
    let bundle = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .deployed()
        .wanting("v2", '2')
        .deploying("h2")
        .failed(Cause::ExitCode(3), at(20));
    let status = bundle.state();
    assert_eq!(status.last_applied_tag.as_deref(), Some("v1"));
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(
        status.last_error_message.as_deref(),
        Some("pod failed with exit code 3")
    );
    assert_eq!(status.last_job_status, Some(JobStatus::Failed));
    assert_eq!(
        newest(&status).message.as_deref(),
        Some("pod failed with exit code 3")
    );
    let (ready, reason, message) = ready(&status);
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "JobFailed"));
    assert!(message.contains("next attempt at"), "{message}");
    assert_eq!(told(&status, ConditionType::Stalled), None);
}

#[test]
fn the_last_allowed_failure_stalls() {
    let mut last = bundle().wanting("v1", '1').deploying("h1");
    last.spec.converge.retry.limit = 0;
    let status = last.failed(Cause::OomKilled, at(5)).state();
    assert_eq!(ready(&status).1, "RetriesExhausted");
    assert!(told(&status, ConditionType::Stalled).is_some());
    assert_eq!(told(&status, ConditionType::Reconciling), None);
}

#[test]
fn success_empties_the_error_of_deploying_but_not_that_of_polling() {
    let again = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .failed(Cause::ExitCode(1), at(5))
        .deploying("h1");
    let status = record(&again, &Outcome::Succeeded, Logs::default(), None, at(10));
    assert_eq!(status.last_error_message, None);
    let polling = bundle().wanting("v1", '1').deploying("h1").with(|status| {
        status.last_error_stage = Some(Stage::Polling);
        status.last_error_message = Some("error polling registry".to_owned());
    });
    let status = record(&polling, &Outcome::Succeeded, Logs::default(), None, at(10));
    assert!(status.last_error_message.is_some());
}

#[test]
fn the_same_obstacle_seen_again_is_no_write() {
    let standing = Standing::CannotPrepare {
        reason: "ServiceAccountNotFound",
        message: "ServiceAccount x does not exist in namespace y".to_owned(),
    };
    let mut bundle = bundle().wanting("v1", '1');
    bundle.status = Some(settle(&bundle, &standing, at(1)));
    assert_eq!(bundle.state().phase, Some(Phase::Failed));
    assert_eq!(settle(&bundle, &standing, at(60)), bundle.state());
}

#[test]
fn an_obstacle_and_failing_polls_do_not_write_over_each_other() {
    let standing = Standing::CannotPrepare {
        reason: "ServiceAccountNotFound",
        message: "ServiceAccount x does not exist in namespace y".to_owned(),
    };
    let mut bundle = bundle().wanting("v1", '1');
    bundle.status = Some(settle(&bundle, &standing, at(1)));
    let bundle = bundle.with(|status| {
        status.last_error_stage = Some(Stage::Polling);
        status.last_error_message = Some("error polling registry".to_owned());
    });
    assert_eq!(settle(&bundle, &standing, at(60)), bundle.state());
    let recovered = bundle.with(|status| status.last_error_message = None);
    let told_again = settle(&recovered, &standing, at(90));
    assert_eq!(told_again.last_error_stage, Some(Stage::Preparing));
}

#[test]
fn a_settled_bundle_looked_at_again_is_no_write() {
    let mut bundle = bundle().wanting("v1", '1').deploying("h1").deployed();
    for standing in [
        Standing::UpToDate,
        Standing::GivenUp,
        Standing::Retrying(at(100)),
        Standing::Nothing(WhyNothing::Suspended),
        Standing::Nothing(WhyNothing::NoTag),
        Standing::Nothing(WhyNothing::NotPolled),
    ] {
        bundle.status = Some(settle(&bundle, &standing, at(20)));
        assert_eq!(
            settle(&bundle, &standing, at(60)),
            bundle.state(),
            "{standing:?}"
        );
    }
}

#[test]
fn six_failed_polls_make_a_deployed_bundle_failed() {
    let bundle = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .deployed()
        .with(|status| {
            status.consecutive_failures = FAILURE_LIMIT;
            let statement = condition::Statement {
                kind: ConditionType::RegistryAvailable,
                holds: condition::Holds::False,
                reason: "RepositoryNotFound",
                message: "error polling registry: r: 404 not found".to_owned(),
            };
            condition::set(&mut status.conditions, statement, Some(1), at(50));
            status.last_error_message = Some("error polling registry: r: 404 not found".to_owned());
        });
    let status = settle(&bundle, &Standing::UpToDate, at(60));
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(ready(&status).2, "error polling registry: r: 404 not found");
}

#[test]
fn what_can_be_rolled_back_to_outlasts_failures_and_repetitions() {
    let mut bundle = bundle();
    for tag in ["v1", "v2"] {
        bundle = bundle.wanting(tag, '1').deploying("h").deployed();
    }
    for run in 0..20 {
        let next = bundle.wanting("v3", '1').deploying(&format!("h{run}"));
        bundle = match run % 2 {
            0 => next.failed(Cause::ExitCode(1), at(60)),
            _ => next.deployed(),
        };
    }
    let history = bundle.state().history;
    assert_eq!(history.len(), HISTORY_LIMIT);
    let oldest: Vec<&str> = history[8..]
        .iter()
        .map(|entry| entry.tag.as_str())
        .collect();
    assert_eq!(oldest, ["v2", "v1"]);
    let newest = history[..8].iter().map(|entry| entry.result);
    let [bad, good] = [JobStatus::Failed, JobStatus::Succeeded];
    assert!(
        newest.eq([good, bad].into_iter().cycle().take(8)),
        "{history:?}"
    );
}

#[test]
fn history_keeps_the_ten_newest() {
    let mut bundle = bundle();
    for run in 0..15 {
        bundle = bundle
            .wanting(&format!("v{run}"), '1')
            .deploying("h")
            .deployed();
    }
    let status = bundle.state();
    assert_eq!(status.history.len(), HISTORY_LIMIT);
    assert_eq!(newest(&status).tag, "v14");
}

/// What `kubectl wait --for=condition=Ready` decides: a condition of an older generation does not count
/// (kubernetes/kubernetes, staging/src/k8s.io/kubectl/pkg/cmd/wait/condition.go).
fn wait_ends(bundle: &WerfBundle) -> bool {
    let status = bundle.state();
    condition::find(&status.conditions, ConditionType::Ready)
        .is_some_and(|c| c.status == "True" && c.observed_generation == bundle.metadata.generation)
}

/// What kstatus computes (kubernetes-sigs/cli-utils, pkg/kstatus/status: generation, then Reconciling
/// and Stalled, then Ready).
fn kstatus(bundle: &WerfBundle) -> &'static str {
    let status = bundle.state();
    let holds = |kind| {
        condition::find(&status.conditions, kind)
            .is_some_and(|condition| condition.status == "True")
    };
    if status.observed_generation != bundle.metadata.generation || holds(ConditionType::Reconciling)
    {
        "InProgress"
    } else if holds(ConditionType::Stalled) {
        "Failed"
    } else if holds(ConditionType::Ready) {
        "Current"
    } else {
        "InProgress"
    }
}

#[rstest::rstest]
#[case::deploying(Standing::Deploying, "InProgress")]
#[case::not_polled(Standing::Nothing(WhyNothing::NotPolled), "InProgress")]
#[case::no_tag(Standing::Nothing(WhyNothing::NoTag), "InProgress")]
#[case::retrying(Standing::Retrying(at(100)), "InProgress")]
#[case::cannot_prepare(Standing::CannotPrepare { reason: "ValuesNotFound", message: String::new() }, "InProgress")]
#[case::rollback_unknown(Standing::CannotPrepare { reason: ROLLBACK_UNKNOWN, message: String::new() }, "Failed")]
#[case::invalid_spec(Standing::CannotPrepare { reason: INVALID_SPEC, message: String::new() }, "Failed")]
#[case::given_up(Standing::GivenUp, "Failed")]
#[case::up_to_date(Standing::UpToDate, "Current")]
#[case::suspended(Standing::Nothing(WhyNothing::Suspended), "Current")]
fn after_an_edit_nobody_takes_the_old_ready_for_the_new(
    #[case] standing: Standing,
    #[case] expected: &str,
) {
    let mut bundle = bundle().wanting("v1", '1').deploying("h1").deployed();
    assert!(wait_ends(&bundle));
    assert_eq!(kstatus(&bundle), "Current");
    bundle.metadata.generation = Some(2);
    assert!(!wait_ends(&bundle), "before a pass");
    assert_eq!(kstatus(&bundle), "InProgress", "before a pass");
    // Polls are told under the new generation before or after a pass; they say nothing about Ready.
    bundle = bundle.polled();
    assert!(!wait_ends(&bundle));
    bundle.status = Some(settle(&bundle, &standing, at(50)));
    assert_eq!(kstatus(&bundle), expected);
    assert_eq!(wait_ends(&bundle), expected == "Current");
}

#[test]
fn a_failed_preparation_is_no_attempt() {
    let mut failed = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .failed(Cause::ExitCode(1), at(5));
    let standing = Standing::CannotPrepare {
        reason: "ValuesNotFound",
        message: "failed to get Secret 's' from namespace 'apps'".to_owned(),
    };
    for second in [40, 70, 100] {
        failed.status = Some(settle(&failed, &standing, at(second)));
        assert_eq!((failed.state().run, failed.state().attempt), (1, 1));
        let step = plan::step(&failed.state(), false, false, "h1", 3, at(second));
        assert_eq!(step, Step::Retry, "as soon as it can be prepared");
    }
    let told = failed.state().last_error_message;
    assert_eq!(
        told.as_deref(),
        Some("failed to get Secret 's' from namespace 'apps'")
    );
}

#[rstest::rstest]
#[case::another_tag(|b: WerfBundle| b.wanting("v2", '2'), "h2", "NewTag")]
#[case::the_tag_moved(|b: WerfBundle| b.wanting("v1", '9'), "h9", "InputsChanged")]
#[case::other_values_or_spec(|b: WerfBundle| b, "h1-other", "InputsChanged")]
#[case::a_request(|b: WerfBundle| b.with(|s| s.requested = Some(Requested::default())), "h1", "Requested")]
fn what_stalled_starts_over_with_all_attempts(
    #[case] change: fn(WerfBundle) -> WerfBundle,
    #[case] hash: &str,
    #[case] cause: &'static str,
) {
    let mut stalled = bundle().wanting("v1", '1').deploying("h1");
    for second in [0, 1_000, 2_000, 3_000] {
        if second > 0 {
            let retry = claim_retry(
                &stalled,
                |run, attempt| format!("{run}-{attempt}"),
                at(second),
            );
            stalled.status = Some(retry);
        }
        stalled = stalled.failed(Cause::ExitCode(1), at(second + 1));
    }
    assert_eq!(stalled.state().attempt, 4, "three retries");
    assert_eq!(ready(&stalled.state()).1, "RetriesExhausted");
    let mut changed = change(stalled);
    let requested = changed.state().requested.is_some();
    let step = plan::step(&changed.state(), requested, false, hash, 3, at(4_000));
    assert_eq!(step, Step::Start { cause });
    let run = NewRun {
        inputs_hash: hash.to_owned(),
        cause,
        ..new_run()
    };
    changed.status = Some(claim(
        &changed,
        run,
        |run, attempt| format!("{run}-{attempt}"),
        at(4_001),
    ));
    assert_eq!((changed.state().run, changed.state().attempt), (2, 1));
    let failed = changed.failed(Cause::ExitCode(1), at(4_002)).state();
    let step = plan::step(&failed, false, false, hash, 3, at(4_003));
    assert_eq!(step, Step::RetryAt(at(4_032)), "30 s again");
}

#[test]
fn a_higher_limit_goes_on_where_it_stopped() {
    let stalled = bundle()
        .wanting("v1", '1')
        .deploying("h1")
        .with(|status| status.attempt = 4)
        .failed(Cause::ExitCode(1), at(0));
    let step = |limit| plan::step(&stalled.state(), false, false, "h1", limit, at(1_000));
    assert_eq!((step(3), step(4)), (Step::GiveUp, Step::Retry));
}

#[test]
fn a_claim_that_is_given_up_leaves_what_was_deployed() {
    let deployed = bundle().wanting("v1", '1').deploying("h1").deployed();
    let mut claimed = deployed.wanting("v2", '2').deploying("h2");
    claimed.status = Some(abandon(&claimed));
    claimed.spec.suspend = true;
    let resting = Standing::Nothing(WhyNothing::Suspended);
    let status = settle(&claimed, &resting, at(20));
    assert_eq!(status.phase, Some(Phase::Synced));
    assert_eq!(status.last_job_status, Some(JobStatus::Succeeded));
}

#[test]
fn suspending_and_resuming_are_told_once() {
    let mut bundle = bundle().wanting("v1", '1').deploying("h1").deployed();
    bundle.spec.suspend = true;
    let resting = Standing::Nothing(WhyNothing::Suspended);
    let suspended = settle(&bundle, &resting, at(20));
    assert_eq!(suspension(&bundle, &suspended), Some(Suspension::Begun));
    bundle.status = Some(suspended);
    assert_eq!(
        suspension(&bundle, &settle(&bundle, &resting, at(30))),
        None
    );
    let deploying = settle(&bundle, &Standing::Deploying, at(40));
    assert_eq!(suspension(&bundle, &deploying), None, "forced meanwhile");
    bundle.spec.suspend = false;
    let resumed = settle(&bundle, &Standing::UpToDate, at(50));
    assert_eq!(suspension(&bundle, &resumed), Some(Suspension::Ended));
}

#[test]
fn a_job_that_runs_is_not_called_failed_because_one_look_was_refused() {
    let running = bundle().wanting("1.0.0", 'a').deploying("hash").confirmed();
    let status = wait(&running, None, at(1));
    let running = running.with(|it| *it = status.clone());
    let refused = Standing::CannotPrepare {
        reason: "Refused",
        message: "cannot read the Job: Unauthorized".to_owned(),
    };
    let blip = settle(&running, &refused, at(2));
    assert_eq!(ready(&blip).1, "Refused");
    let after = wait(&running.clone().with(|it| *it = blip), None, at(3));
    assert_eq!(ready(&after), ready(&status));
    assert_eq!(after.phase, Some(Phase::Syncing));
    assert_eq!(after.last_error_message, None);
}
