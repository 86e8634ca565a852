//! What keeps a run that goes on from ending? From the Job's own Pod, from the Pods of the
//! application that werf waits for, and from the Events of Pods that could not even be made.
//!
//! Two questions, since owners are looked up in between: which objects are in trouble ([`suspects`]),
//! and which of those are the run's ([`worst`]). What is told stays the same while the trouble stays
//! the same: no times, counts or names of Pods.

use std::collections::{BTreeMap, BTreeSet};

use werf_shared::bundle::status::Waiting;

mod kept;
mod owner;
mod pod;
mod refusal;
mod suspect;

pub use kept::{essence, kept_event, kept_pod};
pub use owner::{OwnerKind, OwnerRef, is_marker, workload};
pub use suspect::{Observed, Suspect, needs_mount_events, suspects};

use super::mask::Masker;
use super::text::shown;

/// The longest detail that is told.
const DETAIL_LIMIT: usize = 300;

/// What can keep a run from ending. The first is told first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Somebody suspended the Job.
    JobSuspended,
    /// A quota leaves no room for a Pod.
    QuotaExceeded,
    /// Admission refuses a Pod.
    PodRefused,
    /// An image cannot be pulled.
    ImagePullFailed,
    /// A container cannot be made, as when a Secret it names is missing.
    ContainerNotCreated,
    /// A volume is not there yet.
    VolumePending,
    /// No node takes the Pod.
    Unschedulable,
    /// An init container fails again and again.
    InitContainerFailing,
    /// A container fails again and again.
    CrashLooping,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::JobSuspended,
        Self::QuotaExceeded,
        Self::PodRefused,
        Self::ImagePullFailed,
        Self::ContainerNotCreated,
        Self::VolumePending,
        Self::Unschedulable,
        Self::InitContainerFailing,
        Self::CrashLooping,
    ];

    /// One word for machines: the reason of the `Ready` condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::JobSuspended => "JobSuspended",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::PodRefused => "PodRefused",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ContainerNotCreated => "ContainerNotCreated",
            Self::VolumePending => "VolumePending",
            Self::Unschedulable => "Unschedulable",
            Self::InitContainerFailing => "InitContainerFailing",
            Self::CrashLooping => "CrashLooping",
        }
    }

    /// The kind that a reason stands for.
    pub fn of_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.reason() == reason)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::JobSuspended => "job suspended",
            Self::QuotaExceeded => "quota exceeded",
            Self::PodRefused => "pod refused",
            Self::ImagePullFailed => "image pull failure",
            Self::ContainerNotCreated => "container cannot be created",
            Self::VolumePending => "volume pending",
            Self::Unschedulable => "unschedulable",
            Self::InitContainerFailing => "init container failing",
            Self::CrashLooping => "crash loop",
        }
    }

    /// The cluster's own words make the detail, and may differ each time.
    const fn is_in_others_words(self) -> bool {
        matches!(
            self,
            Self::PodRefused | Self::ContainerNotCreated | Self::VolumePending
        )
    }
}

/// What keeps a run from ending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// What kind of thing.
    pub kind: Kind,
    /// What is kept: `Deployment/app`.
    pub object: String,
    /// More of it, as others wrote it.
    pub detail: String,
}

impl Obstacle {
    /// This is what is told already. No secret has to be known to say so: nothing new is shown.
    pub fn is_told(&self, before: Option<&Waiting>) -> bool {
        before.is_some_and(|before| self.told(Some(&Masker::Open), Some(before)) == *before)
    }

    /// The obstacle as it is told, if that differs from what is told already. Without a masker the
    /// detail is not told.
    pub fn told(&self, masker: Option<&Masker>, before: Option<&Waiting>) -> Waiting {
        let what = format!("{}: {}", self.kind.words(), self.object);
        let detail = masker.map(|masker| shown(&self.detail, masker, DETAIL_LIMIT));
        let detail = detail.filter(|detail| !detail.is_empty());
        let message = match &detail {
            Some(detail) if !self.kind.is_in_others_words() => format!("{what}: {detail}"),
            _ => what.clone(),
        };
        if let Some(before) = before
            && before.reason == self.kind.reason()
            && before.object == self.object
            && says_as_much(&before.message, &message)
        {
            return before.clone();
        }
        Waiting {
            reason: self.kind.reason().to_owned(),
            object: self.object.clone(),
            message: match detail {
                Some(detail) => format!("{what}: {detail}"),
                None => what,
            },
        }
    }
}

/// A cause may be said only now and then: before Kubernetes 1.32 the kubelet told it between two tries
/// to pull an image and not while it waited for the next one.
fn says_as_much(before: &str, now: &str) -> bool {
    let more = before.strip_prefix(now);
    more.is_some_and(|more| more.is_empty() || more.starts_with(": "))
}

/// The first thing that keeps the run from ending: what keeps its own Pod, or else its application.
/// `workloads` are the owners that belong to the run's release, by uid, as they are told.
pub fn worst(
    job_name: &str,
    suspects: BTreeSet<Suspect>,
    workloads: &BTreeMap<String, String>,
) -> Option<Obstacle> {
    let obstacles = suspects.into_iter().filter_map(|suspect| {
        let (own, object) = match suspect.owner {
            OwnerRef::Job => (true, format!("Job/{job_name}")),
            OwnerRef::Itself(name) => (false, format!("Pod/{name}")),
            OwnerRef::Controller { uid, .. } => (false, workloads.get(&uid)?.clone()),
        };
        let obstacle = Obstacle {
            kind: suspect.kind,
            object,
            detail: suspect.detail,
        };
        Some((!own, obstacle))
    });
    obstacles.min().map(|(_, obstacle)| obstacle)
}

#[cfg(test)]
mod tests;
