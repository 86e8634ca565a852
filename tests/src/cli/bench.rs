//! `testbed bench`.

use std::process::ExitCode;

use testbed::cluster::{Cluster, Lifetime};
use testbed::measure::measure;

use super::terminal;

/// Measures on a cluster of its own, started for it.
pub(super) async fn run(instance: &str) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::start(instance, Lifetime::WhileHeld).await?;
    let lines = measure(&cluster).await;
    cluster.stop().await?;
    for line in lines? {
        terminal::print(line);
    }
    Ok(ExitCode::SUCCESS)
}
