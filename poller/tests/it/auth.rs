//! How a poll logs in: what is asked of registries and their token servers, as whom, and how often.

use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{advance, pause, resume};
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::newest::Rule;
use werf_poller::decide::watched::Subscription;
use werf_poller::io::registry::{Limits, Listing, Query, Registry, Scan};
use werf_shared::poll_failure::Reason;

use crate::cluster::Cluster;
use crate::scripted::{Asked, PATH, Scripted, conditional, page, reach, status, with};

mod elsewhere;
mod evil;
mod secrets;
mod tokens;

/// A poller with a cluster to read Secrets from and a registry to poll.
struct Bed {
    cluster: Cluster,
    client: Registry,
    registry: Scripted,
}

impl Bed {
    async fn start(script: impl Fn(&Asked) -> Response + Send + 'static) -> Self {
        let cluster = Cluster::default();
        Self {
            client: client(&cluster),
            cluster,
            registry: Scripted::start(script).await,
        }
    }

    /// A Docker configuration with one entry, for the registry.
    fn has_entry(&self, name: &str, entry: &Value) {
        let host = self.registry.address.to_string();
        self.cluster.docker(name, &json!({ host: entry }));
    }

    fn subscription(&self, secret: Option<&str>) -> Subscription {
        let repository = self.registry.repository().parse().unwrap();
        Subscription {
            credentials: secret.map(Cluster::key),
            ..Subscription::anonymous(repository, false)
        }
    }

    async fn poll(&self, secret: Option<&str>) -> Result<Listing, PollFailure> {
        self.poll_again(secret, None).await
    }

    async fn poll_again(
        &self,
        secret: Option<&str>,
        earlier: Option<&Scan>,
    ) -> Result<Listing, PollFailure> {
        poll(&self.client, &self.subscription(secret), earlier).await
    }

    /// What the registry was asked since the last call, and as whom.
    fn asked(&self) -> Vec<(String, Option<String>)> {
        let asked = self.registry.asked();
        asked
            .iter()
            .map(|asked| (target(asked), by(asked)))
            .collect()
    }
}

fn client(cluster: &Cluster) -> Registry {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Registry::new(Limits::default(), reach())
        .unwrap()
        .with_secrets(cluster.secrets())
}

async fn poll(
    client: &Registry,
    subscription: &Subscription,
    earlier: Option<&Scan>,
) -> Result<Listing, PollFailure> {
    let poll = async {
        let access = client.open(subscription).await?;
        let query = Query {
            access: &access,
            rules: &[Rule::Newest],
            earlier,
            conditional: earlier.is_some(),
        };
        client.list(query).await
    };
    poll.await.map_err(|error| error.failure())
}

fn target(asked: &Asked) -> String {
    let path = asked.target.split('?').next().unwrap();
    let path = if path == PATH { "list" } else { path };
    format!("{} {path}", asked.method)
}

fn by(asked: &Asked) -> Option<String> {
    let header = asked.headers.get("authorization")?;
    Some(header.to_str().unwrap().to_owned())
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

fn entry(user: &str, password: &str) -> Value {
    json!({ "auth": BASE64_STANDARD.encode(format!("{user}:{password}")) })
}

/// 401 with a challenge whose realm is this path at the registry itself.
fn challenge(asked: &Asked, more: &str) -> Response {
    let host = asked.headers["host"].to_str().unwrap();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"reg\"{more}");
    with(401, &[("www-authenticate", &challenge)], "")
}

/// A registry with a token server of its own that gives `token` to whoever is one of these.
fn guarded(users: Vec<Option<String>>, token: Value) -> impl Fn(&Asked) -> Response + Send {
    move |asked| {
        if asked.target.starts_with("/token") {
            return if users.contains(&by(asked)) {
                with(200, &[], token.to_string())
            } else {
                status(401)
            };
        }
        let value = token["token"].as_str().unwrap();
        if by(asked) == Some(format!("Bearer {value}")) {
            conditional(asked, "\"e\"", &["v1"])
        } else {
            challenge(asked, "")
        }
    }
}

fn list(by: Option<&str>) -> (String, Option<String>) {
    ("GET list".to_owned(), by.map(str::to_owned))
}

fn fetch(by: Option<&str>) -> (String, Option<String>) {
    ("GET /token".to_owned(), by.map(str::to_owned))
}

#[tokio::test]
async fn nobody_needs_a_token_too_where_the_registry_says_so() {
    let bed = Bed::start(guarded(vec![None], json!({ "token": "abc" }))).await;
    bed.poll(None).await.unwrap();
    let asked = bed.registry.asked();
    assert_eq!(asked.len(), 3);
    let token = "/token?service=reg&scope=repository%3Aorg%2Fapp%3Apull";
    assert_eq!((asked[1].target.as_str(), by(&asked[1])), (token, None));
    assert_eq!(by(&asked[2]).unwrap(), "Bearer abc");
}

#[tokio::test]
async fn a_steady_poll_is_one_request() {
    let token = json!({ "access_token": "unused", "token": "abc", "expires_in": 3600 });
    let user = basic("user", "pa:ss");
    let bed = Bed::start(guarded(vec![Some(user.clone())], token)).await;
    bed.has_entry("login", &entry("user", "pa:ss"));
    let first = bed.poll(Some("login")).await.unwrap();
    let bearer = Some("Bearer abc");
    assert_eq!(bed.asked(), [list(None), fetch(Some(&user)), list(bearer)]);
    let second = bed.poll_again(Some("login"), Some(&first.scan)).await;
    assert_eq!(second.unwrap().status, 304);
    assert_eq!(bed.asked(), [list(bearer)]);
    assert_eq!(
        bed.cluster.asked(),
        ["GET /api/v1/namespaces/team/secrets/login"; 2]
    );
}

#[tokio::test]
async fn user_and_password_are_sent_to_whom_asks_for_them() {
    let bed = Bed::start(|asked| match by(asked) {
        Some(_) => page(&["v1"], &[]),
        None => with(401, &[("www-authenticate", "Basic realm=\"r\"")], ""),
    })
    .await;
    bed.cluster.basic("login", "user", "pa:ss");
    let user = basic("user", "pa:ss");
    bed.poll(Some("login")).await.unwrap();
    assert_eq!(bed.asked(), [list(None), list(Some(&user))]);
    bed.poll(Some("login")).await.unwrap();
    assert_eq!(bed.asked(), [list(Some(&user))]);
}

#[tokio::test]
async fn a_registry_that_changes_its_mind_is_followed() {
    let user = basic("user", "pass");
    let bed = Bed::start(|asked| match by(asked) {
        Some(_) => page(&["v1"], &[]),
        None => with(401, &[("www-authenticate", "Basic")], ""),
    })
    .await;
    bed.has_entry("login", &entry("user", "pass"));
    bed.poll(Some("login")).await.unwrap();
    bed.asked();
    let token = json!({ "token": "abc" });
    bed.registry
        .now_answers(guarded(vec![Some(user.clone())], token));
    bed.poll(Some("login")).await.unwrap();
    let expected = [
        list(Some(&user)),
        fetch(Some(&user)),
        list(Some("Bearer abc")),
    ];
    assert_eq!(bed.asked(), expected);
}

#[tokio::test]
async fn bearer_goes_before_basic_in_either_order() {
    for basic_first in [true, false] {
        let bed = Bed::start(move |asked| {
            let mut response = guarded(vec![None], json!({ "token": "abc" }))(asked);
            let basic = "Basic realm=\"x\"".parse().unwrap();
            if response.status() == 401 && basic_first {
                let bearer = response.headers_mut().insert("www-authenticate", basic);
                response
                    .headers_mut()
                    .append("www-authenticate", bearer.unwrap());
            } else if response.status() == 401 {
                response.headers_mut().append("www-authenticate", basic);
            }
            response
        })
        .await;
        bed.poll(None).await.unwrap();
        assert_eq!(bed.asked().len(), 3);
    }
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let token = json!({ "token": "abc", "expires_in": 60 });
    let bed = Bed::start(guarded(vec![None], token)).await;
    bed.poll(None).await.unwrap();
    bed.asked();
    pause();
    advance(std::time::Duration::from_secs(56)).await;
    resume();
    bed.poll(None).await.unwrap();
    assert_eq!(bed.asked(), [fetch(None), list(Some("Bearer abc"))]);
}

/// Harbor answers a token it does not like by asking for a password.
#[tokio::test]
async fn a_refused_token_is_replaced_once_whatever_the_answer_asks_for() {
    let bed = Bed::start(guarded(vec![None], json!({ "token": "old" }))).await;
    bed.poll(None).await.unwrap();
    bed.asked();
    bed.registry
        .now_answers(|asked| match by(asked).as_deref() {
            None if asked.target.starts_with("/token") => with(200, &[], r#"{"token":"new"}"#),
            Some("Bearer new") => page(&["v1"], &[]),
            _ => with(401, &[("www-authenticate", "Basic realm=\"harbor\"")], ""),
        });
    bed.poll(None).await.unwrap();
    let (old, new) = (Some("Bearer old"), Some("Bearer new"));
    assert_eq!(bed.asked(), [list(old), fetch(None), list(new)]);
    bed.registry.now_answers(|asked| {
        if asked.target.starts_with("/token") {
            with(200, &[], r#"{"token":"newer"}"#)
        } else {
            challenge(asked, "")
        }
    });
    let failure = bed.poll(None).await.unwrap_err();
    assert_eq!(
        bed.asked(),
        [list(new), fetch(None), list(Some("Bearer newer"))]
    );
    assert_eq!(failure.reason, Reason::AuthenticationFailed);
}

#[tokio::test]
async fn a_registry_that_never_lets_in_is_asked_twice_and_no_more() {
    let bed = Bed::start(|asked| {
        if asked.target.starts_with("/token") {
            with(200, &[], r#"{"token":"abc","expires_in":3600}"#)
        } else {
            challenge(asked, "")
        }
    })
    .await;
    bed.has_entry("login", &entry("user", "hunter2"));
    for _ in 0..3 {
        let failure = bed.poll(Some("login")).await.unwrap_err();
        assert_eq!(bed.asked().len(), 3);
        assert_eq!(failure.reason, Reason::AuthenticationFailed);
        assert_eq!(failure.status, Some(401));
        assert_eq!(
            failure.what,
            "401 unauthorized (the credentials of Secret 'login' in namespace 'team' were refused)"
        );
    }
}

#[tokio::test]
async fn a_403_is_final() {
    let bed = Bed::start(|_| status(403)).await;
    let failure = bed.poll(None).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthenticationFailed);
    assert_eq!(bed.asked().len(), 1);
}

#[rstest::rstest]
#[case::unbalanced("Bearer realm=\"http://r/".to_owned(), Reason::AuthChallengeInvalid)]
#[case::unquoted("Bearer realm=http://r/".to_owned(), Reason::AuthChallengeInvalid)]
#[case::endless(format!("Bearer realm=\"{}\"", "x".repeat(64 << 10)), Reason::AuthChallengeInvalid)]
#[case::other("Negotiate".to_owned(), Reason::AuthenticationFailed)]
#[case::basic("Basic realm=\"hunter2\"".to_owned(), Reason::AuthenticationFailed)]
#[tokio::test]
async fn a_challenge_that_cannot_be_met_ends_the_poll(
    #[case] challenge: String,
    #[case] reason: Reason,
) {
    let script = move |_: &Asked| with(401, &[("www-authenticate", &challenge)], "hunter2");
    let bed = Bed::start(script).await;
    let failure = bed.poll(None).await.unwrap_err();
    assert_eq!(failure.reason, reason, "{failure}");
    assert!(!failure.what.contains("hunter2"));
    assert_eq!(bed.asked().len(), 1);
}

#[rstest::rstest]
#[case("repository:org/app:push,pull,delete", "pull")]
#[case("repository:org/app:*", "pull")]
#[case("registry:catalog:*", "pull")]
#[case(
    "repository:org/other:pull repository:org/app:metadata_read",
    "pull,metadata_read"
)]
#[tokio::test]
async fn only_reading_this_repository_is_asked_for(
    #[case] scope: &'static str,
    #[case] actions: &str,
) {
    let bed = Bed::start(move |asked| {
        if asked.target.starts_with("/token") {
            with(200, &[], r#"{"token":"abc"}"#)
        } else if by(asked).is_some() {
            page(&["v1"], &[])
        } else {
            challenge(asked, &format!(",scope=\"{scope}\""))
        }
    })
    .await;
    bed.poll(None).await.unwrap();
    let token = &bed.registry.asked()[1].target;
    let asked: url::Url = format!("http://r{token}").parse().unwrap();
    let scopes: Vec<String> = asked
        .query_pairs()
        .filter(|(key, _)| key == "scope")
        .map(|(_, value)| value.into_owned())
        .collect();
    assert_eq!(scopes, [format!("repository:org/app:{actions}")]);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_at_the_token_server() {
    let bed = Bed::start(|asked| {
        if asked.target == "/token" && asked.method == Method::POST {
            with(200, &[], r#"{"access_token":"abc"}"#)
        } else if by(asked).as_deref() == Some("Bearer abc") {
            page(&["v1"], &[])
        } else {
            challenge(asked, "")
        }
    })
    .await;
    bed.has_entry(
        "login",
        &json!({ "auth": "MDAwOg==", "identitytoken": "a+b/c=" }),
    );
    bed.poll(Some("login")).await.unwrap();
    let asked = bed.registry.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(by(&asked[1]), None);
    let form = url::form_urlencoded::parse(&asked[1].body);
    let form: Vec<(String, String)> = form.into_owned().collect();
    let expected = [
        ("grant_type", "refresh_token"),
        ("client_id", "werf-operator"),
        ("service", "reg"),
        ("scope", "repository:org/app:pull"),
        ("refresh_token", "a+b/c="),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(form, expected);
}

#[tokio::test]
async fn an_identity_token_is_no_password() {
    let bed = Bed::start(|_| with(401, &[("www-authenticate", "Basic")], "")).await;
    bed.has_entry("login", &json!({ "identitytoken": "hunter2" }));
    let failure = bed.poll(Some("login")).await.unwrap_err();
    assert_eq!(bed.asked(), [list(None)]);
    assert!(
        failure.what.contains("asks for user and password"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let bed = Bed::start(|asked| match by(asked).as_deref() {
        Some("Bearer abc") => page(&["v1"], &[]),
        _ => challenge(asked, ""),
    })
    .await;
    bed.has_entry("login", &json!({ "registrytoken": "abc" }));
    bed.poll(Some("login")).await.unwrap();
    assert_eq!(bed.asked(), [list(Some("Bearer abc"))]);
    bed.has_entry("login", &json!({ "registrytoken": "old" }));
    let failure = bed.poll(Some("login")).await.unwrap_err();
    assert_eq!(bed.asked(), [list(Some("Bearer old"))]);
    assert_eq!(failure.reason, Reason::AuthenticationFailed);
}
