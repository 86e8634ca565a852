//! What a user notices: which object is read, and what is said when it cannot be.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use super::*;
use http::{Request, Response};
use kube::client::Body;
use werf_shared::error::chain;

const CONFIG_MAP: &str = "/api/v1/namespaces/a/configmaps/x";
const SECRET: &str = "/api/v1/namespaces/a/secrets/x";
const SECRET_IN_TARGET: &str = "/api/v1/namespaces/b/secrets/x";

/// An apiserver that answers `code` and `body` to each path it knows and 404 to the others, and
/// the paths it was asked for.
fn apiserver(answers: &[(&'static str, u16, &'static str)]) -> (Client, Arc<Mutex<Vec<String>>>) {
    let answers = answers.to_vec();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let answer = answers.iter().find(|(known, ..)| *known == path);
        let (code, body) = answer.map_or((404, ""), |(_, code, body)| (*code, *body));
        log.lock().unwrap().push(path);
        let body = if code < 300 {
            body.to_owned()
        } else {
            failure(code)
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(body.into_bytes()));
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    (Client::new(service, "default"), asked)
}

fn failure(code: u16) -> String {
    let reason = if code == 404 { "NotFound" } else { "Other" };
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"said so","reason":"{reason}","code":{code}}}"#
    )
}

fn reference(kind: SourceKind) -> SourceRef {
    SourceRef {
        index: 0,
        kind,
        name: "x".to_owned(),
        optional: false,
    }
}

fn documents(sources: &[Source]) -> Vec<(&str, &[u8])> {
    let documents = sources.iter().flat_map(|source| &source.documents);
    documents
        .map(|(key, text)| (key.as_str(), text.as_slice()))
        .collect()
}

#[tokio::test]
async fn texts_and_bytes_of_a_config_map_are_documents() {
    let body = r#"{"metadata":{"name":"x"},"data":{"a":"b: 1"},"binaryData":{"c":"ZDogMQ=="}}"#;
    let (client, _) = apiserver(&[(CONFIG_MAP, 200, body)]);
    let sources = fetch(&client, &[reference(SourceKind::ConfigMap)], "a", "a")
        .await
        .unwrap();
    assert_eq!(
        documents(&sources),
        [("a", b"b: 1".as_slice()), ("c", b"d: 1")]
    );
}

#[tokio::test]
async fn the_bundles_namespace_comes_first() {
    let answers = [
        (
            SECRET,
            200,
            r#"{"metadata":{"name":"x"},"data":{"a":"Zmlyc3Q="}}"#,
        ),
        (
            SECRET_IN_TARGET,
            200,
            r#"{"metadata":{"name":"x"},"data":{"a":"c2Vjb25k"}}"#,
        ),
    ];
    let (client, asked) = apiserver(&answers);
    let sources = fetch(&client, &[reference(SourceKind::Secret)], "a", "b")
        .await
        .unwrap();
    assert_eq!(documents(&sources), [("a", b"first".as_slice())]);
    assert_eq!(*asked.lock().unwrap(), [SECRET]);

    let (client, asked) = apiserver(&answers[1..]);
    let sources = fetch(&client, &[reference(SourceKind::Secret)], "a", "b")
        .await
        .unwrap();
    assert_eq!(documents(&sources), [("a", b"second".as_slice())]);
    assert_eq!(*asked.lock().unwrap(), [SECRET, SECRET_IN_TARGET]);
}

#[rstest::rstest]
#[case::config_map(
    SourceKind::ConfigMap,
    "a",
    "failed to get ConfigMap 'x' from namespace 'a'"
)]
#[case::secret(SourceKind::Secret, "a", "failed to get Secret 'x' from namespace 'a'")]
#[case::config_map_in_two(
    SourceKind::ConfigMap,
    "b",
    "configMap 'x' not found in namespaces 'a' or 'b'"
)]
#[case::secret_in_two(
    SourceKind::Secret,
    "b",
    "secret 'x' not found in namespaces 'a' or 'b'"
)]
#[tokio::test]
async fn a_missing_source_is_told_as_the_guides_do(
    #[case] kind: SourceKind,
    #[case] target: &str,
    #[case] told: &str,
) {
    let (client, asked) = apiserver(&[]);
    let error = fetch(&client, &[reference(kind)], "a", target)
        .await
        .unwrap_err();
    assert_eq!(
        (chain(&error).as_str(), error.class()),
        (told, Class::Rejected)
    );
    assert_eq!(
        asked.lock().unwrap().len(),
        if target == "a" { 1 } else { 2 }
    );
}

#[rstest::rstest]
#[case::token(401, Class::Transient, "401 Unauthorized")]
#[case::nonsense(400, Class::Broken, "400 Bad Request")]
#[case::throttled(429, Class::Transient, "429 Too Many Requests")]
#[case::internal(500, Class::Transient, "500 Internal Server Error")]
#[case::unavailable(503, Class::Transient, "503 Service Unavailable")]
#[case::unheard_of(599, Class::Transient, "599")]
#[tokio::test]
async fn a_failing_apiserver_is_no_missing_source(
    #[case] code: u16,
    #[case] class: Class,
    #[case] words: &str,
) {
    let (client, asked) = apiserver(&[(SECRET, code, ""), (CONFIG_MAP, code, "")]);
    let optional = SourceRef {
        optional: true,
        ..reference(SourceKind::Secret)
    };
    let error = fetch(&client, &[optional], "a", "b").await.unwrap_err();
    assert_eq!(error.class(), class);
    // The apiserver's own words are not told of a Secret.
    let told = format!("failed to get Secret 'x' from namespace 'a': {words}");
    assert_eq!(chain(&error), told);
    assert_eq!(*asked.lock().unwrap(), [SECRET]);
    let config_map = [reference(SourceKind::ConfigMap)];
    let error = fetch(&client, &config_map, "a", "b").await.unwrap_err();
    let told = format!("failed to get ConfigMap 'x' from namespace 'a': {code} said so");
    assert_eq!(chain(&error), told);
}

#[tokio::test]
async fn a_forbidden_source_is_not_skipped_even_if_optional() {
    let (client, asked) = apiserver(&[(SECRET, 403, "")]);
    let optional = SourceRef {
        optional: true,
        ..reference(SourceKind::Secret)
    };
    let error = fetch(&client, &[optional], "a", "b").await.unwrap_err();
    assert_eq!(
        chain(&error),
        "failed to get Secret 'x' from namespace 'a': forbidden"
    );
    assert_eq!(error.class(), Class::Rejected);
    assert_eq!(*asked.lock().unwrap(), [SECRET]);
}

#[tokio::test]
async fn an_optional_source_may_be_missing_and_the_others_keep_their_order() {
    let body = r#"{"metadata":{"name":"x"},"data":{}}"#;
    let (client, _) = apiserver(&[(CONFIG_MAP, 200, body), (SECRET, 200, body)]);
    let mut refs: Vec<SourceRef> = (0..20)
        .map(|index| SourceRef {
            index,
            ..reference(if index % 2 == 0 {
                SourceKind::Secret
            } else {
                SourceKind::ConfigMap
            })
        })
        .collect();
    refs[7].name = "missing".to_owned();
    refs[7].optional = true;
    let sources = fetch(&client, &refs, "a", "b").await.unwrap();
    let order: Vec<usize> = sources.iter().map(|source| source.index).collect();
    assert_eq!(
        order,
        (0..20).filter(|index| *index != 7).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_unreadable_secret_is_not_quoted() {
    let (client, _) = apiserver(&[(SECRET, 200, r#"{"metadata":{},"data":"hunter2"}"#)]);
    let error = fetch(&client, &[reference(SourceKind::Secret)], "a", "a")
        .await
        .unwrap_err();
    assert_eq!(
        chain(&error),
        "failed to get Secret 'x' from namespace 'a': unreadable answer"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(error.class(), Class::Broken);
}

#[tokio::test(start_paused = true)]
async fn a_silent_apiserver_is_given_up_on() {
    let service = tower::service_fn(|_: Request<Body>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    });
    let client = Client::new(service, "default");
    let error = fetch(&client, &[reference(SourceKind::ConfigMap)], "a", "a")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to get ConfigMap 'x' from namespace 'a': no answer within 10s"
    );
    assert_eq!(error.class(), Class::Transient);
}

#[tokio::test]
async fn a_secret_of_the_registry_is_read_from_one_namespace_and_not_shown() {
    let body =
        r#"{"metadata":{},"type":"kubernetes.io/basic-auth","data":{"password":"aHVudGVyMg=="}}"#;
    let (client, asked) = apiserver(&[(SECRET, 200, body)]);
    let secret = registry_secret(&client, "a", "x").await.unwrap().unwrap();
    assert_eq!(secret.kind(), "kubernetes.io/basic-auth");
    assert_eq!(secret.get("password"), Some(b"hunter2".as_slice()));
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert!(registry_secret(&client, "b", "x").await.unwrap().is_none());
    assert_eq!(*asked.lock().unwrap(), [SECRET, SECRET_IN_TARGET]);
}

#[tokio::test]
async fn a_name_that_no_request_can_be_made_of_is_not_tried_again_at_once() {
    let (client, asked) = apiserver(&[]);
    let reference = SourceRef {
        name: "my config".to_owned(),
        ..reference(SourceKind::Secret)
    };
    let error = fetch(&client, &[reference], "a", "a").await.unwrap_err();
    let told = "failed to get Secret from namespace 'a': its name is none";
    assert_eq!(
        (chain(&error).as_str(), error.class()),
        (told, Class::Broken)
    );
    assert!(asked.lock().unwrap().is_empty());
}
