//! Whose is a Pod? Helm, and werf with it, marks the objects of a release with annotations. The
//! Deployment controller copies them to the `ReplicaSets` it makes (`SetNewReplicaSetAnnotations` in
//! `pkg/controller/deployment/util`); nobody copies them to Pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use werf_shared::names::is_subdomain;

const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// What owns a Pod in trouble.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerRef {
    /// The run's Job.
    Job,
    /// Nobody: the Pod itself is the release's.
    Itself(String),
    /// Something that has to be looked up.
    Controller {
        /// What it is.
        kind: OwnerKind,
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
}

/// What the Pods of an application are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerKind {
    /// Of a Deployment.
    ReplicaSet,
    /// Itself part of a release.
    StatefulSet,
    /// Itself part of a release.
    DaemonSet,
    /// Itself part of a release, as a hook often is.
    Job,
}

impl OwnerRef {
    /// What a reference names. References hold any text (`ValidateOwnerReferences` in apimachinery's
    /// `pkg/api/validation`, `ObjectReference` of Events): what cannot be a name is nobody's.
    pub(super) fn named(kind: &str, name: &str, uid: &str) -> Option<Self> {
        let kind = OwnerKind::parse(kind)?;
        is_subdomain(name).then(|| Self::Controller {
            kind,
            name: name.to_owned(),
            uid: uid.to_owned(),
        })
    }
}

impl OwnerKind {
    /// The kind as references and Events name it.
    pub fn parse(kind: &str) -> Option<Self> {
        Some(match kind {
            "ReplicaSet" => Self::ReplicaSet,
            "StatefulSet" => Self::StatefulSet,
            "DaemonSet" => Self::DaemonSet,
            "Job" => Self::Job,
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }
}

/// An owner as it is told, if it is part of the release: `Deployment/app` for its `ReplicaSet`.
pub fn workload(
    kind: OwnerKind,
    owner: &ObjectMeta,
    release: &str,
    namespace: &str,
) -> Option<String> {
    if !is_of_release(owner, release, namespace) {
        return None;
    }
    let deployment = controller(owner)
        .filter(|above| kind == OwnerKind::ReplicaSet && above.kind == "Deployment")
        .filter(|above| is_subdomain(&above.name))
        .map(|above| format!("Deployment/{}", above.name));
    Some(deployment.unwrap_or_else(|| {
        let name = owner.name.as_deref().unwrap_or_default();
        format!("{}/{name}", kind.as_str())
    }))
}

/// The annotation says what release something belongs to.
pub fn is_marker(annotation: &str) -> bool {
    [RELEASE_NAME, RELEASE_NAMESPACE].contains(&annotation)
}

pub(super) fn is_of_release(object: &ObjectMeta, release: &str, namespace: &str) -> bool {
    let default = BTreeMap::new();
    let annotations = object.annotations.as_ref().unwrap_or(&default);
    let says = |key: &str, value: &str| annotations.get(key).is_some_and(|it| it == value);
    says(RELEASE_NAME, release) && says(RELEASE_NAMESPACE, namespace)
}

/// The owner that manages an object.
pub(super) fn controller(object: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = object.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true))
}
