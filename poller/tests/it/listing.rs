//! How a list is asked for: in which pages, under which conditions, and within which limits.
//! Shapes of vendors' answers are those of registries.md and of the issues it names.

use werf_poller::decide::newest::Rule;
use werf_poller::decide::watched::Subscription;
use werf_poller::io::registry::{Limits, Listing, PageSize, Query, Registry, Scan};
use werf_shared::poll_failure::Reason;

use crate::cluster::Cluster;
use crate::scripted::{Asked, LIST, PATH, Scripted, conditional, page, reach, status, with};

/// A poller that may be somebody.
fn client() -> Registry {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let cluster = Cluster::default();
    cluster.basic("login", "user", "pass");
    Registry::new(Limits::default(), reach())
        .unwrap()
        .with_secrets(cluster.secrets())
}

fn subscription(registry: &Scripted, secret: Option<&str>) -> Subscription {
    Subscription {
        credentials: secret.map(Cluster::key),
        ..Subscription::anonymous(registry.repository().parse().unwrap(), false)
    }
}

async fn ask(
    registry: &Scripted,
    earlier: Option<&Scan>,
    secret: Option<&str>,
) -> Result<Listing, Reason> {
    let client = client();
    let access = client.open(&subscription(registry, secret)).await.unwrap();
    let query = Query {
        access: &access,
        rules: &[Rule::Newest],
        earlier,
        conditional: true,
    };
    let listed = client.list(query).await;
    listed.map_err(|error| error.failure().reason)
}

async fn list(registry: &Scripted, earlier: Option<&Scan>) -> Result<Listing, Reason> {
    ask(registry, earlier, None).await
}

fn best(listing: &Listing) -> &str {
    listing.contents.as_ref().unwrap().selections[0].candidates[0].as_str()
}

fn targets(registry: &Scripted) -> Vec<String> {
    let asked = registry.asked().into_iter();
    asked.map(|asked| asked.target).collect()
}

/// A registry that refuses pages it finds too large.
fn refusing(
    code: u16,
    largest: Option<&'static str>,
) -> impl Fn(&Asked) -> axum::response::Response {
    move |asked| {
        let size = asked.target.strip_prefix(PATH).unwrap_or_default();
        if size.is_empty() || largest.is_some_and(|largest| size == largest) {
            page(&["v1.0.0"], &[])
        } else {
            status(code)
        }
    }
}

#[rstest::rstest]
#[case::distribution_3_1(400, Some("?n=100"), PageSize::Hundred, 2)]
#[case::quay_in_june_2024(413, Some("?n=100"), PageSize::Hundred, 2)]
#[case::who_knows_no_pages(405, None, PageSize::Unasked, 3)]
#[tokio::test]
async fn a_refused_page_size_is_made_smaller_and_remembered(
    #[case] code: u16,
    #[case] largest: Option<&'static str>,
    #[case] size: PageSize,
    #[case] requests: usize,
) {
    let registry = Scripted::start(refusing(code, largest)).await;
    let first = list(&registry, None).await.unwrap();
    assert_eq!(first.scan.page_size, size);
    assert_eq!(registry.asked().len(), requests);
    let second = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!(second.scan.page_size, size);
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test]
async fn a_size_that_is_refused_later_is_made_smaller_then() {
    let registry = Scripted::start(|asked| conditional(asked, "\"e\"", &["v1.0.0"])).await;
    let first = list(&registry, None).await.unwrap();
    registry.now_answers(refusing(413, Some("?n=100")));
    let second = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!(second.scan.page_size, PageSize::Hundred);
}

#[rstest::rstest]
#[case(400)]
#[case(405)]
#[case(413)]
#[tokio::test]
async fn a_later_page_that_is_refused_drops_the_scan(#[case] code: u16) {
    let registry = Scripted::start(move |asked| match asked.target.as_str() {
        LIST => page(&["v1.0.0"], &[("link", "<?last=v1.0.0>; rel=next")]),
        _ => status(code),
    })
    .await;
    assert_eq!(
        list(&registry, None).await.unwrap_err(),
        Reason::InvalidAnswer
    );
    assert_eq!(registry.asked().len(), 2);
}

/// Amazon's cursors are opaque, and a rebuilt one is refused (drydock#927).
#[tokio::test]
async fn a_cursor_is_sent_back_as_it_came() {
    let cursor = "/v2/org/app/tags/list?last=AbC%2F%2B%3D%3D&n=1000&x=a:b";
    let registry = Scripted::start(move |asked| match asked.target.as_str() {
        LIST => page(
            &["v1.0.0"],
            &[("link", &format!("<{cursor}>; rel=\"next\""))],
        ),
        target if target == cursor => page(&["v2.0.0"], &[]),
        _ => status(405),
    })
    .await;
    assert_eq!(best(&list(&registry, None).await.unwrap()), "v2.0.0");
    assert_eq!(targets(&registry), [LIST, cursor]);
}

#[rstest::rstest]
#[case::refused(|_: &str| status(400))]
#[case::unknown(|_: &str| status(404))]
#[case::the_same_but_who_knows_how_long(|last: &str| with(304, &[("etag", last), ("link", "<a; rel=next")], ""))]
#[tokio::test]
async fn a_cursor_that_was_good_for_one_scan_only_does_not_end_the_next(
    #[case] second: fn(&str) -> axum::response::Response,
) {
    let script = |cursor: &'static str, again: Option<fn(&str) -> axum::response::Response>| {
        move |asked: &Asked| {
            let known = asked.headers.contains_key("if-none-match");
            match (asked.target.as_str(), again) {
                (LIST, _) if known => with(304, &[("etag", "1")], ""),
                (LIST, _) => {
                    let link = format!("<?last={cursor}>; rel=next");
                    page(&["v1.0.0"], &[("etag", "1"), ("link", &link)])
                }
                (target, _) if target.ends_with(cursor) => page(&["v2.0.0"], &[("etag", "2")]),
                (_, Some(again)) => again("2"),
                (_, None) => status(500),
            }
        }
    };
    let registry = Scripted::start(script("one", None)).await;
    let first = list(&registry, None).await.unwrap();
    assert!(first.scan.is_conditional());
    registry.now_answers(script("two", Some(second)));
    registry.asked();
    let again = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!(best(&again), "v2.0.0");
    assert_eq!(registry.asked().len(), 4);
}

#[tokio::test]
async fn a_later_page_that_asks_for_patience_gets_it() {
    let registry = Scripted::start(|asked: &Asked| match asked.target.as_str() {
        LIST => page(
            &["v1.0.0"],
            &[("etag", "1"), ("link", "<?last=a>; rel=next")],
        ),
        _ => page(&["v2.0.0"], &[("etag", "2")]),
    })
    .await;
    let first = list(&registry, None).await.unwrap();
    registry.now_answers(|asked| match asked.target.as_str() {
        LIST => with(304, &[("etag", "1")], ""),
        _ => status(429),
    });
    registry.asked();
    list(&registry, Some(&first.scan)).await.unwrap_err();
    assert_eq!(registry.asked().len(), 2);
}

/// Quay links absolutely or relatively; some registries leave the brackets out.
#[rstest::rstest]
#[case::absolute(|host: &str| format!("<http://{host}{PATH}?last=a>; rel=\"next\""))]
#[case::relative(|_: &str| format!("<{PATH}?last=a>; rel=\"next\""))]
#[case::bare(|_: &str| format!("{PATH}?last=a; rel=\"next\""))]
#[tokio::test]
async fn every_spelling_of_a_link_is_followed(#[case] link: fn(&str) -> String) {
    let registry = Scripted::start(move |asked| match asked.target.as_str() {
        LIST => {
            let host = asked.headers["host"].to_str().unwrap();
            page(&["v1.0.0"], &[("link", &link(host))])
        }
        _ => page(&["v2.0.0"], &[]),
    })
    .await;
    assert_eq!(best(&list(&registry, None).await.unwrap()), "v2.0.0");
}

/// R-08 of faults.md: to itself, and A to B to A.
#[rstest::rstest]
#[case("?n=1000")]
#[case("?last=b")]
#[tokio::test]
async fn pages_that_lead_in_a_circle_are_not_read_for_ever(#[case] second: &'static str) {
    let registry = Scripted::start(move |asked| {
        let back = if asked.target == LIST {
            second
        } else {
            "?n=1000"
        };
        page(&["v1.0.0"], &[("link", &format!("<{back}>; rel=next"))])
    })
    .await;
    assert_eq!(
        list(&registry, None).await.unwrap_err(),
        Reason::PaginationLoop
    );
    assert!(registry.asked().len() <= 2);
}

#[tokio::test]
async fn a_changed_first_page_is_read_from_the_answer_that_says_so() {
    let registry = Scripted::start(|asked| conditional(asked, "\"a\"", &["v1.0.0"])).await;
    let first = list(&registry, None).await.unwrap();
    registry.now_answers(|asked| conditional(asked, "\"b\"", &["v2.0.0"]));
    registry.asked();
    let second = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!((best(&second), second.conditional), ("v2.0.0", true));
    let asked = registry.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["if-none-match"], "\"a\"");
}

#[rstest::rstest]
#[case::full(100, false)]
#[case::with_room(99, true)]
#[tokio::test]
async fn a_full_last_page_is_not_asked_whether_it_changed(
    #[case] entries: usize,
    #[case] asked_conditionally: bool,
) {
    let tags: Vec<String> = (0..entries).map(|n| format!("v1.0.{n}")).collect();
    let registry = Scripted::start(move |asked| {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        conditional(asked, "\"e\"", &tags)
    })
    .await;
    let first = list(&registry, None).await.unwrap();
    let second = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!(second.contents.is_none(), asked_conditionally);
}

#[tokio::test]
async fn an_etag_is_good_only_for_whom_it_was_sent_to() {
    let registry = Scripted::start(|asked| conditional(asked, "\"e\"", &["v1.0.0"])).await;
    let first = list(&registry, None).await.unwrap();
    registry.asked();
    let other = ask(&registry, Some(&first.scan), Some("login"))
        .await
        .unwrap();
    assert_eq!(best(&other), "v1.0.0");
    assert!(!registry.asked()[0].headers.contains_key("if-none-match"));
}

#[rstest::rstest]
#[case::strong("\"abc\"", true)]
#[case::weak("W/\"abc\"", true)]
#[case::bare("abc", true)]
#[case::empty("", false)]
#[case::empty_quotes("\"\"", false)]
#[case::with_a_space("\"a b\"", false)]
#[case::with_a_tab("\"a\tb\"", false)]
#[case::long(Box::leak(format!("\"{}\"", "x".repeat(1022)).into_boxed_str()), true)]
#[case::too_long(Box::leak(format!("\"{}\"", "x".repeat(1023)).into_boxed_str()), false)]
#[tokio::test]
async fn an_etag_is_sent_back_as_it_came_or_not_at_all(
    #[case] etag: &'static str,
    #[case] usable: bool,
) {
    let registry = Scripted::start(move |_| page(&["v1.0.0"], &[("etag", etag)])).await;
    let first = list(&registry, None).await.unwrap();
    assert_eq!(first.scan.etag(), if usable { etag } else { "" });
    registry.asked();
    // The same ETag with another body: the body counts.
    registry.now_answers(move |_| page(&["v2.0.0"], &[("etag", etag)]));
    let second = list(&registry, Some(&first.scan)).await.unwrap();
    assert_eq!(best(&second), "v2.0.0");
    let sent = registry.asked()[0].headers.get("if-none-match").cloned();
    assert_eq!(sent.is_some_and(|sent| sent == etag), usable);
}

/// GCR: everything on one page, with the manifests beside the tags (GGCR#897).
#[tokio::test]
async fn google_lists_manifests_too() {
    let digests: Vec<String> = (0..2000)
        .map(|n| format!("\"sha256:{n:064}\":{{\"tag\":[\"x{n}\"]}}"))
        .collect();
    let body = format!(
        "{{\"child\":[],\"manifest\":{{{}}},\"name\":\"org/app\",\"tags\":[\"v1.0.0\"]}}",
        digests.join(",")
    );
    let registry = Scripted::start(move |_| with(200, &[], body.clone())).await;
    let listing = list(&registry, None).await.unwrap();
    assert_eq!((best(&listing), listing.scan.tags), ("v1.0.0", 1));
}

#[tokio::test]
async fn a_list_of_many_pages_costs_no_more_than_its_limits() {
    let body = |from: usize| {
        let tags: Vec<String> = (from..from + 1000).map(|n| format!("v1.0.{n}")).collect();
        serde_json::json!({ "tags": tags }).to_string()
    };
    let registry = Scripted::start(move |asked| {
        let last = asked
            .target
            .rsplit_once("last=")
            .map_or(0, |(_, n)| n.parse().unwrap());
        let next = last + 1000;
        let link = format!("<?n=1000&last={next}>; rel=next");
        let headers = [("link", link.as_str())];
        with(200, if next < 5000 { &headers } else { &[] }, body(last))
    })
    .await;
    let listing = list(&registry, None).await.unwrap();
    assert_eq!((best(&listing), listing.scan.tags), ("v1.0.4999", 5000));
    assert_eq!(listing.scan.pages.len(), 5);
}

#[tokio::test]
async fn the_first_warning_of_a_list_is_told_in_printable_characters() {
    let registry =
        Scripted::start(|_| page(&["v1.0.0", "a/b"], &[("warning", "299 - \"moving\tsoon\"")]))
            .await;
    let listing = list(&registry, None).await.unwrap();
    assert_eq!(listing.warning.as_deref(), Some("movingsoon"));
    assert_eq!(listing.scan.invalid, 1);
}
