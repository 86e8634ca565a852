//! What the scripted registry holds. A repository's name says it all, so that the registry needs no
//! memory and everybody who asks knows what will be answered: `label/e50/r7` is the repository
//! number 7 with 50 tags and `ETag`s, counted under `label`; `label/n50/r7` is the same without.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The tags and the `ETag`s of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) tags: usize,
    pub(super) etags: bool,
}

/// A page of a tag list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) etag: Option<String>,
    pub(super) body: String,
    /// The target of its `Link`.
    pub(super) next: Option<String>,
}

/// A manifest of a bundle, and its digest.
pub(in crate::measure) static MANIFEST: LazyLock<(String, String)> = LazyLock::new(|| {
    let empty = format!("sha256:{:x}", Sha256::digest(""));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": empty, "size": 0,
        },
        "layers": [{
            "mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": empty, "size": 0,
        }],
    })
    .to_string();
    let digest = format!("sha256:{:x}", Sha256::digest(&manifest));
    (manifest, digest)
});

impl Shape {
    /// Label and shape of a repository.
    pub(super) fn parse(repository: &str) -> Option<(&str, Self)> {
        let mut parts = repository.split('/');
        let (label, shape) = (parts.next()?, parts.next()?);
        let etags = match shape.as_bytes().first()? {
            b'e' => true,
            b'n' => false,
            _ => return None,
        };
        let tags = shape.get(1..)?.parse().ok()?;
        Some((label, Self { tags, etags }))
    }

    /// The repository of that number.
    pub(super) fn repository(self, label: &str, number: usize) -> String {
        format!("{label}/{self}/r{number}")
    }

    /// The highest tag.
    pub(super) fn newest(self) -> String {
        tag(self.tags - 1)
    }

    /// The `ETag` of the page that starts with the tag of this number.
    pub(super) fn etag(self, start: usize) -> Option<String> {
        self.etags.then(|| format!("\"{self}-{start}\""))
    }

    /// The number of the first tag behind the one that `last` names.
    pub(super) fn start(last: Option<&str>) -> usize {
        let number = last.and_then(|last| last.strip_prefix("v1.")?.strip_suffix(".0"));
        number
            .and_then(|number| number.parse().ok())
            .map_or(0, |number: usize| number + 1)
    }

    /// A page of at most `size` tags.
    pub(super) fn page(self, repository: &str, start: usize, size: Option<usize>) -> Page {
        let end = size.map_or(self.tags, |size| self.tags.min(start + size));
        let mut body = format!(r#"{{"name":"{repository}","tags":["#);
        for number in start..end {
            let comma = if number == start { "" } else { "," };
            let _infallible = write!(body, r#"{comma}"{}""#, tag(number));
        }
        body.push_str("]}");
        let next = size.filter(|_| end < self.tags).map(|size| {
            let last = tag(end.saturating_sub(1));
            format!("/v2/{repository}/tags/list?last={last}&n={size}")
        });
        Page {
            etag: self.etag(start),
            body,
            next,
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.etags { 'e' } else { 'n' };
        write!(formatter, "{kind}{}", self.tags)
    }
}

fn tag(number: usize) -> String {
    format!("v1.{number}.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_says_what_it_holds() {
        let shape = Shape {
            tags: 50,
            etags: true,
        };
        let repository = shape.repository("http-list", 7);
        assert_eq!(repository, "http-list/e50/r7");
        assert_eq!(Shape::parse(&repository), Some(("http-list", shape)));
        assert_eq!(shape.newest(), "v1.49.0");
        assert_eq!(Shape::parse("team/app"), None);
    }

    #[test]
    fn pages_hold_every_tag_once() {
        let shape = Shape {
            tags: 5,
            etags: false,
        };
        let first = shape.page("l/n5/r0", 0, Some(3));
        assert_eq!(
            first.body,
            r#"{"name":"l/n5/r0","tags":["v1.0.0","v1.1.0","v1.2.0"]}"#
        );
        let next = first.next.unwrap();
        assert_eq!(next, "/v2/l/n5/r0/tags/list?last=v1.2.0&n=3");
        let second = shape.page("l/n5/r0", Shape::start(Some("v1.2.0")), Some(3));
        assert_eq!(
            second.body,
            r#"{"name":"l/n5/r0","tags":["v1.3.0","v1.4.0"]}"#
        );
        assert_eq!((second.next, second.etag), (None, None));
    }
}
