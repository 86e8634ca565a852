//! What becomes of what people ask for by annotations of a bundle. What is asked and that it was
//! taken up is one status, so that a crash can lose neither without the other.

use jiff::Timestamp;
use werf_shared::bundle::status::Requested;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus, asked};

use super::request::{self, Decision, Request};
use super::rollback::{self, Turn};

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
    /// A rollback was taken up.
    RollbackStarted {
        /// The newest tag.
        from: String,
        /// The one that is deployed and held.
        to: String,
    },
    /// A rollback has ended, in words.
    RollbackEnded(String),
}

/// Something is asked for that was not taken up yet.
pub fn ask(bundle: &WerfBundle) -> bool {
    let default = WerfBundleStatus::default();
    let status = bundle.status.as_ref().unwrap_or(&default);
    asks_to_reconcile(bundle, status) || rollback::turn(bundle, status).is_some()
}

fn asks_to_reconcile(bundle: &WerfBundle, status: &WerfBundleStatus) -> bool {
    let asked = asked::reconcile(bundle);
    asked.is_some() && asked != status.last_handled_reconcile
}

/// Takes up what the annotations ask for; nothing when that was done before.
pub fn take_up(bundle: &WerfBundle, traceparent: Option<&str>, now: Timestamp) -> Option<TakenUp> {
    if !ask(bundle) {
        return None;
    }
    let mut news = Vec::new();
    let before = bundle.status.clone().unwrap_or_default();
    let mut status = match rollback::turn(bundle, &before) {
        Some(turn) => roll_back(bundle, &before, turn, traceparent, now, &mut news),
        None => before,
    };
    if asks_to_reconcile(bundle, &status) {
        let mut turned = bundle.clone();
        turned.status = Some(status);
        status = reconcile(&turned, traceparent, now, &mut news);
        status.last_handled_reconcile = asked::reconcile(bundle);
    }
    Some(TakenUp {
        status: Box::new(status),
        news,
    })
}

fn roll_back(
    bundle: &WerfBundle,
    before: &WerfBundleStatus,
    turn: Turn,
    traceparent: Option<&str>,
    now: Timestamp,
    news: &mut Vec<News>,
) -> WerfBundleStatus {
    let value = asked::rollback_to(bundle);
    let after = rollback::take(before.clone(), turn, value, traceparent, now);
    news.extend(rollback::ended(before, &after).map(News::RollbackEnded));
    if after.rollback != before.rollback
        && let Some(held) = &after.rollback
    {
        news.push(News::RollbackStarted {
            from: held.from.clone(),
            to: held.tag.clone(),
        });
    }
    after
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
        Decision::AlreadyRunning | Decision::Blocked(_) => {
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
