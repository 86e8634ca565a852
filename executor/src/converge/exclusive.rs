//! One run at a time per release: asks, for a suspended Job, whether it may be let run. See
//! `docs/ARCHITECTURE.md` for why two never are.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use kube::{Client, ResourceExt};
use tracing::info;
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::names::{self, annotation};

use super::Context;
use crate::decide::release::{self, Found, Holder, Permission, Release, Rival};
use crate::io::api::ApiError;
use crate::io::{bundles, jobs};
use crate::seeded::{self, Bug};

/// Anyone who can make Jobs can have them name bundles. So many are asked for.
const HEIRS: usize = 100;

/// The answer for a Job.
pub(super) enum Answer {
    /// It may run.
    Granted,
    /// It has to wait, for this.
    Wait(String),
    /// It has to go, for this.
    StepBack(String),
}

/// What stands between a bundle and a release, as far as is seen.
pub(super) fn rival(context: &Context, bundle: &WerfBundle, release: &Release) -> Option<Rival> {
    if seeded::has(Bug::ReleaseExclusionSkipped) {
        return None;
    }
    let seen = context.seen.with(release);
    release::rival(
        bundle,
        release,
        seen.iter().filter_map(|b| b.0.as_ref().ok()),
    )
}

/// Another bundle that stays and names the release.
pub(super) fn heir(context: &Context, bundle: &WerfBundle, release: &Release) -> Option<BundleKey> {
    let seen = context.seen.with(release);
    release::heir(
        bundle,
        release,
        seen.iter().filter_map(|b| b.0.as_ref().ok()),
    )
}

/// The same for a Job that is to uninstall the release, found by the other Jobs of the release and read
/// anew: who has deployed it meanwhile may not be seen yet.
pub(super) async fn heir_by_jobs(
    client: &Client,
    bundle: &WerfBundle,
    job: &Job,
    release: &Release,
) -> Result<Option<BundleKey>, ApiError> {
    let own = BundleKey::of(bundle);
    let mut named = BTreeSet::new();
    let others = |job: Job| {
        let key = bundle_of(&job).filter(|key| *key != own)?;
        (named.len() < HEIRS && named.insert(key.clone())).then_some(key)
    };
    for key in jobs::ever_of_release(client, release, job, others).await? {
        let heir = match bundles::get(client, &key).await {
            Ok(found) => release::heir(bundle, release, found.iter()),
            // Not known, perhaps because it cannot be decoded.
            Err(ApiError::Failed { .. }) => Some(key),
            Err(error) => return Err(error),
        };
        if heir.is_some() {
            return Ok(heir);
        }
    }
    Ok(None)
}

/// Asks for a Job that exists and is suspended. The look is at a moment after the Job was created.
pub(super) async fn ask(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    release: &Release,
) -> Result<Answer, ApiError> {
    if seeded::has(Bug::ReleaseExclusionSkipped) {
        return Ok(Answer::Granted);
    }
    let rival = rival(context, bundle, release);
    let owner = match rival {
        Some(rival @ Rival::Owner(_)) => Some(rival.message(release)),
        _ => None,
    };
    let InTheWay { jobs, elder } = match owner {
        // It gives way whatever there is.
        Some(_) => InTheWay::default(),
        None => others(context, bundle, job, release).await?,
    };
    let waits = || waiting_for(&jobs, release);
    Ok(
        match release::permission(owner.is_none(), jobs.len(), elder) {
            Permission::Granted => Answer::Granted,
            Permission::StepBack => Answer::StepBack(owner.unwrap_or_else(waits)),
            Permission::Wait => Answer::Wait(waits()),
        },
    )
}

/// What was found on a release beside the own Job.
#[derive(Default)]
struct InTheWay {
    jobs: Vec<Job>,
    /// One of them is suspended and an older bundle's.
    elder: bool,
}

/// The Jobs that are in the way. One that was left over by whoever made it is removed here: its own
/// bundle may have nothing to do for a long time.
async fn others(
    context: &Context,
    bundle: &WerfBundle,
    own: &Job,
    release: &Release,
) -> Result<InTheWay, ApiError> {
    let counts = |other: &Job| release::found(own, other) != Found::Past;
    let mut found = InTheWay::default();
    for other in jobs::of_release(&context.client, release, own, counts).await? {
        if release::found(own, &other) == Found::Suspended {
            match holder(context, bundle, &other).await? {
                Holder::Nobody if remove(context, &other).await? => continue,
                Holder::Elder => found.elder = true,
                Holder::Nobody | Holder::Younger => {}
            }
        }
        found.jobs.push(other);
    }
    Ok(found)
}

/// Removes a Job that nobody will let run; false if somebody has, or has otherwise changed it.
async fn remove(context: &Context, job: &Job) -> Result<bool, ApiError> {
    match jobs::delete_as_seen(&context.client, job).await {
        Ok(()) => {
            info!(job.name = %job.name_any(), "Job removed that was never let run");
            Ok(true)
        }
        Err(ApiError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whose a Job is; nobody knows of one that says nothing of a bundle.
async fn holder(context: &Context, own: &WerfBundle, job: &Job) -> Result<Holder, ApiError> {
    let (Some(key), Some(uid)) = (
        bundle_of(job),
        job.annotations().get(annotation::BUNDLE_UID),
    ) else {
        return Ok(Holder::Younger);
    };
    let bundle = bundles::get(&context.client, &key).await?;
    let bundle = bundle.filter(|bundle| bundle.uid().as_ref() == Some(uid));
    Ok(release::holder(own, job, bundle.as_ref()))
}

/// The bundle that a Job says it belongs to. Anyone can make a Job that says anything: what cannot be
/// a name is none.
pub(super) fn bundle_of(job: &impl ResourceExt) -> Option<BundleKey> {
    let says = |key| {
        let name = job.annotations().get(key)?;
        names::is_subdomain(name).then(|| name.clone())
    };
    Some(BundleKey::new(
        says(annotation::BUNDLE_NAMESPACE)?,
        says(annotation::BUNDLE_NAME)?,
    ))
}

fn waiting_for(others: &[Job], release: &Release) -> String {
    let job = others
        .first()
        .map(ResourceExt::name_any)
        .unwrap_or_default();
    let Release { namespace, name } = release;
    let of = others
        .first()
        .and_then(bundle_of)
        .map_or_else(String::new, |key| {
            format!(" of WerfBundle {} in namespace {}", key.name, key.namespace)
        });
    format!("Job {job}{of} still works on release {name} in namespace {namespace}")
}

#[cfg(test)]
mod tests;
