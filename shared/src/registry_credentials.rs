//! Which credentials of a Secret are for a repository? Looked up as Kubernetes does for images ("Using
//! a private registry", section "Interpretation of config.json"), but whole path segments only, and
//! exactly one entry: the most specific one. Programs that a configuration names (`credsStore`,
//! `credHelpers`) are never run.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::docker_hub::{ALIASES, endpoint, is_docker_hub};
use crate::registry_secret::Secret;
use crate::repository::Repository;

mod location;

use location::Location;

/// The type of Secrets with a Docker configuration, and where they hold it.
const DOCKER: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");

/// The type of Secrets with a user and a password.
const BASIC: &str = "kubernetes.io/basic-auth";

/// `auth` is written with padding by docker and without it by others.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is used for a repository.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who to be.
    pub login: Login,
    identity: Identity,
    /// Other hosts the Secret has exactly these credentials for.
    others: Vec<String>,
}

/// Ways to say who one is.
#[derive(Clone, Debug)]
pub enum Login {
    /// A user's name and password.
    Password {
        /// The name; without a colon.
        user: SecretString,
        /// The password.
        password: SecretString,
    },
    /// An `OAuth2` refresh token, good at token servers only.
    Refresh(SecretString),
    /// A bearer token for the registry.
    Bearer(SecretString),
}

/// Stands for credentials where they are compared, as in the keys of caches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 32]);

/// Why a Secret has nothing to log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCredentials {
    /// Another type of Secret.
    #[error("is neither of type kubernetes.io/dockerconfigjson nor kubernetes.io/basic-auth")]
    OtherType,
    /// It lacks what its type demands.
    #[error("has no {0}")]
    Missing(&'static str),
    /// It is not what its type promises.
    #[error("has a .dockerconfigjson that is not a Docker configuration")]
    NotAConfiguration,
    /// A user or password no registry can be told.
    #[error("has a user or password with characters that cannot be sent, such as a line end")]
    Unsendable,
    /// The entry's `auth` is not what docker writes.
    #[error("has an entry for the registry whose auth is not user:password in base64")]
    MalformedAuth,
    /// The entry has no credentials.
    #[error(
        "has an entry for the registry without credentials (credsStore and credHelpers are not used)"
    )]
    Hollow,
    /// No entry fits.
    #[error("has no entry for the registry")]
    NoEntry,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The credentials that a Secret has for a repository.
///
/// A user and password alone are for whatever registry the bundle names; a Docker configuration says
/// itself what its entries are for.
pub fn credentials(secret: &Secret, repository: &Repository) -> Result<Credentials, NoCredentials> {
    if secret.kind() == BASIC {
        let text = |key: &'static str| {
            let value = secret.get(key).ok_or(NoCredentials::Missing(key))?;
            std::str::from_utf8(value).map_err(|_| NoCredentials::Unsendable)
        };
        let login = Login::password(text("username")?, text("password")?)?;
        return Ok(Credentials::new(login, Vec::new()));
    }
    if secret.kind() != DOCKER.0 {
        return Err(NoCredentials::OtherType);
    }
    let json = secret
        .get(DOCKER.1)
        .ok_or(NoCredentials::Missing(DOCKER.1))?;
    let configuration: Map<String, Value> =
        serde_json::from_slice(json).map_err(|_| NoCredentials::NotAConfiguration)?;
    match configuration.get("auths") {
        Some(Value::Object(entries)) => choose(entries, repository),
        None | Some(Value::Null) => Err(NoCredentials::NoEntry),
        Some(_) => Err(NoCredentials::NotAConfiguration),
    }
}

/// The URL is at this host, where `host` may leave out the port of https.
pub fn is_at(url: &Url, host: &str) -> bool {
    format!("https://{host}/")
        .parse::<Url>()
        .is_ok_and(|there| there.origin() == url.origin())
}

fn choose(
    entries: &Map<String, Value>,
    repository: &Repository,
) -> Result<Credentials, NoCredentials> {
    let endpoint = endpoint(repository);
    let written = [repository.host()];
    let hosts = if is_docker_hub(repository.host()) {
        &ALIASES[..]
    } else {
        &written
    };
    let fitting = entries.iter().filter_map(|(key, value)| {
        let location = Location::of(key)?;
        let fits = location.fits(hosts, &endpoint.path);
        fits.then(|| (location.precedence(), key, value))
    });
    let (_, _, chosen) = fitting
        .max_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)))
        .ok_or(NoCredentials::NoEntry)?;
    let login = read(chosen)?;
    let identity = login.identity();
    let others = entries.iter().filter_map(|(key, value)| {
        let host = Location::of(key)?.whole_host()?.to_owned();
        let same = read(value).is_ok_and(|login| login.identity() == identity);
        same.then_some(host)
    });
    let others = others.collect();
    Ok(Credentials::new(login, others))
}

fn read(entry: &Value) -> Result<Login, NoCredentials> {
    // Serde would read an array as a struct, too.
    let entry = Some(entry).filter(|entry| entry.is_object());
    let entry = entry.and_then(|entry| Entry::deserialize(entry).ok());
    let entry = entry.ok_or(NoCredentials::NotAConfiguration)?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = given(entry.registrytoken) {
        return sendable(&token)
            .then(|| Login::Bearer(token.into()))
            .ok_or(NoCredentials::Unsendable);
    }
    if let Some(token) = given(entry.identitytoken) {
        return Ok(Login::Refresh(token.into()));
    }
    if let Some(auth) = given(entry.auth) {
        let text: String = auth.split_ascii_whitespace().collect();
        let decoded = BASE64.decode(text).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded: SecretString = decoded.ok_or(NoCredentials::MalformedAuth)?.into();
        // The password may hold colons, the user may not.
        let (user, password) = decoded
            .expose_secret()
            .split_once(':')
            .ok_or(NoCredentials::MalformedAuth)?;
        // Old versions of docker filled passwords up with zeros.
        return Login::password(user, password.trim_matches('\0'));
    }
    match (given(entry.username), given(entry.password)) {
        (Some(user), Some(password)) => Login::password(&user, &password),
        _ => Err(NoCredentials::Hollow),
    }
}

fn sendable(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Login {
    /// RFC 7617 section 2: no control characters in either, no colon in the user.
    fn password(user: &str, password: &str) -> Result<Self, NoCredentials> {
        let controls = |text: &str| text.chars().any(char::is_control);
        if user.contains(':') || controls(user) || controls(password) {
            return Err(NoCredentials::Unsendable);
        }
        if user.is_empty() && password.is_empty() {
            return Err(NoCredentials::Hollow);
        }
        Ok(Self::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    fn identity(&self) -> Identity {
        let (kind, parts) = match self {
            Self::Password { user, password } => (b'p', vec![user, password]),
            Self::Refresh(token) => (b'r', vec![token]),
            Self::Bearer(token) => (b'b', vec![token]),
        };
        let mut hash = Sha256::new();
        hash.update([kind]);
        for part in parts {
            let part = part.expose_secret().as_bytes();
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Identity(hash.finalize().into())
    }
}

impl Credentials {
    fn new(login: Login, others: Vec<String>) -> Self {
        Self {
            identity: login.identity(),
            login,
            others,
        }
    }

    /// What stands for them.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The Secret has an entry for the host of this URL, with the very same credentials.
    ///
    /// The same, because a registry could else have a token made with credentials that are not for
    /// it, by naming somebody else's token server, and be given that token.
    pub fn are_also_for(&self, url: &Url) -> bool {
        url.scheme() == "https" && self.others.iter().any(|host| is_at(url, host))
    }
}

impl Identity {
    /// Nobody.
    pub const ANONYMOUS: Self = Self([0; 32]);

    /// The same with a certificate besides: another caller to whoever asks for one.
    #[must_use]
    pub fn with_certificate(self, fingerprint: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(fingerprint);
        Self(hash.finalize().into())
    }

    /// To be part of a key; it is a hash and no secret by itself, but nothing to show either.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identity(..)")
    }
}

#[cfg(test)]
mod tests;
