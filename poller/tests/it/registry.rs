//! What is asked of registries, and what is made of every kind of answer.

use std::io::Write as _;
use std::time::Duration;

use http::Method;
use tokio::net::TcpListener;
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::newest::Rule;
use werf_poller::decide::watched::Subscription;
use werf_poller::io::registry::{Access, Limits, Listing, Query, Registry, Scan};
use werf_shared::poll_failure::Class;

use crate::scripted::{
    Asked, LIST, PATH, Scripted, bundle, conditional, digest_of, manifest, page, reach, status,
    with,
};

fn limits() -> Limits {
    Limits {
        page_bytes: 4096,
        scan_bytes: 6000,
        pages: 5,
        tags: 500,
        ..Limits::default()
    }
}

fn client(limits: Limits) -> Registry {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Registry::new(limits, reach()).unwrap()
}

fn subscription(repository: &str) -> Subscription {
    Subscription::anonymous(repository.parse().unwrap(), false)
}

async fn list(registry: &Scripted) -> Result<Listing, PollFailure> {
    read(&client(limits()), &subscription(&registry.repository())).await
}

async fn failure(registry: &Scripted) -> PollFailure {
    list(registry).await.unwrap_err()
}

/// Polls once, as nobody has polled before.
pub(crate) async fn read(
    client: &Registry,
    subscription: &Subscription,
) -> Result<Listing, PollFailure> {
    let read = async {
        let access = client.open(subscription).await?;
        client.list(query(&access, None)).await
    };
    read.await.map_err(|error| error.failure())
}

async fn open(client: &Registry, registry: &Scripted) -> Access {
    let subscription = subscription(&registry.repository());
    client.open(&subscription).await.unwrap()
}

/// Asks for everything that is newest, and whether it changed if there was something before.
pub(crate) fn query<'a>(access: &'a Access, earlier: Option<&'a Scan>) -> Query<'a> {
    Query {
        access,
        rules: &[Rule::Newest],
        earlier,
        conditional: true,
    }
}

/// The candidates, best first.
fn tags(listing: &Listing) -> Vec<&str> {
    let selection = &listing.contents.as_ref().unwrap().selections[0];
    selection
        .candidates
        .iter()
        .map(werf_shared::tag::Tag::as_str)
        .collect()
}

#[tokio::test]
async fn a_list_is_read_with_its_etag() {
    let registry = Scripted::start(|_| page(&["v2", "v1"], &[("etag", "\"e\"")])).await;
    let listing = list(&registry).await.unwrap();
    assert_eq!((listing.status, tags(&listing)), (200, vec!["v2", "v1"]));
    assert_eq!(listing.scan.etag(), "\"e\"");
    let asked = registry.asked();
    assert_eq!(
        (asked[0].method.clone(), asked[0].target.as_str()),
        (Method::GET, LIST)
    );
    assert!(!asked[0].headers.contains_key("if-none-match"));
    assert!(!asked[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_known_list_is_not_read_again() {
    let registry = Scripted::start(|asked| conditional(asked, "\"e\"", &["v1"])).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let first = client.list(query(&access, None)).await.unwrap();
    let second = client
        .list(query(&access, Some(&first.scan)))
        .await
        .unwrap();
    assert_eq!(second.status, 304);
    assert!(second.contents.is_none());
    assert_eq!(second.scan, first.scan);
    assert_eq!(registry.asked()[1].headers["if-none-match"], "\"e\"");
}

#[tokio::test]
async fn a_not_modified_nobody_asked_for_is_no_list() {
    let registry = Scripted::start(|_| status(304)).await;
    assert_eq!(failure(&registry).await.class(), Class::InvalidAnswer);
}

fn paged(asked: &Asked) -> axum::response::Response {
    match asked.target.strip_prefix(PATH) {
        Some("?n=1000") => page(
            &["b"],
            &[("link", "</v2/org/app/tags/list?last=b>; rel=\"next\"")],
        ),
        Some("?last=b") => page(&["a"], &[("link", "<?last=a>; rel=\"next\"")]),
        Some("?last=a") => page(&["c"], &[]),
        _ => status(400),
    }
}

#[tokio::test]
async fn pages_are_followed_as_the_registry_links_them() {
    let registry = Scripted::start(paged).await;
    let listing = list(&registry).await.unwrap();
    assert_eq!(tags(&listing), ["c", "b", "a"]);
    assert_eq!(listing.scan.pages.len(), 3);
}

#[tokio::test]
async fn one_bad_page_drops_the_list() {
    let registry = Scripted::start(|asked| match asked.target.as_str() {
        LIST => page(&["v1"], &[("link", "<?n=2>; rel=next")]),
        _ => status(500),
    })
    .await;
    assert_eq!(failure(&registry).await.what, "500 internal server error");
}

#[tokio::test]
async fn a_new_page_behind_an_unchanged_one_is_found() {
    let registry = Scripted::start(|asked| conditional(asked, "\"e\"", &["v1"])).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let first = client.list(query(&access, None)).await.unwrap();
    registry.now_answers(|asked| match asked.target.as_str() {
        LIST => {
            let mut response = conditional(asked, "\"e\"", &["v1"]);
            let link = "<?n=2>; rel=next".parse().unwrap();
            response.headers_mut().insert("link", link);
            response
        }
        _ => page(&["v2"], &[]),
    });
    let second = client
        .list(query(&access, Some(&first.scan)))
        .await
        .unwrap();
    assert_eq!(tags(&second), ["v2", "v1"]);
}

#[tokio::test]
async fn one_page_that_changed_makes_the_whole_list_be_read() {
    let script = |second: &'static [&'static str], etag: &'static str| {
        move |asked: &Asked| {
            if asked.target == LIST {
                let mut response = conditional(asked, "\"first\"", &["v1"]);
                let link = "<?n=2>; rel=next".parse().unwrap();
                response.headers_mut().insert("link", link);
                response
            } else {
                conditional(asked, etag, second)
            }
        }
    };
    let registry = Scripted::start(script(&["v2"], "\"a\"")).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let first = client.list(query(&access, None)).await.unwrap();
    let same = client
        .list(query(&access, Some(&first.scan)))
        .await
        .unwrap();
    assert!(same.contents.is_none());
    registry.now_answers(script(&["v3"], "\"b\""));
    let changed = client
        .list(query(&access, Some(&first.scan)))
        .await
        .unwrap();
    assert_eq!(tags(&changed), ["v3", "v1"]);
}

#[rstest::rstest]
#[case(
    "<http://127.0.0.2:1/v2/org/app/tags/list>; rel=next",
    "the Link header leads away from the tag list"
)]
#[case(
    "<https://127.0.0.1/v2/org/app/tags/list>; rel=next",
    "the Link header leads away from the tag list"
)]
#[case(
    "</v2/org/other/tags/list>; rel=next",
    "the Link header leads away from the tag list"
)]
#[case(
    "</v2/org/app/tags/list?n=1000>; rel=next",
    "the Link header leads in a circle"
)]
#[case("nonsense", "the Link header is malformed")]
#[tokio::test]
async fn a_link_elsewhere_is_not_followed(#[case] link: &'static str, #[case] what: &str) {
    let registry = Scripted::start(move |_| page(&["v1"], &[("link", link)])).await;
    let failure = failure(&registry).await;
    assert_eq!(
        (failure.class(), failure.what.as_str()),
        (Class::InvalidAnswer, what)
    );
    assert_eq!(registry.asked().len(), 1);
}

#[rstest::rstest]
#[case(401, Class::Authentication, "401 unauthorized")]
#[case(403, Class::Authentication, "403 forbidden")]
#[case(404, Class::NotFound, "404 not found")]
#[case(429, Class::Throttled, "429 too many requests")]
#[case(500, Class::InvalidAnswer, "500 internal server error")]
#[case(503, Class::InvalidAnswer, "503 service unavailable")]
#[case(
    302,
    Class::InvalidAnswer,
    "302 found (redirects are not followed), this one leads to 127.0.0.1"
)]
#[case(204, Class::InvalidAnswer, "204 no content")]
#[tokio::test]
async fn a_status_says_what_failed_and_bodies_do_not(
    #[case] code: u16,
    #[case] class: Class,
    #[case] what: &str,
) {
    let registry = Scripted::start(move |_| {
        with(
            code,
            &[("location", "/v2/elsewhere")],
            "Authorization: Basic secret",
        )
    })
    .await;
    let failure = failure(&registry).await;
    assert_eq!((failure.class(), failure.what.as_str()), (class, what));
    assert_eq!(failure.status, Some(code));
    assert_eq!(registry.asked().len(), 1, "a redirect is not followed");
}

#[rstest::rstest]
#[case("<html>busy</html>")]
#[case("")]
#[case("null")]
#[case(r#"{"errors":[]}"#)]
#[tokio::test]
async fn an_answer_that_is_no_list_is_invalid(#[case] body: &'static str) {
    let registry = Scripted::start(move |_| with(200, &[], body)).await;
    assert_eq!(
        failure(&registry).await.what,
        "the answer is not a tag list"
    );
}

fn many(tags: usize, width: usize) -> String {
    let tags: Vec<String> = (0..tags).map(|n| format!("{n:0width$}")).collect();
    serde_json::json!({ "tags": tags }).to_string()
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let registry = Scripted::start(|_| with(200, &[], many(400, 10))).await;
    assert_eq!(
        failure(&registry).await.what,
        "a page of the tag list is larger than 4096 bytes"
    );
}

#[tokio::test]
async fn a_compressed_answer_is_measured_as_it_unfolds() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 4 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < limits().scan_bytes);
    let registry =
        Scripted::start(move |_| with(200, &[("content-encoding", "gzip")], bomb.clone())).await;
    assert_eq!(
        failure(&registry).await.what,
        "a page of the tag list is larger than 4096 bytes"
    );
}

#[tokio::test]
async fn a_broken_compression_is_invalid() {
    let registry =
        Scripted::start(|_| with(200, &[("content-encoding", "gzip")], "{\"tags\":[]}")).await;
    assert_eq!(failure(&registry).await.class(), Class::InvalidAnswer);
}

#[rstest::rstest]
#[case::pages(1, "the tag list has more than 5 pages")]
#[case::bytes(200, "the tag list is larger than 6000 bytes")]
#[case::tags(600, "the tag list has more than 500 tags")]
#[tokio::test]
async fn all_pages_together_are_bounded(#[case] tags: usize, #[case] what: &str) {
    let width = if tags > 500 { 1 } else { 10 };
    let registry = Scripted::start(move |asked| {
        let query = asked.target.strip_prefix(PATH).unwrap_or_default();
        let next = format!("<?n{query}>; rel=next");
        with(200, &[("link", &next)], many(tags, width))
    })
    .await;
    let failure = failure(&registry).await;
    assert!(failure.what.starts_with(what), "{failure}");
    assert!(registry.asked().len() <= 5);
}

#[tokio::test]
async fn a_registry_that_never_answers_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repository = format!("{}/org/app", silent.local_addr().unwrap());
    for patience in [
        Limits {
            read: Duration::from_millis(50),
            ..limits()
        },
        Limits {
            scan: Duration::from_millis(50),
            ..limits()
        },
    ] {
        let listed = read(&client(patience), &subscription(&repository)).await;
        let failure = listed.unwrap_err();
        assert_eq!(failure.class(), Class::Timeout);
        assert_eq!(failure.what, "context deadline exceeded");
    }
}

#[tokio::test]
async fn a_closed_port_is_a_network_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repository = format!("{}/org/app", closed.local_addr().unwrap());
    drop(closed);
    let listed = read(&client(limits()), &subscription(&repository)).await;
    let failure = listed.unwrap_err();
    assert_eq!(failure.class(), Class::Network);
    assert!(failure.what.contains("refused"), "{failure}");
}

#[tokio::test]
async fn plain_http_needs_the_permission_of_whoever_started_the_operator() {
    let insecure = Subscription::anonymous("registry.invalid/org/app".parse().unwrap(), true);
    let failure = read(&client(limits()), &insecure).await.unwrap_err();
    assert_eq!(failure.class(), Class::Tls);
    assert!(
        failure.what.contains("--allow-insecure-registries"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_digest_is_asked_for_without_the_manifest() {
    let registry = Scripted::start(|asked| manifest(asked, &bundle())).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let digest = client.digest(&access, "v1").await.unwrap();
    assert_eq!(digest.as_str(), digest_of(&bundle()));
    let asked = registry.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].method.clone(), asked[0].target.as_str()),
        (Method::HEAD, "/v2/org/app/manifests/v1")
    );
    assert!(
        asked[0].headers["accept"]
            .to_str()
            .unwrap()
            .contains("docker.distribution")
    );
}

#[tokio::test]
async fn without_a_digest_header_the_manifest_is_hashed() {
    let registry = Scripted::start(|_| with(200, &[], bundle().to_string())).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let digest = client.digest(&access, "v1").await.unwrap();
    assert_eq!(digest.as_str(), digest_of(&bundle()));
}

#[tokio::test]
async fn a_manifest_that_is_not_its_digest_is_refused() {
    let registry = Scripted::start(|_| with(200, &[], "{}")).await;
    let client = client(limits());
    let access = open(&client, &registry).await;
    let digest = digest_of(&bundle()).parse().unwrap();
    let read = client.manifest(&access, &digest).await;
    let failure = read.unwrap_err().failure();
    assert_eq!(failure.what, "the manifest does not match its digest");
}
