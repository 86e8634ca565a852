//! `testbed run`.

use std::process::ExitCode;

use anyhow::bail;
use testbed::cluster::{Cluster, Lifetime};
use testbed::demonstration::{self, Place};
use tokio::signal::unix::{SignalKind, signal};

/// Shows the operator's main job: on the local cluster, started for it and left running, or with
/// `CLUSTER=existing` on the one of `KUBECONFIG`. With `CI=true` a cluster started here is stopped
/// again; one that ran before is never stopped.
pub(super) async fn run(instance: &str) -> anyhow::Result<ExitCode> {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    match std::env::var("CLUSTER").as_deref() {
        Ok("existing") => {
            demonstration::show(&Place::existing()?, !ci).await?;
            Ok(ExitCode::SUCCESS)
        }
        Ok("local" | "") | Err(_) => run_locally(instance, ci).await,
        Ok(other) => bail!("CLUSTER must be local or existing, not {other}"),
    }
}

async fn run_locally(instance: &str, ci: bool) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ran_before = Cluster::attach(instance)?.is_some();
    let lifetime = if ci {
        Lifetime::WhileHeld
    } else {
        Lifetime::Kept
    };
    let shown = async {
        let cluster = Cluster::start(instance, lifetime).await?;
        let stays = !ci || ran_before;
        let shown = demonstration::show(&Place::local(cluster.clone())?, stays).await;
        // Another process may have started it meanwhile.
        if cluster.is_ours() {
            cluster.stop().await?;
        }
        shown
    };
    let code = tokio::select! {
        shown = shown => return shown.map(|()| ExitCode::SUCCESS),
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    // Interrupted half-way: nothing that was not there before is left behind.
    if !ran_before {
        testbed::cluster::stop(instance).await?;
    }
    Ok(ExitCode::from(code))
}
