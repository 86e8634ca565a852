//! What is a page and what is not, and that nothing depends on how its bytes arrive.

use proptest::prelude::*;

use super::*;

const RULES: [Rule; 1] = [Rule::Newest];

fn read_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Contents, InvalidPage> {
    let mut reading = Reading::new(&RULES, 5);
    let mut page = reading.page("org/app");
    for piece in pieces {
        page.feed(piece)?;
    }
    page.finish()?;
    Ok(reading.finish())
}

fn read(body: &[u8]) -> Result<Contents, InvalidPage> {
    let whole = read_in([body]);
    assert_eq!(read_in(body.chunks(1)), whole, "byte by byte");
    whole
}

#[rstest::rstest]
#[case(br#"{"name":"org/app","tags":["b","a","c"]}"#, 3)]
#[case(br#"{"name":"org/app","tags":null}"#, 0)]
#[case(br#"{"name":null,"tags":[]}"#, 0)]
#[case(br#"{"tags":[]}"#, 0)]
#[case(br#" { "tags" : [ "\u0076\u0031" ] , "name" : "org\/app" } "#, 1)]
// registries.md: Google's registries add the manifests and the repositories below.
#[case(br#"{"child":["x"],"manifest":{"sha256:0":{"tag":["a"],"timeUploadedMs":"1"}},"name":"org/app","tags":["a"]}"#, 1)]
fn a_tag_list_is_read(#[case] body: &[u8], #[case] tags: usize) {
    assert_eq!(read(body).unwrap().tags, tags);
}

#[rstest::rstest]
#[case::nothing(b"")]
#[case::null(b"null")]
#[case::text(b"\"tags\"")]
#[case::list(br#"["v1"]"#)]
#[case::html(b"<html>")]
#[case::empty(b"{}")]
#[case::an_error(br#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)]
#[case::a_number(br#"{"tags":[1]}"#)]
#[case::a_null_tag(br#"{"tags":[null]}"#)]
#[case::a_nested_tag(br#"{"tags":[["v1"]]}"#)]
#[case::no_list(br#"{"tags":"v1"}"#)]
#[case::an_object(br#"{"tags":{"v1":1}}"#)]
#[case::a_name_that_is_none(br#"{"name":1,"tags":[]}"#)]
#[case::tags_twice(br#"{"tags":["v1"],"tags":["v2"]}"#)]
#[case::tags_twice_spelled_otherwise(br#"{"tags":["v1"],"t\u0061gs":["v2"]}"#)]
#[case::name_twice(br#"{"name":"org/app","name":"org/app","tags":[]}"#)]
#[case::something_behind(br#"{"tags":["v1"]} x"#)]
#[case::another_behind(br#"{"tags":["v1"]}{"tags":["v2"]}"#)]
#[case::a_byte_order_mark(b"\xef\xbb\xbf{\"tags\":[]}")]
#[case::bad_utf8(b"{\"tags\":[\"\xff\"]}")]
#[case::bad_utf8_where_nobody_looks(b"{\"tags\":[],\"x\":\"\xff\"}")]
#[case::half_a_surrogate(br#"{"tags":["\ud800"]}"#)]
#[case::cut(br#"{"tags":["v1"]"#)]
#[case::cut_in_a_tag(br#"{"tags":["v1"#)]
#[case::a_comma_too_many(br#"{"tags":["v1",]}"#)]
fn anything_else_is_no_tag_list(#[case] body: &[u8]) {
    assert_eq!(read(body), Err(InvalidPage::NotATagList));
}

#[test]
fn an_ignored_field_is_not_read_to_any_depth() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(1 << 20));
    assert_eq!(read_in([deep.as_bytes()]), Err(InvalidPage::NotATagList));
}

#[test]
fn the_list_of_another_repository_is_refused() {
    for name in ["org/other".to_owned(), "x".repeat(5000)] {
        let body = format!(r#"{{"name":"{name}","tags":[]}}"#);
        assert_eq!(read(body.as_bytes()), Err(InvalidPage::OtherRepository));
    }
}

#[test]
fn what_is_no_tag_is_dropped_alone() {
    let list = read(br#"{"tags":["v1","a/b","--x","\u001b[31m",""]}"#).unwrap();
    assert_eq!((list.tags, list.invalid), (1, 4));
}

#[rstest::rstest]
#[case(128, 0)]
#[case(129, 1)]
#[case(4 << 20, 1)]
fn a_tag_that_is_too_long_is_dropped_alone(#[case] length: usize, #[case] invalid: usize) {
    let body = format!(r#"{{"tags":["{}","v1"]}}"#, "a".repeat(length));
    assert_eq!(read_in([body.as_bytes()]).unwrap().invalid, invalid);
}

#[test]
fn too_many_tags_are_refused_before_the_end_of_the_page() {
    let body = br#"{"tags":["1","2","3","/","5","6"#;
    let complete = [&body[..], b"\""].concat();
    assert_eq!(read(body), Err(InvalidPage::NotATagList));
    assert_eq!(read(&complete), Err(InvalidPage::TooManyTags(5)));
}

#[test]
fn every_rule_chooses_from_the_same_pages() {
    let rules = ["^1", "^2"].map(|text| Rule::Matching(text.parse().unwrap()));
    let mut reading = Reading::new(&rules, 9);
    for body in [r#"{"tags":["1.0.0","2.0.0"]}"#, r#"{"tags":["1.1.0"]}"#] {
        let mut page = reading.page("");
        page.feed(body.as_bytes()).unwrap();
        page.finish().unwrap();
    }
    let best = |selection: &Selection| selection.candidates[0].to_string();
    let best: Vec<_> = reading.finish().selections.iter().map(best).collect();
    assert_eq!(best, ["1.1.0", "2.0.0"]);
}

fn fingerprint(tags: &[String]) -> Fingerprint {
    let mut reading = Reading::new([], 100);
    for tag in tags {
        reading.entry(Some(tag)).unwrap();
    }
    reading.finish().fingerprint
}

#[test]
fn a_fingerprint_is_64_digits_and_stays_what_it_is() {
    let tags = ["v1.0.0", "v2.0.0"].map(ToOwned::to_owned);
    let text = fingerprint(&tags).to_string();
    assert_eq!(text.len(), 64);
    assert!(text.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(fingerprint(&tags[..1]), fingerprint(&tags));
    assert_ne!(fingerprint(&[]), fingerprint(&tags[..1]));
}

fn page_like() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("{\"name\":\"org/app\",\"tags\":["),
        Just("\"v1.0.0\""),
        Just("\"\\u0076é\""),
        Just("\"a\\/b\""),
        Just(","),
        Just("]}"),
        Just("],\"manifest\":{\"x\":[1.5e3,null,true]}}"),
        Just(" "),
    ];
    let body = proptest::collection::vec(part, 0..9).prop_map(|parts| parts.concat().into_bytes());
    (
        body,
        proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(mut body, broken)| {
            if let Some((at, byte)) = broken.filter(|_| !body.is_empty()) {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body
        })
}

proptest! {
    #[test]
    fn where_a_page_is_cut_never_matters(
        body in page_like(),
        mut cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        cuts.sort_by_key(|cut| cut.index(body.len() + 1));
        let mut rest = &body[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            let at = cut.index(body.len() + 1) - (body.len() - rest.len());
            let (piece, behind) = rest.split_at(at);
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(read_in(pieces), read_in([&body[..]]));
    }

    #[test]
    fn the_fingerprint_depends_on_the_tags_and_not_on_their_order(
        (tags, turned) in proptest::collection::vec("[a-z]{1,2}", 0..9)
            .prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
        more in "[a-z]{1,2}",
    ) {
        prop_assert_eq!(fingerprint(&tags), fingerprint(&turned));
        let longer = [tags.clone(), vec![more]].concat();
        prop_assert_ne!(fingerprint(&tags), fingerprint(&longer));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _either = read(&bytes);
    }
}
