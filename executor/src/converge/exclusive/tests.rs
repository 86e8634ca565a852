//! Who stands in the way of a Job, as the apiserver has it and the watch does not show.

use std::convert::Infallible;

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const RELEASE: &str = "shop";

fn bundle(name: &str, uid: &str, release: &str) -> Value {
    json!({"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
    "metadata": {"name": name, "namespace": "apps", "uid": uid},
    "spec": {
        "registry": {"url": "ghcr.io/org/app"},
        "converge": {"releaseName": release, "targetNamespace": "production"},
    }})
}

fn job(bundle: &str) -> Value {
    json!({"metadata": {
        "name": format!("of-{bundle}"), "namespace": "production", "resourceVersion": "7",
        "annotations": {
            "operator.werf.io/bundle-namespace": "apps",
            "operator.werf.io/bundle-name": bundle,
        },
    }})
}

/// An apiserver with a Job of each of these bundles, which are there if they are in `bundles`.
fn apiserver(of: &[&str], bundles: Vec<Value>) -> Client {
    let jobs: Vec<Value> = of.iter().map(|bundle| job(bundle)).collect();
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let named = path.rsplit('/').next().unwrap_or_default().to_owned();
        let found = bundles
            .iter()
            .find(|bundle| bundle["metadata"]["name"] == *named);
        let (code, answer) = if path.ends_with("/jobs") {
            assert!(query.contains("resourceVersion=7"), "{query}");
            assert!(
                query.contains("resourceVersionMatch=NotOlderThan"),
                "{query}"
            );
            let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                "metadata": {}, "items": jobs});
            (200, list)
        } else if let Some(found) = found {
            (200, found.clone())
        } else {
            (
                404,
                json!({"kind": "Status", "code": 404, "reason": "NotFound"}),
            )
        };
        async move {
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

async fn heir_among(of: &[&str], bundles: Vec<Value>) -> Option<BundleKey> {
    let own = serde_json::from_value(bundle("own", "1", RELEASE)).unwrap();
    let job = serde_json::from_value(job("own")).unwrap();
    let release = Release {
        namespace: "production".to_owned(),
        name: RELEASE.to_owned(),
    };
    heir_by_jobs(&apiserver(of, bundles), &own, &job, &release)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_has_deployed_a_release_is_its_heir_though_the_watch_does_not_show_it() {
    let own = bundle("own", "1", RELEASE);
    let next = bundle("next", "2", RELEASE);
    let heir = heir_among(&["own", "next"], vec![own, next]).await;
    assert_eq!(heir, Some(BundleKey::new("apps", "next")));
}

#[tokio::test]
async fn who_is_gone_or_going_or_has_another_release_by_now_is_not() {
    let own = bundle("own", "1", RELEASE);
    let mut going = bundle("going", "2", RELEASE);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let moved = bundle("moved", "3", "elsewhere");
    let all = ["own", "gone", "going", "moved", "../a b?c"];
    assert_eq!(heir_among(&all, vec![own, going, moved]).await, None);
}
