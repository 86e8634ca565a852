//! The Secrets that bundles name, behind an apiserver that has nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// All of one namespace, by their names.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Secrets {
    /// Puts one there, in the place of another of its name.
    pub(crate) fn put(&self, name: &str, kind: &str, data: &[(&str, &str)]) {
        let encoded = data.iter();
        let encoded: BTreeMap<_, _> = encoded
            .map(|(key, value)| (*key, STANDARD.encode(value)))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "data": encoded,
            "metadata": { "name": name, "namespace": "team" },
        });
        self.objects.lock().unwrap().insert(name.to_owned(), object);
    }

    /// A client of the apiserver.
    pub(crate) fn client(&self) -> Client {
        let secrets = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = secrets.answer(request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        });
        Client::new(service, "team")
    }

    fn answer(&self, path: &str) -> Response<Body> {
        let name = path.strip_prefix("/api/v1/namespaces/team/secrets/");
        let object = name.and_then(|name| self.objects.lock().unwrap().get(name).cloned());
        let missing = || {
            json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure",
                "reason": "NotFound", "message": "not found", "code": 404,
            })
        };
        let status = if object.is_some() { 200 } else { 404 };
        let body = object.unwrap_or_else(missing).to_string();
        let response = Response::builder().status(status);
        response.body(Body::from(body.into_bytes())).unwrap()
    }
}
