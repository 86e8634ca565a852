//! Jobs, what they own, and their Pods.

use std::fmt;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{
    DeleteParams, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions,
    VersionMatch,
};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use werf_shared::names::{self, annotation, label};

use super::api::{ApiError, Words, call, call_with, find};
use super::pages::{kept, kept_of_all};
use crate::decide::job::files;
use crate::decide::obstacle::essence;
use crate::decide::release::Release;

/// Jobs that are listed at a time when all are, by what identifies them.
const PAGE: u32 = 100;

/// Whole Jobs that are listed at a time: the arguments of each may be 64 KiB long.
const JOBS_PAGE: u32 = 50;

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
    let operation = "create the Job";
    let created = call(operation, api.create(&PostParams::default(), job)).await;
    if matches!(created, Err(ApiError::Conflict { .. })) {
        let name = job.name_any();
        let present = find("read the Job", api.get_metadata(&name)).await?;
        if present.is_none() {
            // A quota that many use at once (k8s.io/apiserver/pkg/admission/plugin/resourcequota).
            return Err(ApiError::Failed {
                operation,
                reason: "a conflict with something else".to_owned(),
            });
        }
    }
    created
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The Job's.
    Ours,
    /// Somebody else's.
    Foreign,
}

/// Lets a Job run that was created suspended.
pub async fn release(client: &Client, job: &Job) -> Result<(), ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    let patch = json!({
        "metadata": {"uid": job.uid(), "annotations": {annotation::RELEASED: "true"}},
        "spec": {"suspend": false},
    });
    let params = PatchParams::default();
    call(
        "let the Job run",
        api.patch(&job.name_any(), &params, &Patch::Merge(&patch)),
    )
    .await?;
    Ok(())
}

/// Deletes this very Job and what it owns, which stays until its Pods are gone; a Job of the same name
/// made later is left alone.
pub async fn delete(client: &Client, job: &impl ResourceExt) -> Result<(), ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: job.uid(),
            resource_version: None,
        }),
        ..DeleteParams::foreground()
    };
    match call("delete the Job", api.delete(&job.name_any(), &params)).await {
        // Gone already, or another one by now.
        Ok(_) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes this very Job unless it was changed since it was read, such as let run.
/// [`ApiError::Conflict`] says that it was.
pub async fn delete_as_seen(client: &Client, job: &Job) -> Result<(), ApiError> {
    let api = jobs(client, &job.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: job.uid(),
            resource_version: job.resource_version(),
        }),
        ..DeleteParams::foreground()
    };
    match call("delete the Job", api.delete(&job.name_any(), &params)).await {
        Ok(_) | Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The Jobs that work on a release, or may, as far as they are `wanted`; those that have succeeded are
/// left out where the apiserver can tell. All as they were stored at one moment, at which `own` was
/// there already.
///
/// The newest moment would be no better, and much slower: an apiserver that lists from its cache (1.31
/// and newer) then waits until etcd has told it that no Job has changed, which etcd does every 100 ms
/// (`progressRequestPeriod` in `k8s.io/apiserver/pkg/storage/cacher/progress`). With `own` it has what it
/// needs.
pub async fn of_release(
    client: &Client,
    release: &Release,
    own: &Job,
    wanted: impl Fn(&Job) -> bool,
) -> Result<Vec<Job>, ApiError> {
    let params = with_own(release, own)
        // A field that Jobs can be selected by (pkg/registry/batch/job/strategy.go). They are kept for
        // days, and their arguments may be long.
        .fields("status.successful=0");
    let api = jobs(client, &release.namespace);
    let keep = |job| wanted(&job).then_some(job);
    kept_of_all("list the release's Jobs", &api, params, keep).await
}

/// What `keep` makes of all Jobs that worked on a release or may, as long as they are there; seen as by
/// [`of_release`].
pub async fn ever_of_release<T>(
    client: &Client,
    release: &Release,
    own: &Job,
    keep: impl FnMut(Job) -> Option<T>,
) -> Result<Vec<T>, ApiError> {
    let api = jobs(client, &release.namespace);
    let params = with_own(release, own);
    kept_of_all("list the release's Jobs", &api, params, keep).await
}

fn with_own(release: &Release, own: &Job) -> ListParams {
    let value = names::label_value(&release.name);
    ListParams::default()
        .limit(JOBS_PAGE)
        .matching(VersionMatch::NotOlderThan)
        .at(&own.resource_version().unwrap_or_default())
        .labels(&format!("{}={value}", label::RELEASE))
}

/// Some of all Jobs of ours, as they are stored now: what identifies them, and a token for more.
pub async fn page_of_ours(
    client: &Client,
    token: Option<String>,
) -> Result<ObjectList<PartialObjectMeta<Job>>, ApiError> {
    let api: Api<Job> = Api::all(client.clone());
    let ours = format!("{}={}", label::MANAGED_BY, names::OPERATOR);
    let mut params = ListParams::default().labels(&ours).limit(PAGE);
    params.continue_token = token;
    call("list the Jobs", api.list_metadata(&params)).await
}

/// The Jobs of a bundle that are wanted, in whatever namespace, without their specs.
pub async fn of_bundle(
    client: &Client,
    bundle_uid: &str,
    wanted: impl Fn(&Job) -> bool,
) -> Result<Vec<Job>, ApiError> {
    let api: Api<Job> = Api::all(client.clone());
    let params = ListParams::default()
        .limit(JOBS_PAGE)
        .labels(&format!("{}={bundle_uid}", label::BUNDLE_UID));
    let keep = |mut job: Job| {
        let wanted = wanted(&job);
        job.spec = None;
        job.metadata.managed_fields = None;
        wanted.then_some(job)
    };
    kept_of_all("list the Jobs", &api, params, keep).await
}

/// The Pods of a Job: what tells how they do.
pub async fn pods(client: &Client, job: &Job) -> Result<Vec<Pod>, ApiError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    // The label without prefix is the one that clusters older than 1.27 set, too.
    let params = ListParams::default().labels(&format!("job-name={}", job.name_any()));
    // Anyone can give a Pod that label.
    let keep = |pod| is_owned_by(&pod, job).then(|| essence(pod));
    kept("list the Job's Pods", &api, params, keep).await
}

/// Creates the Secret with a Job's files. It is immutable: one that exists and belongs to the same Job
/// has the same content, apart from a password that was changed in between; the next attempt has it.
/// [`ApiError::Conflict`] says that it was refused and does not exist: a quota that is counted by
/// several at once answers so.
pub async fn create_files(
    client: &Client,
    job: &Job,
    secret: &Secret,
) -> Result<Ownership, ApiError> {
    let api = secrets(client, &job.namespace().unwrap_or_default());
    let operations = ("create the Job's Secret", "read the Job's Secret");
    create_owned(&api, job, secret, operations, Words::Withheld).await
}

/// Creates the `ConfigMap` with a Job's log. One that exists and belongs to the Job has it already.
pub async fn create_log(
    client: &Client,
    job: &Job,
    log: &ConfigMap,
) -> Result<Ownership, ApiError> {
    let api = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    let operations = (
        "create the ConfigMap with the log",
        "read the ConfigMap with the log",
    );
    create_owned(&api, job, log, operations, Words::Told).await
}

async fn create_owned<K>(
    api: &Api<K>,
    job: &Job,
    object: &K,
    (create, read): (&'static str, &'static str),
    words: Words,
) -> Result<Ownership, ApiError>
where
    K: Resource + Serialize + DeserializeOwned + Clone + fmt::Debug + Sync,
{
    let params = PostParams::default();
    let creating = api.create(&params, object);
    match call_with(words, create, creating).await {
        Ok(_) => Ok(Ownership::Ours),
        Err(conflict @ ApiError::Conflict { .. }) => {
            match find(read, api.get_metadata(&object.name_any())).await? {
                Some(present) if is_owned_by(&present, job) => Ok(Ownership::Ours),
                Some(_) => Ok(Ownership::Foreign),
                None => Err(conflict),
            }
        }
        Err(error) => Err(error),
    }
}

fn is_owned_by(object: &impl ResourceExt, job: &Job) -> bool {
    let owners = object.owner_references().iter();
    owners
        .into_iter()
        .any(|owner| Some(&owner.uid) == job.uid().as_ref())
}

/// The Secret with a Job's files, if the Job has any and the Secret is still there.
pub async fn files_of(client: &Client, job: &Job) -> Result<Option<Secret>, ApiError> {
    let Some(name) = files::secret_of(job) else {
        return Ok(None);
    };
    let api = secrets(client, &job.namespace().unwrap_or_default());
    find("read the Job's Secret", api.get(name)).await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Method, Request, Response};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::client::Body;

    use super::*;
    use crate::decide::job::log;

    /// An apiserver that refuses to create anything with 409, and answers reads with this.
    fn apiserver(code: u16, body: &'static str) -> Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = match *request.method() {
                Method::POST => (409, r#"{"kind":"Status","code":409,"reason":"Conflict"}"#),
                _ => (code, body),
            };
            let body = Body::from(body.as_bytes().to_vec());
            let response = Response::builder().status(code).body(body);
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        Client::new(service, "default")
    }

    fn metadata(name: &str, uid: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("a".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        }
    }

    async fn created(client: &Client) -> Result<Ownership, ApiError> {
        let job = Job {
            metadata: metadata("app", "u1"),
            ..Job::default()
        };
        let secret = Secret {
            metadata: metadata("app-values", ""),
            ..Secret::default()
        };
        create_files(client, &job, &secret).await
    }

    #[tokio::test]
    async fn a_secret_that_was_refused_and_does_not_exist_is_nobodys() {
        let missing = r#"{"kind":"Status","code":404,"reason":"NotFound"}"#;
        let result = created(&apiserver(404, missing)).await;
        assert!(
            matches!(result, Err(ApiError::Conflict { .. })),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_job_that_was_refused_and_does_not_exist_is_nobodys() {
        let job = Job {
            metadata: metadata("app", ""),
            ..Job::default()
        };
        let missing = r#"{"kind":"Status","code":404,"reason":"NotFound"}"#;
        let result = create(&apiserver(404, missing), &job).await;
        assert!(matches!(result, Err(ApiError::Failed { .. })), "{result:?}");
        let present = r#"{"metadata":{"name":"app"}}"#;
        let result = create(&apiserver(200, present), &job).await;
        assert!(
            matches!(result, Err(ApiError::Conflict { .. })),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_log_that_was_kept_before_a_crash_is_not_kept_twice() {
        let kept = async |body| {
            let job = Job {
                metadata: metadata("app", "u1"),
                ..Job::default()
            };
            let log = log::config_map(&job, "log".to_owned());
            create_log(&apiserver(200, body), &job, &log).await.unwrap()
        };
        let ours = r#"{"metadata":{"name":"app-logs","ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"app","uid":"u1"}]}}"#;
        let foreign = r#"{"metadata":{"name":"app-logs"}}"#;
        assert_eq!(kept(ours).await, Ownership::Ours);
        assert_eq!(kept(foreign).await, Ownership::Foreign);
    }

    #[tokio::test]
    async fn a_secret_that_exists_is_its_owners() {
        let of = |uid: &'static str| match uid {
            "u1" => {
                r#"{"metadata":{"name":"app-values","ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"app","uid":"u1"}]}}"#
            }
            _ => r#"{"metadata":{"name":"app-values"}}"#,
        };
        let ours = created(&apiserver(200, of("u1"))).await.unwrap();
        let foreign = created(&apiserver(200, of(""))).await.unwrap();
        assert_eq!((ours, foreign), (Ownership::Ours, Ownership::Foreign));
    }
}
