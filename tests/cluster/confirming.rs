//! A Job runs only after the status says that it exists: whoever dies, or is refused, in between
//! leaves a Job that never runs.

use serde_json::json;
use werf_shared::bundle::WerfBundleStatus;
use werf_shared::bundle::status::Phase;

use crate::tenant::{BUNDLE, Tenant, in_namespace_roughly, jobs_per_attempt};

/// Lets nobody write into a status of this namespace that a Job runs.
async fn forbid_confirmation(tenant: &Tenant) -> anyhow::Result<()> {
    let statuses = json!({
        "apiGroups": ["werf.io"], "apiVersions": ["v1alpha1"],
        "operations": ["UPDATE"], "resources": ["werfbundles/status"],
    });
    let unconfirmed = "object.status.?lastJobStatus.orValue('') != 'Running'";
    let running = r#"{"status":{"lastJobStatus":"Running"}}"#;
    let status = ["--subresource=status", "--type=merge", "-p", running];
    let attempt = [&["patch", "werfbundle", BUNDLE][..], &status].concat();
    tenant.refuse(statuses, unconfirmed, &attempt).await
}

/// Brings the bundle to where its Job exists and the status does not say so.
async fn created_and_not_confirmed(tenant: &Tenant) -> anyhow::Result<WerfBundleStatus> {
    tenant.publish("v1.0.0").await?;
    // The registry lets everybody in; the Job has a Secret all the same.
    tenant
        .apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "login", "namespace": tenant.namespace},
            "stringData": {"username": "robot", "password": "first"}}),
        )
        .await?;
    let login = json!({"secretRef": {"name": "login"}});
    let spec = json!({"suspend": true, "registry": login});
    tenant.follow(spec).await?;
    forbid_confirmation(tenant).await?;
    tenant.edit(json!({"suspend": false})).await?;
    tenant
        .until("the confirmation is refused", |status| {
            status.active_job_name.is_some() && status.phase == Some(Phase::Failed)
        })
        .await
}

#[tokio::test]
async fn an_executor_killed_between_job_and_confirmation_leaves_one_job_that_runs_once()
-> anyhow::Result<()> {
    in_namespace_roughly("confirming", async |tenant| {
        let status = created_and_not_confirmed(tenant).await?;
        assert_eq!(status.last_job_status, None);
        let jobs = tenant.jobs().await?;
        assert_eq!(jobs.len(), 1);
        let spec = jobs[0].spec.clone().unwrap_or_default();
        assert_eq!(
            spec.suspend,
            Some(true),
            "it runs although the status does not know it"
        );
        let pods = ["get", "pods", "-n", &tenant.namespace, "-o", "name"];
        assert_eq!(tenant.bed.kubectl(&pods).await?.trim(), "");

        tenant.bed.kill_one_at_least("executor").await?;
        tenant.refuse_no_more().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.attempt), (1, 1));
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1]);
        assert_eq!(tenant.secrets_of_jobs(&tenant.namespace).await?.len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_whose_claim_is_given_up_never_runs() -> anyhow::Result<()> {
    in_namespace_roughly("giving-up", async |tenant| {
        let status = created_and_not_confirmed(tenant).await?;
        let given_up = status.active_job_name.unwrap_or_default();
        // Other inputs: the Job that waits is for the wrong ones.
        tenant.edit(json!({"converge": {"timeout": "3m"}})).await?;
        tenant.refuse_no_more().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.history.len(), 1);
        assert_ne!(status.history[0].job, given_up);
        // The garbage collector takes its Secret away, and it goes with that.
        tenant
            .eventually("the Job that never ran is gone", async || {
                Ok(tenant.jobs().await?.len() == 1)
            })
            .await?;
        tenant
            .eventually("there is one Secret for one Job", async || {
                Ok(tenant.secrets_of_jobs(&tenant.namespace).await?.len() == 1)
            })
            .await
    })
    .await
}

#[tokio::test]
async fn a_job_that_waits_with_a_login_nobody_names_any_more_is_made_anew() -> anyhow::Result<()> {
    in_namespace_roughly("other-files", async |tenant| {
        let status = created_and_not_confirmed(tenant).await?;
        let given_up = status.active_job_name.unwrap_or_default();
        // The same inputs, but the Pod that was made for them waits for a file that is not there.
        tenant
            .edit(json!({"registry": {"secretRef": null}}))
            .await?;
        tenant.refuse_no_more().await?;
        let status = tenant.synced("v1.0.0").await?;
        // Whoever is killed while it is given up: a name is never used for a second Job.
        assert_ne!(status.history[0].job, given_up);
        tenant
            .eventually("no Secret is left", async || {
                Ok(tenant.secrets_of_jobs(&tenant.namespace).await?.is_empty())
            })
            .await?;
        Ok(())
    })
    .await
}
