//! What becomes of a person's request to deploy now.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use werf_shared::bundle::status::{Requested, Stage};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::tag::Tag;

use super::{rollback, rules, status};

/// A person's request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The tag to deploy; the one that is wanted anyway when `None`.
    pub tag: Option<Tag>,
    /// Deploy even if nothing changed or the bundle is suspended.
    pub force: bool,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Store this status; a pass makes a run of it.
    Store(Box<WerfBundleStatus>),
    /// This very tag is being deployed.
    AlreadyRunning,
    /// This very tag is about to be deployed, but for now its Job cannot be made, for this reason. Tried
    /// again by itself.
    Blocked(String),
    /// It cannot be done; why, in words.
    Refused(&'static str),
}

/// Decides about a request for the bundle as it is stored now.
pub fn decide(bundle: &WerfBundle, request: &Request, now: Timestamp) -> Decision {
    if bundle.metadata.deletion_timestamp.is_some() {
        return Decision::Refused("the bundle is being deleted");
    }
    if bundle.spec.suspend && !request.force {
        return Decision::Refused("the bundle is suspended; ask with force to deploy all the same");
    }
    let mut status = bundle.status.clone().unwrap_or_default();
    let tag = match (&request.tag, &status.desired_tag) {
        (Some(tag), _) => tag.to_string(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => {
            return Decision::Refused("no tag is known yet; name one or wait for the first poll");
        }
    };
    let running = status.active_job_name.is_some()
        && status
            .current_run
            .as_ref()
            .is_some_and(|run| run.tag == tag);
    let held = status.rollback.is_some() || rollback::unknown(bundle, &status).is_some();
    if running && !request.force && !(held && request.tag.is_some()) {
        return blocked(&status)
            .filter(|_| status.last_job_status.is_none())
            .map_or(Decision::AlreadyRunning, Decision::Blocked);
    }
    if request.tag.is_some() {
        rollback::end(bundle, &mut status);
        // Who names a tag wants it under the rules as they are now.
        status.desired_rules = Some(rules::of(&bundle.spec.registry));
    }
    if status.desired_tag.as_ref() != Some(&tag) {
        status.desired_digest = status
            .announced
            .as_ref()
            .filter(|announced| announced.tag == tag)
            .map(|announced| announced.digest.clone());
        status.desired_tag = Some(tag);
        status.desired_since = Some(Time(now));
        status.desired_traceparent.clone_from(&request.traceparent);
    }
    // What kept a Job from being made is found out anew, so that the answer is not an old one.
    status::prepared(&mut status);
    status.requested = Some(Requested {
        force: request.force,
        traceparent: request.traceparent.clone(),
    });
    Decision::Store(Box::new(status))
}

/// What keeps a Job from being made.
fn blocked(status: &WerfBundleStatus) -> Option<String> {
    let told = status.last_error_message.clone();
    told.filter(|_| status.last_error_stage == Some(Stage::Preparing))
}

/// What became of a stored request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// A Job that exists.
    Started,
    /// Nothing: this very input is deployed.
    AlreadyApplied,
    /// A wish that waits for the Job that runs.
    Queued,
    /// Nothing yet: a Job cannot be made, for this reason.
    CannotPrepare(String),
}

/// Says what became of the request that is stored in `stored`, from the bundle as it is now; nothing
/// while no pass has finished with it.
pub fn became(stored: &WerfBundle, now: &WerfBundle) -> Option<Became> {
    if stored.metadata.uid != now.metadata.uid {
        return Some(Became::CannotPrepare("the bundle was replaced".to_owned()));
    }
    let before = stored.status.as_ref()?;
    let after = now.status.as_ref()?;
    let waiting = after.requested.is_some();
    let claimed = after.run > before.run;
    let confirmed = after.current_run.is_some() && after.last_job_status.is_some();
    if claimed && confirmed {
        return Some(Became::Started);
    }
    if !waiting && !claimed {
        return Some(Became::AlreadyApplied);
    }
    if let Some(why) = blocked(after) {
        return Some(Became::CannotPrepare(why));
    }
    (waiting && after.active_job_name.is_some()).then_some(Became::Queued)
}

#[cfg(test)]
mod tests;
