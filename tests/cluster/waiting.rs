//! What people are told of a deployment that does not get on, while it does not, and afterwards.

use anyhow::Context as _;
use serde_json::json;
use testbed::bundle::Bundle;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::{Phase, WerfBundleStatus};

use crate::tenant::{Tenant, in_namespace};

/// No retry, and a deadline that does not come before what is waited for, however busy the machine is.
fn once() -> serde_json::Value {
    json!({"converge": {"retry": {"limit": 0}, "timeout": "5m"}})
}

fn failed(status: &WerfBundleStatus) -> bool {
    status.phase == Some(Phase::Failed)
}

/// Waits until `Ready` names the reason while the Job goes on; returns its message.
pub(crate) async fn ready_says(tenant: &Tenant, reason: &str) -> anyhow::Result<String> {
    let waits = |status: &WerfBundleStatus| {
        let ready = condition::find(&status.conditions, ConditionType::Ready);
        ready.is_some_and(|ready| ready.reason == reason)
    };
    let status = tenant.until(reason, waits).await?;
    let ready = condition::find(&status.conditions, ConditionType::Ready).context("not there")?;
    assert_eq!(ready.status, "Unknown");
    assert_eq!(status.phase, Some(Phase::Syncing));
    let run = status.current_run.context("no run")?;
    assert_eq!(run.waiting.map(|it| it.reason).as_deref(), Some(reason));
    // Told after it is stored.
    tenant
        .eventually("it is told", async || {
            let events = tenant.events().await?;
            Ok(events.iter().any(|(named, _)| named == reason))
        })
        .await?;
    Ok(ready.message.clone())
}

/// Ends the Job as its deadline would.
pub(crate) async fn let_time_run_out(tenant: &Tenant) -> anyhow::Result<()> {
    let job = tenant.running().await?.active_job_name.context("no Job")?;
    let soon = json!({"spec": {"activeDeadlineSeconds": 1}}).to_string();
    let patch = [
        "patch",
        "job",
        &job,
        "-n",
        &tenant.namespace,
        "--type=merge",
        "-p",
        &soon,
    ];
    tenant.bed.kubectl(&patch).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_that_no_node_has_room_for_is_named_so_until_its_deadline() -> anyhow::Result<()> {
    in_namespace("roomless", async |tenant| {
        tenant.publish("v1.0.0").await?;
        let mut spec = once();
        spec["converge"]["resourceLimits"] = json!({"cpu": "1000"});
        tenant.follow(spec).await?;
        let message = ready_says(tenant, "Unschedulable").await?;
        assert!(
            message.starts_with("Deploying v1.0.0: unschedulable: Job/my-app-"),
            "{message}"
        );
        assert!(message.ends_with(": Insufficient cpu"), "{message}");
        let_time_run_out(tenant).await?;
        let status = tenant.until("it failed", failed).await?;
        let told = status.last_error_message.unwrap_or_default();
        assert!(
            told.starts_with("job exceeded its deadline: unschedulable: Job/"),
            "{told}"
        );
        assert_eq!(status.history[0].reason.as_deref(), Some("Unschedulable"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_whose_pod_a_quota_refuses_is_named_so_until_there_is_room() -> anyhow::Result<()> {
    in_namespace("no-quota", async |tenant| {
        tenant.forbid("pods").await?;
        tenant.publish("v1.0.0-exit0").await?;
        tenant.follow(once()).await?;
        let message = ready_says(tenant, "QuotaExceeded").await?;
        assert!(
            message.ends_with(": none, requested: pods=1, limited: pods=0"),
            "{message}"
        );
        tenant.permit().await?;
        let status = tenant.synced("v1.0.0-exit0").await?;
        let run = status.current_run.context("no run")?;
        assert_eq!(run.waiting, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_application_that_cannot_start_is_named_while_it_is_waited_for_and_afterwards()
-> anyhow::Result<()> {
    in_namespace("app-image", async |tenant| {
        let bundle = Bundle::demo("v1.0.0", "127.0.0.1:5000/none:1")?;
        tenant.repository.push("v1.0.0", &bundle).await?;
        tenant.follow(once()).await?;
        let trouble = "image pull failure: Deployment/my-app: container httpd cannot pull 127.0.0.1:5000/none:1: not found";
        let message = ready_says(tenant, "ImagePullFailed").await?;
        assert_eq!(message, format!("Deploying v1.0.0: {trouble}"));
        let status = tenant.until("it failed", failed).await?;
        let expected = format!(
            "pod failed with exit code 1: Deployment/my-app: track readiness failed; {trouble}"
        );
        assert_eq!(status.last_error_message, Some(expected));
        assert_eq!(status.history[0].reason.as_deref(), Some("ExitCode"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_application_whose_pods_a_quota_refuses_is_named() -> anyhow::Result<()> {
    in_namespace("app-quota", async |tenant| {
        // One Pod: that of the Job.
        tenant.allow_at_most(1, "pods", 0).await?;
        tenant.publish("v1.0.0").await?;
        tenant.follow(once()).await?;
        let message = ready_says(tenant, "QuotaExceeded").await?;
        let expected = "Deploying v1.0.0: quota exceeded: Deployment/my-app: none, requested: pods=1, limited: pods=1";
        assert_eq!(message, expected);
        tenant.permit().await?;
        tenant.synced("v1.0.0").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_whose_pod_is_deleted_says_so() -> anyhow::Result<()> {
    in_namespace("podless", async |tenant| {
        tenant.publish("v1.0.0-slow120s").await?;
        tenant.follow(once()).await?;
        let job = tenant.running().await?.active_job_name.context("no Job")?;
        let of_job = format!("job-name={job}");
        let arguments = ["-n", &tenant.namespace, "-l", &of_job];
        let wait = [
            &[
                "wait",
                "pods",
                "--for=jsonpath={.status.phase}=Running",
                "--timeout=60s",
            ],
            &arguments[..],
        ]
        .concat();
        tenant
            .eventually("its Pod runs", async || {
                Ok(tenant.bed.kubectl(&wait).await.is_ok())
            })
            .await?;
        tenant
            .bed
            .kubectl(&[&["delete", "pods"], &arguments[..]].concat())
            .await?;
        let status = tenant.until("it failed", failed).await?;
        assert_eq!(
            status.last_error_message.as_deref(),
            Some("pod was deleted")
        );
        assert_eq!(status.history[0].reason.as_deref(), Some("PodDeleted"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_whose_pod_the_kubelet_evicts_says_so() -> anyhow::Result<()> {
    in_namespace("evicted", async |tenant| {
        // A log is part of what a container may store on its node.
        tenant
            .apply(&json!({
                "apiVersion": "v1", "kind": "LimitRange",
                "metadata": {"name": "little", "namespace": tenant.namespace},
                "spec": {"limits": [{
                    "type": "Container", "default": {"ephemeral-storage": "1Mi"},
                }]},
            }))
            .await?;
        tenant.publish("v1.0.0-log2m.slow120s").await?;
        tenant.follow(once()).await?;
        let status = tenant.until("it failed", failed).await?;
        let message = status.last_error_message.unwrap_or_default();
        assert!(message.starts_with("pod was evicted: "), "{message}");
        assert_eq!(status.history[0].reason.as_deref(), Some("PodEvicted"));
        Ok(())
    })
    .await
}

/// Deploys an application of one Deployment with such Pods and expects to be told what keeps them.
async fn is_told(
    tenant: &Tenant,
    pod: serde_json::Value,
    reason: &str,
    trouble: &str,
) -> anyhow::Result<()> {
    let labels = json!({"app": "troubled"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "{{ .Release.Name }}"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    let files = [("templates/deployment.yaml", &*deployment.to_string())];
    let bundle = Bundle::with_templates("troubled", &files, "{}")?;
    tenant.repository.push("v1.0.0", &bundle).await?;
    // Its end is not waited for.
    tenant
        .follow(json!({"converge": {"timeout": "5m"}}))
        .await?;
    let message = ready_says(tenant, reason).await?;
    let begins = format!("Deploying v1.0.0: {trouble}");
    assert!(message.starts_with(&begins), "{message}");
    Ok(())
}

#[tokio::test]
async fn an_application_whose_init_container_fails_is_named() -> anyhow::Result<()> {
    in_namespace("app-init", async |tenant| {
        let image = &tenant.bed.images.busybox;
        let pod = json!({
            "initContainers": [{
                "name": "migrate", "image": image, "command": ["busybox", "sh", "-c", "exit 3"],
            }],
            "containers": [{"name": "app", "image": image, "command": ["busybox", "sleep", "600"]}],
        });
        let trouble =
            "init container failing: Deployment/my-app: container migrate ends with exit code 3";
        is_told(tenant, pod, "InitContainerFailing", trouble).await
    })
    .await
}

#[tokio::test]
async fn an_application_that_crashes_again_and_again_is_named() -> anyhow::Result<()> {
    in_namespace("app-crash", async |tenant| {
        let image = &tenant.bed.images.busybox;
        let command = ["busybox", "sh", "-c", "exit 3"];
        // Without a probe it would be ready for a moment, and the deployment done.
        let never = json!({"exec": {"command": ["busybox", "false"]}});
        let pod = json!({"containers": [{
            "name": "app", "image": image, "command": command, "readinessProbe": never,
        }]});
        let trouble = "crash loop: Deployment/my-app: container app";
        is_told(tenant, pod, "CrashLooping", trouble).await
    })
    .await
}

#[tokio::test]
async fn an_application_that_waits_for_its_volume_is_named() -> anyhow::Result<()> {
    in_namespace("app-volume", async |tenant| {
        // Nobody makes volumes of such a class.
        tenant
            .apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data", "namespace": tenant.namespace},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                    "resources": {"requests": {"storage": "1Mi"}},
                },
            }))
            .await?;
        let image = &tenant.bed.images.busybox;
        let pod = json!({
            "containers": [{
                "name": "app", "image": image, "command": ["busybox", "sleep", "600"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        });
        let trouble = "volume pending: Deployment/my-app";
        is_told(tenant, pod, "VolumePending", trouble).await
    })
    .await
}
