//! What a user notices: values arrive at the chart as they were written, and a Secret's are seen
//! by nobody on the way.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

mod helm;
mod strvals;

const CANARY: &str = "canary-5d41402a";

fn source(index: usize, kind: SourceKind, documents: &[(&str, &str)]) -> Source {
    Source {
        index,
        kind,
        name: format!("source-{index}"),
        documents: documents
            .iter()
            .map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()))
            .collect(),
    }
}

fn config_map(index: usize, text: &str) -> Source {
    source(index, SourceKind::ConfigMap, &[("values.yaml", text)])
}

fn secret(index: usize, text: &str) -> Source {
    source(index, SourceKind::Secret, &[("values.yaml", text)])
}

fn masked(values: &Values) -> Vec<String> {
    values.secret_texts.texts()
}

fn fingerprint(values: &Values) -> Vec<u8> {
    values.fingerprint_parts().collect::<Vec<_>>().concat()
}

#[test]
fn values_of_config_maps_are_arguments_and_values_of_secrets_are_not() {
    let sources = [
        config_map(
            0,
            "app: {replicas: 3, image: 'app:1.10'}\ndb: {host: db, password: none}",
        ),
        secret(1, "db: {password: hunter2}"),
    ];
    let values = resolve(&sources).unwrap();
    assert_eq!(
        values.arguments,
        [
            "--set-string=app.image=app:1.10",
            "--set=app.replicas=3",
            "--set-string=db.host=db"
        ]
    );
    assert_eq!(
        values.file.as_deref(),
        Some("\"db\":\n  \"password\": \"hunter2\"\n")
    );
    assert!(masked(&values).contains(&"hunter2".to_owned()));
}

#[test]
fn a_later_config_map_makes_a_value_visible_again() {
    let values = resolve(&[secret(0, "a: hunter2"), config_map(1, "a: shown")]).unwrap();
    assert_eq!(values.arguments, ["--set-string=a=shown"]);
    assert_eq!(values.file, None);
    assert_eq!(masked(&values), Vec::<String>::new());
}

#[test]
fn the_keys_of_one_source_are_merged_in_the_order_of_their_names() {
    let documents = [
        ("20-b.yaml", "a: 2"),
        ("10-a.yaml", "a: 1\nb: 1"),
        ("15", "# nothing"),
    ];
    let values = resolve(&[source(0, SourceKind::ConfigMap, &documents)]).unwrap();
    assert_eq!(values.arguments, ["--set=a=2", "--set=b=1"]);
}

#[test]
fn nothing_makes_nothing() {
    let values = resolve(&[config_map(0, ""), secret(1, "{}")]).unwrap();
    assert_eq!(values, Values::default());
}

#[test]
fn a_null_reaches_the_chart() {
    let values = resolve(&[
        config_map(0, "a: {b: 1}\nc: 1"),
        config_map(1, "a: null"),
        secret(2, "c:"),
    ])
    .unwrap();
    assert_eq!(values.arguments, ["--set=a=null"]);
    assert_eq!(values.file.as_deref(), Some("\"c\": null\n"));
}

#[rstest::rstest]
#[case::with_line(
    secret(0, &format!("a: 1\npassword: {CANARY}\npassword: {CANARY}")),
    "Secret 'source-0' key 'values.yaml' line 3: a key appears twice in one map"
)]
#[case::of_a_config_map(
    config_map(0, "a: b: c"),
    "ConfigMap 'source-0' key 'values.yaml' line 1: not valid YAML: mapping values are not allowed here"
)]
#[case::not_a_map(
    secret(0, CANARY),
    "Secret 'source-0' key 'values.yaml' line 1: the root must be a map"
)]
#[case::unknown_alias(
    secret(0, &format!("a: *{CANARY}")),
    "Secret 'source-0' key 'values.yaml' line 1: not valid YAML: an alias refers to no anchor"
)]
fn a_refused_document_is_found_by_its_message(#[case] source: Source, #[case] told: &str) {
    let refusal = resolve(&[source]).unwrap_err();
    assert_eq!(refusal.to_string(), told);
    assert!(!format!("{refusal:?}").contains(CANARY));
}

#[test]
fn a_source_may_hold_one_mebibyte() {
    let text = |bytes: usize| format!("# {}", "x".repeat(bytes - 2));
    assert!(resolve(&[config_map(0, &text(MAX_SOURCE_BYTES))]).is_ok());
    let refusal = resolve(&[secret(0, &text(MAX_SOURCE_BYTES + 1))]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Secret 'source-0' holds more than 1 MiB of values"
    );
}

#[test]
fn merged_values_must_fit_into_one_secret() {
    let text = |key: &str| format!("{key}: {}", "x".repeat(600_000));
    let refusal = resolve(&[config_map(0, &text("a")), secret(1, &text("b"))]).unwrap_err();
    assert_eq!(refusal, InvalidValues::TooLarge);
}

#[test]
fn debug_output_holds_no_values() {
    let sources = [secret(0, &format!("a: {CANARY}"))];
    let values = resolve(&sources).unwrap();
    assert!(!format!("{sources:?} {values:?}").contains(CANARY));
}

#[rstest::rstest]
#[case::same_in_another_layout(&[config_map(0, "{b: 2, a: 1}")], true)]
#[case::same_from_two_sources(&[config_map(0, "a: 1"), config_map(1, "b: 2")], true)]
#[case::other_value(&[config_map(0, "a: 1\nb: 3")], false)]
#[case::other_type(&[config_map(0, "a: 1\nb: '2'")], false)]
#[case::other_origin(&[secret(0, "a: 1\nb: 2")], false)]
fn the_fingerprint_changes_with_what_is_said_and_by_whom(
    #[case] sources: &[Source],
    #[case] same: bool,
) {
    let first = resolve(&[config_map(0, "a: 1\nb: 2")]).unwrap();
    let second = resolve(sources).unwrap();
    assert_eq!(fingerprint(&first) == fingerprint(&second), same);
}

/// Texts from an alphabet in which nearly every character means something to some parser.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c.,=\\[\\]{}\\\\$() \n\t\"':#é0-2]{0,8}",
        "[a-z]{1,5}",
        Just("yes".to_owned()),
        Just("null".to_owned()),
        Just("1.10".to_owned()),
        any::<String>(),
    ]
}

/// Helm makes a float of every number in a file, which holds integers up to here exactly.
const EXACT: i64 = 1 << 53;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-EXACT..=EXACT).prop_map(Value::from),
        (0_i64..100).prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        text().prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    });
    proptest::collection::btree_map(prop_oneof!["[a-c]", text()], value, 0..4)
        .prop_map(|map| json!(map))
}

/// What the documents say together, told without origins.
fn laid_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                laid_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// `document` as YAML that means the same to Helm.
fn written(document: &Value) -> String {
    file::write(document.as_object().unwrap())
}

#[rstest::rstest]
#[case::in_a_secret(&[secret(0, "a: 9007199254740993")], "Secret 'source-0'")]
#[case::negative(&[secret(0, "a: -9007199254740993")], "Secret 'source-0'")]
#[case::in_a_list(&[config_map(0, "a: [{b: 9007199254740993}]")], "ConfigMap 'source-0'")]
#[case::unsigned(&[config_map(0, "a: 9223372036854775808")], "ConfigMap 'source-0'")]
#[case::not_its_own(&[config_map(0, "'': 9007199254740993")], "ConfigMap 'source-0'")]
#[case::later(&[config_map(0, "a: 9007199254740993"), secret(1, "b: 9007199254740993")], "Secret 'source-1'")]
fn an_integer_that_helm_would_round_is_refused(#[case] sources: &[Source], #[case] whose: &str) {
    let refused = resolve(sources).unwrap_err().to_string();
    let expected =
        format!("{whose} key 'values.yaml': the number is too large to be kept exactly; quote it");
    assert_eq!(refused, expected);
}

#[rstest::rstest]
#[case::exact(&[secret(0, "a: 9007199254740992")])]
#[case::argument(&[config_map(0, "a: 9223372036854775807")])]
#[case::quoted(&[secret(0, "a: '9007199254740993'")])]
#[case::key(&[secret(0, "9007199254740993: a")])]
#[case::overridden(&[secret(0, "a: 9007199254740993"), secret(1, "a: 1")])]
fn an_integer_that_helm_keeps_is_taken(#[case] sources: &[Source]) {
    assert!(resolve(sources).is_ok());
}

#[test]
fn too_many_arguments_take_their_large_integers_along() {
    let long = "x".repeat(64 * 1024);
    let text = format!("a: {long}\nb: 9007199254740993");
    let refused = resolve(&[config_map(0, &text)]).unwrap_err().to_string();
    assert!(refused.starts_with("ConfigMap 'source-0' key"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn helm_gets_the_merged_document_back(documents in proptest::collection::vec((document(), any::<bool>()), 0..4)) {
        let mut expected = json!({});
        let mut sources = Vec::new();
        for (index, (document, is_secret)) in documents.into_iter().enumerate() {
            let text = written(&document);
            sources.push(if is_secret { secret(index, &text) } else { config_map(index, &text) });
            laid_over(&mut expected, document);
        }
        let values = resolve(&sources).unwrap();
        let file = values.file.as_deref().unwrap_or_default();
        let mut arrived = document::parse(file.as_bytes(), &mut Budget::default()).unwrap();
        for flag in ["--set-json=", "--set=", "--set-string="] {
            for argument in values.arguments.iter().filter_map(|argument| argument.strip_prefix(flag)) {
                strvals::set(&mut arrived, flag, argument);
            }
        }
        prop_assert_eq!(Value::Object(arrived), expected);
    }

    #[test]
    fn nothing_of_a_secret_is_in_an_argument(hidden in document(), shown in document()) {
        let hidden = marked(hidden);
        let values = resolve(&[config_map(0, &written(&shown)), secret(1, &written(&hidden))]).unwrap();
        prop_assert!(values.arguments.iter().all(|argument| !argument.contains(CANARY)));
        let values = resolve(&[secret(0, &written(&hidden)), config_map(1, &written(&shown))]).unwrap();
        prop_assert!(values.arguments.iter().all(|argument| !argument.contains(CANARY)));
    }
}

/// `value` with the canary in each of its strings.
fn marked(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| (key, marked(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(marked).collect(),
        Value::String(text) => Value::from(format!("{text}{CANARY}")),
        other => Value::from(format!("{CANARY}{other}")),
    }
}
