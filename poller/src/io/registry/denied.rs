//! Why one is not let in, and what people read about it. Messages name Secrets and hosts, never what
//! is in a Secret and nothing that a server said.

use http::StatusCode;
use werf_shared::poll_failure::Reason;
use werf_shared::registry_credentials::NoCredentials;

use super::RegistryError;
use crate::decide::challenge::NoChallenge;
use crate::decide::failure::PollFailure;
use crate::decide::realm::RefusedRealm;
use crate::decide::token::InvalidToken;
use crate::decide::watched::SecretKey;
use crate::io::secrets::SecretError;

/// There is nothing to log in with, or it does not help.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The Secret cannot be read.
    #[error("Secret '{}' in namespace '{}' cannot be used", key.name, key.namespace)]
    Secret {
        /// Which one.
        key: SecretKey,
        /// Why not.
        source: SecretError,
    },
    /// The Secret has nothing for this registry.
    #[error("Secret '{}' in namespace '{}' cannot be used for {host}", key.name, key.namespace)]
    Credentials {
        /// Which one.
        key: SecretKey,
        /// The registry.
        host: String,
        /// What it lacks.
        source: NoCredentials,
    },
    /// 401 to everything there is to show.
    #[error("the registry answered 401")]
    Unauthorized {
        /// The Secret that was used.
        secret: Option<SecretKey>,
        /// What is known beyond that.
        why: Option<Refusal>,
    },
    /// It asks for something that is not understood.
    #[error("the registry's challenge is invalid")]
    Challenge {
        /// Why not.
        source: NoChallenge,
    },
    /// It names a token server that is not asked.
    #[error("the registry's token server is refused")]
    Realm {
        /// Why not.
        source: RefusedRealm,
    },
    /// The token server gave no token.
    #[error("the token server {host} gave no token")]
    TokenServer {
        /// Which one.
        host: String,
        /// Why not.
        source: Box<RegistryError>,
    },
    /// What it gave is no token.
    #[error("the token is invalid")]
    Token {
        /// Why not.
        source: InvalidToken,
    },
    /// Credentials that fit into no header; they are checked where they are read.
    #[error("the credentials cannot be sent")]
    Unsendable,
}

/// Why the registry refuses what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It wants something else than Basic and Bearer.
    Unsupported,
    /// It wants a password, and there is only a token.
    NeedsPassword,
}

impl Denied {
    /// The failure as people see it.
    pub(super) fn failure(&self) -> PollFailure {
        match self {
            Self::Secret { source, .. } => {
                let reason = match source {
                    SecretError::NotFound => Reason::RegistrySecretNotFound,
                    SecretError::Forbidden | SecretError::Unreachable => Reason::SecretUnreadable,
                };
                PollFailure::new(reason, format!("{self}: it {source}"))
            }
            Self::Credentials { source, .. } => {
                let what = format!("{self}: it {source}");
                PollFailure::new(Reason::RegistrySecretInvalid, what)
            }
            Self::Unauthorized { secret, why } => unauthorized(secret.as_ref(), *why),
            Self::Challenge { source } => {
                PollFailure::new(Reason::AuthChallengeInvalid, source.to_string())
            }
            Self::Realm { source } => {
                PollFailure::new(Reason::AuthRealmRejected, source.to_string())
            }
            Self::TokenServer { host, source } => of_token_server(host, source.failure()),
            Self::Token { source } => {
                PollFailure::new(Reason::AuthTokenInvalid, source.to_string())
            }
            Self::Unsendable => PollFailure::new(Reason::RegistrySecretInvalid, self.to_string()),
        }
    }
}

fn unauthorized(secret: Option<&SecretKey>, why: Option<Refusal>) -> PollFailure {
    let mut failure = PollFailure::of_status(StatusCode::UNAUTHORIZED);
    // Without a Secret the guides' own words are all there is to say.
    if let Some(SecretKey { namespace, name }) = secret {
        let why = match why {
            None => "were refused",
            Some(Refusal::Unsupported) => {
                "cannot be used: the registry names no way to log in that is supported"
            }
            Some(Refusal::NeedsPassword) => {
                "cannot be used: the registry asks for user and password"
            }
        };
        let more =
            format!(" (the credentials of Secret '{name}' in namespace '{namespace}' {why})");
        failure.what.push_str(&more);
    }
    failure
}

/// The failure of a request to a token server, in terms of the registry that named it.
fn of_token_server(host: &str, mut failure: PollFailure) -> PollFailure {
    failure.reason = match failure.reason {
        Reason::RedirectRejected | Reason::AddressNotAllowed => Reason::AuthRealmRejected,
        Reason::RepositoryNotFound => Reason::AuthTokenInvalid,
        // Server errors pass, other statuses are answers.
        Reason::InvalidAnswer if failure.status.is_none_or(|status| status < 500) => {
            Reason::AuthTokenInvalid
        }
        same => same,
    };
    failure.what = format!("{} (token server {host})", failure.what);
    failure
}
