//! What makes two deployments differ.

use super::*;
use crate::decide::fixtures::{bundle, digest};
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
    assert_eq!(of(&settings(), "v1", None).len(), 32);
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
