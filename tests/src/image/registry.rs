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

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_bytes, header, method, path, path_regex, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::{ImageSpec, manifest::Image, push as push_image};
    use super::*;

    fn spec() -> ImageSpec {
        ImageSpec {
            name: "some/image".to_owned(),
            tag: "1".to_owned(),
            entrypoint: vec!["/program".to_owned()],
            ..ImageSpec::default()
        }
    }

    fn image() -> Image {
        Image::new(&spec(), super::super::layer::build(&spec()).unwrap()).unwrap()
    }

    fn answer(status: u16) -> ResponseTemplate {
        ResponseTemplate::new(status)
    }

    #[tokio::test]
    async fn unknown_blobs_are_uploaded_where_the_registry_says_and_the_manifest_follows() {
        let server = MockServer::start().await;
        let image = image();
        Mock::given(method("HEAD"))
            .respond_with(answer(404))
            .mount(&server)
            .await;
        let location = "/v2/some/image/blobs/uploads/17?_state=kept";
        Mock::given(method("POST"))
            .and(path("/v2/some/image/blobs/uploads/"))
            .respond_with(answer(202).insert_header("location", location))
            .mount(&server)
            .await;
        for blob in &image.blobs {
            Mock::given(method("PUT"))
                .and(path("/v2/some/image/blobs/uploads/17"))
                .and(query_param("_state", "kept"))
                .and(query_param("digest", &blob.digest))
                .and(body_bytes(blob.content.clone()))
                .respond_with(answer(201))
                .expect(1)
                .mount(&server)
                .await;
        }
        Mock::given(method("PUT"))
            .and(path("/v2/some/image/manifests/1"))
            .and(header("content-type", MANIFEST_TYPE))
            .and(body_bytes(image.manifest.content.clone()))
            .respond_with(answer(201))
            .expect(1)
            .mount(&server)
            .await;
        let registry = server.address().to_string();
        let digest = push_image(&spec(), &registry).await.unwrap();
        assert_eq!(digest, image.manifest.digest);
    }

    #[tokio::test]
    async fn known_blobs_are_not_sent_and_a_refusal_is_shown() {
        let server = MockServer::start().await;
        Mock::given(method("HEAD"))
            .and(path_regex("^/v2/some/image/blobs/sha256:"))
            .respond_with(answer(200))
            .expect(2)
            .mount(&server)
            .await;
        Mock::given(method("PUT"))
            .respond_with(answer(400).set_body_string("MANIFEST_INVALID"))
            .mount(&server)
            .await;
        let registry = server.address().to_string();
        let error = push(&registry, &spec(), image()).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("400") && text.contains("MANIFEST_INVALID"),
            "{text}"
        );
    }
}
