//! A text in the forms in which it plausibly shows up somewhere else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};

/// Finds many texts in all their forms at once.
pub(super) struct Finder {
    any: Regex,
    /// The text and the encoding that a form belongs to.
    forms: BTreeMap<Vec<u8>, (String, &'static str)>,
}

impl Finder {
    /// `canaries` are names and what they stand for.
    pub(super) fn new<'a>(
        canaries: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> anyhow::Result<Self> {
        let mut forms = BTreeMap::new();
        for (name, bytes) in canaries {
            for (encoding, form) in all(bytes) {
                forms.entry(form).or_insert((name.to_owned(), encoding));
            }
        }
        // Longest first: a form that begins with another one is found as itself.
        let mut sorted: Vec<_> = forms.keys().collect();
        sorted.sort_by_key(|form| std::cmp::Reverse(form.len()));
        let alternatives: Vec<_> = sorted.into_iter().map(|form| literal(form)).collect();
        let any = RegexBuilder::new(&alternatives.join("|"))
            .unicode(false)
            .size_limit(1 << 28)
            .build()?;
        Ok(Self { any, forms })
    }

    /// Which texts are in `bytes`, and how they are written there.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<(String, &'static str)> {
        let found = self.any.find_iter(bytes);
        found
            .filter_map(|found| self.forms.get(found.as_bytes()).cloned())
            .collect()
    }
}

/// Every form of a text; the same one under the first name it has.
fn all(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("in hex", hex(bytes, false).into_bytes()),
        ("in hex", hex(bytes, true).into_bytes()),
        ("URL-encoded", percent(bytes).into_bytes()),
    ];
    if let Ok(text) = std::str::from_utf8(bytes) {
        let quoted = serde_json::json!(text).to_string();
        forms.push(("JSON-escaped", quoted.trim_matches('"').as_bytes().to_vec()));
    }
    for before in 0..3 {
        for (name, engine) in [
            ("in base64", STANDARD_NO_PAD),
            ("in base64url", URL_SAFE_NO_PAD),
        ] {
            forms.push((
                name,
                within(&engine.encode(shifted(bytes, before)), before, bytes.len()),
            ));
        }
    }
    forms
}

fn shifted(bytes: &[u8], before: usize) -> Vec<u8> {
    let mut shifted = vec![0; before];
    shifted.extend_from_slice(bytes);
    shifted
}

/// The characters of a base64 text that depend on nothing but the `length` bytes after the first
/// `before` ones.
fn within(encoded: &str, before: usize, length: usize) -> Vec<u8> {
    let first = (before * 8).div_ceil(6);
    let end = (before + length) * 8 / 6;
    encoded.as_bytes()[first..end].to_vec()
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = if upper {
            write!(text, "{byte:02X}")
        } else {
            write!(text, "{byte:02x}")
        };
    }
    text
}

fn percent(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn literal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
    text
}

/// Whether a text is in some bytes.
pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let secret = b"0123456789abcdef/+\"%";
        let finder = Finder::new([("it", &secret[..])].into_iter()).unwrap();
        let text = std::str::from_utf8(secret).unwrap();
        let mut written = vec![
            ("raw", format!("password={text}!")),
            ("in hex", format!("x{}y", hex(secret, false))),
            ("in hex", hex(secret, true)),
            ("URL-encoded", format!("?p={}&q", percent(secret))),
            ("JSON-escaped", serde_json::json!({"p": text}).to_string()),
        ];
        for before in ["", "u:", "user:", "robot:"] {
            for after in ["", "\n", ", and more"] {
                let whole = format!("{before}{text}{after}");
                written.push(("in base64", STANDARD.encode(&whole)));
            }
        }
        for (encoding, written) in written {
            let found = finder.find(written.as_bytes());
            assert_eq!(found, [("it".to_owned(), encoding)], "{written}");
        }
        let url_safe = URL_SAFE_NO_PAD.encode([&b"a\xff\xfe"[..], secret].concat());
        assert_eq!(finder.find(url_safe.as_bytes()).len(), 1);
        assert!(finder.find(b"0123456789abcde, and nothing else").is_empty());
    }
}
