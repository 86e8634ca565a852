//! Which values must not be seen in a log? Every scalar that came from a Secret. Pure.

use serde_json::Value;

use super::SourceKind;
use super::merge::Tree;
use crate::decide::mask::Masks;

/// Every scalar from a Secret, in the forms that programs print it in.
pub(super) fn secret_texts(tree: &Tree) -> Masks {
    let mut texts = Masks::default();
    tree.leaves(&mut |_, value, origin| {
        if origin == SourceKind::Secret {
            collect(value, &mut texts);
        }
    });
    texts
}

fn collect(value: &Value, texts: &mut Masks) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => texts.add(&number.to_string()),
        Value::String(text) => texts.add(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, texts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(document: &Value, origin: SourceKind) -> Vec<String> {
        let mut tree = Tree::default();
        tree.merge(document.as_object().unwrap().clone(), origin);
        secret_texts(&tree).texts()
    }

    #[test]
    fn scalars_of_secrets_are_masked_wherever_they_are() {
        let document = json!({"a": {"b": "hunter2"}, "c": [{"d": "s3cr3t!!"}, 123_456]});
        let texts = of(&document, SourceKind::Secret);
        for text in ["hunter2", "s3cr3t!!", "123456"] {
            assert!(texts.contains(&text.to_owned()), "{text}");
        }
        assert!(of(&document, SourceKind::ConfigMap).is_empty());
    }

    #[test]
    fn words_that_would_hide_the_log_are_left() {
        let document = json!({"a": "abc", "b": true, "c": null, "d": 42, "e": "", "f": " x "});
        assert_eq!(of(&document, SourceKind::Secret), Vec::<String>::new());
    }
}
