//! `make bench-poll`: what polling costs. The poller as it is shipped, a scripted registry, and a
//! bare client of the same HTTP library that does the same requests, each a process of its own on
//! loopback. Ratios are taken from the same seconds of one run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep, sleep_until};

mod apiserver;
mod bare;
mod bundles;
mod executor;
mod figures;
mod ground;
mod process;
mod scraped;
mod scripted;
mod shape;
mod sustained;
mod throughput;
mod unchanged;
mod wire;

pub use bare::Bare;
pub use figures::Figure;
pub use scripted::serve;
pub use sustained::Sustained;

use ground::Ground;

/// Runs this program again in a network namespace of its own, which ends with it.
pub fn enter() -> anyhow::Result<std::process::ExitStatus> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net"])
        .arg(std::env::current_exe()?)
        .arg("inside")
        .status()
        .context("cannot run setpriv and unshare")
}

/// Measures everything, tells each figure as soon as it is known, and writes all of them into the
/// folder Cargo builds in.
pub async fn measure(tell: impl Fn(&Figure)) -> anyhow::Result<()> {
    wire::arrange()?;
    let own = std::env::current_exe()?;
    let programs = own.parent().context("this program is nowhere")?;
    let target = programs.parent().context("this program is in no target")?;
    let mut ground = Ground::start(programs).await?;
    let mut figures = unchanged::measure(&mut ground).await?;
    figures.iter().for_each(&tell);
    for wire in [wire::Wire::Http, wire::Wire::Https2] {
        let more = throughput::measure(&mut ground, wire).await?;
        more.iter().for_each(&tell);
        figures.extend(more);
    }
    figures::write(&target.join("bench.json"), &commit()?, &figures)
}

fn commit() -> anyhow::Result<String> {
    let output = Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "there is no commit");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Waits for a moment some time after a start.
async fn at(start: Instant, after: Duration) {
    sleep_until(start + after).await;
}

/// Waits.
async fn pause(time: Duration) {
    sleep(time).await;
}
