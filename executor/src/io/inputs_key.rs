//! The key that inputs are hashed with: random, made once per installation, kept in a Secret beside
//! the operator so that all replicas use the same.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rand::RngCore;

use super::api::{ApiError, call, find};
use crate::decide::inputs::InputsKey;

/// The Secret's name.
pub const SECRET: &str = "werf-operator-inputs-key";

const ENTRY: &str = "key";

/// Reads the key, or makes it. Of two replicas that make it at once one is refused and reads the
/// other's. Losing the Secret costs one deployment per bundle that changes nothing.
pub async fn load(client: &Client, namespace: &str) -> Result<InputsKey, ApiError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(key) = find("read the inputs key", api.get(SECRET))
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
    match call(
        "make the inputs key",
        api.create(&PostParams::default(), &secret),
    )
    .await
    {
        Ok(_) => Ok(InputsKey::new(bytes)),
        Err(conflict @ ApiError::Conflict { .. }) => {
            let made = find("read the inputs key", api.get(SECRET)).await?;
            made.and_then(key).ok_or(conflict)
        }
        Err(error) => Err(error),
    }
}

fn key(secret: Secret) -> Option<InputsKey> {
    secret
        .data?
        .remove(ENTRY)
        .map(|bytes| bytes.0)
        .filter(|bytes| bytes.len() >= 16)
        .map(InputsKey::new)
}
