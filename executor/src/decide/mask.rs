//! Where in a text is a secret? As it is, line by line, and inside of every encoding that programs
//! commonly print: JSON and other escapes, percent encoding, base64 at any offset and in both
//! alphabets, hexadecimal digits. The text is decoded, not the secrets encoded: so one look-up of all
//! secrets, in linear time, finds them in every form that decodes to them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

mod views;

use views::View;

/// Masking anything shorter would hide half of the log and protect little.
const MIN_CHARACTERS: usize = 4;

/// One line of a longer text needs more, or each `---` and `  }` would be masked.
const MIN_LINE_CHARACTERS: usize = 8;

/// Longer secrets are looked for in pieces, so that no more than this is seen of one that was cut.
const PIECE: usize = 1024;

/// No encoding of a piece is longer: a `\\u0041` inside of JSON inside of JSON is.
pub const LONGEST: usize = 16 * PIECE;

/// So much is decoded at a time, which takes thirty times the memory. Windows overlap by [`LONGEST`], so
/// that a secret is whole in one of them.
const WINDOW: usize = 8 * LONGEST;

/// What stands where a secret was.
const MASK: &str = "***";

/// What stands for a text that holds so many secrets one inside the other that it takes too long.
const WITHHELD: &str = "*** (too much of this text is secret)";

/// More finds than this per byte are no text, but an attempt to keep us busy.
const MOST_PER_BYTE: usize = 16;

/// So many bytes are looked for. The automaton takes fifty times as much while it is built, and the
/// operator has 128 MiB.
const MOST_SECRET: usize = 256 * 1024;

/// Texts to mask.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Masks(BTreeSet<String>);

impl Masks {
    /// Adds a secret, as a whole and line by line.
    pub fn add(&mut self, secret: &str) {
        let text = secret.trim();
        if text.chars().count() < MIN_CHARACTERS {
            return;
        }
        self.add_pieces(text);
        for line in text.lines().map(str::trim) {
            if line.len() < text.len() && line.chars().count() >= MIN_LINE_CHARACTERS {
                self.add_pieces(line);
            }
        }
    }

    fn add_pieces(&mut self, text: &str) {
        let mut rest = text;
        while rest.len() > PIECE {
            let (piece, others) = rest.split_at(rest.floor_char_boundary(PIECE));
            self.0.insert(piece.to_owned());
            rest = others;
        }
        // A short end alone might be any word; with what is before it, it is the secret's.
        let start = text.ceil_char_boundary(text.len().saturating_sub(PIECE));
        let end = if rest.len() < text.len() {
            &text[start..]
        } else {
            rest
        };
        self.0.insert(end.to_owned());
    }

    /// Adds all of another's.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The texts, longer secrets in pieces.
    #[cfg(test)]
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    /// What masks them.
    pub fn masker(&self) -> Masker {
        if self.0.is_empty() {
            return Masker::Open;
        }
        if self.0.iter().map(String::len).sum::<usize>() > MOST_SECRET {
            return Masker::Closed;
        }
        // An automaton of another kind takes a hundred times the memory for long secrets.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&self.0);
        automaton.map_or(Masker::Closed, Masker::Searching)
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Masks")
    }
}

/// Masks texts.
#[derive(Clone, Default)]
pub enum Masker {
    /// There are no secrets.
    #[default]
    Open,
    /// These are looked for.
    Searching(AhoCorasick),
    /// Too many to look for: nothing is shown.
    Closed,
}

impl Masker {
    /// There is too much to mask, so that nothing is shown.
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// The text with `***` wherever a secret was, in whatever encoding.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let automaton = match self {
            Self::Open => return Cow::Borrowed(text),
            Self::Closed => return Cow::Borrowed(WITHHELD),
            Self::Searching(automaton) => automaton,
        };
        let Some(found) = find(automaton, text) else {
            return Cow::Borrowed(WITHHELD);
        };
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut shown = 0;
        for range in found {
            masked.push_str(
                &text[text.ceil_char_boundary(shown)..text.floor_char_boundary(range.start)],
            );
            masked.push_str(MASK);
            shown = range.end;
        }
        masked.push_str(&text[text.ceil_char_boundary(shown)..]);
        Cow::Owned(masked)
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Masker")
    }
}

/// Where secrets are in the text, in order, apart from each other; `None` if it takes too long.
fn find(automaton: &AhoCorasick, text: &str) -> Option<Vec<Range<usize>>> {
    let mut finds = Finds {
        left: (text.len() + PIECE) * MOST_PER_BYTE,
        base: 0,
        ranges: Vec::new(),
    };
    let mut start = 0;
    loop {
        let end = text.ceil_char_boundary((start + WINDOW).min(text.len()));
        finds.base = start;
        let window = &text[start..end];
        views::each(window, &mut |view: &View| finds.look(automaton, view))?;
        if end == text.len() {
            break;
        }
        start = text.floor_char_boundary(end - LONGEST);
    }
    let mut ranges = finds.ranges;
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    Some(apart)
}

struct Finds {
    left: usize,
    /// Where the window begins.
    base: usize,
    ranges: Vec<Range<usize>>,
}

impl Finds {
    fn look(&mut self, automaton: &AhoCorasick, view: &View) -> Option<()> {
        for found in automaton.find_overlapping_iter(view.bytes()) {
            self.left = self.left.checked_sub(1)?;
            let range = view.origin(found.range());
            let range = self.base + range.start..self.base + range.end;
            match self.ranges.last_mut() {
                Some(last) if (last.start..=last.end).contains(&range.start) => {
                    last.end = last.end.max(range.end);
                }
                _ => self.ranges.push(range),
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
