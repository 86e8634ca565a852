//! What failed, and what do people read? A failed poll in the words the guides use, without any part
//! of a registry's answer but its status.

use std::fmt;

use http::StatusCode;
use werf_shared::poll_failure::{Class, Reason};
use werf_shared::repository::Repository;

/// A failed poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PollFailure {
    /// Why it failed.
    pub reason: Reason,
    /// What happened, in a few words.
    pub what: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
}

impl PollFailure {
    /// A failure without an HTTP status.
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            reason,
            what: what.into(),
            status: None,
        }
    }

    /// Its kind.
    pub const fn class(&self) -> Class {
        self.reason.class()
    }

    /// A status that is no success.
    pub fn of_status(status: StatusCode) -> Self {
        let reason = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::AuthenticationFailed,
            StatusCode::NOT_FOUND => Reason::RepositoryNotFound,
            StatusCode::TOO_MANY_REQUESTS => Reason::RateLimited,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Reason::RegistryTimeout,
            // It is no redirect, and no answer to a request without a condition.
            StatusCode::NOT_MODIFIED => Reason::InvalidAnswer,
            _ if status.is_redirection() => Reason::RedirectRejected,
            _ => Reason::InvalidAnswer,
        };
        let mut what = status.as_str().to_owned();
        if let Some(words) = status.canonical_reason() {
            what.push(' ');
            what.push_str(&words.to_lowercase());
        }
        if reason == Reason::RedirectRejected {
            what.push_str(" (redirects are not followed)");
        }
        Self {
            status: Some(status.as_u16()),
            ..Self::new(reason, what)
        }
    }

    /// No answer in time, as the guides have it.
    pub fn timeout() -> Self {
        Self::new(Reason::RegistryTimeout, "context deadline exceeded")
    }

    /// The message people search for.
    pub fn message(&self, repository: &Repository) -> String {
        format!("error polling registry: {repository}: {}", self.what)
    }
}

/// The name of a host as it can be shown to people, although somebody else chose it.
pub fn host_in_words(host: &str) -> Option<String> {
    const LIMIT: usize = 80;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
    let can_be_shown = host.len() <= LIMIT && host.bytes().all(plain);
    can_be_shown.then(|| host.to_owned())
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
    #[case(401, Reason::AuthenticationFailed, "401 unauthorized")]
    #[case(403, Reason::AuthenticationFailed, "403 forbidden")]
    #[case(404, Reason::RepositoryNotFound, "404 not found")]
    #[case(429, Reason::RateLimited, "429 too many requests")]
    #[case(304, Reason::InvalidAnswer, "304 not modified")]
    #[case(500, Reason::InvalidAnswer, "500 internal server error")]
    #[case(504, Reason::RegistryTimeout, "504 gateway timeout")]
    #[case(
        307,
        Reason::RedirectRejected,
        "307 temporary redirect (redirects are not followed)"
    )]
    #[case(599, Reason::InvalidAnswer, "599")]
    fn a_status_is_told_in_the_words_of_the_guides(
        #[case] status: u16,
        #[case] reason: Reason,
        #[case] words: &str,
    ) {
        let failure = PollFailure::of_status(StatusCode::from_u16(status).unwrap());
        assert_eq!(failure.reason, reason);
        let repository = "ghcr.io/org/app".parse().unwrap();
        let message = format!("error polling registry: ghcr.io/org/app: {words}");
        assert_eq!(failure.message(&repository), message);
    }

    #[test]
    fn a_host_is_shown_when_it_is_one() {
        for host in ["cdn.example.com", "10.0.0.1", "[2001:db8::1]"] {
            assert_eq!(host_in_words(host).as_deref(), Some(host));
        }
        for text in ["a b", "\u{1b}[31m", "<b>", "a\nb", &"a".repeat(81)] {
            assert_eq!(host_in_words(text), None);
        }
    }
}
