//! `testbed up`.

use std::process::ExitCode;

use testbed::cluster::{Cluster, Lifetime};

use super::{status, terminal};

/// Starts the cluster and says how to reach it.
pub(super) async fn run(instance: &str) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::start(instance, Lifetime::Kept).await?;
    terminal::print(status::describe(instance, &cluster));
    Ok(ExitCode::SUCCESS)
}
