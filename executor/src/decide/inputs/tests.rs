//! What makes two deployments differ, and which key says so.

use rstest::rstest;

use super::*;
use crate::decide::fixtures::{That, bundle, digest};
use crate::decide::values;

fn key() -> InputsKey {
    InputsKey::new(vec![7; 32])
}

fn settings() -> Settings {
    Settings::of(&bundle(), false).unwrap()
}

fn of(settings: &Settings, tag: &str, digest: Option<&str>) -> String {
    hash(
        &key(),
        "uid",
        tag,
        digest,
        settings,
        &values::resolve(&[]).unwrap(),
    )
}

#[test]
fn the_same_inputs_hash_the_same() {
    assert_eq!(of(&settings(), "v1", None), of(&settings(), "v1", None));
}

/// Whoever changes this counts `FORMULA` up.
#[test]
fn the_formula_is_the_one_that_its_id_names() {
    let hash = of(&settings(), "v1", Some(&digest('1')));
    assert_eq!(hash, "82fd83a1:a37727cd3505aea77db984256a0c5e83");
}

#[test]
fn whatever_changes_the_deployment_changes_the_hash() {
    let plain = of(&settings(), "v1", None);
    assert_ne!(plain, of(&settings(), "v2", None));
    assert_ne!(plain, of(&settings(), "v1", Some(&digest('1'))));
    let mut other = settings();
    other.service_account = "deployer".to_owned();
    assert_ne!(plain, of(&other, "v1", None));
    let mut other = settings();
    other.memory = "2Gi".to_owned();
    assert_ne!(plain, of(&other, "v1", None));
}

#[test]
fn how_long_logs_are_kept_changes_nothing() {
    let mut other = settings();
    other.log_retention = std::time::Duration::from_secs(1);
    other.retry_limit = 9;
    assert_eq!(of(&settings(), "v1", None), of(&other, "v1", None));
}

#[test]
fn another_key_gives_another_hash() {
    let values = values::resolve(&[]).unwrap();
    let other = InputsKey::new(vec![8; 32]);
    assert_ne!(
        of(&settings(), "v1", None),
        hash(&other, "uid", "v1", None, &settings(), &values)
    );
}

#[test]
fn a_hash_names_its_key_and_neither_shows_it() {
    let hash = of(&settings(), "v1", None);
    let (id, digits) = hash.split_once(':').unwrap();
    assert_eq!((id, id.len(), digits.len()), (key().id(), 8, 32));
    assert_ne!(id, InputsKey::new(vec![8; 32]).id());
    assert!(!hash.contains("0707"), "{hash}");
}

#[rstest]
#[case::own(of(&settings(), "v1", None), false)]
#[case::own_of_other_inputs(of(&settings(), "v2", None), false)]
#[case::of_another_key(format!("{}:{:032}", InputsKey::new(vec![8; 32]).id(), 0), true)]
#[case::from_before_keys_had_names("0".repeat(32), true)]
#[case::the_name_alone(key().id().to_owned(), true)]
#[case::nothing(String::new(), true)]
#[case::no_name(":".to_owned(), true)]
fn a_hash_that_the_key_did_not_make_puts_it_in_doubt(#[case] hash: String, #[case] doubt: bool) {
    let status = bundle().wanting("v1", '1').deploying(&hash).state();
    assert_eq!(key().is_in_doubt(&status), doubt);
}

#[rstest]
#[case::of_a_new_bundle(0, false)]
#[case::because_a_claim_was_given_up(1, true)]
fn without_a_run_the_key_is_in_doubt_once_there_was_one(#[case] run: i64, #[case] doubt: bool) {
    let status = bundle().with(|status| status.run = run).state();
    assert_eq!(key().is_in_doubt(&status), doubt);
}
