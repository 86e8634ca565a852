//! Gives an image to a registry over its HTTP interface.

use anyhow::{Context as _, bail};
use reqwest::{Client, Response, StatusCode};

use super::ImageSpec;
use super::manifest::{Blob, Image, MANIFEST_TYPE};
use crate::cluster::use_ring;

/// Pushes what the registry does not have yet; the manifest comes last, because a registry
/// refuses one that names unknown blobs.
pub(super) async fn push(registry: &str, spec: &ImageSpec, image: Image) -> anyhow::Result<String> {
    use_ring();
    // Nothing of the machine's proxies: the registry is on loopback.
    let client = Client::builder().no_proxy().build()?;
    let repository = format!("http://{registry}/v2/{}", spec.name);
    for blob in image.blobs {
        push_blob(&client, &repository, blob).await?;
    }
    let response = client
        .put(format!("{repository}/manifests/{}", spec.tag))
        .header("content-type", MANIFEST_TYPE)
        .body(image.manifest.content)
        .send()
        .await?;
    expect(response, StatusCode::CREATED).await?;
    Ok(image.manifest.digest)
}

async fn push_blob(client: &Client, repository: &str, blob: Blob) -> anyhow::Result<()> {
    let known = client
        .head(format!("{repository}/blobs/{}", blob.digest))
        .send()
        .await?;
    if known.status() == StatusCode::OK {
        return Ok(());
    }
    let begun = client
        .post(format!("{repository}/blobs/uploads/"))
        .send()
        .await?;
    let begun = expect(begun, StatusCode::ACCEPTED).await?;
    let location = begun
        .headers()
        .get("location")
        .context("the registry does not say where to upload to")?
        .to_str()?;
    // The address may be relative, and has a query of its own.
    let mut upload = begun.url().join(location)?;
    upload.query_pairs_mut().append_pair("digest", &blob.digest);
    let response = client
        .put(upload)
        .header("content-type", "application/octet-stream")
        .body(blob.content)
        .send()
        .await?;
    expect(response, StatusCode::CREATED).await?;
    Ok(())
}

async fn expect(response: Response, wanted: StatusCode) -> anyhow::Result<Response> {
    if response.status() == wanted {
        return Ok(response);
    }
    let (status, url) = (response.status(), response.url().clone());
    bail!(
        "{url} answered {status}: {}",
        response.text().await.unwrap_or_default()
    )
}
