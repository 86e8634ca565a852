//! One team on the cluster: a namespace with the RBAC of the guides, a repository, a bundle.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::bundle::{Bundle, Repository};
use werf_shared::bundle::status::{JobStatus, Phase};
use werf_shared::bundle::{WerfBundle, WerfBundleStatus};

use crate::bed::{Bed, RUN, RUN_LABEL};
use crate::turn::Turn;

mod asking;
mod forbidding;

/// How long anything may take. Tests share two cores, and killed services are restarted with growing
/// delays. A real werf is heavier than its stand-in.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if werf_is_real() { 400 } else { 150 })
}

fn werf_is_real() -> bool {
    std::env::var_os("WERF_BINARY").is_some()
}

/// How often it is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The bundle every tenant has.
pub(crate) const BUNDLE: &str = "my-app";

pub(crate) struct Tenant {
    pub(crate) bed: Bed,
    pub(crate) namespace: String,
    pub(crate) repository: Repository,
    path: String,
}

/// Runs a test in a namespace of its own; when it fails, tells what can be seen there.
pub(crate) async fn in_namespace(
    name: &str,
    test: impl AsyncFnOnce(&Tenant) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(Turn::gentle().await?, name, test).await
}

/// The same for a test that kills services.
pub(crate) async fn in_namespace_roughly(
    name: &str,
    test: impl AsyncFnOnce(&Tenant) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(Turn::rough().await, name, test).await
}

/// The same for a test beside which none of the others can run.
pub(crate) async fn in_namespace_alone(
    name: &str,
    test: impl AsyncFnOnce(&Tenant) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(Turn::alone().await, name, test).await
}

async fn run(
    _turn: Turn,
    name: &str,
    test: impl AsyncFnOnce(&Tenant) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let bed = Bed::ready().await?;
    let namespace = format!("{name}-{}", *RUN);
    let path = format!("tenants/{namespace}");
    let tenant = Tenant {
        repository: Repository::new(&bed.cluster.registry_from_host(), &path)?,
        namespace,
        bed,
        path,
    };
    tenant.settle_in().await?;
    match test(&tenant).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let seen = tenant.everything().await;
            Err(error.context(format!(
                "in namespace {}, where this is seen:\n{seen}\n",
                tenant.namespace
            )))
        }
    }
}

impl Tenant {
    async fn settle_in(&self) -> anyhow::Result<()> {
        let (namespace, account) = (&self.namespace, "werf-converge");
        let api = "rbac.authorization.k8s.io";
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            namespace_object(namespace),
            {"apiVersion": "v1", "kind": "ServiceAccount",
             "metadata": {"name": account, "namespace": namespace}},
            {"apiVersion": format!("{api}/v1"), "kind": "Role",
             "metadata": {"name": account, "namespace": namespace},
             "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
            {"apiVersion": format!("{api}/v1"), "kind": "RoleBinding",
             "metadata": {"name": account, "namespace": namespace},
             "roleRef": {"apiGroup": api, "kind": "Role", "name": account},
             "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]},
        ]});
        self.apply(&objects).await
    }

    pub(crate) async fn apply(&self, objects: &Value) -> anyhow::Result<()> {
        let text = objects.to_string();
        self.bed
            .access
            .kubectl_with(&["apply", "-f", "-"], &text)
            .await?;
        Ok(())
    }

    /// Publishes the demo application under a tag.
    pub(crate) async fn publish(&self, tag: &str) -> anyhow::Result<String> {
        let bundle = Bundle::demo(tag, &self.bed.images.busybox)?;
        self.repository.push(tag, &bundle).await
    }

    /// The spec of a bundle that follows this tenant's repository, with some fields changed.
    pub(crate) fn spec(&self, changes: Value) -> Value {
        let host = self.bed.cluster.registry_in_cluster();
        // Several tests deploy at once on two cores.
        let (cpu, memory, timeout) = if werf_is_real() {
            ("500m", "512Mi", "5m")
        } else {
            ("150m", "256Mi", "2m")
        };
        let mut spec = json!({
            "registry": {
                "url": format!("{host}/{}", self.path),
                "insecure": true,
                "pollInterval": "1m",
            },
            "converge": {
                "serviceAccountName": "werf-converge",
                "resourceLimits": {"cpu": cpu, "memory": memory},
                "timeout": timeout,
            },
        });
        merge(&mut spec, changes);
        spec
    }

    /// Creates the bundle with some fields of its spec changed.
    pub(crate) async fn follow(&self, changes: Value) -> anyhow::Result<()> {
        let bundle = json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": {"name": BUNDLE, "namespace": self.namespace},
            "spec": self.spec(changes),
        });
        self.apply(&bundle).await
    }

    pub(crate) fn bundles(&self) -> Api<WerfBundle> {
        Api::namespaced(self.bed.client.clone(), &self.namespace)
    }

    pub(crate) async fn status(&self) -> anyhow::Result<WerfBundleStatus> {
        let bundle = self.bundles().get(BUNDLE).await?;
        Ok(bundle.status.unwrap_or_default())
    }

    /// Changes the bundle's spec.
    pub(crate) async fn edit(&self, spec: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.bundles()
            .patch(BUNDLE, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Sets annotations of the bundle, as people do: `key=value`, or `key-` to remove one.
    pub(crate) async fn annotate(&self, annotations: &[&str]) -> anyhow::Result<()> {
        let bundle = [
            "annotate",
            "--overwrite",
            "-n",
            &self.namespace,
            "wb",
            BUNDLE,
        ];
        let arguments = [&bundle, annotations].concat();
        self.bed.kubectl(&arguments).await?;
        Ok(())
    }

    pub(crate) async fn delete(&self) -> anyhow::Result<()> {
        self.bundles()
            .delete(BUNDLE, &DeleteParams::default())
            .await?;
        self.eventually("the bundle is gone", async || {
            Ok(self.bundles().get_opt(BUNDLE).await?.is_none())
        })
        .await
    }

    /// Waits until the status is as wished.
    pub(crate) async fn until(
        &self,
        what: &str,
        wish: impl Fn(&WerfBundleStatus) -> bool,
    ) -> anyhow::Result<WerfBundleStatus> {
        let started = Instant::now();
        loop {
            let status = self.status().await?;
            if wish(&status) {
                return Ok(status);
            }
            if started.elapsed() > patience() {
                bail!("never: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(
        &self,
        what: &str,
        holds: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !holds().await? {
            if started.elapsed() > patience() {
                bail!("never: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    pub(crate) async fn synced(&self, tag: &str) -> anyhow::Result<WerfBundleStatus> {
        self.until(&format!("{tag} is deployed"), |status| {
            status.phase == Some(Phase::Synced) && status.last_applied_tag.as_deref() == Some(tag)
        })
        .await
    }

    pub(crate) async fn running(&self) -> anyhow::Result<WerfBundleStatus> {
        self.until("a Job runs", |status| {
            status.last_job_status == Some(JobStatus::Running)
        })
        .await
    }

    /// The Jobs of this tenant.
    pub(crate) async fn jobs(&self) -> anyhow::Result<Vec<Job>> {
        let jobs: Api<Job> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        Ok(jobs.list(&ListParams::default()).await?.items)
    }

    /// The Secrets in a namespace that Jobs own.
    pub(crate) async fn secrets_of_jobs(&self, namespace: &str) -> anyhow::Result<Vec<Secret>> {
        let secrets: Api<Secret> = Api::namespaced(self.bed.client.clone(), namespace);
        let mut listed = secrets.list(&ListParams::default()).await?.items;
        listed.retain(|secret| secret.owner_references().iter().any(|o| o.kind == "Job"));
        Ok(listed)
    }

    /// Events about the bundle: reason and note.
    pub(crate) async fn events(&self) -> anyhow::Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.bed.client.clone(), &self.namespace);
        let about = ListParams::default().fields("involvedObject.kind=WerfBundle");
        let listed = events.list(&about).await?;
        Ok(listed
            .into_iter()
            .map(|event| {
                let note = event.message.unwrap_or_default();
                (event.reason.unwrap_or_default(), note)
            })
            .collect())
    }

    /// Waits until there is an Event about the bundle with such a reason and note: Events are told
    /// after what they are about was stored.
    pub(crate) async fn told(
        &self,
        what: &str,
        is_it: impl Fn(&str, &str) -> bool,
    ) -> anyhow::Result<()> {
        self.eventually(&format!("it is told: {what}"), async || {
            let events = self.events().await?;
            Ok(events.iter().any(|(reason, note)| is_it(reason, note)))
        })
        .await
    }

    /// Creates the bundle and expects the apiserver to refuse it; returns its words.
    pub(crate) async fn refusal(&self, name: &str, spec: &Value) -> anyhow::Result<String> {
        let bundle = serde_json::from_value(json!({
            "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }))?;
        let bundles: Api<kube::core::DynamicObject> = Api::namespaced_with(
            self.bed.client.clone(),
            &self.namespace,
            &kube::core::ApiResource::erase::<WerfBundle>(&()),
        );
        match bundles
            .create(
                &PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
                &bundle,
            )
            .await
        {
            Ok(_) => bail!("{name} was not refused: {spec}"),
            Err(kube::Error::Api(status)) => Ok(status.message.clone()),
            Err(error) => Err(error).context("not a refusal"),
        }
    }

    async fn everything(&self) -> String {
        let looks: [&[&str]; 5] = [
            &["get", "werfbundle", BUNDLE, "-o", "yaml"],
            &["get", "jobs,pods,events"],
            &[
                "logs",
                "-l",
                "app.kubernetes.io/name=werf-operator",
                "--tail=20",
            ],
            &["-n", testbed::operator::NAMESPACE, "get", "pods"],
            &[
                "-n",
                testbed::operator::NAMESPACE,
                "logs",
                "-l",
                "control-plane=controller-manager",
                "--tail=40",
                "--prefix",
            ],
        ];
        let mut seen = String::new();
        for look in looks {
            let arguments = [&["-n", &self.namespace], look].concat();
            let text = self.bed.kubectl(&arguments).await;
            let text = text.unwrap_or_else(|error| format!("{error:#}"));
            seen.extend(["--- kubectl ", &look.join(" "), "\n", &text, "\n"]);
        }
        seen
    }
}

/// A namespace that the next run on the same cluster takes away.
pub(crate) fn namespace_object(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {RUN_LABEL: *RUN}},
    })
}

/// Merges as RFC 7386 does, but for nulls.
fn merge(target: &mut Value, changes: Value) {
    match (target, changes) {
        (Value::Object(target), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(target.entry(key).or_insert(Value::Null), change);
            }
        }
        (target, changes) => *target = changes,
    }
}

/// How many Jobs each run had: what must be one.
pub(crate) fn jobs_per_attempt(jobs: &[Job]) -> Vec<usize> {
    let mut counts = std::collections::BTreeMap::<(String, String), usize>::new();
    for job in jobs {
        let of = |key: &str| job.annotations().get(key).cloned().unwrap_or_default();
        let attempt = (of("operator.werf.io/run"), of("operator.werf.io/attempt"));
        *counts.entry(attempt).or_default() += 1;
    }
    counts.into_values().collect()
}
