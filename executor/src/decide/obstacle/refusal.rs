//! Why could a Pod not be made? Its controller says so in an Event `FailedCreate` and nowhere else:
//! `Error creating: ` and the apiserver's answer (`createPods` in `pkg/controller/controller_utils.go`).

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;

use super::Kind;

/// When the Event was last seen. Which field says so depends on the library that wrote it.
pub(super) fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .map(|series| series.last_observed_time.0);
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let new = event.event_time.as_ref().map(|time| time.0);
    let created = event
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    series.max(old).max(new).or(created)
}

/// What kept the Pod from being made, without what differs from one try to the next.
pub(super) fn explain(note: &str) -> (Kind, String) {
    let answer = note.strip_prefix("Error creating: ").unwrap_or(note);
    // `pods "app-x7k2p" is forbidden: ` has another name each time.
    let words = match answer.split_once(" is forbidden: ") {
        Some((pod, words)) if pod.starts_with("pods ") => words,
        _ => answer,
    };
    if let Some(exceeded) = words.strip_prefix("exceeded quota: ") {
        return (Kind::QuotaExceeded, without_use(exceeded));
    }
    if let Some(failed) = words.strip_prefix("failed quota: ") {
        return (Kind::QuotaExceeded, failed.to_owned());
    }
    (Kind::PodRefused, words.to_owned())
}

/// `name, requested: pods=1, used: pods=3, limited: pods=3` without what others use at the moment
/// (`checkRequest` in `apiserver/pkg/admission/plugin/resourcequota`).
fn without_use(exceeded: &str) -> String {
    let Some((before, used)) = exceeded.split_once(", used: ") else {
        return exceeded.to_owned();
    };
    match used.split_once(", limited: ") {
        Some((_, limited)) => format!("{before}, limited: {limited}"),
        None => before.to_owned(),
    }
}
