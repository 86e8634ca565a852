//! The HTTP clients. Bundles that trust the same authorities and introduce themselves in the same
//! way share one, and with it the connections that are open; a client forgets nothing between polls
//! but what has been idle for long. What a poll sends its requests through is a [`Door`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;
use rustls_platform_verifier::Verifier;
use url::{Origin, Url};
use werf_shared::clock;

use super::kept::Kept;
use super::proxy::Proxies;
use super::resolve::Admitted;
use super::{Limits, RegistryError};
use crate::decide::certificates::{Material, Trust};
use crate::decide::network::Networks;
use crate::decide::watched::SecretKey;

const USER_AGENT: &str = concat!("werf-operator/", env!("CARGO_PKG_VERSION"));

/// Outlives the pause between two polls at the shortest interval, 66 seconds with jitter, and
/// little else: who polls once an hour can connect once an hour.
const IDLE: Duration = Duration::from_secs(75);

/// Idle connections to one registry over HTTP/1.1.
const IDLE_PER_HOST: usize = 8;

/// What a registry may send over HTTP/2 before it is read: bodies are small, and many are open at
/// once.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Where registries may be, and how they are reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Bundles may ask for plain HTTP.
    pub allow_insecure: bool,
    /// Networks that are allowed besides the public ones.
    pub networks: Networks,
    /// What the environment says of proxies.
    pub proxies: Arc<Proxies>,
}

/// The clients there are.
#[derive(Debug)]
pub(super) struct Clients {
    factory: Factory,
    public: Arc<Routes>,
    kept: Mutex<Kept<Pair>>,
}

/// The same trust twice: the registry sees who we are, whoever else it names does not.
#[derive(Clone, Debug)]
struct Pair {
    registry: Arc<Routes>,
    others: Arc<Routes>,
}

/// The same client twice: connecting itself, and letting a proxy connect.
#[derive(Debug)]
struct Routes {
    direct: Client,
    proxied: Option<Client>,
}

/// What one poll sends its requests through.
#[derive(Clone, Debug)]
pub(super) struct Door {
    origin: Origin,
    networks: Arc<Networks>,
    proxies: Arc<Proxies>,
    pair: Pair,
}

impl Clients {
    pub(super) fn new(
        limits: &Limits,
        networks: Networks,
        proxies: Arc<Proxies>,
    ) -> Result<Self, RegistryError> {
        let factory = Factory::new(limits, networks, proxies)?;
        let public = Arc::new(factory.routes(&Trust::default())?);
        Ok(Self {
            factory,
            public,
            kept: Mutex::default(),
        })
    }

    /// A door to the registry at `origin`, for those who trust the public authorities or what their
    /// Secret says.
    pub(super) fn door(
        &self,
        origin: &Url,
        certificates: Option<(&SecretKey, &Material)>,
    ) -> Result<Door, RegistryError> {
        let pair = match certificates {
            None => Pair {
                registry: Arc::clone(&self.public),
                others: Arc::clone(&self.public),
            },
            Some((secret, material)) => self.pair(secret, material)?,
        };
        Ok(Door {
            origin: origin.origin(),
            networks: Arc::clone(&self.factory.networks),
            proxies: Arc::clone(&self.factory.proxies),
            pair,
        })
    }

    fn pair(&self, secret: &SecretKey, material: &Material) -> Result<Pair, RegistryError> {
        let now = clock::instant();
        let fingerprint = material.fingerprint();
        let found = self.kept().find(secret, fingerprint, now);
        if let Some(pair) = found {
            return Ok(pair);
        }
        let trust = material.trust(&self.factory.provider);
        let trust = trust.map_err(|source| RegistryError::Certificates {
            secret: secret.clone(),
            source,
        })?;
        let pair = self.factory.pair(&trust, &self.public)?;
        self.kept().keep(secret, fingerprint, pair.clone(), now);
        Ok(pair)
    }

    /// Nobody panics while holding it, and what it holds could be made anew.
    fn kept(&self) -> MutexGuard<'_, Kept<Pair>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// A request to this URL, still without headers: through a proxy where one is set, with our
    /// client certificate only to the registry itself. An address that must not be reached is
    /// refused; so is a name that stands for such addresses only, when the request is sent.
    pub(super) fn request(
        &self,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, RegistryError> {
        self.networks
            .check(url)
            .map_err(|_| RegistryError::AddressNotAllowed)?;
        let routes = if url.origin() == self.origin {
            &self.pair.registry
        } else {
            &self.pair.others
        };
        let client = match &routes.proxied {
            Some(proxied) if self.proxies.intercept(url) => proxied,
            _ => &routes.direct,
        };
        Ok(client.request(method, url.clone()))
    }
}

/// Makes clients.
struct Factory {
    connect: Duration,
    read: Duration,
    networks: Arc<Networks>,
    proxies: Arc<Proxies>,
    provider: Arc<CryptoProvider>,
    /// Shared, because reading the authorities of the system takes time and memory.
    public: Arc<dyn ServerCertVerifier>,
}

impl Factory {
    fn new(
        limits: &Limits,
        networks: Networks,
        proxies: Arc<Proxies>,
    ) -> Result<Self, RegistryError> {
        let provider = CryptoProvider::get_default().cloned();
        let provider =
            provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
        let public = Verifier::new(Arc::clone(&provider));
        let public = public.map_err(|source| RegistryError::Authorities { source })?;
        Ok(Self {
            connect: limits.connect,
            read: limits.read,
            networks: Arc::new(networks),
            proxies,
            provider,
            public: Arc::new(public),
        })
    }

    fn pair(&self, trust: &Trust, public: &Arc<Routes>) -> Result<Pair, RegistryError> {
        let registry = Arc::new(self.routes(trust)?);
        let others = match (&trust.identity, &trust.authorities) {
            (None, _) => Arc::clone(&registry),
            (Some(_), None) => Arc::clone(public),
            (Some(_), Some(_)) => Arc::new(self.routes(&trust.without_identity())?),
        };
        Ok(Pair { registry, others })
    }

    fn routes(&self, trust: &Trust) -> Result<Routes, RegistryError> {
        let failed = |source| RegistryError::Client { source };
        let tls = self.tls(trust)?;
        let resolver = Admitted::new(Arc::clone(&self.networks));
        let direct = self.client(tls.clone()).dns_resolver(resolver).no_proxy();
        let through = self.proxies.clients().map_err(failed)?;
        let proxied = (!through.is_empty()).then(|| {
            let client = self.client(tls);
            through
                .into_iter()
                .fold(client, ClientBuilder::proxy)
                .build()
        });
        Ok(Routes {
            direct: direct.build().map_err(failed)?,
            proxied: proxied.transpose().map_err(failed)?,
        })
    }

    fn client(&self, tls: ClientConfig) -> ClientBuilder {
        Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(self.connect)
            .read_timeout(self.read)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .tls_backend_preconfigured(tls)
    }

    /// TLS 1.2 or 1.3 with names checked always; HTTP/2 where the registry offers it.
    fn tls(&self, trust: &Trust) -> Result<ClientConfig, RegistryError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| RegistryError::Authorities { source })?;
        let builder = match &trust.authorities {
            Some(authorities) => builder.with_root_certificates(Arc::clone(authorities)),
            // "Dangerous" is any verifier rustls did not make; this one asks the system.
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&self.public)),
        };
        let mut config = match &trust.identity {
            Some(identity) => {
                let identity = SingleCertAndKey::from(Arc::clone(identity));
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
