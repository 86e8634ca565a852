//! What the status says after each thing that can happen, and its summary: phase and conditions.
//! The summary is always computed anew from the rest, so that it cannot drift from it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{CurrentRun, HistoryEntry, JobStatus, Stage, Waiting};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};

use super::outcome::Outcome;
use super::plan::{self, Step, WhyNothing};
use super::release;
use super::rollback;

mod history;
mod summary;

use summary::summarize;

/// The reason of `Ready` when a tag cannot be rolled back to.
pub const ROLLBACK_UNKNOWN: &str = "RollbackTagUnknown";

/// Why `Ready` is false while the spec says something that the schema did not catch.
pub const INVALID_SPEC: &str = "InvalidSpec";

/// The reason of `Ready` while nothing is polled or deployed.
const SUSPENDED: &str = "Suspended";

/// The reason of the condition when somebody has the name of a Job.
pub const JOB_NAME_CONFLICT: &str = "JobNameConflict";

/// The reason of the condition when another bundle has the release.
pub const RELEASE_CONFLICT: &str = "ReleaseConflict";

/// The reason of the condition when a source of values or a Secret of the registry could not be read
/// for some time.
pub const SOURCES_UNREADABLE: &str = "SourcesUnreadable";

/// The reason of the condition when the apiserver has failed in something else for some time.
pub const APISERVER_FAILING: &str = "ApiserverFailing";

/// The reason of the condition when a bundle that is going could not be uninstalled so far.
pub const UNINSTALL_FAILED: &str = "UninstallFailed";

/// Where a bundle stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The wanted inputs are deployed.
    UpToDate,
    /// A Job is being made or runs.
    Deploying,
    /// Nothing is wanted.
    Nothing(WhyNothing),
    /// Something keeps a Job from being made; looked at again by itself.
    CannotPrepare {
        /// The reason of the condition.
        reason: &'static str,
        /// What and where.
        message: String,
    },
    /// The last attempt failed; the next one comes at that time.
    Retrying(Timestamp),
    /// The last attempt failed and was the last one allowed.
    GivenUp,
    /// The bundle is going, and waits until its Jobs are gone.
    Leaving(String),
    /// The bundle is going, and its release is being uninstalled.
    Uninstalling(String),
    /// That has failed so far, or cannot begin; tried again without end.
    UninstallFailed(String),
}

/// What a new run is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// The tag.
    pub tag: String,
    /// Its digest, where it is known.
    pub digest: Option<String>,
    /// The hash of its inputs.
    pub inputs_hash: String,
    /// Why it starts.
    pub cause: &'static str,
    /// W3C trace context of the wish.
    pub traceparent: Option<String>,
    /// The namespace its Job will be in.
    pub target_namespace: String,
}

/// The status that claims a new run: its Job has a name, but does not exist yet.
pub fn claim(
    bundle: &WerfBundle,
    run: NewRun,
    job_name: impl Fn(i64, i32) -> String,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.run += 1;
    status.attempt = 1;
    status.active_job_name = Some(job_name(status.run, 1));
    status.resolved_target_namespace = Some(run.target_namespace);
    status.current_run = Some(CurrentRun {
        tag: run.tag,
        digest: run.digest,
        inputs_hash: run.inputs_hash,
        generation: bundle.metadata.generation.unwrap_or_default(),
        cause: run.cause.to_owned(),
        started_at: Time(now),
        traceparent: run.traceparent,
        request: status.requested.take(),
        waiting: None,
    });
    prepared(&mut status);
    status.last_job_status = None;
    summarize(&mut status, bundle, &Standing::Deploying, now);
    status
}

/// The status that claims another attempt of the current run.
pub fn claim_retry(
    bundle: &WerfBundle,
    job_name: impl Fn(i64, i32) -> String,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.attempt += 1;
    status.active_job_name = Some(job_name(status.run, status.attempt));
    if let Some(run) = &mut status.current_run {
        run.started_at = Time(now);
        run.generation = bundle.metadata.generation.unwrap_or_default();
        "Retry".clone_into(&mut run.cause);
        run.waiting = None;
    }
    prepared(&mut status);
    status.last_job_status = None;
    summarize(&mut status, bundle, &Standing::Deploying, now);
    status
}

/// The status that gives up a claim whose Job never ran. The person's request it answered, if any,
/// waits again.
pub fn abandon(bundle: &WerfBundle) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.active_job_name = None;
    // As it was before the claim.
    status.last_job_status = status.history.first().map(|entry| entry.result);
    let run = status.current_run.take();
    if status.requested.is_none() {
        status.requested = run.and_then(|run| run.request);
    }
    status
}

/// The status that gives up a claim and says why; the next one is made later.
pub fn step_back(bundle: &WerfBundle, standing: &Standing, now: Timestamp) -> WerfBundleStatus {
    let mut without = bundle.clone();
    without.status = Some(abandon(bundle));
    settle(&without, standing, now)
}

/// The status that says the claimed Job exists.
pub fn confirm(bundle: &WerfBundle, job: &Job, now: Timestamp) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.last_job_status = Some(JobStatus::Running);
    // From here on the Job may deploy it.
    status.release = release::tried(job).or(status.release);
    prepared(&mut status);
    summarize(&mut status, bundle, &Standing::Deploying, now);
    status
}

/// Since when what is in trouble can be the run's doing: since its first attempt, because the next one
/// changes nothing of what is as wanted already. By the apiserver's clock, as far as it is known.
pub fn since(bundle: &WerfBundle, job: &Job) -> Timestamp {
    let created = job.metadata.creation_timestamp.as_ref();
    let created = created.map_or(Timestamp::MIN, |created| created.0);
    let Some(status) = &bundle.status else {
        return created;
    };
    let earlier = usize::try_from(status.attempt - 1).unwrap_or_default();
    let attempts = status.history.iter().take(earlier);
    attempts
        .map(|entry| entry.started.0)
        .fold(created, Ord::min)
}

/// The status that says what keeps the current run from ending.
pub fn wait(bundle: &WerfBundle, waiting: Option<Waiting>, now: Timestamp) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    if let Some(run) = &mut status.current_run {
        run.waiting = waiting;
    }
    // It runs: whatever kept it from that is over.
    prepared(&mut status);
    summarize(&mut status, bundle, &Standing::Deploying, now);
    status
}

/// What is kept of a Job's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// The end of it.
    pub tail: Option<String>,
    /// The `ConfigMap` with all of it.
    pub config_map: Option<String>,
}

/// The status that records how the current Job ended. Unless another tag waits already, it says at
/// once what follows, so that an end is one write.
pub fn record(
    bundle: &WerfBundle,
    outcome: &Outcome,
    logs: Logs,
    trace_id: Option<String>,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    let job = status.active_job_name.take().unwrap_or_default();
    if let Some(run) = &mut status.current_run {
        run.waiting = None;
    }
    let run = status.current_run.clone();
    let (reason, message) = match outcome {
        Outcome::Succeeded => (None, None),
        Outcome::Failed(failure) => (Some(failure.reason().to_owned()), Some(failure.message())),
    };
    let result = match outcome {
        Outcome::Succeeded => JobStatus::Succeeded,
        Outcome::Failed(_) => JobStatus::Failed,
    };
    status.last_job_status = Some(result);
    status.last_job_logs = logs.tail.filter(|log| !log.is_empty());
    if let Some(run) = run {
        if *outcome == Outcome::Succeeded {
            status.last_applied_tag = Some(run.tag.clone());
            status.last_applied_digest.clone_from(&run.digest);
            status.last_sync_time = Some(Time(now));
        }
        status.history.insert(
            0,
            HistoryEntry {
                tag: run.tag,
                digest: run.digest,
                job,
                cause: run.cause,
                started: run.started_at,
                finished: Time(now),
                result,
                reason,
                message: message.clone(),
                logs: logs.config_map,
                trace_id,
            },
        );
        history::forget(&mut status.history);
    }
    match message {
        Some(message) => set_error(&mut status, Stage::Deploying, message, now),
        None => clear_error(&mut status, &[Stage::Preparing, Stage::Deploying]),
    }
    if let Some(standing) = standing_after(&status, bundle, now) {
        summarize(&mut status, bundle, &standing, now);
    }
    status
}

/// Where the bundle stands after its Job ended, unless that is for the next pass to find out.
fn standing_after(
    status: &WerfBundleStatus,
    bundle: &WerfBundle,
    now: Timestamp,
) -> Option<Standing> {
    let run = status.current_run.as_ref()?;
    let retry_limit = bundle.spec.converge.retry.limit;
    let overtaken = status.requested.is_some()
        || rollback::turn(bundle, status).is_some()
        || rollback::unknown(bundle, status).is_some()
        || Some(run.generation) != bundle.metadata.generation
        || status.desired_tag.as_ref() != Some(&run.tag)
        || status.desired_digest != run.digest;
    if overtaken {
        return None;
    }
    match plan::step(status, false, false, &run.inputs_hash, retry_limit, now) {
        Step::UpToDate => Some(Standing::UpToDate),
        Step::RetryAt(at) => Some(Standing::Retrying(at)),
        Step::GiveUp => Some(Standing::GivenUp),
        Step::Start { .. } | Step::Retry => None,
    }
}

/// The status for where a bundle stands, apart from the steps above.
pub fn settle(bundle: &WerfBundle, standing: &Standing, now: Timestamp) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    match standing {
        Standing::CannotPrepare { message, .. } => {
            // The time stays while the error stays, or every look would be a write; and an error of
            // polling that came later is the newer one.
            let asked =
                status.requested.is_some() && status.last_error_stage != Some(Stage::Preparing);
            if asked || status.last_error_message.is_none() || !is_told(bundle, message) {
                set_error(&mut status, Stage::Preparing, message.clone(), now);
            }
        }
        Standing::UpToDate => {
            status.requested = None;
            prepared(&mut status);
        }
        Standing::Retrying(_) | Standing::GivenUp => prepared(&mut status),
        Standing::UninstallFailed(message) => {
            if !is_told(bundle, message) {
                set_error(&mut status, Stage::Uninstalling, message.clone(), now);
            }
        }
        Standing::Uninstalling(_) => clear_error(&mut status, &[Stage::Uninstalling]),
        Standing::Deploying | Standing::Leaving(_) | Standing::Nothing(_) => {}
    }
    summarize(&mut status, bundle, standing, now);
    status
}

/// The bundle says already, in its `Ready` condition, that this is what keeps a Job from being made.
pub fn is_told(bundle: &WerfBundle, obstacle: &str) -> bool {
    bundle
        .status
        .as_ref()
        .and_then(|status| condition::find(&status.conditions, ConditionType::Ready))
        .is_some_and(|ready| ready.message == obstacle)
}

/// A change of `spec.suspend` that a status tells for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// Nothing is polled or deployed from now on.
    Begun,
    /// Polls and deployments go on.
    Ended,
}

/// Whether this status tells that the bundle was suspended or resumed. A deployment that is forced
/// meanwhile is no end.
pub fn suspension(bundle: &WerfBundle, after: &WerfBundleStatus) -> Option<Suspension> {
    let told = |status: &WerfBundleStatus| {
        condition::find(&status.conditions, ConditionType::Ready)
            .is_some_and(|ready| ready.reason == SUSPENDED)
    };
    match (bundle.status.as_ref().is_some_and(told), told(after)) {
        (false, true) => Some(Suspension::Begun),
        (true, false) if !bundle.spec.suspend => Some(Suspension::Ended),
        _ => None,
    }
}

/// The bundle says so since less than `span` ago, of a Job that could not be made.
pub fn is_told_lately(bundle: &WerfBundle, reason: &str, span: Duration, now: Timestamp) -> bool {
    let Some(status) = &bundle.status else {
        return false;
    };
    let told = condition::find(&status.conditions, ConditionType::Ready)
        .is_some_and(|ready| ready.reason == reason);
    let since = status
        .last_error_time
        .as_ref()
        .filter(|_| {
            let stage = status.last_error_stage;
            stage == Some(Stage::Preparing) || stage == Some(Stage::Uninstalling)
        })
        .map(|time| now.duration_since(time.0));
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    told && since.is_some_and(|since| since < span)
}

/// Forgets what kept a Job from being made.
pub(super) fn prepared(status: &mut WerfBundleStatus) {
    clear_error(status, &[Stage::Preparing]);
}

fn set_error(status: &mut WerfBundleStatus, stage: Stage, message: String, now: Timestamp) {
    status.last_error_message = Some(message);
    status.last_error_time = Some(Time(now));
    status.last_error_stage = Some(stage);
}

fn clear_error(status: &mut WerfBundleStatus, stages: &[Stage]) {
    if status
        .last_error_stage
        .is_some_and(|stage| stages.contains(&stage))
    {
        status.last_error_message = None;
        status.last_error_time = None;
        status.last_error_stage = None;
    }
}

#[cfg(test)]
mod tests;
