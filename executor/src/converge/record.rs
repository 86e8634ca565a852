//! The end of a Job: collect its log, record the outcome, tell people.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tracing::{Instrument, info, warn};
use werf_shared::bundle::WerfBundle;
use werf_shared::clock;
use werf_shared::error::chain;

use super::masks::masker_of;
use super::settle::store;
use super::trace::{Part, span_of_run, trace_id};
use super::{Context, ConvergeError, Next};
use crate::decide::job::{dismiss, log};
use crate::decide::log_tail::{self, Kept};
use crate::decide::mask::Masker;
use crate::decide::outcome::{self, Cause, Failure, Outcome, Remains};
use crate::decide::status::{self, Logs};
use crate::io::events::{self, Reason};
use crate::io::jobs::{self, Ownership};
use crate::io::logs;
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
    let (outcome, logs) = look_back(context, bundle, job).await?;
    if seeded::has(Bug::DeletedBeforeRecorded) {
        jobs::delete(&context.client, job).await?;
    }
    let next = store_outcome(context, bundle, outcome, logs.kept.clone()).await?;
    logs.tell(context, bundle, job).await;
    Ok(next)
}

/// How a Job ended, and what was had of its log.
pub(super) async fn look_back(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<(Outcome, Collected), ConvergeError> {
    let pods = jobs::pods(&context.client, job).await?;
    let masker = masker_of(&context.client, job).await;
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let remains = Remains {
        pods: &pods,
        // What a deployment waited for says nothing of a Job that uninstalls.
        waiting: run
            .filter(|_| !dismiss::is_one(job))
            .and_then(|run| run.waiting.as_ref()),
        masker: masker.as_ref(),
    };
    let outcome = outcome::ended(job, remains);
    let logs = match outcome::telling(&pods) {
        Some(pod) => {
            let collected = collect_logs(context, job, pod, masker.as_ref());
            let span = span_of_run(Part::CollectLogs, bundle);
            collected.instrument(span).await
        }
        None => Collected::default(),
    };
    Ok((outcome, logs))
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
    store(context, bundle, recorded)
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
    Ok(Next::Continue)
}

/// What was had of a log.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) kept: Logs,
    /// Why something is missing.
    unavailable: Option<String>,
}

impl Collected {
    /// Tells what is missing of a Job's log.
    pub(super) async fn tell(&self, context: &Context, bundle: &WerfBundle, job: &Job) {
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

/// Keeps the log of a Job's Pod, masked. A log that cannot be had does not hold up the result.
async fn collect_logs(
    context: &Context,
    job: &Job,
    pod: &Pod,
    masker: Option<&Masker>,
) -> Collected {
    let missing = |kept, why: String| {
        warn!(job.name = %job.name_any(), "Log not kept: {why}");
        Collected {
            kept,
            unavailable: Some(why),
        }
    };
    // Without knowing what to mask nothing is shown.
    let Some(masker) = masker else {
        let why = "what to mask in it is not known, because the Job's Secret cannot be read";
        return missing(Logs::default(), why.to_owned());
    };
    let read = match logs::end_of_log(&context.client, pod).await {
        Ok(read) => read,
        Err(error) => return missing(Logs::default(), chain(&error)),
    };
    let Kept { tail, whole } = {
        // Logs can be large, and Jobs may end all at once.
        let _room = context.resolving.acquire().await;
        log_tail::keep(&read, masker)
    };
    drop(read);
    let mut kept = Logs {
        tail: Some(tail),
        config_map: None,
    };
    let Some(whole) = whole else {
        return Collected {
            kept,
            unavailable: None,
        };
    };
    let config_map = log::config_map(job, whole);
    let name = config_map.name_any();
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
        Err(error) => missing(kept, chain(&error)),
    }
}
