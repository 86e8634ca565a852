//! The main job: what is published is deployed.

use serde_json::{Value, json};
use werf_shared::bundle::status::JobStatus;

use crate::tenant::{BUNDLE, in_namespace, jobs_per_attempt, namespace_object};

/// Whether the Job is there already. An executor that is busy answers after a while that the wish
/// waits; who then asks once more by force gets two runs.
fn started_or_queued(answer: &Value) -> bool {
    let started = answer["result"] == "RESULT_STARTED";
    assert!(started || answer["result"] == "RESULT_QUEUED", "{answer}");
    started
}

#[tokio::test]
async fn a_published_bundle_is_deployed_and_upgraded_by_a_push() -> anyhow::Result<()> {
    in_namespace("deploying", async |tenant| {
        let digest = tenant.publish("v1.9.0").await?;
        tenant.follow(json!({})).await?;
        let status = tenant.running().await?;
        assert_eq!(status.last_applied_tag, None, "applied before it was");
        let status = tenant.synced("v1.9.0").await?;
        assert_eq!(status.last_applied_digest.as_deref(), Some(digest.as_str()));
        assert_eq!(status.last_job_status, Some(JobStatus::Succeeded));
        tenant.page("1.9.0").await?;

        // Ten is more than nine, though not in a dictionary.
        tenant.publish("v1.10.0").await?;
        let answer = tenant.poll_now().await?;
        assert_eq!(answer["tag"], "v1.10.0", "{answer}");
        let status = tenant.synced("v1.10.0").await?;
        tenant.page("1.10.0").await?;
        assert_eq!(status.history.len(), 2);
        assert_eq!(jobs_per_attempt(&tenant.jobs().await?), [1, 1]);
        let log = status.last_job_logs.unwrap_or_default();
        assert!(log.contains("release \"my-app\""), "{log}");

        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=120s",
            "wb",
            BUNDLE,
            "-n",
            &tenant.namespace,
        ];
        tenant.bed.kubectl(&ready).await?;
        let table = tenant
            .bed
            .kubectl(&["get", "wb", "-n", &tenant.namespace])
            .await?;
        assert!(
            table.contains("LASTAPPLIEDTAG") && table.contains("v1.10.0"),
            "{table}"
        );
        for tag in ["v1.9.0", "v1.10.0"] {
            let words = format!("Deployed {tag}");
            let is_it = |reason: &str, note: &str| reason == "Synced" && note == words;
            tenant.told(&words, is_it).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deleting_a_bundle_removes_its_jobs_in_any_namespace() -> anyhow::Result<()> {
    in_namespace("deleting", async |tenant| {
        let elsewhere = &*format!("elsewhere-{}", tenant.namespace);
        tenant.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            namespace_object(elsewhere),
            {"apiVersion": "v1", "kind": "ServiceAccount",
             "metadata": {"name": "werf-converge", "namespace": elsewhere}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
             "metadata": {"name": "werf-converge", "namespace": elsewhere},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
             "subjects": [{"kind": "ServiceAccount", "name": "werf-converge", "namespace": elsewhere}]},
        ]}))
        .await?;
        tenant.publish("v1.0.0-slow60s").await?;
        tenant.follow(json!({"converge": {"targetNamespace": elsewhere}})).await?;
        let status = tenant.running().await?;
        assert_eq!(status.resolved_target_namespace.as_deref(), Some(elsewhere));
        tenant.delete().await?;
        tenant.eventually("Jobs and Pods are gone", async || {
            let left = ["get", "jobs,pods", "-n", elsewhere, "-o", "name"];
            Ok(tenant.bed.kubectl(&left).await?.trim().is_empty())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_suspended_bundle_is_left_alone_until_forced_or_resumed() -> anyhow::Result<()> {
    in_namespace("suspending", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({"suspend": true})).await?;
        tenant
            .until("it says so", |status| {
                status.conditions.iter().any(|c| c.reason == "Suspended")
            })
            .await?;
        let refused = tenant.converge(json!({})).await.unwrap_err().to_string();
        assert!(refused.contains("suspended"), "{refused}");
        assert!(tenant.jobs().await?.is_empty());
        let status = tenant.status().await?;
        assert!(status.announced.is_none(), "{:?}", status.announced);
        assert_eq!(status.desired_tag, None);
        let answer = tenant
            .converge(json!({"tag": "v1.0.0", "force": true}))
            .await?;
        started_or_queued(&answer);
        tenant
            .until("the forced tag is deployed", |status| {
                status.last_applied_tag.as_deref() == Some("v1.0.0")
            })
            .await?;
        tenant.publish("v1.1.0").await?;
        tenant.edit(json!({"suspend": false})).await?;
        tenant.synced("v1.1.0").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_person_can_deploy_any_tag_and_it_stays_until_a_newer_one() -> anyhow::Result<()> {
    in_namespace("asking", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.publish("v1.1.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.1.0").await?;
        let nothing = tenant.converge_until_it_is_known(json!({})).await?;
        assert_eq!(nothing["result"], "RESULT_ALREADY_APPLIED", "{nothing}");

        let answer = tenant.converge(json!({"tag": "v1.0.0"})).await?;
        let started = started_or_queued(&answer);
        let status = tenant.synced("v1.0.0").await?;
        if started {
            let newest = &status.history[0];
            assert_eq!(answer["jobName"], newest.job.as_str());
            let trace = newest.trace_id.clone().unwrap_or_default();
            assert_eq!(answer["traceId"], trace);
        }
        // Polls do not undo what a person did …
        tenant.poll_now().await?;
        assert_eq!(
            tenant.status().await?.desired_tag.as_deref(),
            Some("v1.0.0")
        );
        // … until there is something new.
        tenant.publish("v1.2.0").await?;
        tenant.poll_now().await?;
        tenant.synced("v1.2.0").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_constraint_decides_also_backwards_and_a_shrunken_list_does_not() -> anyhow::Result<()>
{
    in_namespace("constraining", async |tenant| {
        tenant.publish("v1.5.0").await?;
        let newest = tenant.publish("v2.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v2.0.0").await?;
        tenant.repository.delete(&newest).await?;
        let answer = tenant.poll_now().await?;
        assert_eq!(answer.get("tag"), None, "{answer}");
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(
            reason.starts_with("v2.0.0 is no longer in the list"),
            "{answer}"
        );
        let status = tenant
            .until("it is told", |status| {
                status.conditions.iter().any(|c| c.reason == "TagVanished")
            })
            .await?;
        assert_eq!(status.desired_tag.as_deref(), Some("v2.0.0"));
        assert_eq!(status.last_applied_tag.as_deref(), Some("v2.0.0"));
        assert_eq!(tenant.jobs().await?.len(), 1);
        tenant
            .edit(json!({"registry": {"versionConstraint": "^1"}}))
            .await?;
        tenant.synced("v1.5.0").await?;
        Ok(())
    })
    .await
}
