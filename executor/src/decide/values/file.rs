//! The values file: how is a document written so that Helm's YAML reader finds the same types
//! again? Every key and string is double-quoted, so nothing depends on what an unquoted word might
//! mean to which version of YAML. Pure.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// `root` as YAML: maps with entries as blocks, everything else on one line.
pub(super) fn write(root: &Map<String, Value>) -> String {
    let mut text = String::new();
    write_block(&mut text, root, 0);
    text
}

/// `text` in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    quoted
}

/// Whether go-yaml accepts `character` unescaped, apart from tabs and line breaks. U+0085, U+2028
/// and U+2029 are accepted too, but as line breaks.
pub(super) fn is_printable(character: char) -> bool {
    matches!(
        character,
        ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..
    )
}

fn write_block(text: &mut String, entries: &Map<String, Value>, indent: usize) {
    for (key, value) in entries {
        text.extend(std::iter::repeat_n("  ", indent));
        push_quoted(text, key);
        text.push(':');
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                text.push('\n');
                write_block(text, entries, indent + 1);
            }
            value => {
                text.push(' ');
                push_flow(text, value);
                text.push('\n');
            }
        }
    }
}

fn push_flow(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => push_quoted(text, string),
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { ", " });
                push_flow(text, item);
            }
            text.push(']');
        }
        Value::Object(entries) => {
            text.push('{');
            for (position, (key, value)) in entries.iter().enumerate() {
                text.push_str(if position == 0 { "" } else { ", " });
                push_quoted(text, key);
                text.push_str(": ");
                push_flow(text, value);
            }
            text.push('}');
        }
        // JSON writes null, booleans and numbers as YAML does.
        scalar => push_display(text, scalar),
    }
}

fn push_quoted(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\u{85}' | '\u{2028}' | '\u{2029}' => push_escaped(text, character),
            character if is_printable(character) => text.push(character),
            character => push_escaped(text, character),
        }
    }
    text.push('"');
}

fn push_escaped(text: &mut String, character: char) {
    // Writing into a String cannot fail.
    let _ = write!(text, "\\u{:04x}", u32::from(character));
}

fn push_display(text: &mut String, value: &Value) {
    let _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_file_looks_like_this() {
        let root = json!({
            "db": {"password": "yes", "port": 5432, "ratio": 1.0, "tls": null},
            "empty": {},
            "list": ["a", {"b": [true, -1]}, []],
            "text": "two\nlines \u{85}\u{7f}\u{feff}",
        });
        let expected = concat!(
            "\"db\":\n",
            "  \"password\": \"yes\"\n",
            "  \"port\": 5432\n",
            "  \"ratio\": 1.0\n",
            "  \"tls\": null\n",
            "\"empty\": {}\n",
            "\"list\": [\"a\", {\"b\": [true, -1]}, []]\n",
            "\"text\": \"two\\nlines \\u0085\\u007f\\ufeff\"\n",
        );
        assert_eq!(write(root.as_object().unwrap()), expected);
    }
}
