//! A Job that runs: what keeps it from ending is told, once, while it keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::{debug, info};
use werf_shared::bundle::status::Waiting;
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::clock;
use werf_shared::error::chain;

use super::masks::masking;
use super::settle::patch_status;
use super::{Context, ConvergeError, LOOK_AGAIN, Next};
use crate::decide::job;
use crate::decide::mask::Masker;
use crate::decide::obstacle::{self, Observed, Obstacle, OwnerRef, Suspect};
use crate::decide::{outcome, status};
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::trouble;
use crate::io::watch::Again;

/// Most Jobs end sooner, and nothing that starts is well at once.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// More owners than this are not asked for at one look.
const OWNERS: usize = 20;

/// Looks at what a running Job waits for.
pub(super) async fn attend(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<Next, ConvergeError> {
    let now = clock::now();
    let created = job.metadata.creation_timestamp.as_ref();
    let age = created.map_or(Duration::ZERO, |created| {
        now.duration_since(created.0).try_into().unwrap_or_default()
    });
    if age < FIRST_LOOK {
        return Ok(Next::Rest(Again::After(FIRST_LOOK.saturating_sub(age))));
    }
    match look(context, bundle, job, now).await {
        Ok(Seen::Ending) => {}
        Ok(Seen::Well) => tell(context, bundle, job, None, now).await?,
        Ok(Seen::Waiting(found)) => tell(context, bundle, job, Some(found), now).await?,
        // What was told before stays; the run does not depend on it.
        Err(error) => debug!(error = %chain(&error), "Not known what the Job waits for"),
    }
    Ok(Next::Rest(Again::After(LOOK_AGAIN)))
}

/// How a running Job was found.
enum Seen {
    /// It is about to end, and what was told of it stays.
    Ending,
    /// Nothing keeps it.
    Well,
    /// This keeps it.
    Waiting(Obstacle),
}

async fn look(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    now: Timestamp,
) -> Result<Seen, ApiError> {
    let client = &context.client;
    let namespace = job.namespace().unwrap_or_default();
    let (pods, refusals) = futures::try_join!(
        trouble::pods(client, &namespace),
        trouble::events(client, &namespace, "FailedCreate")
    )?;
    if outcome::is_ending(job, &pods) {
        return Ok(Seen::Ending);
    }
    let mounts = if obstacle::needs_mount_events(&pods, now) {
        trouble::events(client, &namespace, "FailedMount").await?
    } else {
        Vec::new()
    };
    let suspects = obstacle::suspects(&Observed {
        job,
        pods: &pods,
        refusals: &refusals,
        mounts: &mounts,
        since: status::since(bundle, job),
        now,
    });
    let workloads = workloads(context, job, &suspects).await?;
    let worst = obstacle::worst(&job.name_any(), suspects, &workloads);
    Ok(worst.map_or(Seen::Well, Seen::Waiting))
}

/// The owners of things in trouble that are part of the Job's release, by uid.
async fn workloads(
    context: &Context,
    job: &Job,
    suspects: &BTreeSet<Suspect>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let namespace = job.namespace().unwrap_or_default();
    let release = job::release_of(job).unwrap_or_default();
    let owners: BTreeSet<&OwnerRef> = suspects.iter().map(|suspect| &suspect.owner).collect();
    // What keeps the Job itself is told first, whatever its application does.
    if owners.contains(&OwnerRef::Job) {
        return Ok(BTreeMap::new());
    }
    let mut workloads = BTreeMap::new();
    for owner in owners.into_iter().take(OWNERS) {
        let OwnerRef::Controller { kind, name, uid } = owner else {
            continue;
        };
        let found = trouble::owner(&context.client, &namespace, *kind, name).await?;
        // One that was made anew under the same name is another one.
        let found = found.filter(|found| found.uid.as_ref() == Some(uid));
        let workload =
            found.and_then(|found| obstacle::workload(*kind, &found, release, &namespace));
        workloads.extend(workload.map(|workload| (uid.clone(), workload)));
    }
    Ok(workloads)
}

async fn tell(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
    found: Option<Obstacle>,
    now: Timestamp,
) -> Result<(), ConvergeError> {
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let before = run.and_then(|run| run.waiting.as_ref());
    let waiting = match &found {
        None => None,
        Some(obstacle) => {
            let (obstacle, before) = (obstacle.clone(), before.cloned());
            let work = move |masker: Option<&Masker>| obstacle.told(masker, before.as_ref());
            let room = (&context.client, &context.rooms.masking);
            Some(masking(room, job, false, work).await?)
        }
    };
    if before == waiting.as_ref() {
        return Ok(());
    }
    patch_status(context, bundle, status::wait(bundle, waiting.clone(), now)).await?;
    let key = BundleKey::of(bundle);
    if let Some(Waiting {
        reason, message, ..
    }) = &waiting
    {
        info!(bundle.namespace = %key.namespace, bundle.name = %key.name, job.name = %job.name_any(), reason, "The Job waits: {message}");
    } else {
        info!(bundle.namespace = %key.namespace, bundle.name = %key.name, job.name = %job.name_any(), "The Job no longer waits");
    }
    if let (Some(obstacle), Some(waiting)) = (found, waiting) {
        let name = job.name_any();
        let namespace = job.namespace().unwrap_or_default();
        let about = Some((namespace.as_str(), name.as_str()));
        let reason = Reason::Waiting(obstacle.kind);
        events::tell(&context.recorder, bundle, about, reason, &waiting.message).await;
    }
    Ok(())
}
