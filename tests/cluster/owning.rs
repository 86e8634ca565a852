//! Who works on what: one bundle per release, names that others took, and what becomes of namespaces
//! that are missing or going.

use anyhow::Context as _;
use kube::ResourceExt;
use serde_json::{Value, json};
use werf_shared::bundle::WerfBundleStatus;
use werf_shared::bundle::condition::{self, ConditionType};
use werf_shared::bundle::status::Phase;
use werf_shared::names::{self, annotation, label};

use crate::bed::RUN;
use crate::tenant::{BUNDLE, in_namespace, jobs_per_attempt, namespace_object};

/// The `Ready` condition: reason and message.
pub(crate) fn ready(status: &WerfBundleStatus) -> (&str, &str) {
    condition::find(&status.conditions, ConditionType::Ready)
        .map_or(("", ""), |ready| (&ready.reason, &ready.message))
}

/// A namespace beside the tenant's in which everybody may do everything.
pub(crate) fn open_namespace(name: &str) -> Value {
    let api = "rbac.authorization.k8s.io";
    json!({"apiVersion": "v1", "kind": "List", "items": [
        namespace_object(name),
        {"apiVersion": "v1", "kind": "ServiceAccount",
         "metadata": {"name": "werf-converge", "namespace": name}},
        {"apiVersion": format!("{api}/v1"), "kind": "RoleBinding",
         "metadata": {"name": "werf-converge", "namespace": name},
         "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
         "subjects": [{"kind": "ServiceAccount", "name": "werf-converge", "namespace": name}]},
    ]})
}

#[tokio::test]
async fn of_two_bundles_that_name_one_release_the_older_deploys_and_the_other_takes_over()
-> anyhow::Result<()> {
    in_namespace("rivals", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        let elsewhere = format!("rivals-too-{}", *RUN);
        tenant.apply(&open_namespace(&elsewhere)).await?;
        let spec = tenant.spec(json!({"converge": {
            "targetNamespace": tenant.namespace, "releaseName": BUNDLE,
        }}));
        let rival = json!({"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
            "metadata": {"name": "rival", "namespace": elsewhere}, "spec": spec});
        tenant.apply(&rival).await?;
        let look = |path: &str| {
            let path = format!("jsonpath={{{path}}}");
            let elsewhere = elsewhere.clone();
            async move {
                let get = ["get", "werfbundle", "rival", "-n", &elsewhere, "-o", &path];
                tenant.bed.kubectl(&get).await
            }
        };
        tenant
            .eventually("the younger one is told", async || {
                let reason = look(r#".status.conditions[?(@.type=="Ready")].reason"#).await?;
                Ok(reason == "ReleaseConflict")
            })
            .await?;
        let message = look(".status.lastErrorMessage").await?;
        let owner = format!(
            "release {BUNDLE} in namespace {0} belongs to WerfBundle {BUNDLE} in namespace {0}",
            tenant.namespace
        );
        assert!(message.starts_with(&owner), "{message}");
        assert_eq!(tenant.jobs().await?.len(), 1, "it has made a Job");

        // The owner goes, and leaves the release behind.
        tenant.delete().await?;
        tenant
            .eventually("the other takes over", async || {
                Ok(look(".status.lastAppliedTag").await? == "v1.0.0")
            })
            .await
    })
    .await
}

#[tokio::test]
async fn a_name_that_somebody_took_is_left_to_them_and_told() -> anyhow::Result<()> {
    in_namespace("squatted", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({"suspend": true})).await?;
        let bundle = tenant.bundles().get(BUNDLE).await?;
        let uid = bundle.uid().context("no uid")?;
        let name = names::job(BUNDLE, "v1.0.0", &uid, 1, 1);
        let image = &tenant.bed.images.busybox;
        tenant
            .apply(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": tenant.namespace},
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "theirs", "image": image}],
            }}}}))
            .await?;
        tenant.edit(json!({"suspend": false})).await?;
        let status = tenant
            .until("it is told", |status| ready(status).0 == "JobNameConflict")
            .await?;
        assert!(ready(&status).1.contains(&name), "{:?}", ready(&status));
        let is_it = |reason: &str, _: &str| reason == "JobNameConflict";
        tenant.told("the name is taken", is_it).await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!(status.run, 2);
        let theirs = tenant.jobs().await?;
        let theirs = theirs.iter().find(|job| job.name_any() == name);
        let ours = "operator.werf.io/bundle-uid";
        assert!(
            theirs.is_some_and(|job| !job.labels().contains_key(ours)
                && !job.annotations().contains_key("operator.werf.io/released")),
            "{theirs:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_used_up_quota_for_jobs_is_told_and_heals() -> anyhow::Result<()> {
    in_namespace("crowded", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.forbid("count/jobs.batch").await?;
        tenant.follow(json!({})).await?;
        let status = tenant
            .until("it is told", |status| status.phase == Some(Phase::Failed))
            .await?;
        let (reason, message) = ready(&status);
        assert_eq!(reason, "QuotaExceeded");
        assert!(message.contains("exceeded quota: none"), "{message}");
        tenant.permit().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.last_error_message), (1, None));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_used_up_quota_for_secrets_is_told_and_its_job_waits() -> anyhow::Result<()> {
    in_namespace("secretive", async |tenant| {
        tenant.publish("v1.0.0").await?;
        let password = format!("password: {:032x}\n", rand::random::<u128>());
        tenant
            .apply(&json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "secrets", "namespace": tenant.namespace},
            "stringData": {"values.yaml": password}}))
            .await?;
        tenant.allow_at_most(1, "count/secrets", 1).await?;
        let values = json!([{"secretRef": {"name": "secrets"}}]);
        tenant
            .follow(json!({"converge": {"valuesFrom": values}}))
            .await?;
        let status = tenant
            .until("it is told", |status| ready(status).0 == "QuotaExceeded")
            .await?;
        assert_eq!(status.last_job_status, None);
        let message = ready(&status).1;
        assert!(message.ends_with(": exceeded quota"), "{message}");
        let jobs = tenant.jobs().await?;
        assert_eq!(jobs_per_attempt(&jobs), [1]);
        let spec = jobs[0].spec.as_ref().context("no spec")?;
        assert_eq!(spec.suspend, Some(true), "it runs without its values");
        tenant.permit().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.last_error_message), (1, None));
        assert_eq!(tenant.jobs().await?[0].uid(), jobs[0].uid());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_that_a_policy_refuses_is_told_in_its_words_and_heals() -> anyhow::Result<()> {
    in_namespace("policed", async |tenant| {
        tenant.publish("v1.0.0").await?;
        let jobs = json!({
            "apiGroups": ["batch"], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["jobs"],
        });
        let attempt = ["create", "job", "any", "--image=any"];
        tenant.refuse(jobs, "false", &attempt).await?;
        tenant.follow(json!({})).await?;
        let status = tenant
            .until("it is told", |status| ready(status).0 == "Refused")
            .await?;
        let message = ready(&status).1;
        assert!(message.starts_with("cannot create the Job: "), "{message}");
        assert!(message.ends_with("not now"), "{message}");
        assert!(tenant.jobs().await?.is_empty());
        tenant.refuse_no_more().await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.last_error_message), (1, None));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_that_was_left_over_does_not_use_up_a_quota_for_ever() -> anyhow::Result<()> {
    in_namespace("left-over", async |tenant| {
        tenant.publish("v1.0.0").await?;
        tenant.follow(json!({})).await?;
        tenant.synced("v1.0.0").await?;
        // As an executor leaves it that dies before it can let it run.
        let uid = tenant.bundles().get(BUNDLE).await?.uid();
        let container = json!({"name": "werf", "image": "registry.example.com/werf"});
        tenant
            .apply(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "left-over", "namespace": tenant.namespace,
                "labels": {label::BUNDLE_UID: uid},
                "annotations": {annotation::RUN: "1", annotation::ATTEMPT: "1"},
            },
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never", "containers": [container],
            }}}}))
            .await?;
        tenant.allow_at_most(2, "count/jobs.batch", 2).await?;
        tenant.publish("v1.1.0").await?;
        tenant.annotate(&["operator.werf.io/reconcile=now"]).await?;
        tenant.synced("v1.1.0").await?;
        let jobs = tenant.jobs().await?;
        assert!(jobs.iter().all(|job| job.name_any() != "left-over"));
        // Or else the quota had room.
        let is_it = |_: &str, note: &str| note.contains("exceeded quota: none");
        tenant.told("the quota refused", is_it).await
    })
    .await
}

#[tokio::test]
async fn a_target_namespace_may_be_going_or_missing_or_come_back() -> anyhow::Result<()> {
    in_namespace("wanderer", async |tenant| {
        let target = format!("wanderer-to-{}", *RUN);
        tenant.publish("v1.0.0").await?;
        tenant.apply(&open_namespace(&target)).await?;
        tenant
            .apply(&json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "holds", "namespace": target, "finalizers": ["test.werf.io/hold"]}}))
            .await?;
        let delete = ["delete", "namespace", &target, "--wait=false"];
        tenant.bed.kubectl(&delete).await?;
        tenant
            .follow(json!({"converge": {"targetNamespace": target}}))
            .await?;
        let reason = async |wanted: &str| {
            tenant
                .until(wanted, |status| ready(status).0 == wanted)
                .await
        };
        let status = reason("TargetNamespaceTerminating").await?;
        assert_eq!(
            status.last_error_message,
            Some(format!("namespace {target} is being deleted"))
        );
        let release = ["patch", "configmap", "holds", "-n", &target, "--type=merge", "-p"];
        let nothing = [r#"{"metadata":{"finalizers":null}}"#];
        tenant.bed.kubectl(&[&release[..], &nothing].concat()).await?;
        reason("TargetNamespaceNotFound").await?;
        tenant.apply(&open_namespace(&target)).await?;
        let status = tenant.synced("v1.0.0").await?;
        assert_eq!((status.run, status.last_error_message), (1, None));
        Ok(())
    })
    .await
}
