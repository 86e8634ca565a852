//! What the Pods of all Jobs have in common: the operator's own flags, parsed. They are for whoever
//! runs the cluster, so none of them is a field of a bundle.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, Toleration};
use werf_shared::names;

/// What the Pods of all Jobs have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSettings {
    /// The image with werf in it.
    pub image: String,
    /// Secrets that image is pulled with, in the namespace of the Job.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels of the nodes that may run it.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that may run it all the same.
    pub tolerations: Vec<Toleration>,
}

/// Why a flag cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPodSetting {
    /// Not a name of a Secret.
    #[error("`{0}` is not the name of a Secret")]
    SecretName(String),
    /// Not a label.
    #[error("`{0}` is not a label, expected KEY=VALUE")]
    Label(String),
    /// Not a taint.
    #[error("`{0}` is not a taint, expected KEY[=VALUE][:EFFECT]")]
    Taint(String),
    /// Not an effect of a taint.
    #[error("`{0}` is not one of NoSchedule, PreferNoSchedule, NoExecute")]
    Effect(String),
}

/// Reads names of Secrets, as in `registry-login,other`.
pub fn image_pull_secrets(
    texts: &[String],
) -> Result<Vec<LocalObjectReference>, InvalidPodSetting> {
    let secret = |name: &String| {
        if names::is_subdomain(name) {
            Ok(LocalObjectReference { name: name.clone() })
        } else {
            Err(InvalidPodSetting::SecretName(name.clone()))
        }
    };
    texts.iter().map(secret).collect()
}

/// Reads labels of nodes, as in `disktype=ssd,kubernetes.io/arch=amd64`.
pub fn node_selector(texts: &[String]) -> Result<BTreeMap<String, String>, InvalidPodSetting> {
    let label = |text: &String| {
        text.split_once('=')
            .filter(|(key, value)| names::is_label_key(key) && is_label_value(value))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| InvalidPodSetting::Label(text.clone()))
    };
    texts.iter().map(label).collect()
}

/// Reads taints as `kubectl taint` writes them: `key=value:NoSchedule`; without a value any value is
/// meant, without an effect any effect.
pub fn tolerations(texts: &[String]) -> Result<Vec<Toleration>, InvalidPodSetting> {
    texts.iter().map(|text| toleration(text)).collect()
}

fn toleration(text: &str) -> Result<Toleration, InvalidPodSetting> {
    let (taint, effect) = match text.split_once(':') {
        Some((taint, effect)) => (taint, Some(effect)),
        None => (text, None),
    };
    if let Some(effect) = effect
        && !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect)
    {
        return Err(InvalidPodSetting::Effect(effect.to_owned()));
    }
    let (key, value) = match taint.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (taint, None),
    };
    if !names::is_label_key(key) || !value.is_none_or(is_label_value) {
        return Err(InvalidPodSetting::Taint(text.to_owned()));
    }
    let operator = if value.is_some() { "Equal" } else { "Exists" };
    Ok(Toleration {
        key: Some(key.to_owned()),
        operator: Some(operator.to_owned()),
        value: value.map(ToOwned::to_owned),
        effect: effect.map(ToOwned::to_owned),
        toleration_seconds: None,
    })
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || names::is_label_value(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, InvalidPodSetting> {
        toleration(text).map(|toleration| serde_json::to_value(toleration).unwrap())
    }

    #[rstest]
    #[case::value_and_effect(
        "a.io/b=c:NoSchedule",
        r#"{"key":"a.io/b","operator":"Equal","value":"c","effect":"NoSchedule"}"#
    )]
    #[case::empty_value(
        "a=:NoExecute",
        r#"{"key":"a","operator":"Equal","value":"","effect":"NoExecute"}"#
    )]
    #[case::any_value(
        "a:PreferNoSchedule",
        r#"{"key":"a","operator":"Exists","effect":"PreferNoSchedule"}"#
    )]
    #[case::any_effect("a=b", r#"{"key":"a","operator":"Equal","value":"b"}"#)]
    #[case::key_alone("a", r#"{"key":"a","operator":"Exists"}"#)]
    fn a_taint_becomes_a_toleration(#[case] text: &str, #[case] expected: &str) {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(read(text), Ok(expected));
    }

    #[rstest]
    #[case("", InvalidPodSetting::Taint(String::new()))]
    #[case("a b", InvalidPodSetting::Taint("a b".to_owned()))]
    #[case("a=b c:NoSchedule", InvalidPodSetting::Taint("a=b c:NoSchedule".to_owned()))]
    #[case("a:Never", InvalidPodSetting::Effect("Never".to_owned()))]
    #[case("a:", InvalidPodSetting::Effect(String::new()))]
    fn what_is_no_taint_is_refused(#[case] text: &str, #[case] problem: InvalidPodSetting) {
        assert_eq!(read(text), Err(problem));
    }

    #[test]
    fn labels_of_nodes_are_pairs() {
        let read = |text: &str| node_selector(&[text.to_owned()]);
        assert_eq!(read("a.io/b=c").unwrap()["a.io/b"], "c");
        assert_eq!(
            read("node-role.kubernetes.io/deploy=").unwrap()["node-role.kubernetes.io/deploy"],
            ""
        );
        for bad in ["", "a", "=b", "a/b/c=d", "a=b c", "A_.io/b=c"] {
            assert_eq!(read(bad), Err(InvalidPodSetting::Label(bad.to_owned())));
        }
    }

    #[test]
    fn pull_secrets_are_names_of_objects() {
        let read = |text: &str| image_pull_secrets(&[text.to_owned()]);
        assert_eq!(read("registry.login").unwrap()[0].name, "registry.login");
        for bad in ["", "A", "a b", "-a"] {
            assert_eq!(
                read(bad),
                Err(InvalidPodSetting::SecretName(bad.to_owned()))
            );
        }
    }
}
