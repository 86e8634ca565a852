//! A bundle whose run has been claimed: create its Job, let it run, and see how it stands.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::{Instrument, info};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::clock;
use werf_shared::telemetry::propagation;

use super::attend::attend;
use super::begin::{inputs_key, resolve_access, resolve_values};
use super::exclusive::{self, Answer};
use super::left_over::{discard, sweep};
use super::record::{record, record_removed};
use super::settle::{cannot_prepare, cannot_prepare_saying, patch_status, step_back};
use super::trace::{Part, span_of_run};
use super::{Context, ConvergeError, LEAVING, LOOK_AGAIN, Next};
use crate::decide::inputs;
use crate::decide::job::files::Files;
use crate::decide::job::{self, BundleIdentity, JobOrder};
use crate::decide::outcome::{self, Progress};
use crate::decide::plan::{self, Claimed};
use crate::decide::registry_access::RegistryAccess;
use crate::decide::release::Release;
use crate::decide::settings::Settings;
use crate::decide::status;
use crate::decide::values::Values;
use crate::io::accounts::Missing;
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::jobs::Ownership;
use crate::io::watch::Again;
use crate::io::{bundles, jobs};
use crate::seeded::{self, Bug};

mod spoil;

/// Looks at the Job of a claimed run and takes it further.
///
/// A Job is created suspended and let run only after the status says that it exists. So a Job whose
/// claim was given up, or whose creator died, never runs.
pub(super) async fn follow(
    context: &Context,
    bundle: &WerfBundle,
    claimed: &Claimed,
    just_claimed: bool,
) -> Result<Next, ConvergeError> {
    if !claimed.can_be() {
        return if claimed.confirmed {
            record_removed(context, bundle).await
        } else {
            abandon(context, bundle).await
        };
    }
    // A run that was claimed a moment ago has no Job; if it has, creating one is refused, and the next
    // look is a look.
    let found = if just_claimed {
        None
    } else {
        jobs::get(&context.client, &claimed.namespace, &claimed.job).await?
    };
    let Some(job) = found else {
        return if claimed.confirmed {
            record_removed(context, bundle).await
        } else {
            Box::pin(create(context, bundle, claimed)).await
        };
    };
    if !outcome::is_of_run(&job, bundle) && !seeded::has(Bug::AnyConflictAdopted) {
        return if claimed.confirmed {
            record_removed(context, bundle).await
        } else {
            yield_name(context, bundle, &job).await
        };
    }
    match outcome::progress(&job) {
        // It is being deleted and will not run.
        Progress::New if job.metadata.deletion_timestamp.is_some() => {
            if claimed.confirmed {
                Ok(Next::Rest(Again::After(LEAVING)))
            } else {
                abandon(context, bundle).await
            }
        }
        Progress::Ended => record(context, bundle, &job).await,
        Progress::New if !claimed.confirmed => adopt(context, bundle, &job).await,
        Progress::New => match permission(context, bundle, &job, true).await? {
            Permitted::Yes => {
                jobs::release(&context.client, &job).await?;
                Ok(Next::Rest(Again::After(LOOK_AGAIN)))
            }
            Permitted::No(next) => Ok(next),
        },
        Progress::Running | Progress::Held if claimed.confirmed => {
            attend(context, bundle, &job).await
        }
        Progress::Running | Progress::Held => {
            let confirmed = status::confirm(bundle, &job, clock::now());
            patch_status(context, bundle, confirmed).await?;
            Ok(Next::Rest(Again::After(LOOK_AGAIN)))
        }
    }
}

/// What a Job is made from.
struct Inputs {
    settings: Settings,
    values: Values,
    access: RegistryAccess,
}

impl Inputs {
    fn files(&self) -> Files<'_> {
        Files::of(&self.values, &self.access)
    }
}

/// The inputs of the claimed run as they are now. `None` when they are no longer the ones that were
/// claimed, the registry's Secrets cannot be used, or the run is no longer wanted.
async fn claimed_inputs(
    context: &Context,
    bundle: &WerfBundle,
) -> Result<Option<Inputs>, ConvergeError> {
    if !plan::claim_stands(bundle) {
        return Ok(None);
    }
    let Some(status) = &bundle.status else {
        return Ok(None);
    };
    let Some(run) = &status.current_run else {
        return Ok(None);
    };
    let Ok(settings) = Settings::of(bundle, context.allow_insecure_registries) else {
        return Ok(None);
    };
    let resolved = resolve_values(context, bundle, &settings, run.traceparent.as_deref()).await?;
    let Ok(values) = resolved else {
        return Ok(None);
    };
    let uid = bundle.uid().unwrap_or_default();
    let key = inputs_key(context, status).await?;
    let hash = inputs::hash(
        &key,
        &uid,
        &run.tag,
        run.digest.as_deref(),
        &settings,
        &values,
    );
    if hash != run.inputs_hash {
        return Ok(None);
    }
    let access = resolve_access(context, bundle, &settings).await?;
    Ok(access.ok().map(|access| Inputs {
        settings,
        values,
        access,
    }))
}

/// Creates the Job of a claimed run.
async fn create(
    context: &Context,
    bundle: &WerfBundle,
    claimed: &Claimed,
) -> Result<Next, ConvergeError> {
    let Some(inputs) = claimed_inputs(context, bundle).await? else {
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
            settings: &inputs.settings,
            values: &inputs.values,
            access: &inputs.access,
            inputs_hash: &run.inputs_hash,
            run: stored.run,
            attempt: stored.attempt,
            traceparent: traceparent.as_deref(),
            pod: &context.job_pod,
        };
        let job = spoil::new_job(&context.client, job::build(&order), &inputs).await?;
        let created = jobs::create(&context.client, &job).await;
        if created.is_ok() {
            info!(job.name = %claimed.job, attempt = stored.attempt, "Job created");
        }
        created
    }
    .instrument(span)
    .await;
    match created {
        Ok(job) => let_run(context, bundle, &job, &inputs).await,
        Err(ApiError::NotFound { .. }) => {
            let gone = Missing::Namespace(claimed.namespace.clone());
            let reason = gone.reason().unwrap_or_default();
            cannot_prepare(context, bundle, reason, &gone).await
        }
        // Refused because it exists: another replica made it, and the next look adopts it.
        Err(error) => Err(error.into()),
    }
}

/// Takes on a Job that was created by a replica that did not come back, or is not back yet.
async fn adopt(context: &Context, bundle: &WerfBundle, job: &Job) -> Result<Next, ConvergeError> {
    let inputs = claimed_inputs(context, bundle).await?;
    // A Job that was made with other files, such as without credentials, is no use.
    let Some(inputs) = inputs.filter(|inputs| inputs.files().fit(job)) else {
        let next = abandon(context, bundle).await?;
        discard(context, bundle, job).await;
        return Ok(next);
    };
    let_run(context, bundle, job, &inputs).await
}

/// Whether a new Job may be let run, or what is done instead.
enum Permitted {
    Yes,
    No(Next),
}

/// Asks whether a new Job may be let run beside whoever else works on its release. Asked right before
/// it is let run, each time.
async fn permission(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    confirmed: bool,
) -> Result<Permitted, ConvergeError> {
    let why = match Release::of_job(job) {
        // Made by an operator before this one, and not to be found by others.
        None => None,
        Some(release) => match exclusive::ask(context, bundle, job, &release).await? {
            Answer::Granted => return Ok(Permitted::Yes),
            Answer::Wait(why) => {
                let reason = status::RELEASE_CONFLICT;
                let next = cannot_prepare_saying(context, bundle, reason, why).await?;
                return Ok(Permitted::No(next));
            }
            Answer::StepBack(why) => Some(why),
        },
    };
    if confirmed {
        // Another replica may be about to let it run.
        jobs::delete_as_seen(&context.client, job).await?;
    }
    let next = match why {
        Some(why) => step_back(context, bundle, status::RELEASE_CONFLICT, why).await?,
        None => abandon(context, bundle).await?,
    };
    if !confirmed {
        discard(context, bundle, job).await;
    }
    Ok(Permitted::No(next))
}

/// Gives a new Job its files, says in the status that it exists, and only then lets it run.
async fn let_run(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    inputs: &Inputs,
) -> Result<Next, ConvergeError> {
    if let Permitted::No(next) = permission(context, bundle, job, false).await? {
        return Ok(next);
    }
    if let Some(secret) = inputs.files().secret(job)
        && jobs::create_files(&context.client, job, &secret).await? == Ownership::Foreign
    {
        let next = yield_name(context, bundle, job).await?;
        discard(context, bundle, job).await;
        return Ok(next);
    }
    let confirmed = status::confirm(bundle, job, clock::now());
    let confirmed = spoil::confirmation(&context.client, confirmed, job).await?;
    match patch_status(context, bundle, confirmed).await {
        Ok(_) => {}
        Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => {
            undo_unless_claimed(context, bundle, job).await?;
            return Ok(Next::Continue);
        }
        Err(error) => return Err(error.into()),
    }
    jobs::release(&context.client, job).await?;
    let name = job.name_any();
    let namespace = job.namespace().unwrap_or_default();
    let tag = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let mut note = format!(
        "Created Job {name} to deploy {}",
        tag.map_or("", |run| &run.tag)
    );
    if inputs.access.client_certificate_unused() {
        note.push_str("; werf cannot present the client certificate of registry.certSecretRef");
    }
    let made = Some((namespace.as_str(), name.as_str()));
    // What was left over of this release is gone by now; what else was is in the way of quotas at most.
    let telling = events::tell(&context.recorder, bundle, made, Reason::JobCreated, &note);
    futures::join!(telling, Box::pin(sweep(context, bundle)));
    Ok(Next::Rest(Again::After(LOOK_AGAIN)))
}

/// Removes a Job that never ran, unless somebody else has taken it on meanwhile.
async fn undo_unless_claimed(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<(), ConvergeError> {
    let key = BundleKey::of(bundle);
    let name = job.name_any();
    let now = bundles::get(&context.client, &key).await?;
    let taken = now.is_some_and(|now| {
        let status = now.status.as_ref();
        now.uid() == bundle.uid()
            && now.metadata.deletion_timestamp.is_none()
            && status.is_some_and(|status| {
                status.active_job_name.as_deref() == Some(&name)
                    || status.history.iter().any(|entry| entry.job == name)
            })
    });
    if !taken {
        jobs::delete(&context.client, job).await?;
        info!(
            bundle.namespace = %key.namespace,
            bundle.name = %key.name,
            job.name = %name,
            "Job removed before it ran: its claim was given up"
        );
    }
    Ok(())
}

/// Somebody has an object of the name that this run's Job or its Secret would have. The next run has
/// another name, and comes after some time: the one after that may be foreseen, too.
async fn yield_name(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<Next, ConvergeError> {
    let message = format!(
        "Job {}, or its Secret, in namespace {} belongs to somebody else; another name is tried next",
        job.name_any(),
        job.namespace().unwrap_or_default()
    );
    step_back(context, bundle, status::JOB_NAME_CONFLICT, message).await
}

/// Gives up a claim whose Job never ran. The next pass claims a new run, if one is wanted.
async fn abandon(context: &Context, bundle: &WerfBundle) -> Result<Next, ConvergeError> {
    Ok(patch_status(context, bundle, status::abandon(bundle)).await?)
}
