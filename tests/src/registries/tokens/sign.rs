//! Makes the tokens: a JSON Web Token signed with ES256 whose certificate comes along, so that a
//! registry needs to know only the authority.
//! <https://distribution.github.io/distribution/spec/auth/jwt/>

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde::Serialize;
use serde_json::{Value, json};
use werf_shared::clock;

use super::ISSUER;
use crate::authority::Authority;

/// Signs with a key of its own.
#[derive(Debug)]
pub(super) struct Signer {
    authority: Authority,
    certificate: Vec<u8>,
    key: EcdsaKeyPair,
}

/// What a token allows to do with one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Access {
    /// What kind of thing: always `repository` here.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Which one.
    pub(super) name: String,
    /// What may be done: `pull`, `push`, `delete`.
    pub(super) actions: Vec<String>,
}

impl Signer {
    pub(super) fn new() -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let signed = authority.client("tokens", None)?;
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            signed.key.serialized_der(),
            &SystemRandom::new(),
        );
        let key = key.map_err(|rejected| anyhow!("cannot sign with the key: {rejected}"))?;
        Ok(Self {
            authority,
            certificate: signed.der,
            key,
        })
    }

    pub(super) fn authority(&self) -> &str {
        self.authority.pem()
    }

    /// A token whose life ends so many seconds from now, or that many ago.
    pub(super) fn sign(
        &self,
        subject: &str,
        audience: &str,
        access: &[Access],
        seconds: i32,
    ) -> anyhow::Result<String> {
        let now = clock::now().as_second();
        let header = json!({
            "typ": "JWT",
            "alg": "ES256",
            "x5c": [STANDARD.encode(&self.certificate)],
        });
        let claims = json!({
            "iss": ISSUER,
            "sub": subject,
            "aud": audience,
            "exp": now + i64::from(seconds),
            "nbf": now - 300,
            "iat": now,
            "jti": format!("{:016x}", rand::random::<u64>()),
            "access": access,
        });
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_unspecified| anyhow!("cannot sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
