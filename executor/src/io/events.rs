//! Kubernetes Events on a bundle: transitions, for people who run `kubectl describe`. Best effort.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::debug;
use werf_shared::bundle::WerfBundle;

/// The longest note the apiserver takes is 1024 bytes.
const NOTE_LIMIT: usize = 1000;

/// An Event is not worth waiting for.
const DEADLINE: Duration = Duration::from_secs(3);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A Job was created.
    JobCreated,
    /// A tag was deployed.
    Synced,
    /// A Job failed.
    JobFailed,
    /// Something keeps a Job from being made.
    CannotPrepare,
    /// Nothing comes of what an annotation asks for.
    RequestIgnored,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::JobCreated => "JobCreated",
            Self::Synced => "Synced",
            Self::JobFailed => "JobFailed",
            Self::CannotPrepare => "CannotPrepare",
            Self::RequestIgnored => "RequestIgnored",
        }
    }

    const fn event_type(self) -> EventType {
        match self {
            Self::JobCreated | Self::Synced => EventType::Normal,
            Self::JobFailed | Self::CannotPrepare | Self::RequestIgnored => EventType::Warning,
        }
    }
}

/// Tells something about a bundle and, where there is one, its Job. Events that differ only in their
/// note are counted as one; the Job keeps those of different deployments apart.
pub async fn tell(
    recorder: &Recorder,
    bundle: &WerfBundle,
    job: Option<(&str, &str)>,
    reason: Reason,
    note: &str,
) {
    let event = Event {
        type_: reason.event_type(),
        reason: reason.as_str().to_owned(),
        note: Some(note.chars().take(NOTE_LIMIT).collect()),
        action: "Converge".to_owned(),
        secondary: job.map(|(namespace, name)| ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        }),
    };
    let regarding = bundle.object_ref(&());
    let published = tokio::time::timeout(DEADLINE, recorder.publish(&event, &regarding)).await;
    match published {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "Event lost"),
        Err(_) => debug!("Event lost: no answer in time"),
    }
}
