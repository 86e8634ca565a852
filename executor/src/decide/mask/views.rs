//! A text as it would be after undoing an encoding, with where each byte came from.

use std::ops::Range;

/// Stands between what does not belong together. It is in no UTF-8 text, so in no secret.
const BREAK: u8 = 0xff;

/// A decoded text.
pub(super) struct View {
    bytes: Vec<u8>,
    /// Where in the text each byte came from. A text is smaller than 4 GiB.
    from: Vec<Range<u32>>,
}

/// Calls `look` with the text and with each thing it may stand for, until it says `None`.
pub(super) fn each(text: &str, look: &mut impl FnMut(&View) -> Option<()>) -> Option<()> {
    let plain = View::plain(text);
    with_codes(&plain, look)?;
    if text.contains('\\') {
        let unescaped = plain.unescaped();
        with_codes(&unescaped, look)?;
        // JSON inside of JSON.
        with_codes(&unescaped.unescaped(), look)?;
    }
    if text.contains('%') {
        with_codes(&plain.percent_decoded(), look)?;
    }
    // A form has `+` for a blank, with and without anything percent-encoded.
    if text.contains('+') {
        look(&plain.spaced().percent_decoded())?;
    }
    Some(())
}

fn with_codes(view: &View, look: &mut impl FnMut(&View) -> Option<()>) -> Option<()> {
    look(view)?;
    for offset in 0..4 {
        look(&view.digits_decoded(6, offset, base64_digit))?;
    }
    for offset in 0..2 {
        look(&view.digits_decoded(4, offset, hexadecimal_digit))?;
    }
    Some(())
}

/// What a byte is among digits that stand for bytes.
#[derive(Clone, Copy)]
enum Digit {
    Value(u32),
    /// Long runs are wrapped, and hexadecimal ones are written with blanks or colons.
    Between,
    Other,
}

/// RFC 4648 sections 4 and 5.
fn base64_digit(byte: u8) -> Digit {
    Digit::Value(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        b'\r' | b'\n' | b' ' | b'\t' => return Digit::Between,
        _ => return Digit::Other,
    }))
}

fn hexadecimal_digit(byte: u8) -> Digit {
    match char::from(byte).to_digit(16) {
        Some(value) => Digit::Value(value),
        None if matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | b':') => Digit::Between,
        None => Digit::Other,
    }
}

impl View {
    fn plain(text: &str) -> Self {
        let from = (0..text.len()).map(|at| {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            at..at.saturating_add(1)
        });
        Self {
            bytes: text.as_bytes().to_vec(),
            from: from.collect(),
        }
    }

    fn with_room_for(other: &Self) -> Self {
        Self {
            bytes: Vec::with_capacity(other.bytes.len()),
            from: Vec::with_capacity(other.bytes.len()),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in the text a part of the view came from.
    pub(super) fn origin(&self, part: Range<usize>) -> Range<usize> {
        let first = self.from.get(part.start).map_or(0, |from| from.start);
        let last = self.from.get(part.end.saturating_sub(1));
        first as usize..last.map_or(first, |from| from.end) as usize
    }

    fn push(&mut self, byte: u8, from: Range<u32>) {
        self.bytes.push(byte);
        self.from.push(from);
    }

    /// With `\n`, `\"`, `\u0041`, `\x41` and their like undone: JSON (RFC 8259 section 7), Go,
    /// Python and shells.
    fn unescaped(&self) -> Self {
        let mut view = Self::with_room_for(self);
        let mut at = 0;
        while at < self.bytes.len() {
            let (text, length) = escape(&self.bytes[at..]);
            let from = self.from[at].start..self.from[at + length - 1].end;
            match text {
                None => view.push(self.bytes[at], from),
                Some(Escape::Character(character)) => {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        view.push(byte, from.clone());
                    }
                }
                Some(Escape::Byte(byte)) => view.push(byte, from),
            }
            at += length;
        }
        view
    }

    /// RFC 3986 section 2.1. A `%` that stands for itself, as none does in what was encoded, takes the two
    /// characters after it along if they are hexadecimal digits; a secret that was percent-encoded and
    /// begins there is not found.
    fn percent_decoded(&self) -> Self {
        let mut view = Self::with_room_for(self);
        let mut at = 0;
        while at < self.bytes.len() {
            let decoded = match self.bytes[at..] {
                [b'%', high, low, ..] => byte_of(high, low),
                _ => None,
            };
            let length = if decoded.is_some() { 3 } else { 1 };
            let from = self.from[at].start..self.from[at + length - 1].end;
            view.push(decoded.unwrap_or(self.bytes[at]), from);
            at += length;
        }
        view
    }

    fn spaced(&self) -> Self {
        let spaced = self.bytes.iter().map(|byte| match byte {
            b'+' => b' ',
            other => *other,
        });
        Self {
            bytes: spaced.collect(),
            from: self.from.clone(),
        }
    }

    /// The bytes that runs of digits stand for, each digit of that many bits, from the digit at
    /// `offset` of each run on.
    fn digits_decoded(&self, bits: u32, offset: usize, digit: impl Fn(u8) -> Digit) -> Self {
        let mut view = Self {
            bytes: Vec::new(),
            from: Vec::new(),
        };
        let (mut skip, mut collected, mut count) = (offset, 0_u32, 0);
        // Where the first digit is that holds some of the collected bits.
        let mut start = 0;
        for (byte, from) in self.bytes.iter().zip(&self.from) {
            let value = match digit(*byte) {
                Digit::Between => continue,
                Digit::Other => {
                    if view.bytes.last().is_some_and(|last| *last != BREAK) {
                        view.push(BREAK, from.clone());
                    }
                    (skip, collected, count) = (offset, 0, 0);
                    continue;
                }
                Digit::Value(_) if skip > 0 => {
                    skip -= 1;
                    continue;
                }
                Digit::Value(value) => value,
            };
            if count == 0 {
                start = from.start;
            }
            collected = (collected << bits) | value;
            count += bits;
            if count >= 8 {
                count -= 8;
                let whole = u8::try_from((collected >> count) & 0xff).unwrap_or(BREAK);
                view.push(whole, start..from.end);
                collected &= (1 << count) - 1;
                start = from.start;
            }
        }
        view
    }
}

enum Escape {
    Character(char),
    Byte(u8),
}

/// What the text begins with, if that is an escape, and how long it is.
fn escape(text: &[u8]) -> (Option<Escape>, usize) {
    let simple = |character| (Some(Escape::Character(character)), 2);
    match *text {
        [b'\\', b'n', ..] => simple('\n'),
        [b'\\', b't', ..] => simple('\t'),
        [b'\\', b'r', ..] => simple('\r'),
        [b'\\', b'b', ..] => simple('\u{8}'),
        [b'\\', b'f', ..] => simple('\u{c}'),
        [
            b'\\',
            sign @ (b'"' | b'\'' | b'\\' | b'/' | b'$' | b'`' | b' '),
            ..,
        ] => simple(char::from(sign)),
        [b'\\', b'x', high, low, ..] => match byte_of(high, low) {
            Some(byte) => (Some(Escape::Byte(byte)), 4),
            None => (None, 1),
        },
        [b'\\', b'u', ..] => match (unit(text), text.get(6..).and_then(unit)) {
            (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).map(Escape::Character), 12)
            }
            (Some(code), _) => match char::from_u32(code) {
                Some(character) => (Some(Escape::Character(character)), 6),
                None => (None, 1),
            },
            (None, _) => (None, 1),
        },
        _ => (None, 1),
    }
}

/// The UTF-16 code unit of `\u0041`.
fn unit(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text else {
        return None;
    };
    let digits = digits.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
