//! `testbed with`.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::Args;
use testbed::cluster::{Cluster, Lifetime};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// What to run.
#[derive(Debug, Args)]
pub(super) struct With {
    /// The command; it finds `TESTBED_INSTANCE` and `KUBECONFIG` in its environment.
    #[arg(last = true, required = true, num_args = 1..)]
    command: Vec<OsString>,
}

impl With {
    /// Runs the command and ends with its exit code. A cluster that ran before stays.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let ran_before = Cluster::attach(instance)?.is_some();
        // Dropped halfway through, the start lets go of its cluster.
        let cluster = tokio::select! {
            cluster = Cluster::start(instance, Lifetime::WhileHeld) => cluster?,
            _ = terminate.recv() => return Ok(ExitCode::from(143)),
            _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        };
        let outcome = tokio::select! {
            status = self.command(instance, &cluster) => status.map(exit_code),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
            // The terminal has sent it to the command as well.
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
        };
        if !ran_before {
            cluster.stop().await?;
        }
        outcome
    }

    async fn command(&self, instance: &str, cluster: &Cluster) -> anyhow::Result<ExitStatus> {
        let (program, arguments) = self.command.split_first().context("no command")?;
        Command::new(program)
            .args(arguments)
            .env("TESTBED_INSTANCE", instance)
            .env("KUBECONFIG", cluster.kubeconfig())
            // We end before it only on a signal, and then it has no cluster any more.
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| format!("cannot run {}", program.display()))
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    // A signal has no code of its own.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
