//! Is this answer a page of the tag list, and what is in the whole list? A page is read strictly:
//! a wrong page drops the scan. A tag that no specification allows is dropped alone.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
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

/// Reads a page tag by tag into a list: what a page costs depends on the tags that are kept, not on
/// its length.
struct Reader<'a> {
    list: &'a mut TagList,
    limit: usize,
    full: bool,
}

/// What a page says besides its tags.
struct Page {
    name: Option<String>,
}

/// One entry of a page, if it is a tag.
struct Entry(Option<Tag>);

impl TagList {
    /// Adds a page.
    pub fn add(&mut self, body: &[u8], path: &str, limit: usize) -> Result<(), InvalidPage> {
        let mut reader = Reader {
            list: self,
            limit,
            full: false,
        };
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = json.deserialize_map(&mut reader);
        if reader.full {
            return Err(InvalidPage::TooManyTags(limit));
        }
        let page = read.map_err(|_| InvalidPage::NotATagList)?;
        json.end().map_err(|_| InvalidPage::NotATagList)?;
        if page.name.is_some_and(|name| name != path) {
            return Err(InvalidPage::OtherRepository);
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

impl<'de> Visitor<'de> for &mut Reader<'_> {
    type Value = Page;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a page of a tag list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page, A::Error> {
        let (mut name, mut tags) = (None, None);
        while let Some(field) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match field.as_ref() {
                "name" if name.is_some() => return Err(A::Error::duplicate_field("name")),
                "tags" if tags.is_some() => return Err(A::Error::duplicate_field("tags")),
                "name" => name = Some(map.next_value::<Option<String>>()?),
                "tags" => tags = Some(map.next_value_seed(Tags(self))?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        // A missing list is an error, while null is an empty one.
        tags.ok_or_else(|| A::Error::missing_field("tags"))?;
        let name = name.flatten();
        Ok(Page { name })
    }
}

/// The value of `tags`.
struct Tags<'a, 'b>(&'a mut Reader<'b>);

impl<'de> DeserializeSeed<'de> for Tags<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("tags or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Reader { list, limit, full } = self.0;
        while let Some(Entry(tag)) = entries.next_element()? {
            match tag {
                Some(tag) => {
                    list.tags.insert(ByText(tag));
                }
                None => list.invalid += 1,
            }
            if list.tags.len() + list.invalid > *limit {
                *full = true;
                return Err(A::Error::custom("too many tags"));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(AsTag)
    }
}

/// Looks at a text where it is; only a tag is worth a copy.
struct AsTag;

impl Visitor<'_> for AsTag {
    type Value = Entry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry(text.parse().ok()))
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

    #[test]
    fn a_page_costs_what_its_tags_cost() {
        let body = format!(r#"{{"tags":[{}"a"]}}"#, r#""a","#.repeat(1 << 16));
        assert_eq!(read(body.as_bytes()).unwrap().len(), 1);
        // It is not even read to its end.
        let endless = format!(r#"{{"tags":[{}"#, r#""/","#.repeat(6));
        assert_eq!(read(endless.as_bytes()), Err(InvalidPage::TooManyTags(5)));
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
