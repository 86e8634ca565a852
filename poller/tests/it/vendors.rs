//! What the registries people really use are known for, one test each. The shapes are those of the
//! sources and threads that each test names; `tests/registries` polls the real programs.

use axum::response::Response;
use http::Method;
use serde_json::json;
use tokio::time::Instant;
use werf_poller::decide::book::{Book, Moment};
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::newest::{Nothing, Rule};
use werf_poller::decide::tell::Outcome;
use werf_poller::decide::watched::{Known, Subscription, Watched};
use werf_poller::io::registry::{Limits, Registry};
use werf_poller::poll::round::{Cache, Member, Round, poll};
use werf_shared::backoff::Jitter;
use werf_shared::bundle::BundleKey;
use werf_shared::bundle::status::Announced;
use werf_shared::poll_failure::Reason;

use crate::scripted::{Asked, PATH, Scripted, bundle, manifest, page, reach, status, with};

/// A bundle that polls a registry, again and again.
struct Bundle {
    registry: Scripted,
    client: Registry,
    cache: Option<Cache>,
    announced: Option<Announced>,
}

impl Bundle {
    /// The registry lists like this; every tag is a bundle.
    async fn at(list: impl Fn(&Asked) -> Response + Send + 'static) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        Self {
            registry: Scripted::start(bundles(list)).await,
            client: Registry::new(Limits::default(), reach()).unwrap(),
            cache: None,
            announced: None,
        }
    }

    fn now_lists(&self, list: impl Fn(&Asked) -> Response + Send + 'static) {
        self.registry.now_answers(bundles(list));
    }

    async fn poll(&mut self) -> Round {
        let repository = self.registry.repository().parse().unwrap();
        let subscription = Subscription::anonymous(repository, false);
        let key = BundleKey::new("team", "app");
        let watched = Watched {
            uid: "uid".to_owned(),
            generation: 1,
            resting: false,
            asked: None,
            subscription: Ok(subscription.clone()),
            interval: std::time::Duration::from_mins(15),
            rule: Rule::Newest,
            status: Known {
                announced: self.announced.clone(),
                reported: Some(1),
                ..Known::default()
            },
        };
        let moment = Moment {
            instant: Instant::now(),
            wall: jiff::Timestamp::UNIX_EPOCH,
            telling: false,
        };
        let mut book = Book::new(1, std::time::Duration::ZERO);
        book.apply(&key, watched, moment, Jitter::NONE);
        let members = book.members(&subscription).into_iter();
        let members = members.map(|(key, entry)| Member { key, entry }).collect();
        let mut round = poll(&self.client, &subscription, members, self.cache.take()).await;
        self.cache = round.cache.take();
        if let Outcome::Chosen(tag, digest) = &round.members[0].outcome {
            self.announced = Some(Announced {
                tag: tag.to_string(),
                digest: digest.to_string(),
                generation: 1,
            });
        }
        round
    }

    async fn chosen(&mut self) -> String {
        match self.poll().await.members.remove(0).outcome {
            Outcome::Chosen(tag, _) => tag.to_string(),
            other => panic!("{other:?}"),
        }
    }

    async fn failure(&mut self) -> PollFailure {
        match self.poll().await.members.remove(0).outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// What lists were asked for since the last call, behind the path.
    fn lists(&self) -> Vec<String> {
        let asked = self.registry.asked().into_iter();
        asked
            .filter_map(|asked| asked.target.strip_prefix(PATH).map(str::to_owned))
            .collect()
    }
}

fn bundles(
    list: impl Fn(&Asked) -> Response + Send + 'static,
) -> impl Fn(&Asked) -> Response + Send + 'static {
    move |asked| {
        if asked.target.starts_with(PATH) {
            list(asked)
        } else {
            manifest(asked, &bundle())
        }
    }
}

fn error(code: u16, kind: &str) -> Response {
    let body = json!({ "errors": [{ "code": kind, "message": "hunter2", "detail": null }] });
    with(
        code,
        &[("content-type", "application/json")],
        body.to_string(),
    )
}

/// distribution/distribution#4844: a page larger than `tags.maxtags` is refused.
#[tokio::test]
async fn distribution_refuses_a_page_larger_than_its_own() {
    let mut bundle = Bundle::at(|asked| match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => error(400, "PAGINATION_NUMBER_INVALID"),
        _ => page(&["v1.0.0"], &[]),
    })
    .await;
    assert_eq!(bundle.chosen().await, "v1.0.0");
    assert_eq!(bundle.lists(), ["?n=1000", "?n=100"]);
    assert_eq!(bundle.chosen().await, "v1.0.0");
    assert_eq!(bundle.lists(), ["?n=100"], "it is not asked in vain twice");
}

/// zot, `pkg/api/routes.go`: a cursor whose tag is gone meanwhile is 404. The list is dropped, what
/// is deployed stays, and the next poll reads a whole list again.
#[tokio::test]
async fn zot_has_lost_the_tag_it_continues_from() {
    let next = [(
        "link",
        "</v2/org/app/tags/list?n=1000&last=v1.0.0>; rel=next",
    )];
    let mut bundle = Bundle::at(move |asked| match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => page(&["v1.0.0"], &next),
        _ => error(404, "NAME_UNKNOWN"),
    })
    .await;
    let failure = bundle.failure().await;
    assert_eq!(failure.status, Some(404));
    bundle.now_lists(|_| page(&["v1.0.0", "v1.1.0"], &[]));
    assert_eq!(bundle.chosen().await, "v1.1.0");
}

/// Harbor, `src/server/registry/tag.go`: whoever asks for no size gets no `Link`, and whoever asks
/// gets one.
#[tokio::test]
async fn harbor_links_pages_to_whoever_asks_for_a_size() {
    let mut bundle = Bundle::at(|asked| match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => page(
            &["v1.0.0"],
            &[(
                "link",
                "</v2/org/app/tags/list?last=v1.0.0&n=1000>; rel=\"next\"",
            )],
        ),
        Some("?last=v1.0.0&n=1000") => page(&["v2.0.0"], &[]),
        _ => status(500),
    })
    .await;
    assert_eq!(bundle.chosen().await, "v2.0.0");
}

/// Harbor, `src/controller/proxy` and `repoproxy/tag.go`: while the upstream fails, a proxy-cache
/// project lists only what it happens to hold, with 200.
#[tokio::test]
async fn a_proxy_cache_without_its_upstream_moves_nothing_back() {
    let mut bundle = Bundle::at(|_| page(&["v1.0.0", "v1.9.0", "v2.0.0"], &[])).await;
    assert_eq!(bundle.chosen().await, "v2.0.0");
    bundle.now_lists(|_| page(&["v1.0.0"], &[]));
    let ended = bundle.poll().await.members.remove(0);
    assert!(
        matches!(ended.outcome, Outcome::Nothing(Nothing::TagVanished, _)),
        "{:?}",
        ended.outcome
    );
    bundle.now_lists(|_| page(&["v1.0.0", "v1.9.0", "v2.0.0", "v2.0.1"], &[]));
    assert_eq!(bundle.chosen().await, "v2.0.1");
}

/// Quay: `Link` is relative in 2024 (`deitch/docker_registry2#106`), while a page of more than 100 is
/// too many (the same year).
#[tokio::test]
async fn quay_wants_small_pages_and_links_them_relatively() {
    let mut bundle = Bundle::at(|asked| match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => error(413, "TOO_MANY_TAGS_REQUESTED"),
        Some("?n=100") => page(
            &["v1.0.0"],
            &[(
                "link",
                "</v2/org/app/tags/list?n=100&next_page=gAAAA%3D%3D>; rel=\"next\"",
            )],
        ),
        Some("?n=100&next_page=gAAAA%3D%3D") => page(&["v1.1.0"], &[]),
        _ => status(500),
    })
    .await;
    assert_eq!(bundle.chosen().await, "v1.1.0");
}

/// Quay, fluxcd/flux#2891: nginx in front of it limits with a page of HTML.
#[tokio::test]
async fn quay_asks_for_patience_in_html() {
    let mut bundle = Bundle::at(|_| {
        let html = "<html><head><title>429 Too Many Requests hunter2</title></head></html>";
        with(429, &[("content-type", "text/html")], html)
    })
    .await;
    let failure = bundle.failure().await;
    assert_eq!(failure.reason, Reason::RateLimited);
    assert_eq!(failure.what, "429 too many requests");
}

/// Docker Hub, docker/hub-feedback#1960: the whole list comes whatever size is asked for, and every
/// answer says what is left of the quota.
#[tokio::test]
async fn docker_hub_ignores_the_size_and_counts() {
    let mut bundle = Bundle::at(|_| {
        let tags: Vec<String> = (0..2500).map(|minor| format!("1.{minor}.0")).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let quota = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "99;w=21600"),
        ];
        page(&tags, &quota)
    })
    .await;
    assert_eq!(bundle.chosen().await, "1.2499.0");
    assert_eq!(bundle.lists(), ["?n=1000"]);
}

/// GHCR, dependabot/cli#380: the wait is in the body, as the text of a Go duration.
#[tokio::test]
async fn ghcr_hides_its_wait_in_the_body() {
    let mut bundle = Bundle::at(|_| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.535µs, allowed: 44000/minute"}]}"#;
        with(429, &[("content-type", "application/json")], body)
    })
    .await;
    let failure = bundle.failure().await;
    assert_eq!(failure.reason, Reason::RateLimited);
    assert!(!failure.what.contains("44000"), "{failure}");
}

/// ECR: the cursor is opaque, and not one that could be made from the last tag.
#[tokio::test]
async fn ecr_continues_at_a_cursor_of_its_own() {
    const CURSOR: &str = "?n=1000&last=Z1kQ%2FuD9%2B0%3D%3D.%7B%22v%22%3A1%7D";
    let mut bundle = Bundle::at(|asked| match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => page(
            &["v1.0.0"],
            &[("link", &format!("<{PATH}{CURSOR}>; rel=\"next\""))],
        ),
        Some(CURSOR) => page(&["v1.1.0"], &[]),
        _ => error(400, "INVALID_PARAMETER"),
    })
    .await;
    assert_eq!(bundle.chosen().await, "v1.1.0");
}

/// ECR Public, acryldata/drydock#927: 405 for what it does not like in a query.
#[tokio::test]
async fn ecr_public_does_not_like_sizes() {
    let mut bundle = Bundle::at(|asked| match asked.target.strip_prefix(PATH) {
        Some("") => page(&["v1.0.0"], &[]),
        _ => error(405, "UNSUPPORTED"),
    })
    .await;
    assert_eq!(bundle.chosen().await, "v1.0.0");
    assert_eq!(bundle.lists(), ["?n=1000", "?n=100", ""]);
}

/// GCR, google/go-containerregistry#897: the list carries a map of all manifests besides.
#[tokio::test]
async fn gcr_lists_manifests_too() {
    let mut bundle = Bundle::at(|_| {
        let body = json!({
            "child": ["nested"],
            "manifest": { "sha256:aa": { "imageSizeBytes": "1", "tag": ["v9.9.9"], "timeUploadedMs": "1" } },
            "name": "org/app",
            "tags": ["v1.0.0"],
        });
        with(200, &[], body.to_string())
    })
    .await;
    assert_eq!(bundle.chosen().await, "v1.0.0");
}

/// ACR lists tags for holders of `metadata_read` only, and says so in its challenge.
#[tokio::test]
async fn acr_wants_a_right_of_its_own_for_lists() {
    let mut bundle = Bundle::at(|_| status(500)).await;
    bundle.registry.now_answers(|asked| {
        let host = asked.headers["host"].to_str().unwrap();
        if let Some(query) = asked.target.strip_prefix("/oauth2/token?") {
            let granted = query.contains("metadata_read") && asked.method == Method::GET;
            let body = format!(r#"{{"access_token":"{}"}}"#, if granted { "lists" } else { "pulls" });
            return with(200, &[], body);
        }
        let listing = asked.target.starts_with(PATH);
        let let_in = asked.headers.get("authorization").is_some_and(|by| by == "Bearer lists");
        if let_in && listing {
            page(&["v1.0.0"], &[])
        } else if let_in {
            manifest(asked, &crate::scripted::bundle())
        } else {
            let action = if listing { "metadata_read" } else { "pull" };
            let challenge = format!(
                "Bearer realm=\"http://{host}/oauth2/token\",service=\"{host}\",scope=\"repository:org/app:{action}\""
            );
            with(401, &[("www-authenticate", &challenge)], "")
        }
    });
    assert_eq!(bundle.chosen().await, "v1.0.0");
}

/// GitLab: tokens come from `/jwt/auth` and live for five minutes; the next poll is later.
#[tokio::test]
async fn gitlab_gives_tokens_that_live_shorter_than_the_pause_between_polls() {
    let mut bundle = Bundle::at(|_| status(500)).await;
    bundle.registry.now_answers(|asked| {
        let host = asked.headers["host"].to_str().unwrap();
        if asked.target.starts_with("/jwt/auth?") {
            return with(200, &[], r#"{"token":"t","expires_in":5}"#);
        }
        if !asked.headers.contains_key("authorization") {
            let challenge = format!(
                "Bearer realm=\"http://{host}/jwt/auth\",service=\"container_registry\",scope=\"repository:org/app:pull\",error=\"invalid_token\""
            );
            return with(401, &[("www-authenticate", &challenge)], "");
        }
        if asked.target.starts_with(PATH) {
            page(&["v1.0.0"], &[])
        } else {
            manifest(asked, &crate::scripted::bundle())
        }
    });
    for refused in [1, 0] {
        assert_eq!(bundle.chosen().await, "v1.0.0");
        let asked = bundle.registry.asked();
        let challenged = |asked: &&Asked| {
            !asked.headers.contains_key("authorization") && asked.target.starts_with("/v2/")
        };
        assert_eq!(asked.iter().filter(challenged).count(), refused);
        assert!(
            asked
                .iter()
                .any(|asked| asked.target.starts_with("/jwt/auth?"))
        );
    }
}
