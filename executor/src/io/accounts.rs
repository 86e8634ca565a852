//! What has to be there before a Job: the target namespace and the ServiceAccount in it.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client};

use super::api::{ApiError, find};
use super::essential::Identity;

/// What keeps a Job from being made.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The target namespace is not there.
    #[error("namespace {0} does not exist")]
    Namespace(String),
    /// The target namespace is being deleted.
    #[error("namespace {0} is being deleted")]
    NamespaceLeaving(String),
    /// The ServiceAccount is not there.
    #[error("ServiceAccount {name} does not exist in namespace {namespace}")]
    ServiceAccount {
        /// Its name.
        name: String,
        /// The target namespace.
        namespace: String,
    },
    /// It could not be found out.
    #[error(transparent)]
    Unknown(#[from] ApiError),
}

impl Missing {
    /// The reason of the condition that tells it; none where it could not be found out.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Namespace(_) => Some("TargetNamespaceNotFound"),
            Self::NamespaceLeaving(_) => Some("TargetNamespaceTerminating"),
            Self::ServiceAccount { .. } => Some("ServiceAccountNotFound"),
            Self::Unknown(_) => None,
        }
    }
}

/// Checks that a Job can run as `name` in `namespace`.
pub async fn check(client: &Client, namespace: &str, name: &str) -> Result<(), Missing> {
    let accounts: Api<Identity<ServiceAccount>> = Api::namespaced(client.clone(), namespace);
    let namespaces: Api<Identity<Namespace>> = Api::all(client.clone());
    let (account, place) = futures::try_join!(
        find("read the ServiceAccount", accounts.get(name)),
        find("read the namespace", namespaces.get(namespace)),
    )?;
    match (place, account) {
        (None, _) => Err(Missing::Namespace(namespace.to_owned())),
        // Its contents go first.
        (Some(place), _) if place.metadata.deletion_timestamp.is_some() => {
            Err(Missing::NamespaceLeaving(namespace.to_owned()))
        }
        (Some(_), None) => Err(Missing::ServiceAccount {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
        }),
        (Some(_), Some(_)) => Ok(()),
    }
}
