//! What keeps a Pod from being ready? The words are the kubelet's (`pkg/kubelet/images/types.go`,
//! `kuberuntime_container.go`, `sync_result.go`) and the scheduler's (`pkg/scheduler/framework`).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::api::events::v1::Event;

use super::{Kind, refusal};

/// A healthy scheduler says something about a Pod, and a healthy kubelet has made its containers,
/// long before.
const LONG: SignedDuration = SignedDuration::from_secs(30);

/// What keeps a Pod from being ready, if anything does, and more of it.
pub(super) fn trouble(pod: &Pod, mounts: &[Event], now: Timestamp) -> Option<(Kind, String)> {
    let status = pod.status.as_ref()?;
    let init = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    let main = status.container_statuses.as_deref().unwrap_or_default();
    let waiting = init.iter().chain(main).find_map(cannot_start);
    waiting
        .or_else(|| unscheduled(pod, now))
        .or_else(|| unmounted(pod, mounts, now))
        .or_else(|| {
            init.iter()
                .find_map(|it| failing(it, Kind::InitContainerFailing))
        })
        .or_else(|| main.iter().find_map(|it| failing(it, Kind::CrashLooping)))
}

fn cannot_start(container: &ContainerStatus) -> Option<(Kind, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    let name = &container.name;
    Some(match waiting.reason.as_deref()? {
        "InvalidImageName" => {
            let why = format!(
                "container {name}: {} is no name of an image",
                container.image
            );
            (Kind::ImagePullFailed, why)
        }
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            let why = format!("container {name} cannot pull {}", container.image);
            (Kind::ImagePullFailed, with(why, why_not_pulled(message)))
        }
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "PreCreateHookError"
        | "RunContainerError"
        | "PreStartHookError"
        | "PostStartHookError" => (
            Kind::ContainerNotCreated,
            format!("container {name}: {message}"),
        ),
        _ => return None,
    })
}

fn with(what: String, more: Option<&str>) -> String {
    match more {
        Some(more) => format!("{what}: {more}"),
        None => what,
    }
}

/// One of a few reasons, because the runtime's own words differ from one try to the next.
fn why_not_pulled(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&[
        "no such host",
        "connection refused",
        "i/o timeout",
        "no route to host",
        "tls:",
        "x509",
        "deadline exceeded",
        "network is unreachable",
    ]) {
        Some("the registry cannot be reached")
    } else if says(&[
        "unauthorized",
        "denied",
        "forbidden",
        "authorization failed",
        "no basic auth",
        "authentication required",
    ]) {
        Some("access denied")
    } else if says(&["not found", "manifest unknown", "does not exist"]) {
        Some("not found")
    } else if says(&["toomanyrequests", "too many requests"]) {
        Some("too many requests")
    } else {
        None
    }
}

fn unscheduled(pod: &Pod, now: Timestamp) -> Option<(Kind, String)> {
    let conditions = pod
        .status
        .as_ref()?
        .conditions
        .as_deref()
        .unwrap_or_default();
    let Some(scheduled) = conditions.iter().find(|it| it.type_ == "PodScheduled") else {
        return unbound(pod, now);
    };
    if scheduled.status != "False" {
        return None;
    }
    let message = scheduled.message.as_deref().unwrap_or_default();
    let words = without_counts(message);
    let lower = words.to_lowercase();
    let volume = [
        "persistentvolumeclaim",
        "persistent volume",
        "volume node affinity",
        "binding volumes",
    ];
    Some(if volume.iter().any(|word| lower.contains(word)) {
        (Kind::VolumePending, words)
    } else {
        (Kind::Unschedulable, words)
    })
}

/// The scheduler has chosen a node and waits for the volume to be made there. It says so nowhere.
fn unbound(pod: &Pod, now: Timestamp) -> Option<(Kind, String)> {
    let volumes = pod.spec.as_ref()?.volumes.as_deref().unwrap_or_default();
    let claims: Vec<&str> = volumes
        .iter()
        .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
        .collect();
    (!claims.is_empty() && is_old(pod, now)).then(|| {
        let claims = claims.join(", ");
        (
            Kind::VolumePending,
            format!("PersistentVolumeClaim {claims} is not bound"),
        )
    })
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) …. preemption: …` without the counts,
/// which change with the cluster (`FitError` in `pkg/scheduler/framework/types.go`).
fn without_counts(message: &str) -> String {
    // What follows the first sentence is about preemption and the like.
    let message = match message.split_once(" nodes are available: ") {
        Some((_, reasons)) => reasons.split(". ").next().unwrap_or_default(),
        None => message,
    };
    let reasons: BTreeSet<&str> = message
        .trim_end_matches('.')
        .split(", ")
        .map(|reason| {
            reason
                .trim_start_matches(|it: char| it.is_ascii_digit())
                .trim()
        })
        .collect();
    reasons.into_iter().collect::<Vec<_>>().join(", ")
}

/// The Pod has a node, and its containers are not made for longer than healthy kubelets take.
pub(super) fn is_being_made_for_long(pod: &Pod, now: Timestamp) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let containers = status.init_container_statuses.iter().flatten();
    let mut containers = containers.chain(status.container_statuses.iter().flatten());
    let being_made = containers.any(|container| {
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
        matches!(reason, Some("ContainerCreating" | "PodInitializing"))
    });
    status.phase.as_deref() == Some("Pending") && being_made && is_old(pod, now)
}

fn unmounted(pod: &Pod, mounts: &[Event], now: Timestamp) -> Option<(Kind, String)> {
    if !is_being_made_for_long(pod, now) {
        return None;
    }
    let event = mounts
        .iter()
        .filter(|event| {
            let regarding = event.regarding.as_ref().and_then(|it| it.uid.as_ref());
            regarding.is_some() && regarding == pod.metadata.uid.as_ref()
        })
        .max_by_key(|event| refusal::last_seen(event))?;
    Some((Kind::VolumePending, event.note.clone().unwrap_or_default()))
}

fn is_old(pod: &Pod, now: Timestamp) -> bool {
    let created = pod.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| now.duration_since(created.0) > LONG)
}

/// A container that failed and is not well now. While it runs between two failures it is still
/// failing: what is told would change at every look otherwise.
fn failing(container: &ContainerStatus, kind: Kind) -> Option<(Kind, String)> {
    let state = container.state.as_ref()?;
    let ended_well = state
        .terminated
        .as_ref()
        .is_some_and(|it| it.exit_code == 0);
    let looping =
        state.waiting.as_ref().and_then(|it| it.reason.as_deref()) == Some("CrashLoopBackOff");
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let failure = state
        .terminated
        .as_ref()
        .or(last)
        .filter(|it| it.exit_code != 0);
    let again = container.restart_count > 0 || kind == Kind::InitContainerFailing;
    if container.ready || ended_well || !(looping || (again && failure.is_some())) {
        return None;
    }
    let name = &container.name;
    Some((
        kind,
        match failure {
            Some(failure) => format!("container {name} {}", how(failure)),
            None => format!("container {name}"),
        },
    ))
}

fn how(failure: &ContainerStateTerminated) -> String {
    match failure.reason.as_deref() {
        Some("OOMKilled") => "runs out of memory".to_owned(),
        _ => format!("ends with exit code {}", failure.exit_code),
    }
}
