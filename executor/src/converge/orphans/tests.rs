//! Which Jobs a sweep removes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use kube::runtime::reflector;
use serde_json::{Value, json};

use super::*;

fn job(name: &str, bundle: &str, uid: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "production", "uid": format!("of-{name}"),
    "annotations": {
        "operator.werf.io/bundle-namespace": "apps",
        "operator.werf.io/bundle-name": bundle,
        "operator.werf.io/bundle-uid": uid,
    }}})
}

/// What was deleted, and under which conditions.
type Deleted = Arc<Mutex<Vec<(String, Value)>>>;

/// Two pages of Jobs; of the bundles only `here` exists. Tells what was deleted.
fn apiserver() -> (Client, Deleted) {
    let deleted = Deleted::default();
    let log = deleted.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let log = log.clone();
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path().to_owned();
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let mut dying = job("dying", "gone", "3");
            dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            let list = |items: Value, token: &str| {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                    "metadata": {"continue": token}, "items": items})
            };
            let (code, answer) = match (&parts.method, path.as_str()) {
                (_, path) if path.ends_with("/werfbundles/refused") => (
                    403,
                    json!({"kind": "Status", "code": 403, "reason": "Forbidden"}),
                ),
                (&Method::DELETE, path) => {
                    let body = body.collect_bytes().await.unwrap();
                    let options: Value = serde_json::from_slice(&body).unwrap();
                    log.lock().unwrap().push((path.to_owned(), options));
                    (200, json!({"kind": "Status", "status": "Success"}))
                }
                (_, "/apis/batch/v1/jobs") if query.contains("continue=more") => {
                    (200, list(json!([job("torn-off", "gone", "2"), dying]), ""))
                }
                (_, "/apis/batch/v1/jobs") => {
                    let theirs = json!({"metadata": {"name": "theirs", "namespace": "production"}});
                    let jobs = [
                        job("hostile", "../a b?c", "9"),
                        job("refused", "refused", "9"),
                        job("alive", "here", "1"),
                        job("before", "here", "0"),
                        theirs,
                    ];
                    (200, list(json!(jobs), "more"))
                }
                (_, path) if path.ends_with("/werfbundles/here") => (
                    200,
                    json!({"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
                        "metadata": {"name": "here", "namespace": "apps", "uid": "1"},
                        "spec": {"registry": {"url": "ghcr.io/org/app"}}}),
                ),
                _ => (
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound"}),
                ),
            };
            let body = Body::from(answer.to_string().into_bytes());
            let response = Response::builder().status(code).body(body);
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (Client::new(service, "default"), deleted)
}

#[tokio::test]
async fn jobs_of_bundles_that_are_gone_are_removed_and_no_others() {
    let (client, deleted) = apiserver();
    let (bundles, _writer) = reflector::store();
    sweep(&client, &Seen::new(bundles)).await.unwrap();
    let deleted = deleted.lock().unwrap();
    let told: Vec<_> = deleted
        .iter()
        .map(|(path, options)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            (
                name,
                options["preconditions"]["uid"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(told, [("before", "of-before"), ("torn-off", "of-torn-off")]);
}
