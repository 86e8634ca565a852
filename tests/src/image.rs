//! Container images built without a container engine.
//!
//! An image is one uncompressed tar layer and two small JSON documents, sent to a registry
//! over HTTP. That needs no privileges, leaves nothing behind, and takes less time than
//! starting an engine would.

mod base;
mod layer;
mod libraries;
mod manifest;
mod registry;

use std::path::PathBuf;

use anyhow::Context as _;

pub use self::base::{busybox, sandbox};
pub use self::libraries::{certificates, libraries_of};

/// What an image contains and how it starts.
#[derive(Debug, Clone, Default)]
pub struct ImageSpec {
    /// The repository in the registry.
    pub name: String,
    /// The tag to push.
    pub tag: String,
    /// Files copied from the machine.
    pub files: Vec<File>,
    /// Small files given by their content.
    pub texts: Vec<Text>,
    /// Folders with a mode of their own; those of files need no mention.
    pub directories: Vec<Directory>,
    /// Symbolic links: path in the image, and what it points to.
    pub links: Vec<(String, String)>,
    /// The program, and arguments that are always given.
    pub entrypoint: Vec<String>,
    /// What is appended unless the container says otherwise.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: u32,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

/// A file of the machine in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is on the machine.
    pub from: PathBuf,
    /// Its absolute path in the image.
    pub to: String,
    /// Its permissions.
    pub mode: u32,
}

/// A file of known content in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its absolute path in the image.
    pub to: String,
    /// What it says.
    pub content: String,
}

/// A folder in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its absolute path.
    pub path: String,
    /// Its permissions, such as `0o1777`.
    pub mode: u32,
}

/// Builds the image, pushes it to the registry at `registry` (`host:port`, plain HTTP), and
/// returns the digest of its manifest.
pub async fn push(spec: &ImageSpec, registry: &str) -> anyhow::Result<String> {
    let layer = layer::build(spec)?;
    let image = manifest::Image::new(spec, layer)?;
    registry::push(registry, spec, image)
        .await
        .with_context(|| format!("cannot push {}:{} to {registry}", spec.name, spec.tag))
}
