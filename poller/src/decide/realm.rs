//! Which token servers may be asked, and which may see a password? A registry names its token server
//! in an answer, so the name is hostile text: whoever answers for a registry could send passwords
//! anywhere (CVE-2020-15157 and its kin).

use std::str::FromStr;

use url::{Host, Url};
use werf_shared::docker_hub::is_docker_hub;
use werf_shared::registry_credentials::is_at;
use werf_shared::repository::Repository;

/// Registries whose token server is at another host, as their documentation has it.
const KNOWN: [(&str, &str); 2] = [
    ("docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// A realm is some dozen bytes.
const LONGEST: usize = 2048;

/// What is shown of a host.
const LONGEST_SHOWN: usize = 80;

/// A token server that is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRealm {
    /// It is no absolute URL.
    #[error("the registry names a token server that is not an absolute URL")]
    Malformed,
    /// It carries a user.
    #[error("the registry names a token server with a user in its URL")]
    User,
    /// It is not TLS.
    #[error("the registry names the token server {0}, which does not use https")]
    NotHttps(String),
    /// It must not see the credentials.
    #[error(
        "the registry names the token server {0}, which is not allowed to see the credentials; \
         if it belongs to the registry, start the poller with --token-server {1}={0}"
    )]
    NotTrusted(String, String),
}

/// The token server that a registry at `registry` names, if it may be asked at all: over TLS, or at
/// the very origin that is spoken to without it anyway.
///
/// Whether its address may be connected to is another question.
pub fn realm(text: &str, registry: &Url) -> Result<Url, RefusedRealm> {
    // The URL parser forgives line ends, spaces and backslashes; nobody who means well writes them.
    let fit = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if text.len() > LONGEST || !text.bytes().all(fit) {
        return Err(RefusedRealm::Malformed);
    }
    let mut url: Url = text.parse().map_err(|_| RefusedRealm::Malformed)?;
    if !url.has_host() || !matches!(url.scheme(), "https" | "http") {
        return Err(RefusedRealm::Malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RefusedRealm::User);
    }
    if url.scheme() != "https" && url.origin() != registry.origin() {
        return Err(RefusedRealm::NotHttps(shown(&url)));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The URL to ask for a token with this scope. Whatever the realm says of service and scope itself
/// is left out: both are ours to say.
pub fn request(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let mut url = realm.clone();
    let kept: Vec<(String, String)> = realm
        .query_pairs()
        .filter(|(key, _)| !matches!(key.as_ref(), "service" | "scope"))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", scope);
    url
}

/// Token servers that may see the credentials of a registry at another host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenServers(Vec<TokenServer>);

/// One pair of them, as `--token-server` has it: `REGISTRY=HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenServer {
    registry: String,
    server: String,
}

/// A text that is no such pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be REGISTRY=HOST[:PORT], such as registry.example.com=auth.example.com")]
pub struct InvalidTokenServer;

impl TokenServers {
    /// These beside the ones everybody knows.
    pub fn new(servers: Vec<TokenServer>) -> Self {
        Self(servers)
    }

    /// The token server `realm` may see what belongs to the registry that `repository` is in.
    /// `registry` is any URL at that registry.
    pub fn may_see(&self, realm: &Url, registry: &Url, repository: &Repository) -> bool {
        if realm.origin() == registry.origin() {
            return true;
        }
        let host = canonical(repository.host());
        let mut known = KNOWN.iter();
        realm.scheme() == "https"
            && (known.any(|&(registry, server)| registry == host && is_at(realm, server))
                || self
                    .0
                    .iter()
                    .any(|pair| pair.registry == host && is_at(realm, &pair.server)))
    }
}

impl FromStr for TokenServer {
    type Err = InvalidTokenServer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (registry, server) = text.trim().split_once('=').ok_or(InvalidTokenServer)?;
        // Hosts are what they are in repositories.
        let host = |host: &str| {
            let repository = format!("{host}/x").parse::<Repository>();
            repository
                .ok()
                .filter(|repository| repository.path() == "x")
                .map(|repository| repository.host().to_owned())
                .ok_or(InvalidTokenServer)
        };
        Ok(Self {
            registry: canonical(&host(registry)?).to_owned(),
            server: host(server)?,
        })
    }
}

/// Host and port of a URL, fit to be read by people.
pub fn shown(url: &Url) -> String {
    let mut host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(address) => address.to_string(),
        None => String::new(),
    };
    if let Some(port) = url.port() {
        host.push(':');
        host.push_str(&port.to_string());
    }
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    let shown = host.chars().map(|c| if fit(c) { c } else { '?' });
    shown.take(LONGEST_SHOWN).collect()
}

fn canonical(host: &str) -> &str {
    if is_docker_hub(host) {
        "docker.io"
    } else {
        host
    }
}

#[cfg(test)]
mod tests;
