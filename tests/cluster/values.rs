//! Values from `ConfigMaps` and Secrets reach the application, and secrets nobody else.

use serde_json::json;

use crate::canary;
use crate::tenant::in_namespace;

#[tokio::test]
async fn values_are_applied_and_secrets_stay_secret() -> anyhow::Result<()> {
    in_namespace("values", async |tenant| {
        let secret = format!("canary-{:032x}", rand::random::<u128>());
        let sources = |message: &str| {
            json!({"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "ConfigMap",
                 "metadata": {"name": "config", "namespace": tenant.namespace},
                 "data": {"values.yaml": format!("message: {message}\n")}},
                {"apiVersion": "v1", "kind": "Secret",
                 "metadata": {"name": "secrets", "namespace": tenant.namespace},
                 "stringData": {"values.yaml": format!("password: {secret}\n")}},
            ]})
        };
        tenant.apply(&sources("Good-morning")).await?;
        tenant.publish("v1.0.0").await?;
        tenant
            // Long, so that only the request has the values read again.
            .follow(
                json!({"registry": {"pollInterval": "1h"}, "converge": {"valuesFrom": [
                    {"configMapRef": {"name": "config"}},
                    {"secretRef": {"name": "secrets"}},
                    {"configMapRef": {"name": "absent"}, "optional": true},
                ]}}),
            )
            .await?;
        tenant.synced("v1.0.0").await?;
        let page = tenant.page("Good-morning").await?;
        assert!(!page.contains("not set"), "{page}");

        // Another message is another deployment, without anyone touching the bundle's spec.
        tenant.apply(&sources("Good-evening")).await?;
        tenant.converge(json!({})).await?;
        let status = tenant
            .until("the new message is deployed", |status| {
                status.run == 2 && status.active_job_name.is_none()
            })
            .await?;
        // A pass that came by for another reason may have read the new values first.
        let cause = &*status.history[0].cause;
        assert!(matches!(cause, "Requested" | "InputsChanged"), "{cause}");
        tenant.page("Good-evening").await?;

        let jobs = serde_json::to_string(&tenant.jobs().await?)?;
        assert!(jobs.contains("message=Good-evening"), "{jobs}");
        canary::is_nowhere(tenant, &tenant.namespace, &[&secret]).await
    })
    .await
}

#[tokio::test]
async fn changed_values_are_deployed_by_themselves_within_the_poll_interval() -> anyhow::Result<()>
{
    in_namespace("refreshing", async |tenant| {
        let config = |message: &str| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "config", "namespace": tenant.namespace},
                "data": {"values.yaml": format!("message: {message}\n")}})
        };
        tenant.apply(&config("Good-morning")).await?;
        tenant.publish("v1.0.0").await?;
        let values = json!({"converge": {"valuesFrom": [{"configMapRef": {"name": "config"}}]}});
        tenant.follow(values).await?;
        tenant.synced("v1.0.0").await?;
        tenant.apply(&config("Good-evening")).await?;
        let status = tenant
            .until("the new message is deployed", |status| {
                status.run == 2 && status.active_job_name.is_none()
            })
            .await?;
        assert_eq!(status.history[0].cause, "InputsChanged");
        tenant.page("Good-evening").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_that_werf_prints_is_masked_in_the_status() -> anyhow::Result<()> {
    in_namespace("masking", async |tenant| {
        let canary = format!("{:016x}", rand::random::<u64>());
        tenant
            .apply(&json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "secrets", "namespace": tenant.namespace},
                "stringData": {"values.yaml": format!("password: \"{canary}\"\n")}}))
            .await?;
        tenant.publish(&format!("v1.0.0-canary{canary}")).await?;
        let values = json!({"converge": {"valuesFrom": [{"secretRef": {"name": "secrets"}}]}});
        tenant.follow(values).await?;
        let status = tenant
            .until("its log is collected", |status| {
                status.last_job_logs.is_some()
            })
            .await?;
        let log = status.last_job_logs.unwrap_or_default();
        assert!(log.contains("***"), "{log}");
        assert!(!log.contains(&canary), "the canary is in the log");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_source_is_named_where_it_was_looked_for() -> anyhow::Result<()> {
    in_namespace("sources", async |tenant| {
        tenant.publish("v1.0.0").await?;
        let values = json!({"converge": {"valuesFrom": [{"configMapRef": {"name": "config"}}]}});
        tenant.follow(values).await?;
        let status = tenant
            .until("it is told", |status| status.last_error_message.is_some())
            .await?;
        assert_eq!(
            status.last_error_message.as_deref(),
            Some(&*format!(
                "failed to get ConfigMap 'config' from namespace '{}'",
                tenant.namespace
            ))
        );
        assert!(tenant.jobs().await?.is_empty());
        Ok(())
    })
    .await
}
