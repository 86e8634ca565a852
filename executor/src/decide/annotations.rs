//! What becomes of what people ask for by annotations of a bundle. What is asked and that it was
//! taken up is one status, so that a crash can lose neither without the other.

use jiff::Timestamp;
use werf_shared::bundle::status::Requested;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus, asked};

use super::request::{self, Decision, Request};

/// Something that was asked for and is taken up now.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenUp {
    /// Store this status.
    pub status: Box<WerfBundleStatus>,
    /// Tell this afterwards.
    pub news: Vec<News>,
}

/// What people are told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing comes of a request, for this reason.
    RequestIgnored(&'static str),
}

/// Something is asked for that was not taken up yet.
pub fn ask(bundle: &WerfBundle) -> bool {
    let status = bundle.status.as_ref();
    let handled = status.and_then(|status| status.last_handled_reconcile.as_ref());
    asked::reconcile(bundle).is_some_and(|asked| Some(&asked) != handled)
}

/// Takes up what the annotations ask for; nothing when that was done before.
pub fn take_up(bundle: &WerfBundle, traceparent: Option<&str>, now: Timestamp) -> Option<TakenUp> {
    if !ask(bundle) {
        return None;
    }
    let mut news = Vec::new();
    let mut status = reconcile(bundle, traceparent, now, &mut news);
    status.last_handled_reconcile = asked::reconcile(bundle);
    Some(TakenUp {
        status: Box::new(status),
        news,
    })
}

/// The request to deploy now: that of a person who calls `Converge` without a tag, except that
/// nobody waits for an answer. So one that comes while its tag is being deployed waits for the end:
/// if that is a failure, it starts over.
fn reconcile(
    bundle: &WerfBundle,
    traceparent: Option<&str>,
    now: Timestamp,
    news: &mut Vec<News>,
) -> WerfBundleStatus {
    let request = Request {
        tag: None,
        force: asked::forced(bundle),
        traceparent: traceparent.map(ToOwned::to_owned),
    };
    let mut status = bundle.status.clone().unwrap_or_default();
    match request::decide(bundle, &request, now) {
        Decision::Store(stored) => return *stored,
        Decision::AlreadyRunning => {
            status.requested.get_or_insert(Requested {
                force: false,
                traceparent: request.traceparent,
            });
        }
        // While no tag is known, the first poll is on its way, and deploys what it finds.
        Decision::Refused(why) if bundle.spec.suspend => news.push(News::RequestIgnored(why)),
        Decision::Refused(_) => {}
    }
    status
}

#[cfg(test)]
mod tests;
