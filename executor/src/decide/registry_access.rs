//! What does a Job show the registry, and whom does it take for the registry? A docker config with one
//! login, the one for the bundle's repository, and certificate authorities. Whatever else the Secrets
//! hold stays where it is: the Job may run in another namespace.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use werf_shared::docker_hub::is_docker_hub;
use werf_shared::poll_failure::Reason;
use werf_shared::registry_credentials::{Login, NoCredentials, credentials};
use werf_shared::registry_secret::Secret;
use werf_shared::repository::Repository;

use super::mask::Masks;

const AUTHORITIES: &str = "ca.crt";
const CLIENT_CERTIFICATE: &str = "tls.crt";

/// Where docker clients keep their login to Docker Hub, whatever they call it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The longest line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// How a Job accesses its registry. The default is as everybody may.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    docker_config: Option<SecretString>,
    certificates: Option<String>,
    client_certificate_unused: bool,
}

/// A Secret of the registry's that cannot be used, in the words of the poller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Secret '{name}' in namespace '{namespace}' cannot be used for {host}: it {problem}")]
pub struct Unusable {
    name: String,
    namespace: String,
    host: String,
    problem: Problem,
}

/// Why a Secret cannot be used; never any of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such Secret for the login.
    #[error("does not exist")]
    NoSecret,
    /// It has no login for the registry.
    #[error(transparent)]
    NoLogin(NoCredentials),
    /// There is no such Secret for the certificates.
    #[error("does not exist")]
    NoCertificateSecret,
    /// It has nothing to check the registry's certificate with.
    #[error("has no certificate in PEM under ca.crt")]
    NoCertificate,
}

/// The docker config as werf reads it; see docker's `config.json`.
#[derive(Default, Deserialize, Serialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty", default)]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    registrytoken: String,
}

impl Unusable {
    /// The reason of the condition; the poller says the same of the same Secret.
    pub const fn reason(&self) -> Reason {
        match &self.problem {
            Problem::NoSecret => Reason::RegistrySecretNotFound,
            Problem::NoLogin(_) => Reason::RegistrySecretInvalid,
            Problem::NoCertificateSecret => Reason::CertificateSecretNotFound,
            Problem::NoCertificate => Reason::CertificateSecretInvalid,
        }
    }
}

/// A Secret that a bundle names, and what was found under that name.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The bundle's namespace.
    pub namespace: String,
    /// What is there, if anything is.
    pub found: Option<Secret>,
}

impl RegistryAccess {
    /// Access to a repository with the Secrets that the bundle names for it.
    pub fn of(
        repository: &Repository,
        login: Option<Named>,
        certificates: Option<Named>,
    ) -> Result<Self, Unusable> {
        let mut access = Self::default();
        if let Some(named) = login {
            let config = docker_config(repository, &named);
            access.docker_config =
                Some(config.map_err(|problem| named.unusable(repository, problem))?);
        }
        if let Some(named) = certificates {
            let authorities = authorities(&named);
            access.certificates =
                authorities.map_err(|problem| named.unusable(repository, problem))?;
            access.client_certificate_unused = named.has(CLIENT_CERTIFICATE);
        }
        Ok(access)
    }

    /// A docker config with one login, if the registry asks for one.
    pub fn docker_config(&self) -> Option<&str> {
        self.docker_config
            .as_ref()
            .map(ExposeSecret::<str>::expose_secret)
    }

    /// Certificate authorities in PEM, if the registry has its own.
    pub fn certificates(&self) -> Option<&str> {
        self.certificates.as_deref()
    }

    /// There is a client certificate, too, and werf has no way to present one.
    pub const fn client_certificate_unused(&self) -> bool {
        self.client_certificate_unused
    }
}

impl Named {
    fn unusable(&self, repository: &Repository, problem: Problem) -> Unusable {
        Unusable {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            host: repository.host().to_owned(),
            problem,
        }
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        self.found.as_ref()?.get(key)
    }
}

fn docker_config(repository: &Repository, named: &Named) -> Result<SecretString, Problem> {
    let secret = named.found.as_ref().ok_or(Problem::NoSecret)?;
    let found = credentials(secret, repository).map_err(Problem::NoLogin)?;
    let entry = Entry::of(&found.login);
    let mut config = DockerConfig::default();
    if is_docker_hub(repository.host()) {
        config.auths.insert(DOCKER_HUB.to_owned(), entry.clone());
    }
    config.auths.insert(repository.host().to_owned(), entry);
    // Nothing in it can fail to be JSON.
    Ok(serde_json::to_string(&config).unwrap_or_default().into())
}

impl Entry {
    fn of(login: &Login) -> Self {
        let mut entry = Self::default();
        match login {
            Login::Password { user, password } => {
                let (user, password) = (user.expose_secret(), password.expose_secret());
                entry.auth = BASE64.encode(format!("{user}:{password}"));
            }
            Login::Refresh(token) => token.expose_secret().clone_into(&mut entry.identitytoken),
            Login::Bearer(token) => token.expose_secret().clone_into(&mut entry.registrytoken),
        }
        entry
    }
}

/// The certificates under `ca.crt`, and nothing that may stand between them.
fn authorities(named: &Named) -> Result<Option<String>, Problem> {
    if named.found.is_none() {
        return Err(Problem::NoCertificateSecret);
    }
    let Some(text) = named.get(AUTHORITIES) else {
        // A client certificate alone goes with public authorities.
        let alone = named.has(CLIENT_CERTIFICATE);
        return alone.then_some(None).ok_or(Problem::NoCertificate);
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(Some(found.iter().map(|one| pem(one)).collect())),
        _ => Err(Problem::NoCertificate),
    }
}

fn pem(certificate: &[u8]) -> String {
    let text = BASE64.encode(certificate);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(PEM_LINE) {
        let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Everything in a Job's docker config that must not be shown; `None` if it is not one of ours.
pub fn secret_texts(docker_config: &[u8]) -> Option<Masks> {
    let config: DockerConfig = serde_json::from_slice(docker_config).ok()?;
    let mut masks = Masks::default();
    for entry in config.auths.values() {
        for text in [&entry.auth, &entry.identitytoken, &entry.registrytoken] {
            masks.add(text);
        }
        let pair = BASE64.decode(&entry.auth).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        // The user may hold no colon (RFC 7617 section 2). Whoever prints the pair prints the password.
        if let Some((_, password)) = pair.split_once(':') {
            masks.add(password);
        }
    }
    Some(masks)
}

#[cfg(test)]
mod tests;
