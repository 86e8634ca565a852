//! Does an answer ask for patience with its host? A refusal says so by its status, any answer by
//! saying that nothing of the quota is left. Read are `Retry-After`, the fields of
//! draft-ietf-httpapi-ratelimit-headers (`RateLimit` since revision 07, `RateLimit-Remaining` and
//! `RateLimit-Reset` before), Docker Hub's `ratelimit-remaining: 0;w=21600`, and the `X-RateLimit-`
//! fields everybody had before the draft.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};
use jiff::Timestamp;
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parameters, Parser};

use super::retry_after::{LONGEST, retry_after};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left, and when there is more: in the draft's own words, and in those from before it.
const REMAINING: [(HeaderName, HeaderName); 2] = [
    (
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ),
];

/// Where refusals say how long; Docker Hub's API has the second one.
const RETRY_AFTER: [HeaderName; 2] = [
    header::RETRY_AFTER,
    HeaderName::from_static("x-retry-after"),
];

/// For who is refused without a word of how long.
const UNSAID: Duration = Duration::from_mins(1);

/// A refusal is worth a pause even when it asks for less, as GHCR does with `880µs`.
const SHORTEST: Duration = Duration::from_secs(1);

/// Longer fields are not worth the reading.
const FIELD_LIMIT: usize = 1024;

/// How long the host of this answer is to be left alone, at most an hour; nothing if it may be
/// asked again at any time.
pub fn patience(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asked = || {
        let fields = RETRY_AFTER
            .into_iter()
            .flat_map(|name| texts(headers, &name));
        fields.filter_map(|text| retry_after(&text, now)).max()
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            // The draft (section 5) and its elders give Retry-After precedence.
            let wait = asked().or_else(|| nothing_left(headers, now));
            Some(wait.unwrap_or(UNSAID).max(SHORTEST))
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            let wait = asked().or_else(|| nothing_left(headers, now));
            wait.map(|wait| wait.max(SHORTEST))
        }
        _ => nothing_left(headers, now),
    }
}

/// How long until there is quota again, if there is none.
fn nothing_left(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let quotas = texts(headers, &RATE_LIMIT).filter_map(|text| quota(&text, headers));
    let older = REMAINING
        .into_iter()
        .filter_map(|(remaining, reset)| remaining_none(headers, &remaining, &reset, now));
    quotas.chain(older).max().map(|wait| wait.min(LONGEST))
}

/// `"burst";r=0;t=30, "daily";r=900`, or as in revision 07 `limit=10, remaining=0, reset=30`.
fn quota(text: &str, headers: &HeaderMap) -> Option<Duration> {
    if let Ok(list) = Parser::new(text).parse::<List>() {
        let used_up = items(&list).filter(|item| parameter(&item.params, "r") == Some(0));
        return used_up
            .filter_map(|item| {
                let until = parameter(&item.params, "t");
                until.or_else(|| window(headers, &item.bare_item))
            })
            .max()
            .and_then(seconds);
    }
    let members: Dictionary = Parser::new(text).parse().ok()?;
    let member = |name: &str| match members.get(name) {
        Some(ListEntry::Item(item)) => integer(&item.bare_item),
        _ => None,
    };
    (member("remaining")? == 0).then(|| member("reset").and_then(seconds))?
}

/// The window of a policy, for a quota that does not say when it is filled again.
fn window(headers: &HeaderMap, policy: &BareItem) -> Option<i64> {
    texts(headers, &POLICY).find_map(|text| {
        let list: List = Parser::new(&text).parse().ok()?;
        let mut named = items(&list).filter(|item| item.bare_item == *policy);
        named.find_map(|item| parameter(&item.params, "w"))
    })
}

fn remaining_none(
    headers: &HeaderMap,
    remaining: &HeaderName,
    reset: &HeaderName,
    now: Timestamp,
) -> Option<Duration> {
    let lists = texts(headers, remaining).filter_map(|text| Parser::new(&text).parse().ok());
    let lists: Vec<List> = lists.collect();
    let mut used_up = lists
        .iter()
        .flat_map(items)
        .filter(|item| integer(&item.bare_item) == Some(0))
        .peekable();
    used_up.peek()?;
    let reset = texts(headers, reset).find_map(|text| retry_after(&text, now));
    reset.or_else(|| {
        let windows = used_up.filter_map(|item| parameter(&item.params, "w"));
        windows.max().and_then(seconds)
    })
}

fn items(list: &List) -> impl Iterator<Item = &Item> {
    list.iter().filter_map(|entry| match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    })
}

fn parameter(params: &Parameters, name: &str) -> Option<i64> {
    params.get(name).and_then(integer)
}

fn integer(item: &BareItem) -> Option<i64> {
    match item {
        BareItem::Integer(number) => Some((*number).into()),
        _ => None,
    }
}

fn seconds(number: i64) -> Option<Duration> {
    let seconds = u64::try_from(number).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

/// The values of a field. They are no `str` to `http`: the µ of a Go duration is not ASCII.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let values = headers.get_all(name).iter();
    values
        .filter(|value| value.len() <= FIELD_LIMIT)
        .map(|value| match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => text.to_owned(),
            Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ask(status: u16, fields: &[(&str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        patience(status, &headers, now).map(|wait| wait.as_secs())
    }

    #[rstest::rstest]
    #[case::seconds(429, "120", Some(120))]
    #[case::go_text_of_ghcr(429, "880µs", Some(1))]
    #[case::point_in_time(429, "1767225660", Some(60))]
    #[case::date(429, "Thu, 01 Jan 2026 00:02:00 GMT", Some(120))]
    #[case::negative(429, "-1", Some(60))]
    #[case::past(429, "Wed, 31 Dec 2025 00:00:00 GMT", Some(60))]
    #[case::too_long(429, "99999999", Some(3600))]
    #[case::unavailable(503, "30", Some(30))]
    #[case::unavailable_without_sense(503, "-1", None)]
    #[case::no_refusal(200, "30", None)]
    #[case::moved(307, "30", None)]
    fn a_refusal_says_how_long(#[case] status: u16, #[case] text: &str, #[case] wait: Option<u64>) {
        assert_eq!(ask(status, &[("retry-after", text)]), wait);
    }

    #[rstest::rstest]
    #[case::refused(429, Some(60))]
    #[case::broken(503, None)]
    #[case::fine(200, None)]
    fn without_a_word_only_a_refusal_counts(#[case] status: u16, #[case] wait: Option<u64>) {
        assert_eq!(ask(status, &[]), wait);
    }

    #[rstest::rstest]
    #[case::draft_10(&[("ratelimit", "\"burst\";r=0;t=30")], Some(30))]
    #[case::token_of_draft_08(&[("ratelimit", "default;r=0;t=30")], Some(30))]
    #[case::several_policies(&[("ratelimit", "\"burst\";r=0;t=3, \"daily\";r=0;t=40")], Some(40))]
    #[case::two_fields(&[("ratelimit", "\"a\";r=9;t=3"), ("ratelimit", "\"b\";r=0;t=40")], Some(40))]
    #[case::one_policy_left(&[("ratelimit", "\"burst\";r=0;t=3, \"daily\";r=1;t=40")], Some(3))]
    #[case::window_of_the_policy(
        &[("ratelimit", "\"a\";r=0"), ("ratelimit-policy", "\"b\";q=1;w=9, \"a\";q=10;w=60")],
        Some(60)
    )]
    #[case::left(&[("ratelimit", "\"burst\";r=1;t=30")], None)]
    #[case::no_time(&[("ratelimit", "\"burst\";r=0")], None)]
    #[case::negative_time(&[("ratelimit", "\"burst\";r=0;t=-30")], None)]
    #[case::draft_07(&[("ratelimit", "limit=100, remaining=0, reset=50")], Some(50))]
    #[case::draft_07_left(&[("ratelimit", "limit=100, remaining=5, reset=50")], None)]
    #[case::draft_06(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "50")], Some(50))]
    #[case::draft_06_left(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "50")], None)]
    #[case::docker_hub(
        &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
        Some(3600)
    )]
    #[case::docker_hub_short(&[("ratelimit-remaining", "0;w=60")], Some(60))]
    #[case::docker_hub_left(&[("ratelimit-remaining", "76;w=21600")], None)]
    #[case::seconds_of_old(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "50")], Some(50))]
    #[case::time_of_old(
        &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225660")],
        Some(60)
    )]
    #[case::over(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225599")], None)]
    #[case::unknown_end(&[("x-ratelimit-remaining", "0")], None)]
    #[case::nonsense(&[("ratelimit", "\"unbalanced;r=0"), ("ratelimit-remaining", "nil")], None)]
    fn an_answer_says_that_nothing_is_left(
        #[case] fields: &[(&str, &str)],
        #[case] wait: Option<u64>,
    ) {
        assert_eq!(ask(200, fields), wait);
        assert_eq!(ask(404, fields), wait);
        let refused = Some(wait.unwrap_or(60).max(1));
        assert_eq!(ask(429, fields), refused);
    }

    #[test]
    fn retry_after_has_precedence_over_quotas() {
        let fields = [("retry-after", "5"), ("ratelimit", "\"a\";r=0;t=300")];
        assert_eq!(ask(429, &fields), Some(5));
        assert_eq!(ask(429, &[("x-retry-after", "1767225605")]), Some(5));
    }

    #[test]
    fn a_field_that_is_too_long_is_not_read() {
        let long = format!("\"{}\";r=0;t=30", "a".repeat(FIELD_LIMIT));
        assert_eq!(ask(200, &[("ratelimit", &long)]), None);
    }

    proptest! {
        #[test]
        fn no_field_breaks_it(
            name in 0_usize..8,
            value in proptest::collection::vec(32_u8..=255, 0..60),
            status in 100_u16..600,
        ) {
            let value: Vec<u8> = value.into_iter().filter(|byte| *byte != 127).collect();
            check(name, &value, status)?;
        }

        #[test]
        fn no_almost_quota_breaks_it(
            name in 0_usize..8,
            value in "(\"?[a-z]{0,3}\"?(=?[-0-9]{0,17})?(;[rtw]=[-0-9]{0,17}(\\.[0-9]{0,4})?){0,3}[, ]{0,2}){0,3}",
            status in 100_u16..600,
        ) {
            check(name, value.as_bytes(), status)?;
        }
    }

    fn check(name: usize, value: &[u8], status: u16) -> Result<(), TestCaseError> {
        let mut names = vec![RATE_LIMIT, POLICY];
        names.extend(RETRY_AFTER);
        names.extend(REMAINING.into_iter().flat_map(|(a, b)| [a, b]));
        let mut headers = HeaderMap::new();
        headers.insert(names[name].clone(), HeaderValue::from_bytes(value).unwrap());
        // So that the value of the other field of a pair matters as well.
        headers
            .entry("x-ratelimit-remaining")
            .or_insert(HeaderValue::from_static("0"));
        let status = StatusCode::from_u16(status).unwrap();
        let wait = patience(status, &headers, "2026-01-01T00:00:00Z".parse().unwrap());
        prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
        Ok(())
    }
}
