//! One text of a document, between its quotes. Checks UTF-8 and escapes byte by byte, and keeps no
//! more than the limit.

use super::{Malformed, TEXT_LIMIT};

/// A text in the middle of being read.
#[derive(Debug, Default)]
pub(super) struct Text {
    state: State,
    kept: Vec<u8>,
    too_long: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// Inside a character of more than one byte: how many must follow, and what the next may be.
    Character {
        left: u8,
        low: u8,
        high: u8,
    },
    Escape,
    /// Behind `\u`: digits so far, their value, and the first half of a surrogate pair before it.
    Unicode {
        digits: u8,
        value: u16,
        first: Option<u16>,
    },
    /// Behind the first half of a surrogate pair, and behind the `\` of its second.
    Second(u16),
    SecondEscape(u16),
}

impl Text {
    /// Begins another text, behind its first quote.
    pub(super) fn begin(&mut self) {
        self.state = State::Plain;
        self.kept.clear();
        self.too_long = false;
    }

    /// The text, if it was short enough to be kept.
    pub(super) fn told(&self) -> Option<&str> {
        let kept = std::str::from_utf8(&self.kept).ok();
        kept.filter(|_| !self.too_long)
    }

    /// How many bytes it holds on to.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.kept.capacity()
    }

    /// Takes what needs no closer look, and gives back what follows.
    pub(super) fn skim<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.state != State::Plain {
            return bytes;
        }
        let end = bytes.iter().position(|byte| !is_plain(*byte));
        let (plain, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.keep(plain);
        rest
    }

    /// Takes a byte, and says whether it is the quote behind the text.
    pub(super) fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.state = match self.state {
            State::Plain if byte == b'"' => return Ok(true),
            State::Plain => self.begin_character(byte)?,
            State::Character { left, low, high } => {
                if !(low..=high).contains(&byte) {
                    return Err(Malformed);
                }
                self.keep(&[byte]);
                match left {
                    1 => State::Plain,
                    _ => continuation(left - 1),
                }
            }
            State::Escape => self.escaped(byte)?,
            State::Unicode {
                digits,
                value,
                first,
            } => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                let digit = u16::try_from(digit).map_err(|_| Malformed)?;
                let value = value << 4 | digit;
                if digits == 3 {
                    self.unicode(value, first)?
                } else {
                    let digits = digits + 1;
                    State::Unicode {
                        digits,
                        value,
                        first,
                    }
                }
            }
            State::Second(first) if byte == b'\\' => State::SecondEscape(first),
            State::SecondEscape(first) if byte == b'u' => unicode_behind(Some(first)),
            State::Second(_) | State::SecondEscape(_) => return Err(Malformed),
        };
        Ok(false)
    }

    /// The first byte of a character that is not plain ASCII; the ranges are those of RFC 3629, §4.
    fn begin_character(&mut self, byte: u8) -> Result<State, Malformed> {
        let (left, low, high) = match byte {
            b'\\' => return Ok(State::Escape),
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xE1..=0xEF => (2, 0x80, 0xBF),
            0xF0 => (3, 0x90, 0xBF),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            _ => return Err(Malformed),
        };
        self.keep(&[byte]);
        Ok(State::Character { left, low, high })
    }

    fn escaped(&mut self, byte: u8) -> Result<State, Malformed> {
        let meant = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => return Ok(unicode_behind(None)),
            _ => return Err(Malformed),
        };
        self.keep(&[meant]);
        Ok(State::Plain)
    }

    fn unicode(&mut self, unit: u16, first: Option<u16>) -> Result<State, Malformed> {
        if first.is_none() && (0xD800..0xDC00).contains(&unit) {
            return Ok(State::Second(unit));
        }
        let units = first.into_iter().chain([unit]);
        for character in char::decode_utf16(units) {
            let character = character.map_err(|_| Malformed)?;
            self.keep(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(State::Plain)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.kept.len() + bytes.len() > TEXT_LIMIT {
            self.too_long = true;
        }
        if !self.too_long {
            self.kept.extend_from_slice(bytes);
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | 0x7F) && byte != b'"' && byte != b'\\'
}

fn continuation(left: u8) -> State {
    State::Character {
        left,
        low: 0x80,
        high: 0xBF,
    }
}

fn unicode_behind(first: Option<u16>) -> State {
    State::Unicode {
        digits: 0,
        value: 0,
        first,
    }
}
