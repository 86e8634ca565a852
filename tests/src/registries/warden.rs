//! Ends a server and removes its folder when the tests let go of it, however they ended: a shell
//! that reads orders from a pipe and takes its end for the last one. The handle of a server that
//! tests share is a static, which Rust never drops.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::components::SEARCH_PATH;

/// A shell gives what it starts in the background neither its input nor Ctrl-C; it is told of
/// both here, and the trap keeps it alive until all is cleaned up.
const SCRIPT: &str = r#"
trap : HUP INT TERM
log=$1 folder=$2
shift 2
server=
while read -r order; do
	case $order in
	start) "$@" >"$log" 2>&1 & server=$! ;;
	stop) kill "$server"; wait "$server"; server=; echo stopped ;;
	esac
done
[ -z "$server" ] || { kill "$server"; wait "$server"; }
rm -rf -- "$folder"
"#;

/// One server's.
#[derive(Debug)]
pub(super) struct Warden {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Warden {
    /// Takes charge of `folder` and of the program `command` names; starts nothing yet.
    pub(super) fn new(folder: &Path, log: &Path, command: &[&Path]) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "warden"])
            .args([log, folder])
            .args(command)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            // `distribution` would look for a collector on this machine.
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run sh")?;
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().context("the shell has no output")?;
        Ok(Self {
            shell,
            orders,
            answers: BufReader::new(answers),
        })
    }

    /// Starts the server.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.order("start\n")
    }

    /// Stops the server; returns when it has ended.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        self.order("stop\n")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer == "stopped\n", "the server was not stopped");
        Ok(())
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the shell takes no orders")?;
        Ok(orders.write_all(order.as_bytes())?)
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Whatever it says, there is nothing more to be done.
        let _ = self.shell.wait();
    }
}
