//! Which texts must not be seen in a log? Every scalar that came from a Secret, also in the forms
//! that programs commonly print it in. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::SourceKind;
use super::merge::Tree;

/// Masking anything shorter would hide half of the log and protect little.
const MIN_CHARACTERS: usize = 4;

/// One line of a longer text needs more, or each `---` and `  }` would be masked.
const MIN_LINE_CHARACTERS: usize = 8;

/// Every scalar from a Secret as it is, line by line, inside of JSON, and in base64; the longest
/// first, so that masking one does not leave the end of another.
pub(super) fn secret_texts(tree: &Tree) -> Vec<String> {
    let mut texts = BTreeSet::new();
    tree.leaves(&mut |_, value, origin| {
        if origin == SourceKind::Secret {
            collect(value, &mut texts);
        }
    });
    let mut texts: Vec<String> = texts.into_iter().collect();
    texts.sort_by_key(|text| Reverse(text.len()));
    texts
}

fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => collect_forms(&number.to_string(), texts),
        Value::String(text) => collect_forms(text, texts),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, texts)),
    }
}

fn collect_forms(whole: &str, texts: &mut BTreeSet<String>) {
    let text = whole.trim();
    if text.chars().count() < MIN_CHARACTERS {
        return;
    }
    let json = Value::from(text).to_string();
    texts.insert(json[1..json.len() - 1].to_owned());
    texts.extend([BASE64.encode(text), BASE64.encode(whole)]);
    texts.insert(text.to_owned());
    let lines = text.lines().map(str::trim);
    texts.extend(
        lines
            .filter(|line| line.chars().count() >= MIN_LINE_CHARACTERS)
            .map(str::to_owned),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(document: &Value, origin: SourceKind) -> Vec<String> {
        let mut tree = Tree::default();
        tree.merge(document.as_object().unwrap().clone(), origin);
        secret_texts(&tree)
    }

    #[test]
    fn scalars_of_secrets_are_masked_wherever_they_are() {
        let document = json!({"a": {"b": "hunter2"}, "c": [{"d": "s3cr3t!!"}, 123_456]});
        let texts = of(&document, SourceKind::Secret);
        for text in ["hunter2", "s3cr3t!!", "123456", "aHVudGVyMg=="] {
            assert!(texts.contains(&text.to_owned()), "{text}");
        }
        assert!(of(&document, SourceKind::ConfigMap).is_empty());
    }

    #[test]
    fn words_that_would_hide_the_log_are_left() {
        let document = json!({"a": "abc", "b": true, "c": null, "d": 42, "e": "", "f": " x "});
        assert_eq!(of(&document, SourceKind::Secret), Vec::<String>::new());
    }

    #[test]
    fn a_longer_text_comes_before_one_it_contains() {
        let texts = of(&json!({"a": "pass", "b": "password"}), SourceKind::Secret);
        let place = |text: &str| texts.iter().position(|one| one == text);
        assert!(place("password") < place("pass"));
    }

    #[test]
    fn a_text_of_several_lines_is_masked_line_by_line_and_inside_of_json() {
        let texts = of(
            &json!({"a": "line one\n}\nline \"two\"\n"}),
            SourceKind::Secret,
        );
        for text in ["line one", "line \"two\"", r#"line one\n}\nline \"two\""#] {
            assert!(texts.contains(&text.to_owned()), "{text}");
        }
        assert!(!texts.contains(&"}".to_owned()));
    }
}
