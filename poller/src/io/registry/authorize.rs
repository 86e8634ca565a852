//! As whom a request goes out, and what is tried when it is refused. What worked last is sent at once,
//! so that a poll costs no 401. A token that is refused is replaced once, from what is remembered and
//! not from the answer: Harbor answers a stale token by asking for a password. Credentials go to the
//! registry itself and to token servers that may see them, and nowhere else.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::{Url, form_urlencoded};
use werf_shared::clock;
use werf_shared::registry_credentials::Login;

use super::denied::{Denied, Refusal};
use super::exchange::{Incoming, drop_politely, no_redirect};
use super::tokens::{Key, Way};
use super::{Access, Registry, RegistryError};
use crate::decide::challenge::{Actions, Challenge, Issuer, NoChallenge, actions, challenge};
use crate::decide::realm::{RefusedRealm, realm, request, shown};
use crate::decide::token::{InvalidToken, LONGEST_BODY, Token, token};
use crate::metrics::RequestKind;

/// Who we are at token servers (RFC 6749 section 2.2); nothing needs to be registered.
const CLIENT_ID: &str = "werf-operator";

/// What a request is sent with.
#[derive(Debug)]
pub(super) struct Proof {
    /// The `Authorization` header.
    pub(super) header: Option<HeaderValue>,
    then: Then,
}

/// What can be tried when the proof is refused. Every step leads further down, so it ends.
#[derive(Debug)]
enum Then {
    /// Do what the registry asks for, which is not known yet.
    Ask,
    /// Do what it asks for, if that is something else than a password now.
    AskAgain,
    /// Get a new token instead of this one.
    Refresh(Key, Arc<Issuer>, Actions),
    /// Give up, and forget this token if it was one.
    GiveUp(Option<Key>),
}

impl Registry {
    /// The best proof for a request to `url` by what is known.
    pub(super) async fn prove(&self, access: &Access, url: &Url) -> Result<Proof, RegistryError> {
        // No caller asks elsewhere; if one ever does, it does so as nobody.
        if !access.is_at_home(url) {
            return Ok(Proof::new(None, Then::GiveUp(None)));
        }
        if let Some(Login::Bearer(token)) = access.login() {
            return Ok(Proof::new(Some(bearer(token)?), Then::GiveUp(None)));
        }
        match (self.memory.way(access.key), access.login()) {
            (Some(Way::Basic), Some(Login::Password { user, password })) => {
                Ok(Proof::new(Some(basic(user, password)?), Then::AskAgain))
            }
            (Some(Way::Bearer(issuer, actions)), _) => {
                self.prove_by_token(access, issuer, actions).await
            }
            (None | Some(Way::Basic), _) => Ok(Proof::new(None, Then::Ask)),
        }
    }

    /// Another proof after this one was refused, as long as there is one.
    pub(super) async fn prove_again(
        &self,
        access: &Access,
        refused: Proof,
        headers: &HeaderMap,
    ) -> Result<Proof, RegistryError> {
        match refused.then {
            Then::GiveUp(token) => {
                if let Some(key) = token {
                    self.memory.drop_token(key);
                }
                Err(self.gave_up(access, None))
            }
            Then::Refresh(key, issuer, actions) => {
                self.memory.drop_token(key);
                let token = self.fetch(access, &issuer, actions).await?;
                Ok(Proof::new(Some(bearer(&token)?), Then::GiveUp(Some(key))))
            }
            Then::Ask => self.answer(access, headers, false).await,
            Then::AskAgain => self.answer(access, headers, true).await,
        }
    }

    async fn answer(
        &self,
        access: &Access,
        headers: &HeaderMap,
        password_was_refused: bool,
    ) -> Result<Proof, RegistryError> {
        let asked = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let asked = match challenge(asked.map(HeaderValue::as_bytes)) {
            Ok(asked) => asked,
            Err(NoChallenge::Unsupported) => {
                return Err(self.gave_up(access, Some(Refusal::Unsupported)));
            }
            Err(source) => return Err(Denied::Challenge { source }.into()),
        };
        match (asked, access.login()) {
            (Challenge::Basic, Some(Login::Password { user, password }))
                if !password_was_refused =>
            {
                self.memory.learn(access.key, Way::Basic);
                Ok(Proof::new(Some(basic(user, password)?), Then::GiveUp(None)))
            }
            (Challenge::Basic, Some(Login::Refresh(_))) => {
                Err(self.gave_up(access, Some(Refusal::NeedsPassword)))
            }
            (Challenge::Basic, _) => Err(self.gave_up(access, None)),
            (Challenge::Bearer { issuer, scope }, _) => {
                let issuer = Arc::new(issuer);
                let actions = actions(&access.path, scope.as_deref());
                let way = Way::Bearer(Arc::clone(&issuer), actions);
                let proof = self.prove_by_token(access, issuer, actions).await?;
                self.memory.learn(access.key, way);
                Ok(proof)
            }
        }
    }

    async fn prove_by_token(
        &self,
        access: &Access,
        issuer: Arc<Issuer>,
        actions: Actions,
    ) -> Result<Proof, RegistryError> {
        let key = key(access, &issuer, actions);
        if let Some(token) = self.memory.token(key, clock::instant()) {
            let then = Then::Refresh(key, issuer, actions);
            return Ok(Proof::new(Some(bearer(&token)?), then));
        }
        let token = self.fetch(access, &issuer, actions).await?;
        Ok(Proof::new(Some(bearer(&token)?), Then::GiveUp(Some(key))))
    }

    /// Nothing is left to try. The next poll asks the registry anew what it wants: it may have
    /// changed its mind.
    fn gave_up(&self, access: &Access, why: Option<Refusal>) -> RegistryError {
        self.memory.forget(access.key);
        let secret = access.subscription.credentials.clone();
        Denied::Unauthorized { secret, why }.into()
    }

    /// A new token, remembered.
    async fn fetch(
        &self,
        access: &Access,
        issuer: &Issuer,
        actions: Actions,
    ) -> Result<SecretString, RegistryError> {
        let fetched = self.ask_for_token(access, issuer, actions).await;
        if fetched.is_err() {
            // The token server may have moved.
            self.memory.forget(access.key);
        }
        let token = fetched?;
        let key = key(access, issuer, actions);
        self.memory.keep(key, &token, clock::instant());
        Ok(token.value)
    }

    async fn ask_for_token(
        &self,
        access: &Access,
        issuer: &Issuer,
        actions: Actions,
    ) -> Result<Token, RegistryError> {
        let url = realm(&issuer.realm, &access.root).map_err(|source| Denied::Realm { source })?;
        let login = self.login_at(access, &url)?;
        let asked = self.request_token(access, issuer, actions, &url, login);
        asked.await.map_err(|source| {
            let host = shown(&url);
            let source = Box::new(source);
            Denied::TokenServer { host, source }.into()
        })
    }

    /// What a token server may see of the credentials: all or nothing. There is no token for
    /// nobody where credentials were asked for.
    fn login_at<'a>(
        &self,
        access: &'a Access,
        realm: &Url,
    ) -> Result<Option<&'a Login>, RegistryError> {
        let Some(credentials) = &access.credentials else {
            return Ok(None);
        };
        let repository = &access.subscription.repository;
        let may_see = self.token_servers.may_see(realm, &access.root, repository)
            || credentials.are_also_for(realm);
        if may_see {
            return Ok(Some(&credentials.login));
        }
        let source = RefusedRealm::NotTrusted(shown(realm), repository.host().to_owned());
        Err(Denied::Realm { source }.into())
    }

    async fn request_token(
        &self,
        access: &Access,
        issuer: &Issuer,
        actions: Actions,
        realm: &Url,
        login: Option<&Login>,
    ) -> Result<Token, RegistryError> {
        let service = issuer.service.as_deref();
        let scope = actions.scope(&access.path);
        let request = match login {
            Some(Login::Refresh(token)) => access
                .request(Method::POST, realm)?
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(refresh_form(service, &scope, token)),
            Some(Login::Password { user, password }) => access
                .request(Method::GET, &request(realm, service, &scope))?
                .header(header::AUTHORIZATION, basic(user, password)?),
            Some(Login::Bearer(_)) | None => {
                access.request(Method::GET, &request(realm, service, &scope))?
            }
        };
        self.meter.sent(RequestKind::Token);
        let sent = request.header(header::ACCEPT, "application/json").send();
        let response = sent
            .await
            .map_err(|source| RegistryError::Transport { source })?;
        self.meter.answered(response.status(), response.headers());
        let response = no_redirect(response)?;
        let status = response.status();
        if status != StatusCode::OK {
            drop_politely(response).await;
            // RFC 6749 section 5.2: a refresh token that is not accepted is a 400.
            let refused =
                matches!(login, Some(Login::Refresh(_))) && status == StatusCode::BAD_REQUEST;
            let status = if refused {
                StatusCode::UNAUTHORIZED
            } else {
                status
            };
            return Err(RegistryError::Status { status });
        }
        let read = async { Incoming::of(response, LONGEST_BODY)?.all().await };
        let body = match read.await {
            Err(RegistryError::TooLarge { .. }) => {
                let source = InvalidToken::TooLarge;
                return Err(Denied::Token { source }.into());
            }
            read => read?,
        };
        token(&body, clock::now()).map_err(|source| Denied::Token { source }.into())
    }
}

impl Proof {
    fn new(header: Option<HeaderValue>, then: Then) -> Self {
        Self { header, then }
    }
}

fn key(access: &Access, issuer: &Issuer, actions: Actions) -> Key {
    let scope = actions.scope(&access.path);
    let service = issuer.service.as_deref();
    Key::of_token(
        access.identity(),
        &access.root,
        &issuer.realm,
        service,
        &scope,
    )
}

fn refresh_form(service: Option<&str>, scope: &str, token: &SecretString) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", scope)
        .append_pair("refresh_token", token.expose_secret())
        .finish()
}

fn basic(user: &SecretString, password: &SecretString) -> Result<HeaderValue, Denied> {
    let (user, password) = (user.expose_secret(), password.expose_secret());
    let text = BASE64_STANDARD.encode(format!("{user}:{password}"));
    sensitive(&format!("Basic {text}"))
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Denied> {
    sensitive(&format!("Bearer {}", token.expose_secret()))
}

/// A header that is not shown, and that HTTP/2 keeps in no table (RFC 7541 section 7.1.3).
fn sensitive(text: &str) -> Result<HeaderValue, Denied> {
    let mut header = HeaderValue::from_str(text).map_err(|_| Denied::Unsendable)?;
    header.set_sensitive(true);
    Ok(header)
}
