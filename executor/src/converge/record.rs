//! The end of a Job: collect its log, record the outcome, tell people.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use tracing::{Instrument, info, warn};
use werf_shared::bundle::WerfBundle;
use werf_shared::clock;
use werf_shared::error::chain;

use super::settle::store;
use super::trace::{Part, span_of_run, trace_id};
use super::{Context, ConvergeError, Next};
use crate::decide::job::files;
use crate::decide::mask::Masks;
use crate::decide::outcome::Outcome;
use crate::decide::values::{self, Source, SourceKind};
use crate::decide::{log_tail, registry_access, status};
use crate::io::events::{self, Reason};
use crate::io::{jobs, logs};

/// Records how a Job ended.
pub(super) async fn record(
    context: &Context,
    bundle: &WerfBundle,
    job: Option<(&Job, Vec<Pod>)>,
    outcome: Outcome,
) -> Result<Next, ConvergeError> {
    let log_tail = match &job {
        Some((job, pods)) => collect_logs(context, bundle, job, pods).await,
        None => None,
    };
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let trace_id = run
        .and_then(|run| run.traceparent.as_deref())
        .and_then(trace_id)
        .map(ToOwned::to_owned);
    let now = clock::now();
    let recorded = status::record(bundle, &outcome, log_tail, trace_id, now);
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
        Outcome::Failed(cause) => {
            let message = cause.message();
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

/// The end of the Job's log, masked. A log that cannot be had does not hold up the result.
async fn collect_logs(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    pods: &[Pod],
) -> Option<String> {
    let span = span_of_run(Part::CollectLogs, bundle);
    async {
        let pod = pods.last()?;
        // Without knowing what to mask nothing is shown.
        let Some(secrets) = secrets_of(context, job).await else {
            warn!("Log not collected: the values to mask in it are not known");
            return None;
        };
        match logs::end_of_log(&context.client, pod).await {
            Ok(log) => Some(log_tail::tail(&log, &secrets, log_tail::STATUS_LIMIT)),
            Err(error) => {
                warn!(error = %chain(&error), "Log not collected");
                None
            }
        }
    }
    .instrument(span)
    .await
}

/// Everything in a Job's files that must not be shown; `None` when that cannot be known.
async fn secrets_of(context: &Context, job: &Job) -> Option<Vec<String>> {
    if files::secret_of(job).is_none() {
        return Some(Vec::new());
    }
    let secret = jobs::files_of(&context.client, job).await.ok()??;
    let mut data = secret.data?;
    let mut masks = Masks::default();
    if let Some(file) = data.remove(files::VALUES_KEY) {
        let source = Source {
            index: 0,
            kind: SourceKind::Secret,
            name: "values".to_owned(),
            documents: [(files::VALUES_KEY.to_owned(), file.0)].into(),
        };
        masks.join(values::resolve(&[source]).ok()?.secret_texts);
    }
    if let Some(config) = data.remove(files::DOCKER_CONFIG_KEY) {
        masks.join(registry_access::secret_texts(&config.0)?);
    }
    Some(masks.longest_first())
}
