//! How a conversation with a registry can fail, and what each failure is for people. Nothing of an
//! answer but its status ends up in a message.

use std::error::Error;

use http::StatusCode;

use crate::decide::failure::{FailureClass, PollFailure};
use crate::decide::link::RefusedLink;
use crate::decide::page::InvalidPage;

/// A registry could not be asked, or gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Client {
        /// What it said.
        source: reqwest::Error,
    },
    /// Plain HTTP is not allowed here.
    #[error(
        "insecure registries are not allowed, start the operator with --allow-insecure-registries"
    )]
    InsecureRefused,
    /// The repository makes no URL.
    #[error("the repository makes no valid URL")]
    Url {
        /// Why not.
        source: url::ParseError,
    },
    /// No connection, or one that broke.
    #[error("the request failed")]
    Transport {
        /// How.
        source: reqwest::Error,
    },
    /// It took too long altogether.
    #[error("context deadline exceeded")]
    Deadline,
    /// Another status than asked for.
    #[error("the registry answered {status}")]
    Status {
        /// Which one.
        status: StatusCode,
    },
    /// A page is no page.
    #[error("the tag list is invalid")]
    Page {
        /// Why.
        source: InvalidPage,
    },
    /// A continuation is not followed.
    #[error("the tag list continues where it must not")]
    Link {
        /// Why not.
        source: RefusedLink,
    },
    /// A Link header is not text.
    #[error("the Link header is malformed")]
    UnreadableLink,
    /// Too many pages.
    #[error("the tag list has more than {limit} pages")]
    TooManyPages {
        /// How many are read.
        limit: usize,
    },
    /// Too many bytes.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// How many are read.
        limit: usize,
    },
    /// The manifest is not the one its digest names.
    #[error("the manifest does not match its digest")]
    OtherDigest,
}

impl RegistryError {
    /// The failure as people see it.
    pub fn failure(&self) -> PollFailure {
        let invalid = |what: String| PollFailure::new(FailureClass::InvalidAnswer, what);
        match self {
            Self::Deadline => PollFailure::timeout(),
            Self::Status { status } => PollFailure::of_status(*status),
            Self::Transport { source } | Self::Client { source } => transport(source),
            Self::InsecureRefused => PollFailure::new(FailureClass::Tls, self.to_string()),
            Self::Page { source } => invalid(source.to_string()),
            Self::Link { source } => invalid(source.to_string()),
            Self::Url { .. }
            | Self::UnreadableLink
            | Self::TooManyPages { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest => invalid(self.to_string()),
        }
    }
}

fn transport(error: &reqwest::Error) -> PollFailure {
    if error.is_timeout() {
        return PollFailure::timeout();
    }
    if let Some(tls) = find_tls(error) {
        return PollFailure::new(FailureClass::Tls, format!("TLS failed: {tls}"));
    }
    if error.is_decode() && !error.is_body() && !is_io(error) {
        return PollFailure::new(FailureClass::InvalidAnswer, "the answer cannot be decoded");
    }
    let root = root(error).to_string();
    let what = if error.is_connect() {
        format!("cannot connect: {root}")
    } else {
        format!("the connection broke: {root}")
    };
    PollFailure::new(FailureClass::Network, what)
}

/// The deepest cause: the layers above it repeat the URL, which says nothing new.
fn root(error: &reqwest::Error) -> &(dyn Error + 'static) {
    chain(error).last().unwrap_or(error)
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Some(error as &(dyn Error + 'static)), |error| cause(*error))
}

/// What an error wraps; an `io::Error` does not name it as its source.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

fn find_tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn is_io(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| {
            matches!(
                io.kind(),
                std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::ConnectionAborted
                    | std::io::ErrorKind::BrokenPipe
            )
        })
    })
}
