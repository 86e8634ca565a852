//! What is kept of a Job's log.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::canary;
use crate::tenant::in_namespace;

#[tokio::test]
async fn a_long_log_is_whole_beside_its_job_and_gone_with_it() -> anyhow::Result<()> {
    in_namespace("long-log", async |tenant| {
        let tag = "v1.0.0-log20k";
        tenant.publish(tag).await?;
        tenant.follow(json!({})).await?;
        let status = tenant.synced(tag).await?;
        let newest = &status.history[0];
        let name = newest.logs.clone().context("not kept")?;
        assert_eq!(name, format!("{}-logs", newest.job));
        let maps: Api<ConfigMap> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let kept = maps.get(&name).await?;
        let instance = kept.labels().get("app.kubernetes.io/instance");
        assert_eq!(instance.map(String::as_str), Some("my-app"));
        let log = kept
            .data
            .unwrap_or_default()
            .remove("log")
            .context("no log")?;
        assert!(log.starts_with("scripted: called with"), "{log:.100}");
        assert!(log.len() > 20 * 1024);
        let tail = status.last_job_logs.unwrap_or_default();
        assert!(tail.len() <= 5 * 1024 && log.ends_with(&tail));
        let delete = ["delete", "job", &newest.job, "-n", &tenant.namespace];
        tenant.bed.kubectl(&delete).await?;
        tenant
            .eventually("the log is gone with its Job", async || {
                Ok(maps.get_opt(&name).await?.is_none())
            })
            .await
    })
    .await
}

#[tokio::test]
async fn of_a_log_that_no_object_holds_the_end_is_kept() -> anyhow::Result<()> {
    in_namespace("longer-log", async |tenant| {
        let tag = "v1.0.0-log3m.line2m";
        tenant.publish(tag).await?;
        tenant.follow(json!({})).await?;
        let status = tenant.synced(tag).await?;
        let name = status.history[0].logs.clone().context("not kept")?;
        let maps: Api<ConfigMap> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let log = maps.get(&name).await?.data.unwrap_or_default();
        let log = log.get("log").context("no log")?;
        assert!(
            log.len() <= 1024 * 1024 && log.len() > 1000 * 1024,
            "{}",
            log.len()
        );
        assert!(
            log.starts_with("[werf-operator: this is the end of the log, "),
            "{log:.100}"
        );
        assert!(log.ends_with("yyyy"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_log_that_cannot_be_kept_holds_nothing_up() -> anyhow::Result<()> {
    in_namespace("no-log", async |tenant| {
        // Every Pod mounts the certificates that a controller puts into each new namespace.
        let maps: Api<ConfigMap> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        tenant
            .eventually("the namespace has its certificates", async || {
                Ok(maps.get_opt("kube-root-ca.crt").await?.is_some())
            })
            .await?;
        tenant.forbid("configmaps").await?;
        let tag = "v1.0.0-log20k";
        tenant.publish(tag).await?;
        tenant.follow(json!({})).await?;
        let status = tenant.synced(tag).await?;
        assert_eq!(status.history[0].logs, None);
        assert!(status.last_job_logs.is_some());
        tenant
            .eventually("it is told", async || {
                let events = tenant.events().await?;
                Ok(events.iter().any(|(reason, note)| {
                    reason == "LogsUnavailable" && note.contains("exceeded quota: none")
                }))
            })
            .await
    })
    .await
}

#[tokio::test]
async fn a_secret_that_is_printed_in_base64_is_masked_everywhere() -> anyhow::Result<()> {
    in_namespace("masking-base64", async |tenant| {
        // In base64 such a text has letters and digits only, as words of a tag have.
        let canary = format!("{:024x}", rand::random::<u128>() >> 32);
        tenant
            .apply(&json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "secrets", "namespace": tenant.namespace},
                "stringData": {"values.yaml": format!("password: \"{canary}\"\n")}}))
            .await?;
        let encoded = BASE64.encode(format!("xy{canary}z"));
        let tag = format!("v1.0.0-log20k.canary{encoded}");
        tenant.publish(&tag).await?;
        let values = json!({"converge": {"valuesFrom": [{"secretRef": {"name": "secrets"}}]}});
        tenant.follow(values).await?;
        let status = tenant.synced(&tag).await?;
        let name = status.history[0].logs.clone().context("not kept")?;
        let maps: Api<ConfigMap> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let whole = maps.get(&name).await?.data.unwrap_or_default();
        let whole = whole.get("log").context("no log")?;
        let digits = &encoded[4..34];
        for log in [status.last_job_logs.as_deref().unwrap_or_default(), whole] {
            assert!(log.contains("***"), "{log}");
            assert!(!log.contains(digits), "the canary is in the log");
        }
        canary::is_nowhere(tenant, &tenant.namespace, &[&canary]).await
    })
    .await
}
