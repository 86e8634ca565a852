//! Reads the Secrets that bundles name, one by its name and nothing more: the poller may neither list
//! nor watch them. Nothing of a Secret is kept here.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret as Object;
use kube::{Api, Client};
use tracing::debug;
use werf_shared::error::chain;
use werf_shared::registry_secret::Secret;

use crate::decide::watched::SecretKey;

/// Longer than any answer of a healthy apiserver; the next poll asks again.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where Secrets are.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
}

/// A Secret could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is none of this name.
    #[error("does not exist")]
    NotFound,
    /// The poller may not.
    #[error("may not be read by the poller")]
    Forbidden,
    /// No answer, or none that helps.
    #[error("cannot be read just now, the apiserver does not answer")]
    Unreachable,
}

impl Secrets {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The Secret as it is now.
    pub async fn get(&self, key: &SecretKey) -> Result<Secret, SecretError> {
        let api: Api<Object> = Api::namespaced(self.client.clone(), &key.namespace);
        let got = tokio::time::timeout(DEADLINE, api.get(&key.name)).await;
        let error = match got {
            Ok(Ok(object)) => {
                let data = object.data.unwrap_or_default().into_iter();
                let data = data.map(|(name, value)| (name, value.0));
                return Ok(Secret::new(object.type_.unwrap_or_default(), data));
            }
            Ok(Err(error)) => error,
            Err(_) => return Err(SecretError::Unreachable),
        };
        match &error {
            kube::Error::Api(status) if status.code == 404 => Err(SecretError::NotFound),
            kube::Error::Api(status) if status.code == 403 => Err(SecretError::Forbidden),
            _ => {
                debug!(
                    secret.namespace = key.namespace,
                    secret.name = key.name,
                    error = chain(&error),
                    "Cannot read a Secret"
                );
                Err(SecretError::Unreachable)
            }
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets")
    }
}
