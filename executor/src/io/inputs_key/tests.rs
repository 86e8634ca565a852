//! What becomes of the key when the Secret is lost, and of replicas that have different ones.

use std::convert::Infallible;

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use werf_shared::error::{Class, chain};

use super::*;

const PATH: &str = "/api/v1/namespaces/system/secrets";

/// What the Secret's apiserver is like.
#[derive(Default)]
struct State {
    secret: Option<Value>,
    /// This comes to be between a look and what follows from it.
    rival: Option<Value>,
    /// Nothing but this is answered.
    failing: Option<StatusCode>,
    requests: usize,
}

#[derive(Clone, Default)]
struct Apiserver(Arc<Mutex<State>>);

impl Apiserver {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests
    }

    async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let mut state = self.0.lock().unwrap();
        state.requests += 1;
        if let Some(code) = state.failing {
            return (code, failure(code));
        }
        let path = parts.uri.path();
        if parts.method == Method::POST {
            assert_eq!(path, PATH);
            if state.secret.is_some() {
                return (StatusCode::CONFLICT, failure(StatusCode::CONFLICT));
            }
            let made: Value = serde_json::from_slice(&body).unwrap();
            state.secret = Some(made.clone());
            return (StatusCode::CREATED, made);
        }
        assert_eq!(path, format!("{PATH}/{SECRET}"));
        let found = state.secret.clone();
        if let Some(rival) = state.rival.take() {
            state.secret = Some(rival);
        }
        match found {
            Some(found) => (StatusCode::OK, found),
            None => (StatusCode::NOT_FOUND, failure(StatusCode::NOT_FOUND)),
        }
    }

    async fn replica(&self) -> KeyInUse {
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
        KeyInUse::load(client, "system".to_owned()).await.unwrap()
    }
}

fn failure(code: StatusCode) -> Value {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "AlreadyExists",
        _ => "Other",
    };
    json!({"kind": "Status", "status": "Failure", "message": "said so", "reason": reason, "code": code.as_u16()})
}

fn secret(byte: u8) -> Value {
    json!({"metadata": {"name": SECRET}, "data": {"key": ByteString(vec![byte; 32])}})
}

fn key_of(byte: u8) -> InputsKey {
    InputsKey::new(vec![byte; 32])
}

#[tokio::test]
async fn the_first_replica_makes_the_key_and_all_have_it() {
    let apiserver = Apiserver::default();
    let first = apiserver.replica().await;
    let second = apiserver.replica().await;
    assert!(first.current() == second.current());
    assert!(first.reload().await.unwrap() == second.current());
    assert_eq!(apiserver.requests(), 4, "get, create, get, get");
}

#[tokio::test]
async fn a_key_that_somebody_else_makes_at_the_same_moment_is_everybodys() {
    let apiserver = Apiserver::default();
    apiserver.change(|state| state.rival = Some(secret(7)));
    assert!(*apiserver.replica().await.current() == key_of(7));
}

#[tokio::test]
async fn a_restored_secret_counts_from_the_next_read_on() {
    let apiserver = Apiserver::default();
    let replica = apiserver.replica().await;
    let before = replica.current();
    apiserver.change(|state| state.secret = Some(secret(7)));
    assert!(replica.current() == before, "nobody has read it");
    assert!(*replica.reload().await.unwrap() == key_of(7));
    assert!(*replica.current() == key_of(7));
}

#[tokio::test]
async fn a_deleted_secret_is_made_anew_and_never_with_the_lost_key() {
    let apiserver = Apiserver::default();
    let replicas = [apiserver.replica().await, apiserver.replica().await];
    let lost = replicas[0].current();
    apiserver.change(|state| state.secret = None);
    let made = replicas[0].reload().await.unwrap();
    assert!(made != lost);
    assert!(replicas[1].reload().await.unwrap() == made);
    assert!(apiserver.replica().await.current() == made);
}

#[tokio::test]
async fn a_read_that_fails_changes_nothing() {
    let apiserver = Apiserver::default();
    let replica = apiserver.replica().await;
    let before = replica.current();
    for (code, class) in [
        (StatusCode::INTERNAL_SERVER_ERROR, Class::Transient),
        (StatusCode::FORBIDDEN, Class::Rejected),
    ] {
        apiserver.change(|state| state.failing = Some(code));
        let error = replica.reload().await.err().unwrap();
        assert_eq!(error.class(), class);
        assert!(chain(&error).starts_with("cannot read the inputs key"));
        assert!(replica.current() == before);
    }
}

#[tokio::test]
async fn a_secret_without_a_key_of_some_length_is_not_used() {
    let apiserver = Apiserver::default();
    let replica = apiserver.replica().await;
    let before = replica.current();
    let short = json!({"metadata": {"name": SECRET}, "data": {"key": ByteString(vec![7; 15])}});
    apiserver.change(|state| state.secret = Some(short));
    let error = replica.reload().await.err().unwrap();
    assert_eq!(error.class(), Class::Transient);
    assert!(replica.current() == before);
}
