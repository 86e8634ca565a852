//! A bundle with the poller that watches it, without an apiserver and without an executor: polls
//! when it is told to, and takes every announcement as the executor would.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use testbed::authority::{Authority, Signed};
use testbed::registries::Server;
use tokio::time::Instant;
use werf_poller::decide::book::{Book, Moment};
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::realm::TokenServers;
use werf_poller::decide::tell::{Telling, Told};
use werf_poller::decide::watched::Watched;
use werf_poller::io;
use werf_poller::io::registry::{Limits, Reach, Registry};
use werf_poller::poll::round::{Cache, Listed, Member, poll};
use werf_shared::backoff::Jitter;
use werf_shared::bundle::status::Announced;
use werf_shared::bundle::{BundleKey, LocalReference, WerfBundle, WerfBundleStatus};

use crate::bed;
use crate::secrets::Secrets;

/// A bundle that is watched.
pub(crate) struct Watcher {
    registry: Registry,
    secrets: Secrets,
    host: String,
    bundle: WerfBundle,
    cache: Option<Cache>,
    told: Told,
}

/// A poll: what the executor is told of it, and the list if there was one.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) telling: Telling,
    pub(crate) listed: Option<Listed>,
}

impl Watcher {
    /// Watches a repository as nobody in particular, trusting nobody in particular.
    pub(crate) fn of(server: &Server, path: &str) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let host = host(server);
        let bundle = json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": { "name": "app", "namespace": "team", "uid": "1", "generation": 1 },
            "spec": { "registry": { "url": format!("{host}/{path}") } },
        });
        let reach = Reach {
            networks: "127.0.0.0/8".parse().unwrap(),
            ..Reach::default()
        };
        let tokens = format!("{host}={}", bed::TOKENS.address());
        let secrets = Secrets::default();
        let registry = Registry::new(Limits::default(), reach).unwrap();
        Self {
            registry: registry
                .with_secrets(io::secrets::Secrets::new(secrets.client()))
                .with_token_servers(TokenServers::new(vec![tokens.parse().unwrap()])),
            secrets,
            host,
            bundle: serde_json::from_value(bundle).unwrap(),
            cache: None,
            told: Told::default(),
        }
    }

    /// The same with the name and the password of a Secret, from the next poll on.
    pub(crate) fn logging_in(mut self, user: &str, password: &str) -> Self {
        let reference = LocalReference {
            name: "login".to_owned(),
        };
        self.bundle.spec.registry.secret_ref = Some(reference);
        self.change_password(user, password);
        self
    }

    /// The Secret changes, and nothing else.
    pub(crate) fn change_password(&self, user: &str, password: &str) {
        let login = json!({ "username": user, "password": password });
        let config = json!({ "auths": { &self.host: login } }).to_string();
        let kind = "kubernetes.io/dockerconfigjson";
        self.secrets
            .put("login", kind, &[(".dockerconfigjson", &config)]);
    }

    /// The same trusting this authority alone.
    pub(crate) fn trusting(mut self, authority: &Authority) -> Self {
        self.certificates(&[("ca.crt", authority.pem())]);
        self
    }

    /// The same with a certificate of its own besides.
    pub(crate) fn introducing(mut self, authority: &Authority, signed: &Signed) -> Self {
        self.certificates(&[
            ("ca.crt", authority.pem()),
            ("tls.crt", &signed.certificate),
            ("tls.key", &signed.key.serialize_pem()),
        ]);
        self
    }

    fn certificates(&mut self, data: &[(&str, &str)]) {
        let reference = LocalReference {
            name: "certificates".to_owned(),
        };
        self.bundle.spec.registry.cert_secret_ref = Some(reference);
        self.secrets.put("certificates", "Opaque", data);
    }

    /// Polls once, and counts as told what there is to tell.
    pub(crate) async fn poll(&mut self) -> Polled {
        let watched = Watched::of(&self.bundle);
        let subscription = watched.subscription.clone().unwrap();
        let member = Self::member(watched);
        let round = poll(
            &self.registry,
            &subscription,
            vec![member],
            self.cache.take(),
        )
        .await;
        self.cache = round.cache;
        let ended = round.members.into_iter().next().unwrap();
        let listed = round.listed.ok();
        let seen = listed.as_ref().map(|listed| &listed.seen);
        let known = &ended.member.entry.watched.status;
        let telling = self.told.tell(known, 1, false, ended.outcome, seen);
        if let Telling::Announce(tag, digest) = &telling {
            let announced = Announced {
                tag: tag.to_string(),
                digest: digest.to_string(),
                generation: 1,
            };
            self.bundle.status = Some(WerfBundleStatus {
                announced: Some(announced),
                ..WerfBundleStatus::default()
            });
            self.told.watched(&Watched::of(&self.bundle).status);
        }
        Polled { telling, listed }
    }

    fn member(watched: Watched) -> Member {
        let moment = Moment {
            instant: Instant::now(),
            wall: Timestamp::UNIX_EPOCH,
            telling: false,
        };
        let mut book = Book::new(1, Duration::ZERO);
        let key = BundleKey::new("team", "app");
        book.apply(&key, watched, moment, Jitter::NONE);
        Member {
            entry: book.get(&key).unwrap().clone(),
            key,
        }
    }
}

/// Where the server is, as a bundle has to say it. To `127.0.0.1` the poller speaks plain HTTP; this
/// is the same address to whoever connects, and to whoever checks a certificate.
fn host(server: &Server) -> String {
    let port = server.address().port();
    if server.origin().starts_with("https:") {
        format!("127.1:{port}")
    } else {
        format!("127.0.0.1:{port}")
    }
}

impl Polled {
    /// Why it failed.
    pub(crate) fn failure(&self) -> &PollFailure {
        match &self.telling {
            Telling::Failed(failure) => failure,
            other => panic!("it did not fail: {other:?}"),
        }
    }

    /// The tag and the digest that were announced.
    pub(crate) fn announced(&self) -> (&str, &str) {
        match &self.telling {
            Telling::Announce(tag, digest) => (tag.as_str(), digest.as_str()),
            other => panic!("nothing was announced: {other:?}"),
        }
    }
}
