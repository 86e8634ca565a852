//! What people ask for by annotations: taken up before anything else is done with a bundle.

use tracing::{Instrument, info};
use werf_shared::bundle::WerfBundle;
use werf_shared::clock;
use werf_shared::names::wish;
use werf_shared::telemetry::propagation;

use super::settle::store;
use super::trace::{Part, span_within};
use super::{Context, ConvergeError};
use crate::decide::annotations::{self, News};
use crate::io::events::{self, Reason};

/// Takes up what the annotations of a bundle ask for, in one write; says whether there was anything.
pub(super) async fn take_up(context: &Context, bundle: &WerfBundle) -> Result<bool, ConvergeError> {
    if !annotations::ask(bundle) {
        return Ok(false);
    }
    // What comes of it belongs to one trace, as if it had been asked for by a call.
    let span = span_within(Part::Admit, bundle, None, None);
    let traceparent = span.in_scope(propagation::current_traceparent);
    let Some(taken_up) = annotations::take_up(bundle, traceparent.as_deref(), clock::now()) else {
        return Ok(false);
    };
    store(context, bundle, *taken_up.status)
        .instrument(span.clone())
        .await?;
    for news in taken_up.news {
        let (reason, note) = told(&news);
        span.in_scope(|| info!(reason = %note, "An annotation was taken up"));
        events::tell(&context.recorder, bundle, None, reason, &note).await;
    }
    Ok(true)
}

fn told(news: &News) -> (Reason, String) {
    match news {
        News::RequestIgnored(why) => (
            Reason::RequestIgnored,
            format!("{}: {why}", wish::RECONCILE),
        ),
        News::RollbackStarted { from, to } => (
            Reason::RollbackStarted,
            format!("Rolling back from {from} to {to}"),
        ),
        News::RollbackEnded(what) => (Reason::RollbackEnded, what.clone()),
    }
}
