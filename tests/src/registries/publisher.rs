//! How the tests themselves come into a server, to put there what the poller is to find.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Identity};

use super::tokens::Desk;
use super::{Access, Setup, Transport};
use crate::bundle::Repository;
use crate::cluster::use_ring;

/// Everything that opens one server.
#[derive(Debug)]
pub(super) struct Pass {
    authority: Option<String>,
    identity: Option<String>,
    login: Option<(String, String)>,
    tokens: Option<Arc<Desk>>,
}

impl Pass {
    pub(super) fn of(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let (authority, identity) = match setup.transport {
            Transport::Plain => (None, None),
            Transport::Tls(authority) => (Some(authority), None),
            Transport::Mutual(authority) => {
                let signed = authority.client("publisher", None)?;
                let pem = signed.certificate + &signed.key.serialize_pem();
                (Some(authority), Some(pem))
            }
        };
        let (login, tokens) = match setup.access {
            Access::Open => (None, None),
            Access::Password(user, password) => {
                (Some((user.to_owned(), password.to_owned())), None)
            }
            Access::Tokens(tokens) => (None, Some(tokens.desk())),
        };
        Ok(Self {
            authority: authority.map(|authority| authority.pem().to_owned()),
            identity,
            login,
            tokens,
        })
    }

    pub(super) fn client(&self) -> anyhow::Result<ClientBuilder> {
        use_ring();
        let mut client = Client::builder().no_proxy();
        if let Some(pem) = &self.authority {
            client = client.tls_certs_only([Certificate::from_pem(pem.as_bytes())?]);
        }
        if let Some(pem) = &self.identity {
            client = client.identity(Identity::from_pem(pem.as_bytes())?);
        }
        Ok(client)
    }

    pub(super) fn repository(&self, origin: &str, path: &str) -> anyhow::Result<Repository> {
        let mut client = self.client()?;
        if let Some(tokens) = &self.tokens {
            // Made by the desk itself: what the tests push is none of what they count.
            let token = tokens.mint("publisher", path, &["pull", "push", "delete"], 3600)?;
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
            client = client.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        }
        let repository = Repository::with_client(client.build()?, origin, path)?;
        Ok(match &self.login {
            Some((user, password)) => repository.with_login(user, password),
            None => repository,
        })
    }
}
