//! Tags of a repository and their order. Two tags that name the same version (`v1.0` and `1.0.0`)
//! are still told apart, so that sorting never depends on the order they came in.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease, Version};

/// A tag as the OCI distribution specification allows it:
/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

/// A text that cannot be a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tag must be 1 to 128 letters, digits, '_', '.' or '-', and not start with '.' or '-'")]
pub struct InvalidTag;

impl Tag {
    /// The tag as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version a tag names, read as Helm reads it (Masterminds' `NewVersion`): a leading `v`
    /// is fine and missing minor and patch numbers are zero.
    pub fn version(&self) -> Option<Version> {
        parse_version(&self.0)
    }

    /// The tag spells a whole semantic version, apart from a leading `v`: `1.2.3`, not `1.2`.
    pub fn is_full_version(&self) -> bool {
        Version::parse(self.0.strip_prefix('v').unwrap_or(&self.0)).is_ok()
    }
}

/// What a tag is, from least to most wanted where nothing is said about versions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Other,
    Prerelease,
    Stable,
}

impl Tag {
    /// Going from `other` to this tag would be a step backwards under any rule of choosing: it is the
    /// lower one, and not of a better class. (The first stable version comes after prereleases of
    /// higher ones.)
    pub fn is_behind(&self, other: &Self) -> bool {
        self < other && self.class() <= other.class()
    }

    fn class(&self) -> Class {
        match self.version().filter(|_| self.is_full_version()) {
            Some(version) if version.pre.is_empty() => Class::Stable,
            Some(_) => Class::Prerelease,
            None => Class::Other,
        }
    }
}

/// Reads a version as Masterminds' `NewVersion` does.
pub fn parse_version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = match text.split_once('+') {
        Some((text, build)) => (
            text,
            BuildMetadata::new(build).ok().filter(|b| !b.is_empty())?,
        ),
        None => (text, BuildMetadata::EMPTY),
    };
    let (numbers, pre) = match text.split_once('-') {
        Some((numbers, pre)) => (
            numbers,
            Prerelease::new(pre).ok().filter(|p| !p.is_empty())?,
        ),
        None => (text, Prerelease::EMPTY),
    };
    let mut parts = [0_u64; 3];
    for (index, number) in numbers.split('.').enumerate() {
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        *parts.get_mut(index).filter(|_| digits)? = number.parse().ok()?;
    }
    let [major, minor, patch] = parts;
    Some(Version {
        major,
        minor,
        patch,
        pre,
        build,
    })
}

impl Ord for Tag {
    /// Versions by semantic precedence; anything that is no version is lower than any that is, and
    /// ordered by its text. Equal precedence falls back to the text, where the longer spelling is
    /// the higher one.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_version = match (self.version(), other.version()) {
            (Some(a), Some(b)) => a.cmp_precedence(&b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        let both_versions = || self.version().is_some() && other.version().is_some();
        by_version
            .then_with(|| {
                if both_versions() {
                    self.0.len().cmp(&other.0.len())
                } else {
                    Ordering::Equal
                }
            })
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let valid = (1..=128).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with(['.', '-']);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTag)
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A digest as the OCI image specification writes it, SHA-256 only: `sha256:<64 hex>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

/// A text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest must be sha256: and 64 hexadecimal digits in lower case")]
pub struct InvalidDigest;

impl Digest {
    /// The digest as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").ok_or(InvalidDigest)?;
        let valid = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDigest)
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[rstest::rstest]
    #[case("v1.9.0", "v1.10.0")]
    #[case("1.0.0-rc.1", "1.0.0")]
    #[case("1.0.0-rc.2", "1.0.0-rc.10")]
    #[case("latest", "v0.0.1")]
    #[case("v1.0", "v1.0.0")]
    #[case("1.0.0", "v1.0.0")]
    #[case("alpha", "beta")]
    fn the_right_tag_is_higher(#[case] low: &str, #[case] high: &str) {
        assert!(tag(low) < tag(high));
    }

    #[rstest::rstest]
    #[case("a/b")]
    #[case("a b")]
    #[case("")]
    #[case(".a")]
    #[case("-a")]
    #[case("--values=/etc/passwd")]
    #[case("$(id)")]
    #[case("v1\n")]
    #[case("vа")] // a Cyrillic letter
    fn what_the_specification_forbids_is_no_tag(#[case] text: &str) {
        assert_eq!(text.parse::<Tag>(), Err(InvalidTag));
    }

    #[test]
    fn the_longest_tag_has_128_characters() {
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        assert!("a".repeat(129).parse::<Tag>().is_err());
    }

    #[test]
    fn a_digest_is_told_from_other_text() {
        let hex = "0123456789abcdef".repeat(4);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        assert_eq!(digest.hex(), hex);
        assert!(hex.parse::<Digest>().is_err());
        assert!(
            format!("sha256:{}", "A".repeat(64))
                .parse::<Digest>()
                .is_err()
        );
    }

    #[test]
    fn a_first_stable_version_is_not_behind_a_prerelease() {
        assert!(tag("v1.9.0").is_behind(&tag("v1.10.0")));
        assert!(tag("v1.0.0-rc.1").is_behind(&tag("v1.0.0")));
        assert!(!tag("v1.0.0").is_behind(&tag("v2.0.0-rc.1")));
        assert!(!tag("v2.0.0-rc.1").is_behind(&tag("v1.0.0")));
        assert!(!tag("v1.0.0").is_behind(&tag("v1.0.0")));
        assert!(!tag("v1.0.0").is_behind(&tag("latest")));
    }

    proptest! {
        #[test]
        fn the_order_is_total(
            mut tags in proptest::collection::vec("v?[0-2](\\.[0-2]){0,3}(-rc\\.?[0-9])?|[a-c]{1,3}", 0..8)
        ) {
            let mut sorted: Vec<Tag> = tags.iter().map(|t| tag(t)).collect();
            sorted.sort();
            tags.reverse();
            let mut again: Vec<Tag> = tags.iter().map(|t| tag(t)).collect();
            again.sort();
            prop_assert_eq!(&sorted, &again);
            for pair in sorted.windows(2) {
                prop_assert!(pair[0] <= pair[1]);
            }
        }
    }
}
