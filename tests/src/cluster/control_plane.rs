//! etcd and the API server alone, started as in a cluster, but as processes of whoever asks: for
//! measurements in which nobody else may take part. There are no controllers, so a Job is only what
//! people write into it, and there is no kubelet.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use kube::Client;
use serde_json::json;
use tokio::process::{Child, Command};

use super::folder::Folder;
use super::network::{self, API_PORT, NODE};
use super::parts::{Part, Parts};
use super::{certificates, client, configuration, leftovers, readiness};
use crate::components::{self, Programs, SEARCH_PATH};

/// A running control plane. It ends when this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    folder: Folder,
    programs: Programs,
    running: Vec<Child>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

impl ControlPlane {
    /// The address of the machine it runs on; others may be served there, too.
    pub const ADDRESS: &str = NODE;

    /// Builds the programs that are missing, for which the network is needed.
    pub fn build() -> anyhow::Result<()> {
        components::require_packages()?;
        components::ready()?;
        Ok(())
    }

    /// Starts one and waits until it answers. Must run in a network namespace of its own.
    pub async fn start(instance: &str) -> anyhow::Result<Self> {
        let folder = Folder::of(instance)?;
        let lock = folder.lock_file()?;
        ensure!(lock.try_lock().is_ok(), "{instance} runs already");
        leftovers::remove(&folder)?;
        folder.clear_logs()?;
        folder.create()?;
        network::arrange()?;
        let address = SocketAddr::new(NODE.parse()?, API_PORT);
        certificates::write_all(&folder, address)?;
        configuration::write_all(&folder)?;
        let programs = components::located()?;
        let parts = Parts {
            folder: &folder,
            programs: &programs,
        };
        let mut running = Vec::new();
        for part in parts.control_plane() {
            running.push(run(&folder, &part)?);
        }
        readiness::api(&folder).await?;
        Ok(Self {
            folder,
            programs,
            running,
            _lock: lock,
        })
    }

    /// The administrator's client.
    pub async fn client(&self) -> anyhow::Result<Client> {
        client::connect(&self.folder.kubeconfig()).await
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.kubeconfig()
    }

    /// Writes the kubeconfig of whom a token belongs to.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> anyhow::Result<()> {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "own",
            "clusters": [{"name": "own", "cluster": {
                "server": format!("https://{NODE}:{API_PORT}"),
                "certificate-authority": self.folder.pki("ca.crt"),
            }}],
            "users": [{"name": "own", "user": {"token": token}}],
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
        });
        std::fs::write(path, kubeconfig.to_string())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// A client that a kubeconfig describes.
    pub async fn client_of(&self, kubeconfig: &Path) -> anyhow::Result<Client> {
        client::connect(kubeconfig).await
    }

    /// The path of `kubectl` or another program of the cluster.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    /// The log of one of its parts, or of who is measured; it stays until the next start.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.log(name)
    }

    /// Fails when a part of it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for part in &mut self.running {
            let ended = part.try_wait()?;
            ensure!(
                ended.is_none(),
                "a part of the control plane ended: {ended:?}; see {}",
                self.folder.logs().display()
            );
        }
        Ok(())
    }

    /// Ends it and removes its data.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for part in &mut self.running {
            part.kill().await?;
        }
        self.folder.clear()
    }
}

fn run(folder: &Folder, part: &Part) -> anyhow::Result<Child> {
    let log = File::create(folder.log(part.name))?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&part.program)
        .args(&part.arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", part.program.display()))
}
