//! How a Job stands and, when it has ended, why it ended as it did.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use kube::ResourceExt;
use werf_shared::bundle::status::Waiting;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::names::annotation;

use super::job::CONTAINER;
use super::mask::Masker;
use super::text::shown;

mod cause;
mod report;

pub use cause::{Cause, Failure, Outcome};

/// So long what may pass is waited for when a Job has ended.
const LATELY: SignedDuration = SignedDuration::from_mins(1);

/// The longest text of others within a message.
const WORDS_LIMIT: usize = 400;

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

/// The Job is about to end, or its Pod is being taken away: what it was seen to wait for before is
/// what it waited for. The Job controller deletes Pods first and says so afterwards.
pub fn is_ending(job: &Job, pods: &[Pod]) -> bool {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let said = conditions.into_iter().flatten().any(|condition| {
        condition.status == "True"
            && matches!(
                condition.type_.as_str(),
                "FailureTarget" | "SuccessCriteriaMet"
            )
    });
    let uid = job.metadata.uid.as_ref();
    let leaving = pods.iter().any(|pod| {
        let mut owners = pod.owner_references().iter();
        pod.metadata.deletion_timestamp.is_some() && owners.any(|owner| Some(&owner.uid) == uid)
    });
    said || leaving || job.metadata.deletion_timestamp.is_some()
}

/// The Job ended just now, as far as the clocks of two machines can tell.
pub fn ended_lately(job: &Job, now: Timestamp) -> bool {
    let condition = finished_by(job);
    let ended = condition.and_then(|condition| condition.last_transition_time.as_ref());
    ended.is_some_and(|ended| now.duration_since(ended.0).abs() < LATELY)
}

/// What is left of an ended Job beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remains<'a> {
    /// Its Pods, if they could be seen. There can be two of them, and none.
    pub pods: Option<&'a [Pod]>,
    /// What it was last seen to wait for.
    pub waiting: Option<&'a Waiting>,
    /// Masks what others wrote; without one that is not told.
    pub masker: Option<&'a Masker>,
}

/// Says how an ended Job ended. Its own condition decides whether it failed, whatever its Pods say;
/// they only tell why.
pub fn ended(job: &Job, remains: Remains<'_>) -> Outcome {
    let Some((kind, reason, message)) = finished(job) else {
        return Outcome::Failed(Cause::Other("job has not ended".to_owned()).into());
    };
    if kind == "Complete" {
        return Outcome::Succeeded;
    }
    let words = |text: &str| {
        let masker = remains.masker?;
        Some(shown(text, masker, WORDS_LIMIT))
    };
    let pod = telling(remains.pods.unwrap_or_default());
    let cause = if reason == "DeadlineExceeded" {
        Cause::DeadlineExceeded
    } else if let Some(pod) = pod {
        why_failed(pod, words).unwrap_or_else(|| other(reason, message, words))
    } else if remains.pods.is_some() && reason == "BackoffLimitExceeded" && has_lost_pods(job) {
        Cause::PodDeleted
    } else {
        other(reason, message, words)
    };
    let operation = match cause {
        Cause::ExitCode(_) | Cause::WithoutClientCertificate(_) => pod
            .and_then(|pod| terminated(pod)?.message.as_deref())
            .and_then(|message| report::failed_operation(message, remains.masker?))
            .and_then(|operation| words(&operation)),
        _ => None,
    };
    let of_job = format!("Job/{}", job.name_any());
    let waiting = remains.waiting.filter(|waiting| match cause {
        // werf ran: its own Pod had started.
        Cause::ExitCode(_) | Cause::WithoutClientCertificate(_) => waiting.object != of_job,
        Cause::OomKilled | Cause::NotStarted(..) | Cause::PodEvicted(_) => false,
        _ => true,
    });
    let certificate_unused = job
        .annotations()
        .contains_key(annotation::CLIENT_CERTIFICATE);
    Outcome::Failed(Failure {
        cause: match cause {
            Cause::ExitCode(code) if certificate_unused => Cause::WithoutClientCertificate(code),
            cause => cause,
        },
        operation,
        waiting: waiting.cloned(),
    })
}

/// The Pod that tells how a Job went: of those that failed, or else of all, the newest.
pub fn telling(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().max_by_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (failed(pod), created, pod.metadata.name.clone())
    })
}

fn failed(pod: &Pod) -> bool {
    terminated(pod).is_some() || was_evicted(pod).is_some()
}

/// Why the Pod failed, if it did; in `words` where those say more.
fn why_failed(pod: &Pod, words: impl Fn(&str) -> Option<String>) -> Option<Cause> {
    let terminated = terminated(pod);
    let reason = terminated.and_then(|terminated| terminated.reason.as_deref());
    if reason == Some("OOMKilled") {
        return Some(Cause::OomKilled);
    }
    if let Some(message) = was_evicted(pod) {
        return Some(Cause::PodEvicted(words(message).unwrap_or_default()));
    }
    let deleted = pod.metadata.deletion_timestamp.is_some();
    let Some(terminated) = terminated else {
        return deleted.then_some(Cause::PodDeleted);
    };
    let code = terminated.exit_code;
    Some(match reason {
        // containerd and older runtimes, where the command cannot be executed.
        Some("StartError" | "ContainerCannotRun") => {
            let message = terminated.message.as_deref().unwrap_or_default();
            Cause::NotStarted(code, words(message).unwrap_or_default())
        }
        // 128 and the number of the signal that ended it: SIGTERM or SIGKILL.
        _ if deleted && matches!(code, 143 | 137) => Cause::PodDeleted,
        _ => Cause::ExitCode(code),
    })
}

/// What was said when the Pod was evicted. The kubelet sets the reason; everybody else who takes a Pod
/// away for its node's sake sets the condition (`DisruptionTarget` in k8s.io/api/core/v1).
fn was_evicted(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let said = status.message.as_deref();
    if status.reason.as_deref() == Some("Evicted") {
        return Some(said.unwrap_or_default());
    }
    let conditions = status.conditions.as_ref()?;
    let target = conditions
        .iter()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")?;
    Some(said.or(target.message.as_deref()).unwrap_or_default())
}

/// The Job had a Pod that failed, and nothing is left of it.
fn has_lost_pods(job: &Job) -> bool {
    let failed = job.status.as_ref().and_then(|status| status.failed);
    failed.is_some_and(|failed| failed > 0)
}

fn other(reason: &str, message: &str, words: impl Fn(&str) -> Option<String>) -> Cause {
    Cause::Other(words(&in_words(reason, message)).unwrap_or_else(|| "job failed".to_owned()))
}

/// The condition that ends a Job: type, reason, message.
fn finished(job: &Job) -> Option<(&str, &str, &str)> {
    finished_by(job).map(|c| {
        let reason = c.reason.as_deref().unwrap_or_default();
        let message = c.message.as_deref().unwrap_or_default();
        (c.type_.as_str(), reason, message)
    })
}

fn finished_by(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.status == "True" && matches!(c.type_.as_str(), "Complete" | "Failed"))
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

fn in_words(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", "") => "job failed".to_owned(),
        (reason, "") => format!("job failed: {reason}"),
        (reason, message) => format!("job failed: {reason}: {message}"),
    }
}

#[cfg(test)]
mod tests;
