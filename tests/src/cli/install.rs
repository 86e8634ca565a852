//! `testbed install`.

use std::process::ExitCode;

use anyhow::Context as _;
use testbed::access::Access;
use testbed::cluster::Cluster;
use testbed::operator::{self, Installation};

/// Builds the operator as it is in the checkout and installs it, or the change since the last time.
pub(super) async fn run(instance: &str) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::attach(instance)?
        .with_context(|| format!("{instance} does not run: start it with `testbed up`"))?;
    let access = Access::local(&cluster)?;
    let images = operator::push_images(&access).await?;
    Installation::local(&images).apply(&access).await?;
    Ok(ExitCode::SUCCESS)
}
