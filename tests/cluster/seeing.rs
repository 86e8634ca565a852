//! What can be seen from outside: one trace through both services, metrics, probes, reflection, and
//! that rights are as narrow as the manifests say.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};
use testbed::operator::NAMESPACE;

use crate::bed::Bed;
use crate::tenant::in_namespace;
use crate::turn::Turn;

/// Spans of a trace as the receiver printed them, by name.
async fn spans(bed: &Bed, trace: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let printed = bed.kubectl(&["logs", "otlp-receiver", "--tail=-1"]).await?;
    let spans = printed.lines().filter_map(|line| {
        let span: Value = serde_json::from_str(line).ok()?;
        (span["trace"] == trace).then(|| {
            (
                span["name"].as_str().unwrap_or_default().to_owned(),
                span.clone(),
            )
        })
    });
    Ok(spans.collect())
}

#[tokio::test]
async fn one_trace_runs_from_the_poll_to_the_status() -> anyhow::Result<()> {
    in_namespace("tracing", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        let status = tenant.synced("v1.0.0").await?;
        let trace = status.history[0].trace_id.clone().context("no trace id")?;
        let parts = [
            ("poll", "werf-operator-poller"),
            ("announce", "werf-operator-poller"),
            ("admit", "werf-operator-executor"),
            ("create_job", "werf-operator-executor"),
            ("collect_logs", "werf-operator-executor"),
            ("patch_status", "werf-operator-executor"),
        ];
        tenant
            .eventually("every span is exported", async || {
                let spans = spans(&tenant.bed, &trace).await?;
                Ok(parts.iter().all(|(name, _)| spans.contains_key(*name)))
            })
            .await?;
        let spans = spans(&tenant.bed, &trace).await?;
        for (name, service) in parts {
            assert_eq!(spans[name]["service"], service, "{name}");
        }
        assert_eq!(spans["announce"]["parent"], spans["poll"]["span"]);
        assert_eq!(spans["admit"]["parent"], spans["announce"]["span"]);
        assert_eq!(spans["create_job"]["parent"], spans["admit"]["span"]);
        let jobs = tenant.jobs().await?;
        let annotations = jobs[0].metadata.annotations.clone().unwrap_or_default();
        let carried = &annotations["operator.werf.io/traceparent"];
        assert!(carried.contains(&trace), "{carried}");
        let logs = tenant.bed.logs().await?;
        for said in ["Found tag", "New tag wanted", "Job created", "Synced"] {
            let line = logs
                .lines()
                .find(|line| line.contains(said) && line.contains(&trace));
            let line = line.with_context(|| format!("no line {said:?} in the trace"))?;
            let fields: Value = serde_json::from_str(line)?;
            assert_eq!(fields["bundle.namespace"], *tenant.namespace, "{line}");
            assert_eq!(fields["tag"], "v1.0.0", "{line}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn probes_metrics_and_reflection_answer() -> anyhow::Result<()> {
    let _turn = Turn::gentle().await?;
    let bed = Bed::ready().await?;
    for (service, api, metric) in [
        (
            "werf-operator-poller",
            "PollerService",
            "registry_poll_total",
        ),
        (
            "werf-operator-executor",
            "ExecutorService",
            "converge_job_total",
        ),
    ] {
        let admin = bed.reach(NAMESPACE, service, 8080).await?;
        for path in ["healthz", "readyz"] {
            let answer = reqwest::get(format!("http://{admin}/{path}")).await?;
            assert!(answer.status().is_success(), "{service}/{path}");
        }
        let metrics = reqwest::get(format!("http://{admin}/metrics"))
            .await?
            .text()
            .await?;
        assert!(metrics.contains(metric), "{metrics}");
        let grpc = bed.reach(NAMESPACE, service, 9090).await?;
        let listed = tokio::process::Command::new(bed.cluster.program("grpcurl"))
            .args(["-plaintext", &grpc.to_string(), "list"])
            .output()
            .await?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let ours: Vec<&str> = listed.lines().filter(|l| l.starts_with("werf.")).collect();
        assert_eq!(ours, [format!("werf.operator.v1alpha1.{api}")]);
        let health = bed
            .grpcurl(service, "grpc.health.v1.Health/Check", &json!({}))
            .await?;
        assert_eq!(health["status"], "SERVING");
    }
    Ok(())
}

#[tokio::test]
async fn the_services_may_do_what_they_need_and_no_more() -> anyhow::Result<()> {
    let _turn = Turn::gentle().await?;
    let bed = Bed::ready().await?;
    let may = async |account: &str, verb: &str, resource: &str| -> anyhow::Result<bool> {
        let user = format!("--as=system:serviceaccount:{NAMESPACE}:werf-operator-{account}");
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let ask = ["auth", "can-i", verb, resource, &subresource, "-A", &user];
        let answer = bed.kubectl(&ask).await;
        Ok(answer.is_ok_and(|answer| answer.trim() == "yes"))
    };
    for (account, verb, resource) in [
        ("poller", "watch", "werfbundles"),
        ("poller", "get", "secrets"),
        ("executor", "update", "werfbundles/status"),
        ("executor", "create", "jobs"),
        ("executor", "get", "secrets"),
        ("executor", "create", "configmaps"),
        ("executor", "list", "events.events.k8s.io"),
        ("executor", "get", "replicasets"),
    ] {
        assert!(
            may(account, verb, resource).await?,
            "{account} may not {verb} {resource}"
        );
    }
    for (account, verb, resource) in [
        ("poller", "list", "secrets"),
        ("poller", "watch", "secrets"),
        ("poller", "patch", "werfbundles"),
        ("poller", "update", "werfbundles/status"),
        ("poller", "create", "jobs"),
        ("executor", "list", "secrets"),
        ("executor", "watch", "secrets"),
        ("executor", "delete", "secrets"),
        ("executor", "delete", "configmaps"),
        ("executor", "list", "configmaps"),
        ("executor", "list", "replicasets"),
        ("executor", "watch", "events.events.k8s.io"),
        ("executor", "create", "pods"),
        ("executor", "create", "deployments"),
        ("executor", "create", "rolebindings"),
        ("executor", "impersonate", "serviceaccounts"),
        ("executor", "delete", "werfbundles"),
    ] {
        assert!(
            !may(account, verb, resource).await?,
            "{account} may {verb} {resource}"
        );
    }
    Ok(())
}
