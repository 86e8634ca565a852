//! Who gets which token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};
use url::form_urlencoded;
use werf_shared::clock;

use super::sign::Access;
use super::{Desk, ORDINARY, TokenRequest, lock};
use crate::registries::configuration::SERVICE;

/// Who asks for a token.
enum Caller {
    /// Whoever sends no password.
    Nobody,
    /// Somebody with the right password.
    Known(String),
    /// Somebody with another one.
    Stranger,
}

impl Desk {
    /// Answers a request and remembers it.
    pub(super) fn answer(&self, uri: &Uri, headers: &HeaderMap) -> (StatusCode, Value) {
        let query = uri.query().unwrap_or_default();
        let asked = |wanted: &str| -> Option<String> {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find_map(|(key, value)| (key == wanted).then(|| value.into_owned()))
        };
        let scope = asked("scope").unwrap_or_default();
        let ours = uri.path() == "/token" && asked("service").as_deref() == Some(SERVICE);
        let (user, granted) = match self.caller(headers) {
            _ if !ours => (None, None),
            Caller::Nobody => (None, self.grant(None, &scope)),
            Caller::Known(user) => {
                let granted = self.grant(Some(&user), &scope);
                (Some(user), granted)
            }
            Caller::Stranger => (None, None),
        };
        let (status, body) = match granted {
            Some(body) => (StatusCode::OK, body),
            None => (
                StatusCode::UNAUTHORIZED,
                json!({ "details": "incorrect username or password" }),
            ),
        };
        lock(&self.requests).push(TokenRequest {
            user,
            scope,
            status: status.as_u16(),
        });
        (status, body)
    }

    fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Caller::Nobody;
        };
        let login = value.to_str().ok().and_then(login);
        match login {
            Some((user, password)) if self.users.get(&user) == Some(&password) => {
                Caller::Known(user)
            }
            _ => Caller::Stranger,
        }
    }

    /// A token for as much of the scope as the user may; nothing for nobody in particular who
    /// wants what is not public.
    fn grant(&self, user: Option<&str>, scope: &str) -> Option<Value> {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let may = |action: &str| match user {
            None => name.starts_with("public/") && action == "pull",
            Some(_) => !name.starts_with("closed/"),
        };
        let actions: Vec<_> = actions.split(',').filter(|action| may(action)).collect();
        if user.is_none() && actions.is_empty() {
            return None;
        }
        let access = Access {
            kind: "repository".to_owned(),
            name: name.to_owned(),
            actions: actions.iter().map(ToString::to_string).collect(),
        };
        let lifetime = lock(&self.lifetimes).get(name).copied();
        let lifetime = lifetime.unwrap_or(ORDINARY);
        let subject = user.unwrap_or_default();
        let token = self
            .signer
            .sign(subject, SERVICE, &[access], lifetime.signed)
            .ok()?;
        Some(json!({
            "token": token,
            "access_token": token,
            "expires_in": lifetime.said,
            "issued_at": clock::now().to_string(),
        }))
    }
}

/// Name and password of HTTP's Basic scheme.
fn login(value: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
