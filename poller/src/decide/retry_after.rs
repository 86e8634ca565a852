//! For how long does a registry ask to be left alone? Reads what `Retry-After` really contains:
//! seconds or a date (RFC 9110 §10.2.3), but also a point in time (Docker Hub) and the text of a Go
//! duration (GHCR).

use std::time::{Duration, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};

/// Nobody is left alone for longer: a registry that errs must not be forgotten for days.
pub const LONGEST: Duration = Duration::from_hours(1);

/// A number from here on is a point in time: as seconds to wait it would be thirty years.
const A_POINT_IN_TIME: u64 = 1_000_000_000;

/// The wait, at most [`LONGEST`]. Nothing for what is over already or makes no sense.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if text.starts_with(|c: char| c.is_ascii_digit()) {
        number(text, now).or_else(|| go_duration(text))
    } else {
        date(text, now)
    };
    wait.filter(|wait| !wait.is_zero())
        .map(|wait| wait.min(LONGEST))
}

fn number(text: &str, now: Timestamp) -> Option<Duration> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than fit are no less patience.
    let number = text.parse().unwrap_or(u64::MAX);
    let since = if number < A_POINT_IN_TIME {
        0
    } else {
        u64::try_from(now.as_second()).unwrap_or_default()
    };
    number.checked_sub(since).map(Duration::from_secs)
}

fn go_duration(text: &str) -> Option<Duration> {
    let wait: SignedDuration = text.parse().ok()?;
    wait.try_into().ok()
}

fn date(text: &str, now: Timestamp) -> Option<Duration> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    let now = Duration::try_from(now.as_duration()).ok()?;
    since.checked_sub(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn read(text: &str) -> Option<Duration> {
        retry_after(text, NOW.parse().unwrap())
    }

    #[rstest::rstest]
    #[case::seconds("120", 120_000_000)]
    #[case::more_than_an_hour("99999999", 3_600_000_000)]
    #[case::more_than_a_number("99999999999999999999999", 3_600_000_000)]
    #[case::date("Thu, 01 Jan 2026 00:02:00 GMT", 120_000_000)]
    #[case::date_of_rfc_850("Thursday, 01-Jan-26 00:02:00 GMT", 120_000_000)]
    #[case::date_of_asctime("Thu Jan  1 00:02:00 2026", 120_000_000)]
    #[case::date_next_year("Fri, 01 Jan 2027 00:00:00 GMT", 3_600_000_000)]
    #[case::point_in_time("1767225660", 60_000_000)]
    #[case::far_point_in_time("4102444800", 3_600_000_000)]
    #[case::go_micro_sign("880µs", 880)]
    #[case::go_us("880us", 880)]
    #[case::go_milliseconds("1.5ms", 1500)]
    #[case::go_minutes("1m30s", 90_000_000)]
    #[case::go_fraction("44.5s", 44_500_000)]
    #[case::go_hours("2h0m0.5s", 3_600_000_000)]
    #[case::spaces(" 7 ", 7_000_000)]
    fn every_shape_is_read(#[case] text: &str, #[case] microseconds: u64) {
        assert_eq!(read(text), Some(Duration::from_micros(microseconds)));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("0")]
    #[case("0s")]
    #[case("-1")]
    #[case("-1m30s")]
    #[case("+5")]
    #[case("1767225599")]
    #[case("Wed, 31 Dec 2025 23:59:59 GMT")]
    #[case("Thu, 01 Jan 1970 00:00:00 GMT")]
    #[case("soon")]
    #[case("5 apples")]
    #[case("0x10")]
    #[case("1s ago")]
    #[case("NaN")]
    fn what_is_over_or_makes_no_sense_is_nothing(#[case] text: &str) {
        assert_eq!(read(text), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,40}", seconds in -377_705_023_201_i64..253_402_207_200) {
            let wait = retry_after(&text, Timestamp::from_second(seconds).unwrap());
            prop_assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= LONGEST));
        }

        #[test]
        fn no_almost_duration_breaks_it(text in "[-+]?[0-9]{0,25}[.]?[0-9]{0,25}[hmsnuµ]{0,3}[0-9]{0,25}[hms]{0,2}") {
            let wait = read(&text);
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST));
        }

        #[test]
        fn seconds_are_seconds(seconds in 1_u64..3600) {
            prop_assert_eq!(read(&seconds.to_string()), Some(Duration::from_secs(seconds)));
        }
    }
}
