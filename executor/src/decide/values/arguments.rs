//! Which merged values can people see in the Job? Leaves from config maps, as `--set` arguments in
//! the syntax of Helm's `strvals`. What that syntax cannot express exactly, or what Kubernetes
//! would change in an argument, goes into the file with the secrets: being right matters more than
//! being seen. Pure.

use serde_json::{Map, Value};

use super::SourceKind;
use super::merge::{Node, Tree};

/// An exec of more than 128 KiB in one argument fails, and a Job must fit into etcd.
const MAX_ARGUMENT_BYTES: usize = 64 * 1024;

/// `strvals` refuses a key with more dots.
const MAX_DOTS: usize = 30;

/// Beyond this, Helm rounds integers in files and in JSON: it makes floats of all numbers there
/// (`sigs.k8s.io/yaml` and `encoding/json` without `UseNumber`).
const EXACT_IN_JSON: u64 = 1 << 53;

/// The arguments and the document for the file. Each leaf is in exactly one of them, and no leaf
/// lies above another, so Helm's precedence of one over the other never decides anything.
pub(super) fn split(tree: &Tree) -> (Vec<String>, Map<String, Value>) {
    let mut arguments = Vec::new();
    let rest = take_arguments(tree, &mut Vec::new(), &mut arguments);
    // Each argument ends in a NUL when it is passed.
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    if bytes > MAX_ARGUMENT_BYTES {
        return (Vec::new(), tree.document());
    }
    (arguments, rest)
}

fn take_arguments<'tree>(
    tree: &'tree Tree,
    path: &mut Vec<&'tree str>,
    arguments: &mut Vec<String>,
) -> Map<String, Value> {
    let mut rest = Map::new();
    for (key, node) in &tree.0 {
        path.push(key);
        match node {
            Node::Branch(branch) => {
                let below = take_arguments(branch, path, arguments);
                if !below.is_empty() {
                    rest.insert(key.clone(), Value::Object(below));
                }
            }
            Node::Leaf(value, origin) => {
                let argument = match origin {
                    SourceKind::ConfigMap => argument(path, value),
                    SourceKind::Secret => None,
                };
                match argument {
                    Some(argument) => arguments.push(argument),
                    None => {
                        rest.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        path.pop();
    }
    rest
}

/// The argument that Helm reads as exactly `value` at `path`, if there is one.
fn argument(path: &[&str], value: &Value) -> Option<String> {
    // `strvals` drops what has an empty key.
    if path.len() > MAX_DOTS + 1 || path.iter().any(|key| key.is_empty()) {
        return None;
    }
    let (flag, text) = flag_and_text(value)?;
    let keys: Vec<String> = path.iter().copied().map(escaped_key).collect();
    let argument = format!("{flag}={}={text}", keys.join("."));
    survives_kubernetes(&argument).then_some(argument)
}

fn flag_and_text(value: &Value) -> Option<(&'static str, String)> {
    Some(match value {
        Value::String(text) => ("--set-string", escaped_text(text)),
        Value::Null | Value::Bool(_) => ("--set", value.to_string()),
        Value::Number(number) if number.is_i64() => ("--set", value.to_string()),
        // --set makes text of everything that is no integer.
        Value::Number(number) if number.is_f64() => ("--set-json", value.to_string()),
        Value::Array(_) | Value::Object(_) if exact_in_json(value) => {
            ("--set-json", value.to_string())
        }
        Value::Number(_) | Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Whether Helm reads every number in a file or in JSON exactly.
pub(super) fn exact_in_json(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64()
                || number
                    .as_u64()
                    .or_else(|| number.as_i64().map(i64::unsigned_abs))
                    <= Some(EXACT_IN_JSON)
        }
        Value::Array(items) => items.iter().all(exact_in_json),
        Value::Object(entries) => entries.values().all(exact_in_json),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// A brace is escaped because `--set-json={…` is a whole document.
fn escaped_key(key: &str) -> String {
    escaped(key, &['\\', '.', ',', '=', '[', ']', '{', '}'])
}

fn escaped_text(text: &str) -> String {
    let escaped = escaped(text, &['\\', ',']);
    // A brace in front would begin a list.
    if escaped.starts_with('{') {
        return format!("\\{escaped}");
    }
    escaped
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if special.contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Kubernetes replaces `$(NAME)` and `$$` in arguments, and no argument can hold a NUL.
fn survives_kubernetes(argument: &str) -> bool {
    !["\0", "$(", "$$"]
        .iter()
        .any(|text| argument.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(document: &Value) -> (Vec<String>, Value) {
        let mut tree = Tree::default();
        tree.merge(document.as_object().unwrap().clone(), SourceKind::ConfigMap);
        let (arguments, rest) = split(&tree);
        (arguments, Value::Object(rest))
    }

    #[rstest::rstest]
    #[case::text(json!({"a": "b"}), "--set-string=a=b")]
    #[case::text_like_a_number(json!({"a": "1.10"}), "--set-string=a=1.10")]
    #[case::empty_text(json!({"a": ""}), "--set-string=a=")]
    #[case::spaces_around(json!({"a": "  b "}), "--set-string=a=  b ")]
    #[case::lines(json!({"a": "b\nc"}), "--set-string=a=b\nc")]
    #[case::commas(json!({"a": "b,c=d"}), r"--set-string=a=b\,c=d")]
    #[case::backslashes(json!({"a": r"C:\dir\"}), r"--set-string=a=C:\\dir\\")]
    #[case::brace_in_front(json!({"a": "{b,c}"}), r"--set-string=a=\{b\,c}")]
    #[case::brace_inside(json!({"a": "b{c}"}), "--set-string=a=b{c}")]
    #[case::quotes(json!({"a": "\"b\" 'c'"}), "--set-string=a=\"b\" 'c'")]
    #[case::dollar(json!({"a": "cost: $5 ${b}$"}), "--set-string=a=cost: $5 ${b}$")]
    #[case::integer(json!({"a": 3}), "--set=a=3")]
    #[case::large_integer(json!({"a": 9_007_199_254_740_993_i64}), "--set=a=9007199254740993")]
    #[case::negative(json!({"a": -1}), "--set=a=-1")]
    #[case::bool(json!({"a": true}), "--set=a=true")]
    #[case::null(json!({"a": null}), "--set=a=null")]
    #[case::float(json!({"a": 1.5}), "--set-json=a=1.5")]
    #[case::whole_float(json!({"a": 1.0}), "--set-json=a=1.0")]
    #[case::empty_map(json!({"a": {}}), "--set-json=a={}")]
    #[case::empty_list(json!({"a": []}), "--set-json=a=[]")]
    #[case::list_of_maps(json!({"a": [{"b": "c,d"}, 1]}), r#"--set-json=a=[{"b":"c,d"},1]"#)]
    #[case::nested(json!({"a": {"b": {"c": 1}}}), "--set=a.b.c=1")]
    #[case::dotted_key(json!({"app.io/name": "x"}), r"--set-string=app\.io/name=x")]
    #[case::every_special_key(json!({r"a,b=c[0]{d}\": 1}), r"--set=a\,b\=c\[0\]\{d\}\\=1")]
    #[case::key_of_spaces(json!({" ": 1}), "--set= =1")]
    fn a_visible_leaf_is_one_argument(#[case] document: Value, #[case] argument: &str) {
        assert_eq!(of(&document), (vec![argument.to_owned()], json!({})));
    }

    #[rstest::rstest]
    #[case::empty_key(json!({"": 1}))]
    #[case::empty_key_below(json!({"a": {"": {"b": "x"}}}))]
    #[case::beyond_i64(json!({"a": u64::MAX}))]
    #[case::rounded_in_a_list(json!({"a": [{"b": 9_007_199_254_740_993_i64}]}))]
    #[case::variable(json!({"a": "$(HOSTNAME)"}))]
    #[case::doubled_dollar(json!({"a": ["pa$$word"]}))]
    #[case::variable_in_a_key(json!({"$(a)": 1}))]
    #[case::nul(json!({"a": "b\0c"}))]
    #[case::too_deep((0..32).fold(json!(1), |inner, _| json!({"a": inner})))]
    fn what_an_argument_cannot_carry_exactly_goes_into_the_file(#[case] document: Value) {
        assert_eq!(of(&document), (Vec::new(), document));
    }

    #[test]
    fn arguments_over_64_kib_go_into_the_file_together() {
        let fits = json!({"a": "x".repeat(MAX_ARGUMENT_BYTES - "--set-string=a=".len() - 1)});
        assert_eq!(of(&fits).0.len(), 1);
        let exceeds =
            json!({"a": "x".repeat(MAX_ARGUMENT_BYTES - "--set-string=a=".len()), "b": 1});
        assert_eq!(of(&exceeds), (Vec::new(), exceeds));
    }

    #[test]
    fn arguments_come_in_the_order_of_their_keys() {
        let (arguments, _) = of(&json!({"b": 1, "a": {"z": "x", "c": [1]}}));
        assert_eq!(
            arguments,
            ["--set-json=a.c=[1]", "--set-string=a.z=x", "--set=b=1"]
        );
    }
}
