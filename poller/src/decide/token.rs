//! Is the answer of a token server a token, and how long is it good for? Read as distribution's token
//! specification and RFC 6749 section 5.1 have it; nothing of a bad answer is ever shown.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

/// A token server's answer is a few kilobytes.
pub const LONGEST_BODY: usize = 64 * 1024;

/// Where the answer does not say ("if omitted, this defaults to 60 seconds").
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// However long a token is good for, it is asked for anew every day.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// What is sent to the registry: visible ASCII.
    pub value: SecretString,
    /// From now on.
    pub good_for: Duration,
}

/// An answer that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// More than any token.
    #[error("the token server's answer is larger than {LONGEST_BODY} bytes")]
    TooLarge,
    /// It is not the JSON that was asked for.
    #[error("the token server's answer is not a token")]
    NotAToken,
    /// The token cannot be sent in a header.
    #[error("the token server's token is empty or has characters that no token has")]
    Illegible,
    /// `expires_in` is no number of seconds.
    #[error("the token server's token has a senseless expires_in")]
    Lifetime,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Value>,
    issued_at: Option<serde_json::Value>,
}

/// The token in an answer that arrived now.
pub fn token(body: &[u8], now: Timestamp) -> Result<Token, InvalidToken> {
    if body.len() > LONGEST_BODY {
        return Err(InvalidToken::TooLarge);
    }
    // Serde would read an array as a struct, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(InvalidToken::NotAToken);
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| InvalidToken::NotAToken)?;
    let given = [answer.token, answer.access_token].into_iter().flatten();
    let mut given = given.peekable();
    if given.peek().is_none() {
        return Err(InvalidToken::NotAToken);
    }
    let value = given.find(|token| !token.is_empty());
    let value = value
        .filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or(InvalidToken::Illegible)?;
    let life = life(answer.expires_in.as_ref())?;
    let issued = answer.issued_at.as_ref().and_then(|at| at.as_str());
    let age = issued
        .and_then(|at| at.parse::<Timestamp>().ok())
        .and_then(|at| Duration::try_from(now.duration_since(at)).ok());
    Ok(Token {
        value: value.into(),
        // A token that is expired on arrival, or comes from the future, tells of two clocks and
        // not of its age; a guess that is too long costs one 401.
        good_for: age
            .and_then(|age| life.checked_sub(age))
            .filter(|left| !left.is_zero())
            .unwrap_or(life),
    })
}

fn life(expires_in: Option<&serde_json::Value>) -> Result<Duration, InvalidToken> {
    use serde_json::Value;
    let seconds = match expires_in {
        None | Some(Value::Null) => return Ok(DEFAULT_LIFE),
        Some(Value::Number(seconds)) => seconds.as_f64().ok_or(InvalidToken::Lifetime)?,
        Some(_) => return Err(InvalidToken::Lifetime),
    };
    if seconds < 0.0 {
        return Err(InvalidToken::Lifetime);
    }
    // Programs that leave a number out as zero mean the default.
    if seconds < 1.0 {
        return Ok(DEFAULT_LIFE);
    }
    let life = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFE);
    Ok(life.min(LONGEST_LIFE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    fn now() -> Timestamp {
        "2026-01-01T00:10:00Z".parse().unwrap()
    }

    fn read(body: &str) -> Result<(String, u64), InvalidToken> {
        let token = token(body.as_bytes(), now())?;
        Ok((
            token.value.expose_secret().to_owned(),
            token.good_for.as_secs(),
        ))
    }

    #[rstest::rstest]
    #[case(r#"{"token":"a.b-c"}"#, "a.b-c", 60)]
    #[case(r#"{"access_token":"t","expires_in":300}"#, "t", 300)]
    #[case(r#"{"token":"t","access_token":"u","expires_in":300}"#, "t", 300)]
    #[case(r#"{"token":"","access_token":"u"}"#, "u", 60)]
    #[case(r#"{"token":null,"access_token":"u","expires_in":null}"#, "u", 60)]
    #[case(r#"{"token":"t","expires_in":0}"#, "t", 60)]
    #[case(r#"{"token":"t","expires_in":3600.0}"#, "t", 3600)]
    #[case(r#"{"token":"t","expires_in":99999999999999999999999}"#, "t", 86400)]
    #[case(r#"{"token":"t","expires_in":1e300}"#, "t", 86400)]
    #[case(
        r#"{"token":"t","expires_in":300,"issued_at":"2026-01-01T00:09:00Z"}"#,
        "t",
        240
    )]
    #[case(
        r#"{"token":"t","expires_in":300,"issued_at":"2025-01-01T00:00:00Z"}"#,
        "t",
        300
    )]
    #[case(
        r#"{"token":"t","expires_in":300,"issued_at":"2027-01-01T00:00:00Z"}"#,
        "t",
        300
    )]
    #[case(r#"{"token":"t","expires_in":300,"issued_at":"yesterday"}"#, "t", 300)]
    #[case(r#"{"token":"t","scope":"x","refresh_token":"r"}"#, "t", 60)]
    fn a_token_is_read(#[case] body: &str, #[case] value: &str, #[case] seconds: u64) {
        assert_eq!(read(body), Ok((value.to_owned(), seconds)));
    }

    #[rstest::rstest]
    #[case("", InvalidToken::NotAToken)]
    #[case("<html>", InvalidToken::NotAToken)]
    #[case("null", InvalidToken::NotAToken)]
    #[case("{}", InvalidToken::NotAToken)]
    #[case(r#"["token"]"#, InvalidToken::NotAToken)]
    #[case(r#"{"token":5}"#, InvalidToken::NotAToken)]
    #[case(r#"{"token":"a","token":"b"}"#, InvalidToken::NotAToken)]
    #[case(r#"{"errors":[{"code":"DENIED"}]}"#, InvalidToken::NotAToken)]
    #[case(r#"{"token":""}"#, InvalidToken::Illegible)]
    #[case(r#"{"token":"a\r\nHost: evil"}"#, InvalidToken::Illegible)]
    #[case(r#"{"token":"a b"}"#, InvalidToken::Illegible)]
    #[case(r#"{"token":"ä"}"#, InvalidToken::Illegible)]
    #[case(r#"{"token":"t","expires_in":-1}"#, InvalidToken::Lifetime)]
    #[case(r#"{"token":"t","expires_in":"300"}"#, InvalidToken::Lifetime)]
    #[case(r#"{"token":"t","expires_in":[]}"#, InvalidToken::Lifetime)]
    fn anything_else_is_no_token(#[case] body: &str, #[case] expected: InvalidToken) {
        assert_eq!(read(body), Err(expected));
    }

    #[test]
    fn an_answer_is_bounded() {
        let body = format!(r#"{{"token":"{}"}}"#, "t".repeat(LONGEST_BODY));
        assert_eq!(read(&body), Err(InvalidToken::TooLarge));
    }

    #[test]
    fn a_token_cannot_be_shown() {
        let token = token(br#"{"token":"hunter2"}"#, now()).unwrap();
        assert!(!format!("{token:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = token(&body, now());
        }

        #[test]
        fn a_token_is_always_good_for_a_while_and_never_for_long(
            seconds in any::<f64>(),
            issued in "[0-9]{4}-0[1-9]-[012][0-9]T00:00:00Z",
        ) {
            let body = serde_json::json!({ "token": "t", "expires_in": seconds, "issued_at": issued });
            if let Ok((_, life)) = read(&body.to_string()) {
                prop_assert!((1..=86400).contains(&life), "{}", life);
            }
        }
    }
}
