//! A model of how Helm reads `--set` arguments, written from its `pkg/strvals/parser.go` and not
//! from the code under test.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

/// Does to `values` what Helm does for one argument of `flag`.
pub(super) fn set(values: &mut Map<String, Value>, flag: &str, argument: &str) {
    assert!(!argument.contains('\0'), "no argument can hold a NUL");
    assert_eq!(
        expanded(argument),
        argument,
        "Kubernetes changes the argument"
    );
    if flag == "--set-json=" {
        assert!(
            !argument.trim_start().starts_with('{'),
            "read as a whole document"
        );
    }
    let mut input = argument.chars().peekable();
    read_key(&mut input, values, flag, 0);
    assert_eq!(input.next(), None, "one argument sets one value");
}

fn read_key(
    input: &mut Peekable<Chars<'_>>,
    values: &mut Map<String, Value>,
    flag: &str,
    dots: usize,
) {
    assert!(dots <= 30, "nested too deep");
    let (key, stop) = until(input, &['=', '[', ',', '.']);
    assert!(!key.is_empty(), "an empty key is dropped");
    match stop {
        Some('.') => {
            let inner = values
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
            read_key(input, inner.as_object_mut().expect("a map"), flag, dots + 1);
        }
        Some('=') => {
            let value = read_value(input, flag);
            assert!(
                values.insert(key, value).is_none(),
                "two places say the same"
            );
        }
        other => panic!("a key ended with {other:?}"),
    }
}

fn read_value(input: &mut Peekable<Chars<'_>>, flag: &str) -> Value {
    if flag == "--set-json=" {
        let rest: String = input.collect();
        return serde_json::from_str(&rest).expect("JSON");
    }
    assert_ne!(input.peek(), Some(&'{'), "read as a list");
    let (text, stop) = until(input, &[',']);
    assert_eq!(stop, None, "a second value begins");
    if flag == "--set-string=" {
        return Value::String(text);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        "0" => Value::from(0),
        _ if !text.starts_with('0') => text.parse::<i64>().map_or(Value::String(text), Value::from),
        _ => Value::String(text),
    }
}

fn until(input: &mut Peekable<Chars<'_>>, stops: &[char]) -> (String, Option<char>) {
    let mut text = String::new();
    while let Some(character) = input.next() {
        if stops.contains(&character) {
            return (text, Some(character));
        }
        text.push(if character == '\\' {
            input.next().expect("something is escaped")
        } else {
            character
        });
    }
    (text, None)
}

/// Kubernetes' expansion of arguments, in a container where every variable is set.
fn expanded(argument: &str) -> String {
    let mut expanded = String::new();
    let mut rest = argument;
    while let Some(position) = rest.find('$') {
        expanded.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((_, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            expanded.push_str("<value>");
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}
