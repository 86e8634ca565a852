//! What follows from a poll for one bundle: the next poll, the message to the executor, the log
//! line, and the answer to a person who asked.

use tracing::{Span, debug, info, info_span, warn};
use werf_proto::v1alpha1::PollNowResponse;
use werf_shared::bundle::BundleKey;
use werf_shared::clock;
use werf_shared::tag::Tag;
use werf_shared::telemetry::propagation::current_trace_id;

use super::round::{Ended, Listed};
use super::{Poller, jitter};
use crate::decide::failure::PollFailure;
use crate::decide::tell::{Outcome, Telling};
use crate::decide::watched::{Subscription, Watched};
use crate::io::announce::{Call, Message, announcement, failure, success};
use crate::metrics::Answer;

impl Poller {
    /// Records the end of a poll for a bundle and tells the executor what it does not know.
    pub(super) fn tell(
        &mut self,
        subscription: &Subscription,
        listed: Option<&Listed>,
        ended: Ended,
        span: &Span,
    ) {
        let key = ended.member.key;
        let then = ended.member.entry.watched;
        let succeeded = !matches!(ended.outcome, Outcome::Failed(_));
        let now = clock::instant();
        let settled = self.book.settle(&key, &then, succeeded, now, jitter());
        let (Some((before, failures)), Some(remembered), Some(entry)) =
            (settled, self.bundles.get_mut(&key), self.book.get(&key))
        else {
            debug!(
                bundle.namespace = key.namespace,
                bundle.name = key.name,
                "Dropped the result, the bundle has changed meanwhile"
            );
            return;
        };
        let seen = listed.map(|listed| &listed.seen);
        let known = &entry.watched.status;
        let failed_before = before > 0;
        let telling =
            remembered
                .told
                .tell(known, then.generation, failed_before, ended.outcome, seen);
        log(
            &key,
            subscription,
            listed,
            &telling,
            failures,
            &ended.reason,
        );
        if let Some(message) = message(&key, &then, subscription, listed, telling, failures, span) {
            self.courier.put(&key, message);
        }
    }
}

/// Logs what a registry warns of, once until it warns of something else.
pub(super) fn log_warning(subscription: &Subscription, listed: &Listed) {
    if let Some(warning) = listed.warning.as_ref().filter(|_| listed.warns_anew) {
        let repository = subscription.repository.to_string();
        warn!(warning, "The registry of {repository} warns: {warning}");
    }
}

fn message(
    key: &BundleKey,
    then: &Watched,
    subscription: &Subscription,
    listed: Option<&Listed>,
    telling: Telling,
    failures: u32,
    span: &Span,
) -> Option<Message> {
    let now = clock::now();
    match (telling, listed) {
        (Telling::Announce(tag, digest), Some(listed)) => {
            let choice = (&tag, &digest);
            let request = announcement(key, then, choice, &listed.seen, now);
            Some(Message {
                call: Call::Announce(request),
                span: announce_span(span, key, &tag),
            })
        }
        (Telling::Succeeded(nothing), Some(listed)) => {
            let request = success(key, then, &listed.seen, nothing, now);
            Some(Message {
                call: Call::Report(request),
                span: report_span(span, key),
            })
        }
        (Telling::Failed(failed), _) => {
            let words = failed.message(&subscription.repository);
            let request = failure(key, then, failed.reason, words, failures, now);
            Some(Message {
                call: Call::Report(request),
                span: report_span(span, key),
            })
        }
        (Telling::Silence | Telling::Announce(..) | Telling::Succeeded(_), _) => None,
    }
}

fn announce_span(parent: &Span, key: &BundleKey, tag: &Tag) -> Span {
    info_span!(
        parent: parent,
        "announce",
        bundle.namespace = key.namespace,
        bundle.name = key.name,
        tag = tag.as_str(),
    )
}

fn report_span(parent: &Span, key: &BundleKey) -> Span {
    info_span!(
        parent: parent,
        "report_poll",
        bundle.namespace = key.namespace,
        bundle.name = key.name,
    )
}

fn log(
    key: &BundleKey,
    subscription: &Subscription,
    listed: Option<&Listed>,
    telling: &Telling,
    failures: u32,
    reason: &str,
) {
    let (namespace, name) = (&key.namespace, &key.name);
    let repository = subscription.repository.to_string();
    let answer = match listed.map(|listed| listed.answer) {
        Some(Answer::NotModified) => "304 Not Modified",
        Some(Answer::Unchanged) => "200 OK, unchanged",
        Some(Answer::List) => "200 OK",
        None => "no answer",
    };
    match telling {
        Telling::Announce(tag, digest) => info!(
            bundle.namespace = namespace,
            bundle.name = name,
            tag = tag.as_str(),
            digest = digest.as_str(),
            reason,
            "Found tag {tag} in {repository}"
        ),
        Telling::Failed(failure) => warn!(
            bundle.namespace = namespace,
            bundle.name = name,
            class = failure.class().as_str(),
            reason = failure.reason.as_str(),
            consecutive_failures = failures,
            "{}",
            failure.message(&subscription.repository)
        ),
        Telling::Succeeded(Some(_)) => info!(
            bundle.namespace = namespace,
            bundle.name = name,
            reason,
            "Found nothing to deploy in {repository}"
        ),
        Telling::Succeeded(None) => debug!(
            bundle.namespace = namespace,
            bundle.name = name,
            reason,
            "Finished polling registry {repository}: {answer}, no new tag"
        ),
        Telling::Silence => debug!(
            bundle.namespace = namespace,
            bundle.name = name,
            reason,
            "Finished polling registry {repository}: {answer}, nothing to tell"
        ),
    }
}

/// What a person is told about a poll; the verdict comes later.
pub(super) fn response(
    subscription: &Subscription,
    listed: &Result<Listed, PollFailure>,
    ended: &Ended,
) -> PollNowResponse {
    let mut response = PollNowResponse {
        repository: subscription.repository.to_string(),
        reason: ended.reason.clone(),
        trace_id: current_trace_id().unwrap_or_default(),
        ..PollNowResponse::default()
    };
    match listed {
        Ok(listed) => {
            response.http_status = listed.status.into();
            response.unchanged = listed.answer != Answer::List;
            response.pages = i32::try_from(listed.pages).unwrap_or(i32::MAX);
            response.tags = i64::try_from(listed.tags).unwrap_or(i64::MAX);
            response.invalid_tags = i64::try_from(listed.invalid).unwrap_or(i64::MAX);
            response.page_size = listed.page_size.map_or(0, i32::from);
            response.conditional = listed.conditional;
            response.warning = listed.warning.clone().unwrap_or_default();
        }
        Err(failure) => response.http_status = failure.status.unwrap_or_default().into(),
    }
    if let Some(selection) = ended.selection.as_ref().filter(|_| listed.is_ok()) {
        let candidates = selection.candidates.iter();
        response.candidates = candidates.map(ToString::to_string).collect();
        if !response.reason.contains('(') && selection.considered > 0 {
            let (considered, dropped) = (selection.considered, selection.dropped);
            response.reason = format!(
                "{} ({considered} tags considered{})",
                ended.reason,
                told(&dropped.to_string())
            );
        }
    }
    if let Outcome::Failed(failure) = &ended.outcome {
        response.reason = failure.message(&subscription.repository);
    }
    if let Outcome::Chosen(tag, digest) = &ended.outcome {
        response.tag = tag.to_string();
        response.digest = digest.to_string();
    }
    response
}

fn told(dropped: &str) -> String {
    if dropped.is_empty() {
        String::new()
    } else {
        format!("; passed over: {dropped}")
    }
}
