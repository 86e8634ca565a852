//! Which texts must not be seen in a log? Every secret, also in the forms that programs commonly
//! print it in.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// Masking anything shorter would hide half of the log and protect little.
const MIN_CHARACTERS: usize = 4;

/// One line of a longer text needs more, or each `---` and `  }` would be masked.
const MIN_LINE_CHARACTERS: usize = 8;

/// Texts to mask.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Masks(BTreeSet<String>);

impl Masks {
    /// Adds a secret as it is, line by line, inside of JSON, and in base64.
    pub fn add(&mut self, secret: &str) {
        let text = secret.trim();
        if text.chars().count() < MIN_CHARACTERS {
            return;
        }
        let json = Value::from(text).to_string();
        self.0.insert(json[1..json.len() - 1].to_owned());
        self.0.extend([BASE64.encode(text), BASE64.encode(secret)]);
        self.0.insert(text.to_owned());
        let lines = text.lines().map(str::trim);
        self.0.extend(
            lines
                .filter(|line| line.chars().count() >= MIN_LINE_CHARACTERS)
                .map(str::to_owned),
        );
    }

    /// Adds all of another's.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The texts; the longest first, so that masking one does not leave the end of another.
    pub fn longest_first(self) -> Vec<String> {
        let mut texts: Vec<String> = self.0.into_iter().collect();
        texts.sort_by_key(|text| Reverse(text.len()));
        texts
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Masks")
    }
}
