//! Who the poller is to a registry that does not let everybody in.

use std::time::Duration;

use http::StatusCode;
use testbed::registries::{Lifetime, Program, Server};
use tokio::time::sleep;
use werf_poller::decide::tell::Telling;
use werf_shared::poll_failure::Reason;

use crate::bed;
use crate::watcher::Watcher;

/// A repository of the test at a server of this program: the token server is shared by both.
fn path(folder: &str, program: Program) -> String {
    format!("{folder}/{program:?}").to_lowercase()
}

fn watcher(server: &Server, path: &str) -> Watcher {
    Watcher::of(server, path).trusting(&bed::AUTHORITY)
}

/// Whom the token server answered how; nobody in particular has no name.
fn tokens(path: &str) -> Vec<(String, u16)> {
    let requests = bed::TOKENS.requests(path).into_iter();
    requests
        .map(|asked| (asked.user.unwrap_or_default(), asked.status))
        .collect()
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_password_opens_and_a_changed_one_is_noticed(#[case] program: Program) {
    let server = bed::password(program).await;
    let path = "authenticating/password";
    let repository = bed::repository(server, path, &["v1.0.0"]).await;
    let mut watcher = watcher(server, path).logging_in(bed::USER, "wrong");
    let polled = watcher.poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
    assert_eq!(polled.failure().status, Some(401));
    watcher.change_password(bed::USER, bed::PASSWORD);
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
    watcher.change_password(bed::USER, "wrong again");
    let polled = watcher.poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
    watcher.change_password(bed::USER, bed::PASSWORD);
    let digest = bed::push(&repository, "v1.0.1", "next").await;
    assert_eq!(watcher.poll().await.announced(), ("v1.0.1", &*digest));
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn nobody_gets_nothing_where_a_password_is_asked_for(#[case] program: Program) {
    let server = bed::password(program).await;
    let path = "authenticating/nobody";
    bed::repository(server, path, &["v1.0.0"]).await;
    let polled = watcher(server, path).poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn one_token_serves_many_polls(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let path = path("authenticating/many", program);
    let repository = bed::repository(server, &path, &["v1.0.0"]).await;
    let mut watcher = watcher(server, &path).logging_in(bed::USER, bed::PASSWORD);
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
    assert_eq!(watcher.poll().await.telling, Telling::Silence);
    let digest = bed::push(&repository, "v1.0.1", "next").await;
    assert_eq!(watcher.poll().await.announced(), ("v1.0.1", &*digest));
    assert_eq!(tokens(&path), [(bed::USER.to_owned(), 200)]);
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_wrong_password_gets_no_token(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let path = path("authenticating/wrong", program);
    bed::repository(server, &path, &["v1.0.0"]).await;
    let mut watcher = watcher(server, &path).logging_in(bed::USER, "wrong");
    let polled = watcher.poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
    assert_eq!(tokens(&path), [(String::new(), 401)]);
    watcher.change_password(bed::USER, bed::PASSWORD);
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
}

#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn what_is_public_needs_no_password(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let public = path("public/authenticating", program);
    bed::repository(server, &public, &["v1.0.0"]).await;
    let polled = watcher(server, &public).poll().await;
    assert_eq!(polled.announced().0, "v1.0.0");
    assert_eq!(tokens(&public), [(String::new(), 200)]);

    let private = path("authenticating/private", program);
    bed::repository(server, &private, &["v1.0.0"]).await;
    let polled = watcher(server, &private).poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
}

/// The token server knows the user and gives a token, which opens nothing: asking again would give
/// the same.
#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn a_token_without_the_right_is_not_asked_for_for_ever(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let path = path("closed/authenticating", program);
    bed::repository(server, &path, &["v1.0.0"]).await;
    let mut watcher = watcher(server, &path).logging_in(bed::USER, bed::PASSWORD);
    let polled = watcher.poll().await;
    assert_eq!(polled.failure().reason, Reason::AuthenticationFailed);
    let asked = tokens(&path).len();
    assert!((1..=2).contains(&asked), "{asked} requests for a token");
}

/// The answer promises five minutes, and the token is over much sooner: clocks differ, keys change.
#[rstest::rstest]
#[case(Program::Debian)]
#[case(Program::Distribution)]
#[tokio::test]
async fn an_expired_token_is_replaced_once(#[case] program: Program) {
    let server = bed::tokens(program).await;
    let path = path("authenticating/expired", program);
    let repository = bed::repository(server, &path, &["v1.0.0"]).await;
    // Registries forgive a minute; ten seconds of it are left.
    let lifetime = |signed| Lifetime { said: 300, signed };
    bed::TOKENS.set_lifetime(&path, lifetime(-50));
    let mut watcher = watcher(server, &path).logging_in(bed::USER, bed::PASSWORD);
    assert_eq!(watcher.poll().await.announced().0, "v1.0.0");
    assert_eq!(tokens(&path).len(), 1);
    bed::TOKENS.set_lifetime(&path, lifetime(300));
    refused(server, &path, &bed::TOKENS.mint(&path, -50).unwrap()).await;
    let digest = bed::push(&repository, "v1.0.1", "later").await;
    assert_eq!(watcher.poll().await.announced(), ("v1.0.1", &*digest));
    assert_eq!(
        tokens(&path),
        [(bed::USER.to_owned(), 200), (bed::USER.to_owned(), 200)]
    );
}

/// Waits until the registry does not take the token any more.
async fn refused(server: &Server, path: &str, token: &str) {
    let client = server.client().unwrap();
    let url = format!("{}/v2/{path}/tags/list", server.origin());
    let status = async || {
        let request = client.get(&url).bearer_auth(token);
        request.send().await.unwrap().status()
    };
    let mut last = StatusCode::OK;
    while last == StatusCode::OK {
        sleep(Duration::from_millis(50)).await;
        last = status().await;
    }
    assert_eq!(last, StatusCode::UNAUTHORIZED);
}
