//! What a cluster says about itself: the words of the keeper to whoever started it, and the
//! file that others find a running instance by.

use std::fs;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::process::ProcessId;

/// One line of JSON on the keeper's standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    /// What is being waited for now.
    Progress(String),
    /// The cluster can be used.
    Ready(Doors),
    /// Another keeper has this instance.
    Busy,
    /// It is over, and why.
    Failed(String),
}

/// Loopback addresses of the machine that lead into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doors {
    pub(super) api: SocketAddr,
    pub(super) registry: SocketAddr,
}

/// The content of the state file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The process to ask for a stop.
    pub(super) keeper: ProcessId,
    /// The first process of the cluster's own process namespace: the others die with it.
    pub(super) first: Option<ProcessId>,
    /// Absent until the cluster is ready.
    pub(super) doors: Option<Doors>,
    /// Whether the cluster goes when its starter does.
    pub(super) held: bool,
}

impl State {
    /// Replaces the file in one step: a reader sees the old or the new one.
    pub(super) fn write(&self, folder: &Folder) -> anyhow::Result<()> {
        let new = folder.file("state.json.new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&new, folder.state()))
            .with_context(|| format!("cannot write {}", folder.state().display()))
    }

    /// Reads the file, if there is one.
    pub(super) fn read(folder: &Folder) -> anyhow::Result<Option<Self>> {
        let path = folder.state();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("cannot understand {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}
