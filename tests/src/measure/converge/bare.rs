//! The bare client: the library, the account and the connection settings of the executor, and
//! nothing but the writes themselves.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use werf_shared::bundle::WerfBundle;
use werf_shared::names::{annotation, label};

use super::ground::{Ground, until};
use super::number;
use super::objects::{self, NOBODY, create};

/// What the executor made for a bundle, to be made again and again.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    namespace: String,
    job: Value,
    secret: Option<Value>,
    bundle: Arc<WerfBundle>,
}

/// What is written for each Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    /// The Job, and its Secret where it has one.
    Job,
    /// All that makes a deployment durable, in the executor's order: the wish and the claim in a
    /// status, the Job, in the status that it exists, and leave to run.
    Everything,
}

impl Pattern {
    /// Reads what there is of a Job and its bundle.
    pub(super) async fn read(
        client: &Client,
        namespace: &str,
        job: &str,
        bundle: &str,
    ) -> anyhow::Result<Self> {
        let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let bundles: Api<WerfBundle> = Api::namespaced(client.clone(), namespace);
        let job = jobs.get(job).await?;
        let of_job = ListParams::default().labels(&format!(
            "{}={}",
            label::BUNDLE_UID,
            job.labels()
                .get(label::BUNDLE_UID)
                .context("a Job of no bundle")?
        ));
        let secret = secrets.list(&of_job).await?.items.into_iter().next();
        let secret = secret.map(|secret| {
            let mut labels = secret.metadata.labels.unwrap_or_default();
            labels.insert(label::MANAGED_BY.to_owned(), NOBODY.to_owned());
            json!({"metadata": {"labels": labels}, "immutable": true, "data": secret.data})
        });
        Ok(Self {
            namespace: namespace.to_owned(),
            job: objects::as_sent(&job)?,
            secret,
            bundle: Arc::new(bundles.get(bundle).await?),
        })
    }

    /// A Job of that name.
    pub(super) fn job(&self, name: &str) -> Value {
        let mut job = self.job.clone();
        job["metadata"]["name"] = json!(name);
        job
    }

    /// The bundle's stand-in.
    pub(super) fn stand_in(&self, name: &str) -> anyhow::Result<Value> {
        objects::stand_in(name, &self.bundle)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Jobs a second, seen as the executor's are.
pub(super) async fn rate(
    ground: &Ground,
    pattern: &Pattern,
    count: usize,
    at_once: usize,
    writes: Writes,
) -> anyhow::Result<f64> {
    let run = format!("bare-{:08x}", rand::random::<u32>());
    let names: Vec<_> = (0..count)
        .map(|i| format!("{run}-{i:03}-12345678"))
        .collect();
    let stand_ins = match writes {
        Writes::Job => Vec::new(),
        Writes::Everything => make_stand_ins(ground, pattern, &names).await?,
    };
    ground.audit.quiet().await?;
    let started = Instant::now();
    let making = names.iter().enumerate().map(|(index, name)| {
        let stand_in = stand_ins.get(index).cloned();
        async move { make(&ground.bare, pattern, name, stand_in).await }
    });
    let mut made = stream::iter(making).buffer_unordered(at_once);
    while made.try_next().await?.is_some() {}
    let of_run = |job: &super::sight::Seen| job.name.starts_with(&run);
    let seen = ground.sight.until(count, of_run).await?;
    let last = seen.iter().map(|job| job.at).max().context("no Jobs")?;
    remove(ground, pattern).await?;
    Ok(number(count) / (last - started).as_secs_f64())
}

async fn make_stand_ins(
    ground: &Ground,
    pattern: &Pattern,
    names: &[String],
) -> anyhow::Result<Vec<DynamicObject>> {
    let api = objects::stand_ins(&ground.admin, &pattern.namespace);
    let making = names
        .iter()
        .map(async |name| create(&api, pattern.stand_in(name)?).await);
    stream::iter(making).buffered(16).try_collect().await
}

async fn make(
    client: &Client,
    pattern: &Pattern,
    name: &str,
    mut stand_in: Option<DynamicObject>,
) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &pattern.namespace);
    for _ in 0..2 {
        store(client, pattern, &mut stand_in).await?;
    }
    let job = create(&jobs, pattern.job(name)).await?;
    if let Some(secret) = &pattern.secret {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &pattern.namespace);
        let mut secret = secret.clone();
        secret["metadata"]["name"] = json!(format!("{name}-values"));
        secret["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.uid(),
            "controller": true,
        }]);
        create(&secrets, secret).await?;
    }
    store(client, pattern, &mut stand_in).await?;
    if stand_in.is_some() {
        let patch = json!({
            "metadata": {"uid": job.uid(), "annotations": {annotation::RELEASED: "true"}},
            "spec": {"suspend": false},
        });
        let params = PatchParams::default();
        jobs.patch(name, &params, &Patch::Merge(&patch)).await?;
    }
    Ok(())
}

/// Stores the status of a stand-in under its resourceVersion, with something changed in it.
async fn store(
    client: &Client,
    pattern: &Pattern,
    stand_in: &mut Option<DynamicObject>,
) -> anyhow::Result<()> {
    let Some(known) = stand_in else {
        return Ok(());
    };
    known.metadata.managed_fields = None;
    let mut status = serde_json::to_value(&pattern.bundle.status)?;
    let nonce = format!("v1.0.0-{:08x}", rand::random::<u32>());
    status["desiredTag"] = json!(nonce);
    known.data["status"] = status;
    let api = objects::stand_ins(client, &pattern.namespace);
    let params = PostParams::default();
    *known = api
        .replace_status(&known.name_any(), &params, known)
        .await?;
    Ok(())
}

/// Removes all that was made. There is no garbage collector.
async fn remove(ground: &Ground, pattern: &Pattern) -> anyhow::Result<()> {
    let jobs: Api<Job> = Api::namespaced(ground.admin.clone(), &pattern.namespace);
    let secrets: Api<Secret> = Api::namespaced(ground.admin.clone(), &pattern.namespace);
    let ours = ListParams::default().labels(&format!("{}={NOBODY}", label::MANAGED_BY));
    let params = DeleteParams::background();
    jobs.delete_collection(&params, &ours).await?;
    until("the bare Jobs are gone", async || {
        Ok(jobs.list_metadata(&ours).await?.items.is_empty())
    })
    .await?;
    secrets.delete_collection(&params, &ours).await?;
    Ok(())
}

/// The rights of the executor do not reach stand-ins; these do.
pub(super) fn rights() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
         "metadata": {"name": "stand-ins"},
         "rules": [{"apiGroups": ["measured.werf.io"], "resources": ["standins", "standins/status"],
                    "verbs": ["*"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
         "metadata": {"name": "stand-ins"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                     "name": "stand-ins"},
         "subjects": [{"kind": "ServiceAccount", "name": "werf-operator-executor",
                       "namespace": crate::operator::NAMESPACE}]},
    ]})
}
