//! What can be seen of a run that goes on: Pods and Events of the target namespace, and whose the ones
//! in trouble are. What the operator may not see only leaves something unexplained.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use super::api::{ApiError, find};
use super::essential::{Essential, Identity};
use super::pages::kept;
use crate::decide::obstacle::{OwnerKind, kept_event, kept_pod};

/// The Pods of a namespace that have not ended and were made since then: what tells how they do.
pub async fn pods(
    client: &Client,
    namespace: &str,
    since: Timestamp,
) -> Result<Vec<Pod>, ApiError> {
    let api: Api<Essential<Pod>> = Api::namespaced(client.clone(), namespace);
    let unended = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let keep = |Essential(pod)| kept_pod(pod, since);
    kept("list the Pods", &api, unended, keep).await
}

/// Events of a namespace that have this reason and were seen since then.
pub async fn events(
    client: &Client,
    namespace: &str,
    reason: &str,
    since: Timestamp,
) -> Result<Vec<Event>, ApiError> {
    let api: Api<Essential<Event>> = Api::namespaced(client.clone(), namespace);
    let of_reason = ListParams::default().fields(&format!("reason={reason}"));
    let keep = |Essential(event)| kept_event(event, since);
    let result = kept("list the Events", &api, of_reason, keep).await;
    result.or_else(nothing_if_refused)
}

/// The metadata of an owner, if it is there and may be seen.
pub async fn owner(
    client: &Client,
    namespace: &str,
    kind: OwnerKind,
    name: &str,
) -> Result<Option<ObjectMeta>, ApiError> {
    match kind {
        OwnerKind::ReplicaSet => metadata::<ReplicaSet>(client, namespace, name).await,
        OwnerKind::StatefulSet => metadata::<StatefulSet>(client, namespace, name).await,
        OwnerKind::DaemonSet => metadata::<DaemonSet>(client, namespace, name).await,
        OwnerKind::Job => metadata::<Job>(client, namespace, name).await,
    }
}

async fn metadata<K>(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<ObjectMeta>, ApiError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<Identity<K>> = Api::namespaced(client.clone(), namespace);
    let found = find("read the owner of a Pod", api.get(name)).await;
    found
        .map(|found| found.map(|object| object.metadata))
        .or_else(nothing_if_refused)
}

fn nothing_if_refused<T: Default>(error: ApiError) -> Result<T, ApiError> {
    match error {
        ApiError::Refused { .. } => Ok(T::default()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::client::Body;
    use rstest::rstest;

    use super::*;

    /// An apiserver that answers everything so.
    fn apiserver(code: u16, body: &'static str) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(body.as_bytes().to_vec());
            let response = Response::builder().status(code).body(body);
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        Client::new(service, "default")
    }

    const FORBIDDEN: &str = r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}"#;
    const BROKEN: &str = r#"{"kind":"Status","code":500,"reason":"InternalError"}"#;

    #[rstest]
    #[case::may_not(403, FORBIDDEN, Some(0))]
    #[case::none(200, r#"{"metadata":{},"items":[]}"#, Some(0))]
    #[case::one(
        200,
        r#"{"metadata":{},"items":[{"metadata":{"name":"e"},"eventTime":"2026-01-02T00:00:00.000000Z"},{"metadata":{"name":"old"},"eventTime":"2026-01-01T00:00:00.000000Z"}]}"#,
        Some(1)
    )]
    #[case::broken(500, BROKEN, None)]
    #[tokio::test]
    async fn events_that_may_not_be_seen_are_none(
        #[case] code: u16,
        #[case] body: &'static str,
        #[case] seen: Option<usize>,
    ) {
        let since = "2026-01-02T00:00:00Z".parse().unwrap();
        let events = events(&apiserver(code, body), "prod", "FailedCreate", since).await;
        assert_eq!(events.ok().map(|events| events.len()), seen);
    }

    #[tokio::test]
    async fn of_pods_only_what_tells_of_the_run_is_kept() {
        let list = r#"{"metadata":{},"items":[
            {"metadata":{"name":"new","creationTimestamp":"2026-01-02T00:00:00Z",
                "annotations":{"meta.helm.sh/release-name":"app","x":"y"},"managedFields":[{"manager":"m"}]},
             "spec":{"containers":[{"name":"c","image":"i"}],"volumes":[{"name":"config","configMap":{"name":"c"}},
                {"name":"data","persistentVolumeClaim":{"claimName":"data"}}]},
             "status":{"phase":"Pending","podIP":"10.0.0.1"}},
            {"metadata":{"name":"old","creationTimestamp":"2026-01-01T00:00:00Z"}},
            {"metadata":{"name":"never"}}]}"#;
        let since = "2026-01-02T00:00:00Z".parse().unwrap();
        let pods = pods(&apiserver(200, list), "prod", since).await.unwrap();
        let expected = serde_json::json!([{"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "new", "creationTimestamp": "2026-01-02T00:00:00Z",
                "annotations": {"meta.helm.sh/release-name": "app"}},
            "spec": {"containers": [], "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
            "status": {"phase": "Pending"}}]);
        assert_eq!(serde_json::to_value(&pods).unwrap(), expected);
    }

    #[rstest]
    #[case::may_not(403, FORBIDDEN, Ok(None))]
    #[case::gone(404, r#"{"kind":"Status","code":404,"reason":"NotFound"}"#, Ok(None))]
    #[case::there(200, r#"{"metadata":{"name":"app-6d5f"}}"#, Ok(Some("app-6d5f")))]
    #[case::broken(500, BROKEN, Err(()))]
    #[tokio::test]
    async fn an_owner_that_may_not_be_seen_is_nobody(
        #[case] code: u16,
        #[case] body: &'static str,
        #[case] seen: Result<Option<&str>, ()>,
    ) {
        let client = apiserver(code, body);
        let owner = owner(&client, "prod", OwnerKind::ReplicaSet, "app-6d5f").await;
        let name = owner.map(|owner| owner.and_then(|owner| owner.name));
        let name = name.as_ref().map(|name| name.as_deref());
        assert_eq!(name.map_err(|_| ()), seen);
    }
}
