//! `testbed down`.

use std::process::ExitCode;

use clap::Args;
use testbed::cluster;

/// What to stop.
#[derive(Debug, Args)]
pub(super) struct Down {
    /// Stop every cluster on this machine.
    #[arg(long)]
    all: bool,
}

impl Down {
    /// Stops it, and returns when nothing is left.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        let instances = if self.all {
            cluster::instances()?
        } else {
            vec![instance.to_owned()]
        };
        for instance in instances {
            cluster::stop(&instance).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
