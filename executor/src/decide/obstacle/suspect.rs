//! Which objects of the target namespace are in trouble, and were not before the run?

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;

use super::owner::{OwnerRef, controller, is_of_release};
use super::{Kind, pod, refusal};
use crate::decide::job;

/// What was seen in the target namespace.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The run's Job.
    pub job: &'a Job,
    /// The Pods that have not ended.
    pub pods: &'a [Pod],
    /// Events that say a Pod could not be made.
    pub refusals: &'a [Event],
    /// Events that say a volume could not be mounted.
    pub mounts: &'a [Event],
    /// What is older is not the run's doing.
    pub since: Timestamp,
    /// When it was seen.
    pub now: Timestamp,
}

/// Something in trouble.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// What keeps it.
    pub kind: Kind,
    /// Whose it is.
    pub owner: OwnerRef,
    /// More of it, as others wrote it.
    pub detail: String,
}

/// What is in trouble, the Job's own first.
pub fn suspects(observed: &Observed<'_>) -> BTreeSet<Suspect> {
    let job = observed.job;
    let mut suspects = BTreeSet::new();
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        suspects.insert(Suspect {
            kind: Kind::JobSuspended,
            owner: OwnerRef::Job,
            detail: "somebody set its spec.suspend".to_owned(),
        });
    }
    let release = job::release_of(job).unwrap_or_default();
    let namespace = job.namespace().unwrap_or_default();
    for pod in observed.pods.iter().filter(|pod| is_recent(pod, observed)) {
        let Some(owner) = owner_of(pod, job, release, &namespace) else {
            continue;
        };
        if let Some((kind, detail)) = pod::trouble(pod, observed.mounts, observed.now) {
            suspects.insert(Suspect {
                kind,
                owner,
                detail,
            });
        }
    }
    for event in observed.refusals {
        if let Some(suspect) = refused(event, observed) {
            suspects.insert(suspect);
        }
    }
    suspects
}

/// Whether there are Pods that may be waiting for a volume: only Events tell that.
pub fn needs_mount_events(pods: &[Pod], now: Timestamp) -> bool {
    pods.iter().any(|pod| pod::is_being_made_for_long(pod, now))
}

fn is_recent(pod: &Pod, observed: &Observed<'_>) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref();
    pod.metadata.deletion_timestamp.is_none()
        && created.is_some_and(|created| created.0 >= observed.since)
}

fn owner_of(pod: &Pod, job: &Job, release: &str, namespace: &str) -> Option<OwnerRef> {
    let Some(owner) = controller(&pod.metadata) else {
        let ours = is_of_release(&pod.metadata, release, namespace);
        return ours.then(|| OwnerRef::Itself(pod.name_any()));
    };
    if Some(&owner.uid) == job.metadata.uid.as_ref() {
        return Some(OwnerRef::Job);
    }
    OwnerRef::named(&owner.kind, &owner.name, &owner.uid)
}

/// An Event of a Pod that was not made counts until a later Pod of the same owner was.
fn refused(event: &Event, observed: &Observed<'_>) -> Option<Suspect> {
    let last = refusal::last_seen(event)?;
    let regarding = event.regarding.as_ref()?;
    let uid = regarding.uid.clone()?;
    let own = Some(&uid) == observed.job.metadata.uid.as_ref();
    let made_since = observed.pods.iter().any(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref();
        let theirs = controller(&pod.metadata).is_some_and(|owner| owner.uid == uid);
        // The Job has one Pod, so that any will do.
        theirs && (own || created.is_some_and(|created| created.0 > last))
    });
    if last < observed.since || made_since {
        return None;
    }
    let owner = if own {
        OwnerRef::Job
    } else {
        OwnerRef::named(regarding.kind.as_deref()?, regarding.name.as_deref()?, &uid)?
    };
    let (kind, detail) = refusal::explain(event.note.as_deref().unwrap_or_default());
    Some(Suspect {
        kind,
        owner,
        detail,
    })
}
