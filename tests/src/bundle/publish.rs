//! `testbed publish`: a new version of the demo application, for people who want to see the
//! operator notice it.

use std::fmt;

use anyhow::Context as _;
use clap::Args;

use super::{Bundle, Repository};

/// What to publish, and where.
#[derive(Debug, Clone, Args)]
pub struct PublishArgs {
    /// The tag of the new bundle, such as v1.2.0
    #[arg(long)]
    pub tag: String,
    /// The registry, as host and port [default: the running cluster's]
    #[arg(long)]
    pub registry: Option<String>,
    /// The repository in the registry
    #[arg(long, default_value = "demo/my-app")]
    pub repository: String,
    /// The image the application runs
    #[arg(long, default_value = "127.0.0.1:5000/busybox:1")]
    pub image: String,
    /// What the page says
    #[arg(long)]
    pub message: Option<String>,
    /// How many Pods to run
    #[arg(long)]
    pub replicas: Option<u32>,
}

/// A bundle that is now in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// `HOST/PATH:TAG`.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Published {} ({})", self.reference, self.digest)
    }
}

/// Publishes the demo application.
pub async fn publish(args: PublishArgs) -> anyhow::Result<Published> {
    let PublishArgs {
        tag,
        registry,
        repository,
        image,
        message,
        replicas,
    } = args;
    let mut bundle = Bundle::demo(&tag, &image)?;
    if let Some(message) = message {
        bundle.set("message", message);
    }
    if let Some(replicas) = replicas {
        bundle.set("replicas", replicas);
    }
    let registry = registry.context("no cluster runs here: name a --registry")?;
    let repository = Repository::new(&registry, &repository)?;
    let digest = repository.push(&tag, &bundle).await?;
    Ok(Published {
        reference: format!("{}:{tag}", repository.name()),
        digest,
    })
}
