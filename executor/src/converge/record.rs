//! The end of a Job: collect its log, record the outcome, tell people.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::{Instrument, info, warn};
use werf_shared::bundle::WerfBundle;
use werf_shared::clock;
use werf_shared::error::chain;

use super::masks::masking;
use super::settle::store;
use super::trace::{Part, span_of_run, trace_id};
use super::{BUSY, Context, ConvergeError, Next};
use crate::decide::job::log;
use crate::decide::log_tail::{self, Kept, Read};
use crate::decide::mask::Masker;
use crate::decide::outcome::{self, Cause, Failure, Outcome, Remains};
use crate::decide::status::{self, Logs};
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::jobs::{self, Ownership};
use crate::io::logs;
use crate::io::watch::Again;
use crate::seeded::{self, Bug};

/// Records that a Job is gone whose end was not recorded.
pub(super) async fn record_removed(
    context: &Context,
    bundle: &WerfBundle,
) -> Result<Next, ConvergeError> {
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let failure = Failure {
        waiting: run.and_then(|run| run.waiting.clone()),
        ..Cause::Removed.into()
    };
    store_outcome(context, bundle, Outcome::Failed(failure), Logs::default()).await
}

/// Records how a Job ended. Its log is kept first: after a crash in between, it is there already.
pub(super) async fn record(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<Next, ConvergeError> {
    let Some(room) = context.rooms.collecting.enter().await else {
        return Ok(Next::Rest(Again::After(BUSY)));
    };
    let (outcome, logs) = look_back(context, bundle, job).await?;
    drop(room);
    if seeded::has(Bug::DeletedBeforeRecorded) {
        jobs::delete(&context.client, job).await?;
    }
    let next = store_outcome(context, bundle, outcome, logs.kept.clone()).await?;
    logs.tell(context, bundle, job).await;
    Ok(next)
}

/// How a Job ended, and what was had of its log. What may pass is waited for a while: the log is lost
/// with the next Job at the latest.
async fn look_back(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<(Outcome, Collected), ConvergeError> {
    let span = span_of_run(Part::CollectLogs, bundle);
    let (client, rooms) = (&context.client, &context.rooms);
    let again = outcome::ended_lately(job, clock::now());
    // First what takes long, then what takes memory.
    let reading = async {
        let pods = jobs::pods(client, job).await?;
        Ok::<_, ApiError>(match outcome::telling(&pods) {
            Some(pod) => (Some(logs::end_of_log(client, pod).await), pods),
            None => (None, pods),
        })
    };
    let (read, pods) = match reading.instrument(span.clone()).await {
        Ok((Some(Err(error)), _)) | Err(error) if again && error.may_pass() => {
            return Err(error.into());
        }
        Ok((read, pods)) => (read, Some(pods)),
        // The result is recorded whether or not its Pods can be seen.
        Err(error) => (Some(Err(error)), None),
    };
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let waiting = run.and_then(|run| run.waiting.clone());
    let ended = job.clone();
    let work = move |masker: Option<&Masker>| {
        let remains = Remains {
            pods: pods.as_deref(),
            waiting: waiting.as_ref(),
            masker,
        };
        let kept = read.map(|read| masked(read, masker));
        (outcome::ended(&ended, remains), kept)
    };
    let (outcome, kept) = masking((client, &rooms.masking), job, again, work)
        .instrument(span.clone())
        .await?;
    let collected = match kept {
        Some(kept) => keep(context, job, kept, again).instrument(span).await?,
        None => Collected::default(),
    };
    Ok((outcome, collected))
}

async fn store_outcome(
    context: &Context,
    bundle: &WerfBundle,
    outcome: Outcome,
    logs: Logs,
) -> Result<Next, ConvergeError> {
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let trace_id = run
        .and_then(|run| run.traceparent.as_deref())
        .and_then(trace_id)
        .map(ToOwned::to_owned);
    let now = clock::now();
    let recorded = status::record(bundle, &outcome, logs, trace_id, now);
    let span = span_of_run(Part::PatchStatus, bundle);
    let next = store(context, bundle, recorded)
        .instrument(span.clone())
        .await?;
    let tag = run.map_or("", |run| run.tag.as_str());
    let started = run.map_or(now, |run| run.started_at.0);
    context.metrics.ended(&outcome, now.duration_since(started));
    let (reason, note) = match &outcome {
        Outcome::Succeeded => {
            span.in_scope(|| info!("Synced"));
            (Reason::Synced, format!("Deployed {tag}"))
        }
        Outcome::Failed(failure) => {
            let message = failure.message();
            span.in_scope(|| warn!(reason = %message, "Deployment failed"));
            (Reason::JobFailed, format!("Deploying {tag}: {message}"))
        }
    };
    let status = bundle.status.as_ref();
    let job = status.and_then(|status| {
        let namespace = status.resolved_target_namespace.as_deref()?;
        Some((namespace, status.active_job_name.as_deref()?))
    });
    events::tell(&context.recorder, bundle, job, reason, &note).await;
    Ok(next)
}

/// What was had of a log.
#[derive(Default)]
struct Collected {
    kept: Logs,
    /// Why something is missing.
    unavailable: Option<String>,
}

impl Collected {
    /// Tells what is missing of a Job's log.
    async fn tell(&self, context: &Context, bundle: &WerfBundle, job: &Job) {
        let Some(why) = &self.unavailable else {
            return;
        };
        let namespace = job.namespace().unwrap_or_default();
        let name = job.name_any();
        let about = Some((namespace.as_str(), name.as_str()));
        let note = format!("The log of Job {name} is not kept: {why}");
        let recorder = &context.recorder;
        events::tell(recorder, bundle, about, Reason::LogsUnavailable, &note).await;
    }
}

/// What may be kept of a log, or why nothing.
fn masked(read: Result<Read, ApiError>, masker: Option<&Masker>) -> Result<Kept, String> {
    // Without knowing what to mask nothing is shown.
    match (masker, read) {
        (None, _) => Err(
            "what to mask in it is not known, because the Job's Secret cannot be read".to_owned(),
        ),
        (Some(masker), _) if masker.is_closed() => {
            Err("the Job's Secret holds too much to look for all of it in the log".to_owned())
        }
        (_, Err(error)) => Err(chain(&error)),
        (Some(masker), Ok(read)) => Ok(log_tail::keep(&read, masker)),
    }
}

/// Keeps a log. One that cannot be kept does not hold up the result for long.
async fn keep(
    context: &Context,
    job: &Job,
    log: Result<Kept, String>,
    again: bool,
) -> Result<Collected, ApiError> {
    let missing = |kept, why: String| {
        warn!(job.name = %job.name_any(), "Log not kept: {why}");
        Collected {
            kept,
            unavailable: Some(why),
        }
    };
    let Kept { tail, whole } = match log {
        Ok(kept) => kept,
        Err(why) => return Ok(missing(Logs::default(), why)),
    };
    let mut kept = Logs {
        tail: Some(tail),
        config_map: None,
    };
    let Some(whole) = whole else {
        return Ok(Collected {
            kept,
            unavailable: None,
        });
    };
    let config_map = log::config_map(job, whole);
    let name = config_map.name_any();
    Ok(
        match jobs::create_log(&context.client, job, &config_map).await {
            Ok(Ownership::Ours) => {
                kept.config_map = Some(name);
                Collected {
                    kept,
                    unavailable: None,
                }
            }
            Ok(Ownership::Foreign) => {
                missing(kept, format!("ConfigMap {name} belongs to somebody else"))
            }
            Err(error) if again && error.may_pass() => return Err(error),
            Err(error) => missing(kept, chain(&error)),
        },
    )
}
