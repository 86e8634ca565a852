//! An apiserver that has the Secrets a test says, and counts how often each is read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use werf_poller::decide::watched::SecretKey;
use werf_poller::io::secrets::Secrets;

type Answers = Arc<Mutex<BTreeMap<String, (u16, Value)>>>;

#[derive(Clone, Default)]
pub(crate) struct Cluster {
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// Has a Docker configuration with these entries.
    pub(crate) fn docker(&self, name: &str, auths: &Value) {
        let json = json!({ "auths": auths }).to_string();
        self.secret(
            name,
            "kubernetes.io/dockerconfigjson",
            &[(".dockerconfigjson", &json)],
        );
    }

    /// Has a user and a password.
    pub(crate) fn basic(&self, name: &str, user: &str, password: &str) {
        let data = [("username", user), ("password", password)];
        self.secret(name, "kubernetes.io/basic-auth", &data);
    }

    pub(crate) fn secret(&self, name: &str, kind: &str, data: &[(&str, &str)]) {
        let data = data.iter();
        let data: BTreeMap<&str, String> = data
            .map(|(key, value)| (*key, BASE64_STANDARD.encode(value)))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind, "data": data,
            "metadata": { "name": name, "namespace": "team" },
        });
        self.answer(name, 200, object);
    }

    /// Answers like this when the Secret is asked for.
    pub(crate) fn fails(&self, name: &str, code: u16) {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
            "reason": "Said", "message": "said so",
        });
        self.answer(name, code, status);
    }

    fn answer(&self, name: &str, code: u16, body: Value) {
        let path = format!("/api/v1/namespaces/team/secrets/{name}");
        self.answers.lock().unwrap().insert(path, (code, body));
    }

    pub(crate) fn key(name: &str) -> SecretKey {
        SecretKey {
            namespace: "team".to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn secrets(&self) -> Secrets {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let asked = format!("{} {}", request.method(), request.uri());
            cluster.asked.lock().unwrap().push(asked);
            let answers = cluster.answers.lock().unwrap();
            let known = answers.get(request.uri().path());
            let (code, body) = known.cloned().unwrap_or((500, json!({})));
            let response = Response::builder()
                .status(code)
                .body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(response.unwrap()) }
        });
        Secrets::new(Client::new(service, "default"))
    }

    /// Everything asked since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}
