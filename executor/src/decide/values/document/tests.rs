//! What a user notices: which documents are read, as what, and where a refused one is wrong.

use super::*;
use serde_json::json;

fn read(text: &str) -> Result<Value, Refusal> {
    parse(text.as_bytes(), &mut Budget::default()).map(Value::Object)
}

#[rstest::rstest]
#[case::empty("", json!({}))]
#[case::comments("# nothing\n\n# here\n", json!({}))]
#[case::marker_only("---\n", json!({}))]
#[case::null("~", json!({}))]
#[case::empty_map("{}", json!({}))]
#[case::byte_order_mark("\u{feff}a: 1", json!({"a": 1}))]
#[case::crlf("a: 1\r\nb: |\r\n  x\r\n  y\r\n", json!({"a": 1, "b": "x\ny\n"}))]
#[case::document_markers("%YAML 1.1\n---\na: 1\n...\n", json!({"a": 1}))]
#[case::json_inside("{\"a\": [1, {\"b\": null}], \"c\": \"\\u00e9\"}", json!({"a": [1, {"b": null}], "c": "é"}))]
#[case::quoted_stays_text("a: '1.10'\nb: \"true\"\nc: \"null\"\nd: 'yes'", json!({"a": "1.10", "b": "true", "c": "null", "d": "yes"}))]
#[case::block_text_stays_text("a: |\n  1\nb: >-\n  true", json!({"a": "1\n", "b": "true"}))]
#[case::block_text_without_a_last_line_break("a: |\n  b\n  c", json!({"a": "b\nc"}))]
#[case::folded_text_without_a_last_line_break("a: >+\n  b\n  c", json!({"a": "b c"}))]
#[case::block_text_before_a_blank_line("a: |\n  b\n  ", json!({"a": "b\n"}))]
#[case::block_text_before_a_comment("a: |\n  b\n# c", json!({"a": "b\n"}))]
#[case::no_value("a:\nb: ", json!({"a": null, "b": null}))]
#[case::tags("a: !!str 1\nb: ! yes\nc: !!float 1\nd: !!map {}\ne: !!seq []", json!({"a": "1", "b": "yes", "c": 1.0, "d": {}, "e": []}))]
#[case::keys_become_text("1: a\ntrue: b\n0x10: c\n'': d", json!({"1": "a", "true": "b", "16": "c", "": "d"}))]
#[case::keys_as_helm_reads_them("on: a", json!({"true": "a"}))]
#[case::long_key("? |-\n  a\n  b\n: 1", json!({"a\nb": 1}))]
#[case::aliases("a: &x {b: &y [1]}\nc: *x\nd: *y", json!({"a": {"b": [1]}, "c": {"b": [1]}, "d": [1]}))]
#[case::alias_as_key("a: &x name\n*x : 1", json!({"a": "name", "name": 1}))]
#[case::anchor_again("a: &x 1\nb: &x 2\nc: *x", json!({"a": 1, "b": 2, "c": 2}))]
#[case::merge("d: &d {a: 1, b: 2}\ne: {<<: *d, b: 3}\nf: {b: 4, <<: *d}", json!({"d": {"a": 1, "b": 2}, "e": {"a": 1, "b": 3}, "f": {"a": 1, "b": 4}}))]
#[case::merge_list("x: {<<: [{a: 1}, {a: 2, b: 2}], c: 3}", json!({"x": {"a": 1, "b": 2, "c": 3}}))]
#[case::quoted_merge_key("x: {'<<': 1}", json!({"x": {"<<": 1}}))]
#[case::merge_as_value("x: <<", json!({"x": "<<"}))]
fn a_document_is_read(#[case] text: &str, #[case] value: Value) {
    assert_eq!(read(text), Ok(value));
}

#[rstest::rstest]
#[case::scalar_root("just text", 1, Problem::RootNotAMap)]
#[case::list_root("- a", 1, Problem::RootNotAMap)]
#[case::second_document("a: 1\n---\nb: 2", 2, Problem::SeveralDocuments)]
#[case::duplicate_key("a: 1\nb: 2\na: 3", 3, Problem::DuplicateKey)]
#[case::duplicate_after_conversion("1: a\n'1': b", 2, Problem::DuplicateKey)]
#[case::duplicate_merge("x:\n  <<: {}\n  <<: {}", 3, Problem::DuplicateKey)]
#[case::null_key("~: 1", 1, Problem::InvalidKey)]
#[case::float_key("1.5: 1", 1, Problem::InvalidKey)]
#[case::map_key("? {a: 1}\n: 1", 1, Problem::InvalidKey)]
#[case::merge_of_scalar("a: 1\n<<: x", 2, Problem::InvalidMerge)]
#[case::alias_inside_itself("a: &x\n  b: *x", 2, Problem::AliasOfAncestor)]
#[case::unknown_alias("a: 1\nb: *x", 2, Problem::Syntax("an alias refers to no anchor"))]
#[case::binary("a: !!binary aGk=", 1, Problem::UnknownTag)]
#[case::foreign_tag("a: !!python/object x", 1, Problem::UnknownTag)]
#[case::local_tag("a: !secret {}", 1, Problem::UnknownTag)]
#[case::wrong_tag("a: !!int x", 1, Problem::TagMismatch)]
#[case::wrong_collection_tag("a: !!seq {}", 1, Problem::TagMismatch)]
#[case::too_large("\n\na: 18446744073709551616", 3, Problem::NumberTooLarge)]
#[case::not_finite("a: .inf", 1, Problem::NotFinite)]
#[case::nul("a: 1\nb: x\0y", 2, Problem::ControlCharacter)]
#[case::escape("a: \u{1b}[0m", 1, Problem::ControlCharacter)]
#[case::tab("a:\n\tb: 1", 2, Problem::Syntax("a tab is used for indentation"))]
#[case::two_colons("a: b: c", 1, Problem::Syntax("mapping values are not allowed here"))]
fn a_document_is_refused_at_its_line(
    #[case] text: &str,
    #[case] line: usize,
    #[case] problem: Problem,
) {
    assert_eq!(
        read(text),
        Err(Refusal {
            line: Some(line),
            problem
        })
    );
}

#[test]
fn bytes_that_are_no_text_are_refused_at_their_line() {
    let refusal = parse(b"a: 1\nb: \xff", &mut Budget::default()).unwrap_err();
    assert_eq!(
        refusal,
        Refusal {
            line: Some(2),
            problem: Problem::NotUtf8
        }
    );
}

#[test]
fn nesting_ends_at_64_levels_with_or_without_aliases() {
    let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(read(&nested(64)).is_ok());
    assert_eq!(read(&nested(65)).unwrap_err().problem, Problem::TooDeep);
    assert_eq!(read(&nested(10_000)).unwrap_err().problem, Problem::TooDeep);
    let list =
        |depth: usize, inside: &str| format!("{}{inside}{}", "[".repeat(depth), "]".repeat(depth));
    let aliased = |depth| format!("a: &x {}\nb: {}", list(30, ""), list(depth, "*x"));
    assert!(read(&aliased(33)).is_ok());
    assert_eq!(read(&aliased(34)).unwrap_err().problem, Problem::TooDeep);
}

#[test]
fn aliases_do_not_blow_up() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}", level - 1);
        let items = vec![before; 10].join(", ");
        laughs = format!("{laughs}a{level}: &a{level} [{items}]\n");
    }
    assert_eq!(read(&laughs).unwrap_err().problem, Problem::TooComplex);

    let long = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a, ".repeat(100));
    assert_eq!(read(&long).unwrap_err().problem, Problem::TooComplex);
}

#[test]
fn the_budget_is_shared_by_all_documents() {
    let document = format!("a: [{}]", "1, ".repeat(60_000));
    let mut budget = Budget::default();
    assert!(parse(document.as_bytes(), &mut budget).is_ok());
    assert_eq!(
        parse(document.as_bytes(), &mut budget).unwrap_err().problem,
        Problem::TooComplex
    );
}

#[test]
fn a_key_that_helm_could_not_read_back_is_refused() {
    let with_key = |length: usize| format!("? {}\n: 1", "k".repeat(length));
    assert!(read(&with_key(998)).is_ok());
    assert_eq!(
        read(&with_key(999)).unwrap_err().problem,
        Problem::KeyTooLong
    );
}

proptest::proptest! {
    #[test]
    fn no_input_makes_it_panic(text in "[-a-c0-2:{}\\[\\],&*!'\"|>%#?<~. \t\n\\\\]{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
        let _ = parse(&bytes, &mut Budget::default());
    }
}
