//! Looks for secrets everywhere but in Secrets.

use anyhow::ensure;

use crate::tenant::Tenant;

/// Fails when one of the texts can be seen in Jobs or Pods of `target`, in the bundle, in Events or in
/// what the services log.
pub(crate) async fn is_nowhere(
    tenant: &Tenant,
    target: &str,
    canaries: &[&str],
) -> anyhow::Result<()> {
    let bed = &tenant.bed;
    let listed = async |what: &str, namespace: &str| {
        bed.kubectl(&["get", what, "-n", namespace, "-o", "json"])
            .await
    };
    let places = [
        (
            "Jobs and Pods",
            listed("jobs,pods,configmaps", target).await?,
        ),
        ("bundle", listed("werfbundles", &tenant.namespace).await?),
        (
            "Events",
            bed.kubectl(&["get", "events", "-A", "-o", "json"]).await?,
        ),
        ("logs", bed.logs().await?),
    ];
    for (place, text) in places {
        for canary in canaries {
            ensure!(!text.contains(canary), "{canary} is in the {place}");
        }
    }
    Ok(())
}
