//! Token servers at another host than their registry, over TLS that works: who is asked, as whom, and
//! who is not asked at all.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use werf_poller::decide::realm::TokenServers;

use super::*;
use crate::certificates::{Ca, acceptor, ca, terminate};

/// A server that only TLS reaches.
struct Secure {
    behind: Scripted,
    address: SocketAddr,
    _terminating: JoinSet<()>,
}

impl Secure {
    async fn start(ca: &Ca) -> Self {
        let behind = Scripted::start(|_| status(500)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut terminating = JoinSet::new();
        terminating.spawn(terminate(listener, acceptor(ca), behind.address));
        Self {
            behind,
            address,
            _terminating: terminating,
        }
    }

    fn asked_by(&self) -> Vec<Option<String>> {
        self.behind.asked().iter().map(by).collect()
    }
}

/// A registry whose token server is elsewhere, and a poller that trusts both.
struct Places {
    cluster: Cluster,
    registry: Secure,
    issuer: Secure,
}

impl Places {
    async fn start() -> Self {
        let ca = ca("ours");
        let (registry, issuer) = (Secure::start(&ca).await, Secure::start(&ca).await);
        let realm = format!("Bearer realm=\"https://{}/token\"", issuer.address);
        registry.behind.now_answers(move |asked| match by(asked) {
            Some(_) => page(&["v1"], &[]),
            None => with(401, &[("www-authenticate", &realm)], ""),
        });
        issuer
            .behind
            .now_answers(|_| with(200, &[], r#"{"token":"abc"}"#));
        let cluster = Cluster::default();
        cluster.secret("certs", "Opaque", &[("ca.crt", &ca.pem())]);
        Self {
            cluster,
            registry,
            issuer,
        }
    }

    /// A pair as `--token-server` has it.
    fn pair(&self) -> String {
        format!("{}={}", self.registry.address, self.issuer.address)
    }

    fn has_entries(&self, entries: &[(&Secure, &str)]) {
        let entries = entries
            .iter()
            .map(|(server, password)| (server.address.to_string(), entry("user", password)));
        let entries: serde_json::Map<String, Value> = entries.collect();
        self.cluster.docker("login", &entries.into());
    }

    async fn poll(&self, pairs: &[&str], secret: Option<&str>) -> Result<Listing, PollFailure> {
        let pairs = pairs.iter().map(|pair| pair.parse().unwrap()).collect();
        let client = client(&self.cluster).with_token_servers(TokenServers::new(pairs));
        let repository = format!("{}/org/app", self.registry.address);
        let subscription = Subscription {
            credentials: secret.map(Cluster::key),
            certificates: Some(Cluster::key("certs")),
            ..Subscription::anonymous(repository.parse().unwrap(), false)
        };
        poll(&client, &subscription, None).await
    }
}

#[tokio::test]
async fn a_pair_that_was_named_may_see_the_password() {
    let places = Places::start().await;
    places.has_entries(&[(&places.registry, "pass")]);
    places.poll(&[&places.pair()], Some("login")).await.unwrap();
    assert_eq!(places.issuer.asked_by(), [Some(basic("user", "pass"))]);
    let bearer = Some("Bearer abc".to_owned());
    assert_eq!(places.registry.asked_by(), [None, bearer]);
}

#[tokio::test]
async fn any_other_is_not_even_asked() {
    let places = Places::start().await;
    places.has_entries(&[(&places.registry, "pass")]);
    let others = ["r.example.com=auth.example.com"];
    let failure = places.poll(&others, Some("login")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRealmRejected);
    let pair = format!("--token-server {}", places.pair());
    assert!(failure.what.contains(&pair), "{failure}");
    assert_eq!(places.issuer.asked_by(), []);
    assert_eq!(places.registry.asked_by(), [None]);
}

#[tokio::test]
async fn an_entry_of_its_own_counts_if_it_is_the_same() {
    let places = Places::start().await;
    places.has_entries(&[(&places.registry, "pass"), (&places.issuer, "other")]);
    let failure = places.poll(&[], Some("login")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRealmRejected);
    assert_eq!(places.issuer.asked_by(), []);
    places.has_entries(&[(&places.registry, "pass"), (&places.issuer, "pass")]);
    places.poll(&[], Some("login")).await.unwrap();
    assert_eq!(places.issuer.asked_by(), [Some(basic("user", "pass"))]);
}

#[tokio::test]
async fn whoever_is_nobody_may_ask_anybody() {
    let places = Places::start().await;
    places.poll(&[], None).await.unwrap();
    assert_eq!(places.issuer.asked_by(), [None]);
}

#[tokio::test]
async fn a_token_server_that_redirects_is_not_followed() {
    let places = Places::start().await;
    places.has_entries(&[(&places.registry, "pass")]);
    let elsewhere = Scripted::start(|_| with(200, &[], r#"{"token":"abc"}"#)).await;
    for code in [301, 302, 303, 307, 308] {
        let target = format!("http://{}/token", elsewhere.address);
        let script = move |_: &Asked| with(code, &[("location", &target)], "");
        places.issuer.behind.now_answers(script);
        let failed = places.poll(&[&places.pair()], Some("login")).await;
        assert_eq!(failed.unwrap_err().reason, Reason::AuthRealmRejected);
        assert_eq!(places.issuer.asked_by().len(), 1);
    }
    assert!(elsewhere.asked().is_empty());
}

/// The evil server could be talked to: its certificate is trusted. It is not.
#[tokio::test]
async fn a_registry_that_sends_elsewhere_takes_nobody_along() {
    let places = Places::start().await;
    places.has_entries(&[(&places.registry, "pass")]);
    let (home, evil) = (places.registry.address, places.issuer.address);
    for target in [
        format!("https://{evil}/v2/org/app/tags/list"),
        format!("//{evil}/v2/org/app/tags/list"),
        format!("https://{home}@{evil}/v2/org/app/tags/list"),
    ] {
        let link = format!("<{target}>; rel=\"next\"");
        for code in [301, 302, 303, 307, 308, 200] {
            let (target, link) = (target.clone(), link.clone());
            places.registry.behind.now_answers(move |asked| {
                if by(asked).is_none() {
                    with(401, &[("www-authenticate", "Basic")], "")
                } else if code == 200 {
                    page(&["v1"], &[("link", &link)])
                } else {
                    with(code, &[("location", &target)], "")
                }
            });
            places.poll(&[], Some("login")).await.unwrap_err();
            assert_eq!(places.registry.asked_by().len(), 2);
        }
    }
    assert_eq!(places.issuer.asked_by(), []);
}
