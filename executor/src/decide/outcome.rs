//! How a Job stands and, when it has ended, why it ended as it did.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::job::CONTAINER;

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was created and not yet let go.
    Suspended,
    /// It runs or is about to.
    Running,
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
            Self::DeadlineExceeded => "job exceeded its deadline".to_owned(),
            Self::Removed => "job was removed before its end was recorded".to_owned(),
            Self::Other(words) => words.clone(),
        }
    }
}

/// Says how a Job stands.
pub fn progress(job: &Job) -> Progress {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    if finished(job).is_some() {
        Progress::Ended
    } else if suspended {
        Progress::Suspended
    } else {
        Progress::Running
    }
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
    Outcome::Failed(cause)
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
