//! Kubernetes Events on a bundle: transitions, for people who run `kubectl describe`. Best effort.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};
use tracing::debug;
use werf_shared::bundle::WerfBundle;

/// The longest note the apiserver takes is 1024 bytes.
const NOTE_LIMIT: usize = 1000;

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
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::JobCreated => "JobCreated",
            Self::Synced => "Synced",
            Self::JobFailed => "JobFailed",
            Self::CannotPrepare => "CannotPrepare",
        }
    }

    const fn event_type(self) -> EventType {
        match self {
            Self::JobCreated | Self::Synced => EventType::Normal,
            Self::JobFailed | Self::CannotPrepare => EventType::Warning,
        }
    }
}

/// Tells something about a bundle.
pub async fn tell(recorder: &Recorder, bundle: &WerfBundle, reason: Reason, note: &str) {
    let event = Event {
        type_: reason.event_type(),
        reason: reason.as_str().to_owned(),
        note: Some(note.chars().take(NOTE_LIMIT).collect()),
        action: "Converge".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &bundle.object_ref(&())).await {
        debug!(%error, "Event lost");
    }
}
