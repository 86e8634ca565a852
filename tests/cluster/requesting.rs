//! What people ask for by annotations, and what `kubectl get` tells them.

use serde_json::json;
use werf_shared::bundle::WerfBundleStatus;

use crate::tenant::{BUNDLE, in_namespace};

const RECONCILE: &str = "operator.werf.io/reconcile";
const FORCE: &str = "operator.werf.io/force";

fn stalled(status: &WerfBundleStatus) -> bool {
    status.conditions.iter().any(|c| c.type_ == "Stalled")
}

#[tokio::test]
async fn an_annotation_starts_a_stalled_bundle_over_and_polls_at_once() -> anyhow::Result<()> {
    in_namespace("requesting", async |tenant| {
        tenant.publish("v1.0.0-exit3").await?;
        let rarely = json!({
            "registry": {"pollInterval": "24h"},
            "converge": {"retry": {"limit": 0}},
        });
        tenant.follow(rarely).await?;
        tenant.until("it is stalled", stalled).await?;

        tenant.annotate(&[&format!("{RECONCILE}=first")]).await?;
        let status = tenant
            .until("it was tried again", |status| {
                status.run == 2 && stalled(status)
            })
            .await?;
        assert_eq!(status.last_handled_reconcile.as_deref(), Some("first"));
        assert_eq!(status.attempt, 1);
        assert_eq!(status.history[0].cause, "Requested");
        assert!(status.history[0].trace_id.is_some());
        // The same value asks for nothing.
        tenant.annotate(&[&format!("{RECONCILE}=first")]).await?;

        tenant.publish("v1.0.0").await?;
        tenant.annotate(&[&format!("{RECONCILE}=second")]).await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.last_handled_reconcile.as_deref(), Some("second"));
        let runs = status.run;

        // What is deployed is deployed again only by force.
        let huge = "x".repeat(100_000);
        tenant.annotate(&[&format!("{RECONCILE}={huge}")]).await?;
        let status = tenant
            .until("it was taken up", |status| {
                let echo = status.last_handled_reconcile.as_deref();
                echo.is_some_and(|echo| echo.starts_with("sha256:")) && status.requested.is_none()
            })
            .await?;
        assert_eq!(status.run, runs);
        let forced = [&*format!("{RECONCILE}=third"), &format!("{FORCE}=third")];
        tenant.annotate(&forced).await?;
        tenant
            .until("it was deployed again", |status| {
                status.run == runs + 1 && status.history[0].cause == "Forced"
            })
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_suspended_bundle_shows_it_and_says_that_it_ignores_a_request() -> anyhow::Result<()> {
    in_namespace("ignoring", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        tenant.edit(json!({"suspend": true})).await?;
        tenant
            .until("it says so", |status| {
                status.conditions.iter().any(|c| c.reason == "Suspended")
            })
            .await?;
        let get = ["get", "wb", BUNDLE, "-n", &tenant.namespace];
        let table = tenant.bed.kubectl(&get).await?;
        let cells: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            cells[0][1..6],
            ["PHASE", "LASTAPPLIEDTAG", "READY", "REASON", "SUSPENDED"],
            "{table}"
        );
        assert_eq!(
            cells[1][1..6],
            ["Synced", "v1.0.0", "True", "Suspended", "true"],
            "{table}"
        );

        tenant.publish("v1.1.0").await?;
        tenant.annotate(&[&format!("{RECONCILE}=now")]).await?;
        tenant
            .until("it is echoed", |status| {
                status.last_handled_reconcile.as_deref() == Some("now")
            })
            .await?;
        tenant
            .eventually("it is told", async || {
                let events = tenant.events().await?;
                let ignored = |(reason, note): &(String, String)| {
                    reason == "RequestIgnored" && note.contains("suspended")
                };
                Ok(events.iter().any(ignored))
            })
            .await?;
        assert_eq!(tenant.jobs().await?.len(), 1);
        tenant.edit(json!({"suspend": false})).await?;
        tenant.synced("v1.1.0").await?;
        let events = tenant.events().await?;
        for told in ["Suspended", "Resumed"] {
            assert!(
                events.iter().any(|(reason, _)| reason == told),
                "{events:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn waiting_for_ready_right_after_an_edit_waits_for_the_edit() -> anyhow::Result<()> {
    in_namespace("waiting", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        let wait = [
            "wait",
            "--for=condition=Ready",
            "--timeout=120s",
            "wb",
            BUNDLE,
            "-n",
            &tenant.namespace,
        ];
        tenant.bed.kubectl(&wait).await?;
        for memory in ["240Mi", "248Mi"] {
            tenant
                .edit(json!({"converge": {"resourceLimits": {"memory": memory}}}))
                .await?;
            tenant.bed.kubectl(&wait).await?;
            let status = tenant.status().await?;
            let newest = &tenant.jobs().await?;
            let limits = newest.iter().filter_map(|job| {
                let pod = job.spec.as_ref()?.template.spec.as_ref()?;
                let limits = pod.containers[0].resources.as_ref()?.limits.as_ref()?;
                limits.get("memory").map(|memory| memory.0.clone())
            });
            assert!(
                limits.into_iter().any(|limit| limit == memory),
                "{status:?}"
            );
        }
        Ok(())
    })
    .await
}
