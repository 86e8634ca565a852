//! Does a manifest hold a bundle that werf can apply? werf takes exactly one layer, and it must be
//! a chart; everything else is named, so that people see what they pushed.

use serde::Deserialize;

/// What `Accept` offers: without all of these some registries convert or refuse manifests.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const PROVENANCE: &str = "application/vnd.cncf.helm.chart.provenance.v1.prov";

/// Layers werf reads a chart from: those of `werf bundle publish` and of `helm push`.
const CHART_LAYERS: [&str; 2] = [
    "application/tar+gzip",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
];

const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What Docker pushed before 2016.
const OUTDATED: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

const IMAGE_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// What a manifest turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A bundle.
    Bundle,
    /// Something else, named with its article.
    NotABundle(String),
}

/// An answer that is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a manifest")]
pub struct NotAManifest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
}

/// Says what a manifest holds. Its type is what the body says and the header does not deny: those
/// who read only one of the two must not see something else (OCI image specification, "Image
/// Manifest", on `mediaType`; CVE-2021-41190).
pub fn content(content_type: Option<&str>, body: &[u8]) -> Result<Content, NotAManifest> {
    let manifest: Manifest = serde_json::from_slice(body).map_err(|_| NotAManifest)?;
    let header = content_type.map(essence);
    let inner = manifest.media_type.as_deref().map(essence);
    let is_of = |types: &[&str]| [header, inner].iter().flatten().any(|t| types.contains(t));
    if manifest.schema_version == 1 || manifest.fs_layers.is_some() || is_of(&OUTDATED) {
        return Ok(not_a_bundle("a container image of an outdated format"));
    }
    if manifest.manifests.is_some() && (manifest.layers.is_some() || is_of(&MANIFESTS)) {
        return Ok(not_a_bundle("a manifest that is also an index"));
    }
    if manifest.manifests.is_some() || is_of(&INDEXES) {
        return Ok(not_a_bundle("an image index"));
    }
    if let Some(other) = inner.filter(|inner| !MANIFESTS.contains(inner)) {
        let other = printable(other);
        return Ok(not_a_bundle(&format!("an artifact of the type {other}")));
    }
    let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
        return Err(NotAManifest);
    };
    let config = config.media_type.as_str();
    let is_chart = |layer: &Descriptor| CHART_LAYERS.contains(&layer.media_type.as_str());
    Ok(if IMAGE_CONFIGS.contains(&config) {
        not_a_bundle("a container image")
    } else if config != CHART_CONFIG && config != EMPTY_CONFIG {
        not_a_bundle(&format!("an artifact of the type {}", printable(config)))
    } else if layers.iter().any(|layer| layer.media_type == PROVENANCE) {
        not_a_bundle("a signed chart with a provenance layer, which werf cannot apply")
    } else if layers.len() != 1 {
        not_a_bundle(&format!(
            "an artifact with {} layers instead of one",
            layers.len()
        ))
    } else if layers.iter().all(is_chart) {
        Content::Bundle
    } else {
        not_a_bundle("an artifact whose layer is no chart")
    })
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    let end = media_type.find(';').unwrap_or(media_type.len());
    media_type[..end].trim()
}

fn not_a_bundle(what: &str) -> Content {
    Content::NotABundle(what.to_owned())
}

/// A media type comes from the registry and ends in messages for people.
fn printable(media_type: &str) -> String {
    media_type
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '+' | '-'))
        .take(80)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn artifact(config: &str, layers: &[&str]) -> Result<Content, NotAManifest> {
        let layers: Vec<_> = layers.iter().map(|l| json!({ "mediaType": l })).collect();
        let manifest =
            json!({ "schemaVersion": 2, "config": { "mediaType": config }, "layers": layers });
        content(None, manifest.to_string().as_bytes())
    }

    #[rstest::rstest]
    #[case(CHART_CONFIG, "application/tar+gzip")]
    #[case(CHART_CONFIG, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")]
    #[case(EMPTY_CONFIG, "application/tar+gzip")]
    fn one_chart_layer_is_a_bundle(#[case] config: &str, #[case] layer: &str) {
        assert_eq!(artifact(config, &[layer]), Ok(Content::Bundle));
    }

    #[rstest::rstest]
    #[case(IMAGE_CONFIGS[0], &["application/vnd.oci.image.layer.v1.tar+gzip"], "a container image")]
    #[case(IMAGE_CONFIGS[1], &[], "a container image")]
    #[case(CHART_CONFIG, &[CHART_LAYERS[1], PROVENANCE], "a signed chart with a provenance layer, which werf cannot apply")]
    #[case(CHART_CONFIG, &[CHART_LAYERS[0], CHART_LAYERS[0]], "an artifact with 2 layers instead of one")]
    #[case(CHART_CONFIG, &[], "an artifact with 0 layers instead of one")]
    #[case(CHART_CONFIG, &["application/json"], "an artifact whose layer is no chart")]
    #[case("application/x\u{1b}[0m", &[], "an artifact of the type application/x0m")]
    fn anything_else_is_named(#[case] config: &str, #[case] layers: &[&str], #[case] name: &str) {
        let named = Content::NotABundle(name.to_owned());
        assert_eq!(artifact(config, layers), Ok(named));
    }

    #[test]
    fn an_index_is_named() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(content(None, index), Ok(not_a_bundle("an image index")));
    }

    fn bundle_as(content_type: &str, inner: Option<&str>, more: &str) -> Content {
        let inner = inner.map_or(String::new(), |inner| format!(r#""mediaType":"{inner}","#));
        let body = format!(
            r#"{{"schemaVersion":2,{inner}{more}"config":{{"mediaType":"{CHART_CONFIG}"}},"layers":[{{"mediaType":"{}"}}]}}"#,
            CHART_LAYERS[0]
        );
        content(Some(content_type), body.as_bytes()).unwrap()
    }

    #[rstest::rstest]
    #[case::as_werf_publishes(MANIFESTS[0], None)]
    #[case::with_parameters("application/vnd.oci.image.manifest.v1+json; charset=utf-8", None)]
    #[case::both_say_so(MANIFESTS[0], Some(MANIFESTS[0]))]
    #[case::docker(MANIFESTS[1], Some(MANIFESTS[1]))]
    #[case::a_header_that_says_nothing("application/json", None)]
    fn header_and_body_together_make_a_bundle(#[case] header: &str, #[case] inner: Option<&str>) {
        assert_eq!(bundle_as(header, inner, ""), Content::Bundle);
    }

    #[rstest::rstest]
    #[case(INDEXES[0], None, "", "an image index")]
    #[case(INDEXES[1], None, "", "an image index")]
    #[case(MANIFESTS[0], Some(INDEXES[0]), "", "an image index")]
    #[case(OUTDATED[1], None, "", "a container image of an outdated format")]
    #[case(MANIFESTS[0], None, r#""fsLayers":[],"#, "a container image of an outdated format")]
    #[case(MANIFESTS[0], None, r#""manifests":[],"#, "a manifest that is also an index")]
    #[case(MANIFESTS[0], Some("a/b"), "", "an artifact of the type a/b")]
    fn what_header_or_body_deny_is_no_bundle(
        #[case] header: &str,
        #[case] inner: Option<&str>,
        #[case] more: &str,
        #[case] name: &str,
    ) {
        assert_eq!(bundle_as(header, inner, more), not_a_bundle(name));
    }

    #[rstest::rstest]
    #[case(b"<html>")]
    #[case(b"{}")]
    #[case(br#"{"schemaVersion":2}"#)]
    fn other_answers_are_no_manifest(#[case] body: &[u8]) {
        assert_eq!(content(None, body), Err(NotAManifest));
    }
}
