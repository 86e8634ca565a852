//! The test bed cleans up after itself, whatever happens to the one who started it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use testbed::cluster::Cluster;
use tokio::process::Command;

use crate::turn::Turn;

/// A cluster of this test's own, which it gives up.
const INSTANCE: &str = "werf-operator-orphan";

/// A whole cluster comes up, beside all that the other tests do.
const START: Duration = Duration::from_mins(5);
const STOP: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_harness_that_is_killed_leaves_no_process_and_no_control_group() -> anyhow::Result<()> {
    let _turn = Turn::gentle().await?;
    let mut harness = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["--instance", INSTANCE, "with", "--", "sleep", "30"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    until(
        "it runs",
        START,
        || Ok(Cluster::attach(INSTANCE)?.is_some()),
    )
    .await?;
    ensure!(
        leftovers()?.len() > 8,
        "what is looked for afterwards cannot be seen now: {:?}",
        leftovers()?
    );
    harness.kill().await?;
    until("nothing is left", STOP, || Ok(leftovers()?.is_empty())).await
}

async fn until(
    what: &str,
    patience: Duration,
    holds: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds()? {
        ensure!(
            started.elapsed() < patience,
            "never: {what}; {:?}",
            leftovers()?
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Processes that were started with files of the instance, and control groups named after it.
fn leftovers() -> anyhow::Result<Vec<String>> {
    let folder = format!("clusters/{INSTANCE}/");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // Processes end while they are looked at.
        let arguments = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(&folder) {
            found.push(arguments);
        }
    }
    control_groups(Path::new("/sys/fs/cgroup"), 3, &mut found);
    Ok(found)
}

fn control_groups(folder: &Path, depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name().to_string_lossy().contains(INSTANCE) {
            found.push(entry.path().display().to_string());
        } else if is_folder && depth > 0 {
            control_groups(&entry.path(), depth - 1, found);
        }
    }
}
