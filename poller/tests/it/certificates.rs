//! What `certSecretRef` does for a poll: whose registry is trusted, from when on, and what is said
//! when the Secret is no use.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use werf_poller::decide::failure::PollFailure;
use werf_poller::decide::watched::Subscription;
use werf_poller::io::registry::{Limits, Listing, Registry};
use werf_shared::poll_failure::Reason;

use crate::cluster::Cluster;
use crate::registry::query;
use crate::scripted::{Scripted, page, reach};

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A registry behind TLS, and a poller with a cluster to read Secrets from.
struct Bed {
    cluster: Cluster,
    client: Registry,
    registry: Scripted,
    address: SocketAddr,
    _terminating: JoinSet<()>,
}

impl Bed {
    async fn start(ca: &Ca) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let registry = Scripted::start(|_| page(&["v1"], &[])).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut terminating = JoinSet::new();
        terminating.spawn(terminate(listener, acceptor(ca), registry.address));
        let cluster = Cluster::default();
        let client = Registry::new(Limits::default(), reach()).unwrap();
        Self {
            client: client.with_secrets(cluster.secrets()),
            cluster,
            registry,
            address,
            _terminating: terminating,
        }
    }

    fn trusts(&self, ca: &Ca) {
        self.cluster
            .secret("certs", "Opaque", &[("ca.crt", &ca.pem())]);
    }

    async fn poll(&self, secret: Option<&str>) -> Result<Listing, PollFailure> {
        let repository = format!("{}/org/app", self.address).parse().unwrap();
        let subscription = Subscription {
            certificates: secret.map(Cluster::key),
            ..Subscription::anonymous(repository, false)
        };
        let poll = async {
            let access = self.client.open(&subscription).await?;
            self.client.list(query(&access, None)).await
        };
        poll.await.map_err(|error| error.failure())
    }

    async fn failure(&self, secret: &str) -> PollFailure {
        let failure = self.poll(Some(secret)).await.unwrap_err();
        assert!(self.registry.asked().is_empty(), "something was sent");
        failure
    }
}

pub(crate) fn acceptor(ca: &Ca) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let key: PrivateKeyDer<'_> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

pub(crate) async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        open.spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            }
        });
    }
}

/// On loopback too, where bundles without a `certSecretRef` get plain HTTP.
#[tokio::test]
async fn whoever_names_certificates_gets_tls_and_only_they() {
    let ours = ca("ours");
    let bed = Bed::start(&ours).await;
    bed.trusts(&ours);
    assert_eq!(bed.poll(Some("certs")).await.unwrap().status, 200);
    let plain = bed.poll(None).await.unwrap_err();
    assert_eq!(plain.reason, Reason::RegistryUnreachable, "{plain}");
}

#[tokio::test]
async fn a_new_ca_counts_from_the_next_poll_on() {
    let (old, new) = (ca("old"), ca("new"));
    let bed = Bed::start(&new).await;
    bed.trusts(&old);
    let failure = bed.failure("certs").await;
    assert_eq!(failure.reason, Reason::TlsFailed);
    assert!(failure.what.contains("unknown issuer"), "{failure}");
    bed.trusts(&new);
    assert_eq!(bed.poll(Some("certs")).await.unwrap().status, 200);
    bed.trusts(&old);
    let failure = bed.poll(Some("certs")).await.unwrap_err();
    assert_eq!(
        failure.reason,
        Reason::TlsFailed,
        "an open connection served a trust that is gone"
    );
    assert_eq!(bed.cluster.asked().len(), 3, "one read for each poll");
}

#[tokio::test]
async fn a_secret_that_is_no_use_is_told_by_name() {
    let bed = Bed::start(&ca("ours")).await;
    bed.cluster.fails("missing", 404);
    bed.cluster.fails("forbidden", 403);
    bed.cluster.fails("broken", 500);
    bed.cluster.secret("empty", "Opaque", &[("caFile", "x")]);
    bed.cluster
        .secret("garbage", "Opaque", &[("ca.crt", "hunter2")]);
    for (secret, reason, words) in [
        (
            "missing",
            Reason::CertificateSecretNotFound,
            "does not exist",
        ),
        ("forbidden", Reason::SecretUnreadable, "may not be read"),
        (
            "broken",
            Reason::SecretUnreadable,
            "cannot be read just now",
        ),
        (
            "empty",
            Reason::CertificateSecretInvalid,
            "none of the keys",
        ),
        (
            "garbage",
            Reason::CertificateSecretInvalid,
            "ca.crt holds no",
        ),
    ] {
        let failure = bed.failure(secret).await;
        assert_eq!(failure.reason, reason, "{failure}");
        let named = format!("Secret '{secret}' in namespace 'team'");
        assert!(failure.what.contains(&named), "{failure}");
        assert!(failure.what.contains(words), "{failure}");
        assert!(!failure.what.contains("hunter2"), "{failure}");
    }
}
