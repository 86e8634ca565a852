//! How a Job stands and, when it has ended, why it ended as it did.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use kube::ResourceExt;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::names::annotation;

use super::job::CONTAINER;

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was created and has not been let run.
    New,
    /// It runs or is about to.
    Running,
    /// It was let run, and somebody else has suspended it since.
    Held,
    /// It has ended; ask [`ended`] how.
    Ended,
}

/// How an ended Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded,
    /// Not well.
    Failed(Cause),
}

/// Why a Job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel killed the container for using more memory than its limit.
    OomKilled,
    /// werf said no.
    ExitCode(i32),
    /// The same where the registry may have asked for a client certificate.
    WithoutClientCertificate(i32),
    /// The Job ran longer than it may.
    DeadlineExceeded,
    /// The Job was removed before its end was recorded.
    Removed,
    /// The Job controller's own words.
    Other(String),
}

impl Cause {
    /// The failure as the guides word it.
    pub fn message(&self) -> String {
        match self {
            Self::OomKilled => "pod failed with OOMKilled".to_owned(),
            Self::ExitCode(code) => format!("pod failed with exit code {code}"),
            Self::WithoutClientCertificate(code) => format!(
                "pod failed with exit code {code}; werf cannot present the client certificate of registry.certSecretRef, if that is what the registry asks for"
            ),
            Self::DeadlineExceeded => "job exceeded its deadline".to_owned(),
            Self::Removed => "job was removed before its end was recorded".to_owned(),
            Self::Other(words) => words.clone(),
        }
    }
}

/// Says how a Job stands.
pub fn progress(job: &Job) -> Progress {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let released = job.annotations().contains_key(annotation::RELEASED);
    match (finished(job).is_some(), suspended, released) {
        (true, ..) => Progress::Ended,
        (false, true, false) => Progress::New,
        (false, true, true) => Progress::Held,
        (false, false, _) => Progress::Running,
    }
}

/// The Job was created for a run that came before and was never let run: its creator died, or its
/// claim was given up. A Job of a later run is somebody's who knows more.
pub fn is_left_over(job: &Job, status: &WerfBundleStatus) -> bool {
    let number = |key: &str| {
        job.annotations()
            .get(key)
            .and_then(|text| text.parse::<i64>().ok())
    };
    let of = (number(annotation::RUN), number(annotation::ATTEMPT));
    let (Some(run), Some(attempt)) = of else {
        return false;
    };
    progress(job) == Progress::New
        && (run, attempt) <= (status.run, i64::from(status.attempt))
        && status.active_job_name.as_deref() != job.metadata.name.as_deref()
}

/// The Job was made for the bundle's current run and attempt, from its inputs. A name alone proves
/// nothing: anyone who may create Jobs can take it.
pub fn is_of_run(job: &Job, bundle: &WerfBundle) -> bool {
    let Some(status) = &bundle.status else {
        return false;
    };
    let Some(run) = &status.current_run else {
        return false;
    };
    let says = |key: &str, value: &str| job.annotations().get(key).is_some_and(|v| v == value);
    says(annotation::BUNDLE_UID, &bundle.uid().unwrap_or_default())
        && says(annotation::INPUTS_HASH, &run.inputs_hash)
        && says(annotation::RUN, &status.run.to_string())
        && says(annotation::ATTEMPT, &status.attempt.to_string())
}

/// Says how an ended Job ended, from its conditions and what is left of its Pods.
pub fn ended(job: &Job, pods: &[Pod]) -> Outcome {
    let Some((kind, reason, message)) = finished(job) else {
        return Outcome::Failed(Cause::Other("job has not ended".to_owned()));
    };
    if kind == "Complete" {
        return Outcome::Succeeded;
    }
    if reason == "DeadlineExceeded" {
        return Outcome::Failed(Cause::DeadlineExceeded);
    }
    let cause = pods
        .iter()
        .find_map(terminated)
        .map_or_else(|| Cause::Other(in_words(reason, message)), why_terminated);
    let certificate_unused = job
        .annotations()
        .contains_key(annotation::CLIENT_CERTIFICATE);
    Outcome::Failed(match cause {
        Cause::ExitCode(code) if certificate_unused => Cause::WithoutClientCertificate(code),
        cause => cause,
    })
}

/// The condition that ends a Job: type, reason, message.
fn finished(job: &Job) -> Option<(&str, &str, &str)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))
        .map(|c| {
            let reason = c.reason.as_deref().unwrap_or_default();
            let message = c.message.as_deref().unwrap_or_default();
            (c.type_.as_str(), reason, message)
        })
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == CONTAINER)?;
    status
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .filter(|terminated| terminated.exit_code != 0)
}

fn why_terminated(terminated: &ContainerStateTerminated) -> Cause {
    if terminated.reason.as_deref() == Some("OOMKilled") {
        Cause::OomKilled
    } else {
        Cause::ExitCode(terminated.exit_code)
    }
}

fn in_words(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", "") => "job failed".to_owned(),
        (reason, "") => format!("job failed: {reason}"),
        (reason, message) => format!("job failed: {reason}: {message}"),
    }
}

#[cfg(test)]
mod tests;
