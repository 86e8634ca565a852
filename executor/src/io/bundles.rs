//! Reads bundles and writes their status and finalizer. Every write carries the resourceVersion it
//! was decided on, so a writer that was overtaken is refused and looks again.

use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use werf_shared::bundle::{BundleKey, WerfBundle, WerfBundleStatus};

use super::api::{ApiError, call, find};
use crate::seeded::{self, Bug};

fn api(client: &Client, namespace: &str) -> Api<WerfBundle> {
    Api::namespaced(client.clone(), namespace)
}

/// The bundle as it is stored now, never from a cache.
pub async fn get(client: &Client, key: &BundleKey) -> Result<Option<WerfBundle>, ApiError> {
    let api = api(client, &key.namespace);
    if seeded::has(Bug::StaleRead) {
        let any = GetParams {
            resource_version: Some("0".to_owned()),
        };
        return find("read the bundle", api.get_with(&key.name, &any)).await;
    }
    find("read the bundle", api.get(&key.name)).await
}

/// Stores a status that was decided on `bundle`; answers the bundle with it.
pub async fn store_status(
    client: &Client,
    bundle: &WerfBundle,
    status: WerfBundleStatus,
) -> Result<WerfBundle, ApiError> {
    let mut changed = bundle.clone();
    changed.status = Some(status);
    // Managed fields say who wrote what; sending them back would only make the request longer.
    changed.metadata.managed_fields = None;
    let key = BundleKey::of(bundle);
    let api = api(client, &key.namespace);
    if seeded::has(Bug::StatusWithoutFence) {
        let newest = call("read the bundle", api.get_metadata(&key.name)).await?;
        changed.metadata.resource_version = newest.metadata.resource_version;
    }
    let params = PostParams::default();
    call(
        "store the status",
        api.replace_status(&key.name, &params, &changed),
    )
    .await
}

/// Replaces the finalizers of `bundle`.
pub async fn set_finalizers(
    client: &Client,
    bundle: &WerfBundle,
    finalizers: Vec<String>,
) -> Result<WerfBundle, ApiError> {
    let key = BundleKey::of(bundle);
    let patch = json!({
        "metadata": {
            "resourceVersion": bundle.resource_version(),
            "finalizers": finalizers,
        },
    });
    let api = api(client, &key.namespace);
    let params = PatchParams::default();
    call(
        "set the finalizer",
        api.patch(&key.name, &params, &Patch::Merge(&patch)),
    )
    .await
}
