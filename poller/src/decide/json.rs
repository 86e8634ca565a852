//! What does a piece of JSON say that is still arriving? Reads bytes as they come, however they are
//! cut, and keeps nothing of the document but the text it is in the middle of, and of that no more
//! than [`TEXT_LIMIT`] bytes.
//!
//! Own code, because no library does this: `serde_json` and its like want the whole document or a
//! blocking reader; `json-event-parser` wants whole tokens; `actson` can be fed, but keeps a text
//! whole whatever its length, lets invalid UTF-8 pass where nobody asks for the text, and pairs
//! surrogates across texts. As strict as RFC 8259, and stricter: UTF-8 is checked everywhere.

mod text;

use text::Text;

/// Longest text that is told, in bytes; longer ones are only known to be there.
pub const TEXT_LIMIT: usize = 512;

/// Deepest nesting that is read, one bit of `Json::objects` each.
const DEPTH_LIMIT: u32 = u64::BITS;

/// The bytes are no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not JSON")]
pub struct Malformed;

/// What a document says, piece by piece. A text is `None` when it is longer than [`TEXT_LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An object begins.
    Object,
    /// An array begins.
    Array,
    /// The innermost object or array ends.
    End,
    /// A key of an object.
    Key(Option<&'a str>),
    /// A text.
    Text(Option<&'a str>),
    /// `null`.
    Null,
    /// A number, `true` or `false`.
    Scalar,
}

/// A reader in the middle of a document.
#[derive(Debug)]
pub struct Json {
    state: State,
    depth: u32,
    /// One bit per open level, the innermost lowest: set for objects.
    objects: u64,
    text: Text,
    is_key: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// Behind a value.
    Behind,
    Text,
    /// What must still come of `null`, `true` or `false`.
    Word(&'static [u8]),
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Default for Json {
    fn default() -> Self {
        Self {
            state: State::Value,
            depth: 0,
            objects: 0,
            text: Text::default(),
            is_key: false,
        }
    }
}

impl Json {
    /// Reads the next bytes. After an error the reader is of no use.
    pub fn feed<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        mut tell: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        loop {
            if self.state == State::Text {
                rest = self.text.skim(rest);
            }
            let Some((&byte, behind)) = rest.split_first() else {
                return Ok(());
            };
            self.step(byte, &mut tell)?;
            rest = behind;
        }
    }

    /// The document is complete.
    pub fn end(&self) -> Result<(), Malformed> {
        let complete = match self.state {
            State::Behind => true,
            State::Number(number) => number.is_complete(),
            _ => false,
        };
        (complete && self.depth == 0).then_some(()).ok_or(Malformed)
    }

    fn step<E: From<Malformed>>(
        &mut self,
        byte: u8,
        tell: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.state {
            State::Text => return self.in_text(byte, tell),
            State::Word(left) => {
                let (expected, left) = left.split_first().ok_or(Malformed)?;
                if byte != *expected {
                    return Err(Malformed.into());
                }
                self.state = if left.is_empty() {
                    State::Behind
                } else {
                    State::Word(left)
                };
                return Ok(());
            }
            State::Number(number) => match number.with(byte) {
                Some(number) => {
                    self.state = State::Number(number);
                    return Ok(());
                }
                None if number.is_complete() => self.state = State::Behind,
                None => return Err(Malformed.into()),
            },
            _ => {}
        }
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            (State::Value | State::ValueOrEnd, b'{') => {
                self.open(true)?;
                tell(Event::Object)
            }
            (State::Value | State::ValueOrEnd, b'[') => {
                self.open(false)?;
                tell(Event::Array)
            }
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => self.close(tell),
            (State::Behind, b']') if self.depth > 0 && !self.in_object() => self.close(tell),
            (State::Behind, b'}') if self.depth > 0 && self.in_object() => self.close(tell),
            (State::Behind, b',') if self.depth > 0 => {
                self.state = if self.in_object() {
                    State::Key
                } else {
                    State::Value
                };
                Ok(())
            }
            (State::Value | State::ValueOrEnd | State::Key | State::KeyOrEnd, b'"') => {
                self.is_key = matches!(self.state, State::Key | State::KeyOrEnd);
                self.text.begin();
                self.state = State::Text;
                Ok(())
            }
            (State::Colon, b':') => {
                self.state = State::Value;
                Ok(())
            }
            (State::Value | State::ValueOrEnd, _) => {
                let (state, event) = begin(byte).ok_or(Malformed)?;
                self.state = state;
                tell(event)
            }
            _ => Err(Malformed.into()),
        }
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn open(&mut self, object: bool) -> Result<(), Malformed> {
        if self.depth == DEPTH_LIMIT {
            return Err(Malformed);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        self.state = if object {
            State::KeyOrEnd
        } else {
            State::ValueOrEnd
        };
        Ok(())
    }

    fn close<E>(&mut self, tell: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        self.depth -= 1;
        self.objects >>= 1;
        self.state = State::Behind;
        tell(Event::End)
    }

    fn in_text<E: From<Malformed>>(
        &mut self,
        byte: u8,
        tell: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.text.step(byte)? {
            return Ok(());
        }
        let text = self.text.told();
        if self.is_key {
            self.state = State::Colon;
            tell(Event::Key(text))
        } else {
            self.state = State::Behind;
            tell(Event::Text(text))
        }
    }
}

/// A value that is neither text nor has an inside.
fn begin(byte: u8) -> Option<(State, Event<'static>)> {
    Some(match byte {
        b'n' => (State::Word(b"ull"), Event::Null),
        b't' => (State::Word(b"rue"), Event::Scalar),
        b'f' => (State::Word(b"alse"), Event::Scalar),
        b'-' => (State::Number(Number::Minus), Event::Scalar),
        b'0' => (State::Number(Number::Zero), Event::Scalar),
        b'1'..=b'9' => (State::Number(Number::Whole), Event::Scalar),
        _ => return None,
    })
}

impl Number {
    /// The number goes on with this byte.
    fn with(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Power
        )
    }
}

#[cfg(test)]
mod tests;
