//! What the apiserver itself refuses, with a message that names the field.

use serde_json::{Value, json};

use crate::tenant::{Tenant, in_namespace};
use crate::turn::MY_APP;
use testbed::operator::checkout;

fn url(url: &str) -> Value {
    json!({"registry": {"url": url}})
}

fn interval(interval: &str) -> Value {
    json!({"registry": {"url": "ghcr.io/org/app", "pollInterval": interval}})
}

fn values(sources: &Value) -> Value {
    json!({"registry": {"url": "ghcr.io/org/app"}, "converge": {"valuesFrom": sources}})
}

fn converge(converge: &Value) -> Value {
    json!({"registry": {"url": "ghcr.io/org/app"}, "converge": converge})
}

async fn names_the_field(tenant: &Tenant, field: &str, specs: Vec<Value>) -> anyhow::Result<()> {
    for spec in specs {
        let words = tenant.refusal("bad", &spec).await?;
        assert!(
            words.contains(field),
            "{spec} was refused without naming {field}: {words}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn bad_bundles_are_refused_with_the_name_of_the_field() -> anyhow::Result<()> {
    in_namespace("refusing", async |tenant| {
        let long = format!("ghcr.io/{}", "a".repeat(300));
        let urls = [
            "http://ghcr.io/org/app",
            "https://ghcr.io/org/app",
            "ftp://ghcr.io/org/app",
            "user:password@ghcr.io/org/app",
            "ghcr.io/org/app?tag=1",
            "ghcr.io/org/app#main",
            "ghcr.io/org/app:v1",
            "ghcr.io/org/app@sha256:abc",
            "ghcr.io/org/../app",
            "ghcr.io/%2e%2e/app",
            "ghcr.io//app",
            "ghcr.io/Org/app",
            "host:0/app",
            "host:99999/app",
            "ghcr.io/ørg/app",
            "ghcr.io/org/app ",
            "org/app",
            "",
            &long,
        ];
        let urls = urls.into_iter().map(url).collect();
        names_the_field(tenant, "spec.registry.url", urls).await?;
        let intervals = [
            "0s", "-1s", "1ns", "59s", "25h", "999999h", "1h1h", "٣m", "15", "",
        ];
        let intervals = intervals.into_iter().map(interval).collect();
        names_the_field(tenant, "spec.registry.pollInterval", intervals).await?;
        let both = json!({"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}});
        let sources = vec![
            values(&json!([{}])),
            values(&json!([{"optional": true}])),
            values(&json!([both])),
            values(&json!([{"configMapRef": {"name": ""}}])),
            values(&Value::from(vec![json!({"secretRef": {"name": "a"}}); 33])),
        ];
        names_the_field(tenant, "spec.converge.valuesFrom", sources).await?;
        // Each would be a part of the path of a request.
        let names = [
            "creds?resourceVersion=0",
            "a/../b",
            "my config",
            "..",
            "App",
            "a_b",
            "",
        ];
        for name in names {
            for field in ["secretRef", "certSecretRef"] {
                let spec = json!({"registry": {"url": "ghcr.io/org/app", field: {"name": name}}});
                let field = format!("spec.registry.{field}.name");
                names_the_field(tenant, &field, vec![spec]).await?;
            }
            for field in ["configMapRef", "secretRef"] {
                let spec = values(&json!([{field: {"name": name}}]));
                let field = format!("spec.converge.valuesFrom[0].{field}.name");
                names_the_field(tenant, &field, vec![spec]).await?;
            }
        }
        let elsewhere = vec![converge(&json!({"targetNamespace": "production"}))];
        names_the_field(tenant, "serviceAccountName", elsewhere).await?;
        for (field, bad) in [
            ("targetNamespace", json!("Not_A_Label")),
            ("serviceAccountName", json!("a/../b")),
            ("releaseName", json!("--all")),
            ("resourceLimits.memory", json!("-1Gi")),
            ("resourceLimits.cpu", json!(-1)),
            ("resourceLimits.cpu", json!(0)),
            ("resourceLimits.memory", json!("lots")),
            ("logRetentionDays", json!(0)),
            ("logRetentionDays", json!(400)),
            ("timeout", json!("0s")),
            ("retry.limit", json!(-1)),
        ] {
            let spec = match field.split_once('.') {
                Some((outer, inner)) => converge(&json!({outer: {inner: bad}})),
                None => converge(&json!({"serviceAccountName": "a", field: bad})),
            };
            names_the_field(tenant, &format!("spec.converge.{field}"), vec![spec]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn good_bundles_are_taken_and_fresh_ones_are_not_ready() -> anyhow::Result<()> {
    in_namespace("taking", async |tenant| {
        let _mine = MY_APP.lock().await;
        for name in ["production", "k8s-werf-operator-go-system"] {
            tenant
                .apply(
                    &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
                )
                .await?;
        }
        let examples = checkout().join("crds/examples");
        let apply = ["apply", "--dry-run=server", "-o", "json", "-f"];
        let applied = tenant
            .bed
            .kubectl(&[&apply[..], &[&examples.to_string_lossy()]].concat())
            .await?;
        let applied: Value = serde_json::from_str(&applied)?;
        let items = applied["items"].as_array().cloned().unwrap_or_default();
        let bundles: Vec<_> = items
            .iter()
            .filter(|item| item["kind"] == "WerfBundle")
            .collect();
        assert!(bundles.len() >= 2, "{applied}");
        for bundle in bundles {
            let ready = &bundle["status"]["conditions"][0];
            assert_eq!(
                (&ready["type"], &ready["status"]),
                (&json!("Ready"), &json!("Unknown"))
            );
            assert!(bundle["spec"]["converge"]["timeout"].is_string());
        }
        for good in [
            url("10.0.0.1:5000/app"),
            url("localhost:5000/a"),
            url("[::1]:5000/a/b__c"),
        ] {
            let taken = tenant.refusal("good", &good).await;
            assert!(
                taken.unwrap_err().to_string().contains("was not refused"),
                "{good}"
            );
        }
        let explained = tenant
            .bed
            .kubectl(&["explain", "werfbundle.spec.registry.pollInterval"])
            .await?;
        assert!(
            explained.contains("How often the registry is asked"),
            "{explained}"
        );
        Ok(())
    })
    .await
}
