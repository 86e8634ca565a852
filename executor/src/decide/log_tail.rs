//! What of a Job's log goes into the status: the end of it, without control characters and without
//! anything that came from a Secret.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// How much of a log the status keeps, in bytes.
pub const STATUS_LIMIT: usize = 5 * 1024;

/// What stands where a secret was.
const MASK: &str = "***";

/// The last lines of a log that fit into `limit` bytes. Secrets are masked before the cut, so that
/// a cut never leaves half of one.
pub fn tail(log: &[u8], secrets: &[String], limit: usize) -> String {
    let text = String::from_utf8_lossy(log);
    // Twice: a secret may itself have characters that are not shown.
    let clean = mask(&printable(&mask(&text, secrets)), secrets);
    last_lines(&clean, limit).to_owned()
}

/// The text without terminal sequences and control characters, apart from line ends and tabs.
fn printable(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.peek() == Some(&'[') {
            // ECMA-48 control sequence: parameters, then one final byte from '@' to '~'.
            characters.next();
            for follower in characters.by_ref() {
                if ('@'..='~').contains(&follower) {
                    break;
                }
            }
        } else if matches!(character, '\n' | '\t') || !is_control(character) {
            kept.push(character);
        }
    }
    kept
}

/// Control characters, and the marks that change the direction of text (Unicode `Bidi_Control`).
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}')
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

fn mask(text: &str, secrets: &[String]) -> String {
    let mut masked = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| !secret.trim().is_empty()) {
        for form in [secret.clone(), STANDARD_NO_PAD.encode(secret)] {
            if masked.contains(&form) {
                masked = Cow::Owned(masked.replace(&form, MASK));
            }
        }
    }
    masked.into_owned()
}

/// Whole lines from the end, as many as fit; of a single longer line its end.
fn last_lines(text: &str, limit: usize) -> &str {
    let text = text.trim_end();
    if text.len() <= limit {
        return text;
    }
    let start = text.ceil_char_boundary(text.len() - limit);
    let cut = &text[start..];
    match cut.find('\n') {
        Some(end_of_partial_line) => &cut[end_of_partial_line + 1..],
        None => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_log_is_kept_whole() {
        assert_eq!(tail(b"one\ntwo\n", &[], 100), "one\ntwo");
    }

    #[test]
    fn a_long_log_keeps_its_last_whole_lines() {
        assert_eq!(
            tail(b"first line\nsecond\nthird\n", &[], 14),
            "second\nthird"
        );
        assert_eq!(tail(b"first line\nsecond\nthird\n", &[], 10), "third");
    }

    #[test]
    fn one_long_line_is_cut_between_characters() {
        let log = "ü".repeat(100);
        let kept = tail(log.as_bytes(), &[], 33);
        assert_eq!(kept, "ü".repeat(16));
    }

    #[test]
    fn colours_and_control_characters_are_dropped() {
        assert_eq!(
            tail(b"\x1b[31mred\x1b[0m\x07 and\ttab\r\n", &[], 100),
            "red and\ttab"
        );
    }

    #[test]
    fn invalid_utf8_does_no_harm() {
        assert_eq!(tail(b"a\xff\xfeb", &[], 100), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn secrets_are_masked_plain_and_encoded() {
        let secrets = ["hunter22".to_owned()];
        let log = b"password hunter22 is aHVudGVyMjI= in base64";
        assert_eq!(tail(log, &secrets, 100), "password *** is ***= in base64");
    }

    #[test]
    fn a_secret_with_control_characters_is_masked_too() {
        let secrets = ["ab\u{7}cdefgh".to_owned()];
        let kept = tail("x ab\u{7}cdefgh y".as_bytes(), &secrets, 100);
        assert_eq!(kept, "x *** y");
    }

    #[test]
    fn a_cut_never_shows_half_a_secret() {
        let secrets = ["s3cr3t-value".to_owned()];
        let kept = tail(b"xxxxxxxxxx s3cr3t-value", &secrets, 8);
        assert!(!kept.contains("value"), "{kept}");
    }
}
