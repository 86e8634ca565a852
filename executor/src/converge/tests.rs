//! Replicas that hash inputs with different keys: what they do to each other's runs.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use kube::runtime::reflector;
use prometheus_client::registry::Registry;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::decide::rules;

const BUNDLE: &str = "/apis/werf.io/v1alpha1/namespaces/apps/werfbundles/app";
const KEY: &str = "/api/v1/namespaces/system/secrets";
const JOBS: &str = "/apis/batch/v1/namespaces/apps/jobs";

/// An executor that starts now and has seen no bundle.
pub(super) async fn context(client: Client) -> Context {
    let (bundles, _writer) = reflector::store();
    let key = KeyInUse::load(client.clone(), "system".to_owned()).await;
    Context {
        recorder: Recorder::new(client.clone()),
        client,
        inputs_key: key.unwrap(),
        job_pod: PodSettings::default(),
        metrics: ConvergeMetrics::register(&mut Registry::default()),
        allow_insecure_registries: false,
        seen: Seen::new(bundles),
        just_stored: JustStored::default(),
        rooms: Rooms::default(),
        setbacks: Setbacks::default(),
    }
}

/// An apiserver with one bundle that wants v1.0.0, where no Job can be made: what was claimed is to be
/// seen, and ends when a test says so.
#[derive(Clone)]
struct Apiserver(Arc<Mutex<State>>);

struct State {
    bundle: Value,
    key: Option<Value>,
    /// The inputs that Jobs were to be made with.
    jobs: Vec<Value>,
    /// Why the key cannot be read.
    key_refused: Option<u16>,
    key_reads: usize,
}

impl Apiserver {
    fn new() -> Self {
        let bundle = json!({
            "apiVersion": "werf.io/v1alpha1", "kind": "WerfBundle",
            "metadata": {
                "name": "app", "namespace": "apps", "uid": "1", "resourceVersion": "1",
                "generation": 1, "finalizers": [names::FINALIZER],
            },
            "spec": {
                "registry": {"url": "registry.example.com/app"},
                "converge": {"retry": {"limit": 0}},
            },
            "status": {"desiredTag": "v1.0.0"},
        });
        let mut bundle: WerfBundle = serde_json::from_value(bundle).unwrap();
        let rules = rules::of(&bundle.spec.registry);
        bundle.status.as_mut().unwrap().desired_rules = Some(rules);
        Self(Arc::new(Mutex::new(State {
            bundle: serde_json::to_value(bundle).unwrap(),
            key: None,
            jobs: Vec::new(),
            key_refused: None,
            key_reads: 0,
        })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> (u16, Value) {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = self.state();
        let path = parts.uri.path();
        match (&parts.method, path.strip_prefix(BUNDLE)) {
            (&Method::GET, Some("")) => return (200, state.bundle.clone()),
            (&Method::PUT, Some("/status")) => {
                let version = |of: &Value| of["metadata"]["resourceVersion"].clone();
                let before = version(&state.bundle);
                assert_eq!(version(&body), before, "nobody is overtaken here");
                let next = before.as_str().unwrap().parse::<u32>().unwrap() + 1;
                state.bundle = body;
                state.bundle["metadata"]["resourceVersion"] = json!(next.to_string());
                return (200, state.bundle.clone());
            }
            _ => {}
        }
        let meta = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "x"}});
        match (&parts.method, path) {
            (&Method::POST, KEY) => {
                state.key = Some(body.clone());
                (201, body)
            }
            (&Method::GET, path) if path.starts_with(KEY) => {
                state.key_reads += 1;
                if let Some(code) = state.key_refused {
                    return (code, failure(code));
                }
                state
                    .key
                    .clone()
                    .map_or((404, failure(404)), |key| (200, key))
            }
            (
                &Method::GET,
                "/api/v1/namespaces/apps" | "/api/v1/namespaces/apps/serviceaccounts/default",
            ) => (200, meta),
            (&Method::POST, JOBS) => {
                let inputs = &body["metadata"]["annotations"]["operator.werf.io/inputs-hash"];
                state.jobs.push(inputs.clone());
                (500, failure(500))
            }
            _ => (404, failure(404)),
        }
    }

    /// An executor that starts now.
    async fn replica(&self) -> Context {
        let apiserver = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let apiserver = apiserver.clone();
            async move {
                let (code, answer) = apiserver.answer(request).await;
                let body = Body::from(answer.to_string().into_bytes());
                let response = Response::builder().status(code).body(body);
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        let client = Client::new(service, "default");
        context(client).await
    }

    /// The run that is claimed ends.
    fn end(&self, result: &str) {
        let status = &mut self.state().bundle["status"];
        status["activeJobName"] = Value::Null;
        status["lastJobStatus"] = json!(result);
    }

    /// The claim is given up.
    fn give_up(&self) {
        let status = &mut self.state().bundle["status"];
        status["activeJobName"] = Value::Null;
        status["currentRun"] = Value::Null;
    }

    fn runs(&self) -> i64 {
        self.state().bundle["status"]["run"].as_i64().unwrap()
    }
}

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    json!({"kind": "Status", "status": "Failure", "message": "", "reason": reason, "code": code})
}

/// Whether a pass comes as far as making a Job.
async fn makes_a_job(replica: &Context) -> bool {
    match pass(replica, &BundleKey::new("apps", "app"), None).await {
        Err(ConvergeError::Api(ApiError::Failed { .. })) => true,
        ended => {
            ended.unwrap();
            false
        }
    }
}

#[rstest]
#[case::of_a_bundle_at_rest("Succeeded")]
#[case::of_a_bundle_that_has_given_up("Failed")]
#[tokio::test]
async fn losing_the_key_costs_one_run(#[case] result: &str) {
    let apiserver = Apiserver::new();
    let old = apiserver.replica().await;
    assert!(makes_a_job(&old).await);
    apiserver.end(result);
    assert!(!makes_a_job(&old).await);
    assert_eq!(apiserver.state().key_reads, 1, "by the start alone");

    apiserver.state().key = None;
    let new = apiserver.replica().await;
    assert!(!makes_a_job(&old).await, "these are its own inputs");
    assert!(makes_a_job(&new).await, "these may be any");
    assert!(
        makes_a_job(&old).await,
        "it goes on with the claim of the other"
    );
    assert_eq!(apiserver.runs(), 2);
    let jobs = apiserver.state().jobs.clone();
    assert_eq!(jobs[1], jobs[2]);
    apiserver.end(result);
    let reads = apiserver.state().key_reads;
    for replica in [&old, &new, &old, &new] {
        assert!(!makes_a_job(replica).await);
    }
    assert_eq!(apiserver.runs(), 2);
    assert_eq!(apiserver.state().key_reads, reads, "they agree");
}

#[tokio::test]
async fn a_claim_with_a_lost_key_is_given_up_and_not_made_again_with_it() {
    let apiserver = Apiserver::new();
    let old = apiserver.replica().await;
    assert!(makes_a_job(&old).await);
    apiserver.state().key = None;
    let new = apiserver.replica().await;
    assert!(makes_a_job(&new).await, "another one");
    assert_eq!(apiserver.runs(), 2);

    // As if `old` came first after the claim was given up.
    apiserver.give_up();
    assert!(makes_a_job(&old).await);
    assert!(makes_a_job(&new).await, "it is its claim, too");
    assert_eq!(apiserver.runs(), 3);
}

#[rstest]
#[case::for_now(500, Class::Transient)]
#[case::by_rbac(403, Class::Rejected)]
#[tokio::test]
async fn while_the_key_cannot_be_read_nothing_is_done_on_a_guess(
    #[case] code: u16,
    #[case] class: Class,
) {
    let apiserver = Apiserver::new();
    assert!(makes_a_job(&apiserver.replica().await).await);
    apiserver.end("Succeeded");
    apiserver.state().key = None;
    let new = apiserver.replica().await;
    apiserver.state().key_refused = Some(code);
    let before = apiserver.state().bundle.clone();
    let key = BundleKey::new("apps", "app");
    let error = pass(&new, &key, None).await.err().unwrap();
    assert!(matches!(error, ConvergeError::InputsKey(_)), "{error}");
    assert_eq!(error.class(), class);
    assert_eq!(apiserver.state().bundle, before, "nor told as the bundle's");
    apiserver.state().key_refused = None;
    assert!(makes_a_job(&new).await);
}
