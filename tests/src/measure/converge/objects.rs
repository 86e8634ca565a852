//! The objects of the measurement: bundles as people write them, Jobs that end because we say so,
//! and copies of Jobs and bundles for the bare client.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use werf_shared::bundle::WerfBundle;
use werf_shared::names::{annotation, label};

use super::sight::Seen;

/// Who Jobs run as.
const ACCOUNT: &str = "deployer";

/// Whom the bare client's Jobs belong to: as long as the operator's name, and nobody watches them.
pub(super) const NOBODY: &str = "nobody-at-all";

/// Objects that are made at the same time where nothing is measured.
const AT_ONCE: usize = 16;

/// A bundle of a repository, with a Secret of its name for values or without.
pub(super) fn bundle(name: &str, url: &str, secret: bool) -> Value {
    let mut bundle = json!({
        "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle", "metadata": {"name": name},
        "spec": {
            "registry": {"url": url, "pollInterval": "1h"},
            "converge": {
                "serviceAccountName": ACCOUNT,
                "resourceLimits": {"cpu": "1", "memory": "512Mi"},
            },
        },
    });
    if secret {
        bundle["spec"]["converge"]["valuesFrom"] = json!([{"secretRef": {"name": name}}]);
    }
    bundle
}

/// The values of a bundle.
pub(super) fn secret(name: &str) -> Value {
    let values = format!("database:\n  host: db.example.com\n  password: secret-of-{name}\n");
    json!({"metadata": {"name": name}, "stringData": {"values.yaml": values}})
}

/// The stand-in for a bundle, which the executor does not watch: the same schema by another name.
pub(super) fn stand_ins(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(STAND_IN_GROUP, "v1alpha1", STAND_IN_KIND);
    let resource = ApiResource::from_gvk_with_plural(&kind, "standins");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

const STAND_IN_GROUP: &str = "measured.werf.io";
const STAND_IN_KIND: &str = "StandIn";

/// The definition of the stand-ins, made from that of bundles.
pub(super) fn stand_in_definition(bundles: &str) -> anyhow::Result<Value> {
    let mut definition: Value = serde_saphyr::from_str(bundles)?;
    definition["metadata"]["name"] = json!(format!("standins.{STAND_IN_GROUP}"));
    let spec = definition.get_mut("spec").context("a CRD without spec")?;
    spec["group"] = json!(STAND_IN_GROUP);
    spec["names"] = json!({"kind": STAND_IN_KIND, "plural": "standins", "singular": "standin"});
    Ok(definition)
}

/// A bundle as its stand-in.
pub(super) fn stand_in(name: &str, bundle: &WerfBundle) -> anyhow::Result<Value> {
    Ok(json!({
        "apiVersion": format!("{STAND_IN_GROUP}/v1alpha1"), "kind": STAND_IN_KIND,
        "metadata": {"name": name, "finalizers": bundle.metadata.finalizers},
        "spec": serde_json::to_value(&bundle.spec)?,
        "status": serde_json::to_value(&bundle.status)?,
    }))
}

/// Makes a namespace with an account for Jobs.
pub(super) async fn make_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    create::<Namespace>(
        &Api::all(client.clone()),
        json!({"metadata": {"name": name}}),
    )
    .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    create(&accounts, json!({"metadata": {"name": ACCOUNT}})).await?;
    Ok(())
}

/// Makes bundles, and Secrets for their values.
pub(super) async fn make_bundles(
    client: &Client,
    namespace: &str,
    names: &[String],
    with_secret: bool,
) -> anyhow::Result<Vec<WerfBundle>> {
    let bundles: Api<WerfBundle> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let making = names.iter().map(async |name| {
        if with_secret {
            create(&secrets, secret(name)).await?;
        }
        create(&bundles, bundle(name, REPOSITORY, with_secret)).await
    });
    stream::iter(making).buffered(AT_ONCE).try_collect().await
}

/// The repository of bundles that nobody polls for.
const REPOSITORY: &str = "registry.example.com/measured/app";

/// Makes an object.
pub(super) async fn create<K>(api: &Api<K>, object: Value) -> anyhow::Result<K>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object = serde_json::from_value(object)?;
    Ok(api.create(&PostParams::default(), &object).await?)
}

/// Ends Jobs well.
pub(super) async fn end_jobs(client: &Client, jobs: &[Seen]) -> anyhow::Result<()> {
    let ending = jobs.iter().map(|job| end_job(client, job));
    let mut ended = stream::iter(ending).buffer_unordered(AT_ONCE);
    while ended.try_next().await?.is_some() {}
    Ok(())
}

/// Ends a Job well, as the Job controller would.
pub(super) async fn end_job(client: &Client, job: &Seen) -> anyhow::Result<()> {
    let api: Api<Job> = Api::namespaced(client.clone(), &job.namespace);
    let status = Patch::Merge(json!({"status": ended()}));
    let params = PatchParams::default();
    api.patch_status(&job.name, &params, &status).await?;
    Ok(())
}

/// The status of a Job that has ended well.
pub(super) fn ended() -> Value {
    let now = werf_shared::clock::now();
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str| {
        json!({"type": kind, "status": "True", "reason": "CompletionsReached",
               "message": "Reached expected number of succeeded pods",
               "lastProbeTime": now, "lastTransitionTime": now})
    };
    let conditions = ["SuccessCriteriaMet", "Complete"].map(condition);
    json!({"startTime": now, "completionTime": now, "active": 0, "succeeded": 1,
           "conditions": conditions})
}

/// What the executor sent to make this Job, but for names: without all that the apiserver added.
pub(super) fn as_sent(job: &Job) -> anyhow::Result<Value> {
    let mut job = serde_json::to_value(job)?;
    let metadata = object(&mut job, "/metadata")?;
    metadata.retain(|key, _| {
        let sent = ["namespace", "labels", "annotations", "ownerReferences"];
        sent.contains(&key.as_str())
    });
    object(&mut job, "/metadata/annotations")?.remove(annotation::RELEASED);
    unlabel(object(&mut job, "/metadata/labels")?);
    let spec = object(&mut job, "/spec")?;
    spec.retain(|key, _| {
        let sent = [
            "backoffLimit",
            "activeDeadlineSeconds",
            "ttlSecondsAfterFinished",
            "template",
        ];
        sent.contains(&key.as_str())
    });
    spec.insert("suspend".to_owned(), json!(true));
    unlabel(object(&mut job, "/spec/template/metadata/labels")?);
    let pod = object(&mut job, "/spec/template/spec")?;
    for defaulted in ["dnsPolicy", "schedulerName", "serviceAccount"] {
        pod.remove(defaulted);
    }
    let container = object(&mut job, "/spec/template/spec/containers/0")?;
    for defaulted in ["imagePullPolicy", "terminationMessagePolicy"] {
        container.remove(defaulted);
    }
    if let Some(whole) = job.as_object_mut() {
        whole.remove("status");
    }
    Ok(job)
}

/// Nobody's, and without the labels that the apiserver adds.
fn unlabel(labels: &mut serde_json::Map<String, Value>) {
    labels.retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
    labels.insert(label::MANAGED_BY.to_owned(), json!(NOBODY));
}

fn object<'a>(
    job: &'a mut Value,
    pointer: &str,
) -> anyhow::Result<&'a mut serde_json::Map<String, Value>> {
    let found = job.pointer_mut(pointer).and_then(Value::as_object_mut);
    found.with_context(|| format!("a Job without {pointer}"))
}
