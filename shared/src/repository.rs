//! An OCI repository as a bundle names it: `host[:port]/path`. Unlike the references of container
//! engines nothing is filled in: no default registry, no default tag.

use std::fmt;
use std::str::FromStr;

/// The rule in words, as people see it when it is broken.
pub const RULE: &str = "url must be host[:port]/path in lower case, without scheme, user, tag, digest or query, for example ghcr.io/org/my-app-bundle";

/// The rule as a regular expression, in the dialect of CEL (RE2) and of Go. The host needs a dot,
/// a port or to be `localhost`, as in the reference grammar of distribution: without that,
/// `org/app` would be a host called `org`. The path is `<name>` of the OCI distribution
/// specification, section "Pulling manifests".
pub const PATTERN: &str = concat!(
    "^(",
    // a name with a dot, or localhost, with an optional port
    "(localhost|[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)+)",
    "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?",
    // a single word or an IPv6 address, where the port is what makes it a host
    r"|([a-z0-9]([-a-z0-9]*[a-z0-9])?|\[[0-9a-f:]+\])",
    ":([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
    ")",
    "(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)+$"
);

/// The longest repository there can be, as in distribution's reference grammar.
const LENGTH_LIMIT: usize = 255;

/// Where bundles are published: a registry host and a path in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    host: String,
    path: String,
}

/// A text that is not a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{RULE}")]
pub struct InvalidRepository;

impl Repository {
    /// Host and port of the registry, as written: `ghcr.io`, `10.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's name within the registry: `org/my-app-bundle`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host names this machine itself, where plain HTTP is as safe as TLS.
    pub fn is_loopback(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or(v6),
            None => self.host.split(':').next().unwrap_or(&self.host),
        };
        name == "localhost"
            || name
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Repository {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, path) = text.split_once('/').ok_or(InvalidRepository)?;
        let valid =
            text.len() <= LENGTH_LIMIT && is_host(host) && path.split('/').all(is_component);
        if valid {
            Ok(Self {
                host: host.to_owned(),
                path: path.to_owned(),
            })
        } else {
            Err(InvalidRepository)
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once("]:").is_some_and(|(address, port)| {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':'))
                && is_port(port)
        });
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let named_like_a_host = name == "localhost" || name.contains('.') || port.is_some();
    named_like_a_host && name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0')
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

/// Runs of letters and digits, parted by one dot, one or two underscores, or any number of dashes.
fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let word = rest.trim_start_matches(alphanumeric);
        if word.len() == rest.len() {
            return false;
        }
        if word.is_empty() {
            return true;
        }
        let next = word.trim_start_matches(|c: char| !alphanumeric(c));
        let separator = &word[..word.len() - next.len()];
        let allowed = matches!(separator, "." | "_" | "__")
            || (!separator.is_empty() && separator.bytes().all(|b| b == b'-'));
        if !allowed {
            return false;
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[rstest::rstest]
    #[case("ghcr.io/org/my-app-bundle")]
    #[case("localhost/app")]
    #[case("localhost:5000/app")]
    #[case("registry:5000/team/app")]
    #[case("10.0.0.1:5000/app")]
    #[case("[::1]:5000/app")]
    #[case("r.example.com/a/b__c/d---e.f_g")]
    fn a_repository_is_host_and_path(#[case] text: &str) {
        assert_eq!(text.parse::<Repository>().unwrap().to_string(), text);
    }

    #[rstest::rstest]
    #[case("http://ghcr.io/org/app")]
    #[case("ftp://ghcr.io/org/app")]
    #[case("oci://ghcr.io/org/app")]
    #[case("user:pass@ghcr.io/org/app")]
    #[case("ghcr.io/org/app?x=1")]
    #[case("ghcr.io/org/app#f")]
    #[case("ghcr.io/org/app:v1")]
    #[case("ghcr.io/org/app@sha256:abc")]
    #[case("ghcr.io/org/../app")]
    #[case("ghcr.io/%2e%2e/app")]
    #[case("ghcr.io//app")]
    #[case("ghcr.io/Org/app")]
    #[case("ghcr.io/")]
    #[case("ghcr.io")]
    #[case("org/app")]
    #[case("host:0/app")]
    #[case("host:99999/app")]
    #[case("host:/app")]
    #[case("ghcr.io/org/app ")]
    #[case("ghcr.io/ørg/app")]
    #[case("ghcr.io/a___b")]
    #[case("")]
    fn anything_else_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Repository>(), Err(InvalidRepository));
    }

    #[test]
    fn loopback_is_recognised_in_every_form() {
        let loopback = |text: &str| text.parse::<Repository>().unwrap().is_loopback();
        assert!(loopback("localhost:5000/a"));
        assert!(loopback("127.0.0.1:5000/a"));
        assert!(loopback("[::1]:5000/a"));
        assert!(!loopback("10.0.0.1:5000/a"));
        assert!(!loopback("127.0.0.1.example.com/a"));
    }

    proptest! {
        /// The apiserver checks the pattern and the operator the parser: they must agree.
        #[test]
        fn parser_and_pattern_agree(text in "[a-b0\\[]{0,2}[a-b.:\\[\\]0-]{0,6}(/[a-b0._/-]{0,6}){0,2}[A:@? ]{0,1}") {
            let pattern = regex::Regex::new(PATTERN).unwrap();
            prop_assert_eq!(text.parse::<Repository>().is_ok(), pattern.is_match(&text), "{}", text);
        }
    }
}
