//! What else may lie in a repository beside bundles: things that carry a tag and must not be
//! deployed. Each has its parts in the registry, so that only its shape tells it apart.

use serde_json::{Value, json};

use super::Bundle;
use super::repository::{Repository, digest_of};

const IMAGE_MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const IMAGE_LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CHART_CONFIG_TYPE: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_LAYER_TYPE: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const PROVENANCE_TYPE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

impl Repository {
    /// A container image, as werf keeps its stages beside the bundles.
    pub async fn push_container_image(&self, tag: &str) -> anyhow::Result<String> {
        let manifest = self.container_image().await?.to_string().into_bytes();
        self.push_manifest(tag, IMAGE_MANIFEST_TYPE, manifest).await
    }

    /// A chart with a signature: `helm push` adds it as a second layer, which werf refuses.
    pub async fn push_signed_chart(&self, tag: &str) -> anyhow::Result<String> {
        let packed = Bundle::with_templates("signed", &[], "")?.pack(&self.name(), tag)?;
        let manifest = json!({
            "schemaVersion": 2,
            "config": self.blob(CHART_CONFIG_TYPE, packed.config).await?,
            "layers": [
                self.blob(CHART_LAYER_TYPE, packed.chart).await?,
                self.blob(PROVENANCE_TYPE, b"not a real signature".to_vec()).await?,
            ],
        });
        self.push_manifest(tag, IMAGE_MANIFEST_TYPE, manifest.to_string().into_bytes())
            .await
    }

    /// An index of images for several platforms.
    pub async fn push_index(&self, tag: &str) -> anyhow::Result<String> {
        let image = self.container_image().await?.to_string().into_bytes();
        let size = image.len();
        let digest = digest_of(&image);
        self.push_manifest(&digest, IMAGE_MANIFEST_TYPE, image)
            .await?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [{
                "mediaType": IMAGE_MANIFEST_TYPE,
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": "amd64"},
            }],
        });
        self.push_manifest(tag, INDEX_TYPE, index.to_string().into_bytes())
            .await
    }

    async fn container_image(&self) -> anyhow::Result<Value> {
        let config = json!({
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(b"layer")]},
        });
        Ok(json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST_TYPE,
            "config": self.blob(IMAGE_CONFIG_TYPE, config.to_string().into_bytes()).await?,
            "layers": [self.blob(IMAGE_LAYER_TYPE, b"layer".to_vec()).await?],
        }))
    }
}
