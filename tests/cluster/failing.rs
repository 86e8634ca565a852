//! What people are told when a deployment fails, or cannot even begin.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use werf_shared::bundle::status::{JobStatus, Phase, WerfBundleStatus};

use crate::tenant::in_namespace;

fn failed(status: &WerfBundleStatus) -> bool {
    status.phase == Some(Phase::Failed)
}

#[tokio::test]
async fn a_job_that_exits_3_is_told_with_its_exit_code_and_log() -> anyhow::Result<()> {
    in_namespace("exiting", async |tenant| {
        tenant.publish("v1.0.0-exit3").await?;
        tenant
            .follow(json!({"converge": {"retry": {"limit": 0}}}))
            .await?;
        let status = tenant.until("it failed", failed).await?;
        let message = status.last_error_message.as_deref();
        assert_eq!(message, Some("pod failed with exit code 3"));
        assert_eq!(status.last_job_status, Some(JobStatus::Failed));
        assert_eq!(status.last_applied_tag, None);
        let log = status.last_job_logs.unwrap_or_default();
        assert!(log.contains("scripted: called with"), "{log:?}");
        assert!(status.conditions.iter().any(|c| c.type_ == "Stalled"));

        // The next version is better.
        tenant.publish("v1.0.0").await?;
        tenant.poll_now().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.last_error_message, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_that_is_oom_killed_says_so() -> anyhow::Result<()> {
    in_namespace("starving", async |tenant| {
        tenant.publish("v1.0.0-oom").await?;
        let small = json!({"converge": {
            "retry": {"limit": 0}, "resourceLimits": {"memory": "48Mi"},
        }});
        tenant.follow(small).await?;
        let status = tenant.until("it failed", failed).await?;
        let pods: Api<Pod> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let of_job = format!("job-name={}", status.history[0].job);
        let pods = pods.list(&ListParams::default().labels(&of_job)).await?;
        let mut ends = pods.items.iter().filter_map(|pod| {
            let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
            containers.first()?.state.as_ref()?.terminated.as_ref()
        });
        let end = ends.next().context("no Pod that ended")?;
        assert_eq!(end.exit_code, 137);
        // Now and then containerd misses that it was for its memory that a container was killed.
        let expected = match end.reason.as_deref() {
            Some("OOMKilled") => "pod failed with OOMKilled",
            _ => "pod failed with exit code 137",
        };
        assert_eq!(status.last_error_message.as_deref(), Some(expected));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_job_is_tried_again_by_itself() -> anyhow::Result<()> {
    in_namespace("retrying", async |tenant| {
        tenant.publish("v1.0.0-exit1").await?;
        tenant
            .follow(json!({"converge": {"retry": {"limit": 1}}}))
            .await?;
        let status = tenant.until("it failed", failed).await?;
        assert_eq!(status.attempt, 1);
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        assert!(
            ready.is_some_and(|c| c.message.contains("next attempt at")),
            "{ready:?}"
        );
        let status = tenant
            .until("it was tried twice", |status| {
                status.attempt == 2 && status.conditions.iter().any(|c| c.type_ == "Stalled")
            })
            .await?;
        assert_eq!(status.run, 1);
        assert_eq!(tenant.jobs().await?.len(), 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_service_account_is_named_and_no_job_is_made() -> anyhow::Result<()> {
    in_namespace("homeless", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant
            .follow(json!({"converge": {"serviceAccountName": "late"}}))
            .await?;
        let status = tenant.until("it failed", failed).await?;
        assert_eq!(
            status.last_error_message.as_deref(),
            Some(&*format!(
                "ServiceAccount late does not exist in namespace {}",
                tenant.namespace
            ))
        );
        assert!(tenant.jobs().await?.is_empty());
        let refused = tenant.converge_until_it_is_known(json!({})).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("ServiceAccount late does not exist"),
            "{refused}"
        );
        // As the guides have it: create the account, then edit the bundle.
        let account = ["create", "serviceaccount", "late", "-n", &tenant.namespace];
        tenant.bed.kubectl(&account).await?;
        let account = format!("--serviceaccount={}:late", tenant.namespace);
        let bind = [
            "create",
            "rolebinding",
            "late",
            "--role=werf-converge",
            &account,
            "-n",
            &tenant.namespace,
        ];
        tenant.bed.kubectl(&bind).await?;
        tenant
            .edit(json!({"converge": {"logRetentionDays": 6}}))
            .await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.last_error_message, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_tag_that_is_no_bundle_is_refused_before_any_job() -> anyhow::Result<()> {
    in_namespace("misfits", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.repository.push_container_image("v2.0.0").await?;
        let answer = tenant.poll_now().await?;
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("v2.0.0"), "{answer}");
        let status = tenant
            .until("it is told", |status| {
                status.conditions.iter().any(|c| c.reason == "NotABundle")
            })
            .await?;
        assert_eq!(status.desired_tag.as_deref(), Some("v1.0.0"));
        assert_eq!(tenant.jobs().await?.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_and_heals() -> anyhow::Result<()> {
    in_namespace("missing", async |tenant| {
        tenant.follow(json!({})).await?;
        let status = tenant
            .until("the failure is counted", |status| {
                status.consecutive_failures >= 1
            })
            .await?;
        let message = status.last_error_message.unwrap_or_default();
        assert!(message.starts_with("error polling registry: "), "{message}");
        assert!(message.ends_with("404 not found"), "{message}");
        tenant.publish("v1.0.0").await?;
        tenant.poll_now().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.consecutive_failures, 0);
        assert_eq!(status.last_error_message, None);
        Ok(())
    })
    .await
}
