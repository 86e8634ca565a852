//! The two documents of an image: how it runs, and which blobs it is made of.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ImageSpec;

/// The media type the manifest is pushed as.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Content with the digest it is stored under.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) content: Vec<u8>,
}

/// Everything a registry must be given.
#[derive(Debug)]
pub(super) struct Image {
    /// The layer and the configuration.
    pub(super) blobs: [Blob; 2],
    pub(super) manifest: Blob,
}

impl Blob {
    pub(super) fn new(content: Vec<u8>) -> Self {
        let digest = format!("sha256:{:x}", Sha256::digest(&content));
        Self { digest, content }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.content.len() })
    }
}

impl Image {
    pub(super) fn new(spec: &ImageSpec, layer: Vec<u8>) -> anyhow::Result<Self> {
        let layer = Blob::new(layer);
        let config = Blob::new(serde_json::to_vec(&config(spec, &layer))?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        });
        let manifest = Blob::new(serde_json::to_vec(&manifest)?);
        Ok(Self {
            blobs: [layer, config],
            manifest,
        })
    }
}

fn config(spec: &ImageSpec, layer: &Blob) -> Value {
    let env: Vec<_> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": spec.entrypoint,
            "Cmd": spec.command,
            // As a number, so that `runAsNonRoot` can be checked.
            "User": spec.user.to_string(),
            "Env": env,
        },
        // An uncompressed layer is what it unpacks to.
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    })
}

/// The machine's architecture in the words of Go, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
