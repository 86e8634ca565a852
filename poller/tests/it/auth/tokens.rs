//! What token servers answer, and what becomes of it.

use super::*;

async fn failure(answer: impl Fn() -> Response + Send + 'static) -> (PollFailure, usize) {
    let bed = Bed::start(move |asked| {
        if asked.target.starts_with("/token") {
            answer()
        } else {
            challenge(asked, "")
        }
    })
    .await;
    bed.has_entry("login", &entry("user", "hunter2"));
    let failure = bed.poll(Some("login")).await.unwrap_err();
    (failure, bed.asked().len())
}

#[rstest::rstest]
#[case(401, Reason::AuthenticationFailed, "401 unauthorized (token server ")]
#[case(403, Reason::AuthenticationFailed, "403 forbidden (token server ")]
#[case(404, Reason::AuthTokenInvalid, "404 not found (token server ")]
#[case(400, Reason::AuthTokenInvalid, "400 bad request (token server ")]
#[case(204, Reason::AuthTokenInvalid, "204 no content (token server ")]
#[case(429, Reason::RateLimited, "429 too many requests (token server ")]
#[case(500, Reason::InvalidAnswer, "500 internal server error (token server ")]
#[case(504, Reason::RegistryTimeout, "504 gateway timeout (token server ")]
#[case(
    302,
    Reason::AuthRealmRejected,
    "302 found (redirects are not followed)"
)]
#[case(
    307,
    Reason::AuthRealmRejected,
    "307 temporary redirect (redirects are not followed)"
)]
#[tokio::test]
async fn a_status_keeps_its_meaning(#[case] code: u16, #[case] reason: Reason, #[case] what: &str) {
    let headers = [("location", "/elsewhere")];
    let (failure, asked) = failure(move || with(code, &headers, "hunter2")).await;
    assert_eq!(failure.reason, reason, "{failure}");
    assert!(failure.what.starts_with(what), "{failure}");
    assert!(!failure.what.contains("hunter2"));
    assert_eq!(asked, 2, "a redirect is not followed");
}

#[rstest::rstest]
#[case::html("<html>hunter2</html>".to_owned())]
#[case::no_token("{\"hunter2\":1}".to_owned())]
#[case::line_end(r#"{"token":"hunter2\r\nHost: evil"}"#.to_owned())]
#[case::negative(r#"{"token":"hunter2","expires_in":-1}"#.to_owned())]
#[case::text(r#"{"token":"hunter2","expires_in":"60"}"#.to_owned())]
#[case::large(format!(r#"{{"token":"{}"}}"#, "x".repeat(64 << 10)))]
#[tokio::test]
async fn what_is_no_token_is_told_and_not_shown(#[case] body: String) {
    let (failure, asked) = failure(move || with(200, &[], body.clone())).await;
    assert_eq!(failure.reason, Reason::AuthTokenInvalid, "{failure}");
    assert!(!failure.what.contains("hunter2"), "{failure}");
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_huge_life_is_only_a_long_one() {
    let token = json!({ "token": "abc", "expires_in": 1e300 });
    let bed = Bed::start(guarded(vec![None], token)).await;
    bed.poll(None).await.unwrap();
    bed.asked();
    bed.poll(None).await.unwrap();
    assert_eq!(bed.asked(), [list(Some("Bearer abc"))]);
}

/// The next poll asks the registry anew, so a token server that moved is found.
#[tokio::test]
async fn a_token_server_that_fails_is_not_remembered() {
    let token = json!({ "token": "abc", "expires_in": 1 });
    let bed = Bed::start(guarded(vec![None], token)).await;
    bed.poll(None).await.unwrap();
    bed.registry.now_answers(|_| status(503));
    bed.poll(None).await.unwrap_err();
    bed.asked();
    bed.registry
        .now_answers(guarded(vec![None], json!({ "token": "new" })));
    bed.poll(None).await.unwrap();
    let expected = [list(None), fetch(None), list(Some("Bearer new"))];
    assert_eq!(bed.asked(), expected);
}
