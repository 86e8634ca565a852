//! Messages into what decisions are made of. A message that cannot be one is refused with the name
//! of the field, never with its content.

use tonic::Status;
use werf_proto::v1alpha1 as proto;
use werf_shared::bundle::BundleKey;
use werf_shared::bundle::status::FAILURE_LIMIT;
use werf_shared::names;
use werf_shared::poll_failure::{self, Reason};

use crate::decide::admit::Announcement;
use crate::decide::poll_report::{NothingChosen, Outcome, Report};
use crate::decide::request::Request;

/// Longer texts in a report are cut; status and conditions are no place for them.
const MESSAGE_LIMIT: usize = 1024;

/// Longer `ETags` are not worth keeping.
const ETAG_LIMIT: usize = 1024;

/// Namespace and name of a bundle.
pub(super) fn key(namespace: String, name: String) -> Result<BundleKey, Status> {
    for (field, value, legal) in [
        ("namespace", &namespace, names::is_dns_label(&namespace)),
        ("name", &name, names::is_subdomain(&name)),
    ] {
        if !legal {
            let problem = if value.is_empty() {
                "is required"
            } else {
                "is not a legal name"
            };
            return Err(Status::invalid_argument(format!("{field} {problem}")));
        }
    }
    Ok(BundleKey { namespace, name })
}

/// An announcement; its trace context comes from the call, not from the message.
pub(super) fn announcement(
    request: proto::AnnounceTagRequest,
) -> Result<(BundleKey, Announcement), Status> {
    let key = key(request.namespace, request.name)?;
    let announcement = Announcement {
        uid: required("uid", request.uid)?,
        generation: request.generation,
        tag: request.tag.parse().map_err(|e| invalid("tag", &e))?,
        digest: request.digest.parse().map_err(|e| invalid("digest", &e))?,
        etag: etag(request.etag),
        traceparent: None,
    };
    Ok((key, announcement))
}

/// A report of a poll.
pub(super) fn report(request: proto::ReportPollRequest) -> Result<(BundleKey, Report), Status> {
    use proto::report_poll_request::Outcome as Wire;
    let key = key(request.namespace, request.name)?;
    let outcome = match request.outcome {
        Some(Wire::Succeeded(succeeded)) => Outcome::Succeeded {
            nothing_chosen: nothing_chosen(&succeeded),
            etag: etag(succeeded.etag),
        },
        Some(Wire::Failed(failed)) => Outcome::Failed {
            reason: failure(failed.reason)?,
            message: cut(&failed.message),
            consecutive_failures: failed.consecutive_failures.clamp(1, FAILURE_LIMIT),
        },
        None => return Err(Status::invalid_argument("outcome is required")),
    };
    let report = Report {
        uid: required("uid", request.uid)?,
        generation: request.generation,
        outcome,
    };
    Ok((key, report))
}

/// A person's request; its trace context comes from the call, not from the message.
pub(super) fn wish(request: proto::ConvergeRequest) -> Result<(BundleKey, Request), Status> {
    let key = key(request.namespace, request.name)?;
    let tag = match request.tag.as_str() {
        "" => None,
        tag => Some(tag.parse().map_err(|e| invalid("tag", &e))?),
    };
    let wish = Request {
        tag,
        force: request.force,
        traceparent: None,
    };
    Ok((key, wish))
}

fn nothing_chosen(succeeded: &proto::PollSucceeded) -> Option<(NothingChosen, String)> {
    use proto::poll_succeeded::NothingChosen as Wire;
    let reason = match succeeded.nothing_chosen_reason() {
        Wire::Unspecified => return None,
        Wire::NoMatchingVersion => NothingChosen::NoMatchingVersion,
        Wire::NoTags => NothingChosen::NoTags,
        Wire::NotABundle => NothingChosen::NotABundle,
        Wire::TagVanished => NothingChosen::TagVanished,
    };
    Some((reason, cut(&succeeded.nothing_chosen)))
}

/// A reason that only a newer poller knows still makes the poll a failed one.
fn failure(reason: i32) -> Result<Reason, Status> {
    if reason == proto::poll_failed::Reason::Unspecified as i32 {
        return Err(Status::invalid_argument("failed.reason is required"));
    }
    Ok(poll_failure::from_wire(reason).unwrap_or(Reason::InvalidAnswer))
}

fn required(field: &str, value: String) -> Result<String, Status> {
    if value.is_empty() {
        Err(Status::invalid_argument(format!("{field} is required")))
    } else {
        Ok(value)
    }
}

fn invalid(field: &str, error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(format!("{field}: {error}"))
}

fn etag(text: String) -> Option<String> {
    Some(text).filter(|etag| !etag.is_empty() && etag.len() <= ETAG_LIMIT)
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_LIMIT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[rstest::rstest]
    #[case("", "app", "namespace is required")]
    #[case("prod", "", "name is required")]
    #[case("../etc", "app", "namespace is not a legal name")]
    #[case("prod", "App", "name is not a legal name")]
    #[case("prod", "a\u{0}b", "name is not a legal name")]
    #[case("prod.eu", "app", "namespace is not a legal name")]
    #[case("prod", "a..b", "name is not a legal name")]
    #[case("prod", "app?resourceVersion=0", "name is not a legal name")]
    #[case("prod", "my app", "name is not a legal name")]
    fn a_bundle_must_be_named(#[case] namespace: &str, #[case] name: &str, #[case] told: &str) {
        let status = key(namespace.to_owned(), name.to_owned()).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), told);
    }

    #[test]
    fn what_is_wrong_with_an_announcement_is_told_by_field() {
        let good = proto::AnnounceTagRequest {
            namespace: "prod".to_owned(),
            name: "app".to_owned(),
            uid: "u".to_owned(),
            tag: "v1".to_owned(),
            digest: format!("sha256:{}", "0".repeat(64)),
            ..proto::AnnounceTagRequest::default()
        };
        assert!(announcement(good.clone()).is_ok());
        let told = |request| announcement(request).unwrap_err().message().to_owned();
        let bad_tag = proto::AnnounceTagRequest {
            tag: "--values=/etc/passwd".to_owned(),
            ..good.clone()
        };
        assert!(told(bad_tag).starts_with("tag: "));
        let bad_digest = proto::AnnounceTagRequest {
            digest: "md5:1".to_owned(),
            ..good.clone()
        };
        assert!(told(bad_digest).starts_with("digest: "));
        let no_uid = proto::AnnounceTagRequest {
            uid: String::new(),
            ..good
        };
        assert_eq!(told(no_uid), "uid is required");
    }

    #[test]
    fn a_report_without_outcome_is_refused() {
        let request = proto::ReportPollRequest {
            namespace: "prod".to_owned(),
            name: "app".to_owned(),
            uid: "u".to_owned(),
            ..proto::ReportPollRequest::default()
        };
        assert_eq!(
            report(request).unwrap_err().message(),
            "outcome is required"
        );
    }
}
