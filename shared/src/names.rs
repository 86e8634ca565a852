//! Names the operator gives: Jobs, labels, annotations, field managers. One function each, so that
//! two replicas always arrive at the same name.

use sha2::{Digest, Sha256};

/// Value of `app.kubernetes.io/name` and `app.kubernetes.io/managed-by`.
pub const OPERATOR: &str = "werf-operator";

/// The finalizer on a bundle: its Jobs are removed before it is.
pub const FINALIZER: &str = "operator.werf.io/jobs";

/// Labels on Jobs and their Pods.
pub mod label {
    /// Always [`super::OPERATOR`].
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The bundle's name; the guides' commands select by it.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Always [`super::OPERATOR`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The bundle's name.
    pub const BUNDLE: &str = "werf.io/bundle";
    /// The tag, hashed when it is no legal label value.
    pub const TAG: &str = "werf.io/tag";
    /// The bundle's uid; what belongs to a bundle is found by it.
    pub const BUNDLE_UID: &str = "operator.werf.io/bundle-uid";
    /// The Helm release in the Job's namespace, hashed when it is no legal label value; whoever else
    /// works on the release is found by it.
    pub const RELEASE: &str = "operator.werf.io/release";
}

/// Annotations on Jobs. werf itself reads `werf.io/*`, so ours have a prefix of their own.
pub mod annotation {
    /// The exact tag.
    pub const TAG: &str = "operator.werf.io/tag";
    /// The digest of the tag's manifest.
    pub const DIGEST: &str = "operator.werf.io/digest";
    /// A hash of everything that went into the run.
    pub const INPUTS_HASH: &str = "operator.werf.io/inputs-hash";
    /// Number of the run within its bundle.
    pub const RUN: &str = "operator.werf.io/run";
    /// Number of the attempt within its run.
    pub const ATTEMPT: &str = "operator.werf.io/attempt";
    /// uid of the bundle.
    pub const BUNDLE_UID: &str = "operator.werf.io/bundle-uid";
    /// Namespace of the bundle.
    pub const BUNDLE_NAMESPACE: &str = "operator.werf.io/bundle-namespace";
    /// Name of the bundle.
    pub const BUNDLE_NAME: &str = "operator.werf.io/bundle-name";
    /// The exact name of the Helm release.
    pub const RELEASE: &str = "operator.werf.io/release";
    /// `dismiss` on a Job that uninstalls; a Job without it deploys.
    pub const PURPOSE: &str = "operator.werf.io/purpose";
    /// The Job has been let run.
    pub const RELEASED: &str = "operator.werf.io/released";
    /// `unused` where the registry's Secret holds a client certificate, which werf cannot present.
    pub const CLIENT_CERTIFICATE: &str = "operator.werf.io/client-certificate";
    /// W3C trace context of the run.
    pub const TRACEPARENT: &str = "operator.werf.io/traceparent";

    /// All of them: of a Job that is read, no others are kept.
    pub const ALL: [&str; 13] = [
        TAG,
        DIGEST,
        INPUTS_HASH,
        RUN,
        ATTEMPT,
        BUNDLE_UID,
        BUNDLE_NAMESPACE,
        BUNDLE_NAME,
        RELEASE,
        PURPOSE,
        RELEASED,
        CLIENT_CERTIFICATE,
        TRACEPARENT,
    ];
}

/// Annotations that people put on bundles; [`asked`](crate::bundle::asked) reads them.
pub mod wish {
    /// Deploy now: any value that was not there before.
    pub const RECONCILE: &str = "operator.werf.io/reconcile";
    /// With the value of [`RECONCILE`]: deploy even if nothing changed or the bundle is suspended.
    pub const FORCE: &str = "operator.werf.io/force";
    /// Deploy this tag of the history, and hold it.
    pub const ROLLBACK_TO: &str = "operator.werf.io/rollback-to";
}

/// What is left of a bundle's name in the name of its Jobs.
const BUNDLE_PART: usize = 44;

/// The longest label value, and the longest name of a Job whose Pods can carry it as a label.
const LABEL_LIMIT: usize = 63;

/// The name of a Job: `<bundle, ≤ 44>-<8 hex of the tag>-<8 hex of uid, run and attempt>`, at most
/// 62 characters. The same inputs always give the same name, so creating a Job twice is refused by
/// the apiserver.
pub fn job(bundle: &str, tag: &str, uid: &str, run: i64, attempt: i32) -> String {
    let readable = readable(bundle);
    let tag = short_hash(&[tag]);
    let attempt = short_hash(&[uid, &run.to_string(), &attempt.to_string()]);
    format!("{readable}-{tag}-{attempt}")
}

/// The name of a Job that uninstalls: `<bundle, ≤ 44>-dismiss-<8 hex of uid and attempt>`, at most 61
/// characters.
pub fn dismiss_job(bundle: &str, uid: &str, attempt: i32) -> String {
    let readable = readable(bundle);
    let attempt = short_hash(&[uid, "dismiss", &attempt.to_string()]);
    format!("{readable}-dismiss-{attempt}")
}

fn readable(bundle: &str) -> String {
    let mut readable: String = bundle.replace('.', "-");
    readable.truncate(BUNDLE_PART);
    readable.trim_end_matches('-').to_owned()
}

/// The longest name Helm lets a release have.
const RELEASE_LIMIT: usize = 53;

/// The release of a bundle that names none: the bundle's name or, where that is too long for Helm, its
/// beginning and a hash.
pub fn release(bundle: &str) -> String {
    if bundle.len() <= RELEASE_LIMIT {
        return bundle.to_owned();
    }
    let readable: String = bundle.chars().take(BUNDLE_PART).collect();
    let readable = readable.trim_end_matches(['-', '.']);
    format!("{readable}-{}", short_hash(&[bundle]))
}

/// A label value that stands for a text: the text itself where it is legal, otherwise a hash.
pub fn label_value(text: &str) -> String {
    if is_label_value(text) {
        text.to_owned()
    } else {
        short_hash(&[text])
    }
}

/// The text can be a label's value and is not empty.
pub fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| edge(c) || matches!(c, '-' | '_' | '.');
    text.len() <= LABEL_LIMIT
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge)
}

/// The text can be a label's key: a name, or a DNS subdomain, a slash and a name.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_value(name),
        None => is_label_value(text),
    }
}

/// The text is a DNS subdomain (RFC 1123) of at most 253 characters, as most objects are named.
pub fn is_subdomain(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.chars().all(|c| edge(c) || c == '-')
            && label.starts_with(edge)
            && label.ends_with(edge)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The text is a DNS label (RFC 1123) of at most 63 characters, as namespaces are named.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LABEL_LIMIT && !text.contains('.') && is_subdomain(text)
}

/// What is wrong with a text that stands where a name belongs. Names become parts of the paths of
/// requests as they are, so what is none is never asked for. The text is not repeated: it may be
/// anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct IllegalName {
    field: String,
    rule: &'static str,
}

/// Checks that the text of a field can be the name of an object of most kinds
/// (`NameIsDNSSubdomain` in apimachinery's `pkg/api/validation/generic.go`).
pub fn check_object(field: &str, text: &str) -> Result<(), IllegalName> {
    let rule =
        "a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', at most 253 characters";
    check(is_subdomain(text), field, rule)
}

/// Checks that the text of a field can be the name of a namespace (`NameIsDNSLabel`, there).
pub fn check_namespace(field: &str, text: &str) -> Result<(), IllegalName> {
    let rule = "a DNS-1123 label: lower-case letters, digits and '-', at most 63 characters";
    check(is_dns_label(text), field, rule)
}

/// Checks that the text of a field can be the name of a Helm release (`ValidateReleaseName` in helm's
/// `pkg/chartutil/validate_name.go`).
pub fn check_release(field: &str, text: &str) -> Result<(), IllegalName> {
    let rule =
        "a DNS-1123 subdomain: lower-case letters, digits, '-' and '.', at most 53 characters";
    check(
        text.len() <= RELEASE_LIMIT && is_subdomain(text),
        field,
        rule,
    )
}

fn check(legal: bool, field: &str, rule: &'static str) -> Result<(), IllegalName> {
    legal.then_some(()).ok_or_else(|| IllegalName {
        field: field.to_owned(),
        rule,
    })
}

/// Eight hexadecimal digits that stand for some texts. The texts are parted, so that `["ab", "c"]`
/// and `["a", "bc"]` differ.
pub fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    format!(
        "{:02x}{:02x}{:02x}{:02x}",
        digest[0], digest[1], digest[2], digest[3]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_and_attempts_have_jobs_of_their_own() {
        let first = job("my-app", "v1.0.0", "uid", 1, 1);
        assert!(first.starts_with("my-app-"));
        for other in [
            job("my-app", "v1.0.0", "uid", 1, 2),
            job("my-app", "v1.0.0", "uid", 2, 1),
            job("my-app", "v1.0.0", "diu", 1, 1),
            job("my-app", "v1.0.1", "uid", 1, 1),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(first, job("my-app", "v1.0.0", "uid", 1, 1));
    }

    #[rstest::rstest]
    #[case::empty("")]
    #[case::query("creds?resourceVersion=0")]
    #[case::fragment("creds#x")]
    #[case::path("a/b")]
    #[case::up("..")]
    #[case::up_and_down("a/../b")]
    #[case::here(".")]
    #[case::escaped("a%2fb")]
    #[case::space("my config")]
    #[case::spaces_around(" app ")]
    #[case::line("app\n")]
    #[case::lines("app\r\nHost: x")]
    #[case::nothing("app\0")]
    #[case::selector("app,x=y")]
    #[case::upper("App")]
    #[case::dash("-app")]
    #[case::flag("--values=/etc/passwd")]
    #[case::dots("a..b")]
    #[case::unicode("äpp")]
    #[case::other_digits("app\u{0663}")]
    #[case::long(&"a".repeat(254))]
    fn what_would_become_another_request_is_no_name(#[case] text: &str) {
        let told = [
            check_object("spec.x", text),
            check_namespace("spec.x", text),
            check_release("spec.x", text),
        ];
        for told in told {
            let told = told.unwrap_err().to_string();
            assert!(told.starts_with("spec.x must be a DNS-1123 "), "{told}");
            assert!(text.trim().len() < 3 || !told.contains(text), "{told}");
        }
    }

    #[test]
    fn each_kind_of_name_has_its_own_rule() {
        let legal = |text: &str| {
            [
                check_object("", text).is_ok(),
                check_namespace("", text).is_ok(),
                check_release("", text).is_ok(),
            ]
        };
        assert_eq!(legal("my-app2"), [true, true, true]);
        assert_eq!(legal("a.b-c"), [true, false, true]);
        assert_eq!(legal(&"a".repeat(53)), [true, true, true]);
        assert_eq!(legal(&"a".repeat(54)), [true, true, false]);
        assert_eq!(legal(&"a".repeat(64)), [true, false, false]);
        assert_eq!(legal(&"a".repeat(253)), [true, false, false]);
    }

    proptest! {
        #[test]
        fn every_job_has_a_legal_name(
            bundle in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
            run in 1_i64..,
            attempt in 1_i32..,
        ) {
            let uid = "d7c0f5b2-1111-2222-3333-444455556666";
            let name = job(&bundle, &tag, uid, run, attempt);
            prop_assert!(is_dns_label(&name), "{}", name);
            let name = dismiss_job(&bundle, uid, attempt);
            prop_assert!(is_dns_label(&name), "{}", name);
        }

        #[test]
        fn every_bundle_has_a_legal_release(bundle in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?") {
            prop_assume!(is_subdomain(&bundle));
            let release = release(&bundle);
            prop_assert!(release.len() <= RELEASE_LIMIT && is_subdomain(&release), "{}", release);
        }

        #[test]
        fn every_tag_has_a_legal_label(tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            let value = label_value(&tag);
            let edge = |c: char| c.is_ascii_alphanumeric();
            prop_assert!(value.len() <= LABEL_LIMIT && value.starts_with(edge) && value.ends_with(edge));
        }
    }
}
