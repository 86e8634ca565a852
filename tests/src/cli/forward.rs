//! `testbed forward`.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use testbed::cluster::Cluster;

use super::terminal;

/// Where to.
#[derive(Debug, Args)]
pub(super) struct Forward {
    /// `address:port` of a Pod, a Service or the node.
    target: SocketAddr,
}

impl Forward {
    /// Prints the address on this machine; it stays for as long as the cluster.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        let cluster = Cluster::attach(instance)?
            .with_context(|| format!("{instance} does not run: start it with `testbed up`"))?;
        terminal::print(cluster.forward(self.target).await?);
        Ok(ExitCode::SUCCESS)
    }
}
