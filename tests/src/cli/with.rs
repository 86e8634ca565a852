//! `testbed with`.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use testbed::cluster::{Cluster, Lifetime};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long an interrupted command has to tidy up, twice.
const GRACE: Duration = Duration::from_secs(5);

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
        // Dropped halfway through, the start lets go of its cluster.
        let cluster = tokio::select! {
            cluster = Cluster::start(instance, Lifetime::WhileHeld) => cluster?,
            _ = terminate.recv() => return Ok(ExitCode::from(143)),
            _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        };
        let mut child = self.spawn(instance, &cluster)?;
        let outcome = tokio::select! {
            status = child.wait() => status.map(exit_code),
            _ = terminate.recv() => {
                ask_to_end(&child);
                Ok(end(child, 143).await)
            }
            // The terminal has told the command as well.
            _ = interrupt.recv() => Ok(end(child, 130).await),
        };
        if cluster.is_ours() {
            cluster.stop().await?;
        }
        Ok(outcome?)
    }

    fn spawn(&self, instance: &str, cluster: &Cluster) -> anyhow::Result<Child> {
        let (program, arguments) = self.command.split_first().context("no command")?;
        Command::new(program)
            .args(arguments)
            .env("TESTBED_INSTANCE", instance)
            .env("KUBECONFIG", cluster.kubeconfig())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))
    }
}

/// Waits for a command that should end by itself; one that does not is asked, then killed.
async fn end(mut child: Child, code: u8) -> ExitCode {
    for _ in 0..2 {
        if timeout(GRACE, child.wait()).await.is_ok() {
            break;
        }
        ask_to_end(&child);
    }
    ExitCode::from(code)
}

fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    // The number is the child's for as long as we have not waited for it.
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    // Shells report a signal this way, too.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
