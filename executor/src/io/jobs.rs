//! Jobs, the Secrets they own and their Pods.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use werf_shared::names::{annotation, label};

use super::api::{ApiError, call, find};
use crate::decide::job::values_secret_name;

fn jobs(client: &Client, namespace: &str) -> Api<Job> {
    Api::namespaced(client.clone(), namespace)
}

fn secrets(client: &Client, namespace: &str) -> Api<Secret> {
    Api::namespaced(client.clone(), namespace)
}

/// The Job of that name, as it is stored now.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Job>, ApiError> {
    find("read the Job", jobs(client, namespace).get(name)).await
}

/// Creates a Job. [`ApiError::Conflict`] says that one of that name exists.
pub async fn create(client: &Client, job: &Job) -> Result<Job, ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    call("create the Job", api.create(&PostParams::default(), job)).await
}

/// The Job was made for this bundle.
pub fn belongs_to(job: &Job, bundle_uid: &str) -> bool {
    job.annotations()
        .get(annotation::BUNDLE_UID)
        .map(String::as_str)
        == Some(bundle_uid)
}

/// Lets a suspended Job run.
pub async fn resume(client: &Client, job: &Job) -> Result<(), ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    let patch = json!({"metadata": {"uid": job.uid()}, "spec": {"suspend": false}});
    let params = PatchParams::default();
    call(
        "resume the Job",
        api.patch(&job.name_any(), &params, &Patch::Merge(&patch)),
    )
    .await?;
    Ok(())
}

/// Deletes this very Job and what it owns; a Job of the same name made later is left alone.
pub async fn delete(client: &Client, job: &Job) -> Result<(), ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: job.uid(),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match call("delete the Job", api.delete(&job.name_any(), &params)).await {
        // Gone already, or another one by now.
        Ok(_) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// All Jobs of a bundle, in whatever namespace.
pub async fn of_bundle(client: &Client, bundle_uid: &str) -> Result<Vec<Job>, ApiError> {
    let api: Api<Job> = Api::all(client.clone());
    let params = ListParams::default().labels(&format!("{}={bundle_uid}", label::BUNDLE_UID));
    Ok(call("list the Jobs", api.list(&params)).await?.items)
}

/// The Pods of a Job.
pub async fn pods(client: &Client, job: &Job) -> Result<Vec<Pod>, ApiError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    // The label without prefix is the one that clusters older than 1.27 set, too.
    let params = ListParams::default().labels(&format!("job-name={}", job.name_any()));
    Ok(call("list the Job's Pods", api.list(&params)).await?.items)
}

/// Creates the Secret with a Job's values. It is immutable: one that exists and belongs to the same
/// Job has the same content.
pub async fn create_values(client: &Client, job: &Job, secret: &Secret) -> Result<(), ApiError> {
    let api = secrets(client, &job.namespace().unwrap_or_default());
    let created = call(
        "create the values Secret",
        api.create(&PostParams::default(), secret),
    )
    .await;
    match created {
        Ok(_) => Ok(()),
        Err(conflict @ ApiError::Conflict { .. }) => {
            let operation = "read the values Secret";
            let present = find(operation, api.get_metadata(&secret.name_any())).await?;
            let ours = present.is_some_and(|present| {
                present
                    .owner_references()
                    .iter()
                    .any(|owner| Some(&owner.uid) == job.uid().as_ref())
            });
            if ours { Ok(()) } else { Err(conflict) }
        }
        Err(error) => Err(error),
    }
}

/// The values file that was mounted into a Job, if it had one.
pub async fn values(client: &Client, job: &Job) -> Result<Option<Vec<u8>>, ApiError> {
    let api = secrets(client, &job.namespace().unwrap_or_default());
    let name = values_secret_name(&job.name_any());
    let secret = find("read the values Secret", api.get(&name)).await?;
    Ok(secret
        .and_then(|secret| secret.data)
        .and_then(|mut data| data.remove("values.yaml"))
        .map(|content| content.0))
}
