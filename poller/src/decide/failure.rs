//! What kind of failure is it, and what do people read? A failed poll in the words the guides use,
//! without any part of a registry's answer but its status.

use std::fmt;

use http::StatusCode;
use werf_shared::repository::Repository;

/// Kinds of failed polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// 401 or 403.
    Authentication,
    /// 404.
    NotFound,
    /// 429.
    Throttled,
    /// No connection, or one that broke.
    Network,
    /// No answer in time.
    Timeout,
    /// Certificate or protocol were refused, by them or by us.
    Tls,
    /// An answer that makes no sense, or a server error.
    InvalidAnswer,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 7] = [
        Self::Authentication,
        Self::NotFound,
        Self::Throttled,
        Self::Network,
        Self::Timeout,
        Self::Tls,
        Self::InvalidAnswer,
    ];

    /// The name in log fields and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::InvalidAnswer => "invalid_answer",
        }
    }
}

/// A failed poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollFailure {
    /// Its kind.
    pub class: FailureClass,
    /// What happened, in a few words.
    pub what: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
}

impl PollFailure {
    /// A failure without an HTTP status.
    pub fn new(class: FailureClass, what: impl Into<String>) -> Self {
        Self {
            class,
            what: what.into(),
            status: None,
        }
    }

    /// A status that is no success.
    pub fn of_status(status: StatusCode) -> Self {
        let class = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureClass::Authentication,
            StatusCode::NOT_FOUND => FailureClass::NotFound,
            StatusCode::TOO_MANY_REQUESTS => FailureClass::Throttled,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => FailureClass::Timeout,
            _ => FailureClass::InvalidAnswer,
        };
        let mut what = status.as_str().to_owned();
        if let Some(words) = status.canonical_reason() {
            what.push(' ');
            what.push_str(&words.to_lowercase());
        }
        if status.is_redirection() {
            what.push_str(" (redirects are not followed)");
        }
        Self {
            class,
            what,
            status: Some(status.as_u16()),
        }
    }

    /// No answer in time, as the guides have it.
    pub fn timeout() -> Self {
        Self::new(FailureClass::Timeout, "context deadline exceeded")
    }

    /// The message people search for.
    pub fn message(&self, repository: &Repository) -> String {
        format!("error polling registry: {repository}: {}", self.what)
    }
}

impl fmt::Display for PollFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(401, FailureClass::Authentication, "401 unauthorized")]
    #[case(403, FailureClass::Authentication, "403 forbidden")]
    #[case(404, FailureClass::NotFound, "404 not found")]
    #[case(429, FailureClass::Throttled, "429 too many requests")]
    #[case(500, FailureClass::InvalidAnswer, "500 internal server error")]
    #[case(504, FailureClass::Timeout, "504 gateway timeout")]
    #[case(
        307,
        FailureClass::InvalidAnswer,
        "307 temporary redirect (redirects are not followed)"
    )]
    #[case(599, FailureClass::InvalidAnswer, "599")]
    fn a_status_is_told_in_the_words_of_the_guides(
        #[case] status: u16,
        #[case] class: FailureClass,
        #[case] words: &str,
    ) {
        let failure = PollFailure::of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(failure.class, class);
        let repository = "ghcr.io/org/app".parse().unwrap();
        let message = format!("error polling registry: ghcr.io/org/app: {words}");
        assert_eq!(failure.message(&repository), message);
    }
}
