//! Which tag a bundle is rolled back to, and for how long. The annotation names a tag that was
//! deployed before; that tag is wanted then, by the digest of the history, whatever is announced.
//! The hold ends when the annotation is removed, when a tag is announced that is newer than the one
//! rolled back from, or when a person asks for a tag. After that the same value does nothing again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use werf_shared::bundle::asked::{self, echo};
use werf_shared::bundle::status::{JobStatus, Requested, Rollback};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::names::wish;
use werf_shared::tag::Tag;

use super::status;

/// What the annotation means for a bundle that has not been told so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Roll back to this tag and hold it.
    Begin {
        /// The tag.
        tag: String,
        /// Its digest when it was deployed, where it was known.
        digest: Option<String>,
    },
    /// The annotation is gone: the newest tag is wanted again.
    Resume,
    /// The annotation is gone, and the hold had ended before: the same value may come again.
    Forget,
}

/// Says what the annotation, as it is now, means for the status.
pub fn turn(bundle: &WerfBundle, status: &WerfBundleStatus) -> Option<Turn> {
    let Some(value) = asked::rollback_to(bundle) else {
        return match (&status.rollback, &status.last_handled_rollback) {
            (Some(_), _) => Some(Turn::Resume),
            (None, Some(_)) => Some(Turn::Forget),
            (None, None) => None,
        };
    };
    if is_handled(value, status) {
        return None;
    }
    let deployed = |entry: &&_| is_deployment_of(entry, value);
    let entry = status.history.iter().find(deployed)?;
    Some(Turn::Begin {
        tag: entry.tag.clone(),
        digest: entry.digest.clone(),
    })
}

/// What keeps anything from being started: the annotation names a tag that cannot be rolled back to.
pub fn unknown(bundle: &WerfBundle, status: &WerfBundleStatus) -> Option<String> {
    let value = asked::rollback_to(bundle).filter(|value| !is_handled(value, status))?;
    if status.history.iter().any(|e| is_deployment_of(e, value)) {
        return None;
    }
    let what = match value.parse::<Tag>() {
        Ok(tag) => format!("{tag} is not in the history as deployed successfully"),
        Err(_) => "its value is no tag".to_owned(),
    };
    let mut seen = BTreeSet::new();
    let known: Vec<&str> = status
        .history
        .iter()
        .filter(|entry| entry.result == JobStatus::Succeeded)
        .map(|entry| entry.tag.as_str())
        .filter(|tag| seen.insert(*tag))
        .collect();
    let known = if known.is_empty() {
        "no tag can be rolled back to yet".to_owned()
    } else {
        format!("these can be rolled back to: {}", known.join(", "))
    };
    Some(format!(
        "annotation {}: {what}; {known}; nothing is deployed until it is corrected or removed",
        wish::ROLLBACK_TO
    ))
}

/// The status with the turn in it.
pub fn take(
    mut status: WerfBundleStatus,
    turn: Turn,
    value: Option<&str>,
    traceparent: Option<&str>,
    now: Timestamp,
) -> WerfBundleStatus {
    status.last_handled_rollback = value.map(echo);
    match turn {
        Turn::Begin { tag, digest } => {
            status.rollback = Some(Rollback {
                from: rolled_back_from(&status).unwrap_or_else(|| tag.clone()),
                tag: tag.clone(),
                digest: digest.clone(),
                since: Time(now),
            });
            want(&mut status, tag, digest, traceparent, now);
            // Asked for by a person: what failed or stalled before starts over.
            status::prepared(&mut status);
            status.requested.get_or_insert(Requested {
                force: false,
                traceparent: traceparent.map(ToOwned::to_owned),
            });
        }
        Turn::Resume => {
            if let Some(held) = status.rollback.take() {
                let newest = status.announced.clone();
                let (tag, digest) = newest.map_or((held.from, None), |newest| {
                    (newest.tag, Some(newest.digest))
                });
                want(&mut status, tag, digest, traceparent, now);
            }
        }
        Turn::Forget => {}
    }
    status
}

/// Ends the hold, or the wish for one, because another tag is wanted. The value of the annotation
/// has had its day.
pub fn end(bundle: &WerfBundle, status: &mut WerfBundleStatus) {
    status.rollback = None;
    status.last_handled_rollback = asked::rollback_to(bundle).map(echo);
}

/// An announced tag ends the hold: the choosing of tags would go from the one that was rolled back
/// from to this one. The same tag with another digest does not.
pub fn is_ended_by(held: &Rollback, announced: &Tag) -> bool {
    held.from
        .parse::<Tag>()
        .is_ok_and(|from| *announced != from && !announced.is_behind(&from))
}

/// What people are told when a hold ends for another tag; nothing when none did.
pub fn ended(before: &WerfBundleStatus, after: &WerfBundleStatus) -> Option<String> {
    let held = before.rollback.as_ref()?;
    let wanted = after.desired_tag.as_deref().unwrap_or_default();
    after.rollback.is_none().then(|| {
        format!(
            "The rollback from {} to {} has ended: {wanted} is wanted",
            held.from, held.tag
        )
    })
}

fn is_handled(value: &str, status: &WerfBundleStatus) -> bool {
    status.last_handled_rollback.as_ref() == Some(&echo(value))
}

fn is_deployment_of(entry: &werf_shared::bundle::status::HistoryEntry, tag: &str) -> bool {
    entry.tag == tag && entry.result == JobStatus::Succeeded
}

/// The newest tag that is known now, as far as choosing goes: what is announced up to here must not
/// end the hold. From one rollback to the next it stays.
fn rolled_back_from(status: &WerfBundleStatus) -> Option<String> {
    if let Some(held) = &status.rollback {
        return Some(held.from.clone());
    }
    let announced = status.announced.as_ref().map(|announced| &announced.tag);
    let desired = status.desired_tag.as_ref();
    let (Some(announced), Some(desired)) = (announced, desired) else {
        return announced.or(desired).cloned();
    };
    let behind = match (desired.parse::<Tag>(), announced.parse::<Tag>()) {
        (Ok(desired), Ok(announced)) => desired.is_behind(&announced),
        _ => true,
    };
    Some(if behind { announced } else { desired }.clone())
}

fn want(
    status: &mut WerfBundleStatus,
    tag: String,
    digest: Option<String>,
    traceparent: Option<&str>,
    now: Timestamp,
) {
    status.desired_tag = Some(tag);
    status.desired_digest = digest;
    status.desired_since = Some(Time(now));
    status.desired_traceparent = traceparent.map(ToOwned::to_owned);
}

#[cfg(test)]
mod tests;
