//! What does one YAML document say? It is read event by event, so that every limit holds before
//! anything is built, every refusal knows its line, and unquoted scalars mean what they mean to
//! Helm (see `scalar`). Where go-yaml v2 accepts what surely is a mistake (duplicate keys, a
//! second document that is never read), this refuses; `<<` never overrides a key that is written
//! out. Pure.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::budget::{Budget, MAX_DEPTH};
use super::problem::{Problem, Refusal};
use super::{file, scalar};

/// YAML readers, Helm's among them, give up on a key that is longer than 1024 characters.
const MAX_WRITTEN_KEY: usize = 1000;

/// The entries of the document's root map; none when the document is empty.
pub(super) fn parse(text: &[u8], budget: &mut Budget) -> Result<Map<String, Value>, Refusal> {
    let text = readable(text)?;
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder::new(budget);
    for event in Parser::new_from_str_with_options(text, options) {
        let (mut event, span) = event.map_err(|error| Refusal::from(&error))?;
        if span.end.byte_offset() == Some(text.len()) {
            end_without_line_break(&mut event, text);
        }
        builder
            .take(event)
            .map_err(|problem| problem.at(span.start.line()))?;
    }
    match builder.root {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(entries)) => Ok(entries),
        Some(_) => Err(Problem::RootNotAMap.at(1)),
    }
}

/// The text without a byte order mark, if every character in it is one YAML allows.
fn readable(text: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(text)
        .map_err(|error| Problem::NotUtf8.at(line_at(&text[..error.valid_up_to()])))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser takes a NUL for the end of its input, and would not see what follows.
    match text.find(|character| {
        !matches!(character, '\t' | '\n' | '\r') && !file::is_printable(character)
    }) {
        Some(position) => Err(Problem::ControlCharacter.at(line_at(&text.as_bytes()[..position]))),
        None => Ok(text),
    }
}

/// The parser ends a block scalar with a line break even where the document ends without one, as
/// documents in Secrets often do; a password would get a line break that nobody wrote.
fn end_without_line_break(event: &mut Event<'_>, text: &str) {
    if let Event::Scalar(scalar, ScalarStyle::Literal | ScalarStyle::Folded, ..) = event
        && text
            .lines()
            .next_back()
            .is_some_and(|line| !line.trim_start_matches(' ').is_empty())
        && !text.ends_with(['\n', '\r'])
        && scalar.ends_with('\n')
    {
        scalar.to_mut().pop();
    }
}

fn line_at(before: &[u8]) -> usize {
    before.split(|byte| *byte == b'\n').count()
}

/// The tree of a document as far as its events have come.
struct Builder<'budget> {
    budget: &'budget mut Budget,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    documents: usize,
    root: Option<Value>,
}

/// A collection whose end has not come.
struct Open {
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map {
        entries: BTreeMap<String, Value>,
        merged: Option<BTreeMap<String, Value>>,
        key: Option<Key>,
    },
}

enum Key {
    Named(String),
    Merge,
}

impl<'budget> Builder<'budget> {
    fn new(budget: &'budget mut Budget) -> Self {
        Self {
            budget,
            open: Vec::new(),
            anchors: HashMap::new(),
            documents: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) if self.documents > 0 => Err(Problem::SeveralDocuments),
            Event::DocumentStart(..) => {
                self.documents += 1;
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.budget.charge(1, text.len())?;
                let plain = style == ScalarStyle::Plain;
                if plain && tag.is_none() && text == "<<" && self.begin_merge()? {
                    return Ok(());
                }
                let value = scalar_value(&text, plain, tag.as_deref())?;
                self.add(value, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq")?;
                self.begin(anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map")?;
                self.begin(anchor, Content::empty_map())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(open.content.finished(), open.anchor),
                None => Ok(()),
            },
            Event::Alias(anchor) => self.repeat(anchor),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, anchor: usize, content: Content) -> Result<(), Problem> {
        self.budget.charge(1, 0)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    /// Whether `<<` stands where a key is expected; then it is taken as one.
    fn begin_merge(&mut self) -> Result<bool, Problem> {
        match self.open.last_mut().map(|open| &mut open.content) {
            Some(Content::Map {
                merged: Some(_),
                key: None,
                ..
            }) => Err(Problem::DuplicateKey),
            Some(Content::Map {
                key: key @ None, ..
            }) => {
                *key = Some(Key::Merge);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn repeat(&mut self, anchor: usize) -> Result<(), Problem> {
        let value = self.anchors.get(&anchor).ok_or(Problem::AliasOfAncestor)?;
        self.budget
            .charge_copy(value, MAX_DEPTH - self.open.len())?;
        let value = value.clone();
        self.add(value, 0)
    }

    fn add(&mut self, value: Value, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.budget.charge_copy(&value, MAX_DEPTH)?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(open) => open.content.add(value)?,
        }
        Ok(())
    }
}

impl Content {
    fn empty_map() -> Self {
        Self::Map {
            entries: BTreeMap::new(),
            merged: None,
            key: None,
        }
    }

    fn add(&mut self, value: Value) -> Result<(), Problem> {
        match self {
            Self::List(items) => items.push(value),
            Self::Map {
                entries,
                merged,
                key,
            } => match key.take() {
                None => {
                    let name = key_name(value)?;
                    if entries.contains_key(&name) {
                        return Err(Problem::DuplicateKey);
                    }
                    *key = Some(Key::Named(name));
                }
                Some(Key::Named(name)) => {
                    entries.insert(name, value);
                }
                Some(Key::Merge) => *merged = Some(merge_entries(value)?),
            },
        }
        Ok(())
    }

    fn finished(self) -> Value {
        match self {
            Self::List(items) => Value::Array(items),
            Self::Map {
                entries, merged, ..
            } => {
                let mut all = merged.unwrap_or_default();
                all.extend(entries);
                Value::Object(all.into_iter().collect())
            }
        }
    }
}

fn scalar_value(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, Problem> {
    match tag {
        None if plain => scalar::plain(text),
        None => Ok(Value::String(text.to_owned())),
        Some(tag) => match tag.core_suffix() {
            Some(core) => scalar::tagged(text, core),
            // The non-specific tag: "do not guess a type".
            None if tag.handle().is_empty() && tag.suffix() == "!" => {
                Ok(Value::String(text.to_owned()))
            }
            None => Err(Problem::UnknownTag),
        },
    }
}

fn collection_tag(tag: Option<&Tag>, expected: &str) -> Result<(), Problem> {
    match tag.map(Tag::core_suffix) {
        None => Ok(()),
        Some(Some(core)) if core == expected => Ok(()),
        Some(Some(_)) => Err(Problem::TagMismatch),
        Some(None) => Err(Problem::UnknownTag),
    }
}

/// The key as Helm writes it: values are JSON, whose keys are text.
fn key_name(key: Value) -> Result<String, Problem> {
    let name = match key {
        Value::String(text) => text,
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_i64() => number.to_string(),
        _ => return Err(Problem::InvalidKey),
    };
    if file::quoted(&name).chars().count() > MAX_WRITTEN_KEY {
        return Err(Problem::KeyTooLong);
    }
    Ok(name)
}

/// What `<<` brings; of several maps, an earlier one wins.
fn merge_entries(value: Value) -> Result<BTreeMap<String, Value>, Problem> {
    let maps = match value {
        Value::Array(items) => items,
        map => vec![map],
    };
    let mut merged = BTreeMap::new();
    for map in maps {
        let Value::Object(entries) = map else {
            return Err(Problem::InvalidMerge);
        };
        for (key, value) in entries {
            merged.entry(key).or_insert(value);
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests;
