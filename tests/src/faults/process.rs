//! The process under test: an executor as a plain process of this machine, started again whenever it
//! ends, as a kubelet would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use crate::components::SEARCH_PATH;

/// A process that ends by itself is not started again at once: it would only end again.
const PAUSE: Duration = Duration::from_millis(200);

/// Long enough for a process on this machine to have read an answer.
const READ: Duration = Duration::from_millis(15);

/// The process and how to start it.
#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    namespace: String,
    bug: Option<String>,
    /// Where it serves gRPC.
    pub(super) grpc: SocketAddr,
    /// Where it serves probes.
    pub(super) admin: SocketAddr,
    /// Its number, while it runs and is ours to signal.
    pid: Mutex<Option<Pid>>,
    starts: watch::Sender<usize>,
    soon: Notify,
}

impl Process {
    /// A process that will serve on a loopback address of its own: ports of a shared one are taken by
    /// others while it is dead.
    pub(super) fn new(
        program: PathBuf,
        folder: &Path,
        namespace: &str,
        bug: Option<String>,
        address: Ipv4Addr,
    ) -> Self {
        Self {
            program,
            kubeconfig: folder.join("kubeconfig"),
            log: folder.join("log"),
            namespace: namespace.to_owned(),
            bug,
            grpc: SocketAddr::from((address, 9090)),
            admin: SocketAddr::from((address, 8080)),
            pid: Mutex::default(),
            starts: watch::Sender::new(0),
            soon: Notify::new(),
        }
    }

    /// Where its kubeconfig is expected.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What it wrote, all its lives together.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it was started.
    pub(super) fn starts(&self) -> usize {
        *self.starts.borrow()
    }

    /// Keeps it running until dropped.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        loop {
            let mut child = self.spawn()?;
            let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
            self.set_pid(pid.and_then(Pid::from_raw));
            self.starts.send_modify(|starts| *starts += 1);
            let ended = loop {
                tokio::select! {
                    ended = child.wait() => break ended?,
                    () = self.soon.notified() => {
                        sleep(READ).await;
                        self.kill();
                    }
                }
            };
            self.set_pid(None);
            if ended.code().is_some() {
                sleep(PAUSE).await;
            }
        }
    }

    fn spawn(&self) -> anyhow::Result<tokio::process::Child> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)?;
        // Killed, we take it along: one that outlives its plan would take part in another.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .arg(format!("--grpc-listen={}", self.grpc))
            .arg(format!("--admin-listen={}", self.admin))
            .arg(format!("--namespace={}", self.namespace))
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if let Some(bug) = &self.bug {
            command.env("SEEDED_BUG", bug);
        }
        command
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))
    }

    fn set_pid(&self, pid: Option<Pid>) {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = pid;
    }

    /// `kill -9`.
    pub(super) fn kill(&self) {
        let pid = self.pid.lock().unwrap_or_else(PoisonError::into_inner);
        // The number is the child's for as long as nobody has waited for it, even if it has ended.
        if let Some(pid) = *pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// `kill -9` when it has had the time to read an answer that is sent now.
    pub(super) fn kill_soon(&self) {
        self.soon.notify_one();
    }

    /// Waits until it was started more than `before` times.
    pub(super) async fn started_after(&self, before: usize) {
        let mut starts = self.starts.subscribe();
        let _ = starts.wait_for(|starts| *starts > before).await;
    }
}
