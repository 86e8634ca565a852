//! Docker configurations and user-and-password Secrets: what is found in them, and what is not.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn docker(configuration: &Value) -> Secret {
    let json = configuration.to_string().into_bytes();
    Secret::new(DOCKER.0, [(DOCKER.1.to_owned(), json)])
}

fn basic(data: &[(&str, &str)]) -> Secret {
    let data = data.iter();
    let owned = data.map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    Secret::new(BASIC, owned)
}

fn find(secret: &Secret, repository: &str) -> Result<Credentials, NoCredentials> {
    credentials(secret, &repository.parse().unwrap())
}

/// The login as text a test can compare.
fn login(credentials: &Credentials) -> String {
    match &credentials.login {
        Login::Password { user, password } => {
            format!("{}:{}", user.expose_secret(), password.expose_secret())
        }
        Login::Refresh(token) => format!("refresh {}", token.expose_secret()),
        Login::Bearer(token) => format!("bearer {}", token.expose_secret()),
    }
}

/// A configuration whose entries have their own key as the password.
fn entries(keys: &[&str]) -> Secret {
    let entries = keys.iter().map(|key| {
        let entry = json!({ "username": "u", "password": key });
        ((*key).to_owned(), entry)
    });
    let entries: serde_json::Map<String, Value> = entries.collect();
    docker(&json!({ "auths": entries }))
}

#[rstest::rstest]
#[case::path_before_host(&["ghcr.io", "ghcr.io/org"], "ghcr.io/org/app", "ghcr.io/org")]
#[case::longest_path(&["ghcr.io/org", "ghcr.io/org/app", "ghcr.io"], "ghcr.io/org/app", "ghcr.io/org/app")]
#[case::whole_segments(&["ghcr.io", "ghcr.io/or"], "ghcr.io/org/app", "ghcr.io")]
#[case::name_before_wildcard(&["*.example.com/org", "r.example.com"], "r.example.com/org/app", "r.example.com")]
#[case::narrow_wildcard(&["*.example.com", "r*.example.com", "*.*.com"], "r1.example.com/app", "r*.example.com")]
#[case::port(&["host.example", "host.example:5000"], "host.example:5000/app", "host.example:5000")]
#[case::docker_url(&["https://index.docker.io/v1/"], "docker.io/org/app", "https://index.docker.io/v1/")]
#[case::docker_alias(&["docker.io"], "index.docker.io/org/app", "docker.io")]
#[case::docker_api(&["registry-1.docker.io", "quay.io"], "docker.io/org/app", "registry-1.docker.io")]
#[case::docker_folder(&["docker.io", "docker.io/library"], "docker.io/redis", "docker.io/library")]
#[case::docker_wildcard(&["*.docker.io"], "docker.io/redis", "*.docker.io")]
fn the_most_specific_entry_is_used(
    #[case] keys: &[&str],
    #[case] repository: &str,
    #[case] expected: &str,
) {
    let found = find(&entries(keys), repository).unwrap();
    assert_eq!(login(&found), format!("u:{expected}"));
}

#[rstest::rstest]
#[case(&[], "ghcr.io/org/app")]
#[case(&["quay.io"], "ghcr.io/org/app")]
#[case(&["ghcr.io/other"], "ghcr.io/org/app")]
#[case(&["ghcr.io:443"], "ghcr.io/org/app")]
#[case(&["https://index.docker.io/v1/"], "evil.example/org/app")]
#[case(&["registry.corp.example"], "registry.corp.example.evil.example/org/app")]
#[case(&["docker.io"], "hub.docker.io/org/app")]
fn an_entry_is_for_nobody_else(#[case] keys: &[&str], #[case] repository: &str) {
    let found = find(&entries(keys), repository);
    assert_eq!(found.unwrap_err(), NoCredentials::NoEntry);
}

#[rstest::rstest]
#[case::auth(json!({ "auth": "dXNlcjpwYTpzcw==" }), "user:pa:ss")]
#[case::no_padding(json!({ "auth": "dXNlcjpwYTpzcw" }), "user:pa:ss")]
#[case::wrapped(json!({ "auth": "dXNlcjpw\nYTpzcw==\n" }), "user:pa:ss")]
#[case::filled_up(json!({ "auth": "dXNlcjpwYXNzAAA=" }), "user:pass")]
#[case::unicode(json!({ "auth": "dXNlcjpww6Rzcw==" }), "user:päss")]
#[case::fields(json!({ "username": "user", "password": "pass" }), "user:pass")]
#[case::auth_first(json!({ "username": "x", "password": "y", "auth": "dXNlcjpwYXNz" }), "user:pass")]
#[case::empty_auth(json!({ "username": "user", "password": "pass", "auth": "" }), "user:pass")]
#[case::identity(json!({ "auth": "MDAwMDo=", "identitytoken": "eyJ" }), "refresh eyJ")]
#[case::registry(json!({ "registrytoken": "abc", "identitytoken": "eyJ" }), "bearer abc")]
#[case::more(json!({ "auth": "dXNlcjpwYXNz", "email": "a@b", "serveraddress": 5 }), "user:pass")]
fn an_entry_says_who_one_is(#[case] entry: Value, #[case] expected: &str) {
    let secret = docker(&json!({ "auths": { "ghcr.io": entry } }));
    assert_eq!(login(&find(&secret, "ghcr.io/org/app").unwrap()), expected);
}

#[rstest::rstest]
#[case::no_base64(json!({ "auth": "***" }), NoCredentials::MalformedAuth)]
#[case::no_colon(json!({ "auth": "dXNlcg==" }), NoCredentials::MalformedAuth)]
#[case::no_text(json!({ "auth": "/////w==" }), NoCredentials::MalformedAuth)]
#[case::line_end(json!({ "auth": "dXNlcjpwYXNzCg==" }), NoCredentials::Unsendable)]
#[case::header(json!({ "registrytoken": "a\r\nHost: evil" }), NoCredentials::Unsendable)]
#[case::empty(json!({}), NoCredentials::Hollow)]
#[case::no_password(json!({ "username": "user" }), NoCredentials::Hollow)]
#[case::nobody(json!({ "auth": "Og==" }), NoCredentials::Hollow)]
#[case::wrong_shape(json!({ "auth": 5 }), NoCredentials::NotAConfiguration)]
#[case::no_object(json!("dXNlcjpwYXNz"), NoCredentials::NotAConfiguration)]
fn an_entry_that_says_nothing_is_told_apart(#[case] entry: Value, #[case] expected: NoCredentials) {
    let secret = docker(&json!({ "auths": { "ghcr.io": entry }, "credsStore": "pass" }));
    assert_eq!(find(&secret, "ghcr.io/org/app").unwrap_err(), expected);
    // And it harms nobody else.
    let other = json!({ "auths": { "ghcr.io": entry, "quay.io": { "auth": "dXNlcjpwYXNz" } } });
    let found = find(&docker(&other), "quay.io/org/app").unwrap();
    assert_eq!(login(&found), "user:pass");
}

#[rstest::rstest]
#[case(b"".as_slice())]
#[case(b"null")]
#[case(b"[]")]
#[case(b"{\"auths\":[]}")]
#[case(b"{\"auths\":{}")]
#[case(b"\xff\xfe")]
fn a_configuration_that_is_none_is_told(#[case] json: &[u8]) {
    let secret = Secret::new(DOCKER.0, [(DOCKER.1.to_owned(), json.to_vec())]);
    let found = find(&secret, "ghcr.io/org/app");
    assert_eq!(found.unwrap_err(), NoCredentials::NotAConfiguration);
}

#[test]
fn credential_helpers_are_not_run() {
    let secret = docker(&json!({ "credsStore": "x", "credHelpers": { "ghcr.io": "y" } }));
    let found = find(&secret, "ghcr.io/org/app");
    assert_eq!(found.unwrap_err(), NoCredentials::NoEntry);
}

#[test]
fn a_user_and_a_password_are_for_the_registry_that_is_named() {
    let secret = basic(&[("username", "user"), ("password", "pa:ss")]);
    for repository in ["ghcr.io/org/app", "docker.io/redis"] {
        assert_eq!(login(&find(&secret, repository).unwrap()), "user:pa:ss");
    }
}

#[rstest::rstest]
#[case(basic(&[("username", "u")]), NoCredentials::Missing("password"))]
#[case(basic(&[("password", "p")]), NoCredentials::Missing("username"))]
#[case(basic(&[("username", "u"), ("password", "p\n")]), NoCredentials::Unsendable)]
#[case(basic(&[("username", "u:v"), ("password", "p")]), NoCredentials::Unsendable)]
#[case(basic(&[("username", ""), ("password", "")]), NoCredentials::Hollow)]
#[case(Secret::new("Opaque", []), NoCredentials::OtherType)]
#[case(Secret::new("kubernetes.io/dockercfg", []), NoCredentials::OtherType)]
#[case(Secret::new(DOCKER.0, []), NoCredentials::Missing(".dockerconfigjson"))]
fn a_secret_that_is_none_of_the_two_is_told(
    #[case] secret: Secret,
    #[case] expected: NoCredentials,
) {
    assert_eq!(find(&secret, "ghcr.io/org/app").unwrap_err(), expected);
}

#[test]
fn an_identity_stands_for_the_credentials_and_shows_nothing() {
    let identity = |entry: Value| {
        let secret = docker(&json!({ "auths": { "ghcr.io": entry } }));
        find(&secret, "ghcr.io/org/app").unwrap().identity()
    };
    let pass = identity(json!({ "auth": "dXNlcjpwYXNz" }));
    assert_eq!(
        pass,
        identity(json!({ "username": "user", "password": "pass" }))
    );
    for other in [
        json!({ "username": "user", "password": "pass2" }),
        json!({ "username": "userp", "password": "ass" }),
        json!({ "identitytoken": "userpass" }),
        json!({ "registrytoken": "userpass" }),
    ] {
        assert_ne!(pass, identity(other));
    }
    assert_eq!(format!("{pass:?}"), "Identity(..)");
}

#[rstest::rstest]
#[case::same(&[("auth.example.com", "p")], "https://auth.example.com/token", true)]
#[case::same_port(&[("auth.example.com:8443", "p")], "https://auth.example.com:8443/t", true)]
#[case::url(&[("https://auth.example.com/v1/", "p")], "https://auth.example.com/token", true)]
#[case::other_password(&[("auth.example.com", "q")], "https://auth.example.com/token", false)]
#[case::other_port(&[("auth.example.com", "p")], "https://auth.example.com:8443/t", false)]
#[case::no_tls(&[("auth.example.com", "p")], "http://auth.example.com/token", false)]
#[case::wildcard(&[("*.example.com", "p")], "https://auth.example.com/token", false)]
#[case::path(&[("auth.example.com/org", "p")], "https://auth.example.com/token", false)]
#[case::none(&[], "https://auth.example.com/token", false)]
fn a_token_server_may_have_an_entry_of_its_own(
    #[case] others: &[(&str, &str)],
    #[case] url: &str,
    #[case] expected: bool,
) {
    let mut auths = json!({ "r.example.com": { "username": "u", "password": "p" } });
    for (key, password) in others {
        auths[key] = json!({ "username": "u", "password": password });
    }
    let found = find(&docker(&json!({ "auths": auths })), "r.example.com/app").unwrap();
    assert_eq!(found.are_also_for(&url.parse().unwrap()), expected);
}

#[test]
fn credentials_cannot_be_shown() {
    let secrets = [
        basic(&[("username", "hunter1"), ("password", "hunter2")]),
        docker(&json!({ "auths": { "ghcr.io": { "identitytoken": "hunter2" } } })),
        docker(&json!({ "auths": { "ghcr.io": { "registrytoken": "hunter2" } } })),
    ];
    for secret in secrets {
        let found = find(&secret, "ghcr.io/org/app").unwrap();
        let shown = format!("{secret:?} {found:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_configuration_panics_or_is_shown(json in "\\PC{0,120}") {
        let secret = Secret::new(DOCKER.0, [(DOCKER.1.to_owned(), json.into_bytes())]);
        let _any = find(&secret, "ghcr.io/org/app");
    }

    /// Whatever else is in the configuration, only an entry for the very host is used.
    #[test]
    fn an_entry_never_leaves_its_host(
        keys in prop::collection::vec("(https://)?[ab*]{1,2}([.][ab*]{1,2}){0,2}(:1)?(/[ab]){0,2}", 0..6),
        host in "[ab]{1,2}[.][ab]{1,2}",
    ) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        if let Ok(found) = find(&entries(&keys), &format!("{host}/a/b")) {
            let used = login(&found);
            let used = used.trim_start_matches("u:").trim_start_matches("https://");
            let used = used.split('/').next().unwrap();
            let expression = used.replace('.', "[.]").replace('*', "[^.]*");
            let expression = regex::Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert!(expression.is_match(&host), "{} for {}", used, host);
        }
    }
}
