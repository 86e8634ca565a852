//! Jobs, what they own, and their Pods.

use std::fmt;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodTemplateSpec, Secret};
use kube::api::{
    DeleteParams, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions,
    VersionMatch,
};
use kube::core::{NamespaceResourceScope, Request};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use werf_shared::names::{self, annotation, label};

use super::api::{ApiError, Words, call, call_with, find, find_with};
use super::essential::{Essential, Identity};
use super::pages::{kept, kept_of_all};
use crate::decide::job::files;
use crate::decide::obstacle::essence;
use crate::decide::release::Release;

/// Jobs that are listed at a time when all are, by what identifies them.
const PAGE: u32 = 100;

/// More Jobs than this are not kept. Honest ones are never as many: of a release one works at a time, and
/// of a bundle those of its history are left.
pub const MOST: usize = 100;

fn jobs(client: &Client, namespace: &str) -> Api<Essential<Job>> {
    Api::namespaced(client.clone(), namespace)
}

fn identities(client: &Client, namespace: &str) -> Api<Identity<Job>> {
    Api::namespaced(client.clone(), namespace)
}

/// The Job of that name, as it is stored now, with what something is decided by: anyone may have made it.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<Job>, ApiError> {
    let found = find("read the Job", jobs(client, namespace).get(name)).await?;
    Ok(found.map(|Essential(job)| job))
}

/// Creates a Job. [`ApiError::Conflict`] says that one of that name exists.
pub async fn create(client: &Client, job: &Job) -> Result<Job, ApiError> {
    let api: Api<Job> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    let operation = "create the Job";
    let created = call(operation, api.create(&PostParams::default(), job)).await;
    if matches!(created, Err(ApiError::Conflict { .. })) {
        let name = job.name_any();
        let present = find("read the Job", api.get_metadata(&name)).await?;
        if present.is_none() {
            return Err(contended(operation));
        }
    }
    created
}

/// Refused as if it existed: by a quota that many use at once
/// (k8s.io/apiserver/pkg/admission/plugin/resourcequota).
fn contended(operation: &'static str) -> ApiError {
    ApiError::Failed {
        operation,
        reason: "a conflict with something else".to_owned(),
    }
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
    let api = identities(client, &job.namespace().unwrap_or_default());
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
    let preconditions = Preconditions {
        uid: job.uid(),
        resource_version: None,
    };
    match deletion(client, job, preconditions).await {
        // Another one by now.
        Err(ApiError::Conflict { .. }) => Ok(()),
        result => result,
    }
}

/// Deletes this very Job unless it was changed since it was read, such as let run.
/// [`ApiError::Conflict`] says that it was.
pub async fn delete_as_seen(client: &Client, job: &Job) -> Result<(), ApiError> {
    let preconditions = Preconditions {
        uid: job.uid(),
        resource_version: job.resource_version(),
    };
    deletion(client, job, preconditions).await
}

/// Deletes a Job that is as said, if it is still there. The answer is the Job; anyone may have made it,
/// and kube would decode it twice, so it is not decoded at all.
async fn deletion(
    client: &Client,
    job: &impl ResourceExt,
    preconditions: Preconditions,
) -> Result<(), ApiError> {
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::foreground()
    };
    let path = Job::url_path(&(), Some(&job.namespace().unwrap_or_default()));
    let request = Request::new(path).delete(&job.name_any(), &params);
    let deleting = async {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        // What kube calls it in traces.
        request.extensions_mut().insert("delete");
        client.request_text(request).await
    };
    find("delete the Job", deleting).await?;
    Ok(())
}

/// The Jobs that work on a release, or may, as far as they are `wanted`; [`MOST`] of them, and if there
/// are as many, there may be more. Those that have succeeded are left out where the apiserver can tell.
/// All as they were stored at one moment, at which `own` was there already.
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
    let keep = |Essential(job)| wanted(&job).then(|| in_brief(job));
    kept_of_all(MOST, "list the release's Jobs", &api, params, keep).await
}

/// What `keep` makes of all Jobs that worked on a release or may, as long as they are there, by what
/// identifies them; `most` of it. Seen as by [`of_release`].
pub async fn ever_of_release<T>(
    client: &Client,
    release: &Release,
    own: &Job,
    most: usize,
    keep: impl FnMut(Identity<Job>) -> Option<T>,
) -> Result<Vec<T>, ApiError> {
    let api = identities(client, &release.namespace);
    let params = with_own(release, own);
    kept_of_all(most, "list the release's Jobs", &api, params, keep).await
}

fn with_own(release: &Release, own: &Job) -> ListParams {
    let value = names::label_value(&release.name);
    ListParams::default()
        .matching(VersionMatch::NotOlderThan)
        .at(&own.resource_version().unwrap_or_default())
        .labels(&format!("{}={value}", label::RELEASE))
}

/// Some of all Jobs of ours, as they are stored now: what identifies them, and a token for more.
pub async fn page_of_ours(
    client: &Client,
    token: Option<String>,
) -> Result<ObjectList<Identity<Job>>, ApiError> {
    let api: Api<Identity<Job>> = Api::all(client.clone());
    let ours = format!("{}={}", label::MANAGED_BY, names::OPERATOR);
    let mut params = ListParams::default().labels(&ours).limit(PAGE);
    params.continue_token = token;
    call("list the Jobs", api.list(&params)).await
}

/// The Jobs of a bundle that are wanted, in whatever namespace; [`MOST`] of them, and if there are as
/// many, there may be more.
pub async fn of_bundle(
    client: &Client,
    bundle_uid: &str,
    mut wanted: impl FnMut(&Job) -> bool,
) -> Result<Vec<Job>, ApiError> {
    let api: Api<Essential<Job>> = Api::all(client.clone());
    let params = ListParams::default().labels(&format!("{}={bundle_uid}", label::BUNDLE_UID));
    let keep = |Essential(job)| wanted(&job).then(|| in_brief(job));
    kept_of_all(MOST, "list the Jobs", &api, params, keep).await
}

/// Of the many Jobs of a list, what is needed of each: what identifies it, and how it stands.
fn in_brief(mut job: Job) -> Job {
    if let Some(spec) = &mut job.spec {
        spec.template = PodTemplateSpec::default();
    }
    let conditions = job.status.iter_mut().flat_map(|it| &mut it.conditions);
    for condition in conditions.flatten() {
        condition.reason = None;
        condition.message = None;
    }
    job.metadata.labels = None;
    job.metadata.owner_references = None;
    job
}

/// The Pods of a Job: what tells how they do.
pub async fn pods(client: &Client, job: &Job) -> Result<Vec<Pod>, ApiError> {
    let namespace = job.namespace().unwrap_or_default();
    let api: Api<Essential<Pod>> = Api::namespaced(client.clone(), &namespace);
    // The label without prefix is the one that clusters older than 1.27 set, too.
    let params = ListParams::default().labels(&format!("job-name={}", job.name_any()));
    // Anyone can give a Pod that label.
    let keep = |Essential(pod)| is_owned_by(&pod, job).then(|| essence(pod));
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
    let operations = ("create the Job's Secret", "read the Job's Secret");
    create_owned(client, job, secret, operations, Words::Withheld).await
}

/// Creates the `ConfigMap` with a Job's log. One that exists and belongs to the Job has it already.
pub async fn create_log(
    client: &Client,
    job: &Job,
    log: &ConfigMap,
) -> Result<Ownership, ApiError> {
    let operations = (
        "create the ConfigMap with the log",
        "read the ConfigMap with the log",
    );
    create_owned(client, job, log, operations, Words::Told).await
}

async fn create_owned<K>(
    client: &Client,
    job: &Job,
    object: &K,
    (create, read): (&'static str, &'static str),
    words: Words,
) -> Result<Ownership, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Serialize + DeserializeOwned + Clone + fmt::Debug + Sync,
{
    let namespace = job.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let params = PostParams::default();
    let creating = api.create(&params, object);
    match call_with(words, create, creating).await {
        Ok(_) => Ok(Ownership::Ours),
        Err(ApiError::Conflict { .. }) => {
            let api: Api<Identity<K>> = Api::namespaced(client.clone(), &namespace);
            match find(read, api.get(&object.name_any())).await? {
                Some(present) if is_owned_by(&present, job) => Ok(Ownership::Ours),
                Some(_) => Ok(Ownership::Foreign),
                None => Err(contended(create)),
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
    // The apiserver takes any text for the name of a volume's Secret (`validateSecretVolumeSource` in
    // pkg/apis/core/validation).
    let Some(name) = files::secret_of(job).filter(|name| names::is_subdomain(name)) else {
        return Ok(None);
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    find_with(Words::Withheld, "read the Job's Secret", api.get(name)).await
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
        assert!(matches!(result, Err(ApiError::Failed { .. })), "{result:?}");
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

    #[tokio::test]
    async fn a_secret_that_can_have_no_such_name_is_not_asked_for() {
        let files = async |name: &str| {
            let volume = json!({"name": "files", "secret": {"secretName": name}});
            let pod = json!({"spec": {"containers": [], "volumes": [volume]}});
            let job =
                json!({"metadata": {"name": "app", "namespace": "a"}, "spec": {"template": pod}});
            let client = apiserver(200, r#"{"metadata":{"name":"there"}}"#);
            files_of(&client, &serde_json::from_value(job).unwrap()).await
        };
        assert!(files("app-files").await.unwrap().is_some());
        for hostile in ["../configmaps/x", "x?watch=1", "my secret"] {
            assert!(files(hostile).await.unwrap().is_none(), "{hostile}");
        }
    }
}
