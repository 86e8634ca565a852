//! A bundle whose run has been claimed: create its Job, let it run, and see how it stands.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::{Instrument, info};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::clock;
use werf_shared::telemetry::propagation;

use super::begin::resolve_values;
use super::record::record;
use super::settle::{cannot_prepare_saying, patch_status};
use super::trace::{Part, span_of_run};
use super::{Again, Context, ConvergeError, LOOK_AGAIN, Next};
use crate::decide::inputs;
use crate::decide::job::{self, BundleIdentity, JobOrder};
use crate::decide::outcome::{self, Cause, Outcome, Progress};
use crate::decide::plan::Claimed;
use crate::decide::settings::Settings;
use crate::decide::status;
use crate::decide::values::Values;
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::{bundles, jobs};

/// Looks at the Job of a claimed run and takes it further.
pub(super) async fn follow(
    context: &Context,
    bundle: &WerfBundle,
    claimed: &Claimed,
) -> Result<Next, ConvergeError> {
    let uid = bundle.uid().unwrap_or_default();
    let Some(job) = jobs::get(&context.client, &claimed.namespace, &claimed.job).await? else {
        if claimed.confirmed {
            return record(context, bundle, None, Outcome::Failed(Cause::Removed)).await;
        }
        return create(context, bundle, claimed).await;
    };
    if !jobs::belongs_to(&job, &uid) {
        let message = format!(
            "Job {} in namespace {} belongs to someone else",
            claimed.job, claimed.namespace
        );
        return cannot_prepare_saying(context, bundle, "JobNameConflict", message).await;
    }
    match outcome::progress(&job) {
        Progress::Suspended => release(context, bundle, &job).await,
        Progress::Ended => {
            let pods = jobs::pods(&context.client, &job).await?;
            let outcome = outcome::ended(&job, &pods);
            record(context, bundle, Some((&job, pods)), outcome).await
        }
        Progress::Running if !claimed.confirmed => {
            let confirmed = status::confirm(bundle, clock::now());
            patch_status(context, bundle, confirmed).await?;
            Ok(Next::Rest(Again::After(LOOK_AGAIN)))
        }
        Progress::Running => Ok(Next::Rest(Again::After(LOOK_AGAIN))),
    }
}

/// The inputs of the claimed run as they are now, or what keeps them from being read. `None` when
/// they are no longer the ones that were claimed.
async fn claimed_inputs(
    context: &Context,
    bundle: &WerfBundle,
) -> Result<Option<(Settings, Values)>, ConvergeError> {
    let Some(run) = bundle.status.as_ref().and_then(|s| s.current_run.as_ref()) else {
        return Ok(None);
    };
    let Ok(settings) = Settings::of(bundle) else {
        return Ok(None);
    };
    let resolved = resolve_values(context, bundle, &settings, run.traceparent.as_deref()).await?;
    let Ok(values) = resolved else {
        return Ok(None);
    };
    let uid = bundle.uid().unwrap_or_default();
    let key = &context.inputs_key;
    let hash = inputs::hash(
        key,
        &uid,
        &run.tag,
        run.digest.as_deref(),
        &settings,
        &values,
    );
    Ok((hash == run.inputs_hash).then_some((settings, values)))
}

/// Creates the Job of a claimed run.
async fn create(
    context: &Context,
    bundle: &WerfBundle,
    claimed: &Claimed,
) -> Result<Next, ConvergeError> {
    let Some((settings, values)) = claimed_inputs(context, bundle).await? else {
        return abandon(context, bundle).await;
    };
    let default = WerfBundleStatus::default();
    let stored = bundle.status.as_ref().unwrap_or(&default);
    let Some(run) = &stored.current_run else {
        return abandon(context, bundle).await;
    };
    let span = span_of_run(Part::CreateJob, bundle);
    let created = async {
        let traceparent = propagation::current_traceparent();
        let key = BundleKey::of(bundle);
        let uid = bundle.uid().unwrap_or_default();
        let order = JobOrder {
            job: &claimed.job,
            bundle: BundleIdentity {
                namespace: &key.namespace,
                name: &key.name,
                uid: &uid,
            },
            tag: &run.tag,
            digest: run.digest.as_deref(),
            settings: &settings,
            values: &values,
            inputs_hash: &run.inputs_hash,
            run: stored.run,
            attempt: stored.attempt,
            traceparent: traceparent.as_deref(),
            image: &context.job_image,
        };
        let created = jobs::create(&context.client, &job::build(&order)).await;
        if created.is_ok() {
            info!(job.name = %claimed.job, attempt = stored.attempt, "Job created");
        }
        created
    }
    .instrument(span)
    .await;
    match created {
        Ok(job) => {
            let note = format!("Created Job {} to deploy {}", claimed.job, run.tag);
            let made = Some((claimed.namespace.as_str(), claimed.job.as_str()));
            events::tell(&context.recorder, bundle, made, Reason::JobCreated, &note).await;
            confirm_or_undo(context, bundle, &job, &values).await
        }
        // Another replica made it; the next look adopts it.
        Err(error) => Err(error.into()),
    }
}

/// After a Job was created: lets it run and says so in the status. If the claim was given up or the
/// bundle deleted in the meantime, the Job is removed again.
async fn confirm_or_undo(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    values: &Values,
) -> Result<Next, ConvergeError> {
    if let Some(file) = &values.file {
        let secret = job::values_secret(job, file);
        jobs::create_values(&context.client, job, &secret).await?;
        jobs::resume(&context.client, job).await?;
    }
    let confirmed = status::confirm(bundle, clock::now());
    match patch_status(context, bundle, confirmed).await {
        Ok(()) => Ok(Next::Rest(Again::After(LOOK_AGAIN))),
        Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => {
            let key = BundleKey::of(bundle);
            let now = bundles::get(&context.client, &key).await?;
            let still_claimed = now.is_some_and(|now| {
                now.uid() == bundle.uid()
                    && now.metadata.deletion_timestamp.is_none()
                    && still_concerns(&now, &job.name_any())
            });
            if !still_claimed {
                jobs::delete(&context.client, job).await?;
                info!(
                    bundle.namespace = %key.namespace,
                    bundle.name = %key.name,
                    job.name = %job.name_any(),
                    "Job removed: its claim was given up"
                );
            }
            Ok(Next::Continue)
        }
        Err(error) => Err(error.into()),
    }
}

/// The Job is the claimed one, or has been recorded already.
fn still_concerns(bundle: &WerfBundle, job: &str) -> bool {
    bundle.status.as_ref().is_some_and(|status| {
        status.active_job_name.as_deref() == Some(job)
            || status.history.iter().any(|entry| entry.job == job)
    })
}

/// Gives a suspended Job its values and lets it run; one whose values have changed since is
/// replaced, because it never ran.
async fn release(context: &Context, bundle: &WerfBundle, job: &Job) -> Result<Next, ConvergeError> {
    if let Some((_, values)) = claimed_inputs(context, bundle).await? {
        confirm_or_undo(context, bundle, job, &values).await
    } else {
        jobs::delete(&context.client, job).await?;
        abandon(context, bundle).await
    }
}

/// Gives up a claim whose Job never ran: its inputs have changed. The next pass claims a new run.
async fn abandon(context: &Context, bundle: &WerfBundle) -> Result<Next, ConvergeError> {
    let mut stored = bundle.status.clone().unwrap_or_default();
    stored.active_job_name = None;
    stored.current_run = None;
    patch_status(context, bundle, stored).await?;
    Ok(Next::Continue)
}
