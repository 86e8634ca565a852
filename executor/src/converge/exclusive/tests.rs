//! Who stands in the way of a Job, as the apiserver has it and the watch does not show.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response};
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

#[tokio::test]
async fn behind_many_that_are_gone_there_may_be_an_heir() {
    let gone: Vec<String> = (0..HEIRS).map(|number| format!("gone-{number}")).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    assert_eq!(heir_among(&gone[1..], Vec::new()).await, None);
    assert_ne!(heir_among(&gone, Vec::new()).await, None);
}

/// A Job of another bundle on the release; suspended unless it `runs`. The bundle is gone.
fn other(number: usize, runs: bool) -> Value {
    let mut other = job("gone");
    other["metadata"]["name"] = json!(format!("of-{number}"));
    other["metadata"]["uid"] = json!(format!("job-{number}"));
    let annotations = &mut other["metadata"]["annotations"];
    annotations["operator.werf.io/release"] = json!(RELEASE);
    annotations["operator.werf.io/bundle-uid"] = json!("2");
    other["spec"] = json!({"suspend": !runs, "template": {"spec": {"containers": []}}});
    other
}

/// What is in the way of the own Job among these, and how many of them were removed.
async fn in_the_way(jobs: Vec<Value>) -> (Option<String>, usize) {
    let removed = Arc::new(AtomicUsize::new(0));
    let removing = Arc::clone(&removed);
    let service = tower::service_fn(move |request: Request<Body>| {
        let lists = request.method() == Method::GET && request.uri().path().ends_with("/jobs");
        removing.fetch_add(
            usize::from(request.method() == Method::DELETE),
            Ordering::Relaxed,
        );
        let missing = json!({"kind": "Status", "code": 404, "reason": "NotFound"});
        let (code, answer) = match (lists, request.method()) {
            (true, _) => (200, json!({"metadata": {}, "items": jobs})),
            (false, &Method::GET) => (404, missing),
            (false, _) => (200, json!({"kind": "Status", "status": "Success"})),
        };
        async move {
            let body = Body::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let client = Client::new(service, "default");
    let bundle = serde_json::from_value(bundle("own", "1", RELEASE)).unwrap();
    let mut own = other(0, false);
    own["metadata"]["uid"] = json!("own");
    let own: Job = serde_json::from_value(own).unwrap();
    let release = Release::of_job(&own).unwrap();
    let found = Box::pin(others(&client, &bundle, &own, &release))
        .await
        .unwrap();
    (found.first, removed.load(Ordering::Relaxed))
}

#[tokio::test]
async fn what_was_left_over_is_removed_and_not_in_the_way() {
    let left = (0..jobs::MOST - 1).map(|number| other(number, false));
    let nothing = (None, jobs::MOST - 1);
    assert_eq!(in_the_way(left.collect()).await, nothing);
}

#[tokio::test]
async fn a_job_that_runs_is_in_the_way_however_many_stand_before_it() {
    let few = (0..5).map(|number| other(number, number == 3));
    assert_eq!(
        in_the_way(few.collect()).await,
        (
            Some("of-3 of WerfBundle gone in namespace apps".to_owned()),
            4
        )
    );
    // Those that can be removed are; the one that runs was not even looked at.
    let many = (0..=jobs::MOST).map(|number| other(number, number == jobs::MOST));
    let (first, removed) = in_the_way(many.collect()).await;
    assert!(first.is_some());
    assert_eq!(removed, jobs::MOST);
}
