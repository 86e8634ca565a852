//! What a pass over a bundle does next. Two questions, asked in this order: what is the bundle in
//! the middle of, and, when it is in the middle of nothing, does anything have to be deployed.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use werf_shared::backoff::{Backoff, Jitter};
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::JobStatus;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::names;

use super::{rollback, rules};

/// The delays between the attempts of a run.
const RETRY: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_mins(8));

/// What a bundle is in the middle of.
#[derive(Clone, Debug, PartialEq)]
pub enum Situation {
    /// It is going: remove what belongs to it, then let go of it.
    Leaving,
    /// It is gone but for others' finalizers.
    Left,
    /// It is new: put the finalizer on it before anything else.
    Arriving,
    /// A run was claimed; look at its Job.
    Deploying(Claimed),
    /// Nothing is under way.
    Idle,
}

/// A run whose Job was named in the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The Job.
    pub job: String,
    /// Its namespace.
    pub namespace: String,
    /// The Job has been seen to exist. If it does not exist now, it was removed; if this is false,
    /// it was perhaps never created.
    pub confirmed: bool,
}

impl Claimed {
    /// A Job can have this name there. Whoever may write statuses may have them name anything.
    pub fn can_be(&self) -> bool {
        names::is_subdomain(&self.job) && names::is_dns_label(&self.namespace)
    }
}

/// Says what a bundle is in the middle of.
pub fn situation(bundle: &WerfBundle) -> Situation {
    let ours = bundle.finalizers().iter().any(|f| f == names::FINALIZER);
    let leaving = bundle.metadata.deletion_timestamp.is_some();
    match (leaving, ours) {
        (true, true) => return Situation::Leaving,
        (true, false) => return Situation::Left,
        (false, false) => return Situation::Arriving,
        (false, true) => {}
    }
    let Some(status) = &bundle.status else {
        return Situation::Idle;
    };
    match (&status.active_job_name, &status.resolved_target_namespace) {
        (Some(job), Some(namespace)) => Situation::Deploying(Claimed {
            job: job.clone(),
            namespace: namespace.clone(),
            confirmed: status.last_job_status == Some(JobStatus::Running),
        }),
        _ => Situation::Idle,
    }
}

/// What is wanted of an idle bundle, as far as can be told without reading its values.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Nothing.
    Nothing(WhyNothing),
    /// A rollback to a tag that cannot be rolled back to; why, in words.
    UnknownRollback(String),
    /// This tag, unless the very same inputs are deployed already.
    Tag {
        /// The tag.
        tag: String,
        /// Its digest, where it is known.
        digest: Option<String>,
        /// A person asks.
        requested: bool,
        /// Deploy even if nothing changed.
        force: bool,
        /// W3C trace context of the wish.
        traceparent: Option<String>,
    },
}

/// Why nothing is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNothing {
    /// The bundle is suspended.
    Suspended,
    /// The registry has not been read under this spec.
    NotPolled,
    /// It has, and offers nothing.
    NoTag,
}

/// Says what is wanted of an idle bundle.
pub fn wanted(bundle: &WerfBundle) -> Wanted {
    let default = WerfBundleStatus::default();
    let status = bundle.status.as_ref().unwrap_or(&default);
    let requested = status.requested.as_ref();
    let force = requested.is_some_and(|request| request.force);
    if bundle.spec.suspend && !force {
        return Wanted::Nothing(WhyNothing::Suspended);
    }
    if let Some(why) = rollback::unknown(bundle, status) {
        return Wanted::UnknownRollback(why);
    }
    let Some(tag) = status
        .desired_tag
        .clone()
        .filter(|_| is_valid(bundle, status))
    else {
        return Wanted::Nothing(if polled(bundle, status) {
            WhyNothing::NoTag
        } else {
            WhyNothing::NotPolled
        });
    };
    Wanted::Tag {
        tag,
        digest: status.desired_digest.clone(),
        requested: requested.is_some(),
        force,
        traceparent: match requested {
            Some(request) => request.traceparent.clone(),
            None => status.desired_traceparent.clone(),
        },
    }
}

/// What is wanted was chosen under the rules of the spec as it is now. Other rules may want another
/// tag; deploying the one before first would be one deployment too many, or one from the wrong
/// repository. A rollback is held whatever the registry offers, but not before that is known.
fn is_valid(bundle: &WerfBundle, status: &WerfBundleStatus) -> bool {
    status.desired_rules.as_ref() == Some(&rules::of(&bundle.spec.registry))
        || (status.rollback.is_some() && polled(bundle, status))
}

/// The registry was read under the spec as it is now.
fn polled(bundle: &WerfBundle, status: &WerfBundleStatus) -> bool {
    condition::find(&status.conditions, ConditionType::RegistryAvailable)
        .filter(|condition| condition.status == "True")
        .and_then(|condition| condition.observed_generation)
        .is_some_and(|observed| Some(observed) == bundle.metadata.generation)
}

/// A claimed run whose Job never ran is still wanted as it was claimed.
pub fn claim_stands(bundle: &WerfBundle) -> bool {
    let Some(status) = &bundle.status else {
        return false;
    };
    let Some(run) = &status.current_run else {
        return false;
    };
    let forced = run.request.as_ref().is_some_and(|request| request.force);
    let suspended = bundle.spec.suspend && !forced;
    let overtaken = status.desired_tag.as_ref() != Some(&run.tag)
        || status.desired_digest != run.digest
        || !is_valid(bundle, status)
        || rollback::unknown(bundle, status).is_some();
    !suspended && !overtaken
}

/// What to do about a wanted tag whose inputs are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// These inputs have not been tried: a new run.
    Start {
        /// Why, for the history.
        cause: &'static str,
    },
    /// The last attempt failed and its delay is over: another attempt of the same run.
    Retry,
    /// The last attempt failed and its delay is not over.
    RetryAt(Timestamp),
    /// The last attempt failed and was the last one allowed.
    GiveUp,
    /// These inputs are deployed.
    UpToDate,
}

/// Says what to do about a wanted tag whose inputs hash to `inputs_hash`.
pub fn step(
    status: &WerfBundleStatus,
    requested: bool,
    force: bool,
    inputs_hash: &str,
    retry_limit: u32,
    now: Timestamp,
) -> Step {
    let requested_cause = if status.rollback.is_some() {
        "Rollback"
    } else {
        "Requested"
    };
    let Some(run) = &status.current_run else {
        let cause = if requested { requested_cause } else { "NewTag" };
        return Step::Start { cause };
    };
    if force {
        return Step::Start { cause: "Forced" };
    }
    if run.inputs_hash != inputs_hash {
        let cause = match (requested, Some(&run.tag) == status.desired_tag.as_ref()) {
            (true, _) => requested_cause,
            (false, true) => "InputsChanged",
            (false, false) if status.rollback.is_some() => "Rollback",
            (false, false) => "NewTag",
        };
        return Step::Start { cause };
    }
    match status.last_job_status {
        Some(JobStatus::Succeeded) => Step::UpToDate,
        _ if requested => Step::Start {
            cause: requested_cause,
        },
        _ => after_failure(status, retry_limit, now),
    }
}

/// Whether and when a failed run is tried again. Without jitter: the time is told to people, and
/// must be the same whenever it is computed.
fn after_failure(status: &WerfBundleStatus, retry_limit: u32, now: Timestamp) -> Step {
    let attempts = u32::try_from(status.attempt).unwrap_or(1).max(1);
    if attempts > retry_limit {
        return Step::GiveUp;
    }
    let ended = status.history.first().map_or(now, |entry| entry.finished.0);
    match retry_at(ended, attempts) {
        Some(due) if due > now => Step::RetryAt(due),
        _ => Step::Retry,
    }
}

/// When to try again what has failed so often, the last time at `ended`.
pub(super) fn retry_at(ended: Timestamp, attempts: u32) -> Option<Timestamp> {
    ended
        .saturating_add(RETRY.delay(attempts, Jitter::NONE))
        .ok()
}

#[cfg(test)]
mod tests;
