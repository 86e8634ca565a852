//! One repository of a registry, spoken to over its HTTP interface.

use anyhow::{Context as _, bail};
use http::header::{ACCEPT, CONTENT_TYPE, LINK, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Bundle;
use crate::cluster::use_ring;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CHART_CONFIG_TYPE: &str = "application/vnd.cncf.helm.config.v1+json";
const BUNDLE_LAYER_TYPE: &str = "application/tar+gzip";

/// A repository such as `127.0.0.1:5000/demo/app`.
#[derive(Debug, Clone)]
pub struct Repository {
    client: Client,
    base: Url,
    host: String,
    path: String,
    login: Option<(String, String)>,
}

impl Repository {
    /// A repository on a registry that speaks plain HTTP.
    pub fn new(host: &str, path: &str) -> anyhow::Result<Self> {
        use_ring();
        Self::with_client(
            Client::builder().no_proxy().build()?,
            &format!("http://{host}"),
            path,
        )
    }

    /// A repository behind the given origin, reached through a client that trusts it.
    pub fn with_client(client: Client, origin: &str, path: &str) -> anyhow::Result<Self> {
        let base = Url::parse(origin).with_context(|| format!("bad registry origin {origin}"))?;
        let host = origin.split_once("://").map_or(origin, |(_, host)| host);
        Ok(Self {
            client,
            host: host.trim_end_matches('/').to_owned(),
            path: path.to_owned(),
            base,
            login: None,
        })
    }

    /// The same repository with a name and a password.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// `HOST/PATH`, as it is written in a `WerfBundle`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Publishes a bundle under a tag and returns its digest.
    pub async fn push(&self, tag: &str, bundle: &Bundle) -> anyhow::Result<String> {
        let packed = bundle.pack(&self.name(), tag)?;
        let config = self.blob(CHART_CONFIG_TYPE, packed.config).await?;
        let layer = self.blob(BUNDLE_LAYER_TYPE, packed.chart).await?;
        // werf leaves out the manifest's own media type; it is only in the header.
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        self.push_manifest(tag, MANIFEST_TYPE, manifest.to_string().into_bytes())
            .await
    }

    /// Stores a manifest of any kind under a tag or a digest, and returns its digest.
    pub async fn push_manifest(
        &self,
        reference: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<String> {
        let digest = digest_of(&body);
        let request = self
            .client
            .put(self.url(&format!("manifests/{reference}"))?)
            .header(CONTENT_TYPE, content_type)
            .body(body);
        self.send(request, &[StatusCode::CREATED]).await?;
        Ok(digest)
    }

    /// Stores a blob, unless the registry has it already, and returns its digest.
    pub async fn push_blob(&self, content: Vec<u8>) -> anyhow::Result<String> {
        let digest = digest_of(&content);
        let known = self.client.head(self.url(&format!("blobs/{digest}"))?);
        let known = self
            .send(known, &[StatusCode::OK, StatusCode::NOT_FOUND])
            .await?;
        if known.status() == StatusCode::OK {
            return Ok(digest);
        }
        let request = self.client.post(self.url("blobs/uploads/")?);
        let begun = self.send(request, &[StatusCode::ACCEPTED]).await?;
        let location = begun
            .headers()
            .get(LOCATION)
            .context("the registry does not say where to upload to")?
            .to_str()?;
        // The address may be relative, and may have a query of its own.
        let mut upload = begun.url().join(location)?;
        upload.query_pairs_mut().append_pair("digest", &digest);
        let request = self
            .client
            .put(upload)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(content);
        self.send(request, &[StatusCode::CREATED]).await?;
        Ok(digest)
    }

    /// Stores a blob and describes it the way manifests do.
    pub(super) async fn blob(&self, media_type: &str, content: Vec<u8>) -> anyhow::Result<Value> {
        let size = content.len();
        let digest = self.push_blob(content).await?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
    }

    /// All tags, in the registry's order; none when the repository does not exist.
    pub async fn tags(&self) -> anyhow::Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut next = Some(self.url("tags/list")?);
        while let Some(url) = next {
            let request = self.client.get(url).header(ACCEPT, "application/json");
            let response = self
                .send(request, &[StatusCode::OK, StatusCode::NOT_FOUND])
                .await?;
            if response.status() == StatusCode::NOT_FOUND {
                break;
            }
            next = following(&response)?;
            let page: TagList = serde_json::from_slice(&response.bytes().await?)?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(tags)
    }

    /// Removes a manifest and its tags; the registry must allow deletion.
    pub async fn delete(&self, digest: &str) -> anyhow::Result<()> {
        let request = self
            .client
            .delete(self.url(&format!("manifests/{digest}"))?);
        self.send(request, &[StatusCode::ACCEPTED]).await?;
        Ok(())
    }

    fn url(&self, rest: &str) -> anyhow::Result<Url> {
        Ok(self.base.join(&format!("/v2/{}/{rest}", self.path))?)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        expected: &[StatusCode],
    ) -> anyhow::Result<Response> {
        let request = match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        let response = request.send().await?;
        if expected.contains(&response.status()) {
            return Ok(response);
        }
        let (status, url) = (response.status(), response.url().clone());
        let body = response.text().await.unwrap_or_default();
        bail!("{url} answered {status}: {body}")
    }
}

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

/// The address of the next page, when there is one.
fn following(response: &Response) -> anyhow::Result<Option<Url>> {
    let Some(link) = response.headers().get(LINK) else {
        return Ok(None);
    };
    let link = link.to_str()?;
    let target = link
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .map(|(target, _)| target)
        .with_context(|| format!("cannot read the link {link}"))?;
    Ok(Some(response.url().join(target)?))
}

/// `sha256:` and 64 hex digits.
pub(super) fn digest_of(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}
