//! `testbed run`.

use std::process::ExitCode;

use testbed::cluster::{Cluster, Lifetime};
use testbed::demonstration::{self, Place};
use tokio::signal::unix::{SignalKind, signal};

/// Starts the cluster, shows the operator's main job and leaves the cluster running; with `CI=true`
/// stops it again.
pub(super) async fn run(instance: &str) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let lifetime = if ci {
        Lifetime::WhileHeld
    } else {
        Lifetime::Kept
    };
    let shown = async {
        let cluster = Cluster::start(instance, lifetime).await?;
        let shown = demonstration::show(&Place::local(cluster.clone()), !ci).await;
        if ci {
            cluster.stop().await?;
        }
        shown
    };
    tokio::select! {
        shown = shown => shown.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => stop(instance, 130).await,
        _ = terminate.recv() => stop(instance, 143).await,
    }
}

/// Interrupted half-way: nothing is left behind.
async fn stop(instance: &str, code: u8) -> anyhow::Result<ExitCode> {
    testbed::cluster::stop(instance).await?;
    Ok(ExitCode::from(code))
}
