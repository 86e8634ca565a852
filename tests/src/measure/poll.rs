//! `make bench-poll`: what polling costs. The poller as it is shipped, a scripted registry, and a
//! bare client of the same HTTP library that does the same requests, each a process of its own on
//! loopback. Ratios are taken from the same seconds of one run.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, sleep_until};

mod apiserver;
mod bare;
mod bundles;
mod executor;
mod ground;
mod scraped;
mod scripted;
pub(super) mod shape;
mod sustained;
mod throughput;
mod unchanged;
mod wire;

pub use bare::Bare;
pub use scripted::serve;
pub use sustained::Sustained;

use ground::Ground;

use super::figures::{self, Figure};

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
    figures::write(&target.join("bench.json"), &figures)
}

/// Waits for a moment some time after a start.
async fn at(start: Instant, after: Duration) {
    sleep_until(start + after).await;
}

/// Waits.
async fn pause(time: Duration) {
    sleep(time).await;
}
