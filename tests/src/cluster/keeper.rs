//! The process outside of a cluster that owns it: makes its namespaces, watches whoever holds
//! it, and cleans up after it. It holds the lock of the instance for as long as it lives.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::folder::Folder;
use super::process::ProcessId;
use super::state::{State, Word};
use super::{cgroups, leftovers};

/// Keeps one instance until it is told to stop, let go of, or broken.
pub(super) async fn run(instance: &str, held: bool) -> anyhow::Result<()> {
    // Away from the terminal: its Ctrl-C and hang-up are for the caller. Fails when we lead a
    // group already, and then we are away.
    let _ = rustix::process::setsid();
    let folder = Folder::of(instance)?;
    let lock = folder.lock_file()?;
    if lock.try_lock().is_err() {
        say(&Word::Busy);
        return Ok(());
    }
    let kept = keep(&folder, held).await;
    let cleaned = leftovers::remove(&folder);
    if let Err(error) = kept.and(cleaned) {
        let message = format!("{error:#}");
        // The caller may be long gone: `testbed status` shows this. There may be no folder for
        // it yet, and then there is a caller.
        let _ = fs::write(folder.log("failure"), &message);
        say(&Word::Failed(message));
    }
    Ok(())
}

async fn keep(folder: &Folder, held: bool) -> anyhow::Result<()> {
    // Before anything that takes time, so that no wish to stop is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    leftovers::remove(folder)?;
    folder.clear_logs()?;
    folder.create()?;
    cgroups::create(folder.instance())?;

    let mut namespaces = spawn_inside(folder)?;
    let output = namespaces
        .stdout
        .take()
        .context("the cluster has no output")?;
    let mut state = State {
        keeper: ProcessId::current().context("cannot read /proc")?,
        first: None,
        doors: None,
        held,
    };
    let ready = Cell::new(false);
    let outcome = tokio::select! {
        ended = relay(folder, &namespaces, output, &mut state, &ready) => ended,
        let_go = holder_gone(held, &ready) => let_go,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    end(&mut namespaces).await?;
    outcome
}

/// Starts the first process of the cluster in namespaces of its own.
fn spawn_inside(folder: &Folder) -> anyhow::Result<Child> {
    let log = File::create(folder.log("keeper"))?;
    Command::new("setpriv")
        // Killed, we take `unshare` along, and it the first process.
        .args(["--pdeathsig", "KILL", "unshare"])
        .args([
            "--pid",
            "--mount",
            "--net",
            "--mount-proc",
            "--fork",
            "--kill-child=KILL",
        ])
        .arg(std::env::current_exe()?)
        .args(["keep-inside", "--instance", folder.instance()])
        // The way back out, for the forwards.
        .stdin(Stdio::from(File::open("/proc/self/ns/net")?))
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot run setpriv and unshare")
}

/// Passes the cluster's words on and keeps the state file up to date, until they end.
async fn relay(
    folder: &Folder,
    namespaces: &Child,
    output: ChildStdout,
    state: &mut State,
    ready: &Cell<bool>,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        let word = serde_json::from_str(&line).context("the cluster speaks gibberish")?;
        match &word {
            Word::Failed(why) => bail!("{why}"),
            Word::Ready(doors) => {
                state.doors = Some(*doors);
                ready.set(true);
            }
            Word::Progress(_) | Word::Busy => {}
        }
        state.first = first_process(namespaces);
        state.write(folder)?;
        say(&word);
    }
    bail!(
        "the cluster ended without a word\n{}",
        super::log_tail(&folder.log("keeper"))
    )
}

fn first_process(namespaces: &Child) -> Option<ProcessId> {
    ProcessId::of(namespaces.id()?)?.children().first().copied()
}

/// Returns when the other end of standard input is closed, which the kernel does for a holder
/// that dies, too. A cluster that is to be kept is held only until it is ready: somebody who
/// gives up in between wants nothing left.
async fn holder_gone(held: bool, ready: &Cell<bool>) -> anyhow::Result<()> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut input = pipe::Receiver::from_owned_fd(input).context("standard input is no pipe")?;
    // Nothing is ever written.
    let _ = input.read(&mut [0; 1]).await;
    if ready.get() && !held {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Kills the first process and returns when the kernel has ended all the others: only then
/// does `unshare` see it end.
async fn end(namespaces: &mut Child) -> anyhow::Result<()> {
    loop {
        if let Some(first) = first_process(namespaces) {
            first.signal(Signal::KILL);
        }
        tokio::select! {
            ended = namespaces.wait() => {
                ended?;
                return Ok(());
            }
            // It may not have been there yet.
            () = sleep(Duration::from_millis(200)) => {}
        }
    }
}

/// Tells the caller, who may not listen any more.
fn say(word: &Word) {
    if let Ok(line) = serde_json::to_string(word) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
