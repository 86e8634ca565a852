//! What people ask for by annotations of a bundle. Values come from outside and can be as large as
//! the apiserver lets annotations be, so they are compared, and shown, by a short echo.

use sha2::{Digest, Sha256};

use super::WerfBundle;
use crate::names::wish;

/// Values up to this length are echoed as they are.
const ECHO_LIMIT: usize = 64;

/// The echo of the annotation that asks for a deployment now, if it is there and not empty.
pub fn reconcile(bundle: &WerfBundle) -> Option<String> {
    value(bundle, wish::RECONCILE).map(echo)
}

/// The annotation that asks for it is to be followed whatever is deployed, and while suspended.
pub fn forced(bundle: &WerfBundle) -> bool {
    let force = value(bundle, wish::FORCE);
    force.is_some() && force == value(bundle, wish::RECONCILE)
}

/// The tag to roll back to, if the annotation is there and not empty. It may be no tag.
pub fn rollback_to(bundle: &WerfBundle) -> Option<&str> {
    value(bundle, wish::ROLLBACK_TO)
}

fn value<'a>(bundle: &'a WerfBundle, key: &str) -> Option<&'a str> {
    let value = bundle.metadata.annotations.as_ref()?.get(key)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

/// A short text that stands for a value: the value itself where it is short and printable ASCII,
/// otherwise `sha256:` and its hash.
pub fn echo(value: &str) -> String {
    let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
    if value.len() <= ECHO_LIMIT && value.bytes().all(printable) {
        value.to_owned()
    } else {
        format!("sha256:{:x}", Sha256::digest(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn annotated(annotations: &Value) -> WerfBundle {
        let object = json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": { "name": "app", "namespace": "team", "annotations": annotations },
            "spec": { "registry": { "url": "ghcr.io/org/app" } },
        });
        serde_json::from_value(object).unwrap()
    }

    #[rstest::rstest]
    #[case::none(json!({}), None, false)]
    #[case::empty(json!({ wish::RECONCILE: "", wish::FORCE: "" }), None, false)]
    #[case::asked(json!({ wish::RECONCILE: "1" }), Some("1"), false)]
    #[case::another_force(json!({ wish::RECONCILE: "2", wish::FORCE: "1" }), Some("2"), false)]
    #[case::force_alone(json!({ wish::FORCE: "1" }), None, false)]
    #[case::forced(json!({ wish::RECONCILE: "2", wish::FORCE: "2" }), Some("2"), true)]
    fn force_counts_only_with_the_same_value(
        #[case] annotations: Value,
        #[case] asked: Option<&str>,
        #[case] force: bool,
    ) {
        let bundle = annotated(&annotations);
        assert_eq!(reconcile(&bundle).as_deref(), asked);
        assert_eq!(forced(&bundle), force);
    }

    #[test]
    fn a_huge_value_has_a_short_echo_of_its_own() {
        let one = "x".repeat(256 * 1024);
        let other = format!("{one}y");
        assert_eq!(echo(&one).len(), "sha256:".len() + 64);
        assert_ne!(echo(&one), echo(&other));
        assert_eq!(echo("2026-11-21T05:36:21Z"), "2026-11-21T05:36:21Z");
    }

    proptest! {
        #[test]
        fn an_echo_is_short_and_printable(value in "\\PC{0,80}|[\\x00-\\x1f\u{202e}]{1,9}") {
            let echo = echo(&value);
            prop_assert!(echo.len() <= 71);
            prop_assert!(echo.bytes().all(|b| (0x20..0x7f).contains(&b)), "{echo:?}");
        }
    }
}
