//! Jobs that were created and will never be let run.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use tracing::warn;
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};
use werf_shared::error::chain;

use super::Context;
use crate::decide::outcome;
use crate::io::api::ApiError;
use crate::io::jobs;

/// Removes the Job of a claim that was given up before it was confirmed, so that nobody can let it run.
/// Not the other way round: while its claim stood, one would be made anew under its name, and a Job
/// controller that remembers the first one may make no Pod for the second (kubernetes#131917). If it
/// cannot be removed now, it is with the next run.
pub(super) async fn discard(context: &Context, bundle: &WerfBundle, job: &Job) {
    if let Err(error) = jobs::delete(&context.client, job).await {
        let key = BundleKey::of(bundle);
        warn!(bundle.namespace = %key.namespace, bundle.name = %key.name, job.name = %job.name_any(), error = %chain(&error), "Cannot remove a Job that will not run");
    }
}

/// Removes Jobs of earlier runs that were created and never let run, left by replicas that died in
/// between. Those that stay are tried again with the next run.
pub(super) async fn sweep(context: &Context, bundle: &WerfBundle) {
    let default = WerfBundleStatus::default();
    let status = bundle.status.as_ref().unwrap_or(&default);
    // The first run has none before it.
    if (status.run, status.attempt) <= (1, 1) {
        return;
    }
    let client = &context.client;
    let uid = bundle.uid().unwrap_or_default();
    let left_over = |job: &Job| outcome::is_left_over(job, status);
    let swept = async {
        for job in jobs::of_bundle(client, &uid, left_over).await? {
            // One that was let run since is changed, and stays.
            jobs::delete_as_seen(client, &job).await?;
        }
        Ok::<_, ApiError>(())
    };
    if let Err(error) = swept.await {
        let key = BundleKey::of(bundle);
        warn!(bundle.namespace = %key.namespace, bundle.name = %key.name, error = %chain(&error), "Cannot remove Jobs that were left over");
    }
}
