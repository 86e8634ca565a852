//! A repository as one poll sees it: where it is and as whom it is asked. What the bundle's Secrets
//! hold is read anew for every poll, so a change of them needs no restart and no watch.

use http::Method;
use reqwest::RequestBuilder;
use url::Url;
use werf_shared::docker_hub::endpoint;
use werf_shared::registry_credentials::{Credentials, Identity, Login, credentials};
use werf_shared::registry_secret::Secret;

use super::client::Door;
use super::tokens::Key;
use super::{Denied, Registry, RegistryError};
use crate::decide::certificates::Material;
use crate::decide::watched::{SecretKey, Subscription};
use crate::io::secrets::SecretError;

/// A repository, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the bundles ask for.
    pub subscription: Subscription,
    /// Where it is: `https://host/v2/path/`.
    pub(super) root: Url,
    /// The repository's name at its registry.
    pub(super) path: String,
    pub(super) credentials: Option<Credentials>,
    identity: Identity,
    /// Under which it is remembered how the repository wants to be asked.
    pub(super) key: Key,
    /// Through which it is reached.
    door: Door,
}

impl Access {
    /// Stands for who asks; nothing that one identity was told is used for another.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Who to be, if anybody.
    pub(super) fn login(&self) -> Option<&Login> {
        self.credentials
            .as_ref()
            .map(|credentials| &credentials.login)
    }

    /// The URL of something in the repository, such as `tags/list`.
    pub(super) fn url(&self, tail: &str) -> Result<Url, RegistryError> {
        let url = format!("{}{tail}", self.root);
        url.parse().map_err(|source| RegistryError::Url { source })
    }

    /// The URL is at the registry itself, and nowhere else.
    pub(super) fn is_at_home(&self, url: &Url) -> bool {
        url.origin() == self.root.origin()
    }

    /// A request to the registry or to a token server it names, still without headers.
    pub(super) fn request(
        &self,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, RegistryError> {
        self.door.request(method, url)
    }
}

impl Registry {
    /// Gets ready for one poll: reads the Secrets that the bundles name.
    pub async fn open(&self, subscription: &Subscription) -> Result<Access, RegistryError> {
        let endpoint = endpoint(&subscription.repository);
        let scheme = self.scheme(subscription)?;
        let root = format!("{scheme}://{}/v2/{}/", endpoint.host, endpoint.path);
        let root: Url = root
            .parse()
            .map_err(|source| RegistryError::Url { source })?;
        let credentials = match &subscription.credentials {
            None => None,
            Some(key) => Some(self.login(subscription, key).await?),
        };
        let mut identity = credentials
            .as_ref()
            .map_or(Identity::ANONYMOUS, Credentials::identity);
        let certificates = match &subscription.certificates {
            None => None,
            Some(key) => Some((key, self.certificates(key).await?)),
        };
        if let Some((_, certificates)) = &certificates {
            identity = identity.with_certificate(certificates.fingerprint().as_bytes());
        }
        let certificates = certificates.as_ref().map(|(key, held)| (*key, held));
        let door = self.clients.door(&root, certificates)?;
        Ok(Access {
            key: Key::of(identity, &[root.as_str()]),
            subscription: subscription.clone(),
            root,
            path: endpoint.path.into_owned(),
            credentials,
            identity,
            door,
        })
    }

    /// What the Secret has for the repository. There is no way on without: whoever asks for
    /// credentials does not mean to be nobody.
    async fn login(
        &self,
        subscription: &Subscription,
        key: &SecretKey,
    ) -> Result<Credentials, Denied> {
        let secret = self.secret(key).await;
        let secret = secret.map_err(|source| Denied::Secret {
            key: key.clone(),
            source,
        })?;
        let repository = &subscription.repository;
        credentials(&secret, repository).map_err(|source| Denied::Credentials {
            key: key.clone(),
            host: repository.host().to_owned(),
            source,
        })
    }

    /// What the Secret says of whom to trust, and who we are.
    async fn certificates(&self, key: &SecretKey) -> Result<Material, RegistryError> {
        let secret = self.secret(key).await;
        let secret = secret.map_err(|source| RegistryError::NoCertificates {
            secret: key.clone(),
            source,
        })?;
        Ok(Material::of(|key| secret.get(key)))
    }

    async fn secret(&self, key: &SecretKey) -> Result<Secret, SecretError> {
        match &self.secrets {
            Some(secrets) => secrets.get(key).await,
            None => Err(SecretError::Unreachable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::registry::{Limits, Reach};

    #[rstest::rstest]
    #[case(
        "docker.io/redis",
        "https://registry-1.docker.io/v2/library/redis/tags/list"
    )]
    #[case("ghcr.io/org/app", "https://ghcr.io/v2/org/app/tags/list")]
    #[case("127.0.0.1:5000/app", "http://127.0.0.1:5000/v2/app/tags/list")]
    #[tokio::test]
    async fn a_repository_is_asked_where_it_lives(#[case] repository: &str, #[case] url: &str) {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let registry = Registry::new(Limits::default(), Reach::default()).unwrap();
        let subscription = Subscription::anonymous(repository.parse().unwrap(), false);
        let access = registry.open(&subscription).await.unwrap();
        assert_eq!(access.url("tags/list").unwrap().as_str(), url);
        assert!(access.is_at_home(&access.root));
        assert!(!access.is_at_home(&"https://evil.example/".parse().unwrap()));
    }
}
