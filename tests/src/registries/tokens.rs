//! A token server as the distribution project specifies them: whoever wants to read a repository
//! asks it for a token with a name and a password, or without, and brings that to the registry.
//! <https://distribution.github.io/distribution/spec/auth/token/>
//!
//! Repositories under `public/` are for everybody to pull, those under `closed/` for nobody, all
//! others for those it knows. It remembers every request, and how long the tokens of a repository
//! live can be set.

mod grant;
mod serve;
mod sign;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use self::sign::Signer;
use super::configuration::SERVICE;
use crate::authority::Authority;

pub(super) const ISSUER: &str = "token server of the tests";

/// A running token server; ends when it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    desk: Arc<Desk>,
    _running: oneshot::Sender<()>,
}

/// How long a token lives. The two may differ: a registry forgives a minute, and clocks go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// What the answer says, in seconds.
    pub said: u32,
    /// What is written in the token, in seconds from now.
    pub signed: i32,
}

/// The shortest the specification wants to be relied on is a minute.
const ORDINARY: Lifetime = Lifetime {
    said: 300,
    signed: 300,
};

/// A request for a token, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Who asked; nobody, if without name and password.
    pub user: Option<String>,
    /// For what, as `repository:PATH:ACTIONS`.
    pub scope: String,
    /// The status of the answer.
    pub status: u16,
}

/// What the server knows and remembers.
#[derive(Debug)]
pub(super) struct Desk {
    signer: Signer,
    users: HashMap<String, String>,
    lifetimes: Mutex<HashMap<String, Lifetime>>,
    requests: Mutex<Vec<TokenRequest>>,
}

impl TokenServer {
    /// Starts a server behind a certificate of `authority` that knows these names and passwords.
    pub fn start(authority: &Authority, users: &[(&str, &str)]) -> anyhow::Result<Self> {
        let users = users.iter();
        let desk = Arc::new(Desk {
            signer: Signer::new()?,
            users: users
                .map(|(user, password)| ((*user).to_owned(), (*password).to_owned()))
                .collect(),
            lifetimes: Mutex::default(),
            requests: Mutex::default(),
        });
        let (address, running) = serve::start(authority, Arc::clone(&desk))?;
        Ok(Self {
            address,
            desk,
            _running: running,
        })
    }

    /// Where tokens are to be had.
    pub fn realm(&self) -> String {
        format!("https://{}/token", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request for a token for this repository so far.
    pub fn requests(&self, repository: &str) -> Vec<TokenRequest> {
        let prefix = format!("repository:{repository}:");
        let requests = lock(&self.desk.requests);
        requests
            .iter()
            .filter(|request| request.scope.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// How long the tokens for this repository live from now on.
    pub fn set_lifetime(&self, repository: &str, lifetime: Lifetime) {
        lock(&self.desk.lifetimes).insert(repository.to_owned(), lifetime);
    }

    /// The certificate that a registry has to trust tokens of.
    pub(super) fn authority(&self) -> &str {
        self.desk.signer.authority()
    }

    /// A token to read this repository for so many seconds, which counts as no request.
    pub fn mint(&self, repository: &str, seconds: i32) -> anyhow::Result<String> {
        self.desk.mint("test", repository, &["pull"], seconds)
    }

    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }
}

impl Desk {
    /// A token for `user` to do this with a repository for so many seconds.
    pub(super) fn mint(
        &self,
        user: &str,
        repository: &str,
        actions: &[&str],
        seconds: i32,
    ) -> anyhow::Result<String> {
        let access = sign::Access {
            kind: "repository".to_owned(),
            name: repository.to_owned(),
            actions: actions.iter().map(ToString::to_string).collect(),
        };
        self.signer.sign(user, SERVICE, &[access], seconds)
    }
}

/// What a test did before it panicked is no reason for the others to fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
