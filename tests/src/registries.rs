//! Real registry servers on loopback, for tests of the poller: Debian's `docker-registry` and
//! `distribution`, its successor, built from source; open, with passwords, with tokens, with
//! certificates of an authority of our own.
//!
//! A server lives as long as its handle or, when that is a static, as the process of the tests.

mod configuration;
mod publisher;
mod server;
mod storage;
mod tokens;
mod warden;

pub use self::server::{Logged, Server};
pub use self::tokens::{Lifetime, TokenRequest, TokenServer};

use crate::authority::Authority;

/// Which program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `docker-registry`, the 2.8 line, as Debian packages it.
    Debian,
    /// `distribution`, the 3.1 line.
    Distribution,
}

/// Who may come in.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// Everybody.
    Open,
    /// Whoever knows this name and password.
    Password(&'a str, &'a str),
    /// Whoever brings a token of this server.
    Tokens(&'a TokenServer),
}

/// How the server is reached.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// Plain HTTP.
    Plain,
    /// TLS with a certificate of this authority.
    Tls(&'a Authority),
    /// The same, and a certificate of that authority is asked of clients too.
    Mutual(&'a Authority),
}

/// What server is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The program.
    pub program: Program,
    /// Its guard.
    pub access: Access<'a>,
    /// Its transport.
    pub transport: Transport<'a>,
}
