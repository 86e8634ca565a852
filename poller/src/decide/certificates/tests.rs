use std::collections::BTreeMap;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A self-signed certificate and its key.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["registry.example.com".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn material(values: &[(&str, &str)]) -> Material {
    let values: BTreeMap<&str, &str> = values.iter().copied().collect();
    Material::of(|key| values.get(key).map(|value| value.as_bytes()))
}

fn trust(values: &[(&str, &str)]) -> Result<Trust, UnusableCertificates> {
    material(values).trust(&rustls::crypto::ring::default_provider())
}

fn refused(values: &[(&str, &str)]) -> UnusableCertificates {
    trust(values).unwrap_err()
}

#[test]
fn an_own_ca_is_the_only_one_and_may_be_several() {
    let ((first, _), (second, _)) = (pair(), pair());
    let trust = trust(&[(CA, &format!("a comment\n{first}\n{second}"))]).unwrap();
    assert_eq!(trust.authorities.unwrap().len(), 2);
    assert!(trust.identity.is_none());
}

#[test]
fn a_client_certificate_alone_leaves_the_public_authorities() {
    let (certificate, key) = pair();
    let trust = trust(&[(CERTIFICATE, &certificate), (KEY, &key)]).unwrap();
    assert!(trust.authorities.is_none());
    assert_eq!(trust.identity.as_ref().unwrap().cert.len(), 1);
    assert!(trust.without_identity().identity.is_none());
}

#[test]
fn ca_and_client_certificate_go_together() {
    let ((ca, _), (certificate, key)) = (pair(), pair());
    let values = [(CA, &*ca), (CERTIFICATE, &certificate), (KEY, &key)];
    let trust = trust(&values).unwrap();
    assert!(trust.authorities.is_some() && trust.identity.is_some());
    assert!(trust.without_identity().authorities.is_some());
}

#[rstest::rstest]
#[case::none(&[])]
#[case::others(&[("caFile", "x"), ("password", "x")])]
fn a_secret_without_any_of_the_keys_is_refused(#[case] values: &[(&str, &str)]) {
    assert_eq!(refused(values), UnusableCertificates::Nothing);
}

#[test]
fn half_an_identity_is_refused() {
    let (certificate, key) = pair();
    assert_eq!(
        refused(&[(CA, &certificate), (CERTIFICATE, &certificate)]).to_string(),
        "it has the key tls.crt without tls.key"
    );
    assert_eq!(
        refused(&[(KEY, &key)]).to_string(),
        "it has the key tls.key without tls.crt"
    );
}

#[rstest::rstest]
#[case::empty("", UnusableCertificates::NoCertificate { key: CA })]
#[case::der("\u{30}\u{82}", UnusableCertificates::NoCertificate { key: CA })]
#[case::cut("-----BEGIN CERTIFICATE-----\nAAAA", UnusableCertificates::NotPem { key: CA })]
#[case::no_base64(
    "-----BEGIN CERTIFICATE-----\n!secret!\n-----END CERTIFICATE-----\n",
    UnusableCertificates::NotPem { key: CA }
)]
#[case::no_certificate(
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    UnusableCertificates::BrokenCertificate { key: CA }
)]
fn a_ca_that_is_none_is_refused(#[case] text: &str, #[case] why: UnusableCertificates) {
    assert_eq!(refused(&[(CA, text)]), why);
}

#[test]
fn a_private_key_in_place_of_the_ca_is_refused() {
    let (_, key) = pair();
    let why = UnusableCertificates::NoCertificate { key: CA };
    assert_eq!(refused(&[(CA, &key)]), why);
}

#[test]
fn one_broken_ca_spoils_the_bundle() {
    let (good, _) = pair();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let why = UnusableCertificates::BrokenCertificate { key: CA };
    assert_eq!(refused(&[(CA, &format!("{good}{broken}"))]), why);
}

#[rstest::rstest]
#[case::nothing("", UnusableCertificates::NoPrivateKey)]
#[case::encrypted(
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    UnusableCertificates::NoPrivateKey
)]
#[case::garbled(
    "-----BEGIN PRIVATE KEY-----\n%%%%\n-----END PRIVATE KEY-----\n",
    UnusableCertificates::NotPem { key: KEY }
)]
#[case::unknown(
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    UnusableCertificates::UnusableKey
)]
fn a_key_that_is_none_is_refused(#[case] key: &str, #[case] why: UnusableCertificates) {
    let (certificate, _) = pair();
    assert_eq!(refused(&[(CERTIFICATE, &certificate), (KEY, key)]), why);
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let ((certificate, _), (_, key)) = (pair(), pair());
    let why = UnusableCertificates::Mismatch;
    assert_eq!(refused(&[(CERTIFICATE, &certificate), (KEY, &key)]), why);
}

#[test]
fn every_change_shows_in_the_fingerprint() {
    let print = |values| material(values).fingerprint();
    let of = [
        print(&[(CA, "a"), (CERTIFICATE, "b")]),
        print(&[(CA, "ab")]),
        print(&[(CA, "a"), (KEY, "b")]),
        print(&[(CA, "a"), (CERTIFICATE, "")]),
        print(&[(CA, "a")]),
    ];
    for (at, one) in of.iter().enumerate() {
        assert!(!of[at + 1..].contains(one), "{at}");
    }
    assert_eq!(of[4], print(&[(CA, "a"), ("other", "b")]));
}

#[test]
fn nothing_of_a_key_can_be_printed() {
    let (certificate, key) = pair();
    let values = [(CERTIFICATE, &*certificate), (KEY, &key)];
    let shown = format!("{:?} {:?}", material(&values), trust(&values).unwrap());
    for line in key.lines().chain(certificate.lines()) {
        assert!(!shown.contains(line), "{shown}");
    }
}
