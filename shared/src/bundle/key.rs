//! The identity of a bundle in queues, logs and messages.

use std::fmt;

use kube::ResourceExt;

use super::WerfBundle;

/// Namespace and name of a `WerfBundle`. Says nothing about which object of that name: where it
/// matters, the uid goes along.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleKey {
    /// Namespace of the bundle.
    pub namespace: String,
    /// Name of the bundle.
    pub name: String,
}

impl BundleKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object as the apiserver sent it.
    pub fn of(bundle: &WerfBundle) -> Self {
        Self::new(bundle.namespace().unwrap_or_default(), bundle.name_any())
    }
}

impl fmt::Display for BundleKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}
