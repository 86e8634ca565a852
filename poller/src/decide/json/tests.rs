//! What is JSON and what is not, compared with `serde_json`, however the bytes are cut.

use proptest::prelude::*;

use super::*;

/// The events as text, or that there is no document.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, Malformed> {
    let mut json = Json::default();
    let mut events = Vec::new();
    for piece in pieces {
        json.feed(piece, |event| {
            events.push(format!("{event:?}"));
            Ok::<_, Malformed>(())
        })?;
    }
    json.end().map(|()| events)
}

/// Whether `serde_json` takes it for a document. It knows no limit of 64 levels, which do not occur in
/// what is compared, and stops at numbers that no `f64` holds: then it does not say.
fn accepts(bytes: &[u8]) -> Option<bool> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some(false);
    };
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

#[test]
fn a_document_is_told_piece_by_piece() {
    let document = br#" {"a\u0062":[null,true,-1.5e+3,"\ud83d\ude00\n"],"":{}} "#;
    let events = [
        "Object",
        r#"Key(Some("ab"))"#,
        "Array",
        "Null",
        "Scalar",
        "Scalar",
        r#"Text(Some("😀\n"))"#,
        "End",
        r#"Key(Some(""))"#,
        "Object",
        "End",
        "End",
    ];
    assert_eq!(read([&document[..]]).unwrap(), events);
}

#[test]
fn a_text_is_kept_up_to_its_limit() {
    for (length, told) in [
        (TEXT_LIMIT, true),
        (TEXT_LIMIT + 1, false),
        (1 << 20, false),
    ] {
        let document = format!("\"{}\"", "a".repeat(length));
        let mut json = Json::default();
        let mut whole = None;
        for piece in document.as_bytes().chunks(1000) {
            let feed = json.feed(piece, |event| {
                whole = Some(matches!(event, Event::Text(Some(_))));
                Ok::<_, Malformed>(())
            });
            feed.unwrap();
            assert!(json.text.held() <= 2 * TEXT_LIMIT);
        }
        assert_eq!(whole, Some(told), "{length}");
    }
}

#[rstest::rstest]
#[case(64, true)]
#[case(65, false)]
#[case(1_000_000, false)]
fn nesting_has_a_limit(#[case] depth: usize, #[case] read_whole: bool) {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let inner = if open == "[" { "" } else { "1" };
        let document = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        assert_eq!(read([document.as_bytes()]).is_ok(), read_whole);
    }
}

#[rstest::rstest]
#[case(b"\"\xc0\x80\"")]
#[case(b"\"\xed\xa0\x80\"")]
#[case(b"\"\xf4\x90\x80\x80\"")]
#[case(b"\"\xe2\x82\"")]
#[case(b"\"\xff\"")]
#[case(b"\xef\xbb\xbf[]")]
#[case(b"\"a\nb\"")]
#[case(br#""\ud800""#)]
#[case(br#""\ud800\n""#)]
#[case(br#""\ud800\ud800""#)]
#[case(br#""\udc00""#)]
#[case(br#""\x41""#)]
#[case(br#""\u00g0""#)]
#[case(b"[1,]")]
#[case(b"{\"a\":1,}")]
#[case(b"{\"a\"}")]
#[case(b"{1:1}")]
#[case(b"[1}")]
#[case(b"[01]")]
#[case(b"[1.]")]
#[case(b"[-]")]
#[case(b"[nul]")]
#[case(b"[]]")]
#[case(b"[] x")]
#[case(b"")]
fn what_is_no_json_is_refused(#[case] bytes: &[u8]) {
    assert_eq!(read([bytes]), Err(Malformed));
    assert_eq!(read(bytes.chunks(1)), Err(Malformed));
    assert_eq!(accepts(bytes), Some(false));
}

/// Numbers are never asked for, so they may be any.
#[rstest::rstest]
#[case(b"[-1E23857304]")]
#[case(b"1e+999")]
fn a_number_may_be_of_any_size(#[case] bytes: &[u8]) {
    assert!(read([bytes]).is_ok());
    assert_eq!(accepts(bytes), None);
}

fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        "[\\[\\]{}:,\" ]",
        "\"[a-z]{0,3}\"",
        "\"(\\\\(u(00|d8|dc|D8)[0-9a-f]{2}|[nt\"x/])|[a-zé€😀]){0,4}\"",
        "-?(0|[1-9]?[0-9])(\\.[0-9]{0,2})?([eE][+-]?[0-9]?)?",
        "null|true|false|nul",
    ];
    proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes())
}

fn real_json() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(".{0,3}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    (value, any::<proptest::sample::Index>(), any::<Option<u8>>()).prop_map(
        |(value, at, broken)| {
            let mut bytes = value.to_string().into_bytes();
            let at = at.index(bytes.len());
            if let Some(broken) = broken {
                bytes[at] = broken;
            }
            bytes
        },
    )
}

proptest! {
    #[test]
    fn the_same_is_json_as_for_serde_json(bytes in prop_oneof![nearly_json(), real_json()]) {
        let accepted = accepts(&bytes);
        prop_assume!(accepted.is_some());
        prop_assert_eq!(Some(read([&bytes[..]]).is_ok()), accepted);
    }

    #[test]
    fn where_the_bytes_are_cut_never_matters(
        bytes in prop_oneof![nearly_json(), real_json()],
        size in 1_usize..8,
    ) {
        prop_assert_eq!(read(bytes.chunks(size)), read([&bytes[..]]));
    }
}
