//! The first process inside the cluster's namespaces: starts the parts in order, says when
//! they are ready, opens doors, and says what broke. When it ends, however it ends, the
//! kernel ends everything else in here and takes mounts and network with it.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use tokio::net::UnixListener;

use super::children::Children;
use super::folder::Folder;
use super::forwards::Forwards;
use super::network::{API_PORT, NODE, REGISTRY_PORT};
use super::parts::Parts;
use super::state::{Doors, Word};
use super::{certificates, configuration, mounts, network, readiness};
use crate::components;

/// Runs the cluster until something breaks. Standard input is not read: it is the machine's
/// network namespace, handed in as a file. Standard output takes [`Word`]s.
pub(super) async fn run(instance: &str) -> anyhow::Result<()> {
    if let Err(error) = live(instance).await {
        say(&Word::Failed(format!("{error:#}")))?;
    }
    Ok(())
}

async fn live(instance: &str) -> anyhow::Result<()> {
    let folder = Folder::of(instance)?;
    let programs = components::located()?;
    let outside = std::io::stdin().as_fd().try_clone_to_owned()?;
    mounts::arrange(&folder)?;
    network::arrange()?;

    let control = UnixListener::bind(folder.control())
        .with_context(|| format!("cannot listen on {}", folder.control().display()))?;
    let mut forwards = Forwards::new(outside);
    let node = NODE.parse()?;
    let doors = Doors {
        api: forwards.open(SocketAddr::new(node, API_PORT))?,
        registry: forwards.open(SocketAddr::new(node, REGISTRY_PORT))?,
    };
    certificates::write_all(&folder, doors.api)?;
    configuration::write_all(&folder)?;

    let parts = Parts {
        folder: &folder,
        programs: &programs,
    };
    let children = Children::new(&folder);
    let serving = async {
        bring_up(&folder, &parts, &children).await?;
        say(&Word::Ready(doors))?;
        Err(forwards.answer(control).await)
    };
    tokio::select! {
        dead = children.first_death() => Err(dead),
        broken = serving => broken,
    }
}

async fn bring_up(
    folder: &Folder,
    parts: &Parts<'_>,
    children: &Children<'_>,
) -> anyhow::Result<()> {
    say(&Word::Progress("waiting for the API server".to_owned()))?;
    for part in parts.ground() {
        children.start(&part)?;
    }
    readiness::images(folder).await?;
    let client = readiness::api(folder).await?;
    say(&Word::Progress("waiting for the node".to_owned()))?;
    for part in parts.upper() {
        children.start(&part)?;
    }
    readiness::node(folder, &client).await?;
    readiness::services(folder, &client).await
}

fn say(word: &Word) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(word)?)?;
    Ok(output.flush()?)
}
