//! What does a failed handshake mean for people? Never in the words of the other side: a
//! certificate may hold any text.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// The failure in words that say what to look at.
pub(super) fn words(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(invalid) => certificate(invalid),
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::PeerIncompatible(incompatible) => match incompatible {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension => OLD,
            _ => NOTHING_IN_COMMON,
        },
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "the server does not speak TLS on this port"
        }
        Error::NoCertificatesPresented => "the server shows no certificate",
        _ => "the handshake failed",
    }
}

/// The alert that a text is about. HTTP/2 keeps only the text of an error that ended its connection,
/// and with TLS 1.3 a client learns there, behind the handshake, that its certificate is refused
/// (RFC 8446 section 2).
pub(super) fn alert(text: &str) -> Option<Error> {
    let mut known = (0..=u8::MAX).map(|code| Error::AlertReceived(code.into()));
    known.find(|alert| alert.to_string() == text)
}

const OLD: &str = "the server offers no TLS version from 1.2 on";
const NOTHING_IN_COMMON: &str = "the server and we have no cipher or parameter in common";

fn certificate(invalid: &CertificateError) -> &'static str {
    match invalid {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by an unknown issuer (certSecretRef can name its CA)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name (its subject alternative names count)"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not meant for servers"
        }
        CertificateError::Revoked => "the server's certificate was revoked",
        CertificateError::BadSignature => {
            "the server's certificate is signed by another CA of the same name (certSecretRef has an old one?)"
        }
        CertificateError::Other(other) => match other.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "the server's certificate is a CA certificate, where one for a server is needed"
            }
            _ => UNUSABLE,
        },
        _ => UNUSABLE,
    }
}

const UNUSABLE: &str = "the server's certificate cannot be used";

fn alert_words(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server requires a client certificate (tls.crt and tls.key of certSecretRef)"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the server refuses our client certificate, or misses one (tls.crt and tls.key of certSecretRef)"
        }
        AlertDescription::ProtocolVersion => OLD,
        AlertDescription::HandshakeFailure => {
            "the server ended the handshake: nothing in common, or it requires a client certificate"
        }
        AlertDescription::UnrecognisedName => "the server has no certificate for this name",
        _ => "the server ended the handshake",
    }
}
