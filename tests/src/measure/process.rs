//! The measured processes: started, looked at through /proc, and ended with whoever started them.
//! And the place they are measured in.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

/// Runs this program again, with these arguments, in a network namespace of its own, which ends with it.
pub fn enter(arguments: &[String]) -> anyhow::Result<std::process::ExitStatus> {
    std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .arg("inside")
        .status()
        .context("cannot run setpriv and unshare")
}

/// What `deploy/base` puts into the environment of both services, and weighs.
pub(super) const AS_DEPLOYED: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// A process that ends when this is dropped, or when we die.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: u32,
}

/// Resident memory, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

impl Process {
    /// Starts a program, with its words in a file of its own.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = fs::File::create(log)?;
        // It replaces itself by the program, whose number is the one we know.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self { child, pid })
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "a measured process ended: {ended:?}");
        Ok(())
    }

    /// Processor time so far, user and system, all threads.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        cpu(&stat).context("/proc/PID/stat is malformed")
    }

    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            number.with_context(|| format!("no {name}"))
        };
        Ok(Memory {
            now: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }

    /// Ends it.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot end a process")
    }
}

/// utime and stime. A tick is a hundredth of a second on every Linux (`USER_HZ`).
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_add_up() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4 1 2 3 4 150 50 7 8 20 0 1 0 4242 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
    }
}
