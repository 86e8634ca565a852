//! What is in a tag list that is still arriving? Its pages are read strictly, tag by tag, and a
//! wrong page drops the scan; a tag that no specification allows is dropped alone. The list itself
//! is never kept: every tag goes to the rules that choose, into a fingerprint and into the counts.

use std::fmt;

use sha2::{Digest as _, Sha256};
use werf_shared::tag::Tag;

use super::json::{Event, Json, Malformed};
use super::newest::{Looked, Rule, Selection, Selector};

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

/// A list in the middle of being read, for any number of rules.
#[derive(Debug)]
pub struct Reading<'r> {
    selectors: Vec<Selector<'r>>,
    sum: Sum,
    tags: usize,
    invalid: usize,
    limit: usize,
}

/// What a whole list held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Tells it from other lists.
    pub fingerprint: Fingerprint,
    /// How many tags it named, each as often as it was named.
    pub tags: usize,
    /// How many entries were no tags.
    pub invalid: usize,
    /// What each rule chose, in the order of the rules.
    pub selections: Vec<Selection>,
}

/// A page in the middle of being read.
#[derive(Debug)]
pub struct Page<'a, 'r> {
    reading: &'a mut Reading<'r>,
    path: &'a str,
    json: Json,
    place: Place,
    named: bool,
    listed: bool,
    entries: usize,
}

/// Which part of a page comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Fields,
    Name,
    Tags,
    Entries,
    /// The value of a field nobody asked for, this deep inside it.
    Ignored(u32),
    Behind,
}

/// Tells lists apart, whatever the order of their tags: SHA-256 over the sum of the SHA-256 of each
/// tag (as numbers of 256 bits, wrapping) and how many there were; 64 hex digits.
///
/// A tag that is named twice counts twice. A registry that repeats a tag only now and then looks as
/// if its list had changed: that costs a message, not a deployment. Whoever controls a list can
/// make another of the same fingerprint; nothing is chosen by it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A sum of hashes: adding is commutative, so the order of the list does not matter.
#[derive(Clone, Copy, Debug, Default)]
struct Sum([u64; 4]);

impl<'r> Reading<'r> {
    /// A list of which nothing has been read, for these rules.
    pub fn new(rules: impl IntoIterator<Item = &'r Rule>, limit: usize) -> Self {
        Self {
            selectors: rules.into_iter().map(Selector::new).collect(),
            sum: Sum::default(),
            tags: 0,
            invalid: 0,
            limit,
        }
    }

    /// Begins the next page of the repository of this path.
    pub fn page<'a>(&'a mut self, path: &'a str) -> Page<'a, 'r> {
        Page {
            reading: self,
            path,
            json: Json::default(),
            place: Place::Start,
            named: false,
            listed: false,
            entries: 0,
        }
    }

    /// Takes an entry of the list; `None` is one that is too long to be a tag.
    pub fn entry(&mut self, text: Option<&str>) -> Result<(), InvalidPage> {
        match text.and_then(|text| text.parse::<Tag>().ok()) {
            Some(tag) => {
                self.tags += 1;
                self.sum.add(&tag);
                let looked = Looked::at(&tag);
                for selector in &mut self.selectors {
                    selector.add(&looked);
                }
            }
            None => self.invalid += 1,
        }
        if self.tags + self.invalid > self.limit {
            return Err(InvalidPage::TooManyTags(self.limit));
        }
        Ok(())
    }

    /// All pages were read.
    #[must_use]
    pub fn finish(self) -> Contents {
        Contents {
            fingerprint: self.sum.fingerprint(self.tags),
            tags: self.tags,
            invalid: self.invalid,
            selections: self.selectors.into_iter().map(Selector::finish).collect(),
        }
    }
}

impl Page<'_, '_> {
    /// Reads the next bytes, however they are cut. After an error nothing more is to be read.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), InvalidPage> {
        let Self {
            reading,
            path,
            json,
            place,
            named,
            listed,
            entries,
        } = self;
        json.feed(bytes, |event| {
            *place = match (*place, event) {
                (Place::Start, Event::Object)
                | (Place::Name | Place::Tags, Event::Null)
                | (Place::Entries | Place::Ignored(1), Event::End)
                | (Place::Ignored(0), Event::Null | Event::Scalar | Event::Text(_)) => {
                    Place::Fields
                }
                (Place::Fields, Event::End) => Place::Behind,
                (Place::Fields, Event::Key(Some("name"))) if !*named => {
                    *named = true;
                    Place::Name
                }
                (Place::Fields, Event::Key(Some("tags"))) if !*listed => {
                    *listed = true;
                    Place::Tags
                }
                // A key that comes twice would mean something else to every reader.
                (Place::Fields, Event::Key(Some("name" | "tags"))) => {
                    return Err(InvalidPage::NotATagList);
                }
                (Place::Fields, Event::Key(_)) => Place::Ignored(0),
                (Place::Name, Event::Text(name)) if name == Some(*path) => Place::Fields,
                (Place::Name, Event::Text(_)) => return Err(InvalidPage::OtherRepository),
                (Place::Tags, Event::Array) => Place::Entries,
                (Place::Entries, Event::Text(text)) => {
                    *entries += 1;
                    reading.entry(text)?;
                    Place::Entries
                }
                (Place::Ignored(depth), Event::Object | Event::Array) => Place::Ignored(depth + 1),
                (Place::Ignored(depth), Event::End) => Place::Ignored(depth.saturating_sub(1)),
                (Place::Ignored(depth), _) => Place::Ignored(depth),
                _ => return Err(InvalidPage::NotATagList),
            };
            Ok(())
        })
    }

    /// The page has arrived whole. Says how many entries it had.
    pub fn finish(self) -> Result<usize, InvalidPage> {
        self.json.end()?;
        // A missing list is an error, while null is an empty one.
        let complete = self.place == Place::Behind && self.listed;
        complete
            .then_some(self.entries)
            .ok_or(InvalidPage::NotATagList)
    }
}

impl From<Malformed> for InvalidPage {
    fn from(Malformed: Malformed) -> Self {
        Self::NotATagList
    }
}

impl Sum {
    fn add(&mut self, tag: &Tag) {
        let hash: [u8; 32] = Sha256::digest(tag.as_str().as_bytes()).into();
        let mut carry = false;
        for (word, bytes) in self.0.iter_mut().zip(hash.as_chunks::<8>().0) {
            let (sum, over) = word.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over || again;
        }
    }

    fn fingerprint(&self, tags: usize) -> Fingerprint {
        let mut hasher = Sha256::new();
        for word in self.0 {
            hasher.update(word.to_le_bytes());
        }
        hasher.update((tags as u64).to_le_bytes());
        Fingerprint(hasher.finalize().into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(formatter, "{b:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests;
