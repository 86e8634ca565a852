//! Passes that failed before there was a Job, for something that may pass: tried again at once, and told
//! when it lasts. Otherwise a bundle whose Secret nobody can decrypt any more would be ready for ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::clock;
use werf_shared::error::chain;

use super::settle::cannot_prepare_saying;
use super::{Context, ConvergeError, PREPARE_AGAIN};
use crate::decide::setback::{Setback, is_preparing};
use crate::decide::status;

/// A bundle whose passes have not failed for so long is gone.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// Failures in a row, by bundle.
#[derive(Debug, Default)]
pub struct Setbacks(Mutex<HashMap<BundleKey, Setback>>);

impl Setbacks {
    /// A pass has come to its end.
    pub(super) fn forget(&self, key: &BundleKey) {
        let mut setbacks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        setbacks.remove(key);
    }

    /// A pass has failed; answers all the failures in a row.
    fn count(&self, key: BundleKey, now: Instant) -> Setback {
        let mut setbacks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        setbacks.retain(|_, setback| !setback.is_older_than(FORGOTTEN, now));
        let setback = Setback::after(setbacks.get(&key).copied(), now);
        setbacks.insert(key, setback);
        setback
    }
}

/// Counts a failure of a pass over `bundle`, and tells it when it lasts. When the next pass comes does
/// not depend on it. That it cannot be told either changes nothing.
pub(super) async fn count(context: &Context, bundle: &WerfBundle, error: &ConvergeError) {
    let (reason, message) = match error {
        ConvergeError::Sources(error) => (status::SOURCES_UNREADABLE, error.to_string()),
        ConvergeError::Api(error) => (status::APISERVER_FAILING, error.to_string()),
        ConvergeError::InputsKey(_) => (status::APISERVER_FAILING, chain(error)),
        ConvergeError::NoHeadway => return,
    };
    if !is_preparing(bundle) {
        return;
    }
    let setback = context
        .setbacks
        .count(BundleKey::of(bundle), clock::instant());
    // The words may differ each time, and what fails, too. Each status that is stored leads to a pass at
    // once.
    let now = clock::now();
    let told = [status::SOURCES_UNREADABLE, status::APISERVER_FAILING]
        .into_iter()
        .any(|reason| status::is_told_lately(bundle, reason, PREPARE_AGAIN, now));
    if told || !setback.lasts() {
        return;
    }
    if let Err(error) = cannot_prepare_saying(context, bundle, reason, message).await {
        debug!(error = %chain(&error), "Not told why no Job can be prepared");
    }
}

#[cfg(test)]
mod tests;
