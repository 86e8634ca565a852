//! The token server's socket. It has a thread of its own: each test has its own runtime, and the
//! server outlives them all.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::serve::Listener;
use http::{HeaderMap, Uri, header};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Desk;
use crate::authority::Authority;
use crate::cluster::use_ring;

/// Listens on a free port until what it returns is dropped.
pub(super) fn start(
    authority: &Authority,
    desk: Arc<Desk>,
) -> anyhow::Result<(SocketAddr, oneshot::Sender<()>)> {
    use_ring();
    let signed = authority.server("tokens", &["localhost", "127.0.0.1"])?;
    let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(signed.key.serialize_pem().as_bytes())?;
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let socket = net::TcpListener::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (running, stopped) = oneshot::channel();
    let serve = async move {
        let listener = Tls {
            listener: TcpListener::from_std(socket)?,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        };
        let router = Router::new().fallback(answer).with_state(desk);
        tokio::select! {
            ended = axum::serve(listener, router) => ended,
            _dropped = stopped => Ok(()),
        }
    };
    thread::Builder::new()
        .name("token server".to_owned())
        .spawn(move || runtime.block_on(serve))
        .context("cannot start a thread")?;
    Ok((address, running))
}

async fn answer(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    let (status, body) = desk.answer(&uri, &headers);
    let json = [(header::CONTENT_TYPE, "application/json")];
    (status, json, body.to_string())
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// One handshake after the other; a client that does not trust the certificate fails its own.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
