//! Why can a poll fail? One closed list for both services: the poller finds the reason, the executor
//! writes it into the condition `RegistryAvailable`. Reasons are part of the API: people alert on
//! them, so a name never changes its meaning.

use std::fmt;

use werf_proto::v1alpha1::poll_failed::Reason as Wire;

/// Kinds of failed polls: what a person can do about it is the same for all reasons of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The registry does not let us in, or we have nothing to show it.
    Authentication,
    /// There is no such repository.
    NotFound,
    /// We are asked to slow down.
    Throttled,
    /// There is no connection, or it broke.
    Network,
    /// There was no answer in time.
    Timeout,
    /// Certificate or protocol were refused, by them or by us.
    Tls,
    /// The answer makes no sense, or is a server error.
    InvalidAnswer,
}

/// Why a poll failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 401 or 403 to whatever we have to show.
    AuthenticationFailed,
    /// A Secret that `secretRef` names does not exist.
    RegistrySecretNotFound,
    /// It cannot be used: another type, no JSON, nothing for this registry.
    RegistrySecretInvalid,
    /// A Secret that the bundle names could not be read just now.
    SecretUnreadable,
    /// `WWW-Authenticate` asks for something that is not understood.
    AuthChallengeInvalid,
    /// Tokens are given out somewhere credentials must not go.
    AuthRealmRejected,
    /// The token server answers with no usable token.
    AuthTokenInvalid,
    /// 404.
    RepositoryNotFound,
    /// 429.
    RateLimited,
    /// No connection, or one that broke.
    RegistryUnreachable,
    /// The registry is in a network that nobody allowed.
    AddressNotAllowed,
    /// No answer in time.
    RegistryTimeout,
    /// The handshake failed.
    TlsFailed,
    /// A Secret that `certSecretRef` names does not exist.
    CertificateSecretNotFound,
    /// It holds no usable certificate.
    CertificateSecretInvalid,
    /// Plain HTTP was not allowed by the operator.
    InsecureNotAllowed,
    /// A server error, or any other status that is no answer.
    InvalidAnswer,
    /// The answer is no tag list of this repository.
    TagListInvalid,
    /// The tag list exceeds a limit.
    TagListTooLarge,
    /// The pages lead in a circle, or go on without end.
    PaginationLoop,
    /// The next page is elsewhere.
    PaginationLinkRejected,
    /// The registry sends us to another place.
    RedirectRejected,
    /// The answer is no manifest, or not the one its digest names.
    ManifestInvalid,
    /// The spec holds what no poll can work with, although the schema should have refused it.
    InvalidSpec,
}

impl Class {
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

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 24] = [
        Self::AuthenticationFailed,
        Self::RegistrySecretNotFound,
        Self::RegistrySecretInvalid,
        Self::SecretUnreadable,
        Self::AuthChallengeInvalid,
        Self::AuthRealmRejected,
        Self::AuthTokenInvalid,
        Self::RepositoryNotFound,
        Self::RateLimited,
        Self::RegistryUnreachable,
        Self::AddressNotAllowed,
        Self::RegistryTimeout,
        Self::TlsFailed,
        Self::CertificateSecretNotFound,
        Self::CertificateSecretInvalid,
        Self::InsecureNotAllowed,
        Self::InvalidAnswer,
        Self::TagListInvalid,
        Self::TagListTooLarge,
        Self::PaginationLoop,
        Self::PaginationLinkRejected,
        Self::RedirectRejected,
        Self::ManifestInvalid,
        Self::InvalidSpec,
    ];

    /// The condition reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::RegistrySecretNotFound => "RegistrySecretNotFound",
            Self::RegistrySecretInvalid => "RegistrySecretInvalid",
            Self::SecretUnreadable => "SecretUnreadable",
            Self::AuthChallengeInvalid => "AuthChallengeInvalid",
            Self::AuthRealmRejected => "AuthRealmRejected",
            Self::AuthTokenInvalid => "AuthTokenInvalid",
            Self::RepositoryNotFound => "RepositoryNotFound",
            Self::RateLimited => "RateLimited",
            Self::RegistryUnreachable => "RegistryUnreachable",
            Self::AddressNotAllowed => "AddressNotAllowed",
            Self::RegistryTimeout => "RegistryTimeout",
            Self::TlsFailed => "TLSFailed",
            Self::CertificateSecretNotFound => "CertificateSecretNotFound",
            Self::CertificateSecretInvalid => "CertificateSecretInvalid",
            Self::InsecureNotAllowed => "InsecureNotAllowed",
            Self::InvalidAnswer => "InvalidAnswer",
            Self::TagListInvalid => "TagListInvalid",
            Self::TagListTooLarge => "TagListTooLarge",
            Self::PaginationLoop => "PaginationLoop",
            Self::PaginationLinkRejected => "PaginationLinkRejected",
            Self::RedirectRejected => "RedirectRejected",
            Self::ManifestInvalid => "ManifestInvalid",
            Self::InvalidSpec => "InvalidSpec",
        }
    }

    /// The kind of failure it is.
    pub const fn class(self) -> Class {
        match self {
            Self::AuthenticationFailed
            | Self::RegistrySecretNotFound
            | Self::RegistrySecretInvalid
            | Self::SecretUnreadable
            | Self::AuthChallengeInvalid
            | Self::AuthRealmRejected
            | Self::AuthTokenInvalid => Class::Authentication,
            Self::RepositoryNotFound => Class::NotFound,
            Self::RateLimited => Class::Throttled,
            Self::RegistryUnreachable | Self::AddressNotAllowed => Class::Network,
            Self::RegistryTimeout => Class::Timeout,
            Self::TlsFailed
            | Self::CertificateSecretNotFound
            | Self::CertificateSecretInvalid
            | Self::InsecureNotAllowed => Class::Tls,
            Self::InvalidAnswer
            | Self::TagListInvalid
            | Self::TagListTooLarge
            | Self::PaginationLoop
            | Self::PaginationLinkRejected
            | Self::RedirectRejected
            | Self::ManifestInvalid
            | Self::InvalidSpec => Class::InvalidAnswer,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl From<Reason> for Wire {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::AuthenticationFailed => Self::AuthenticationFailed,
            Reason::RegistrySecretNotFound => Self::RegistrySecretNotFound,
            Reason::RegistrySecretInvalid => Self::RegistrySecretInvalid,
            Reason::SecretUnreadable => Self::SecretUnreadable,
            Reason::AuthChallengeInvalid => Self::AuthChallengeInvalid,
            Reason::AuthRealmRejected => Self::AuthRealmRejected,
            Reason::AuthTokenInvalid => Self::AuthTokenInvalid,
            Reason::RepositoryNotFound => Self::RepositoryNotFound,
            Reason::RateLimited => Self::RateLimited,
            Reason::RegistryUnreachable => Self::RegistryUnreachable,
            Reason::AddressNotAllowed => Self::AddressNotAllowed,
            Reason::RegistryTimeout => Self::RegistryTimeout,
            Reason::TlsFailed => Self::TlsFailed,
            Reason::CertificateSecretNotFound => Self::CertificateSecretNotFound,
            Reason::CertificateSecretInvalid => Self::CertificateSecretInvalid,
            Reason::InsecureNotAllowed => Self::InsecureNotAllowed,
            Reason::InvalidAnswer => Self::InvalidAnswer,
            Reason::TagListInvalid => Self::TagListInvalid,
            Reason::TagListTooLarge => Self::TagListTooLarge,
            Reason::PaginationLoop => Self::PaginationLoop,
            Reason::PaginationLinkRejected => Self::PaginationLinkRejected,
            Reason::RedirectRejected => Self::RedirectRejected,
            Reason::ManifestInvalid => Self::ManifestInvalid,
            Reason::InvalidSpec => Self::InvalidSpec,
        }
    }
}

/// The reason a report names; none when it names none, or one of a newer poller.
pub fn from_wire(wire: i32) -> Option<Reason> {
    let wire = Wire::try_from(wire).ok()?;
    Reason::ALL
        .into_iter()
        .find(|reason| Wire::from(*reason) == wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in Reason::ALL {
            assert_eq!(from_wire(Wire::from(reason).into()), Some(reason));
        }
        assert_eq!(from_wire(Wire::Unspecified.into()), None);
        assert_eq!(from_wire(4711), None);
    }

    /// The name on the wire and the name in conditions are the same words.
    #[test]
    fn both_names_say_the_same() {
        for reason in Reason::ALL {
            let wire = Wire::from(reason).as_str_name();
            let words = wire.strip_prefix("REASON_").unwrap().replace('_', "");
            assert_eq!(words, reason.as_str().to_uppercase());
        }
    }

    #[test]
    fn every_class_has_a_reason() {
        for class in Class::ALL {
            assert!(Reason::ALL.iter().any(|reason| reason.class() == class));
        }
    }
}
