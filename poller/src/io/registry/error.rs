//! How a conversation with a registry can fail, and what each failure is for people. Nothing of an
//! answer but its status ends up in a message.

use std::error::Error;

use http::StatusCode;
use werf_shared::poll_failure::Reason;

use super::Denied;
use crate::decide::certificates::UnusableCertificates;
use crate::decide::failure::PollFailure;
use crate::decide::link::RefusedLink;
use crate::decide::network::AddressNotAllowed;
use crate::decide::page::InvalidPage;
use crate::decide::watched::SecretKey;
use crate::io::secrets::SecretError;

mod tls;

/// A registry could not be asked, or gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Client {
        /// What it said.
        source: reqwest::Error,
    },
    /// There is nobody to trust, or no way to.
    #[error("cannot set up TLS")]
    Authorities {
        /// What was said.
        source: rustls::Error,
    },
    /// The Secret of `certSecretRef` cannot be read.
    #[error("Secret '{}' in namespace '{}' cannot be used for TLS", .secret.name, .secret.namespace)]
    NoCertificates {
        /// Which Secret.
        secret: SecretKey,
        /// Why not.
        source: SecretError,
    },
    /// The Secret of `certSecretRef` is no use.
    #[error("Secret '{}' in namespace '{}' cannot be used for TLS", .secret.name, .secret.namespace)]
    Certificates {
        /// Which Secret.
        secret: SecretKey,
        /// Why not.
        source: UnusableCertificates,
    },
    /// The registry is where it must not be.
    #[error("{AddressNotAllowed}")]
    AddressNotAllowed,
    /// The answer is a way to somewhere else.
    #[error("the registry answered with a redirect: {status}")]
    Redirect {
        /// The status.
        status: StatusCode,
        /// Where it leads, as far as that can be shown.
        host: Option<String>,
    },
    /// The body is compressed as nobody asked for.
    #[error("the answer has an encoding nobody asked for")]
    Encoded,
    /// It does not let us in.
    #[error("not let in")]
    Denied {
        /// Why not.
        #[from]
        source: Denied,
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
    /// Too many bytes in one page.
    #[error("a page of the tag list is larger than {limit} bytes")]
    PageTooLarge {
        /// How many are read.
        limit: usize,
    },
    /// Too many bytes in all pages together.
    #[error("the tag list is larger than {limit} bytes")]
    ListTooLarge {
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
        let as_it_says = |reason: Reason| PollFailure::new(reason, self.to_string());
        match self {
            Self::Deadline => PollFailure::timeout(),
            Self::Status { status } => PollFailure::of_status(*status),
            Self::Redirect { status, host } => redirect(*status, host.as_deref()),
            Self::Transport { source } | Self::Client { source } => transport(source),
            Self::Authorities { .. } => as_it_says(Reason::TlsFailed),
            Self::NoCertificates { source, .. } => {
                let reason = match source {
                    SecretError::NotFound => Reason::CertificateSecretNotFound,
                    SecretError::Forbidden | SecretError::Unreachable => Reason::SecretUnreadable,
                };
                PollFailure::new(reason, format!("{self}: it {source}"))
            }
            Self::Certificates { source, .. } => PollFailure::new(
                Reason::CertificateSecretInvalid,
                format!("{self}: {source}"),
            ),
            Self::AddressNotAllowed => as_it_says(Reason::AddressNotAllowed),
            Self::Encoded => as_it_says(Reason::InvalidAnswer),
            Self::Denied { source } => source.failure(),
            Self::InsecureRefused => as_it_says(Reason::InsecureNotAllowed),
            Self::Page { source } => PollFailure::new(reason_of_page(*source), source.to_string()),
            Self::Link { source } => PollFailure::new(reason_of_link(source), source.to_string()),
            Self::UnreadableLink => as_it_says(Reason::PaginationLinkRejected),
            Self::TooManyPages { .. } | Self::PageTooLarge { .. } | Self::ListTooLarge { .. } => {
                as_it_says(Reason::TagListTooLarge)
            }
            Self::TooLarge { .. } | Self::OtherDigest => as_it_says(Reason::ManifestInvalid),
            Self::Url { .. } => as_it_says(Reason::InvalidSpec),
        }
    }
}

const fn reason_of_page(invalid: InvalidPage) -> Reason {
    match invalid {
        InvalidPage::NotATagList | InvalidPage::OtherRepository => Reason::TagListInvalid,
        InvalidPage::TooManyTags(_) => Reason::TagListTooLarge,
    }
}

const fn reason_of_link(refused: &RefusedLink) -> Reason {
    match refused {
        RefusedLink::Circle => Reason::PaginationLoop,
        RefusedLink::Malformed | RefusedLink::TooLong | RefusedLink::Elsewhere => {
            Reason::PaginationLinkRejected
        }
    }
}

fn redirect(status: StatusCode, host: Option<&str>) -> PollFailure {
    let mut failure = PollFailure::of_status(status);
    if let Some(host) = host {
        failure.what = format!("{}, this one leads to {host}", failure.what);
    }
    failure
}

fn transport(error: &reqwest::Error) -> PollFailure {
    if error.is_timeout() {
        return PollFailure::timeout();
    }
    if chain(error).any(<dyn Error>::is::<AddressNotAllowed>) {
        let what = AddressNotAllowed.to_string();
        return PollFailure::new(Reason::AddressNotAllowed, what);
    }
    if let Some(words) = tls_words(error) {
        return PollFailure::new(Reason::TlsFailed, format!("TLS failed: {words}"));
    }
    if error.is_decode() && is_garbled(error) {
        return PollFailure::new(Reason::InvalidAnswer, "the answer cannot be decompressed");
    }
    let why = why(error);
    let what = if error.is_connect() {
        format!("cannot connect: {why}")
    } else {
        format!("the connection broke: {why}")
    };
    PollFailure::new(Reason::RegistryUnreachable, what)
}

/// In the words of what is on this side. Of an HTTP/2 error only its code is told, because the other
/// side may add any text to it (RFC 9113 section 6.8).
fn why(error: &reqwest::Error) -> String {
    let http2 = chain(error).find_map(|cause| cause.downcast_ref::<h2::Error>());
    match http2.and_then(h2::Error::reason) {
        Some(reason) => format!("HTTP/2 error: {reason}"),
        None => root(error).to_string(),
    }
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

fn tls_words(error: &reqwest::Error) -> Option<&'static str> {
    let found = chain(error).find_map(|cause| cause.downcast_ref());
    match found {
        Some(error) => Some(tls::words(error)),
        None => tls::alert(&root(error).to_string()).map(|alert| tls::words(&alert)),
    }
}

/// A body that arrived but does not decompress; one that did not arrive is another matter.
fn is_garbled(error: &reqwest::Error) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What becomes of a request to a server that answers with these bytes and hangs up.
    async fn failure(scheme: &str, answer: &[u8]) -> PollFailure {
        failure_of(reqwest::Client::builder(), scheme, answer).await
    }

    async fn failure_of(
        client: reqwest::ClientBuilder,
        scheme: &str,
        answer: &[u8],
    ) -> PollFailure {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = client.build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            // To hang up with something unread is a reset, which may overtake the answer.
            let _read = stream.read_to_end(&mut Vec::new()).await;
        };
        let ask = async move {
            let response = client.get(url).send().await?;
            response.bytes().await
        };
        let (asked, ()) = tokio::join!(ask, serve);
        let source = asked.unwrap_err();
        RegistryError::Transport { source }.failure()
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_a_tls_failure() {
        let failure = failure("https", b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert_eq!(failure.reason, Reason::TlsFailed, "{failure}");
        assert!(failure.what.starts_with("TLS failed: "), "{failure}");
    }

    #[tokio::test]
    async fn of_an_http_2_error_only_the_code_is_told() {
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let goaway = b"\0\0\x0f\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0bhunter2";
        let client = reqwest::Client::builder().http2_prior_knowledge();
        let failure = failure_of(client, "http", &[&settings[..], goaway].concat()).await;
        assert_eq!(failure.reason, Reason::RegistryUnreachable, "{failure}");
        assert!(failure.what.contains("HTTP/2 error"), "{failure}");
        assert!(!failure.what.contains("hunter2"), "{failure}");
    }

    #[rstest::rstest]
    #[case::in_the_body(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"tags\":")]
    #[case::before_the_head(b"")]
    #[tokio::test]
    async fn a_connection_that_breaks_is_a_network_failure(#[case] answer: &'static [u8]) {
        let failure = failure("http", answer).await;
        assert_eq!(failure.reason, Reason::RegistryUnreachable, "{failure}");
        assert!(
            failure.what.starts_with("the connection broke: "),
            "{failure}"
        );
    }
}
