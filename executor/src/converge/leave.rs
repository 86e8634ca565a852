//! A bundle that is being deleted: its Jobs are removed, what it deployed is uninstalled if it says so,
//! and then it is let go.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::info;
use werf_shared::bundle::status::{JobStatus, TriedRelease};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::{clock, names};

use super::exclusive::{self, Answer};
use super::settle::{patch_status, rest, store};
use super::{Context, ConvergeError, LEAVING, LOOK_AGAIN, Next, PREPARE_AGAIN};
use crate::decide::job::BundleIdentity;
use crate::decide::job::dismiss;
use crate::decide::outcome::{self, Cause, Outcome, Progress, Remains};
use crate::decide::release::{Release, Rival};
use crate::decide::status;
use crate::decide::uninstall::{self, Attempt, WAY_OUT};
use crate::io::accounts::{self, Missing};
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::watch::Again;
use crate::io::{bundles, jobs};

/// Takes a bundle that is being deleted further.
pub(super) async fn leave(context: &Context, bundle: &WerfBundle) -> Result<Next, ConvergeError> {
    let uid = bundle.uid().unwrap_or_default();
    // Anyone can make Jobs that stay, or that look like ones that uninstall: of neither so many that
    // others go unseen.
    let (mut going, mut uninstalling) = (0, 0);
    let wanted = |job: &Job| {
        let counted = match (
            job.metadata.deletion_timestamp.is_some(),
            dismiss::is_one(job),
        ) {
            (true, _) => &mut going,
            (false, true) => &mut uninstalling,
            (false, false) => return true,
        };
        *counted += 1;
        *counted < jobs::MOST / 2
    };
    let left = jobs::of_bundle(&context.client, &uid, wanted).await?;
    let Some(release) = uninstall::due(bundle) else {
        let uninstall = bundle.status.as_ref().and_then(|s| s.uninstall.as_ref());
        let uninstalled = uninstall.is_some_and(|it| it.result == JobStatus::Succeeded);
        let farewell = uninstalled.then(|| (Reason::Uninstalled, "Uninstalled".to_owned()));
        return let_go(context, bundle, &left, farewell).await;
    };
    let deployments: Vec<&Job> = left.iter().filter(|job| !dismiss::is_one(job)).collect();
    if !deployments.is_empty() {
        return remove(context, bundle, deployments).await;
    }
    match Box::pin(uninstall(context, bundle, &release, &left)).await {
        Err(ConvergeError::Api(refused @ ApiError::Refused { .. })) => {
            let obstacle = format!("{refused}; {WAY_OUT}");
            blocked(context, bundle, &release, &obstacle).await
        }
        next => next,
    }
}

async fn uninstall(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    left: &[Job],
) -> Result<Next, ConvergeError> {
    if let Err(illegal) = uninstall::check(bundle, release) {
        let obstacle = format!("{illegal}; {WAY_OUT}");
        return blocked(context, bundle, release, &obstacle).await;
    }
    let account = &release.service_account_name;
    let missing = accounts::check(&context.client, &release.namespace, account).await;
    if let Err(gone @ (Missing::Namespace(_) | Missing::NamespaceLeaving(_))) = &missing {
        // With the namespace goes everything that could be uninstalled.
        let farewell = format!("Nothing left to uninstall: {gone}");
        let farewell = (Reason::NotUninstalled, farewell);
        return let_go(context, bundle, left, Some(farewell)).await;
    }
    let default = WerfBundleStatus::default();
    let stored = bundle.status.as_ref().unwrap_or(&default);
    let now = clock::now();
    let attempt = match uninstall::attempt(stored, now) {
        Attempt::At(at) => {
            let delay = at.duration_since(now).try_into().unwrap_or(LEAVING);
            return Ok(Next::Rest(Again::After(delay)));
        }
        Attempt::Follow(attempt) => return follow(context, bundle, release, attempt).await,
        Attempt::Make(attempt) => attempt,
    };
    let named = Release {
        namespace: release.namespace.clone(),
        name: release.name.clone(),
    };
    if let Some(heir) = exclusive::heir(context, bundle, &named) {
        let farewell = format!(
            "Release {} in namespace {} is left to WerfBundle {heir}",
            named.name, named.namespace
        );
        let farewell = (Reason::NotUninstalled, farewell);
        return let_go(context, bundle, left, Some(farewell)).await;
    }
    if let Some(rival @ Rival::Owner(_)) = exclusive::rival(context, bundle, &named) {
        return blocked(context, bundle, release, &rival.message(&named)).await;
    }
    match missing {
        Ok(()) => {}
        Err(Missing::Unknown(error)) => return Err(error.into()),
        Err(missing) => {
            let obstacle = format!("{missing}; create it, or, {WAY_OUT}");
            return blocked(context, bundle, release, &obstacle).await;
        }
    }
    for failed in left
        .iter()
        .filter(|job| !dismiss::is_of_attempt(job, bundle, attempt))
    {
        jobs::delete(&context.client, failed).await?;
    }
    Box::pin(make(context, bundle, release, attempt)).await
}

/// Makes the Job of an attempt, says in the status that it exists, and only then lets it run: who was
/// overtaken, perhaps by the bundle's end, lets nothing run that could meet a successor.
async fn make(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    attempt: i32,
) -> Result<Next, ConvergeError> {
    let key = BundleKey::of(bundle);
    let uid = bundle.uid().unwrap_or_default();
    let name = names::dismiss_job(&key.name, &uid, attempt);
    let found = jobs::get(&context.client, &release.namespace, &name).await?;
    let job = match found {
        Some(job) if !dismiss::is_of_attempt(&job, bundle, attempt) => {
            let words = format!("JobNameConflict: Job {name} belongs to somebody else");
            let failed = Outcome::Failed(Cause::Other(words).into());
            return record(context, bundle, release, attempt, &failed).await;
        }
        Some(job) if job.metadata.deletion_timestamp.is_some() => {
            return Ok(Next::Rest(Again::After(LEAVING)));
        }
        Some(job) => job,
        None => {
            let identity = BundleIdentity {
                namespace: &key.namespace,
                name: &key.name,
                uid: &uid,
            };
            let converge = &bundle.spec.converge;
            let pod = &context.job_pod;
            let job = dismiss::build(identity, converge, release, attempt, pod);
            match jobs::create(&context.client, &job).await {
                Ok(job) => job,
                // Somebody made it, or the namespace has gone: found out by the next look.
                Err(ApiError::NotFound { .. }) => return Ok(Next::Rest(Again::After(LEAVING))),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let suspended = outcome::progress(&job) == Progress::New;
    if suspended && let Some(next) = wait(context, bundle, release, &job).await? {
        return Ok(next);
    }
    let confirmed = uninstall::confirm(bundle, attempt, &name, release, clock::now());
    match patch_status(context, bundle, confirmed).await {
        Err(ApiError::NotFound { .. }) => {
            jobs::delete(&context.client, &job).await?;
            return Ok(Next::Rest(Again::OnChange));
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    if suspended {
        jobs::release(&context.client, &job).await?;
    }
    let note = format!("Created Job {name}: {}", uninstall::running(release));
    let made = Some((release.namespace.as_str(), name.as_str()));
    events::tell(&context.recorder, bundle, made, Reason::JobCreated, &note).await;
    Ok(Next::Rest(Again::After(LOOK_AGAIN)))
}

/// What has to be waited for before a suspended Job may be let run.
async fn wait(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    job: &Job,
) -> Result<Option<Next>, ConvergeError> {
    let named = Release {
        namespace: release.namespace.clone(),
        name: release.name.clone(),
    };
    let why = match exclusive::ask(context, bundle, job, &named).await? {
        Answer::Granted => {
            let heir = exclusive::heir_by_jobs(&context.client, bundle, job, &named).await?;
            let Some(heir) = heir else {
                return Ok(None);
            };
            let uninstall = bundle.status.as_ref().and_then(|s| s.uninstall.as_ref());
            if uninstall.is_some_and(|it| it.result == JobStatus::Running) {
                // Said to run already: it has to fail before the next look.
                jobs::delete_as_seen(&context.client, job).await?;
                return Ok(Some(Next::Rest(Again::After(LEAVING))));
            }
            // The watch will show it, too, and then the bundle is let go.
            format!("WerfBundle {heir} has deployed it, too, or may have")
        }
        Answer::Wait(why) => why,
        Answer::StepBack(why) => {
            jobs::delete_as_seen(&context.client, job).await?;
            why
        }
    };
    Ok(Some(blocked(context, bundle, release, &why).await?))
}

/// Sees how the Job of an attempt does.
async fn follow(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    attempt: i32,
) -> Result<Next, ConvergeError> {
    let uid = bundle.uid().unwrap_or_default();
    let name = names::dismiss_job(&bundle.name_any(), &uid, attempt);
    let job = jobs::get(&context.client, &release.namespace, &name).await?;
    let Some(job) = job.filter(|job| dismiss::is_of_attempt(job, bundle, attempt)) else {
        let removed = Outcome::Failed(Cause::Removed.into());
        return record(context, bundle, release, attempt, &removed).await;
    };
    match outcome::progress(&job) {
        Progress::Ended => {
            let pods = jobs::pods(&context.client, &job).await?;
            // Its log may show values of the release, which are nowhere known any more; so it is not
            // kept, and nothing that its Pod says is repeated.
            let remains = Remains {
                pods: Some(&pods),
                ..Remains::default()
            };
            let outcome = outcome::ended(&job, remains);
            record(context, bundle, release, attempt, &outcome).await
        }
        Progress::New if job.metadata.deletion_timestamp.is_none() => {
            if let Some(next) = wait(context, bundle, release, &job).await? {
                return Ok(next);
            }
            jobs::release(&context.client, &job).await?;
            Ok(Next::Rest(Again::After(LOOK_AGAIN)))
        }
        Progress::New => Ok(Next::Rest(Again::After(LEAVING))),
        Progress::Running | Progress::Held => Ok(Next::Rest(Again::After(LOOK_AGAIN))),
    }
}

async fn record(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    attempt: i32,
    outcome: &Outcome,
) -> Result<Next, ConvergeError> {
    let name = names::dismiss_job(
        &bundle.name_any(),
        &bundle.uid().unwrap_or_default(),
        attempt,
    );
    let now = clock::now();
    let recorded = uninstall::record(bundle, attempt, &name, release, outcome, now);
    store(context, bundle, recorded).await?;
    if let Outcome::Failed(failure) = outcome {
        let note = format!("{}: {}", uninstall::running(release), failure.message());
        let job = Some((release.namespace.as_str(), name.as_str()));
        events::tell(
            &context.recorder,
            bundle,
            job,
            Reason::UninstallFailed,
            &note,
        )
        .await;
    }
    Ok(Next::Continue)
}

/// Says what keeps the release from being uninstalled. Looked at again by itself.
async fn blocked(
    context: &Context,
    bundle: &WerfBundle,
    release: &TriedRelease,
    obstacle: &str,
) -> Result<Next, ConvergeError> {
    let now = clock::now();
    if !status::is_told_lately(bundle, status::UNINSTALL_FAILED, PREPARE_AGAIN, now) {
        let told = uninstall::blocked(bundle, release, obstacle, now);
        if bundle.status.as_ref() != Some(&told) {
            let recorder = &context.recorder;
            events::tell(recorder, bundle, None, Reason::UninstallFailed, obstacle).await;
            store(context, bundle, told).await?;
        }
    }
    Ok(Next::Rest(Again::After(PREPARE_AGAIN)))
}

async fn remove(
    context: &Context,
    bundle: &WerfBundle,
    left: Vec<&Job>,
) -> Result<Next, ConvergeError> {
    for &job in &left {
        if job.metadata.deletion_timestamp.is_some() {
            continue;
        }
        jobs::delete(&context.client, job).await?;
        let key = BundleKey::of(bundle);
        info!(
            bundle.namespace = %key.namespace,
            bundle.name = %key.name,
            job.name = %job.name_any(),
            "Job removed with its bundle"
        );
    }
    // Whoever comes next under this name must not meet a Pod of ours. The end of a Job is told by a
    // watch.
    if let Some(standing) = uninstall::held_up(&left, clock::now()) {
        rest(context, bundle, &standing).await?;
    }
    Ok(Next::Rest(Again::After(PREPARE_AGAIN)))
}

/// Removes the Jobs that are left, then lets go of the bundle.
async fn let_go(
    context: &Context,
    bundle: &WerfBundle,
    left: &[Job],
    farewell: Option<(Reason, String)>,
) -> Result<Next, ConvergeError> {
    if !left.is_empty() {
        return remove(context, bundle, left.iter().collect()).await;
    }
    let mut finalizers = bundle.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != names::FINALIZER);
    match bundles::set_finalizers(&context.client, bundle, finalizers).await {
        Ok(_) | Err(ApiError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some((reason, note)) = farewell {
        events::tell(&context.recorder, bundle, None, reason, &note).await;
    }
    Ok(Next::Rest(Again::OnChange))
}
