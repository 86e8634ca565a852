//! What is an entry of a Docker configuration for? Its key, taken apart: a host, perhaps with
//! wildcards, and perhaps the first segments of a path.

/// Any number of characters of a label. Kubernetes documents `?` and classes, too, but they do not
/// survive its own reading of the key as a URL.
const WILD: char = '*';

/// What an entry is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    host: String,
    path: Vec<String>,
}

impl Location {
    /// The key of an entry, if it is for anything at all: `host`, `host:port`, `host/path`, and the
    /// URLs that docker writes, such as `https://host/v1/`.
    pub(super) fn of(key: &str) -> Option<Self> {
        let key = key.trim();
        let bare = ["https://", "http://"]
            .iter()
            .find_map(|scheme| key.strip_prefix(scheme))
            .unwrap_or(key);
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        if host.is_empty() || bare.contains(['@', '?', '#', '\\']) {
            return None;
        }
        // The version of the API is no part of the repository, as for docker and Kubernetes.
        let path = match path.split_once('/') {
            Some(("v1" | "v2", rest)) => rest,
            None if matches!(path, "v1" | "v2") => "",
            _ => path,
        };
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Some(Self {
            host: host.to_ascii_lowercase(),
            path: segments.map(str::to_owned).collect(),
        })
    }

    /// It is for the repository of this path at one of these hosts.
    pub(super) fn fits(&self, hosts: &[&str], path: &str) -> bool {
        let mut segments = path.split('/');
        hosts.iter().any(|host| host_matches(&self.host, host))
            && self
                .path
                .iter()
                .all(|segment| segments.next() == Some(segment.as_str()))
    }

    /// What goes before what, the highest first: a host by its name, the longest path, and the
    /// wildcard that leaves the least open.
    pub(super) fn precedence(&self) -> (bool, usize, usize) {
        let open = self.host.matches(WILD).count();
        (open == 0, self.path.len(), self.host.len() - open)
    }

    /// The host, if the entry is for the whole of exactly this one.
    pub(super) fn whole_host(&self) -> Option<&str> {
        let whole = self.path.is_empty() && !self.host.contains(WILD);
        whole.then_some(self.host.as_str())
    }
}

/// Ports are equal, and so are labels one by one, but for wildcards within a label.
fn host_matches(pattern: &str, host: &str) -> bool {
    let ((pattern, wanted), (host, port)) = (split(pattern), split(host));
    if wanted != port {
        return false;
    }
    let (mut patterns, mut labels) = (pattern.split('.'), host.split('.'));
    loop {
        match (patterns.next(), labels.next()) {
            (None, None) => return true,
            (Some(pattern), Some(label)) if label_matches(pattern.as_bytes(), label.as_bytes()) => {
            }
            _ => return false,
        }
    }
}

/// Name and port.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // An IPv6 address without a port ends in a bracket.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Goes back to the last `*` only, so the time is at most the product of the lengths.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < label.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&byte) if byte == label[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((back, from)) = star else {
                    return false;
                };
                star = Some((back, from + 1));
                at = back + 1;
                seen = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(key: &str, host: &str, path: &str) -> bool {
        Location::of(key).is_some_and(|location| location.fits(&[host], path))
    }

    #[rstest::rstest]
    #[case("ghcr.io", "ghcr.io", "org/app", true)]
    #[case("https://ghcr.io", "ghcr.io", "org/app", true)]
    #[case("http://ghcr.io/", "ghcr.io", "org/app", true)]
    #[case("https://ghcr.io/v1/", "ghcr.io", "org/app", true)]
    #[case("https://ghcr.io/v2", "ghcr.io", "org/app", true)]
    #[case("https://ghcr.io/v2/org/", "ghcr.io", "org/app", true)]
    #[case("GHCR.io", "ghcr.io", "org/app", true)]
    #[case("ghcr.io/org", "ghcr.io", "org/app", true)]
    #[case("ghcr.io/org/app", "ghcr.io", "org/app", true)]
    #[case("ghcr.io/org/app/more", "ghcr.io", "org/app", false)]
    #[case("ghcr.io/or", "ghcr.io", "org/app", false)]
    #[case("ghcr.io/app", "ghcr.io", "org/app", false)]
    #[case("host:5000", "host:5000", "app", true)]
    #[case("host.example", "host.example:5000", "app", false)]
    #[case("host.example:5000", "host.example", "app", false)]
    #[case("host:5001", "host:5000", "app", false)]
    #[case("[::1]:5000", "[::1]:5000", "app", true)]
    #[case("[::1]", "[::1]:5000", "app", false)]
    #[case("*.example.com", "r.example.com", "app", true)]
    #[case("*.example.com/team", "r.example.com", "team/app", true)]
    #[case("r*.example.com", "registry.example.com", "app", true)]
    #[case("r?.example.com", "r1.example.com", "app", false)]
    #[case("*.*.example.com", "a.b.example.com", "app", true)]
    #[case("*.example.com", "a.b.example.com", "app", false)]
    #[case("*.example.com", "example.com", "app", false)]
    #[case("*.example.com:5000", "r.example.com:5000", "app", true)]
    #[case("*.example.com", "r.example.com:5000", "app", false)]
    #[case("*example.com", "evil.example.com", "app", false)]
    #[case("example.com", "example.com.evil.org", "app", false)]
    #[case("user@ghcr.io", "ghcr.io", "org/app", false)]
    #[case("ghcr.io?x", "ghcr.io", "org/app", false)]
    #[case("", "ghcr.io", "org/app", false)]
    #[case("https://", "ghcr.io", "org/app", false)]
    #[case("ftp://ghcr.io", "ghcr.io", "org/app", false)]
    fn an_entry_is_for_what_its_key_says(
        #[case] key: &str,
        #[case] host: &str,
        #[case] path: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(fits(key, host, path), expected);
    }

    proptest! {
        #[test]
        fn a_label_matches_as_its_regular_expression_does(
            pattern in "[ab*]{0,8}",
            label in "[ab]{0,8}",
        ) {
            let expression = pattern.replace('*', ".*");
            let expression = regex::Regex::new(&format!("^{expression}$")).unwrap();
            let matched = label_matches(pattern.as_bytes(), label.as_bytes());
            prop_assert_eq!(matched, expression.is_match(&label));
        }

        #[test]
        fn no_key_panics(key in "\\PC{0,40}") {
            fits(&key, "ghcr.io", "org/app");
        }
    }
}
