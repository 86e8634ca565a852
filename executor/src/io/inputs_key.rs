//! The key that inputs are hashed with: random, made once per installation, kept in a Secret beside
//! the operator so that all replicas use the same. Who has lost the Secret's key, because it was deleted
//! or restored, finds that out from the hashes of others, and takes the one that is there now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rand::RngCore;
use tracing::info;

use super::api::{ApiError, Words, call_with, find_with};
use crate::decide::inputs::InputsKey;

/// The Secret's name.
pub const SECRET: &str = "werf-operator-inputs-key";

const ENTRY: &str = "key";

const READ: &str = "read the inputs key";

/// A shorter key could be guessed.
const SHORTEST: usize = 16;

/// The key as this process knows it. The Secret may have another one since.
pub struct KeyInUse {
    client: Client,
    namespace: String,
    key: Mutex<Arc<InputsKey>>,
}

impl KeyInUse {
    /// Reads the key, or makes it.
    pub async fn load(client: Client, namespace: String) -> Result<Self, ApiError> {
        let key = load(&client, &namespace).await?;
        Ok(Self {
            client,
            namespace,
            key: Mutex::new(Arc::new(key)),
        })
    }

    /// The key that was read last.
    pub fn current(&self) -> Arc<InputsKey> {
        Arc::clone(&self.key.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the key anew, or makes it; from then on it is the current one. A key that was lost is never
    /// put back: perhaps somebody wanted to be rid of it. Of two that read at once, the older answer may
    /// come last; the next hash that names another key shows it.
    pub async fn reload(&self) -> Result<Arc<InputsKey>, ApiError> {
        let read = Arc::new(load(&self.client, &self.namespace).await?);
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != read {
            info!(
                key.id = read.id(),
                "Secret {SECRET} has another key; inputs are hashed with that from now on"
            );
            *known = Arc::clone(&read);
        }
        Ok(read)
    }
}

/// Reads the key, or makes it. Of two replicas that make it at once one is refused and reads the
/// other's.
async fn load(client: &Client, namespace: &str) -> Result<InputsKey, ApiError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(key) = find_with(Words::Withheld, READ, api.get(SECRET))
        .await?
        .and_then(key)
    {
        return Ok(key);
    }
    let mut bytes = vec![0; 32];
    rand::rng().fill_bytes(&mut bytes);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(BTreeMap::from([(
            ENTRY.to_owned(),
            ByteString(bytes.clone()),
        )])),
        ..Secret::default()
    };
    let params = PostParams::default();
    let made = api.create(&params, &secret);
    match call_with(Words::Withheld, "make the inputs key", made).await {
        Ok(_) => Ok(InputsKey::new(bytes)),
        Err(conflict @ ApiError::Conflict { .. }) => {
            let made = find_with(Words::Withheld, READ, api.get(SECRET)).await?;
            let made = made.ok_or(conflict)?;
            key(made).ok_or_else(|| ApiError::Failed {
                operation: READ,
                reason: format!("Secret {SECRET} has no {ENTRY} of {SHORTEST} bytes or more"),
            })
        }
        Err(error) => Err(error),
    }
}

fn key(secret: Secret) -> Option<InputsKey> {
    secret
        .data?
        .remove(ENTRY)
        .map(|bytes| bytes.0)
        .filter(|bytes| bytes.len() >= SHORTEST)
        .map(InputsKey::new)
}

#[cfg(test)]
mod tests;
