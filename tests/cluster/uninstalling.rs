//! What a bundle takes with it when it is deleted, and what it leaves.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use werf_shared::bundle::WerfBundleStatus;
use werf_shared::bundle::status::JobStatus;

use crate::bed::RUN;
use crate::owning::{open_namespace, ready};
use crate::tenant::{BUNDLE, Tenant, in_namespace, in_namespace_roughly};

async fn releases(tenant: &Tenant, namespace: &str) -> anyhow::Result<usize> {
    let secrets: Api<Secret> = Api::namespaced(tenant.bed.client.clone(), namespace);
    let of_helm = ListParams::default().labels("owner=helm");
    Ok(secrets.list(&of_helm).await?.items.len())
}

async fn jobs_in(tenant: &Tenant, namespace: &str) -> anyhow::Result<Vec<Job>> {
    let jobs: Api<Job> = Api::namespaced(tenant.bed.client.clone(), namespace);
    Ok(jobs.list(&ListParams::default()).await?.items)
}

async fn begin_to_delete(tenant: &Tenant) -> anyhow::Result<()> {
    let params = DeleteParams::default();
    tenant.bundles().delete(BUNDLE, &params).await?;
    Ok(())
}

async fn gone(tenant: &Tenant) -> anyhow::Result<()> {
    tenant
        .eventually("the bundle is gone", async || {
            Ok(tenant.bundles().get_opt(BUNDLE).await?.is_none())
        })
        .await
}

/// Has a bundle with this spec run a Job in a namespace beside the tenant's; returns its Jobs.
async fn run_for_long_in(
    tenant: &Tenant,
    namespace: &str,
    spec: &Value,
) -> anyhow::Result<Vec<Job>> {
    tenant.apply(&open_namespace(namespace)).await?;
    tenant.publish("v1.0.0-slow5m").await?;
    tenant.follow(spec.clone()).await?;
    tenant.running().await?;
    jobs_in(tenant, namespace).await
}

fn failing_for(words: &str) -> impl Fn(&WerfBundleStatus) -> bool {
    move |status| {
        let (reason, message) = ready(status);
        reason == "UninstallFailed" && message.contains(words)
    }
}

#[tokio::test]
async fn what_was_deployed_goes_with_its_bundle_when_that_says_so() -> anyhow::Result<()> {
    in_namespace("uninstalling", async |tenant| {
        let target = format!("uninstalling-from-{}", *RUN);
        tenant.apply(&open_namespace(&target)).await?;
        tenant.publish("v1.0.0").await?;
        tenant
            .follow(json!({"converge": {
                "targetNamespace": target, "deletionPolicy": "Uninstall",
            }}))
            .await?;
        let status = tenant.synced("v1.0.0").await?;
        let release = status.release.unwrap_or_default();
        assert_eq!(
            (release.namespace, &*release.name),
            (target.clone(), BUNDLE)
        );
        assert_eq!(releases(tenant, &target).await?, 1);
        // A suspended bundle is uninstalled all the same.
        tenant.edit(json!({"suspend": true})).await?;
        tenant.delete().await?;
        assert_eq!(releases(tenant, &target).await?, 0);
        let services: Api<Service> = Api::namespaced(tenant.bed.client.clone(), &target);
        assert!(services.get_opt(BUNDLE).await?.is_none());
        assert!(jobs_in(tenant, &target).await?.is_empty());
        // It is told after the bundle has gone.
        tenant
            .eventually("it is told", async || {
                let events = tenant.events().await?;
                Ok(events.iter().any(|(reason, _)| reason == "Uninstalled"))
            })
            .await
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_uninstalled_says_why_until_somebody_decides() -> anyhow::Result<()> {
    in_namespace("clinging", async |tenant| {
        tenant.publish("v1.0.0").await?;
        let uninstall = json!({"converge": {"deletionPolicy": "Uninstall"}});
        tenant.follow(uninstall).await?;
        tenant.synced("v1.0.0").await?;
        let api = "rbac.authorization.k8s.io/v1";
        let reader = json!({"apiVersion": api, "kind": "Role",
            "metadata": {"name": "werf-converge", "namespace": tenant.namespace},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]});
        tenant.apply(&reader).await?;
        begin_to_delete(tenant).await?;
        let status = tenant
            .until("it is told", failing_for("pod failed with exit code 1"))
            .await?;
        assert_eq!(status.last_job_logs, None);
        let uninstall = status.uninstall.unwrap();
        assert_eq!(uninstall.result, JobStatus::Failed);
        let job = format!("job/{}", uninstall.job);
        let log = ["logs", &job, "-n", &tenant.namespace];
        let log = tenant.bed.kubectl(&log).await?;
        assert!(log.contains("forbidden"), "{log}");

        let account = ["serviceaccount", "werf-converge", "-n", &tenant.namespace];
        tenant.bed.kubectl(&[&["delete"], &account[..]].concat()).await?;
        let words = "ServiceAccount werf-converge does not exist in namespace";
        tenant.until("the account is missed", failing_for(words)).await?;

        tenant
            .edit(json!({"converge": {"deletionPolicy": "Retain"}}))
            .await?;
        gone(tenant).await?;
        assert_eq!(releases(tenant, &tenant.namespace).await?, 1);
        assert!(tenant.jobs().await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn with_its_namespace_gone_nothing_is_left_to_uninstall() -> anyhow::Result<()> {
    in_namespace("uprooted", async |tenant| {
        let target = format!("uprooted-from-{}", *RUN);
        tenant.apply(&open_namespace(&target)).await?;
        tenant.publish("v1.0.0").await?;
        tenant
            .follow(json!({"converge": {
                "targetNamespace": target, "deletionPolicy": "Uninstall",
            }}))
            .await?;
        tenant.synced("v1.0.0").await?;
        tenant.edit(json!({"suspend": true})).await?;
        tenant
            .bed
            .kubectl(&["delete", "namespace", &target])
            .await?;
        tenant.delete().await
    })
    .await
}

#[tokio::test]
async fn a_bundle_says_which_job_it_waits_for_when_that_does_not_go() -> anyhow::Result<()> {
    in_namespace("held-up", async |tenant| {
        let pods: Api<Pod> = Api::namespaced(tenant.bed.client.clone(), &tenant.namespace);
        let hold = async |finalizers: Value| {
            let held = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
            let running = pods.list(&ListParams::default()).await?.items;
            for pod in &running {
                let params = PatchParams::default();
                pods.patch(&pod.name_any(), &params, &held).await?;
            }
            anyhow::Ok(!running.is_empty())
        };
        tenant.publish("v1.0.0-slow5m").await?;
        tenant.follow(json!({})).await?;
        let job = tenant.running().await?.active_job_name.unwrap_or_default();
        tenant
            .eventually("its Pod is held", async || {
                hold(json!(["example.com/held"])).await
            })
            .await?;
        begin_to_delete(tenant).await?;
        let told = tenant
            .until("it says what it waits for", |status| {
                ready(status).0 == "Leaving"
            })
            .await;
        hold(Value::Null).await?;
        let told = told?;
        let (_, message) = ready(&told);
        let named = format!("Waiting for Job {job} in namespace {}", tenant.namespace);
        assert!(message.starts_with(&named), "{message}");
        gone(tenant).await
    })
    .await
}

#[tokio::test]
async fn a_bundle_made_again_never_meets_the_jobs_of_the_one_before() -> anyhow::Result<()> {
    in_namespace("reborn", async |tenant| {
        let target = format!("reborn-in-{}", *RUN);
        let there = json!({"converge": {"targetNamespace": target}});
        let before = run_for_long_in(tenant, &target, &there).await?;
        tenant.delete().await?;
        // Nobody waits for anything here.
        tenant.publish("v1.1.0").await?;
        tenant.follow(there).await?;
        let status = tenant.synced("v1.1.0").await?;
        assert_eq!((status.run, status.history.len()), (1, 1));
        let after = jobs_in(tenant, &target).await?;
        assert_eq!(after.len(), 1);
        assert_ne!(after[0].uid(), before[0].uid());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn jobs_of_a_bundle_that_was_torn_off_its_finalizer_are_removed() -> anyhow::Result<()> {
    in_namespace_roughly("torn-off", async |tenant| {
        let target = format!("torn-off-in-{}", *RUN);
        let there = json!({"converge": {"targetNamespace": target}});
        let before = run_for_long_in(tenant, &target, &there).await?;

        let torn = async {
            tenant.bed.scale("executor", 0).await?;
            begin_to_delete(tenant).await?;
            let bare = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let params = PatchParams::default();
            tenant.bundles().patch(BUNDLE, &params, &bare).await?;
            gone(tenant).await?;
            tenant.publish("v1.1.0").await?;
            tenant.follow(there).await
        }
        .await;
        tenant.bed.scale("executor", 1).await?;
        torn?;
        let status = tenant.synced("v1.1.0").await?;
        assert_eq!((status.run, status.history.len()), (1, 1));
        tenant
            .eventually("the other one's Job is gone", async || {
                let jobs = jobs_in(tenant, &target).await?;
                Ok(jobs.iter().all(|job| job.uid() != before[0].uid()))
            })
            .await
    })
    .await
}
