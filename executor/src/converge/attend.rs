//! A Job that runs: what keeps it from ending is told, once, while it keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
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
use crate::decide::obstacle::{self, Kind, Observed, Obstacle, OwnerRef, Suspect};
use crate::decide::{outcome, status};
use crate::io::api::ApiError;
use crate::io::events::{self, Reason};
use crate::io::watch::Again;
use crate::io::{jobs, trouble};

/// Most Jobs end sooner, and nothing that starts is well at once.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// More owners than this are not asked for at one look.
const OWNERS: usize = 20;

/// A Job is looked at less often once it runs for so long and nothing changes.
const BEGINNING: Duration = Duration::from_mins(5);

/// How soon it is looked at again then.
const LOOK_AGAIN_LATER: Duration = Duration::from_mins(1);

/// Looks at what a running Job waits for.
pub(super) async fn attend(
    context: &Context,
    bundle: &WerfBundle,
    job: &Job,
) -> Result<Next, ConvergeError> {
    let now = clock::now();
    let created = job.metadata.creation_timestamp.as_ref();
    let age = created.map_or(Duration::ZERO, |created| {
        // Two clocks may differ.
        now.duration_since(created.0).unsigned_abs()
    });
    let run = bundle.status.as_ref().and_then(|s| s.current_run.as_ref());
    let before = run.and_then(|run| run.waiting.clone());
    let rooms = &context.rooms;
    let uid = job.uid().unwrap_or_default();
    let due = rooms.until_next_look(&uid, LOOK_AGAIN, Instant::now());
    let due = due.max(FIRST_LOOK.saturating_sub(age));
    if !due.is_zero() {
        // It runs, whatever was said before of what kept it from running.
        patch_status(context, bundle, status::wait(bundle, before, now)).await?;
        return Ok(Next::Rest(Again::After(due)));
    }
    let Some(room) = rooms.looking.enter().await else {
        return Ok(Next::Rest(Again::After(LOOK_AGAIN)));
    };
    let seen = look(context, bundle, job, now).await;
    drop(room);
    rooms.looked(&uid, Instant::now());
    let (waiting, kind) = match seen {
        Ok(Seen::Ending) => (before.clone(), None),
        Ok(Seen::Well) => (None, None),
        Ok(Seen::Waiting(found)) => {
            let kind = found.kind;
            let told = told(context, job, found, before.clone()).await?;
            (Some(told), Some(kind))
        }
        // What was told before stays; the run does not depend on it.
        Err(error) => {
            debug!(error = %chain(&error), "Not known what the Job waits for");
            (before.clone(), None)
        }
    };
    let changed = waiting != before;
    let stored = status::wait(bundle, waiting.clone(), now);
    patch_status(context, bundle, stored).await?;
    if changed {
        tell(context, bundle, job, waiting.zip(kind)).await;
    }
    Ok(Next::Rest(Again::After(pause(age, changed))))
}

fn pause(age: Duration, changed: bool) -> Duration {
    if changed || age < BEGINNING {
        LOOK_AGAIN
    } else {
        LOOK_AGAIN_LATER
    }
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
    let name = job.name_any();
    let since = status::since(bundle, job);
    let mounts = async |pods: &[Pod]| {
        if obstacle::needs_mount_events(pods, now) {
            trouble::events(client, &namespace, "FailedMount", since).await
        } else {
            Ok(Vec::new())
        }
    };
    let mut own = jobs::pods(client, job).await?;
    own.retain(|pod| !has_ended(pod));
    if outcome::is_ending(job, &own) {
        return Ok(Seen::Ending);
    }
    // What keeps the Job itself is told first, and costs little to see.
    let suspects = obstacle::suspects(&Observed {
        job,
        pods: &own,
        refusals: &[],
        mounts: &mounts(&own).await?,
        since,
        now,
    });
    if let Some(worst) = obstacle::worst(&name, suspects, &BTreeMap::new()) {
        return Ok(Seen::Waiting(worst));
    }
    let pods = trouble::pods(client, &namespace, since).await?;
    let refusals = trouble::events(client, &namespace, "FailedCreate", since).await?;
    let suspects = obstacle::suspects(&Observed {
        job,
        pods: &pods,
        refusals: &refusals,
        mounts: &mounts(&pods).await?,
        since,
        now,
    });
    let workloads = workloads(context, job, &suspects).await?;
    let worst = obstacle::worst(&name, suspects, &workloads);
    Ok(worst.map_or(Seen::Well, Seen::Waiting))
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
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

/// What is told of an obstacle. The Secret is read only if that is new.
async fn told(
    context: &Context,
    job: &Job,
    found: Obstacle,
    before: Option<Waiting>,
) -> Result<Waiting, ApiError> {
    if found.is_told(before.as_ref())
        && let Some(before) = before
    {
        return Ok(before);
    }
    let work = move |masker: Option<&Masker>| found.told(masker, before.as_ref());
    let room = (&context.client, &context.rooms.masking);
    masking(room, job, false, work).await
}

async fn tell(context: &Context, bundle: &WerfBundle, job: &Job, found: Option<(Waiting, Kind)>) {
    let key = BundleKey::of(bundle);
    let name = job.name_any();
    let Some((
        Waiting {
            reason, message, ..
        },
        kind,
    )) = found
    else {
        info!(bundle.namespace = %key.namespace, bundle.name = %key.name, job.name = %name, "The Job no longer waits");
        return;
    };
    info!(bundle.namespace = %key.namespace, bundle.name = %key.name, job.name = %name, reason, "The Job waits: {message}");
    let namespace = job.namespace().unwrap_or_default();
    let about = Some((namespace.as_str(), name.as_str()));
    let recorder = &context.recorder;
    events::tell(recorder, bundle, about, Reason::Waiting(kind), &message).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_runs_long_is_looked_at_less_often() {
        let later = Duration::from_mins(6);
        assert_eq!(pause(Duration::from_mins(4), false), LOOK_AGAIN);
        assert_eq!(pause(later, true), LOOK_AGAIN);
        assert_eq!(pause(later, false), LOOK_AGAIN_LATER);
    }
}
