//! Whom the poller trusts, and who it says it is.

use testbed::authority::Authority;
use testbed::registries::{Program, Server};
use werf_poller::decide::failure::PollFailure;
use werf_shared::poll_failure::{Class, Reason};

use crate::bed;
use crate::watcher::Watcher;

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_certificate_is_shown_where_one_is_asked_for(#[case] program: Program) {
    let server = bed::mutual(program).await;
    let repository = bed::repository(server, "trusting/mutual", &[]).await;
    let digest = bed::push(&repository, "v1.0.0", "guarded").await;
    let path = "trusting/mutual";
    let signed = bed::AUTHORITY.client("poller", None).unwrap();
    let mut watcher = Watcher::of(server, path).introducing(&bed::AUTHORITY, &signed);
    assert_eq!(watcher.poll().await.announced(), ("v1.0.0", &*digest));
    polled_over_http_2(server, path);

    let mut watcher = Watcher::of(server, path).trusting(&bed::AUTHORITY);
    refused(watcher.poll().await.failure());

    let other = Authority::new().unwrap();
    let signed = other.client("poller", None).unwrap();
    let mut watcher = Watcher::of(server, path).introducing(&bed::AUTHORITY, &signed);
    refused(watcher.poll().await.failure());
}

/// With TLS 1.3 a client has finished the handshake before its certificate is looked at (RFC 8446
/// section 2), so that the refusal meets the first request. The HTTP client then says what it
/// has seen first: the alert, or that the connection is closed.
fn refused(failure: &PollFailure) {
    let classes = [Class::Tls, Class::Network];
    assert!(classes.contains(&failure.class()), "{failure:?}");
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn nobody_but_the_named_authority_is_trusted(#[case] program: Program) {
    let server = bed::password(program).await;
    let path = "trusting/unknown";
    bed::repository(server, path, &["v1.0.0"]).await;
    let login = |watcher: Watcher| watcher.logging_in(bed::USER, bed::PASSWORD);
    let polled = login(Watcher::of(server, path)).poll().await;
    assert_eq!(polled.failure().reason, Reason::TlsFailed);
    let other = Authority::new().unwrap();
    let polled = login(Watcher::of(server, path))
        .trusting(&other)
        .poll()
        .await;
    assert_eq!(polled.failure().reason, Reason::TlsFailed);
    let mut watcher = login(Watcher::of(server, path)).trusting(&bed::AUTHORITY);
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
}

/// The tests push with GET and HEAD too, but list only through the poller.
fn polled_over_http_2(server: &Server, path: &str) {
    let list = format!("/v2/{path}/tags/list");
    let logged = server.logged().unwrap().into_iter();
    let versions: Vec<_> = logged
        .filter(|request| request.target.starts_with(&list))
        .map(|request| request.version)
        .collect();
    assert_eq!(versions, ["HTTP/2.0"]);
}
