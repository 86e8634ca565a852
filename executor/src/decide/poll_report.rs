//! What a report of a poller leaves in the status. Reports are repeated and may come from several
//! pollers, so they carry counts rather than increments.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use werf_shared::bundle::condition::{self, ConditionType, Holds, Statement};
use werf_shared::bundle::status::{FAILURE_LIMIT, Stage};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::poll_failure::Reason;

use super::admit::{poll_succeeded, polled_message};

/// What a poll changed without a new tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// uid of the bundle that was polled for.
    pub uid: String,
    /// Generation of the bundle that was polled for.
    pub generation: i64,
    /// How the poll ended.
    pub outcome: Outcome,
}

/// How a poll ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The list was read.
    Succeeded {
        /// ETag of the list, where the registry sends one.
        etag: Option<String>,
        /// Why no tag was chosen: a condition reason and a sentence.
        nothing_chosen: Option<(NothingChosen, String)>,
    },
    /// It was not.
    Failed {
        /// The reason of the condition.
        reason: Reason,
        /// The failure in words.
        message: String,
        /// Failed polls in a row, this one included.
        consecutive_failures: i32,
    },
}

/// Why a complete list offers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NothingChosen {
    /// No tag satisfies the constraint.
    NoMatchingVersion,
    /// No tag could be a bundle.
    NoTags,
    /// The chosen tag is something else.
    NotABundle,
    /// The list lost the tag chosen before.
    TagVanished,
}

impl NothingChosen {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::NoMatchingVersion,
        Self::NoTags,
        Self::NotABundle,
        Self::TagVanished,
    ];

    /// The condition reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMatchingVersion => "NoMatchingVersion",
            Self::NoTags => "NoTags",
            Self::NotABundle => "NotABundle",
            Self::TagVanished => "TagVanished",
        }
    }
}

/// The status with the report in it; `None` when the report is about another bundle or another spec,
/// or changes nothing.
pub fn apply(bundle: &WerfBundle, report: &Report, now: Timestamp) -> Option<WerfBundleStatus> {
    let current = bundle.uid().as_deref() == Some(report.uid.as_str())
        && bundle.metadata.deletion_timestamp.is_none()
        && bundle.metadata.generation == Some(report.generation);
    if !current {
        return None;
    }
    let before = bundle.status.clone().unwrap_or_default();
    let mut after = before.clone();
    match &report.outcome {
        Outcome::Succeeded {
            etag,
            nothing_chosen,
        } => {
            let (reason, message) = match nothing_chosen {
                Some((reason, message)) => (reason.as_str(), message.clone()),
                None => ("Polled", polled_message(etag.as_deref())),
            };
            let statement = Statement {
                kind: ConditionType::RegistryAvailable,
                holds: Holds::True,
                reason,
                message,
            };
            let etag = etag.as_deref();
            poll_succeeded(&mut after, etag, statement, report.generation, now);
        }
        Outcome::Failed {
            reason,
            message,
            consecutive_failures,
        } => {
            after.consecutive_failures = (*consecutive_failures).clamp(1, FAILURE_LIMIT);
            after.last_error_message = Some(message.clone());
            after.last_error_time = Some(Time(now));
            after.last_error_stage = Some(Stage::Polling);
            let statement = Statement {
                kind: ConditionType::RegistryAvailable,
                holds: Holds::False,
                reason: reason.as_str(),
                message: message.clone(),
            };
            condition::set(
                &mut after.conditions,
                statement,
                Some(report.generation),
                now,
            );
        }
    }
    (after != before).then_some(after)
}

#[cfg(test)]
mod tests;
