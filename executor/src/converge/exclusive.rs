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
use crate::io::essential::Identity;
use crate::io::{bundles, jobs};
use crate::seeded::{self, Bug};

/// Anyone who can make Jobs can have them name bundles. So many are asked for; where there are as many, one
/// that was not asked for may be an heir.
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
    let others = |job: Identity<Job>| {
        let key = bundle_of(&job).filter(|key| *key != own)?;
        named.insert(key.clone()).then_some(key)
    };
    let others = jobs::ever_of_release(client, release, job, HEIRS, others).await?;
    // Behind so many there may be more.
    let last = others.last().filter(|_| others.len() == HEIRS).cloned();
    for key in others {
        let heir = match bundles::get(client, &key).await {
            Ok(found) => release::heir(bundle, release, found.iter()),
            // Not known, perhaps because it cannot be decoded.
            Err(ApiError::Failed { .. } | ApiError::TooLong { .. }) => Some(key),
            Err(error) => return Err(error),
        };
        if heir.is_some() {
            return Ok(heir);
        }
    }
    Ok(last)
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
    let InTheWay { first, elder } = match owner {
        // It gives way whatever there is.
        Some(_) => InTheWay::default(),
        None => Box::pin(others(&context.client, bundle, job, release)).await?,
    };
    let waits = || waiting_for(first.as_deref(), release);
    Ok(
        match release::permission(owner.is_none(), first.is_some(), elder) {
            Permission::Granted => Answer::Granted,
            Permission::StepBack => Answer::StepBack(owner.unwrap_or_else(waits)),
            Permission::Wait => Answer::Wait(waits()),
        },
    )
}

/// What was found on a release beside the own Job.
#[derive(Default)]
struct InTheWay {
    /// The first that is in the way, if any is, as it is told.
    first: Option<String>,
    /// One of them is suspended and an older bundle's.
    elder: bool,
}

/// What is in the way. A Job that was left over by whoever made it is removed here: its own bundle may
/// have nothing to do for a long time. Where so many are found that not all may have been, the last one
/// counts, whatever it is: those that were not looked at may be in the way.
async fn others(
    client: &Client,
    bundle: &WerfBundle,
    own: &Job,
    release: &Release,
) -> Result<InTheWay, ApiError> {
    let counts = |other: &Job| release::found(own, other) != Found::Past;
    let mut found = InTheWay::default();
    let others = jobs::of_release(client, release, own, counts).await?;
    let all = others.len() < jobs::MOST;
    let last = others.last().filter(|_| !all).map(named);
    for other in others {
        if release::found(own, &other) == Found::Suspended {
            match holder(client, bundle, &other).await? {
                Holder::Nobody if remove(client, &other).await? => continue,
                Holder::Elder => found.elder = true,
                Holder::Nobody | Holder::Younger => {}
            }
        }
        found.first = found.first.or_else(|| Some(named(&other)));
    }
    found.first = found.first.or(last);
    Ok(found)
}

/// Removes a Job that nobody will let run; false if somebody has, or has otherwise changed it.
async fn remove(client: &Client, job: &Job) -> Result<bool, ApiError> {
    match jobs::delete_as_seen(client, job).await {
        Ok(()) => {
            info!(job.name = %job.name_any(), "Job removed that was never let run");
            Ok(true)
        }
        Err(ApiError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whose a Job is; nobody knows of one that says nothing of a bundle.
async fn holder(client: &Client, own: &WerfBundle, job: &Job) -> Result<Holder, ApiError> {
    let (Some(key), Some(uid)) = (
        bundle_of(job),
        job.annotations().get(annotation::BUNDLE_UID),
    ) else {
        return Ok(Holder::Younger);
    };
    let bundle = bundles::get(client, &key).await?;
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

/// A Job and whose it says it is.
fn named(job: &Job) -> String {
    let name = job.name_any();
    match bundle_of(job) {
        Some(key) => format!(
            "{name} of WerfBundle {} in namespace {}",
            key.name, key.namespace
        ),
        None => name,
    }
}

fn waiting_for(job: Option<&str>, release: &Release) -> String {
    let Release { namespace, name } = release;
    let job = job.unwrap_or_default();
    format!("Job {job} still works on release {name} in namespace {namespace}")
}

#[cfg(test)]
mod tests;
