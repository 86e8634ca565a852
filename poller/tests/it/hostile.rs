//! Registries that mean harm by where they are, where they lead, or by what they send: nothing is
//! connected that must not be, nobody is followed, and no answer costs more than its limit.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::net::TcpListener;
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::watched::Subscription;
use werf_poller::io::registry::{Limits, Reach, Registry};
use werf_shared::poll_failure::Reason;

use crate::registry::read;
use crate::scripted::{Scripted, page, reach, with};

fn limits() -> Limits {
    Limits {
        page_bytes: 64 << 10,
        scan_bytes: 96 << 10,
        ..Limits::default()
    }
}

async fn failure_of(repository: &str, limits: Limits, reach: Reach) -> PollFailure {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let registry = Registry::new(limits, reach).unwrap();
    let subscription = Subscription::anonymous(repository.parse().unwrap(), false);
    read(&registry, &subscription).await.unwrap_err()
}

/// The failure of a poll under a deadline that no test should come near.
async fn failure(registry: &Scripted, limits: Limits) -> PollFailure {
    let repository = registry.repository();
    let failed = failure_of(&repository, limits, reach());
    tokio::time::timeout(Duration::from_secs(30), failed)
        .await
        .unwrap()
}

/// Whatever the address is called, nothing of the registry can be told from the failure: not even
/// whether there is one.
#[rstest::rstest]
#[case("127.0.0.1")]
#[case("localhost")]
#[case("2130706433")]
#[case("0")]
#[case("[::ffff:7f00:1]")]
#[tokio::test]
async fn an_address_nobody_allowed_is_not_connected(#[case] host: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().port();
    let listener_of_nothing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener_of_nothing.local_addr().unwrap().port();
    drop(listener_of_nothing);
    let mut seen = Vec::new();
    for port in [open, closed] {
        let repository = format!("{host}:{port}/org/app");
        let failure = failure_of(&repository, limits(), Reach::default()).await;
        assert_eq!(failure.reason, Reason::AddressNotAllowed, "{failure}");
        assert!(failure.what.contains("--allow-networks"), "{failure}");
        assert!(!failure.what.contains("127.0.0.1"), "{failure}");
        seen.push(failure);
    }
    assert_eq!(seen[0], seen[1]);
    let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(connected.is_err(), "somebody connected");
}

#[tokio::test]
async fn a_name_that_resolves_to_an_allowed_network_is_reached() {
    let registry = Scripted::start(|_| page(&["v1"], &[])).await;
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = Registry::new(limits(), reach()).unwrap();
    let repository = format!("localhost:{}/org/app", registry.address.port());
    let subscription = Subscription::anonymous(repository.parse().unwrap(), false);
    let listing = read(&client, &subscription).await;
    assert_eq!(listing.unwrap().status, 200);
}

#[rstest::rstest]
#[case(301)]
#[case(302)]
#[case(303)]
#[case(307)]
#[case(308)]
#[tokio::test]
async fn a_redirect_is_told_and_not_followed(#[case] status: u16) {
    let elsewhere = Scripted::start(|_| page(&["evil"], &[])).await;
    let location = format!("http://{}/v2/org/app/tags/list", elsewhere.address);
    let registry = Scripted::start(move |_| with(status, &[("location", &location)], "")).await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, Reason::RedirectRejected, "{failure}");
    assert!(failure.what.ends_with("leads to 127.0.0.1"), "{failure}");
    assert_eq!(failure.status, Some(status));
    assert_eq!(registry.asked().len(), 1);
    assert!(elsewhere.asked().is_empty(), "a redirect was followed");
}

#[rstest::rstest]
#[case("http://169.254.169.254/latest/meta-data/", "169.254.169.254")]
#[case("gopher://x/", "x")]
#[case("//user:hunter2@cdn.example.com/a?token=hunter2", "cdn.example.com")]
#[tokio::test]
async fn of_a_redirect_only_the_host_is_told(#[case] location: &'static str, #[case] host: &str) {
    let registry = Scripted::start(move |_| with(307, &[("location", location)], "")).await;
    let failure = failure(&registry, limits()).await;
    assert!(
        failure.what.ends_with(&format!("leads to {host}")),
        "{failure}"
    );
    assert!(!failure.what.contains("hunter2"), "{failure}");
}

#[rstest::rstest]
#[case("")]
#[case("http://")]
#[case("mailto:somebody@example.com")]
#[case("http://a b/")]
#[tokio::test]
async fn a_redirect_to_nowhere_is_one_too(#[case] location: &'static str) {
    let registry = Scripted::start(move |_| with(307, &[("location", location)], "")).await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, Reason::RedirectRejected, "{failure}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// 64 MiB in some 64 KiB.
#[tokio::test]
async fn a_bomb_is_cut_where_it_unfolds() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let limits = Limits {
        page_bytes: 1 << 20,
        ..Limits::default()
    };
    assert!(bomb.len() < limits.page_bytes);
    let encoded = [("content-encoding", "gzip")];
    let registry = Scripted::start(move |_| with(200, &encoded, bomb.clone())).await;
    let failure = failure(&registry, limits).await;
    assert_eq!(failure.reason, Reason::TagListTooLarge, "{failure}");
}

#[rstest::rstest]
#[case::twice("gzip, gzip", gzip(&gzip(b"{\"tags\":[]}")), Reason::InvalidAnswer)]
#[case::twice_told_once("gzip", gzip(&gzip(b"{\"tags\":[]}")), Reason::TagListInvalid)]
#[case::not_asked_for("br", b"{\"tags\":[]}".to_vec(), Reason::InvalidAnswer)]
#[case::not_at_all("gzip", b"{\"tags\":[]}".to_vec(), Reason::InvalidAnswer)]
#[case::cut("gzip", gzip(b"{\"tags\":[]}")[..15].to_vec(), Reason::RegistryUnreachable)]
#[tokio::test]
async fn a_wrong_encoding_is_no_answer(
    #[case] encoding: &'static str,
    #[case] body: Vec<u8>,
    #[case] reason: Reason,
) {
    let encoded = [("content-encoding", encoding)];
    let registry = Scripted::start(move |_| with(200, &encoded, body.clone())).await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, reason, "{failure}");
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let registry = Scripted::start(|_| {
        let blanks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1024])));
        with(200, &[], Body::from_stream(blanks))
    })
    .await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, Reason::TagListTooLarge, "{failure}");
}

#[tokio::test]
async fn a_length_beyond_the_limit_is_believed() {
    let registry = Scripted::start(|_| {
        let never = stream::pending::<Result<Bytes, Infallible>>();
        with(
            200,
            &[("content-length", "99999999")],
            Body::from_stream(never),
        )
    })
    .await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, Reason::TagListTooLarge, "{failure}");
}

/// A byte from time to time passes the limit on pauses, but not the one on the whole scan.
#[tokio::test]
async fn a_body_that_trickles_is_cut() {
    let registry = Scripted::start(|_| {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        });
        with(200, &[], Body::from_stream(trickle))
    })
    .await;
    let limits = Limits {
        read: Duration::from_secs(10),
        scan: Duration::from_millis(300),
        ..limits()
    };
    let failure = failure(&registry, limits).await;
    assert_eq!(failure.reason, Reason::RegistryTimeout, "{failure}");
}

/// The body of an error is nobody's business: it neither delays the poll nor is any of it told.
#[tokio::test]
async fn the_body_of_an_error_is_not_waited_for() {
    let registry = Scripted::start(|_| {
        let start = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"secret"))]);
        with(
            404,
            &[],
            Body::from_stream(futures::StreamExt::chain(start, stream::pending())),
        )
    })
    .await;
    let failure = failure(&registry, limits()).await;
    assert_eq!(failure.reason, Reason::RepositoryNotFound, "{failure}");
    assert_eq!(failure.what, "404 not found");
}
