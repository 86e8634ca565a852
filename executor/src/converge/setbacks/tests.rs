//! What a user sees of a Secret that exists and cannot be read.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};
use werf_shared::error::Class;

use super::*;
use crate::converge::pass;
use crate::converge::tests::context;
use crate::decide::rules;
use crate::io::inputs_key;
use crate::io::watch::Failure as _;

/// What the apiserver has, and what it is asked.
struct Cluster {
    bundle: Value,
    /// The answer to whoever reads the Secret.
    secret: u16,
    stores: usize,
    events: usize,
}

impl Cluster {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let status = |code: u16, message: &str| {
            let reason = if code == 404 {
                "NotFound"
            } else {
                "InternalError"
            };
            let status =
                json!({"kind": "Status", "code": code, "reason": reason, "message": message});
            (code, status)
        };
        if path.ends_with("/werfbundles/my-app") {
            return (200, self.bundle.clone());
        }
        if path.ends_with("/werfbundles/my-app/status") {
            assert_eq!(method, Method::PUT);
            self.stores += 1;
            self.bundle = serde_json::from_slice(body).unwrap();
            self.bundle["metadata"]["resourceVersion"] = json!(self.stores.to_string());
            return (200, self.bundle.clone());
        }
        if path.contains("/events") {
            self.events += 1;
            return (200, serde_json::from_slice(body).unwrap());
        }
        if path.ends_with(inputs_key::SECRET) {
            let key = ByteString(vec![0; 32]);
            return (
                200,
                json!({"metadata": {"name": "key"}, "data": {"key": key}}),
            );
        }
        if path.contains("/secrets/") && self.secret == 200 {
            return (200, json!({"metadata": {"name": "creds"}, "data": {}}));
        }
        if path.contains("/secrets/") {
            // The words differ each time, and may say anything.
            return status(self.secret, &format!("hunter22 {}", self.stores));
        }
        if path.ends_with("/namespaces/apps") || path.ends_with("/serviceaccounts/default") {
            return (200, json!({"metadata": {"name": "there"}}));
        }
        status(404, "no")
    }

    fn ready(&self) -> &Value {
        let conditions = self.bundle["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready");
        ready.unwrap()
    }
}

fn bundle(secret_of: &str) -> Value {
    let mut registry = json!({"url": "ghcr.io/org/app"});
    let mut converge = json!({});
    if secret_of == "registry" {
        registry["secretRef"] = json!({"name": "creds"});
    } else {
        converge["valuesFrom"] = json!([{"secretRef": {"name": "creds"}}]);
    }
    let rules = rules::of(&serde_json::from_value(registry.clone()).unwrap());
    json!({"apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
        "metadata": {"name": "my-app", "namespace": "apps", "uid": "u", "generation": 1,
            "resourceVersion": "0", "finalizers": ["operator.werf.io/jobs"]},
        "spec": {"registry": registry, "converge": converge},
        "status": {"desiredTag": "v1", "desiredRules": rules, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Synced", "message": "v0 is deployed",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}

fn apiserver(secret_of: &str) -> (Client, Arc<Mutex<Cluster>>) {
    let cluster = Arc::new(Mutex::new(Cluster {
        bundle: bundle(secret_of),
        secret: 500,
        stores: 0,
        events: 0,
    }));
    let asked = cluster.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = cluster.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let path = parts.uri.path();
            let (code, answer) = cluster.lock().unwrap().answer(&parts.method, path, &body);
            let body = Body::from(answer.to_string().into_bytes());
            let response = Response::builder().status(code).body(body);
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}

#[rstest]
#[case::values("values", "TargetNamespaceNotFound")]
#[case::registry("registry", "RegistrySecretInvalid")]
#[tokio::test(start_paused = true)]
async fn a_secret_that_cannot_be_read_for_long_is_told_once_and_heals(
    #[case] secret_of: &str,
    #[case] healed: &str,
) {
    let (client, cluster) = apiserver(secret_of);
    let context = context(client).await;
    let key = BundleKey::new("apps", "my-app");
    let fails = async || {
        let failed = pass(&context, &key, None).await.unwrap_err();
        assert_eq!(failed.class(), Class::Transient);
        tokio::time::advance(Duration::from_secs(2)).await;
    };
    for _ in 0..10 {
        fails().await;
        assert_eq!(cluster.lock().unwrap().ready()["status"], "True");
    }
    for _ in 0..5 {
        fails().await;
        let cluster = cluster.lock().unwrap();
        let ready = cluster.ready();
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("SourcesUnreadable"))
        );
        assert_eq!(
            ready["message"],
            "failed to get Secret 'creds' from namespace 'apps': 500 Internal Server Error"
        );
        assert_eq!((cluster.stores, cluster.events), (1, 1));
    }
    cluster.lock().unwrap().secret = 200;
    pass(&context, &key, None).await.unwrap();
    // What comes next, in a cluster that has no more than the Secret.
    assert_eq!(cluster.lock().unwrap().ready()["reason"], healed);
    // Failures before that do not count any more.
    cluster.lock().unwrap().secret = 500;
    fails().await;
    assert_eq!(cluster.lock().unwrap().ready()["reason"], healed);
}
