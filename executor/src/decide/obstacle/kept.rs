//! What is kept of Pods and Events while others are read: a namespace may have thousands, and most of
//! each is of no interest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus, Volume};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::owner::is_marker;
use super::refusal;

/// A Pod that has not ended and was made since then.
pub fn kept_pod(pod: Pod, since: Timestamp) -> Option<Pod> {
    let created = pod.metadata.creation_timestamp.as_ref()?;
    (created.0 >= since).then(|| essence(pod))
}

/// An Event about something that was seen since then.
pub fn kept_event(event: Event, since: Timestamp) -> Option<Event> {
    let seen = refusal::last_seen(&event)?;
    (seen >= since).then(|| Event {
        metadata: essential(event.metadata),
        ..event
    })
}

/// Of a Pod what tells how it does.
pub fn essence(pod: Pod) -> Pod {
    let volumes = pod.spec.and_then(|spec| spec.volumes).unwrap_or_default();
    let claimed = volumes.into_iter().filter_map(|volume| {
        Some(Volume {
            name: volume.name,
            persistent_volume_claim: Some(volume.persistent_volume_claim?),
            ..Volume::default()
        })
    });
    Pod {
        metadata: essential(pod.metadata),
        spec: Some(PodSpec {
            volumes: Some(claimed.collect()),
            ..PodSpec::default()
        }),
        status: pod.status.map(|status| PodStatus {
            conditions: status.conditions,
            container_statuses: status.container_statuses,
            init_container_statuses: status.init_container_statuses,
            message: status.message,
            phase: status.phase,
            reason: status.reason,
            ..PodStatus::default()
        }),
    }
}

fn essential(metadata: ObjectMeta) -> ObjectMeta {
    let markers = metadata.annotations.map(|annotations| {
        let annotations = annotations.into_iter();
        let markers: BTreeMap<_, _> = annotations.filter(|(key, _)| is_marker(key)).collect();
        markers
    });
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        owner_references: metadata.owner_references,
        annotations: markers,
        ..ObjectMeta::default()
    }
}
