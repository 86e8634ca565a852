//! What polls found, in the words of the contract.

use jiff::Timestamp;
use werf_proto::v1alpha1::announce_tag_response::Verdict;
use werf_proto::v1alpha1::poll_failed::Reason as WireReason;
use werf_proto::v1alpha1::poll_succeeded::NothingChosen;
use werf_proto::v1alpha1::report_poll_request::Outcome;
use werf_proto::v1alpha1::{AnnounceTagRequest, PollFailed, PollSucceeded, ReportPollRequest};
use werf_shared::bundle::BundleKey;
use werf_shared::poll_failure::Reason;
use werf_shared::tag::{Digest, Tag};

use crate::decide::newest::Nothing;
use crate::decide::tell::Seen;
use crate::decide::watched::Watched;

/// A chosen tag.
pub fn announcement(
    key: &BundleKey,
    watched: &Watched,
    choice: (&Tag, &Digest),
    seen: &Seen,
    now: Timestamp,
) -> AnnounceTagRequest {
    AnnounceTagRequest {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: watched.uid.clone(),
        generation: watched.generation,
        tag: choice.0.to_string(),
        digest: choice.1.to_string(),
        etag: seen.etag.clone(),
        list_fingerprint: seen.fingerprint.to_string(),
        seen_at: Some(timestamp(now)),
    }
}

/// A poll that succeeded without a new tag.
pub fn success(
    key: &BundleKey,
    watched: &Watched,
    seen: &Seen,
    nothing: Option<(Nothing, String)>,
    now: Timestamp,
) -> ReportPollRequest {
    let (reason, words) = match nothing {
        None => (NothingChosen::Unspecified, String::new()),
        Some((nothing, words)) => (nothing_chosen(nothing), words),
    };
    let outcome = Outcome::Succeeded(PollSucceeded {
        etag: seen.etag.clone(),
        list_fingerprint: seen.fingerprint.to_string(),
        nothing_chosen: words,
        nothing_chosen_reason: reason.into(),
    });
    report(key, watched, outcome, now)
}

/// A poll that failed, with the count of failures in a row.
pub fn failure(
    key: &BundleKey,
    watched: &Watched,
    reason: Reason,
    message: String,
    count: u32,
    now: Timestamp,
) -> ReportPollRequest {
    let outcome = Outcome::Failed(PollFailed {
        reason: WireReason::from(reason).into(),
        message,
        consecutive_failures: i32::try_from(count).unwrap_or(i32::MAX),
    });
    report(key, watched, outcome, now)
}

/// A verdict as people read it.
pub const fn verdict_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unspecified => "unspecified",
        Verdict::Accepted => "accepted",
        Verdict::AlreadyKnown => "already known",
        Verdict::NotNewer => "not newer",
        Verdict::UnknownBundle => "unknown bundle",
        Verdict::Suspended => "suspended",
    }
}

fn report(
    key: &BundleKey,
    watched: &Watched,
    outcome: Outcome,
    now: Timestamp,
) -> ReportPollRequest {
    ReportPollRequest {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: watched.uid.clone(),
        generation: watched.generation,
        polled_at: Some(timestamp(now)),
        outcome: Some(outcome),
    }
}

const fn nothing_chosen(nothing: Nothing) -> NothingChosen {
    match nothing {
        Nothing::NoMatchingVersion => NothingChosen::NoMatchingVersion,
        Nothing::NoTags => NothingChosen::NoTags,
        Nothing::NotABundle => NothingChosen::NotABundle,
        Nothing::TagVanished => NothingChosen::TagVanished,
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}
