//! What a bundle that is being deleted leaves behind, and how far it has come with it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use werf_shared::bundle::status::{JobStatus, TriedRelease, Uninstall};
use werf_shared::bundle::{DeletionPolicy, WerfBundle, WerfBundleStatus};
use werf_shared::names::{self, IllegalName};

use super::outcome::Outcome;
use super::plan;
use super::release::Release;
use super::status::{self, Standing};

/// The release that is to be uninstalled before the bundle goes: the one that was deployed or tried
/// last, whatever the spec names now. None when nothing was, when it is to stay, or when it is
/// uninstalled already.
pub fn due(bundle: &WerfBundle) -> Option<TriedRelease> {
    let status = bundle.status.as_ref()?;
    let done = status
        .uninstall
        .as_ref()
        .is_some_and(|uninstall| uninstall.result == JobStatus::Succeeded);
    if done || bundle.spec.converge.deletion_policy == DeletionPolicy::Retain {
        return None;
    }
    status
        .release
        .clone()
        .or_else(|| before_it_was_recorded(bundle, status))
}

/// Operators before this one did not record what they ran; the spec is the best guess.
fn before_it_was_recorded(bundle: &WerfBundle, status: &WerfBundleStatus) -> Option<TriedRelease> {
    let ran = !status.history.is_empty() || status.last_job_status.is_some();
    let account = bundle.spec.converge.service_account_name.clone();
    let namespace = status.resolved_target_namespace.clone().filter(|_| ran)?;
    Some(TriedRelease {
        namespace,
        name: Release::of(bundle).name,
        service_account_name: account
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned()),
    })
}

/// Checks that what is [due](due) can be asked for: whoever may write statuses may have them name
/// anything, and a spec may be older than the schema.
pub fn check(bundle: &WerfBundle, release: &TriedRelease) -> Result<(), IllegalName> {
    let status = bundle.status.as_ref();
    let recorded = status.is_some_and(|status| status.release.is_some());
    let [namespace, name, account] = if recorded {
        [
            "status.release.namespace",
            "status.release.name",
            "status.release.serviceAccountName",
        ]
    } else {
        [
            "status.resolvedTargetNamespace",
            "spec.converge.releaseName",
            "spec.converge.serviceAccountName",
        ]
    };
    names::check_namespace(namespace, &release.namespace)?;
    names::check_release(name, &release.name)?;
    names::check_object(account, &release.service_account_name)
}

/// A Job that is removed is gone with its Pod, which has half a minute to stop, unless something holds
/// them.
const GONE_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// What is told of a bundle that is being deleted once its removed Jobs take longer than that.
pub fn held_up(left: &[&Job], now: Timestamp) -> Option<Standing> {
    let held = left.iter().find(|job| {
        let removed = job.metadata.deletion_timestamp.as_ref();
        removed.is_some_and(|removed| now.duration_since(removed.0) > GONE_WITHIN)
    })?;
    let (name, namespace) = (held.name_any(), held.namespace().unwrap_or_default());
    Some(Standing::Leaving(format!(
        "Waiting for Job {name} in namespace {namespace} to be gone with its Pods, which may be on a lost \
         node or have a finalizer"
    )))
}

/// What an attempt to uninstall needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Its Job is to be made, or was made and not confirmed yet.
    Make(i32),
    /// Its Job was confirmed; see how it does.
    Follow(i32),
    /// The last one failed; the next comes at that time.
    At(Timestamp),
}

/// Says how far uninstalling has come. There is no last attempt: only a person can decide to leave
/// behind what was to go.
pub fn attempt(status: &WerfBundleStatus, now: Timestamp) -> Attempt {
    let Some(uninstall) = &status.uninstall else {
        return Attempt::Make(1);
    };
    if uninstall.result == JobStatus::Running {
        return Attempt::Follow(uninstall.attempt);
    }
    let ended = uninstall.finished.as_ref().map_or(now, |time| time.0);
    match plan::retry_at(ended, u32::try_from(uninstall.attempt).unwrap_or(1)) {
        Some(due) if due > now => Attempt::At(due),
        _ => Attempt::Make(uninstall.attempt.saturating_add(1)),
    }
}

/// The status that says that the Job of an attempt exists.
pub fn confirm(
    bundle: &WerfBundle,
    attempt: i32,
    job: &str,
    release: &TriedRelease,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.active_job_name = Some(job.to_owned());
    status.last_job_status = Some(JobStatus::Running);
    status.resolved_target_namespace = Some(release.namespace.clone());
    status.uninstall = Some(Uninstall {
        attempt,
        job: job.to_owned(),
        result: JobStatus::Running,
        finished: None,
    });
    let standing = Standing::Uninstalling(running(release));
    settled(bundle, status, &standing, now)
}

/// What is told while it goes on.
pub fn running(release: &TriedRelease) -> String {
    let TriedRelease {
        namespace, name, ..
    } = release;
    format!("Uninstalling release {name} from namespace {namespace}")
}

/// The status that records how an attempt ended.
pub fn record(
    bundle: &WerfBundle,
    attempt: i32,
    job: &str,
    release: &TriedRelease,
    outcome: &Outcome,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut status = bundle.status.clone().unwrap_or_default();
    status.active_job_name = None;
    status.last_job_logs = None;
    let result = match outcome {
        Outcome::Succeeded => JobStatus::Succeeded,
        Outcome::Failed(_) => JobStatus::Failed,
    };
    status.last_job_status = Some(result);
    status.uninstall = Some(Uninstall {
        attempt,
        job: job.to_owned(),
        result,
        finished: Some(Time(now)),
    });
    let standing = match outcome {
        Outcome::Succeeded => Standing::Uninstalling(running(release)),
        Outcome::Failed(failure) => {
            let next = match self::attempt(&status, now) {
                Attempt::At(at) => format!("; next attempt at {} UTC", at.strftime("%H:%M:%S")),
                _ => String::new(),
            };
            Standing::UninstallFailed(format!(
                "{}: {}, see the log of Job {job}{next}",
                running(release),
                failure.message()
            ))
        }
    };
    settled(bundle, status, &standing, now)
}

/// The status that says what keeps a Job from being made, or from being let run.
pub fn blocked(
    bundle: &WerfBundle,
    release: &TriedRelease,
    obstacle: &str,
    now: Timestamp,
) -> WerfBundleStatus {
    let status = bundle.status.clone().unwrap_or_default();
    let message = format!("{}: {obstacle}", running(release));
    settled(bundle, status, &Standing::UninstallFailed(message), now)
}

/// What a person can do about it, in words for the condition.
pub const WAY_OUT: &str = "to leave it, set spec.converge.deletionPolicy to Retain";

fn settled(
    bundle: &WerfBundle,
    status: WerfBundleStatus,
    standing: &Standing,
    now: Timestamp,
) -> WerfBundleStatus {
    let mut with = bundle.clone();
    with.status = Some(status);
    status::settle(&with, standing, now)
}

#[cfg(test)]
mod tests;
