//! One bundle, one pass: observe, decide, act, store, and again until nothing is left to do now.
//! Every step may be the last one before a crash; the next pass finds out where things stand from
//! the bundle and its Job alone.

use std::time::Duration;

use kube::{Client, ResourceExt};
use tracing::debug;
use werf_shared::bundle::{BundleKey, WerfBundle};
use werf_shared::error::Class;
use werf_shared::names;

use crate::decide::job::pod_settings::PodSettings;
use crate::decide::plan::{self, Situation};
use crate::io::api::ApiError;
use crate::io::bundles;
use crate::io::events::Recorder;
use crate::io::inputs_key::KeyInUse;
use crate::io::just_stored::JustStored;
use crate::io::seen::Seen;
use crate::io::sources::FetchError;
use crate::io::watch::{Again, Failure};
use crate::metrics::ConvergeMetrics;

mod asked;
mod attend;
mod begin;
mod exclusive;
mod follow;
mod leave;
mod left_over;
mod masks;
pub mod orphans;
mod record;
mod rooms;
mod setbacks;
mod settle;
pub mod trace;

pub use rooms::Rooms;
pub use setbacks::Setbacks;

/// How soon something that keeps a Job from being made is looked at again.
const PREPARE_AGAIN: Duration = Duration::from_secs(30);

/// How soon it is looked again what a running Job waits for. Its end is told by a watch, which this makes
/// up for if it fails.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How soon it is tried again to enter a room that is full.
const BUSY: Duration = Duration::from_secs(2);

/// How soon it is looked again whether the Jobs of a bundle that is going are gone.
const LEAVING: Duration = Duration::from_secs(1);

/// Steps of one pass. A first deployment takes four; more than this is a loop.
const STEPS: usize = 12;

/// What passes need.
pub struct Context {
    /// The apiserver.
    pub client: Client,
    /// Tells people.
    pub recorder: Recorder,
    /// The key that inputs are hashed with.
    pub inputs_key: KeyInUse,
    /// What the Pods of all Jobs have in common.
    pub job_pod: PodSettings,
    /// What is counted.
    pub metrics: ConvergeMetrics,
    /// Plain HTTP is allowed to other hosts than this one.
    pub allow_insecure_registries: bool,
    /// The bundles as last seen.
    pub seen: Seen,
    /// What passes and calls have stored a moment ago.
    pub just_stored: JustStored,
    /// Room for what takes much memory.
    pub rooms: Rooms,
    /// Passes that have failed in a row.
    pub setbacks: Setbacks,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The apiserver did not do what was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A source of values could not be read for now.
    #[error(transparent)]
    Sources(#[from] FetchError),
    /// Whether these inputs were deployed cannot be told for now.
    #[error("cannot compare the inputs with those of the last run")]
    InputsKey(#[source] ApiError),
    /// The pass made no headway.
    #[error("no headway after {STEPS} steps")]
    NoHeadway,
}

impl Failure for ConvergeError {
    fn class(&self) -> Class {
        match self {
            Self::Api(error) | Self::InputsKey(error) => error.class(),
            Self::Sources(error) => error.class(),
            Self::NoHeadway => Class::Broken,
        }
    }
}

enum Next {
    /// Look again at once: something changed.
    Continue,
    /// Go on with the bundle as it was just stored: nobody knows a newer one, or the next write is
    /// refused.
    With(Box<WerfBundle>),
    /// The same, and what was stored is the claim of a run.
    Claimed(Box<WerfBundle>),
    /// Nothing to do now.
    Rest(Again),
}

/// Takes a bundle as far as it goes now. `told` is the version of it that the watch told last.
pub async fn pass(
    context: &Context,
    key: &BundleKey,
    told: Option<&str>,
) -> Result<Again, ConvergeError> {
    let passed = Box::pin(steps(context, key, told)).await;
    if passed.is_ok() {
        context.setbacks.forget(key);
    }
    passed
}

async fn steps(
    context: &Context,
    key: &BundleKey,
    told: Option<&str>,
) -> Result<Again, ConvergeError> {
    let stored = context.just_stored.take(key, told);
    let mut is_read = stored.is_none();
    let mut next = stored.map_or(Next::Continue, |stored| Next::With(Box::new(stored)));
    let mut decided_on = None;
    for _ in 0..STEPS {
        let rested = match &next {
            Next::Rest(again) => Some(*again),
            _ => None,
        };
        let (found, just_claimed) = match next {
            // A bundle that was not read may not be the newest, and there may be no other pass for long.
            Next::Rest(again) if is_read || again.is_soon() => return Ok(again),
            Next::Continue | Next::Rest(_) => {
                is_read = true;
                (bundles::get(&context.client, key).await?, false)
            }
            Next::With(stored) => (Some(*stored), false),
            Next::Claimed(stored) => (Some(*stored), true),
        };
        let Some(bundle) = found else {
            return Ok(Again::OnChange);
        };
        let version = bundle.resource_version();
        if let Some(again) = rested
            && version == decided_on
        {
            return Ok(again);
        }
        decided_on = version;
        next = match Box::pin(step(context, &bundle, just_claimed)).await {
            // Someone else was faster; what they did is the new state of things.
            Err(ConvergeError::Api(ApiError::Conflict { operation })) => {
                debug!(operation, "Overtaken, looking again");
                Next::Continue
            }
            // Quota, admission or missing rights: told to people, and tried again.
            Err(ConvergeError::Api(error @ ApiError::Refused { refusal, .. })) => {
                settle::refused(context, &bundle, refusal, &error).await?
            }
            Err(error) => {
                Box::pin(setbacks::count(context, &bundle, &error)).await;
                return Err(error);
            }
            Ok(next) => next,
        };
    }
    match next {
        Next::Rest(again) => Ok(again),
        _ => Err(ConvergeError::NoHeadway),
    }
}

async fn step(
    context: &Context,
    bundle: &WerfBundle,
    just_claimed: bool,
) -> Result<Next, ConvergeError> {
    match plan::situation(bundle) {
        Situation::Left => Ok(Next::Rest(Again::OnChange)),
        Situation::Leaving => Box::pin(leave::leave(context, bundle)).await,
        Situation::Arriving => {
            let mut finalizers = bundle.finalizers().to_vec();
            finalizers.push(names::FINALIZER.to_owned());
            let stored = bundles::set_finalizers(&context.client, bundle, finalizers).await?;
            Ok(Next::With(Box::new(stored)))
        }
        Situation::Deploying(_) | Situation::Idle if asked::take_up(context, bundle).await? => {
            Ok(Next::Continue)
        }
        Situation::Deploying(claimed) => {
            Box::pin(follow::follow(context, bundle, &claimed, just_claimed)).await
        }
        Situation::Idle => Box::pin(begin::begin(context, bundle)).await,
    }
}

#[cfg(test)]
mod tests;
