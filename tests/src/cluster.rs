//! The cluster: its parts as processes in namespaces of their own.
//!
//! ```text
//! caller ──pipes──► keeper ──────► first process of the cluster ──► etcd, API server, kubelet,
//!   (CLI, test)     keeps the lock,   own process, mount and         containerd, registry, DNS …
//!                   cleans up         network namespace                 └► shims ─► containers
//! ```
//!
//! The kernel ends everything in a process namespace with its first process, and drops mounts
//! and network with the last user. So stopping is killing one process, and a keeper that is
//! killed itself takes its child along: no list of things to undo can be out of date. Only the
//! control groups and files outlive it; the keeper, or the next start, removes those.

mod certificates;
mod cgroups;
mod children;
mod client;
mod configuration;
mod control_plane;
mod folder;
mod forwards;
mod inside;
mod keeper;
mod leftovers;
mod mounts;
mod network;
mod parts;
mod process;
mod readiness;
mod starting;
mod state;
mod wait;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

pub(crate) use self::client::use_ring;
pub use self::control_plane::ControlPlane;
use self::folder::Folder;
use self::starting::Hold;
use self::state::{Doors, State};
use crate::components::{self, Programs};

/// The instance people work with, unless they name another.
pub const DEFAULT_INSTANCE: &str = "werf-operator";

/// How long a cluster lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is stopped.
    Kept,
    /// Until the last handle is dropped, or the process that has it ends, however it ends.
    WhileHeld,
}

/// A running cluster. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: Folder,
    kubeconfig: PathBuf,
    logs: PathBuf,
    programs: Programs,
    state: State,
    doors: Doors,
    /// Absent for a cluster that lives without us.
    hold: Option<Hold>,
}

impl Cluster {
    /// Starts the instance, or attaches to it when it runs already. Returns when Pods can run,
    /// Services are reached by name and images can be pushed. Builds what is missing first.
    pub async fn start(instance: &str, lifetime: Lifetime) -> anyhow::Result<Self> {
        if let Some(running) = Self::attach(instance)? {
            return Ok(running);
        }
        let folder = Folder::of(instance)?;
        folder.require_uncovered()?;
        components::require_packages()?;
        let programs = components::ready()?;
        let hold = starting::start(&folder, lifetime).await?;
        let state = State::read(&folder)?.context("the cluster ended right after its start")?;
        Self::new(folder, programs, state, hold).context("the cluster is not ready")
    }

    /// The instance, if it runs and is ready.
    pub fn attach(instance: &str) -> anyhow::Result<Option<Self>> {
        let folder = Folder::of(instance)?;
        match State::read(&folder)? {
            Some(state) if state.keeper.runs() => {
                Ok(Self::new(folder, components::located()?, state, None))
            }
            _ => Ok(None),
        }
    }

    fn new(folder: Folder, programs: Programs, state: State, hold: Option<Hold>) -> Option<Self> {
        let doors = state.doors?;
        let (kubeconfig, logs) = (folder.kubeconfig(), folder.logs());
        let inner = Inner {
            folder,
            kubeconfig,
            logs,
            programs,
            state,
            doors,
            hold,
        };
        Some(Self {
            inner: Arc::new(inner),
        })
    }

    /// The administrator's kubeconfig, for use on this machine.
    pub fn kubeconfig(&self) -> &Path {
        &self.inner.kubeconfig
    }

    /// The administrator's client.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        client::connect(&self.inner.kubeconfig).await
    }

    /// `host:port` of the registry for programs on this machine; plain HTTP.
    pub fn registry_from_host(&self) -> String {
        self.inner.doors.registry.to_string()
    }

    /// `host:port` of the same registry for Pods and for image names; plain HTTP.
    pub fn registry_in_cluster(&self) -> String {
        format!("{}:{}", network::NODE, network::REGISTRY_PORT)
    }

    /// A loopback address of this machine that leads to an address in the cluster: a Pod's, a
    /// Service's or the node's. It stays for as long as the cluster.
    pub async fn forward(&self, in_cluster: SocketAddr) -> anyhow::Result<SocketAddr> {
        forwards::ask(&self.inner.folder.control(), in_cluster).await
    }

    /// The path of `kubectl`, `grpcurl` or a part of the cluster.
    pub fn program(&self, name: &str) -> PathBuf {
        self.inner.programs.path(name)
    }

    /// The folder with one log per part, and the API server's `audit.log`.
    pub fn logs(&self) -> &Path {
        &self.inner.logs
    }

    /// The numbers of everything that runs in the cluster now, Pods included.
    pub fn processes(&self) -> Vec<i32> {
        let first = self.inner.state.first;
        first.map_or_else(Vec::new, process::ProcessId::descendants)
    }

    /// Whether the instance goes when whoever started it does.
    pub fn is_held(&self) -> bool {
        self.inner.state.held
    }

    /// Whether it was started through this handle to live while it is held.
    pub fn is_ours(&self) -> bool {
        self.inner.hold.is_some()
    }

    /// Stops the instance, whoever started it; returns when nothing of it is left.
    pub async fn stop(self) -> anyhow::Result<()> {
        starting::stop(&self.inner.folder, self.inner.hold.as_ref()).await
    }
}

/// Stops an instance, running or half started, and removes what a killed one left.
pub async fn stop(instance: &str) -> anyhow::Result<()> {
    starting::stop(&Folder::of(instance)?, None).await
}

/// The names of the instances that were ever started on this machine.
pub fn instances() -> anyhow::Result<Vec<String>> {
    Ok(Folder::all()?
        .iter()
        .map(|folder| folder.instance().to_owned())
        .collect())
}

/// Why the instance ended by itself the last time, if it did.
pub fn last_failure(instance: &str) -> anyhow::Result<Option<String>> {
    Ok(fs::read_to_string(Folder::of(instance)?.log("failure")).ok())
}

/// The keeper's own work; see [`mod@self`]. For the hidden commands of the `testbed` program.
pub async fn keep(instance: &str, held: bool) -> anyhow::Result<()> {
    keeper::run(instance, held).await
}

/// The work of the cluster's first process. For the hidden commands of the `testbed` program.
pub async fn keep_inside(instance: &str) -> anyhow::Result<()> {
    inside::run(instance).await
}

/// The name of a log and its last lines, for the end of an error.
pub(crate) fn log_tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines.split_at(lines.len().saturating_sub(LINES)).1;
    format!("the end of {}:\n{}", log.display(), tail.join("\n"))
}
