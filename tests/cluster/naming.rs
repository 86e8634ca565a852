//! Names and namespaces that are legal and still break what was made without them in mind.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::tenant::{BUNDLE, in_namespace};

/// As long as the name of an object can be.
fn longest_name() -> String {
    format!("{}.{}", "long-".repeat(20), "x".repeat(152)).replacen("-.", "0.", 1)
}

#[tokio::test]
async fn the_longest_names_and_tags_are_deployed() -> anyhow::Result<()> {
    in_namespace("naming", async |tenant| {
        let (name, tag) = (longest_name(), format!("R{}-", "_.a".repeat(42)));
        ensure!(name.len() == 253 && tag.len() == 128, "{name} {tag}");
        tenant.publish(&tag).await?;
        tenant
            .apply(&json!({
                "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
                "metadata": {"name": name, "namespace": tenant.namespace},
                "spec": tenant.spec(json!({})),
            }))
            .await?;
        let bundle = format!("wb/{name}");
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=150s",
            &bundle,
            "-n",
            &tenant.namespace,
        ];
        tenant.bed.kubectl(&ready).await?;
        let status = tenant
            .bundles()
            .get(&name)
            .await?
            .status
            .unwrap_or_default();
        assert_eq!(status.last_applied_tag.as_deref(), Some(tag.as_str()));

        let jobs = tenant.jobs().await?;
        let annotation = |key: &str| jobs[0].annotations().get(key).map(String::as_str);
        assert_eq!(annotation("operator.werf.io/tag"), Some(tag.as_str()));
        assert_eq!(
            annotation("operator.werf.io/bundle-name"),
            Some(name.as_str())
        );
        let events: Api<Event> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        // It is told after it was stored.
        tenant
            .eventually("that it was deployed is told", async || {
                let told = events.list(&about).await?.items;
                Ok(told
                    .iter()
                    .any(|event| event.reason.as_deref() == Some("Synced")))
            })
            .await
    })
    .await
}

#[tokio::test]
async fn jobs_run_where_pods_have_to_be_restricted() -> anyhow::Result<()> {
    in_namespace("restricted", async |tenant| {
        let enforce = "pod-security.kubernetes.io/enforce=restricted";
        tenant
            .bed
            .kubectl(&["label", "namespace", &tenant.namespace, enforce])
            .await?;
        let root = [
            "run",
            "root",
            "--image=busybox",
            "--dry-run=server",
            "-n",
            &tenant.namespace,
        ];
        // The apiserver knows namespaces from a cache.
        tenant
            .eventually("the label is in force", async || {
                let refused = tenant.bed.kubectl(&root).await.err();
                Ok(refused.is_some_and(|it| format!("{it:#}").contains("violates PodSecurity")))
            })
            .await?;

        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "secrets", "namespace": tenant.namespace},
            "stringData": {"values.yaml": format!("password: {:032x}\n", rand::random::<u128>())}});
        tenant.apply(&secret).await?;
        tenant.publish("v1.0.0").await?;
        tenant
            .follow(json!({"converge": {"valuesFrom": [{"secretRef": {"name": "secrets"}}]}}))
            .await?;
        tenant.synced("v1.0.0").await?;
        let pods = [
            "get",
            "pods",
            "-l",
            &format!("werf.io/bundle={BUNDLE}"),
            "-o",
            "name",
            "-n",
            &tenant.namespace,
        ];
        ensure!(
            tenant.bed.kubectl(&pods).await?.lines().count() == 1,
            "no Pod of the Job"
        );
        Ok(())
    })
    .await
}
