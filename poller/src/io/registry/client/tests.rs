use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use werf_shared::poll_failure::Reason;

use super::super::proxy::ProxySettings;
use super::*;
use crate::decide::failure::PollFailure;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    ca_called("a CA")
}

fn ca_called(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with its key, in PEM and as a server takes it.
struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Leaf {
    fn of(ca: &Ca, params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, ca).unwrap();
        Self { certificate, key }
    }

    fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

fn for_us() -> CertificateParams {
    named("127.0.0.1")
}

/// Who may connect to a server, and how.
#[derive(Default)]
struct Demands {
    clients_of: Option<RootCertStore>,
    versions: Option<&'static [&'static SupportedProtocolVersion]>,
}

fn acceptor(leaf: &Leaf, demands: Demands) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = demands.versions.unwrap_or(rustls::ALL_VERSIONS);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let builder = match demands.clients_of {
        Some(roots) => {
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![leaf.certificate.der().clone()];
    let config = builder.with_single_cert(chain, leaf.private_key()).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A server that answers every request with 200 and counts.
struct Server {
    url: Url,
    connections: Arc<AtomicUsize>,
    with_certificate: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Server {
    async fn start(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/v2/", listener.local_addr().unwrap());
        let (connections, with_certificate) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counters = (Arc::clone(&connections), Arc::clone(&with_certificate));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counters.0.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&counters.1));
                open.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if stream.get_ref().1.peer_certificates().is_some() {
                        seen.fetch_add(1, Ordering::SeqCst);
                    }
                    answer(stream).await;
                });
            }
        });
        Self {
            url: url.parse().unwrap(),
            connections,
            with_certificate,
            _serving: serving,
        }
    }

    async fn of(leaf: &Leaf) -> Self {
        Self::start(acceptor(leaf, Demands::default())).await
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    while head(&mut stream).await.is_some() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// The head of the next request.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn secret() -> SecretKey {
    SecretKey {
        namespace: "team".to_owned(),
        name: "certificates".to_owned(),
    }
}

#[derive(Default)]
struct Pem {
    ca: Option<String>,
    leaf: Option<(String, String)>,
}

impl Pem {
    fn ca(ca: &Ca) -> Self {
        Self {
            ca: Some(ca.pem()),
            leaf: None,
        }
    }

    fn and(mut self, leaf: &Leaf) -> Self {
        self.leaf = Some((leaf.certificate.pem(), leaf.key.serialize_pem()));
        self
    }

    fn material(&self) -> Material {
        Material::of(|key| match (key, &self.ca, &self.leaf) {
            ("ca.crt", Some(ca), _) => Some(ca.as_bytes()),
            ("tls.crt", _, Some((certificate, _))) => Some(certificate.as_bytes()),
            ("tls.key", _, Some((_, key))) => Some(key.as_bytes()),
            _ => None,
        })
    }
}

fn clients() -> Clients {
    clients_with("127.0.0.0/8", &ProxySettings::default())
}

fn clients_with(networks: &str, proxies: &ProxySettings) -> Clients {
    let proxies = Arc::new(proxies.parse().unwrap());
    Clients::new(&Limits::default(), networks.parse().unwrap(), proxies).unwrap()
}

async fn get(door: &Door, url: &Url) -> Result<StatusCode, PollFailure> {
    let request = door.request(Method::GET, url);
    let sent = request.map_err(|error| error.failure())?.send().await;
    let response = sent.map_err(|source| RegistryError::Transport { source }.failure())?;
    let status = response.status();
    // Read, so that the connection can be used again.
    response.bytes().await.unwrap();
    Ok(status)
}

async fn get_as(clients: &Clients, url: &Url, pem: &Pem) -> Result<StatusCode, PollFailure> {
    let door = clients.door(url, Some((&secret(), &pem.material())));
    get(&door.map_err(|error| error.failure())?, url).await
}

#[track_caller]
fn assert_tls(failure: &PollFailure, words: &str) {
    assert_eq!(failure.reason, Reason::TlsFailed, "{failure}");
    assert!(failure.what.starts_with("TLS failed: "), "{failure}");
    assert!(failure.what.contains(words), "{failure}");
}

#[tokio::test]
async fn an_own_ca_is_trusted_and_no_other_then() {
    let (ca, other) = (ca(), ca_called("another"));
    let server = Server::of(&Leaf::of(&ca, &for_us())).await;
    let clients = clients();
    let status = get_as(&clients, &server.url, &Pem::ca(&ca)).await;
    assert_eq!(status, Ok(StatusCode::OK));
    let failure = get_as(&clients, &server.url, &Pem::ca(&other)).await;
    assert_tls(&failure.unwrap_err(), "unknown issuer");
    let public = clients.door(&server.url, None).unwrap();
    let failure = get(&public, &server.url).await;
    assert_tls(&failure.unwrap_err(), "unknown issuer");
}

#[tokio::test]
async fn a_rotated_ca_is_trusted_from_the_next_poll_on() {
    let (old, new) = (ca(), ca());
    let server = Server::of(&Leaf::of(&new, &for_us())).await;
    let clients = clients();
    let failure = get_as(&clients, &server.url, &Pem::ca(&old)).await;
    assert_tls(&failure.unwrap_err(), "another CA of the same name");
    let status = get_as(&clients, &server.url, &Pem::ca(&new)).await;
    assert_eq!(status, Ok(StatusCode::OK));
}

#[rstest::rstest]
#[case::expired((2001, 2002), "has expired")]
#[case::early((2100, 2101), "is not valid yet")]
#[tokio::test]
async fn a_certificate_has_its_time(#[case] years: (i32, i32), #[case] words: &str) {
    let ca = ca();
    let mut params = for_us();
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let server = Server::of(&Leaf::of(&ca, &params)).await;
    let failure = get_as(&clients(), &server.url, &Pem::ca(&ca)).await;
    assert_tls(&failure.unwrap_err(), words);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_without_telling_which() {
    let ca = ca();
    let server = Server::of(&Leaf::of(&ca, &named("attacker-text.example.com"))).await;
    let failure = get_as(&clients(), &server.url, &Pem::ca(&ca)).await;
    let failure = failure.unwrap_err();
    assert_tls(&failure, "for another name");
    assert!(!failure.what.contains("attacker-text"), "{failure}");
}

#[tokio::test]
async fn a_client_certificate_is_not_one_of_a_server() {
    let ca = ca();
    let mut params = for_us();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let server = Server::of(&Leaf::of(&ca, &params)).await;
    let failure = get_as(&clients(), &server.url, &Pem::ca(&ca)).await;
    assert_tls(&failure.unwrap_err(), "not meant for servers");
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_its_own_ca() {
    let leaf = Leaf::self_signed(&for_us());
    let server = Server::of(&leaf).await;
    let pem = Pem {
        ca: Some(leaf.certificate.pem()),
        leaf: None,
    };
    let status = get_as(&clients(), &server.url, &pem).await;
    assert_eq!(status, Ok(StatusCode::OK));
    let public = clients().door(&server.url, None).unwrap();
    let failure = get(&public, &server.url).await;
    assert_tls(&failure.unwrap_err(), "unknown issuer");
}

#[tokio::test]
async fn a_ca_certificate_is_not_one_of_a_server() {
    let mut params = for_us();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let leaf = Leaf::self_signed(&params);
    let server = Server::of(&leaf).await;
    let pem = Pem {
        ca: Some(leaf.certificate.pem()),
        leaf: None,
    };
    let failure = get_as(&clients(), &server.url, &pem).await;
    assert_tls(&failure.unwrap_err(), "is a CA certificate");
}

fn only_clients_of(ca: &Ca) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    roots
}

#[rstest::rstest]
#[case::tls13(&rustls::version::TLS13, "requires a client certificate")]
#[case::tls12(&rustls::version::TLS12, "client certificate")]
#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_required(
    #[case] version: &'static SupportedProtocolVersion,
    #[case] words: &str,
) {
    let (ca, clients_ca) = (ca(), self::ca());
    let versions: &[_] = Box::leak(Box::new([version]));
    let demands = Demands {
        clients_of: Some(only_clients_of(&clients_ca)),
        versions: Some(versions),
    };
    let server = Server::start(acceptor(&Leaf::of(&ca, &for_us()), demands)).await;
    let clients = clients();
    let failure = get_as(&clients, &server.url, &Pem::ca(&ca)).await;
    assert_tls(&failure.unwrap_err(), words);
    let stranger = Pem::ca(&ca).and(&Leaf::of(&self::ca(), &named("poller")));
    let failure = get_as(&clients, &server.url, &stranger).await;
    assert_tls(&failure.unwrap_err(), "refuses our client certificate");
    let known = Pem::ca(&ca).and(&Leaf::of(&clients_ca, &named("poller")));
    let status = get_as(&clients, &server.url, &known).await;
    assert_eq!(status, Ok(StatusCode::OK));
    assert_eq!(server.with_certificate.load(Ordering::SeqCst), 1);
}

const TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// With TLS 1.3 the refusal comes when the client has already begun to speak HTTP/2.
#[rstest::rstest]
#[case::missing(false, "requires a client certificate")]
#[case::of_a_stranger(true, "refuses our client certificate")]
#[tokio::test]
async fn a_refusal_within_http_2_is_one_of_tls(#[case] shown: bool, #[case] words: &str) {
    let ca = ca();
    let demands = Demands {
        clients_of: Some(only_clients_of(&ca)),
        versions: Some(TLS13_ONLY),
    };
    let acceptor = acceptor(&Leaf::of(&ca, &for_us()), demands);
    let mut config = ServerConfig::clone(acceptor.config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let url: Url = url.parse().unwrap();
    let mut pem = Pem::ca(&ca);
    if shown {
        pem = pem.and(&Leaf::of(&self::ca(), &named("poller")));
    }
    let refuse = async {
        let (stream, _) = listener.accept().await.unwrap();
        let refused = acceptor.accept(stream).into_fallible().await;
        let Err((_, mut stream)) = refused else {
            panic!("nobody is known here");
        };
        // Dropped with something unread, it could be reset before the alert is seen.
        let _read = stream.read_to_end(&mut Vec::new()).await;
    };
    let clients = clients();
    let (got, ()) = tokio::join!(get_as(&clients, &url, &pem), refuse);
    assert_tls(&got.unwrap_err(), words);
}

#[tokio::test]
async fn a_client_certificate_is_for_the_registry_and_nobody_else() {
    let ca = ca();
    let demands = Demands {
        clients_of: Some(only_clients_of(&ca)),
        versions: None,
    };
    let elsewhere = Server::start(acceptor(&Leaf::of(&ca, &for_us()), demands)).await;
    let registry: Url = "https://127.0.0.1:1/".parse().unwrap();
    let pem = Pem::ca(&ca).and(&Leaf::of(&ca, &named("poller")));
    let door = clients().door(&registry, Some((&secret(), &pem.material())));
    let failure = get(&door.unwrap(), &elsewhere.url).await.unwrap_err();
    assert_tls(&failure, "requires a client certificate");
    assert_eq!(elsewhere.with_certificate.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_certificate_alone_keeps_the_public_authorities() {
    let ca = ca();
    let server = Server::of(&Leaf::of(&ca, &for_us())).await;
    let pem = Pem::default().and(&Leaf::of(&ca, &named("poller")));
    let failure = get_as(&clients(), &server.url, &pem).await;
    assert_tls(&failure.unwrap_err(), "unknown issuer");
}

#[tokio::test]
async fn an_unusable_secret_is_named_with_its_key() {
    let registry: Url = "https://127.0.0.1:1/".parse().unwrap();
    let pem = Pem {
        ca: Some("garbage".to_owned()),
        leaf: None,
    };
    let failure = get_as(&clients(), &registry, &pem).await.unwrap_err();
    assert_eq!(failure.reason, Reason::CertificateSecretInvalid);
    assert_eq!(
        failure.what,
        "Secret 'certificates' in namespace 'team' cannot be used for TLS: ca.crt holds no certificate in PEM"
    );
}

/// What a server with nothing newer than TLS 1.1 answers: the alert `protocol_version`.
#[tokio::test]
async fn an_old_server_is_told_by_its_alert() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let url: Url = url.parse().unwrap();
    let clients = clients();
    let door = clients.door(&url, None).unwrap();
    let refuse = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 4096];
        let _length = stream.read(&mut hello).await.unwrap();
        stream
            .write_all(b"\x15\x03\x02\x00\x02\x02\x46")
            .await
            .unwrap();
    };
    let (got, ()) = tokio::join!(get(&door, &url), refuse);
    assert_tls(&got.unwrap_err(), "no TLS version from 1.2 on");
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let ca = ca();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let url: Url = url.parse().unwrap();
    let acceptor = acceptor(&Leaf::of(&ca, &for_us()), Demands::default());
    let mut config = ServerConfig::clone(acceptor.config());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config))
            .accept(stream)
            .await
            .unwrap();
        let mut preface = [0; 14];
        stream.read_exact(&mut preface).await.unwrap();
        preface
    };
    let clients = clients();
    let pem = Pem::ca(&ca);
    let (_, preface) = tokio::join!(get_as(&clients, &url, &pem), accept);
    assert_eq!(&preface, b"PRI * HTTP/2.0", "RFC 9113, section 3.4");
}

#[tokio::test]
async fn connections_live_on_from_poll_to_poll_and_from_secret_to_secret() {
    let ca = ca();
    let server = Server::of(&Leaf::of(&ca, &for_us())).await;
    let clients = clients();
    let material = Pem::ca(&ca).material();
    for name in ["a", "a", "b"] {
        let secret = SecretKey {
            name: name.to_owned(),
            ..secret()
        };
        let door = clients.door(&server.url, Some((&secret, &material)));
        let status = get(&door.unwrap(), &server.url).await;
        assert_eq!(status, Ok(StatusCode::OK));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

/// A proxy that connects everything to one place and remembers what it was asked.
async fn proxy(listener: TcpListener, to: Option<std::net::SocketAddr>) -> Vec<String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    if let Some(head) = head(&mut stream).await {
        asked.push(head);
    }
    let Some(to) = to else {
        let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refused).await.unwrap();
        return asked;
    };
    let mut server = TcpStream::connect(to).await.unwrap();
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    stream.write_all(established).await.unwrap();
    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    asked
}

async fn proxied() -> (TcpListener, ProxySettings) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ProxySettings {
        all: format!("http://user:hunter2@{address}"),
        ..ProxySettings::default()
    };
    (listener, settings)
}

/// No address is allowed here, not even that of the proxy, and nobody could resolve the name.
#[tokio::test]
async fn a_proxy_connects_in_our_place_and_sees_nothing() {
    let ca = ca();
    let server = Server::of(&Leaf::of(&ca, &named("registry.invalid"))).await;
    let (listener, settings) = proxied().await;
    let to = server.url.socket_addrs(|| None).unwrap()[0];
    let mut proxying = JoinSet::new();
    proxying.spawn(proxy(listener, Some(to)));
    let url: Url = "https://registry.invalid/v2/".parse().unwrap();
    let clients = clients_with("", &settings);
    let status = get_as(&clients, &url, &Pem::ca(&ca)).await;
    // Ends the connections.
    drop(clients);
    let asked = proxying.join_next().await.unwrap().unwrap();
    assert_eq!(status, Ok(StatusCode::OK));
    assert_eq!(asked.len(), 1);
    let head = asked[0].to_lowercase();
    assert!(
        head.starts_with("connect registry.invalid:443 http/1.1"),
        "{head}"
    );
    // user:hunter2
    assert!(asked[0].contains("Basic dXNlcjpodW50ZXIy"), "{head}");
}

#[tokio::test]
async fn a_proxy_takes_plain_http_as_well() {
    let (listener, settings) = proxied().await;
    let url: Url = "http://registry.invalid:5000/v2/".parse().unwrap();
    let clients = clients_with("", &settings);
    let door = clients.door(&url, None).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = head(&mut stream).await.unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        asked
    };
    let (status, asked) = tokio::join!(get(&door, &url), serve);
    assert_eq!(status, Ok(StatusCode::NO_CONTENT));
    assert!(
        asked.starts_with("GET http://registry.invalid:5000/v2/ "),
        "{asked}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_without_its_password() {
    let (listener, settings) = proxied().await;
    let url: Url = "https://registry.invalid/v2/".parse().unwrap();
    let clients = clients_with("", &settings);
    let door = clients.door(&url, None).unwrap();
    let (got, _asked) = tokio::join!(get(&door, &url), proxy(listener, None));
    let failure = got.unwrap_err();
    assert_eq!(failure.reason, Reason::RegistryUnreachable, "{failure}");
    assert!(failure.what.contains("proxy"), "{failure}");
    assert!(!failure.what.contains("hunter2"), "{failure}");
}

/// The address of a literal is judged here, although the proxy would connect.
#[tokio::test]
async fn a_proxy_is_no_way_to_a_private_address() {
    let (_listener, settings) = proxied().await;
    let clients = clients_with("", &settings);
    for url in ["https://10.0.0.1/", "https://2130706433/", "https://[::1]/"] {
        let url: Url = url.parse().unwrap();
        let door = clients.door(&url, None).unwrap();
        let failure = get(&door, &url).await.unwrap_err();
        assert_eq!(failure.reason, Reason::AddressNotAllowed, "{failure}");
    }
}

/// Whoever names the proxy's own host as a registry gets no exemption by that.
#[tokio::test]
async fn the_proxy_itself_is_no_registry() {
    let (_listener, mut settings) = proxied().await;
    settings.all = settings.all.replace("127.0.0.1", "localhost");
    let clients = clients_with("", &settings);
    let url = format!("https://{}/", settings.all.rsplit('@').next().unwrap());
    let url: Url = url.parse().unwrap();
    let door = clients.door(&url, None).unwrap();
    let failure = get(&door, &url).await.unwrap_err();
    assert_eq!(failure.reason, Reason::AddressNotAllowed, "{failure}");
}
