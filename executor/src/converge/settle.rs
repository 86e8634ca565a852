//! The end of a pass: say in the status where the bundle stands, and when to look again.

use std::time::Duration;

use tracing::{Instrument, warn};
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::clock;
use werf_shared::error::chain;

use super::left_over::sweep;
use super::trace::{Part, span_of_run};
use super::{Context, ConvergeError, Next, PREPARE_AGAIN};
use crate::decide::settings::Settings;
use crate::decide::status::{self, Standing, Suspension};
use crate::io::api::{ApiError, Refusal};
use crate::io::bundles;
use crate::io::events::{self, Reason};
use crate::io::watch::Again;

/// A longer obstacle is cut here, once, so that what is compared is what was stored.
const OBSTACLE_LIMIT: usize = 1000;

pub(super) async fn cannot_prepare(
    context: &Context,
    bundle: &WerfBundle,
    reason: &'static str,
    why: &(impl std::error::Error + 'static),
) -> Result<Next, ConvergeError> {
    cannot_prepare_saying(context, bundle, reason, chain(why)).await
}

pub(super) async fn cannot_prepare_saying(
    context: &Context,
    bundle: &WerfBundle,
    reason: &'static str,
    message: String,
) -> Result<Next, ConvergeError> {
    let message = tell_obstacle(context, bundle, reason, message).await;
    rest(
        context,
        bundle,
        &Standing::CannotPrepare { reason, message },
    )
    .await
}

/// The apiserver refused something. Its words may differ each time, as those of a webhook that numbers
/// its refusals; a status that is stored for each of them would have the bundle looked at again at
/// once, and so on.
pub(super) async fn refused(
    context: &Context,
    bundle: &WerfBundle,
    refusal: Refusal,
    error: &ApiError,
) -> Result<Next, ConvergeError> {
    if refusal == Refusal::QuotaExceeded {
        // They count, too, and nobody else removes them while no Job can be made.
        sweep(context, bundle).await;
    }
    let reason = refusal.as_str();
    if status::is_told_lately(bundle, reason, PREPARE_AGAIN, clock::now()) {
        return Ok(Next::Rest(Again::After(PREPARE_AGAIN)));
    }
    cannot_prepare(context, bundle, reason, error).await
}

/// Gives up a claim whose Job never ran, says why, and lets some time pass before the next one.
pub(super) async fn step_back(
    context: &Context,
    bundle: &WerfBundle,
    reason: &'static str,
    message: String,
) -> Result<Next, ConvergeError> {
    let message = tell_obstacle(context, bundle, reason, message).await;
    let standing = Standing::CannotPrepare { reason, message };
    let stored = status::step_back(bundle, &standing, clock::now());
    patch_status(context, bundle, stored).await?;
    Ok(Next::Rest(Again::After(PREPARE_AGAIN)))
}

/// Tells an obstacle that is not told yet; answers it as it will be stored.
async fn tell_obstacle(
    context: &Context,
    bundle: &WerfBundle,
    reason: &'static str,
    message: String,
) -> String {
    let message: String = message.chars().take(OBSTACLE_LIMIT).collect();
    if !status::is_told(bundle, &message) {
        let key = BundleKey::of(bundle);
        warn!(bundle.namespace = %key.namespace, bundle.name = %key.name, reason, "Cannot prepare a Job: {message}");
        let told_as = match reason {
            status::JOB_NAME_CONFLICT => Reason::JobNameConflict,
            status::RELEASE_CONFLICT => Reason::ReleaseConflict,
            _ => Reason::CannotPrepare,
        };
        events::tell(&context.recorder, bundle, None, told_as, &message).await;
    }
    message
}

/// Says where the bundle stands and when to look again.
pub(super) async fn rest(
    context: &Context,
    bundle: &WerfBundle,
    standing: &Standing,
) -> Result<Next, ConvergeError> {
    let now = clock::now();
    patch_status(context, bundle, status::settle(bundle, standing, now)).await?;
    Ok(Next::Rest(match standing {
        Standing::CannotPrepare { .. } | Standing::UninstallFailed(_) => {
            Again::After(PREPARE_AGAIN)
        }
        Standing::Retrying(at) => {
            Again::After(at.duration_since(now).try_into().unwrap_or(Duration::ZERO))
        }
        Standing::Nothing(_)
        | Standing::Leaving(_)
        | Standing::Uninstalling(_)
        | Standing::Deploying
        | Standing::UpToDate
        | Standing::GivenUp => Again::OnChange,
    }))
}

/// Values are read again every poll interval; a bundle without any has nothing to look for.
pub(super) async fn rest_until_refresh(
    context: &Context,
    bundle: &WerfBundle,
    settings: &Settings,
    standing: &Standing,
) -> Result<Next, ConvergeError> {
    rest(context, bundle, standing).await?;
    Ok(Next::Rest(if settings.sources.is_empty() {
        Again::OnChange
    } else {
        Again::After(settings.refresh)
    }))
}

/// Stores a status if it differs from what is stored; says how to go on if there is more to do.
pub(super) async fn patch_status(
    context: &Context,
    bundle: &WerfBundle,
    status: WerfBundleStatus,
) -> Result<Next, ApiError> {
    if bundle.status.as_ref() == Some(&status) {
        return Ok(Next::Continue);
    }
    let suspension = status::suspension(bundle, &status);
    let next = store(context, bundle, status)
        .instrument(span_of_run(Part::PatchStatus, bundle))
        .await?;
    if let Some(suspension) = suspension {
        let (reason, note) = match suspension {
            Suspension::Begun => (
                Reason::Suspended,
                "No polls and no deployments until resumed",
            ),
            Suspension::Ended => (Reason::Resumed, "Polls and deployments go on"),
        };
        events::tell(&context.recorder, bundle, None, reason, note).await;
    }
    Ok(next)
}

/// Stores a status, whatever is stored; goes on with what it stored.
pub(super) async fn store(
    context: &Context,
    bundle: &WerfBundle,
    status: WerfBundleStatus,
) -> Result<Next, ApiError> {
    let stored = bundles::store_status(&context.client, bundle, status).await?;
    context.just_stored.keep(&stored);
    Ok(Next::With(Box::new(stored)))
}
