//! Kubernetes Events on a bundle: transitions, for people who run `kubectl describe`. Best effort.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as StoredEvent;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::events::{Event, EventType, Recorder as NamingRecorder, Reporter};
use kube::{Api, Client, Resource};
use tracing::debug;
use werf_shared::bundle::WerfBundle;
use werf_shared::{clock, names};

use crate::decide::obstacle::Kind;

/// The longest note the apiserver takes, in bytes (`NoteLengthLimit` in kubernetes'
/// `pkg/apis/core/validation/events.go`).
const NOTE_LIMIT: usize = 1024;

/// An Event is not worth waiting for.
const DEADLINE: Duration = Duration::from_secs(3);

/// kube names an Event after its object, a dot and the nanoseconds in hexadecimal. Of a longer name no
/// legal one can be made that way.
const LONGEST_NAME: usize = 253 - 17;

/// Tells people.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    kube: NamingRecorder,
}

impl Recorder {
    /// One that tells through `client`.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: names::OPERATOR.to_owned(),
            instance: None,
        };
        Self {
            kube: NamingRecorder::new(client.clone(), reporter),
            client,
        }
    }

    async fn publish(&self, event: &Event, regarding: &ObjectReference) -> kube::Result<()> {
        let name = regarding.name.as_deref().unwrap_or_default();
        if name.len() <= LONGEST_NAME {
            return self.kube.publish(event, regarding).await;
        }
        let namespace = regarding.namespace.as_deref().unwrap_or_default();
        let events: Api<StoredEvent> = Api::namespaced(self.client.clone(), namespace);
        events
            .create(&PostParams::default(), &nameless(event, regarding))
            .await?;
        Ok(())
    }
}

/// An Event that the apiserver names; unlike kube's, it does not count repetitions.
fn nameless(event: &Event, regarding: &ObjectReference) -> StoredEvent {
    StoredEvent {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", names::OPERATOR)),
            namespace: regarding.namespace.clone(),
            ..ObjectMeta::default()
        },
        type_: Some(
            match event.type_ {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(event.reason.clone()),
        note: event.note.clone(),
        action: Some(event.action.clone()),
        regarding: Some(regarding.clone()),
        related: event.secondary.clone(),
        event_time: Some(MicroTime(clock::now())),
        reporting_controller: Some(names::OPERATOR.to_owned()),
        reporting_instance: Some(names::OPERATOR.to_owned()),
        ..StoredEvent::default()
    }
}

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
    /// A rollback was asked for.
    RollbackStarted,
    /// A rollback has ended.
    RollbackEnded,
    /// The bundle was suspended.
    Suspended,
    /// It was resumed.
    Resumed,
    /// Nothing comes of what an annotation asks for.
    RequestIgnored,
    /// Something keeps a Job from ending.
    Waiting(Kind),
    /// A Job's log could not be kept.
    LogsUnavailable,
    /// Somebody else has an object of the name that a Job or its Secret would have.
    JobNameConflict,
    /// Another bundle has the release.
    ReleaseConflict,
    /// The release was uninstalled before its bundle went.
    Uninstalled,
    /// It was left, though the bundle asked for it to be uninstalled.
    NotUninstalled,
    /// It could not be uninstalled so far.
    UninstallFailed,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::JobCreated => "JobCreated",
            Self::Synced => "Synced",
            Self::JobFailed => "JobFailed",
            Self::CannotPrepare => "CannotPrepare",
            Self::RollbackStarted => "RollbackStarted",
            Self::RollbackEnded => "RollbackEnded",
            Self::Suspended => "Suspended",
            Self::Resumed => "Resumed",
            Self::RequestIgnored => "RequestIgnored",
            Self::Waiting(kind) => kind.reason(),
            Self::LogsUnavailable => "LogsUnavailable",
            Self::JobNameConflict => "JobNameConflict",
            Self::ReleaseConflict => "ReleaseConflict",
            Self::Uninstalled => "Uninstalled",
            Self::NotUninstalled => "NotUninstalled",
            Self::UninstallFailed => "UninstallFailed",
        }
    }

    const fn event_type(self) -> EventType {
        match self {
            Self::JobCreated
            | Self::Synced
            | Self::RollbackStarted
            | Self::RollbackEnded
            | Self::Suspended
            | Self::Resumed
            | Self::Uninstalled
            | Self::NotUninstalled => EventType::Normal,
            Self::JobFailed
            | Self::CannotPrepare
            | Self::RequestIgnored
            | Self::Waiting(_)
            | Self::LogsUnavailable
            | Self::JobNameConflict
            | Self::ReleaseConflict
            | Self::UninstallFailed => EventType::Warning,
        }
    }
}

/// Tells something about a bundle and, where there is one, its Job. The recorder counts Events that
/// differ only in their note as one, and keeps the first note; the Job, or else the action, keeps apart
/// what is not the same.
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
        note: Some(note[..note.floor_char_boundary(NOTE_LIMIT)].to_owned()),
        action: match job {
            Some(_) => "Converge".to_owned(),
            None => format!("Converge-{}", names::short_hash(&[note])),
        },
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn a_note_is_cut_to_as_many_bytes_as_the_apiserver_takes() {
        let told = Arc::new(Mutex::new(None));
        let log = told.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let log = log.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let event: StoredEvent = serde_json::from_slice(&body).unwrap();
                log.lock().unwrap().clone_from(&event.note);
                Ok::<_, Infallible>(Response::new(Body::from(body)))
            }
        });
        let recorder = Recorder::new(Client::new(service, "default"));
        let bundle = serde_json::json!({
            "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"registry": {"url": "registry.example.com/app"}, "converge": {}}});
        let bundle: WerfBundle = serde_json::from_value(bundle).unwrap();
        let note = format!("x{}", "ü".repeat(1000));
        tell(&recorder, &bundle, None, Reason::Synced, &note).await;
        let told = told.lock().unwrap().take().unwrap();
        assert_eq!(told.len(), 1023);
        assert!(note.starts_with(&told));
    }
}
