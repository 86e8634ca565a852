//! Secrets that help, change, or do not help at all; and tenants that must not help each other.

use werf_poller::decide::tell::Outcome;
use werf_poller::metrics::Answer;
use werf_poller::poll::round;

use super::*;
use crate::round::members;
use crate::scripted::{LIST, bundle, manifest};

const DOCKER: &str = "kubernetes.io/dockerconfigjson";

#[tokio::test]
async fn a_secret_that_cannot_be_read_ends_the_poll_before_it_starts() {
    let bed = Bed::start(|_| page(&["v1"], &[])).await;
    bed.cluster.fails("missing", 404);
    bed.cluster.fails("forbidden", 403);
    bed.cluster.fails("broken", 500);
    bed.cluster
        .secret("opaque", "Opaque", &[("password", "hunter2")]);
    bed.cluster.secret("empty", DOCKER, &[]);
    bed.cluster
        .secret("text", DOCKER, &[(".dockerconfigjson", "hunter2")]);
    bed.cluster
        .docker("other", &json!({ "ghcr.io": entry("user", "hunter2") }));
    bed.cluster.secret(
        "helper",
        DOCKER,
        &[(".dockerconfigjson", r#"{"credsStore":"hunter2"}"#)],
    );
    bed.cluster.basic("line-end", "user", "hunter2\n");
    for (name, reason, words) in [
        ("missing", Reason::RegistrySecretNotFound, "does not exist"),
        ("forbidden", Reason::SecretUnreadable, "may not be read"),
        (
            "broken",
            Reason::SecretUnreadable,
            "cannot be read just now",
        ),
        (
            "opaque",
            Reason::RegistrySecretInvalid,
            "is neither of type",
        ),
        (
            "empty",
            Reason::RegistrySecretInvalid,
            "has no .dockerconfigjson",
        ),
        (
            "text",
            Reason::RegistrySecretInvalid,
            "not a Docker configuration",
        ),
        (
            "other",
            Reason::RegistrySecretInvalid,
            "has no entry for the registry",
        ),
        (
            "helper",
            Reason::RegistrySecretInvalid,
            "has no entry for the registry",
        ),
        (
            "line-end",
            Reason::RegistrySecretInvalid,
            "such as a line end",
        ),
    ] {
        let failure = bed.poll(Some(name)).await.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure}");
        assert!(failure.what.contains(words), "{failure}");
        let secret = format!("Secret '{name}' in namespace 'team'");
        assert!(failure.what.contains(&secret), "{failure}");
        if reason == Reason::RegistrySecretInvalid {
            let host = bed.registry.address.to_string();
            assert!(failure.what.contains(&host), "{failure}");
        }
        assert!(!failure.what.contains("hunter2"), "{failure}");
    }
    assert_eq!(bed.asked(), [], "nobody falls back to being nobody");
}

#[tokio::test]
async fn without_a_secret_none_is_read() {
    let bed = Bed::start(|_| page(&["v1"], &[])).await;
    bed.poll(None).await.unwrap();
    assert_eq!(bed.cluster.asked(), [""; 0]);
}

/// Gives each user a token of the same name, and lists for every token.
fn by_user(asked: &Asked) -> Response {
    let by = by(asked);
    match by.as_deref() {
        Some(user) if asked.target.starts_with("/token") => {
            let token = user.trim_start_matches("Basic ").trim_end_matches('=');
            let token = json!({ "token": token, "expires_in": 3600 });
            with(200, &[], token.to_string())
        }
        Some(token) if token.starts_with("Bearer ") => conditional(asked, "\"e\"", &["v1"]),
        _ => challenge(asked, ""),
    }
}

fn token_of(user: &str) -> String {
    let token = basic(user, "x").replace("Basic ", "Bearer ");
    token.trim_end_matches('=').to_owned()
}

#[tokio::test]
async fn a_changed_secret_is_used_by_the_next_poll_and_what_it_replaced_is_not() {
    let bed = Bed::start(by_user).await;
    bed.has_entry("login", &entry("old", "x"));
    let first = bed.poll(Some("login")).await.unwrap();
    bed.asked();
    bed.has_entry("login", &entry("new", "x"));
    let second = bed.poll_again(Some("login"), Some(&first.scan)).await;
    assert_eq!(
        second.unwrap().status,
        200,
        "the ETag was another identity's"
    );
    let expected = [
        list(None),
        fetch(Some(&basic("new", "x"))),
        list(Some(&token_of("new"))),
    ];
    assert_eq!(bed.asked(), expected);
}

#[tokio::test]
async fn two_tenants_share_neither_tokens_nor_etags() {
    let bed = Bed::start(by_user).await;
    bed.has_entry("one", &entry("one", "x"));
    bed.has_entry("two", &entry("two", "x"));
    let first = bed.poll(Some("one")).await.unwrap();
    bed.asked();
    bed.poll_again(Some("two"), Some(&first.scan))
        .await
        .unwrap();
    let asked = bed.registry.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(by(&asked[2]), Some(token_of("two")));
    assert!(
        asked
            .iter()
            .all(|asked| !asked.headers.contains_key("if-none-match"))
    );
    for name in ["one", "two"] {
        bed.poll(Some(name)).await.unwrap();
        assert_eq!(bed.asked(), [list(Some(&token_of(name)))]);
    }
}

/// What one caller was told, and what was chosen from it, is nothing for another.
#[tokio::test]
async fn a_poll_with_a_changed_secret_chooses_anew_from_a_list_of_its_own() {
    let old = basic("old", "x");
    let bed = Bed::start(move |asked| match by(asked) {
        None => with(401, &[("www-authenticate", "Basic")], ""),
        Some(_) if asked.target != LIST => manifest(asked, &bundle()),
        Some(user) if user == old => conditional(asked, "\"e\"", &["v1.0.0"]),
        Some(_) => conditional(asked, "\"e\"", &["v1.0.0", "v1.1.0"]),
    })
    .await;
    let subscription = bed.subscription(Some("login"));
    let members = || members(&subscription, &["^1"]);
    let mut cache = None;
    let mut polled = Vec::new();
    for user in ["old", "old", "new"] {
        bed.has_entry("login", &entry(user, "x"));
        let round = round::poll(&bed.client, &subscription, members(), cache).await;
        let Outcome::Chosen(tag, _) = &round.members[0].outcome else {
            panic!("{:?}", round.members[0].outcome);
        };
        let listed = round.listed.unwrap();
        polled.push((listed.answer, listed.conditional, tag.to_string()));
        cache = round.cache;
    }
    let expected = [
        (Answer::List, false, "v1.0.0"),
        (Answer::NotModified, true, "v1.0.0"),
        (Answer::List, false, "v1.1.0"),
    ];
    assert_eq!(
        polled,
        expected.map(|(answer, conditional, tag)| (answer, conditional, tag.to_owned()))
    );
}
