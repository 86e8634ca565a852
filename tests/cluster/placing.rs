//! What whoever runs the cluster says of the Pods of all Jobs, by the executor's flags.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use testbed::operator::NAMESPACE;
use werf_shared::bundle::status::Phase;

use crate::tenant::{Tenant, in_namespace_alone};
use crate::waiting::{let_time_run_out, ready_says};

const SELECTOR: &str = "EXECUTOR_JOB_NODE_SELECTOR";
const TOLERATIONS: &str = "EXECUTOR_JOB_TOLERATIONS";
const PULL_SECRETS: &str = "EXECUTOR_JOB_IMAGE_PULL_SECRETS";

/// The node's label and its taint.
const POOL: &str = "pool=deploys";
const DEDICATED: &str = "dedicated=deploys:NoSchedule";

/// Changes the executor's environment, as with `kubectl set env`, and waits until it runs with that.
async fn configure(tenant: &Tenant, variables: &[&str]) -> anyhow::Result<()> {
    let bed = &tenant.bed;
    let deployment = "deployment/werf-operator-executor";
    let set = ["set", "env", deployment, "-n", NAMESPACE];
    bed.kubectl(&[&set, variables].concat()).await?;
    let of = ["-n", NAMESPACE, "--timeout=120s"];
    let status = ["rollout", "status", deployment];
    bed.kubectl(&[&status[..], &of].concat()).await?;
    // One that is going may still make a Job of what it was told before.
    bed.has("executor", 1).await
}

/// Gives the cluster back as it was found.
async fn restore(tenant: &Tenant) -> anyhow::Result<()> {
    let bed = &tenant.bed;
    let untaint = ["taint", "nodes", "--all", "dedicated-"];
    // There may be none.
    let _ = bed.kubectl(&untaint).await;
    let unlabel = ["label", "nodes", "--all", "pool-"];
    bed.kubectl(&unlabel).await?;
    let image = format!("EXECUTOR_JOB_IMAGE={}", bed.images.scripted);
    let gone = [SELECTOR, TOLERATIONS, PULL_SECRETS].map(|name| format!("{name}-"));
    let variables: Vec<_> = gone.iter().chain([&image]).map(String::as_str).collect();
    configure(tenant, &variables).await
}

#[tokio::test]
async fn jobs_run_from_the_image_and_on_the_nodes_that_the_executor_is_told() -> anyhow::Result<()>
{
    in_namespace_alone("placing", async |tenant| {
        let told = told(tenant).await;
        let restored = restore(tenant).await;
        told.and(restored)
    })
    .await
}

async fn told(tenant: &Tenant) -> anyhow::Result<()> {
    let bed = &tenant.bed;
    let missing = "127.0.0.1:5000/none:1";
    configure(
        tenant,
        &[
            &format!("EXECUTOR_JOB_IMAGE={missing}"),
            &format!("{SELECTOR}={POOL}"),
            &format!("{TOLERATIONS}={DEDICATED}"),
            &format!("{PULL_SECRETS}=pull"),
        ],
    )
    .await?;
    let tag = "v1.0.0-exit0";
    tenant.publish(tag).await?;
    tenant
        .follow(json!({"converge": {"retry": {"limit": 0}}}))
        .await?;
    let message = ready_says(tenant, "Unschedulable").await?;
    ensure!(message.contains("node affinity/selector"), "{message}");

    let taint = ["taint", "nodes", "--all", DEDICATED];
    bed.kubectl(&taint).await?;
    bed.kubectl(&["label", "nodes", "--all", POOL]).await?;
    let message = ready_says(tenant, "ImagePullFailed").await?;
    let trouble = format!("container werf cannot pull {missing}: not found");
    ensure!(message.ends_with(&trouble), "{message}");
    let_time_run_out(tenant).await?;
    let status = tenant
        .until("it failed", |status| status.phase == Some(Phase::Failed))
        .await?;
    let reason = status.history[0].reason.as_deref();
    assert_eq!(reason, Some("ImagePullFailed"));
    let message = status.last_error_message.unwrap_or_default();
    let begins = "job exceeded its deadline: image pull failure: Job/my-app-";
    ensure!(
        message.starts_with(begins) && message.ends_with(&trouble),
        "{message}"
    );

    // The executor itself is to find room.
    let untaint = ["taint", "nodes", "--all", "dedicated-"];
    bed.kubectl(&untaint).await?;
    let image = format!("EXECUTOR_JOB_IMAGE={}", bed.images.scripted);
    configure(tenant, &[&image]).await?;
    tenant.annotate(&["operator.werf.io/reconcile=now"]).await?;
    let status = tenant.synced(tag).await?;
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), &tenant.namespace);
    let of_job = format!("job-name={}", status.history[0].job);
    let pods = pods.list(&ListParams::default().labels(&of_job)).await?;
    let pod = pods.items.first().and_then(|pod| pod.spec.as_ref());
    let pull = pod.context("no Pod")?.image_pull_secrets.iter().flatten();
    let pull: Vec<_> = pull.map(|it| it.name.as_str()).collect();
    assert_eq!(pull, ["pull"]);
    Ok(())
}
