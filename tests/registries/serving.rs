//! What the servers answer to a plain HTTP client, where the poller relies on it.

use http::{StatusCode, Version};
use reqwest::Response;
use serde_json::{Value, json};
use testbed::registries::{Lifetime, Program, Server};

use crate::bed;

async fn get(server: &Server, target: &str) -> Response {
    let url = format!("{}{target}", server.origin());
    server.client().unwrap().get(url).send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|v| v.to_str().unwrap())
}

/// Should one of them send an `ETag` some day, then conditional requests can be shown here too.
#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_list_has_neither_etag_nor_pages_unless_asked_for(#[case] program: Program) {
    let server = bed::open(program).await;
    bed::repository(server, "serving/list", &["v1.0.0", "v2.0.0"]).await;
    let response = get(server, "/v2/serving/list/tags/list").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "etag"), None);
    assert_eq!(header(&response, "link"), None);
    let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let expected = json!({ "name": "serving/list", "tags": ["v1.0.0", "v2.0.0"] });
    assert_eq!(list, expected);
    let unknown = get(server, "/v2/serving/unknown/tags/list").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[rstest::rstest]
#[case(Program::Debian, None, 5)]
#[case(
    Program::Distribution,
    Some("</v2/serving/pages/tags/list?last=v0.2.0&n=2>; rel=\"next\""),
    2
)]
#[tokio::test]
async fn pages_are_an_invention_of_the_third_version(
    #[case] program: Program,
    #[case] link: Option<&str>,
    #[case] count: usize,
) {
    let server = bed::open(program).await;
    bed::repository(server, "serving/pages", &["v0.0.0"]).await;
    server.tag_numbered("serving/pages", "v0.0.0", 4).unwrap();
    let mut response = get(server, "/v2/serving/pages/tags/list?n=2&last=v0.0.0").await;
    if link.is_none() {
        response = get(server, "/v2/serving/pages/tags/list?n=2").await;
    }
    assert_eq!(header(&response, "link"), link);
    let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(list["tags"].as_array().unwrap().len(), count);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_manifest_has_its_digest_for_an_etag(#[case] program: Program) {
    let server = bed::open(program).await;
    let repository = server.repository("serving/manifest").unwrap();
    let digest = bed::push(&repository, "v1.0.0", "first").await;
    let url = format!("{}/v2/serving/manifest/manifests/v1.0.0", server.origin());
    let client = server.client().unwrap();
    let accept = "application/vnd.oci.image.manifest.v1+json";
    let head = client.head(&url).header("accept", accept);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let quoted = format!("\"{digest}\"");
    assert_eq!(header(&head, "docker-content-digest"), Some(&*digest));
    assert_eq!(header(&head, "etag"), Some(&*quoted));
    let again = client.get(&url).header("accept", accept);
    let again = again.header("if-none-match", &quoted).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_password_is_asked_for_and_checked(#[case] program: Program) {
    let server = bed::password(program).await;
    bed::repository(server, "serving/password", &["v1.0.0"]).await;
    let target = "/v2/serving/password/tags/list";
    let refused = get(server, target).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        header(&refused, "www-authenticate"),
        Some("Basic realm=\"registries\"")
    );
    let client = server.client().unwrap();
    for (password, status) in [(bed::PASSWORD, 200), ("wrong", 401)] {
        let request = client.get(format!("{}{target}", server.origin()));
        let request = request.basic_auth(bed::USER, Some(password));
        assert_eq!(request.send().await.unwrap().status(), status, "{password}");
    }
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_token_is_asked_for_and_expires(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let path = format!("serving/{program:?}").to_lowercase();
    bed::repository(server, &path, &["v1.0.0"]).await;
    let target = format!("/v2/{path}/tags/list");
    let refused = get(server, &target).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&refused, "www-authenticate").unwrap();
    let realm = bed::TOKENS.realm();
    assert!(challenge.starts_with(&format!("Bearer realm=\"{realm}\",service=\"")));
    assert!(challenge.contains(&format!("scope=\"repository:{path}:pull\"")));

    let client = server.client().unwrap();
    let scope = format!("repository:{path}:pull");
    let query = [("service", "registries of the tests"), ("scope", &scope)];
    let realm = url::Url::parse_with_params(&realm, query).unwrap();
    let ask = |user: Option<(&str, &str)>| {
        let mut request = client.get(realm.clone());
        if let Some((user, password)) = user {
            request = request.basic_auth(user, Some(password));
        }
        async move {
            let response = request.send().await.unwrap();
            let status = response.status();
            let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            (
                status,
                body["token"].as_str().unwrap_or_default().to_owned(),
            )
        }
    };
    assert_eq!(ask(None).await.0, StatusCode::UNAUTHORIZED);
    let wrong = ask(Some((bed::USER, "wrong"))).await;
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    // A minute is forgiven: one that is over by more was never any good.
    for (signed, status) in [(300, 200), (-30, 200), (-90, 401)] {
        let lifetime = Lifetime { said: 300, signed };
        bed::TOKENS.set_lifetime(&path, lifetime);
        let (granted, token) = ask(Some((bed::USER, bed::PASSWORD))).await;
        assert_eq!(granted, StatusCode::OK);
        let request = client.get(format!("{}{target}", server.origin()));
        let response = request.bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), status, "{signed}");
    }
    let requests = bed::TOKENS.requests(&path);
    let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 401, 200, 200, 200]);
    assert_eq!(requests[2].user.as_deref(), Some(bed::USER));
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_certificate_is_asked_for(#[case] program: Program) {
    let server = bed::mutual(program).await;
    assert_eq!(get(server, "/v2/").await.status(), StatusCode::OK);
    let pem = bed::AUTHORITY.pem().as_bytes();
    let nobody = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(pem).unwrap()]);
    let url = format!("{}/v2/", server.origin());
    assert!(nobody.build().unwrap().get(url).send().await.is_err());
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn http_2_is_offered_behind_tls(#[case] program: Program) {
    let server = bed::mutual(program).await;
    let response = get(server, "/v2/").await;
    assert_eq!(response.version(), Version::HTTP_2);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_stopped_server_comes_back_as_it_was(#[case] program: Program) {
    let mut server = Server::start(bed::open_setup(program)).await.unwrap();
    let repository = bed::repository(&server, "serving/again", &["v1.0.0"]).await;
    server.stop().unwrap();
    assert!(repository.tags().await.is_err());
    server.start_again().await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["v1.0.0"]);
    let logged = server.logged().unwrap();
    assert!(logged.iter().all(|request| request.status == 200));
}
