//! `testbed publish`.

use std::process::ExitCode;

use testbed::bundle::{PublishArgs, publish};
use testbed::cluster::Cluster;

use super::terminal;

/// Publishes to the registry of the running cluster unless another one is named.
pub(super) async fn run(instance: &str, mut args: PublishArgs) -> anyhow::Result<ExitCode> {
    if args.registry.is_none() {
        args.registry = Cluster::attach(instance)?.map(|cluster| cluster.registry_from_host());
    }
    terminal::print(publish(args).await?);
    Ok(ExitCode::SUCCESS)
}
