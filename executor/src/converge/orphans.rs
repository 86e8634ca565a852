//! Jobs whose bundle is gone because its finalizer was removed by force. In the bundle's own namespace
//! the garbage collector removes them; elsewhere nobody else would.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::{Client, ResourceExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use werf_shared::bundle::BundleKey;
use werf_shared::error::{Class, chain};
use werf_shared::names::annotation;

use super::exclusive::bundle_of;
use crate::io::api::ApiError;
use crate::io::essential::Identity;
use crate::io::seen::Seen;
use crate::io::{bundles, jobs};

/// How much time passes between two sweeps: each lists all Jobs, and whoever deletes many bundles
/// gives many reasons for one.
const PAUSE: Duration = Duration::from_secs(10);

/// Sweeps whenever `told`, until `shutdown`.
pub async fn sweep_when(client: &Client, seen: &Seen, told: &Notify, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = told.notified() => {}
        }
        if let Err(error) = sweep(client, seen).await {
            warn!(error = %chain(&error), "Cannot look for Jobs of bundles that are gone");
            told.notify_one();
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Removes every Job of ours whose bundle is gone, running or not, as it would have been when the
/// bundle had been let go.
async fn sweep(client: &Client, seen: &Seen) -> Result<(), ApiError> {
    let mut page = jobs::page_of_ours(client, None).await?;
    loop {
        for job in page.items {
            let uid = job.annotations().get(annotation::BUNDLE_UID);
            let (Some(key), Some(uid)) = (bundle_of(&job), uid) else {
                continue;
            };
            if seen.has(&key, uid) || job.metadata.deletion_timestamp.is_some() {
                continue;
            }
            match remove_orphan(client, &job, &key, uid).await {
                Ok(()) => {}
                // That of one Job is refused says nothing about the others.
                Err(error) if error.class() == Class::Rejected => {
                    warn!(job.name = %job.name_any(), error = %chain(&error), "Job left: its bundle may be gone");
                }
                Err(error) => return Err(error),
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = jobs::page_of_ours(client, Some(token)).await?,
            None => return Ok(()),
        }
    }
}

async fn remove_orphan(
    client: &Client,
    job: &Identity<Job>,
    key: &BundleKey,
    uid: &str,
) -> Result<(), ApiError> {
    // What was seen may be out of date. A uid that is gone never comes back.
    let bundle = bundles::get(client, key).await?;
    if bundle.is_some_and(|bundle| bundle.uid().as_deref() == Some(uid)) {
        return Ok(());
    }
    jobs::delete(client, job).await?;
    info!(
        bundle.namespace = %key.namespace,
        bundle.name = %key.name,
        job.name = %job.name_any(),
        "Job removed: its bundle is gone"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
