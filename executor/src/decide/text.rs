//! What of a text from outside may be shown? Whoever wrote it may want to confuse a terminal or to
//! fill a status.

use super::mask::{self, Masker};

/// More of a text is not even looked at: the longest that Kubernetes hands out are conditions' messages.
pub const OUTSIDE_LIMIT: usize = 32 * 1024;

/// The text without terminal sequences and control characters, apart from line ends and tabs.
pub fn printable(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' && characters.peek() == Some(&'[') {
            // ECMA-48 control sequence: parameters, then one final byte from '@' to '~'.
            characters.next();
            while let Some(follower) = characters.next_if(|it| (' '..='~').contains(it)) {
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

/// The text in one line of at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    // More than is kept may be blank, but not without end.
    let text: String = text.chars().take(8 * limit).collect();
    let line = printable(&text);
    let line: Vec<&str> = line.split_whitespace().collect();
    let line = line.join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// What of a text from outside may go into a message: masked, before anything is cut off and again
/// after control characters are gone, in one line of at most `limit` characters.
pub fn shown(text: &str, masker: &Masker, limit: usize) -> String {
    let start = &text[..text.floor_char_boundary(OUTSIDE_LIMIT.min(text.len()))];
    let hidden = masker.mask(start);
    // A text that was cut may end with half a secret, which nothing has masked.
    let doubtful = if start.len() < text.len() {
        mask::LONGEST
    } else {
        0
    };
    let end = hidden.floor_char_boundary(hidden.len().saturating_sub(doubtful));
    let clean = printable(&hidden[..end]);
    one_line(&masker.mask(&clean), limit)
}

/// Control characters, and the marks that change the direction of text (Unicode `Bidi_Control`).
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}'
        )
        || ('\u{202a}'..='\u{202e}').contains(&character)
        || ('\u{2066}'..='\u{2069}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_control_characters_are_not_shown() {
        assert_eq!(
            printable("\u{1b}[1;31mred\u{1b}[0m \u{7}\u{0}\tüber\u{202e}x\r\n"),
            "red \tüberx\n"
        );
    }

    #[test]
    fn a_sequence_that_does_not_end_takes_nothing_but_its_parameters() {
        assert_eq!(printable("\u{1b}[12\nnext"), "\nnext");
        assert_eq!(printable("end\u{1b}["), "end");
    }

    #[test]
    fn a_message_is_one_line_of_limited_length() {
        assert_eq!(one_line(" a\n\tb \u{1b}[2Jc ", 10), "a b c");
        assert_eq!(
            one_line(&"ü".repeat(100), 10),
            format!("{}…", "ü".repeat(9))
        );
        assert_eq!(one_line(&"\n".repeat(1 << 20), 10), "");
    }
}
