//! The hidden commands that the cluster is made of.

use std::process::ExitCode;

use clap::Args;
use testbed::cluster;

/// How long to keep it.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// Stop when standard input ends.
    #[arg(long)]
    held: bool,
}

impl Keep {
    /// Owns a cluster until it ends.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        cluster::keep(instance, self.held).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Is the first process of a cluster until it ends.
pub(super) async fn run_inside(instance: &str) -> anyhow::Result<ExitCode> {
    cluster::keep_inside(instance).await?;
    Ok(ExitCode::SUCCESS)
}
