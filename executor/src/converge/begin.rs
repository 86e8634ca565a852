//! A bundle that is in the middle of nothing: is there anything to deploy, and can it be deployed
//! now?

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kube::ResourceExt;
use tracing::Instrument;
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};
use werf_shared::error::Class;
use werf_shared::poll_failure::Reason;
use werf_shared::{clock, names};

use super::settle::{
    cannot_prepare, cannot_prepare_saying, patch_status, rest, rest_until_refresh,
};
use super::trace::{Part, span_within};
use super::{Context, ConvergeError, Next, PREPARE_AGAIN, exclusive};
use crate::decide::inputs::{self, InputsKey};
use crate::decide::plan::{self, Step, Wanted};
use crate::decide::registry_access::{Named, RegistryAccess};
use crate::decide::release::Release;
use crate::decide::settings::Settings;
use crate::decide::status::{self, NewRun, Standing};
use crate::decide::values::{self, Values};
use crate::io::accounts::{self, Missing};
use crate::io::sources;
use crate::io::watch::Again;
use crate::seeded::{self, Bug};

/// Starts what has to be started for a bundle that is in the middle of nothing.
pub(super) async fn begin(context: &Context, bundle: &WerfBundle) -> Result<Next, ConvergeError> {
    let settings = match Settings::of(bundle, context.allow_insecure_registries) {
        Ok(settings) => settings,
        Err(invalid) => {
            return cannot_prepare(context, bundle, status::INVALID_SPEC, &invalid).await;
        }
    };
    let (tag, digest, requested, force, traceparent) = match plan::wanted(bundle) {
        Wanted::Nothing(why) => return rest(context, bundle, &Standing::Nothing(why)).await,
        Wanted::UnknownRollback(why) => {
            return cannot_prepare_saying(context, bundle, status::ROLLBACK_UNKNOWN, why).await;
        }
        Wanted::Tag {
            tag,
            digest,
            requested,
            force,
            traceparent,
        } => (tag, digest, requested, force, traceparent),
    };
    let release = Release::of(bundle);
    if let Some(rival) = exclusive::rival(context, bundle, &release) {
        let message = rival.message(&release);
        return cannot_prepare_saying(context, bundle, status::RELEASE_CONFLICT, message).await;
    }
    let values = match resolve_values(context, bundle, &settings, traceparent.as_deref()).await? {
        Ok(values) => values,
        Err((reason, message)) => {
            return cannot_prepare_saying(context, bundle, reason, message).await;
        }
    };
    let uid = bundle.uid().unwrap_or_default();
    let mut stored = bundle.status.clone().unwrap_or_default();
    let key = inputs_key(context, &stored).await?;
    let inputs_hash = inputs::hash(&key, &uid, &tag, digest.as_deref(), &settings, &values);
    if seeded::has(Bug::AttemptsResetAtStart) {
        stored.attempt = seeded::ATTEMPTS.load(Ordering::Relaxed);
    }
    let now = clock::now();
    let retries = settings.retry_limit;
    let step = plan::step(&stored, requested, force, &inputs_hash, retries, now);
    match step {
        Step::UpToDate => {
            return rest_until_refresh(context, bundle, &settings, &Standing::UpToDate).await;
        }
        Step::GiveUp => {
            return rest_until_refresh(context, bundle, &settings, &Standing::GivenUp).await;
        }
        Step::RetryAt(at) => return rest(context, bundle, &Standing::Retrying(at)).await,
        Step::Start { .. } | Step::Retry => {}
    }
    // Somebody had the name of the last Job, or one that it had to give way to. Whoever does that to the
    // next one, too, is not to keep us busy.
    let told = |reason| status::is_told_lately(bundle, reason, PREPARE_AGAIN, now);
    if told(status::JOB_NAME_CONFLICT) || told(status::RELEASE_CONFLICT) {
        return Ok(Next::Rest(Again::After(PREPARE_AGAIN)));
    }
    let target = &settings.target_namespace;
    // They do not depend on each other, and a new tag waits for them.
    let (found, access) = futures::join!(
        accounts::check(&context.client, target, &settings.service_account),
        resolve_access(context, bundle, &settings),
    );
    if let Err(missing) = found {
        return match missing {
            Missing::Unknown(error) => Err(error.into()),
            missing => {
                let reason = missing.reason().unwrap_or_default();
                cannot_prepare(context, bundle, reason, &missing).await
            }
        };
    }
    if let Err((reason, message)) = access? {
        return cannot_prepare_saying(context, bundle, reason, message).await;
    }
    let name = bundle.name_any();
    let job_name = |run, attempt| names::job(&name, &tag, &uid, run, attempt);
    let claimed = match step {
        Step::Start { cause } => {
            let run = NewRun {
                tag: tag.clone(),
                digest,
                inputs_hash,
                cause,
                traceparent,
                target_namespace: target.clone(),
            };
            status::claim(bundle, run, job_name, now)
        }
        _ => status::claim_retry(bundle, job_name, now),
    };
    let next = patch_status(context, bundle, claimed).await?;
    if seeded::has(Bug::AttemptsResetAtStart) {
        seeded::ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    }
    Ok(match next {
        Next::With(stored) => Next::Claimed(stored),
        next => next,
    })
}

/// The key to compare the inputs of this bundle's last run with. Who finds a hash of another key may be
/// the one who has missed that the Secret has another one; without looking there, two replicas with
/// different keys would deploy in turns for ever.
pub(super) async fn inputs_key(
    context: &Context,
    status: &WerfBundleStatus,
) -> Result<Arc<InputsKey>, ConvergeError> {
    let key = context.inputs_key.current();
    if !key.is_in_doubt(status) {
        return Ok(key);
    }
    let reloaded = context.inputs_key.reload().await;
    reloaded.map_err(ConvergeError::InputsKey)
}

/// How the registry is accessed. Read anew for each Job, so that the next one has a changed password.
pub(super) async fn resolve_access(
    context: &Context,
    bundle: &WerfBundle,
    settings: &Settings,
) -> Result<Result<RegistryAccess, (&'static str, String)>, ConvergeError> {
    let namespace = &bundle.namespace().unwrap_or_default();
    let fetch = async |name: &Option<String>| match name {
        Some(name) => sources::registry_secret(&context.client, namespace, name).await,
        None => Ok(None),
    };
    let fetched = futures::try_join!(
        fetch(&settings.registry_secret),
        fetch(&settings.certificate_secret)
    );
    let (login, certificates) = match fetched {
        Ok(fetched) => fetched,
        Err(error) if error.class() == Class::Transient => return Err(error.into()),
        Err(error) => return Ok(Err((Reason::SecretUnreadable.as_str(), error.to_string()))),
    };
    let named = |name: &Option<String>, found| {
        name.clone().map(|name| Named {
            name,
            namespace: namespace.clone(),
            found,
        })
    };
    let login = named(&settings.registry_secret, login);
    let certificates = named(&settings.certificate_secret, certificates);
    let access = RegistryAccess::of(&settings.repository, login, certificates);
    Ok(access.map_err(|unusable| (unusable.reason().as_str(), unusable.to_string())))
}

pub(super) async fn resolve_values(
    context: &Context,
    bundle: &WerfBundle,
    settings: &Settings,
    traceparent: Option<&str>,
) -> Result<Result<Values, (&'static str, String)>, ConvergeError> {
    let own = bundle.namespace().unwrap_or_default();
    let target = &settings.target_namespace;
    let span = span_within(Part::ResolveValues, bundle, None, traceparent);
    async {
        // Sources can be large, and after a start all bundles read theirs.
        let _room = context.rooms.resolving.acquire().await;
        let fetched = match sources::fetch(&context.client, &settings.sources, &own, target).await {
            Ok(fetched) => fetched,
            Err(error) if error.class() == Class::Transient => return Err(error.into()),
            Err(error) => return Ok(Err(("ValuesNotFound", error.to_string()))),
        };
        Ok(values::resolve(&fetched).map_err(|error| ("ValuesInvalid", error.to_string())))
    }
    .instrument(span)
    .await
}
