//! The caller's side of the keeper: starts it, hears from it, holds on to it, and stops it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, interval, sleep};

use super::folder::Folder;
use super::state::{State, Word};
use super::{Lifetime, leftovers};
use crate::components::Progress;

/// A stop takes about a second; a machine busy with other things gets more.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// A start gives up by itself long before.
const START_LIMIT: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_millis(50);

/// What keeps a held cluster alive: the keeper stops when the pipe is closed. During the start
/// that goes for every cluster.
#[derive(Debug)]
pub(super) struct Hold {
    pipe: Mutex<Option<ChildStdin>>,
    /// Reaped in the background by the runtime once dropped.
    _keeper: Child,
}

impl Hold {
    fn let_go(&self) {
        if let Ok(mut pipe) = self.pipe.lock() {
            pipe.take();
        }
    }
}

/// Starts a keeper and waits until its cluster is ready; another keeper's is as good.
pub(super) async fn start(folder: &Folder, lifetime: Lifetime) -> anyhow::Result<Option<Hold>> {
    let held = lifetime == Lifetime::WhileHeld;
    let end = Instant::now() + START_LIMIT;
    let mut progress = Progress::start(format!("starting {}", folder.instance()));
    loop {
        let mut keeper = spawn_keeper(folder, held)?;
        let output = keeper.stdout.take().context("the keeper has no output")?;
        match hear(BufReader::new(output).lines(), &mut progress).await {
            Ok(Heard::Ready) => {
                progress.done("ready");
                let pipe = Mutex::new(keeper.stdin.take());
                return Ok(held.then_some(Hold {
                    pipe,
                    _keeper: keeper,
                }));
            }
            Ok(Heard::Busy) => {}
            Err(error) => {
                progress.done("failed");
                return Err(error.context(format!("cannot start {}", folder.instance())));
            }
        }
        // Somebody else starts or stops it just now.
        if is_ready(folder)? {
            progress.done("started by another");
            return Ok(None);
        }
        ensure!(
            Instant::now() < end,
            "another keeper of {} hangs",
            folder.instance()
        );
        progress.tick("waiting for another keeper");
        sleep(PAUSE).await;
    }
}

/// Asks the keeper to stop and waits until it is gone; without one, cleans up in its place.
pub(super) async fn stop(folder: &Folder, hold: Option<&Hold>) -> anyhow::Result<()> {
    let lock = folder.lock_file()?;
    let end = Instant::now() + STOP_LIMIT;
    if let Some(hold) = hold {
        hold.let_go();
    }
    while lock.try_lock().is_err() {
        // Read anew each time: a keeper that only just starts has no state yet.
        if let Ok(Some(state)) = State::read(folder) {
            state.keeper.signal(Signal::TERM);
        }
        ensure!(
            Instant::now() < end,
            "the keeper of {} does not stop",
            folder.instance()
        );
        sleep(PAUSE).await;
    }
    leftovers::remove(folder)
}

enum Heard {
    Ready,
    Busy,
}

async fn hear(
    mut lines: Lines<BufReader<ChildStdout>>,
    progress: &mut Progress,
) -> anyhow::Result<Heard> {
    let mut tick = interval(Duration::from_millis(200));
    let mut detail = String::new();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?.context("the keeper ended without a word")?,
            _ = tick.tick() => {
                progress.tick(&detail);
                continue;
            }
        };
        match serde_json::from_str(&line).context("the keeper speaks gibberish")? {
            Word::Progress(what) => detail = what,
            Word::Ready(_) => return Ok(Heard::Ready),
            Word::Busy => return Ok(Heard::Busy),
            Word::Failed(why) => bail!("{why}"),
        }
    }
}

fn is_ready(folder: &Folder) -> anyhow::Result<bool> {
    let state = State::read(folder)?;
    Ok(state.is_some_and(|state| state.keeper.runs() && state.doors.is_some()))
}

fn spawn_keeper(folder: &Folder, held: bool) -> anyhow::Result<Child> {
    let mut command = Command::new(testbed_program()?);
    command.args(["keep", "--instance", folder.instance()]);
    if held {
        command.arg("--held");
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Not ours: whoever waits for the end of our standard error would wait for it.
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run the testbed program")
}

/// The program of this crate: ourselves, or the one Cargo built beside the test that calls.
fn testbed_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    if own.file_name().is_some_and(|name| name == "testbed") {
        return Ok(own);
    }
    let beside = own.parent().into_iter().flat_map(|folder| {
        [Some(folder), folder.parent()]
            .into_iter()
            .flatten()
            .map(|f| f.join("testbed"))
    });
    let mut found = beside.filter(|path| path.exists());
    found
        .next()
        .context("there is no testbed program beside this one: build werf-tests first")
}
