//! Whom does a bundle's `certSecretRef` make us trust, and as whom do we introduce ourselves? PEM
//! becomes certificates here, or the reason why not, which names the key of the Secret and never
//! what it holds. A CA of its own is the only one trusted then: whoever names one knows who signed
//! the registry's certificate, and does not want to trust a hundred others as well.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

/// The CA certificates to trust.
const CA: &str = "ca.crt";
/// Our certificate, and those between it and its CA.
const CERTIFICATE: &str = "tls.crt";
/// Its private key.
const KEY: &str = "tls.key";

/// What such a Secret holds, as it was read.
#[derive(Clone)]
pub struct Material {
    authorities: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

/// Stands for a material; another one has another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// Whom to trust, and who we are.
#[derive(Clone, Default)]
pub struct Trust {
    /// The only authorities to trust; the public ones when there are none.
    pub authorities: Option<Arc<RootCertStore>>,
    /// Our own certificate with its key, for registries that ask for one.
    pub identity: Option<Arc<CertifiedKey>>,
}

/// A Secret that makes no trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableCertificates {
    /// None of the keys is there.
    #[error("it has none of the keys ca.crt, tls.crt and tls.key")]
    Nothing,
    /// Half of an identity.
    #[error("it has the key {there} without {missing}")]
    Half {
        /// The half that is there.
        there: &'static str,
        /// The other one.
        missing: &'static str,
    },
    /// Something in it begins like PEM and is not.
    #[error("{key} is not valid PEM")]
    NotPem {
        /// Where.
        key: &'static str,
    },
    /// There is no certificate where one should be.
    #[error("{key} holds no certificate in PEM")]
    NoCertificate {
        /// Where.
        key: &'static str,
    },
    /// PEM with something else than a certificate in it.
    #[error("{key} holds a certificate that cannot be read")]
    BrokenCertificate {
        /// Where.
        key: &'static str,
    },
    /// There is no private key where one should be.
    #[error("tls.key holds no private key in PEM, or an encrypted one")]
    NoPrivateKey,
    /// A private key nobody can use.
    #[error("tls.key holds a private key of an unknown kind, or a broken one")]
    UnusableKey,
    /// The key is another certificate's.
    #[error("the private key in tls.key does not belong to the first certificate in tls.crt")]
    Mismatch,
}

impl Material {
    /// What the Secret holds of it; `value` gives the value of a key.
    pub fn of<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let owned = |key| value(key).map(<[u8]>::to_vec);
        Self {
            authorities: owned(CA),
            certificate: owned(CERTIFICATE),
            key: owned(KEY),
        }
    }

    /// What to recognise it by, without keeping it.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for value in [&self.authorities, &self.certificate, &self.key] {
            // Lengths part the values, so that none can pose as the end of another.
            let length = value.as_ref().map_or(u64::MAX, |value| value.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(value.as_deref().unwrap_or_default());
        }
        Fingerprint(hash.finalize().into())
    }

    /// The trust it makes, with the cryptography of `provider`.
    pub fn trust(&self, provider: &CryptoProvider) -> Result<Trust, UnusableCertificates> {
        let authorities = self.authorities.as_deref().map(authorities).transpose()?;
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(identity(certificate, key, provider)?),
            (None, None) => None,
            (Some(_), None) => return Err(half(CERTIFICATE, KEY)),
            (None, Some(_)) => return Err(half(KEY, CERTIFICATE)),
        };
        if authorities.is_none() && identity.is_none() {
            return Err(UnusableCertificates::Nothing);
        }
        Ok(Trust {
            authorities: authorities.map(Arc::new),
            identity: identity.map(Arc::new),
        })
    }
}

impl Fingerprint {
    /// To be part of a key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl Trust {
    /// The same trust for a server that is not to see who we are.
    #[must_use]
    pub fn without_identity(&self) -> Self {
        Self {
            authorities: self.authorities.clone(),
            identity: None,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities.as_ref().map(|a| a.len()))
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

const fn half(there: &'static str, missing: &'static str) -> UnusableCertificates {
    UnusableCertificates::Half { there, missing }
}

fn authorities(text: &[u8]) -> Result<RootCertStore, UnusableCertificates> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(CA, text)? {
        let added = store.add(certificate);
        added.map_err(|_| UnusableCertificates::BrokenCertificate { key: CA })?;
    }
    Ok(store)
}

fn certificates(
    key: &'static str,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, UnusableCertificates> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| UnusableCertificates::NotPem { key })?;
    if found.is_empty() {
        return Err(UnusableCertificates::NoCertificate { key });
    }
    Ok(found)
}

fn identity(
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, UnusableCertificates> {
    let chain = certificates(CERTIFICATE, chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => UnusableCertificates::NoPrivateKey,
        _ => UnusableCertificates::NotPem { key: KEY },
    })?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| UnusableCertificates::UnusableKey)?;
    let identity = CertifiedKey::new(chain, key);
    identity.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => UnusableCertificates::Mismatch,
        _ => UnusableCertificates::BrokenCertificate { key: CERTIFICATE },
    })?;
    Ok(identity)
}

#[cfg(test)]
mod tests;
