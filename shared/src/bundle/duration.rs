//! Durations as people write them in a bundle, in the syntax of [`super::schema::DURATION_PATTERN`].

use std::time::Duration;

/// A duration that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 15m or 1h30m")]
pub struct InvalidDuration(String);

/// Reads hours, minutes and seconds, each at most once and in that order, with fractions.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.chars().take(32).collect());
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut units = [('h', 3600.0), ('m', 60.0), ('s', 1.0)].into_iter();
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(end);
        let well_formed = number.starts_with(|c: char| c.is_ascii_digit())
            && number.ends_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let amount: f64 = number.parse().map_err(|_| invalid())?;
        let mut letters = tail.chars();
        let unit = letters.next().ok_or_else(invalid)?;
        let seconds = units
            .find(|(name, _)| *name == unit)
            .map(|(_, seconds)| seconds)
            .filter(|_| well_formed)
            .ok_or_else(invalid)?;
        let part = Duration::try_from_secs_f64(amount * seconds).map_err(|_| invalid())?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = letters.as_str();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("15m", 900)]
    #[case("1h30m", 5400)]
    #[case("1.5h", 5400)]
    #[case("90s", 90)]
    #[case("24h0m0s", 86400)]
    fn what_the_schema_accepts_is_read(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("15")]
    #[case("-1s")]
    #[case("1h1h")]
    #[case("30s1m")]
    #[case("1ns")]
    #[case(".5h")]
    #[case("1.h")]
    #[case("٣m")]
    #[case("1e3m")]
    #[case("99999999999999999999999h")]
    fn anything_else_is_refused(#[case] text: &str) {
        assert!(parse(text).is_err());
    }
}
