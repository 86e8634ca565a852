//! Bundles as `werf bundle publish` makes them, pushed to a real registry.
//!
//! A bundle is a Helm chart as an OCI artifact: a manifest without a media type of its own, a
//! config that is the chart's metadata, and one layer that is the packed chart. The files here
//! write exactly that shape, and nothing here needs werf, Helm or a container engine.

mod archive;
mod misfits;
mod publish;
mod repository;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};
use werf_shared::tag::parse_version;

pub use self::publish::{PublishArgs, Published, publish};
pub use self::repository::Repository;

/// The chart of `tests/demo`, compiled in so that the program works from anywhere.
const DEMO: &[(&str, &str)] = &[
    (
        "templates/deployment.yaml",
        include_str!("../demo/templates/deployment.yaml"),
    ),
    (
        "templates/page.yaml",
        include_str!("../demo/templates/page.yaml"),
    ),
    (
        "templates/password.yaml",
        include_str!("../demo/templates/password.yaml"),
    ),
    (
        "templates/service.yaml",
        include_str!("../demo/templates/service.yaml"),
    ),
];
const DEMO_VALUES: &str = include_str!("../demo/values.yaml");

/// A chart in memory, to be pushed under any number of tags.
#[derive(Debug, Clone)]
pub struct Bundle {
    name: String,
    files: BTreeMap<String, String>,
    values: Value,
    version: Option<String>,
}

impl Bundle {
    /// The demo application, which shows the version of the given tag on its page.
    pub fn demo(tag: &str, image: &str) -> anyhow::Result<Self> {
        let mut bundle = Self::with_templates("demo", DEMO, DEMO_VALUES)?;
        bundle.set("image", image);
        bundle.version = Some(chart_version(tag));
        Ok(bundle)
    }

    /// A chart of the given files; their paths are those in a chart, such as `templates/a.yaml`.
    pub fn with_templates(
        name: &str,
        files: &[(&str, &str)],
        values_yaml: &str,
    ) -> anyhow::Result<Self> {
        let files = files
            .iter()
            .map(|(path, content)| ((*path).to_owned(), (*content).to_owned()))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            files,
            values: values::parse(values_yaml)?,
            version: None,
        })
    }

    /// Sets one of the chart's own values.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        values::set(&mut self.values, key, value.into());
    }

    /// The chart as it goes into the registry.
    fn pack(&self, repository: &str, tag: &str) -> anyhow::Result<Packed> {
        let version = self.version.clone().unwrap_or_else(|| chart_version(tag));
        let metadata = json!({"name": self.name, "version": version, "apiVersion": "v2"});
        let values = values::with_service_values(&self.values, &self.name, repository, tag);
        let mut files = self.files.clone();
        let mut chart = String::new();
        writeln!(
            chart,
            "apiVersion: v2\nname: {}\nversion: {version}",
            self.name
        )?;
        files.insert("Chart.yaml".to_owned(), chart);
        files.insert("values.yaml".to_owned(), serde_saphyr::to_string(&values)?);
        files.insert(
            "extra_annotations.json".to_owned(),
            json!({"project.werf.io/name": self.name}).to_string(),
        );
        let chart = archive::pack(&self.name, &files).context("cannot pack the chart")?;
        Ok(Packed {
            config: metadata.to_string().into_bytes(),
            chart,
        })
    }
}

/// The two blobs of a bundle.
struct Packed {
    config: Vec<u8>,
    chart: Vec<u8>,
}

/// The chart version werf derives from a tag. Where werf puts the time of publishing, this puts
/// a zero, so that the same content has the same digest.
fn chart_version(tag: &str) -> String {
    if parse_version(tag).is_some() {
        return tag.strip_prefix('v').unwrap_or(tag).to_owned();
    }
    let slug: String = tag
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    format!("0.0.0-0-{}", slug.trim_matches('-'))
}

#[cfg(test)]
mod tests;
