//! Is this answer a page of the tag list, and what is in the whole list? A page is read strictly:
//! a wrong page drops the scan. A tag that no specification allows is dropped alone.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use werf_shared::tag::Tag;

/// Why an answer is no page of the list that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPage {
    /// It is not JSON, or JSON of another shape.
    #[error("the answer is not a tag list")]
    NotATagList,
    /// It names another repository.
    #[error("the answer is the tag list of another repository")]
    OtherRepository,
    /// There are more tags than anybody needs.
    #[error("the tag list has more than {0} tags")]
    TooManyTags(usize),
}

/// A whole list, in one order whatever order it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList {
    /// Sorted by text, so that the fingerprint does not depend on the registry.
    tags: BTreeSet<ByText>,
    /// How many entries were no tags.
    pub invalid: usize,
}

/// SHA-256 over a sorted list, 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ByText(Tag);

#[derive(Deserialize)]
struct Page {
    name: Option<String>,
    // Without a default a missing list is an error, while null is an empty one.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl TagList {
    /// Adds a page.
    pub fn add(&mut self, body: &[u8], path: &str, limit: usize) -> Result<(), InvalidPage> {
        let page: Page = serde_json::from_slice(body).map_err(|_| InvalidPage::NotATagList)?;
        if page.name.is_some_and(|name| name != path) {
            return Err(InvalidPage::OtherRepository);
        }
        for text in page.tags.unwrap_or_default() {
            match text.parse() {
                Ok(tag) => {
                    self.tags.insert(ByText(tag));
                }
                Err(_) => self.invalid += 1,
            }
            if self.tags.len() + self.invalid > limit {
                return Err(InvalidPage::TooManyTags(limit));
            }
        }
        Ok(())
    }

    /// The tags.
    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter().map(|ByText(tag)| tag)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Tells whether two lists hold the same tags.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new();
        for tag in self.iter() {
            hasher.update(tag.as_str().as_bytes());
            hasher.update(b"\n");
        }
        Fingerprint(format!("{:x}", hasher.finalize()))
    }
}

impl Fingerprint {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Ord for ByText {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for ByText {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<TagList, InvalidPage> {
        let mut list = TagList::default();
        list.add(body, "org/app", 5).map(|()| list)
    }

    #[rstest::rstest]
    #[case(br#"{"name":"org/app","tags":["b","a","b"]}"#, 2)]
    #[case(br#"{"name":"org/app","tags":null}"#, 0)]
    #[case(br#"{"tags":[]}"#, 0)]
    #[case(br#"{"name":"org/app","tags":["a"],"child":[],"manifest":{}}"#, 1)]
    fn a_tag_list_is_read(#[case] body: &[u8], #[case] tags: usize) {
        assert_eq!(read(body).unwrap().len(), tags);
    }

    #[rstest::rstest]
    #[case(b"")]
    #[case(b"null")]
    #[case(b"<html>")]
    #[case(b"{}")]
    #[case(br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)]
    #[case(br#"{"tags":[1]}"#)]
    #[case(br#"{"tags":"v1"}"#)]
    #[case(br#"{"tags":["v1"],"tags":["v2"]}"#)]
    #[case(br#"{"tags":["v1"]} x"#)]
    #[case(b"\xef\xbb\xbf{\"tags\":[]}")]
    #[case(b"{\"tags\":[\"\xff\"]}")]
    fn anything_else_is_no_tag_list(#[case] body: &[u8]) {
        assert_eq!(read(body), Err(InvalidPage::NotATagList));
    }

    #[test]
    fn the_list_of_another_repository_is_refused() {
        let body = br#"{"name":"org/other","tags":[]}"#;
        assert_eq!(read(body), Err(InvalidPage::OtherRepository));
    }

    #[test]
    fn what_is_no_tag_is_dropped_alone() {
        let list = read(br#"{"tags":["v1","a/b","--x","\u001b[31m"]}"#).unwrap();
        assert_eq!((list.len(), list.invalid), (1, 3));
    }

    #[test]
    fn too_many_tags_are_refused() {
        let body = br#"{"tags":["1","2","3","/","5","6"]}"#;
        assert_eq!(read(body), Err(InvalidPage::TooManyTags(5)));
    }

    proptest! {
        #[test]
        fn the_fingerprint_depends_on_the_set_alone(
            tags in proptest::collection::vec("[a-z]{1,2}", 0..5),
            seed in 0_usize..5,
        ) {
            let mut turned = tags.clone();
            turned.rotate_left(seed % tags.len().max(1));
            let whole = read(serde_json::json!({ "tags": tags }).to_string().as_bytes()).unwrap();
            let mut paged = TagList::default();
            for tag in turned {
                let page = serde_json::json!({ "tags": [tag] }).to_string();
                paged.add(page.as_bytes(), "org/app", 5).unwrap();
            }
            prop_assert_eq!(whole.fingerprint(), paged.fingerprint());
        }
    }
}
