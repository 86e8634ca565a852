//! `testbed with`.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use testbed::canary::Watch;
use testbed::cluster::{Cluster, Lifetime};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::terminal;

/// How long an interrupted command has to tidy up, and once more when it is asked again.
const GRACE: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Args)]
pub(super) struct With {
    /// Look meanwhile, and afterwards, whether anything that is in a Secret is anywhere else, and fail
    /// if it is.
    #[arg(long)]
    canaries: bool,
    /// The command; it finds `TESTBED_INSTANCE` and `KUBECONFIG` in its environment.
    #[arg(last = true, required = true, num_args = 1..)]
    command: Vec<OsString>,
}

impl With {
    /// Runs the command and ends with its exit code. A cluster that ran before stays.
    pub(super) async fn run(self, instance: &str) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        // Dropped halfway through, the start lets go of its cluster.
        let cluster = tokio::select! {
            cluster = Cluster::start(instance, Lifetime::WhileHeld) => cluster?,
            _ = terminate.recv() => return Ok(ExitCode::from(143)),
            _ = interrupt.recv() => return Ok(ExitCode::from(130)),
            _ = hangup.recv() => return Ok(ExitCode::from(129)),
        };
        let watch = if self.canaries {
            Some(Watch::start(&cluster).await?)
        } else {
            None
        };
        let mut child = self.spawn(instance, &cluster)?;
        let mut well = false;
        let outcome = tokio::select! {
            status = child.wait() => status.map(|status| {
                well = status.success();
                exit_code(status)
            }),
            _ = terminate.recv() => Ok(end(child, Signal::TERM, 143).await),
            _ = interrupt.recv() => Ok(end(child, Signal::INT, 130).await),
            _ = hangup.recv() => Ok(end(child, Signal::HUP, 129).await),
        };
        let outcome = match (outcome, watch) {
            (Ok(_), Some(watch)) if well => look(watch).await,
            (outcome, _) => outcome.map_err(Into::into),
        };
        if cluster.is_ours() {
            cluster.stop().await?;
        }
        outcome
    }

    fn spawn(&self, instance: &str, cluster: &Cluster) -> anyhow::Result<Child> {
        let (program, arguments) = self.command.split_first().context("no command")?;
        Command::new(program)
            .args(arguments)
            .env("TESTBED_INSTANCE", instance)
            .env("KUBECONFIG", cluster.kubeconfig())
            // A group of its own, so that what the command starts hears of the end as well. The
            // terminal's signals do not get there by themselves.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))
    }
}

async fn look(watch: Watch) -> anyhow::Result<ExitCode> {
    let verdict = watch.finish().await?;
    terminal::print(verdict.to_string());
    Ok(ExitCode::from(u8::from(!verdict.findings.is_empty())))
}

/// Passes the signal on and waits for the command; one that does not end is asked, then killed.
async fn end(mut child: Child, signal: Signal, code: u8) -> ExitCode {
    for signal in [signal, Signal::TERM] {
        tell_group(&child, signal);
        if timeout(GRACE, child.wait()).await.is_ok() {
            return ExitCode::from(code);
        }
    }
    tell_group(&child, Signal::KILL);
    ExitCode::from(code)
}

/// Signals the command and what it started.
fn tell_group(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    // The number is the child's for as long as we have not waited for it.
    if let Some(group) = pid.and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    // Shells report a signal this way, too.
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
