//! What becomes of an announced tag. Announcements are repeated, overtake each other and come from
//! several pollers, so the answer depends only on what is stored and what is announced.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use werf_shared::bundle::condition::{self, ConditionType, Holds, Statement};
use werf_shared::bundle::status::{Announced, Stage};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::tag::{Digest, Tag};

use super::poll_report::NothingChosen;
use super::{rollback, rules};

/// A tag that a poller chose for a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// uid of the bundle it was chosen for.
    pub uid: String,
    /// Generation of the bundle it was chosen under.
    pub generation: i64,
    /// The tag.
    pub tag: Tag,
    /// Its digest.
    pub digest: Digest,
    /// ETag of the list, where the registry sends one.
    pub etag: Option<String>,
    /// W3C trace context of the announcement.
    pub traceparent: Option<String>,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// Store this status, then acknowledge: the tag is wanted now.
    Accept(Box<WerfBundleStatus>),
    /// Store this status: the tag was known, but it was chosen under a newer spec.
    Refresh(Box<WerfBundleStatus>),
    /// Nothing to store, it was announced before.
    AlreadyKnown,
    /// A higher tag was announced before, or this one was chosen under another spec.
    NotNewer,
    /// Store this status: under a newer spec with the same rules a lower tag was chosen, so the list
    /// has lost the one that is wanted, which stays.
    HeldBack(Box<WerfBundleStatus>),
    /// The bundle is gone, going, or another one of the same name.
    UnknownBundle,
    /// The bundle takes no wishes now.
    Suspended,
}

/// Decides about an announcement for the bundle as it is stored now.
pub fn admit(
    bundle: Option<&WerfBundle>,
    announcement: &Announcement,
    now: Timestamp,
) -> Admission {
    let Some(bundle) = bundle.filter(|bundle| {
        bundle.uid().as_deref() == Some(announcement.uid.as_str())
            && bundle.metadata.deletion_timestamp.is_none()
    }) else {
        return Admission::UnknownBundle;
    };
    if bundle.spec.suspend {
        return Admission::Suspended;
    }
    // Chosen under another spec: the poller looks again as soon as it sees this one.
    if bundle.metadata.generation != Some(announcement.generation) {
        return Admission::NotNewer;
    }
    let status = bundle.status.clone().unwrap_or_default();
    let rules = rules::of(&bundle.spec.registry);
    let Some(known) = status.announced.clone() else {
        return Admission::Accept(Box::new(wanted(status, announcement, rules, now)));
    };
    let same_rules = status.desired_rules.as_ref() == Some(&rules);
    let same_tag =
        known.tag == announcement.tag.as_str() && known.digest == announcement.digest.as_str();
    let behind = known
        .tag
        .parse::<Tag>()
        .is_ok_and(|known| announcement.tag.is_behind(&known));
    if !same_rules {
        Admission::Accept(Box::new(wanted(status, announcement, rules, now)))
    } else if same_tag && known.generation == announcement.generation {
        Admission::AlreadyKnown
    } else if same_tag {
        Admission::Refresh(Box::new(listed(status, announcement, now)))
    } else if behind && known.generation < announcement.generation {
        let status = held_back(status, announcement, &known.tag, now);
        Admission::HeldBack(Box::new(status))
    } else if behind {
        Admission::NotNewer
    } else {
        Admission::Accept(Box::new(wanted(status, announcement, rules, now)))
    }
}

/// The new tag is wanted, unless the bundle is rolled back and that goes on: then it is only known.
fn wanted(
    mut status: WerfBundleStatus,
    announcement: &Announcement,
    rules: String,
    now: Timestamp,
) -> WerfBundleStatus {
    status.desired_rules = Some(rules);
    if let Some(held) = &status.rollback {
        if !rollback::is_ended_by(held, &announcement.tag) {
            return listed(status, announcement, now);
        }
        // What the annotation names by now may be another tag, which is still to be taken up.
        status.rollback = None;
    }
    status.desired_tag = Some(announcement.tag.to_string());
    status.desired_digest = Some(announcement.digest.to_string());
    status.desired_since = Some(Time(now));
    status
        .desired_traceparent
        .clone_from(&announcement.traceparent);
    listed(status, announcement, now)
}

/// What every announcement says besides its tag: the list was read.
fn listed(
    mut status: WerfBundleStatus,
    announcement: &Announcement,
    now: Timestamp,
) -> WerfBundleStatus {
    status.announced = Some(Announced {
        tag: announcement.tag.to_string(),
        digest: announcement.digest.to_string(),
        generation: announcement.generation,
    });
    poll_succeeded(
        &mut status,
        announcement.etag.as_deref(),
        Statement {
            kind: ConditionType::RegistryAvailable,
            holds: Holds::True,
            reason: "Polled",
            message: polled_message(announcement.etag.as_deref()),
        },
        announcement.generation,
        now,
    );
    status
}

/// The list was read, but nothing moves backwards. A poller that has just started does not know that
/// the rules are still the same; it learns it from this condition.
fn held_back(
    mut status: WerfBundleStatus,
    announcement: &Announcement,
    known: &str,
    now: Timestamp,
) -> WerfBundleStatus {
    let best = &announcement.tag;
    let statement = Statement {
        kind: ConditionType::RegistryAvailable,
        holds: Holds::True,
        reason: NothingChosen::TagVanished.as_str(),
        message: format!(
            "{known} is no longer in the list, the highest left is {best}; nothing moves backwards"
        ),
    };
    let etag = announcement.etag.as_deref();
    poll_succeeded(&mut status, etag, statement, announcement.generation, now);
    status
}

/// What the condition says after a poll; registries without `ETags` are named once, here.
pub fn polled_message(etag: Option<&str>) -> String {
    match etag {
        Some(_) => "The tag list was read".to_owned(),
        None => "The tag list was read; ETag support not detected".to_owned(),
    }
}

/// What a poll that read the whole list leaves in the status.
pub fn poll_succeeded(
    status: &mut WerfBundleStatus,
    etag: Option<&str>,
    statement: Statement,
    generation: i64,
    now: Timestamp,
) {
    status.last_etag = etag.map(ToOwned::to_owned);
    status.consecutive_failures = 0;
    if status.last_error_stage == Some(Stage::Polling) {
        status.last_error_message = None;
        status.last_error_time = None;
        status.last_error_stage = None;
    }
    condition::set(&mut status.conditions, statement, Some(generation), now);
}

#[cfg(test)]
mod tests;
