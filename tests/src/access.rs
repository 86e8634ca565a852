//! How a cluster is reached, be it the local one or somebody's: kubectl with a kubeconfig, and a
//! registry that we push to and its nodes and Pods pull from.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::components::{self, Programs};

/// A cluster in reach.
#[derive(Debug, Clone)]
pub struct Access {
    kubeconfig: PathBuf,
    programs: Programs,
    /// The registry by the name it has here.
    pub registry_here: String,
    /// The same registry by the name that nodes pull images from.
    pub registry_on_nodes: String,
    /// The same registry by the name it has in Pods.
    pub registry_in_pods: String,
}

impl Access {
    /// The local cluster. Its containerd pulls from its own loopback by plain HTTP.
    pub fn local(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            kubeconfig: cluster.kubeconfig().to_owned(),
            programs: components::located()?,
            registry_here: cluster.registry_from_host(),
            registry_on_nodes: "127.0.0.1:5000".to_owned(),
            registry_in_pods: cluster.registry_in_cluster(),
        })
    }

    /// The cluster of `KUBECONFIG`, with the plain HTTP registry `REGISTRY` that nodes and Pods pull
    /// from. Where it has another name here, `REGISTRY_FROM_HERE` says so.
    pub fn existing() -> anyhow::Result<Self> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.with_context(|| format!("CLUSTER=existing needs {name}"))
        };
        let kubeconfig = variable("KUBECONFIG");
        let registry = variable("REGISTRY");
        if let (Err(first), Err(second)) = (&kubeconfig, &registry) {
            anyhow::bail!("{first}, and {second}: host and port of a registry, without a scheme");
        }
        let registry = registry?;
        Ok(Self {
            kubeconfig: PathBuf::from(kubeconfig?),
            programs: components::ready()?,
            registry_here: variable("REGISTRY_FROM_HERE").unwrap_or_else(|_| registry.clone()),
            registry_on_nodes: registry.clone(),
            registry_in_pods: registry,
        })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// A program built with the test bed, aimed at nothing yet.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path(name)
    }

    /// kubectl as the cluster's administrator, not running yet.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.program("kubectl"));
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true);
        command
    }

    /// Runs kubectl; returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_with(arguments, "").await
    }

    /// The same, with something on its standard input.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = self
            .kubectl_command()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        let (written, output) = tokio::join!(
            async move {
                let written = stdin.write_all(input.as_bytes()).await;
                drop(stdin);
                written
            },
            child.wait_with_output()
        );
        let output = output?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            complaint.trim()
        );
        written.context("kubectl did not read its input")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
