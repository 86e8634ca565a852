//! What travels to the Job's namespace, and what does not.

use serde_json::{Value, json};

use super::*;

const PASSWORD: &str = "hunter2-5d41402a";
const OTHERS: &str = "not-for-this-registry";
/// Any DER will do: nothing looks into it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn named(name: &str, kind: &str, data: &[(&str, &str)]) -> Named {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    Named {
        name: name.to_owned(),
        namespace: "apps".to_owned(),
        found: Some(Secret::new(kind, data)),
    }
}

fn docker(auths: &Value) -> Named {
    let text = json!({"auths": auths, "credsStore": "pass"}).to_string();
    named(
        "registry-login",
        "kubernetes.io/dockerconfigjson",
        &[(".dockerconfigjson", &text)],
    )
}

fn basic(password: &str) -> Named {
    named(
        "registry-login",
        "kubernetes.io/basic-auth",
        &[("username", "robot"), ("password", password)],
    )
}

fn certificates(data: &[(&str, &str)]) -> Named {
    named("registry-ca", "Opaque", data)
}

fn config(url: &str, login: Named) -> Value {
    let access = RegistryAccess::of(&repository(url), Some(login), None).unwrap();
    serde_json::from_str(access.docker_config().unwrap()).unwrap()
}

fn refused(login: Option<Named>, certificates: Option<Named>) -> (String, String) {
    let repository = repository("registry.example.com:5000/team/app");
    let error = RegistryAccess::of(&repository, login, certificates).unwrap_err();
    (error.reason().to_string(), error.to_string())
}

#[test]
fn only_the_login_of_this_registry_travels() {
    let auths = json!({
        "registry.example.com:5000": {"username": "robot", "password": PASSWORD},
        "registry.example.com": {"username": "other", "password": OTHERS},
        "ghcr.io": {"auth": BASE64.encode(format!("x:{OTHERS}"))},
    });
    let config = config("registry.example.com:5000/team/app", docker(&auths));
    let auth = BASE64.encode(format!("robot:{PASSWORD}"));
    assert_eq!(
        config,
        json!({"auths": {"registry.example.com:5000": {"auth": auth}}})
    );
}

#[test]
fn the_most_specific_login_is_written_for_the_host() {
    let auths = json!({
        "registry.example.com": {"username": "all", "password": OTHERS},
        "registry.example.com/team": {"username": "team", "password": PASSWORD},
    });
    let config = config("registry.example.com/team/app", docker(&auths));
    let auth = BASE64.encode(format!("team:{PASSWORD}"));
    assert_eq!(
        config,
        json!({"auths": {"registry.example.com": {"auth": auth}}})
    );
}

#[test]
fn a_user_and_a_password_are_for_the_bundles_registry() {
    let config = config("registry.example.com/app", basic(PASSWORD));
    let auth = BASE64.encode(format!("robot:{PASSWORD}"));
    assert_eq!(
        config,
        json!({"auths": {"registry.example.com": {"auth": auth}}})
    );
}

#[test]
fn docker_hub_is_found_by_the_name_that_docker_uses() {
    for host in ["docker.io", "index.docker.io"] {
        let config = config(&format!("{host}/org/app"), basic(PASSWORD));
        let auths = config["auths"].as_object().unwrap();
        assert!(auths.contains_key("https://index.docker.io/v1/"), "{host}");
        assert!(auths.contains_key(host));
        assert_eq!(auths.len(), 2);
    }
}

#[test]
fn tokens_stay_what_they_are() {
    let auths = json!({"registry.example.com": {"identitytoken": PASSWORD}});
    assert_eq!(
        config("registry.example.com/app", docker(&auths)),
        json!({"auths": {"registry.example.com": {"identitytoken": PASSWORD}}})
    );
}

#[test]
fn a_secret_that_cannot_be_used_is_named_with_the_registry() {
    let missing = |name: &str| Named {
        name: name.to_owned(),
        namespace: "apps".to_owned(),
        found: None,
    };
    let told = |(reason, message): (String, String), expected: &str, words: &[&str]| {
        assert_eq!(reason, expected);
        for word in words.iter().chain(&["registry.example.com:5000"]) {
            assert!(message.contains(word), "{message}");
        }
        for secret in [PASSWORD, OTHERS] {
            assert!(!message.contains(secret), "{message}");
        }
    };
    told(
        refused(Some(missing("registry-login")), None),
        "RegistrySecretNotFound",
        &["'registry-login'", "'apps'"],
    );
    told(
        refused(
            Some(docker(
                &json!({"ghcr.io": {"username": "x", "password": OTHERS}}),
            )),
            None,
        ),
        "RegistrySecretInvalid",
        &["'registry-login'", "has no entry"],
    );
    told(
        refused(None, Some(missing("registry-ca"))),
        "CertificateSecretNotFound",
        &["'registry-ca'", "'apps'"],
    );
    for bad in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n%"] {
        told(
            refused(None, Some(certificates(&[("ca.crt", bad)]))),
            "CertificateSecretInvalid",
            &["'registry-ca'", "ca.crt"],
        );
    }
    let (reason, _) = refused(Some(named("x", "Opaque", &[("password", PASSWORD)])), None);
    assert_eq!(reason, "RegistrySecretInvalid");
}

#[test]
fn only_certificates_travel_from_a_certificate_secret() {
    let bundle = format!(
        "# ours\n{CERTIFICATE}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{CERTIFICATE}"
    );
    let named = certificates(&[("ca.crt", &bundle), ("tls.crt", "c"), ("tls.key", PASSWORD)]);
    let access = RegistryAccess::of(&repository("r.example.com/app"), None, Some(named)).unwrap();
    assert_eq!(access.certificates(), Some(&*CERTIFICATE.repeat(2)));
    assert!(access.client_certificate_unused());
    assert_eq!(access.docker_config(), None);
}

#[test]
fn a_client_certificate_alone_leaves_public_authorities() {
    let named = certificates(&[("tls.crt", "c"), ("tls.key", "k")]);
    let access = RegistryAccess::of(&repository("r.example.com/app"), None, Some(named)).unwrap();
    assert_eq!(access.certificates(), None);
    assert!(access.client_certificate_unused());
}

#[test]
fn password_and_pair_are_masked_and_the_user_is_not() {
    let access = RegistryAccess::of(
        &repository("r.example.com/app"),
        Some(basic(PASSWORD)),
        None,
    )
    .unwrap();
    let masks = secret_texts(access.docker_config().unwrap().as_bytes()).unwrap();
    let masker = masks.masker();
    for text in [
        PASSWORD.to_owned(),
        BASE64.encode(PASSWORD),
        BASE64.encode(format!("robot:{PASSWORD}")),
    ] {
        assert!(!masker.mask(&text).contains(&text), "{text}");
    }
    assert_eq!(masker.mask("robot"), "robot");
    assert_eq!(secret_texts(b"no config"), None);
}

#[test]
fn nothing_of_it_is_debug_output() {
    let access = RegistryAccess::of(
        &repository("r.example.com/app"),
        Some(basic(PASSWORD)),
        None,
    )
    .unwrap();
    let shown = format!("{access:?}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(!shown.contains(&BASE64.encode(format!("robot:{PASSWORD}"))));
}
