//! The bundles that are polled for, as an apiserver has them after the operator has run for a while:
//! their newest tag is announced and deployed, so that there is nothing to tell about them.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::shape::{MANIFEST, Shape};
use super::wire::{self, Wire};

/// Where all of them are.
pub(super) const NAMESPACE: &str = "measured";

/// The Secret with the authority's certificate.
const CERTIFICATES: &str = "authority";

/// A constraint no tag of the registry satisfies.
const NOTHING: &str = ">=9000.0.0";

/// Bundles of different repositories that are alike otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundles {
    /// The label their requests are counted under.
    pub(super) label: &'static str,
    /// How their registry is talked to.
    pub(super) wire: Wire,
    /// How many there are.
    pub(super) count: usize,
    /// What their repositories hold.
    pub(super) shape: Shape,
    /// A tag is chosen for them; else their constraint matches nothing.
    pub(super) chosen: bool,
    /// They name a Secret with the authority; else it is trusted by everybody.
    pub(super) secret: bool,
}

/// The Secret that bundles may name.
pub(super) fn secrets(pki: &Path) -> anyhow::Result<HashMap<String, Value>> {
    let authority = std::fs::read(pki.join(wire::AUTHORITY))?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": CERTIFICATES, "namespace": NAMESPACE, "resourceVersion": "1", "uid": "1",
        },
        "data": { "ca.crt": BASE64_STANDARD.encode(authority) },
    });
    Ok(HashMap::from([(CERTIFICATES.to_owned(), secret)]))
}

impl Bundles {
    /// The objects.
    pub(super) fn objects(&self) -> Vec<Value> {
        (0..self.count).map(|number| self.object(number)).collect()
    }

    pub(super) fn object(&self, number: usize) -> Value {
        let repository = self.shape.repository(self.label, number);
        let mut registry = json!({
            "url": format!("{}/{repository}", self.wire.host(number)),
            "pollInterval": "1m",
            "insecure": !self.wire.is_tls(),
        });
        if self.secret {
            registry["certSecretRef"] = json!({ "name": CERTIFICATES });
        }
        if !self.chosen {
            registry["versionConstraint"] = json!(NOTHING);
        }
        json!({
            "apiVersion": "werf.io/v1alpha1",
            "kind": "WerfBundle",
            "metadata": {
                "name": format!("app-{number}"), "namespace": NAMESPACE,
                "uid": format!("{}-{number}", self.label), "generation": 1, "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["werf.io/jobs"],
            },
            "spec": { "registry": registry },
            "status": self.status(),
        })
    }

    fn status(&self) -> Value {
        let time = "2026-01-01T00:00:00Z";
        let tag = self.shape.newest();
        let condition = |kind: &str, reason: &str| {
            json!({
                "type": kind, "status": "True", "reason": reason, "message": "",
                "observedGeneration": 1, "lastTransitionTime": time,
            })
        };
        json!({
            "observedGeneration": 1,
            "phase": "Synced",
            "lastAppliedTag": tag,
            "desiredTag": tag,
            "lastETag": self.shape.etag(0).unwrap_or_default(),
            "announced": { "tag": tag, "digest": MANIFEST.1, "generation": 1 },
            "conditions": [condition("Ready", "Synced"), condition("RegistryAvailable", "Polled")],
        })
    }
}
